//! The environment and the standard input that the agent gives a program.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::{Value, json};
use windlass_domain::run::ErrorInfo;
use windlass_domain::time::Timestamp;
use windlass_domain::work::ExecWork;
use windlass_engine::perform::Attempt;

use super::scratch::Scratch;
use crate::kinds;

/// The prefix of every variable of Windlass, the API's token among them.
const RESERVED: &str = "WINDLASS_";

/// The prefixes of the variables that give a process its identity, for SDKs of AWS and for ECS. By those of ECS the
/// agent reaches its task metadata and its task protection.
const IDENTITY: [&str; 2] = ["AWS_", "ECS_"];

/// The variables that say where AWS is, and not who calls: programs keep them.
const PLACES: [&str; 3] = ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"];
/// The prefix of the variable of one service's address.
const PLACE_OF_SERVICE: &str = "AWS_ENDPOINT_URL_";
/// Keeps SDKs from asking the machine for its role.
const METADATA_DISABLED: &str = "AWS_EC2_METADATA_DISABLED";

/// Whether programs get the credentials of the agent that runs them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Credentials {
    /// They do not: an action names in its `env` the credentials of its program.
    #[default]
    None,
    /// They do: a program can do on AWS everything that its agent can.
    Inherit,
}

impl Credentials {
    /// Reads `none` or `inherit`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "inherit" => Some(Self::Inherit),
            _ => None,
        }
    }
}

/// The variables of an agent that its programs may have.
pub(super) fn inheritable(
    variables: impl Iterator<Item = (OsString, OsString)>,
    credentials: Credentials,
) -> BTreeMap<OsString, OsString> {
    let inherits = credentials == Credentials::Inherit;
    let is_passed = |name: &OsString| !begins(name, RESERVED) && (inherits || !tells_who(name));
    let mut passed: BTreeMap<OsString, OsString> = variables.filter(|(name, _)| is_passed(name)).collect();
    if !inherits {
        passed.insert(METADATA_DISABLED.into(), "true".into());
    }
    passed
}

/// Whether the list has the variable, or a name that ends in `*` and begins as the variable does. The one by which the agent
/// keeps SDKs from its role needs no leave.
pub(super) fn is_allowed(variable: &OsString, names: &[String]) -> bool {
    let fits =
        |name: &String| name.strip_suffix('*').map_or(variable == name.as_str(), |start| begins(variable, start));
    variable == METADATA_DISABLED || names.iter().any(fits)
}

fn tells_who(name: &OsString) -> bool {
    let is_place = PLACES.iter().any(|place| name == place) || begins(name, PLACE_OF_SERVICE);
    !is_place && IDENTITY.iter().any(|prefix| begins(name, prefix))
}

fn begins(name: &OsString, prefix: &str) -> bool {
    name.as_encoded_bytes().starts_with(prefix.as_bytes())
}

/// Refuses arguments and variables that no system can give to a program.
pub(super) fn check(work: &ExecWork) -> Result<(), ErrorInfo> {
    let refuse = |message: String| Err(ErrorInfo::new(kinds::EXEC_INVALID, message));
    if let Some(place) = work.command.iter().position(|part| part.contains('\0')) {
        return refuse(format!("part {} of the command has a NUL character", place + 1));
    }
    if work.command.first().is_none_or(String::is_empty) {
        return refuse("the command is empty".to_owned());
    }
    for (name, value) in &work.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return refuse(format!("{name:?} cannot be the name of a variable"));
        }
        if name.starts_with(RESERVED) {
            return refuse(format!("the variable `{name}`: names that begin with {RESERVED} are Windlass's own"));
        }
        if value.contains('\0') {
            return refuse(format!("the variable `{name}` has a NUL character"));
        }
    }
    Ok(())
}

/// The variables that name the attempt to its program.
pub(super) fn variables(attempt: &Attempt, until: Option<Timestamp>, scratch: &Scratch) -> Vec<(String, OsString)> {
    let mut variables = vec![
        ("RUN", attempt.run.to_string().into()),
        ("TASK", attempt.task.to_string().into()),
        ("VERSION", attempt.version.to_string().into()),
        ("ACTION", attempt.name.to_string().into()),
        ("ATTEMPT", attempt.of.attempt.to_string().into()),
        ("FENCE", attempt.fence.to_string().into()),
        ("IDEMPOTENCY_KEY", attempt.idempotency_key.clone().into()),
        ("OUTPUT", scratch.output().into_os_string()),
        ("ERROR", scratch.error().into_os_string()),
        ("PROGRESS", scratch.progress().into_os_string()),
    ];
    if let Some(checkpoint) = &attempt.checkpoint {
        // Its limit is far below the limit of one variable: 128 KiB on Linux.
        variables.push(("CHECKPOINT", checkpoint.to_string().into()));
    }
    if let Some(until) = until {
        variables.push(("DEADLINE", until.to_string().into()));
    }
    variables.into_iter().map(|(name, value)| (format!("{RESERVED}{name}"), value)).collect()
}

/// The bytes of the program's standard input: the author's `stdin`, or else the attempt's context as a line of JSON.
pub(super) fn stdin(work: &ExecWork, attempt: &Attempt, until: Option<Timestamp>) -> Vec<u8> {
    match &work.stdin {
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(value) => line(value),
        None => line(&json!({
            "run": attempt.run,
            "task": attempt.task,
            "version": attempt.version,
            "action": attempt.name,
            "attempt": attempt.of.attempt,
            "fence": attempt.fence,
            "idempotency_key": attempt.idempotency_key,
            "deadline": until.map(|until| until.to_string()),
            "checkpoint": attempt.checkpoint,
        })),
    }
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_passed(credentials: Credentials, agents: &[&str], expected: &[&str]) {
        let passed = inheritable(agents.iter().map(|name| (name.into(), "of the agent".into())), credentials);
        assert_eq!(passed.keys().collect::<Vec<_>>(), expected, "{credentials:?}");
    }

    #[test]
    fn variables_of_windlass_are_not_inherited() {
        let agents = ["PATH", "WINDLASS_TOKEN", "WINDLASS_DATA", "LANG"];
        check_passed(Credentials::None, &agents, &["AWS_EC2_METADATA_DISABLED", "LANG", "PATH"]);
        check_passed(Credentials::Inherit, &agents, &["LANG", "PATH"]);
    }

    /// The names by which SDKs find credentials:
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>.
    #[test]
    fn credentials_of_agent_are_not_inherited() {
        let secret = [
            "AWS_ACCESS_KEY_ID",
            "AWS_CONFIG_FILE",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_DEFAULT_PROFILE",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "AWS_PROFILE",
            "AWS_ROLE_ARN",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SECURITY_TOKEN",
            "AWS_SESSION_TOKEN",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "ECS_AGENT_URI",
            "ECS_CONTAINER_METADATA_URI",
            "ECS_CONTAINER_METADATA_URI_V4",
        ];
        check_passed(Credentials::None, &secret, &["AWS_EC2_METADATA_DISABLED"]);
        check_passed(Credentials::Inherit, &secret, &secret);
    }

    #[test]
    fn places_of_aws_are_inherited() {
        let places =
            ["AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWSOME", "ECSTASY"];
        let with_metadata = [
            "AWSOME",
            "AWS_DEFAULT_REGION",
            "AWS_EC2_METADATA_DISABLED",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_S3",
            "AWS_REGION",
            "ECSTASY",
        ];
        check_passed(Credentials::None, &places, &with_metadata);
    }

    #[test]
    fn list_says_what_is_inherited() {
        let names = ["PATH", "LC_*", "AWS_*"].map(str::to_owned);
        for allowed in ["PATH", "LC_ALL", "LC_", "AWS_REGION", METADATA_DISABLED] {
            assert!(is_allowed(&allowed.into(), &names), "{allowed}");
        }
        for refused in ["PATHS", "LC", "HOME", "path", ""] {
            assert!(!is_allowed(&refused.into(), &names), "{refused}");
        }
        assert!(!is_allowed(&"PATH".into(), &[]));
    }

    #[test]
    fn credentials_are_none_or_inherit() {
        assert_eq!(Credentials::parse("none"), Some(Credentials::None));
        assert_eq!(Credentials::parse("inherit"), Some(Credentials::Inherit));
        for other in ["", "None", "all"] {
            assert_eq!(Credentials::parse(other), None, "{other}");
        }
    }

    fn check_refused(command: &[&str], env: &[(&str, &str)], expected: Option<&str>) {
        let work = ExecWork {
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            stdin: None,
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            workdir: None,
            output: None,
        };
        match (check(&work), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => {
                assert_eq!(error.kind, kinds::EXEC_INVALID);
                assert!(error.message.contains(expected), "{}", error.message);
            }
            (got, expected) => panic!("{command:?} {env:?}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn command_that_cannot_start_is_refused() {
        check_refused(&["true"], &[("A", "")], None);
        check_refused(&[], &[], Some("empty"));
        check_refused(&["", "x"], &[], Some("empty"));
        check_refused(&["a", "b\0c"], &[], Some("part 2"));
        check_refused(&["a"], &[("", "x")], Some("\"\""));
        check_refused(&["a"], &[("A=B", "x")], Some("A=B"));
        check_refused(&["a"], &[("A", "\0")], Some("`A`"));
        check_refused(&["a"], &[("WINDLASS_FENCE", "9")], Some("WINDLASS_FENCE"));
    }
}
