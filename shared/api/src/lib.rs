//! The coordinator: the HTTP API as an axum app.
//!
//! [`app`] knows nothing of its host: the same app is served on 127.0.0.1 by the embedded host and called behind a
//! Lambda. It listens to nothing and draws no secrets; the host gives it a token and the names it may be reached by.
//! `docs/api.md` is its reference, `/openapi.json` the same for programs.

mod actions;
mod auth;
mod events;
mod follow;
mod guard;
mod hosts;
mod openapi;
mod operation;
mod plain;
mod problem;
mod prune;
mod refusal;
mod request;
mod runs;
mod seen;
mod service;
mod shown;
mod state;
mod tasks;
mod view;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post, put};

pub use auth::{Auth, Token, Verified};
pub use hosts::AllowedHosts;
pub use openapi::document;
pub use problem::{Fault, Problem};
pub use seen::SeenEvents;
pub use state::{ApiConfig, ApiState};
pub use view::{
    ActionList, AgentList, AgentView, EventList, EventView, Health, PruneAnswer, PutAnswer, RunList, TaskList,
    TaskView, VersionList, VersionSummary, VersionView,
};

use operation::Operation;

/// The app. Every call but that of `/healthz` wants a token, and every answer that is no success is a problem
/// document (RFC 9457).
pub fn app(state: ApiState) -> Router {
    let mut routes = Router::new();
    for operation in Operation::ALL {
        routes = routes.route(operation.path(), handler(operation));
    }
    routes
        .fallback(service::no_such_route)
        .method_not_allowed_fallback(service::no_such_method)
        .layer(from_fn_with_state(state.clone(), guard::admit))
        .layer(from_fn_with_state(state.clone(), guard::bound_answers))
        .layer(from_fn(guard::catch_panics))
        .layer(from_fn(guard::add_security_headers))
        .layer(from_fn(guard::log))
        .with_state(state)
}

/// The handler of an operation.
fn handler(operation: Operation) -> MethodRouter<ApiState> {
    match operation {
        Operation::Health => get(service::health),
        Operation::Document => get(openapi::answer),
        Operation::PutTask => put(tasks::put),
        Operation::ListTasks => get(tasks::list),
        Operation::GetTask => get(tasks::get),
        Operation::DeleteTask => delete(tasks::delete),
        Operation::ListVersions => get(tasks::versions),
        Operation::GetVersion => get(tasks::version),
        Operation::StartRun => post(runs::start),
        Operation::ListRuns => get(runs::list),
        Operation::GetRun => get(runs::get),
        Operation::ListActions => get(actions::list),
        Operation::GetAction => get(actions::get),
        Operation::CancelRun => post(runs::cancel),
        Operation::KillAction => post(runs::kill),
        Operation::PauseRun => post(runs::pause),
        Operation::ResumeRun => post(runs::resume),
        Operation::RetryRun => post(runs::retry),
        Operation::DeleteRun => delete(prune::delete),
        Operation::PruneRuns => post(prune::prune),
        Operation::ListEvents => get(events::list),
        Operation::ListAgents => get(service::agents),
        Operation::DrainAgent => post(service::drain),
    }
}
