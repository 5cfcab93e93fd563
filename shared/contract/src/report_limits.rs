//! The limits of agents' reports. The reader of inputs applies them, so that agents in other languages need not know
//! them.
//!
//! A report that breaks a limit still counts, because without it the attempt would wait for its timeout. A text that is too
//! long is cut. An output that is too large or too deep is replaced by a failure, which no policy retries. A checkpoint that
//! breaks its limits is left as it is: `decide` refuses it, and says so to people.
//!
//! Claims beyond [`windlass_domain::limits::MAX_CLAIMS`] stay, too. An agent asks until it has an answer to each of
//! them, so it would repeat a cut claim for ever. The size of a message,
//! [`windlass_domain::limits::MAX_MESSAGE_BYTES`], bounds them.

use serde_json::Value;
use windlass_domain::attempt::ErrorInfo;
use windlass_domain::caller::Caller;
use windlass_domain::depth::is_too_deep;
use windlass_domain::limits::{
    MAX_ERROR_KIND_BYTES, MAX_ERROR_MESSAGE_BYTES, MAX_OUTPUT_BYTES, MAX_PROGRESS_MESSAGE_BYTES, MAX_REASON_BYTES,
    MAX_VALUE_DEPTH,
};
use windlass_domain::run::{Input, Outcome, Progress};

use crate::message::InboxMessage;

/// Stands where a text was cut.
const ELLIPSIS: &str = "…";
/// The kind of an error whose agent named none.
const UNKNOWN_KIND: &str = "unknown";

/// The message with every text and value within its limits. A message within them comes back as it was.
#[must_use]
pub fn held_to_limits(message: InboxMessage) -> InboxMessage {
    match message {
        InboxMessage::Run { v, run, input, caller } => {
            InboxMessage::Run { v, run, input: held_input(input), caller: held_caller(caller) }
        }
        InboxMessage::Task { .. } | InboxMessage::Sweep { .. } => message,
    }
}

fn held_input(input: Input) -> Input {
    match input {
        Input::Completed { of, started_at, outcome, checkpoint } => {
            Input::Completed { of, started_at, outcome: held_outcome(outcome), checkpoint }
        }
        Input::Progressed { of, number, progress, checkpoint } => {
            Input::Progressed { of, number, progress: held_progress(progress), checkpoint }
        }
        Input::DeadLettered { action, delivery, message, reason } => {
            // The reason becomes the message of the action's error.
            Input::DeadLettered { action, delivery, message, reason: cut_end(&reason, MAX_ERROR_MESSAGE_BYTES) }
        }
        Input::Cancel { reason, cause, retries } => {
            Input::Cancel { reason: cut_end(&reason, MAX_REASON_BYTES), cause, retries }
        }
        Input::Kill { action, reason, retries } => {
            Input::Kill { action, reason: cut_end(&reason, MAX_REASON_BYTES), retries }
        }
        Input::Start
        | Input::Started { .. }
        | Input::Claim { .. }
        | Input::Renewed { .. }
        | Input::HandedBack { .. }
        | Input::Unserved { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. }
        | Input::Wake { .. }
        | Input::Sweep => input,
    }
}

fn held_outcome(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Succeeded { output } => match output_error(&output) {
            Some(error) => Outcome::Failed { error },
            None => Outcome::Succeeded { output },
        },
        Outcome::Failed { error } => Outcome::Failed { error: held_error(&error) },
        Outcome::TimedOut { error } => Outcome::TimedOut { error: held_error(&error) },
        Outcome::Cancelled => Outcome::Cancelled,
    }
}

/// Why an output cannot be kept, if it cannot.
fn output_error(output: &Value) -> Option<ErrorInfo> {
    if is_too_deep(output) {
        let message = format!("the output is nested more than {MAX_VALUE_DEPTH} levels deep");
        return Some(ErrorInfo::new("output.too_deep", message));
    }
    let bytes = match output {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(_) | Value::Array(_) | Value::Object(_) => output.to_string().len(),
    };
    let message = || format!("the output has {bytes} bytes as JSON; at most {MAX_OUTPUT_BYTES} are kept");
    (bytes > MAX_OUTPUT_BYTES).then(|| ErrorInfo::new("output.too_large", message()))
}

fn held_error(error: &ErrorInfo) -> ErrorInfo {
    ErrorInfo { kind: held_kind(&error.kind), message: cut_end(&error.message, MAX_ERROR_MESSAGE_BYTES) }
}

/// The kind that the record keeps, which policies are matched against. It has words of ASCII letters, digits, `-` and
/// `_` with dots between them. Any other character becomes `_`, and empty words go. A long kind keeps the general words
/// at its front. A kind without any word becomes [`UNKNOWN_KIND`].
fn held_kind(kind: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let words = kind.split('.').filter(|word| !word.is_empty()).map(|word| word.chars().map(plain).collect::<String>());
    let mut kind = words.collect::<Vec<_>>().join(".");
    kind.truncate(MAX_ERROR_KIND_BYTES);
    let kind = kind.trim_end_matches('.');
    if kind.is_empty() { UNKNOWN_KIND.to_owned() } else { kind.to_owned() }
}

fn held_progress(progress: Progress) -> Progress {
    Progress {
        percent: progress.percent.map(|percent| percent.clamp(0.0, 100.0)),
        message: progress.message.map(|message| cut_end(&message, MAX_PROGRESS_MESSAGE_BYTES)),
    }
}

fn held_caller(caller: Caller) -> Caller {
    let held = |text: Option<String>| text.map(|text| cut_end(&text, MAX_REASON_BYTES));
    Caller { who: held(caller.who), way: caller.way, why: held(caller.why) }
}

/// The text, or as much of its beginning as fits into that many bytes together with a mark of the cut.
pub fn cut_end(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use windlass_domain::caller::Way;
    use windlass_domain::delivery::Delivery;
    use windlass_domain::ids::{ActionIndex, AgentId, RunId};
    use windlass_domain::limits::MAX_CLAIMS;
    use windlass_domain::run::{CancelCause, Claim, Report};
    use windlass_domain::time::Timestamp;

    /// How the process manager takes the input in; taken in once more, it stays the same.
    fn taken(input: Input) -> Input {
        let held = |input| match held_to_limits(InboxMessage::of_run(run(), input)) {
            InboxMessage::Run { input, .. } => input,
            InboxMessage::Task { .. } | InboxMessage::Sweep { .. } => unreachable!("it is of a run"),
        };
        let once = held(input);
        assert_eq!(held(once.clone()), once);
        once
    }

    fn run() -> RunId {
        RunId::from_uuid(uuid::Uuid::from_u128(1))
    }

    fn of() -> Report {
        let agent = AgentId::new("agent-1").expect("a name");
        Report { action: ActionIndex(1), delivery: Delivery::new(1, 0, 1), message: 7, agent }
    }

    fn completed(outcome: Outcome) -> Input {
        let started_at = Timestamp::from_millis(5);
        Input::Completed { of: of(), started_at, outcome, checkpoint: Some(json!({ "row": 1 })) }
    }

    fn succeeded(output: Value) -> Input {
        completed(Outcome::Succeeded { output })
    }

    fn check_output(output: Value, kind: &str, message: &str) {
        assert_eq!(taken(succeeded(output)), completed(Outcome::Failed { error: ErrorInfo::new(kind, message) }));
    }

    /// A text that has so many bytes as JSON.
    fn text(bytes: usize) -> Value {
        json!("x".repeat(bytes - 2))
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn output_above_its_limits_fails_attempt() {
        for kept in [text(MAX_OUTPUT_BYTES), nested(MAX_VALUE_DEPTH), json!(null)] {
            assert_eq!(taken(succeeded(kept.clone())), succeeded(kept));
        }
        let message = "the output has 131073 bytes as JSON; at most 131072 are kept";
        check_output(text(MAX_OUTPUT_BYTES + 1), "output.too_large", message);
        check_output(nested(MAX_VALUE_DEPTH + 1), "output.too_deep", "the output is nested more than 48 levels deep");
    }

    #[test]
    fn long_error_messages_are_cut() {
        let error = |bytes: usize| ErrorInfo::new("exit.1", "é".repeat(bytes / 2));
        let most = MAX_ERROR_MESSAGE_BYTES;
        for outcome in [|error| Outcome::Failed { error }, |error| Outcome::TimedOut { error }] {
            assert_eq!(taken(completed(outcome(error(most)))), completed(outcome(error(most))));
            let cut = format!("{}…", "é".repeat(most / 2 - 2));
            assert_eq!(taken(completed(outcome(error(most + 2)))), completed(outcome(ErrorInfo::new("exit.1", cut))));
        }
    }

    fn check_kind(kind: &str, expected: &str) {
        let failed = |kind: &str| completed(Outcome::Failed { error: ErrorInfo::new(kind, "m") });
        assert_eq!(taken(failed(kind)), failed(expected), "{kind}");
    }

    #[test]
    fn kinds_are_words_with_dots() {
        check_kind("auth.password", "auth.password");
        check_kind("python.Value-Error_2", "python.Value-Error_2");
        check_kind("auth.wrong password!", "auth.wrong_password_");
        check_kind(".auth..é.", "auth._");
        check_kind("..", "unknown");
        check_kind("", "unknown");
        check_kind(&"x".repeat(MAX_ERROR_KIND_BYTES + 1), &"x".repeat(MAX_ERROR_KIND_BYTES));
        let (general, special) = ("x".repeat(MAX_ERROR_KIND_BYTES - 1), "y");
        check_kind(&format!("{general}.{special}"), &general);
    }

    #[test]
    fn progress_is_held_within_bounds() {
        let progressed = |percent, message: &str, checkpoint| {
            let progress = Progress { percent: Some(percent), message: Some(message.to_owned()) };
            Input::Progressed { of: of(), number: 1, progress, checkpoint: Some(checkpoint) }
        };
        let cut = format!("{}…", "x".repeat(MAX_PROGRESS_MESSAGE_BYTES - 3));
        let large = text(MAX_OUTPUT_BYTES);
        let long = "x".repeat(MAX_PROGRESS_MESSAGE_BYTES + 1);
        assert_eq!(taken(progressed(-1.0, &long, large.clone())), progressed(0.0, &cut, large));
        assert_eq!(taken(progressed(101.0, "m", json!(1))), progressed(100.0, "m", json!(1)));
        assert_eq!(taken(progressed(12.5, "m", json!(1))), progressed(12.5, "m", json!(1)));
    }

    #[test]
    fn claims_beyond_limit_are_kept() {
        let Report { delivery, message, agent, .. } = of();
        let claim = |asked: u32| Claim { action: ActionIndex(asked), delivery, message, asked };
        let claims: Vec<Claim> = (1..).map(claim).take(MAX_CLAIMS + 1).collect();
        let asks = Input::Claim { agent, claims };
        assert_eq!(taken(asks.clone()), asks);
    }

    #[test]
    fn long_reasons_are_cut() {
        let most = |bytes: usize| format!("{}…", "x".repeat(bytes - 3));
        let long = || "x".repeat(MAX_ERROR_MESSAGE_BYTES + 1);
        let dead = |reason| Input::DeadLettered { action: ActionIndex(1), delivery: of().delivery, message: 7, reason };
        assert_eq!(taken(dead(long())), dead(most(MAX_ERROR_MESSAGE_BYTES)));
        let cancel = |reason| Input::Cancel { reason, cause: CancelCause::Request, retries: 0 };
        assert_eq!(taken(cancel(long())), cancel(most(MAX_REASON_BYTES)));
        let kill = |reason| Input::Kill { action: ActionIndex(1), reason, retries: 0 };
        assert_eq!(taken(kill(long())), kill(most(MAX_REASON_BYTES)));
    }

    #[test]
    fn long_texts_of_callers_are_cut() {
        let asked = |who: String, why: String| {
            let caller = Caller { who: Some(who), way: Way::Api, why: Some(why) };
            InboxMessage::Run { v: 1, run: run(), input: Input::Start, caller }
        };
        let (long, cut) = ("x".repeat(MAX_REASON_BYTES + 1), format!("{}…", "x".repeat(MAX_REASON_BYTES - 3)));
        assert_eq!(held_to_limits(asked(long.clone(), long)), asked(cut.clone(), cut));
    }
}
