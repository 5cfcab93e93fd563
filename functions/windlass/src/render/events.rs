//! An event on one line.

use console::style;
use serde_json::Value;
use windlass_contract::event::PublicEvent;

use crate::terminal::printable;

const TYPE_COLUMN: usize = 18;

/// `02:30:04.120Z action.succeeded totals`, with the event's other data. `Z` is UTC. The date stands in the JSON form.
pub(crate) fn line(event: &PublicEvent) -> String {
    let clock = event.time.get(11..24).unwrap_or(&event.time);
    let kind = format!("{:<TYPE_COLUMN$}", event.kind);
    let kind = match event.kind.rsplit('.').next().unwrap_or_default() {
        "succeeded" => style(kind).green(),
        "failed" | "timed_out" => style(kind).red(),
        "retrying" | "unserved" | "succeeded_with_faults" => style(kind).yellow(),
        "cancelled" | "cancelling" => style(kind).magenta(),
        _ => style(kind),
    };
    let action = event.action.as_ref().map(ToString::to_string).unwrap_or_default();
    let attempt = event.attempt.filter(|attempt| *attempt > 1).map(|attempt| format!(" #{attempt}"));
    let line = format!(
        "{}  {kind}  {action}{}  {}",
        style(clock).dim(),
        attempt.unwrap_or_default(),
        style(note_of(event)).dim()
    );
    line.trim_end().to_owned()
}

fn note_of(event: &PublicEvent) -> String {
    let data = &event.data;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = data["error"]["kind"].as_str().map(|kind| {
        let message = data["error"]["message"].as_str().unwrap_or_default();
        let said = message.trim().lines().next().map(|line| format!(": {line}"));
        format!("{kind}{}", said.unwrap_or_default())
    });
    let allowed = data["allowed"].as_bool().unwrap_or(false).then(|| "(may fail)".to_owned());
    let progress = data["progress"].as_object().map(|progress| {
        let percent = progress.get("percent").and_then(Value::as_f64).map(|percent| format!("{percent:.0} %"));
        let message = progress.get("message").and_then(text);
        percent.into_iter().chain(message).collect::<Vec<_>>().join(" ")
    });
    let retry_at = text(&data["retry_at"]).map(|at| format!("next at {}", at.get(11..24).unwrap_or(&at)));
    let stopped = text(&data["agent"]).filter(|_| event.kind == "action.cancelled");
    let stopped = stopped.map(|agent| format!("ended by {agent}"));
    let pool = text(&data["pool"]).map(|pool| format!("no agent serves the pool {pool}"));
    let parts = [error, allowed, progress, retry_at, stopped, pool, text(&data["reason"])];
    printable(&parts.into_iter().flatten().collect::<Vec<_>>().join("  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(kind: &str, data: &Value, expected: &str) {
        console::set_colors_enabled(false);
        let event = json!({
            "v": 1, "id": "019a0000-0000-7000-8000-000000000002", "type": kind, "time": "2026-03-01T02:30:04.120Z",
            "run": "019a0000-0000-7000-8000-000000000001", "task": "t", "version": 1, "action": "totals",
            "attempt": 2, "data": data,
        });
        assert_eq!(line(&serde_json::from_value(event).expect("an event")), expected);
    }

    #[test]
    fn an_event_is_a_line() {
        check("action.succeeded", &json!({ "output": 1 }), "02:30:04.120Z  action.succeeded    totals #2");
        check(
            "action.retrying",
            &json!({ "error": { "kind": "exec.temporary", "message": "busy\nmore" }, "retry_at": "2026-03-01T02:30:05.000Z" }),
            "02:30:04.120Z  action.retrying     totals #2  exec.temporary: busy  next at 02:30:05.000Z",
        );
        check(
            "action.cancelled",
            &json!({ "agent": "a-1" }),
            "02:30:04.120Z  action.cancelled    totals #2  ended by a-1",
        );
        check(
            "run.cancelled",
            &json!({ "error": { "kind": "cancelled", "message": "" } }),
            "02:30:04.120Z  run.cancelled       totals #2  cancelled",
        );
        check(
            "action.unserved",
            &json!({ "pool": "gpu", "since": "2026-03-01T02:30:04.000Z" }),
            "02:30:04.120Z  action.unserved     totals #2  no agent serves the pool gpu",
        );
        check(
            "action.progressed",
            &json!({ "progress": { "percent": 40.4, "message": "half" } }),
            "02:30:04.120Z  action.progressed   totals #2  40 % half",
        );
    }
}
