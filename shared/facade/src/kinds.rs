//! The kinds of failure that the facades name. Retry policies decide by them (`never: ["auth.*"]`), so each is part of
//! the contract with authors. Which of them no policy retries is the domain's rule
//! ([`is_permanent`](windlass_domain::retry::is_permanent)).

/// The program asked for another attempt: exit code 75, `EX_TEMPFAIL` of BSD's sysexits.
pub const TEMPORARY: &str = "temporary";
/// The program was denied access: exit code 77, `EX_NOPERM` of BSD's sysexits.
pub const AUTH_DENIED: &str = "auth.denied";
/// The attempt took longer than it may.
pub const TIMEOUT: &str = "timeout";
/// The output file, or a response that says it is JSON, is not JSON.
pub const OUTPUT_INVALID: &str = "output.invalid";
/// The output is longer than `MAX_OUTPUT_BYTES`.
pub const OUTPUT_TOO_LARGE: &str = "output.too_large";
/// There is no such program, or no such interpreter of a script.
pub const EXEC_NOT_FOUND: &str = "exec.not_found";
/// The program may not be executed, or is no program.
pub const EXEC_DENIED: &str = "exec.denied";
/// The folder that the program is to run in is not there.
pub const EXEC_WORKDIR: &str = "exec.workdir";
/// The system cannot take the command or a variable: a NUL byte, an empty command, a list that is too long.
pub const EXEC_INVALID: &str = "exec.invalid";
/// The system would not start the program, for want of memory or processes.
pub const EXEC_SPAWN: &str = "exec.spawn";
/// The agent's own files failed: its temporary folder is full or not there.
pub const AGENT_IO: &str = "agent.io";
/// The agent cannot send the request: its method, URL or a header is wrong.
pub const HTTP_INVALID_REQUEST: &str = "http.invalid_request";
/// The agent calls no such address.
pub const HTTP_DENIED_ADDRESS: &str = "http.denied_address";
/// The host's name is not known.
pub const NETWORK_DNS: &str = "network.dns";
/// The host did not take the connection, or its certificate was not accepted.
pub const NETWORK_CONNECT: &str = "network.connect";
/// The connection ended before the response did.
pub const NETWORK_RESET: &str = "network.reset";
/// The endpoint took longer than the facade waits.
pub const NETWORK_TIMEOUT: &str = "network.timeout";
/// The agent has no handler of that name.
pub const NATIVE_UNKNOWN_HANDLER: &str = "native.unknown_handler";
/// The handler panicked.
pub const NATIVE_PANIC: &str = "native.panic";

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_domain::retry::is_permanent;

    #[test]
    fn passing_failures_are_retried() {
        let network = [NETWORK_DNS, NETWORK_CONNECT, NETWORK_RESET, NETWORK_TIMEOUT];
        let program = [TEMPORARY, TIMEOUT, EXEC_SPAWN, AGENT_IO, NATIVE_PANIC];
        for kind in [network.as_slice(), &program].concat() {
            assert!(!is_permanent(kind), "{kind}");
        }
    }

    #[test]
    fn permanent_failures_are_not_retried() {
        let program = [AUTH_DENIED, OUTPUT_INVALID, OUTPUT_TOO_LARGE, EXEC_NOT_FOUND, EXEC_DENIED];
        for kind in [program.as_slice(), &[HTTP_INVALID_REQUEST, HTTP_DENIED_ADDRESS, NATIVE_UNKNOWN_HANDLER]].concat()
        {
            assert!(is_permanent(kind), "{kind}");
        }
    }
}
