//! Expressions at work: conditions, what an action is to perform, and the run's output. The work of each evaluation is added
//! to the [`Reading`] of its step.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::reading::Reading;
use super::state::{Origin, Run};
use crate::attempt::ErrorInfo;
use crate::content::Place;
use crate::definition::{Definition, ExecFacade, Facade, HttpFacade, NativeFacade};
use crate::expression::{ExpressionError, Reads, Scope, Template, as_text};
use crate::ids::{ActionIndex, ActionName};
use crate::limits::MAX_WORK_BYTES;
use crate::work::{ExecWork, HttpWork, NativeWork, Work};

/// Why an expression has no value.
pub(super) enum Unevaluated {
    /// It reads values that must be loaded first: its step decides nothing.
    Wanting,
    /// It has none.
    Failed(ErrorInfo),
}

impl From<ErrorInfo> for Unevaluated {
    fn from(error: ErrorInfo) -> Self {
        Self::Failed(error)
    }
}

impl From<Unevaluated> for ErrorInfo {
    fn from(why: Unevaluated) -> Self {
        match why {
            Unevaluated::Wanting => Self::new("expression", "it reads values that are not loaded"),
            Unevaluated::Failed(error) => error,
        }
    }
}

/// Whether the action's condition holds; it does if there is none.
pub(super) fn condition(
    definition: &Definition,
    run: &Run,
    action: ActionIndex,
    reading: &mut Reading,
) -> Result<bool, Unevaluated> {
    let Some(when) = &definition.action(action).when else {
        return Ok(true);
    };
    let scope = scope(definition, run, &when.sees(), "when", reading)?;
    let value = when.evaluate(&scope);
    reading.evaluated += scope.budget.spent();
    match value.map_err(|error| in_place("when", &error))? {
        Value::Bool(holds) => Ok(holds),
        other @ (Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            Err(ErrorInfo::new("expression", format!("in `when`: expected true or false, not {other}")).into())
        }
    }
}

/// The run's output.
pub(super) fn output(definition: &Definition, run: &Run, reading: &mut Reading) -> Result<Option<Value>, Unevaluated> {
    let Some(template) = &definition.output else {
        return Ok(None);
    };
    let scope = scope(definition, run, &template.sees(), "output", reading)?;
    let value = template.render(&scope);
    reading.evaluated += scope.budget.spent();
    value.map(Some).map_err(|error| in_place("output", &error).into())
}

/// The work of the action, with every expression evaluated.
///
/// # Errors
/// If an expression fails or lacks a value, or the work is too large for its message.
pub(super) fn render(
    definition: &Definition,
    run: &Run,
    action: ActionIndex,
    reading: &mut Reading,
) -> Result<Work, Unevaluated> {
    let facade = &definition.action(action).facade;
    let (place, reads) = reads(facade);
    let is_constant = reads.is_none();
    let scope = match reads {
        Some(reads) => scope(definition, run, &reads, place, reading)?,
        None => Scope::default(),
    };
    let work = match facade {
        Facade::Exec(exec) => render_exec(exec, &scope).map(Work::Exec),
        Facade::Http(http) => render_http(http, &scope).map(Work::Http),
        Facade::Native(native) => render_native(native, &scope).map(Work::Native),
    };
    reading.evaluated += scope.budget.spent();
    let work = work?;
    if !is_constant {
        check_size(&work)?;
    }
    Ok(work)
}

/// The message that carries the work has its bound; what does not fit fails here, by name.
fn check_size(work: &Work) -> Result<(), ErrorInfo> {
    let bytes = serde_json::to_string(work).map_or(usize::MAX, |json| json.len());
    if bytes <= MAX_WORK_BYTES {
        return Ok(());
    }
    let message = format!("what the action is given has {bytes} bytes; at most {MAX_WORK_BYTES} can be sent");
    Err(ErrorInfo::new("work.too_large", message))
}

fn render_exec(exec: &ExecFacade, scope: &Scope) -> Result<ExecWork, ErrorInfo> {
    let command = exec.command.iter().map(|part| text(part, scope, "exec.command"));
    Ok(ExecWork {
        command: command.collect::<Result<_, _>>()?,
        stdin: exec.stdin.as_ref().map(|stdin| value(stdin, scope, "exec.stdin")).transpose()?,
        env: texts(&exec.env, scope, "exec.env")?,
        workdir: exec.workdir.as_ref().map(|workdir| text(workdir, scope, "exec.workdir")).transpose()?,
        output: exec.output,
    })
}

fn render_http(http: &HttpFacade, scope: &Scope) -> Result<HttpWork, ErrorInfo> {
    Ok(HttpWork {
        method: http.method.clone(),
        url: text(&http.url, scope, "http.url")?,
        headers: texts(&http.headers, scope, "http.headers")?,
        body: http.body.as_ref().map(|body| value(body, scope, "http.body")).transpose()?,
    })
}

fn render_native(native: &NativeFacade, scope: &Scope) -> Result<NativeWork, ErrorInfo> {
    let input = native.input.as_ref().map(|input| value(input, scope, "native.input")).transpose()?;
    Ok(NativeWork { handler: native.handler.clone(), input: input.unwrap_or(Value::Null) })
}

fn value(template: &Template, scope: &Scope, place: &str) -> Result<Value, ErrorInfo> {
    template.render(scope).map_err(|error| in_place(place, &error))
}

fn text(template: &Template, scope: &Scope, place: &str) -> Result<String, ErrorInfo> {
    value(template, scope, place).map(|value| as_text(&value))
}

fn texts(
    templates: &BTreeMap<String, Template>,
    scope: &Scope,
    place: &str,
) -> Result<BTreeMap<String, String>, ErrorInfo> {
    let render = |(key, template): (&String, &Template)| Ok((key.clone(), text(template, scope, place)?));
    templates.iter().map(render).collect()
}

fn in_place(place: &str, error: &ExpressionError) -> ErrorInfo {
    ErrorInfo::new("expression", format!("in `{place}`: {error}"))
}

/// The facade's key, and what its expressions read; `None`: it has no expression at all.
fn reads(facade: &Facade) -> (&'static str, Option<Reads>) {
    let (place, templates): (_, Vec<&Template>) = match facade {
        Facade::Exec(exec) => {
            let parts = exec.command.iter().chain(&exec.stdin).chain(exec.env.values()).chain(&exec.workdir);
            ("exec", parts.collect())
        }
        Facade::Http(http) => {
            ("http", std::iter::once(&http.url).chain(http.headers.values()).chain(&http.body).collect())
        }
        Facade::Native(native) => ("native", native.input.iter().collect()),
    };
    if templates.iter().all(|template| matches!(template, Template::Plain(_))) {
        return (place, None);
    }
    let mut reads = Reads::default();
    for template in templates {
        reads.add(template.sees());
    }
    (place, Some(reads))
}

/// What expressions see: only what they read.
fn scope(
    definition: &Definition,
    run: &Run,
    reads: &Reads,
    place: &str,
    reading: &mut Reading,
) -> Result<Scope, Unevaluated> {
    let index = |name: &String| definition.index_of(&ActionName::new(name).ok()?);
    let outputs = reads.outputs.iter().filter_map(index).map(Place::Output);
    let places: Vec<Place> = outputs.chain(reads.input.then_some(Place::Input)).collect();
    let scope = Scope::default();
    let bytes = places.iter().filter_map(|place| run.apart(*place)).map(|apart| apart.bytes).sum();
    scope.budget.check_room(bytes).map_err(|error| in_place(place, &error))?;
    if !reading.read(run, places) {
        return Err(Unevaluated::Wanting);
    }
    let seen = |name: &String| {
        let index = index(name)?;
        let output = run.value(Place::Output(index)).filter(|_| reads.outputs.contains(name));
        let state = run.action(index);
        Some((name.clone(), json!({ "status": state.status, "output": output, "error": state.error })))
    };
    let mut about = Map::new();
    about.insert("id".into(), run.id.to_string().into());
    about.insert("task".into(), run.task.as_str().into());
    about.insert("version".into(), run.version.into());
    about.insert("labels".into(), json!(definition.labels));
    about.insert("submitted_at".into(), run.submitted_at.to_string().into());
    if let Origin::Schedule { nominal } = &run.origin {
        about.insert("nominal_time".into(), nominal.to_string().into());
    }
    let actions = reads.actions.iter().filter_map(seen).collect();
    let input = run.value(Place::Input).filter(|_| reads.input).cloned().unwrap_or_default();
    let scope = Scope { input, run: about.into(), actions, ..scope };
    let values = [&scope.input, &scope.run].into_iter().chain(scope.actions.values());
    values.for_each(|value| scope.budget.copy(value));
    Ok(scope)
}
