//! Trace context (W3C Trace Context, level 1). It is derived from a run and an attempt, and never stored.
//!
//! The run is the trace, and its id is the trace's. An attempt is a span. It is the parent of the spans that a program
//! or an endpoint records about its own work.

use windlass_domain::ids::{RunId, derive};
use windlass_domain::run::ActionAt;

/// Bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The id of a run's trace: 32 hexadecimal digits.
pub fn trace_id(run: RunId) -> String {
    run.as_uuid().simple().to_string()
}

/// The `traceparent` of one attempt: every delivery of it has the same, another attempt has another span.
///
/// The flag says that the trace is recorded: every event of a run is.
pub fn traceparent(run: RunId, of: ActionAt) -> String {
    let span = derive(&["span", &run.to_string(), &of.action.0.to_string(), &of.attempt.to_string()]);
    format!("00-{}-{:016x}-01", trace_id(run), span.as_u64_pair().0)
}

/// Whether a text is a `traceparent` of version 00, so that an agent may pass it on.
pub fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let set = |part: &str| part.bytes().any(|byte| byte != b'0');
    match parts.as_slice() {
        ["00", trace, span, flags] => {
            text.len() == LENGTH
                && (trace.len(), span.len()) == (32, 16)
                && [trace, span, flags].into_iter().all(|part| hex(part))
                && set(trace)
                && set(span)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_domain::ids::{ActionIndex, TaskName};

    fn at(action: u32, attempt: u32) -> ActionAt {
        ActionAt { action: ActionIndex(action), attempt }
    }

    #[test]
    fn attempt_is_a_span_of_its_run() {
        let run = RunId::from_key(&TaskName::new("t").expect("a name"), "k");
        let first = traceparent(run, at(0, 1));
        assert!(is_traceparent(&first), "{first}");
        assert_eq!(first[3..35], run.to_string().replace('-', ""));
        assert_ne!(first, traceparent(run, at(0, 2)));
        assert_ne!(first, traceparent(run, at(1, 1)));
    }

    fn check(text: &str, valid: bool) {
        assert_eq!(is_traceparent(text), valid, "{text}");
    }

    #[test]
    fn other_shapes_are_not_passed_on() {
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", false);
        check("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false);
        check("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n", false);
        check("", false);
    }
}
