//! Reads the actions of a definition, and wires them by their needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::code;
use super::fault::{At, Report};
use super::graph::Needs;
use super::model::{Action, ExecFacade, Facade, HttpFacade, NativeFacade, Trigger};
use super::path::Path;
use super::references::{Expressions, References};
use super::scalar::text;
use super::span::{self, Zero};
use crate::expression::Template;
use crate::ids::{ActionIndex, ActionName, PoolName};
use crate::limits::MAX_WORK_BYTES;
use crate::retry::RetryPolicy;
use crate::time::Millis;

/// Values for actions that name none.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) pool: Option<PoolName>,
    pub(super) timeout: Option<Millis>,
    pub(super) queue_timeout: Option<Millis>,
    pub(super) retry: Option<RetryPolicy>,
    /// As it is written in the task.
    pub(super) workdir: Option<Value>,
}

/// Reads the actions in the author's order, and what their expressions refer to.
pub(super) fn read_all(
    written: &Map<String, Value>,
    defaults: &Defaults,
    report: &mut Report<'_>,
) -> (Vec<Action>, References) {
    let root = &Path::ROOT;
    let path = root.key("actions");
    let names: BTreeMap<&str, usize> = written.keys().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let mut references = References::default();
    let mut actions = Vec::with_capacity(written.len());
    let mut needs = Vec::with_capacity(written.len());
    for (at, (name, action)) in written.iter().enumerate() {
        let path = path.key(name);
        needs.push(read_needs(name, action, &names, &path, report));
        let mut expressions = Expressions::of_action(at, report, &mut references);
        actions.push(read(name, action, defaults, &path, &mut expressions));
    }
    check_triggers(written, &actions, report);
    check_cycles(written, &needs, report);
    for (at, needs) in needs.iter().enumerate() {
        actions[at].needs = needs.iter().copied().map(ActionIndex::from_usize).collect();
        for need in needs {
            actions[*need].dependents.push(ActionIndex::from_usize(at));
        }
    }
    (actions, references)
}

/// The indexes of an action's needs, each once, and never itself.
fn read_needs(
    name: &str,
    action: &Value,
    names: &BTreeMap<&str, usize>,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> Vec<usize> {
    let path = path.key("needs");
    let mut seen = BTreeSet::new();
    let mut take = |need: &str, path: &Path<'_>| {
        if need == name {
            report.add(code::REPEATED_NEED, path, At::Value, format!("the action `{name}` needs itself"));
            return None;
        }
        let Some(&at) = names.get(need) else {
            let help = report.suggest(need, names.keys().copied());
            let message = format!("`{name}` needs `{need}`, which is not an action of this task");
            report.add_with_help(code::UNKNOWN_NEED, path, At::Value, message, help);
            return None;
        };
        if !seen.insert(at) {
            report.add(code::REPEATED_NEED, path, At::Value, format!("`{name}` needs `{need}` twice"));
            return None;
        }
        Some(at)
    };
    match action.get("needs") {
        Some(Value::String(need)) => take(need, &path).into_iter().collect(),
        Some(Value::Array(needs)) => {
            let needs = needs.iter().enumerate();
            needs.filter_map(|(at, need)| take(need.as_str()?, &path.index(at))).collect()
        }
        _ => Vec::new(),
    }
}

fn read(
    name: &str,
    action: &Value,
    defaults: &Defaults,
    path: &Path<'_>,
    expressions: &mut Expressions<'_, '_>,
) -> Action {
    let when = action.get("when").and_then(|when| expressions.condition(when, &path.key("when")));
    let facade = read_facade(action, defaults, path, expressions);
    let report = &mut *expressions.report;
    check_size(action, path, report);
    let pool = action.get("pool").and_then(Value::as_str).and_then(|pool| PoolName::new(pool).ok());
    let trigger = action.get("trigger").and_then(|trigger| serde_json::from_value(trigger.clone()).ok());
    Action {
        name: ActionName::new(name).unwrap_or_else(|_| placeholder()),
        description: text(action, "description"),
        needs: Vec::new(),
        dependents: Vec::new(),
        trigger: trigger.unwrap_or_default(),
        when,
        facade,
        pool: pool.or_else(|| defaults.pool.clone()).unwrap_or_default(),
        timeout: span::read(action, "timeout", Zero::Refused, path, report).or(defaults.timeout),
        queue_timeout: span::read(action, "queue_timeout", Zero::Refused, path, report).or(defaults.queue_timeout),
        retry: span::read_retry(action, path, report)
            .or_else(|| defaults.retry.clone())
            .unwrap_or_else(RetryPolicy::once),
        allow_failure: action.get("allow_failure").and_then(Value::as_bool).unwrap_or_default(),
    }
}

/// Stands for a name that was refused, so that the others can be looked at too.
fn placeholder() -> ActionName {
    ActionName::new("refused").expect("a valid name")
}

/// Refuses work that no message could carry. The values of expressions are known only when the attempt is sent, and may
/// fail it there.
fn check_size(action: &Value, path: &Path<'_>, report: &mut Report<'_>) {
    for key in ["exec", "http", "native"] {
        let bytes = action.get(key).map_or(0, |facade| facade.to_string().len());
        if bytes > MAX_WORK_BYTES {
            let message = format!("`{key}` has {bytes} bytes as JSON; an action can be given at most {MAX_WORK_BYTES}");
            report.add(code::TOO_LARGE, &path.key(key), At::Value, message);
        }
    }
}

fn read_facade(action: &Value, defaults: &Defaults, path: &Path<'_>, expressions: &mut Expressions<'_, '_>) -> Facade {
    if let Some(http) = action.get("http") {
        return Facade::Http(read_http(http, &path.key("http"), expressions));
    }
    if let Some(native) = action.get("native") {
        let path = path.key("native");
        let input = native.get("input").map(|input| expressions.template(input, &path.key("input")));
        return Facade::Native(NativeFacade { handler: text(native, "handler").unwrap_or_default(), input });
    }
    let exec = action.get("exec").unwrap_or(&Value::Null);
    Facade::Exec(read_exec(exec, defaults, &path.key("exec"), expressions))
}

/// The prefix of the environment variables that an agent sets for a program; a definition may not set such a variable.
const RESERVED_VARIABLES: &str = "WINDLASS_";

fn read_exec(exec: &Value, defaults: &Defaults, path: &Path<'_>, expressions: &mut Expressions<'_, '_>) -> ExecFacade {
    let key = path.key("command");
    let (command, path_of_command) = match exec.as_array() {
        Some(command) => (command.as_slice(), path),
        None => (exec.get("command").and_then(Value::as_array).map_or(&[][..], Vec::as_slice), &key),
    };
    if command.first().and_then(Value::as_str).is_some_and(|program| program.trim().is_empty()) {
        let message = "the program's name must not be empty";
        expressions.report.add(code::FACADE, &path_of_command.index(0), At::Value, message);
    }
    for name in exec.get("env").and_then(Value::as_object).into_iter().flat_map(|env| env.keys()) {
        if name.starts_with(RESERVED_VARIABLES) {
            let message = format!("variables that begin with `{RESERVED_VARIABLES}` are set by the agent");
            expressions.report.add(code::FACADE, &path.key("env").key(name), At::Key, message);
        }
    }
    let command = command.iter().enumerate();
    ExecFacade {
        command: command.map(|(at, part)| expressions.text(part, &path_of_command.index(at))).collect(),
        stdin: exec.get("stdin").map(|stdin| expressions.template(stdin, &path.key("stdin"))),
        env: texts(exec, "env", path, expressions),
        workdir: read_workdir(exec, defaults, path, expressions),
        output: exec.get("output").and_then(|output| serde_json::from_value(output.clone()).ok()),
    }
}

/// The folder of the action or of its task. Each action has its own view of what the task's expressions may refer to.
fn read_workdir(
    exec: &Value,
    defaults: &Defaults,
    path: &Path<'_>,
    expressions: &mut Expressions<'_, '_>,
) -> Option<Template> {
    if let Some(own) = exec.get("workdir") {
        return Some(expressions.text(own, &path.key("workdir")));
    }
    let root = &Path::ROOT;
    defaults.workdir.as_ref().map(|workdir| expressions.text(workdir, &root.key("workdir")))
}

fn read_http(http: &Value, path: &Path<'_>, expressions: &mut Expressions<'_, '_>) -> HttpFacade {
    let body = http.get("body").map(|body| expressions.template(body, &path.key("body")));
    let url = http.get("url").unwrap_or(&Value::Null);
    check_url(url, &path.key("url"), expressions.report);
    let default_method = if body.is_some() { "POST" } else { "GET" };
    HttpFacade {
        method: text(http, "method").unwrap_or_else(|| default_method.to_owned()),
        url: expressions.text(url, &path.key("url")),
        headers: texts(http, "headers", path, expressions),
        body,
    }
}

fn texts(map: &Value, key: &str, path: &Path<'_>, expressions: &mut Expressions<'_, '_>) -> BTreeMap<String, Template> {
    let path = path.key(key);
    let entries = map.get(key).and_then(Value::as_object).into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), expressions.text(value, &path.key(name)))).collect()
}

/// Refuses a text that cannot become an absolute `http` or `https` URL. Rendering finds the other faults.
fn check_url(url: &Value, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(url) = url.as_str().filter(|url| !url.is_empty()) else { return };
    let fixed = url.split("${{").next().unwrap_or(url);
    if fixed.is_empty() {
        return;
    }
    let lower = fixed.to_ascii_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let whole = fixed.len() == url.len();
    let sound = match host {
        Some(host) => !whole || !(host.is_empty() || host.starts_with(['/', '?', '#', ':'])),
        // An expression may stand in the middle of the scheme, as in `http${{ input.s }}://`.
        None => !whole && ("https://".starts_with(&lower) || "http://".starts_with(&lower)),
    };
    if !sound || fixed.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!("`{url}` is not an absolute `http` or `https` URL");
        report.add(code::FACADE, path, At::Value, message);
    }
}

/// Refuses triggers that can never hold.
fn check_triggers(written: &Map<String, Value>, actions: &[Action], report: &mut Report<'_>) {
    let root = &Path::ROOT;
    let path = root.key("actions");
    for ((name, value), action) in written.iter().zip(actions) {
        let has_needs = match value.get("needs") {
            Some(Value::Array(needs)) => !needs.is_empty(),
            needs => needs.is_some(),
        };
        if has_needs {
            continue;
        }
        let trigger = match action.trigger {
            Trigger::AnySucceeded => "any_succeeded",
            Trigger::AnyFailed => "any_failed",
            Trigger::AllSucceeded | Trigger::AllDone | Trigger::NoneFailed => continue,
        };
        let message = format!("`{name}` can never start: it has no `needs` of which `{trigger}` could be true");
        report.add(code::UNREACHABLE, &path.key(name).key("trigger"), At::Value, message);
    }
}

fn check_cycles(written: &Map<String, Value>, needs: &[Vec<usize>], report: &mut Report<'_>) {
    let root = &Path::ROOT;
    let path = root.key("actions");
    let names: Vec<&str> = written.keys().map(String::as_str).collect();
    for cycle in Needs::new(needs).cycles() {
        let first = names[cycle[0]];
        let shown = cycle.iter().chain(cycle.first()).map(|at| names[*at]);
        let shown = if cycle.len() > MAX_CYCLE_SHOWN {
            let start: Vec<&str> = shown.take(MAX_CYCLE_SHOWN).collect();
            format!("{} -> ... ({} in all) -> {first}", start.join(" -> "), cycle.len())
        } else {
            shown.collect::<Vec<_>>().join(" -> ")
        };
        let message = format!("these actions need one another in a circle: {shown}");
        report.add(code::CYCLE, &path.key(first).key("needs"), At::Key, message);
    }
}

/// Actions of one cycle that are named in its fault.
const MAX_CYCLE_SHOWN: usize = 20;
