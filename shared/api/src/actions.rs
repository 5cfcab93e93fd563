//! The actions of a run: in pages, and one with its whole output.

use axum::Json;
use axum::extract::State;
use windlass_contract::view::{ActionView, json_bytes};
use windlass_domain::content::Place;
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, ActionName};
use windlass_domain::limits::MAX_SHOWN_BYTES;
use windlass_domain::run::{ActionStatus, Run};
use windlass_engine::pools::silent_agents;

use crate::operation::Operation;
use crate::problem::{Kind, Refusal};
use crate::request::{ActionPath, Parameters, RunPath};
use crate::shown::{load, load_with};
use crate::state::ApiState;
use crate::view::ActionList;

/// `GET /v1/runs/{id}/actions`
pub(crate) async fn list(
    State(api): State<ApiState>,
    RunPath(id): RunPath,
    parameters: Parameters,
) -> Result<Json<ActionList>, Refusal> {
    let parameters = parameters.of(Operation::ListActions)?;
    let statuses = ActionStatus::ALL.map(ActionStatus::as_str).join(", ");
    let known = |text: &str| ActionStatus::ALL.into_iter().find(|status| status.as_str() == text);
    let status = parameters.read("status", &format!("one of {statuses}"), known)?;
    let from = parameters.read("cursor", "one that a page gave", |text| text.parse::<usize>().ok())?;
    let limit = parameters.limit()?;
    let run = load(&api, id).await?;
    let definition = api.definitions().get(&run.task, run.version).await?;
    let mut list = page(&definition, &run, status, (from.unwrap_or(0), limit));
    mark_silent(&api, &mut list.actions).await;
    Ok(Json(list))
}

/// The actions in that status, in the author's order, from an index on. A page ends at its limit, or once it is large.
fn page(definition: &Definition, run: &Run, status: Option<ActionStatus>, (from, limit): (usize, usize)) -> ActionList {
    let is_such = |action: &ActionIndex| status.is_none_or(|status| run.action(*action).status == status);
    let mut left = definition.indexes().skip(from).filter(is_such).peekable();
    let (mut actions, mut bytes) = (Vec::new(), 0);
    while actions.len() < limit
        && bytes < MAX_SHOWN_BYTES
        && let Some(action) = left.next()
    {
        let view = ActionView::named(definition, run, action);
        bytes += json_bytes(&view);
        actions.push(view);
    }
    ActionList { actions, next: left.peek().map(|action| action.0.to_string()) }
}

/// `GET /v1/runs/{id}/actions/{action}`
pub(crate) async fn get(
    State(api): State<ApiState>,
    ActionPath(id, name): ActionPath,
    parameters: Parameters,
) -> Result<Json<ActionView>, Refusal> {
    parameters.of(Operation::GetAction)?;
    let index = |definition: &Definition, run: &Run| definition.index_of(&name).ok_or_else(|| unknown(run, &name));
    let wanted = |definition: &Definition, run: &Run| {
        let place = Place::Output(index(definition, run)?);
        Ok(Some(place).filter(|place| run.lacks(*place)).into_iter().collect())
    };
    let (run, definition) = load_with(&api, id, wanted).await?;
    let mut view = ActionView::named(&definition, &run, index(&definition, &run)?);
    mark_silent(&api, std::slice::from_mut(&mut view)).await;
    Ok(Json(view))
}

async fn mark_silent(api: &ApiState, actions: &mut [ActionView]) {
    if actions.iter().any(|action| action.status == ActionStatus::Running) {
        let silent = silent_agents(api.ports()).await;
        for action in actions {
            action.mark_silent(&silent);
        }
    }
}

fn unknown(run: &Run, name: &ActionName) -> Refusal {
    let detail = format!("the task `{}` has no action `{name}` in version {}", run.task, run.version);
    Refusal::new(&Kind::UNKNOWN_ACTION, detail)
}
