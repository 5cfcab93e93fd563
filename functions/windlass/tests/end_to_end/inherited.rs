//! What programs get of the host that runs them, and what they do not.

use std::process::Stdio;

use crate::support::{Host, eventually, windlass};

/// Prints what a program sees of its own process and of its agent's.
const LOOK: &str = r#"
task: look
actions:
  look:
    exec:
      - sh
      - -c
      - |
        [ -e /proc/$$/fd/9 ] && echo "descriptor 9 is open" || echo shut
        grep SigIgn /proc/$$/status | cut -f2
        grep SigBlk /proc/$$/status | cut -f2
        cat /proc/$PPID/environ >/dev/null 2>&1 && echo "the environment of the agent can be read" || echo closed
        env | cut -d= -f1 | grep -v '^WINDLASS_\|^PWD\|^_$\|^SHLVL\|^OLDPWD' | sort | tr '\n' ' '
output: "${{ actions.look.output }}"
"#;

#[test]
fn programs_do_not_inherit_what_the_launcher_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    // Descriptor 9 stays open, and HUP, QUIT and USR1 are ignored.
    let script = r#"exec 9</dev/null; trap '' HUP QUIT USR1; exec "$0" serve --listen 127.0.0.1:0 --env-allow 'PATH,LC_*' --data "$1""#;
    let mut launcher = std::process::Command::new("sh");
    launcher.args(["-c", script, crate::support::PROGRAM]).arg(&data).env("SECRET", "s").env("LC_TEST", "x");
    launcher.stdout(Stdio::null()).stderr(Stdio::null());
    let mut host = launcher.spawn().expect("started");
    eventually("the host is ready", || data.join("url").exists());
    let file = folder.path().join("look.yaml");
    std::fs::write(&file, LOOK).expect("written");
    let ask = |arguments: &[&str]| {
        let mut command = windlass();
        command.args(arguments).arg("--data").arg(&data);
        crate::support::Answer::of(command)
    };
    assert_eq!(ask(&["apply", &file.display().to_string()]).code, 0);
    let ran = ask(&["run", "look", "--wait", "--json"]);
    let view: serde_json::Value = serde_json::from_str(&ran.output).expect("JSON");
    let seen = view["output"].as_str().unwrap_or_else(|| panic!("{view}"));
    let [nine, ignored, blocked, closed, names] = seen.lines().collect::<Vec<_>>()[..] else { panic!("{seen}") };
    let mask = |text: &str| u64::from_str_radix(text, 16).expect("a mask");
    // The system keeps the signals from 32 on for itself.
    assert_eq!((nine, mask(ignored) & 0x7fff_ffff, mask(blocked)), ("shut", 0, 0), "{seen}");
    // Root may read everything.
    assert!(rustix::process::geteuid().is_root() || closed == "closed", "{seen}");
    assert_eq!(
        names.split_whitespace().collect::<Vec<_>>(),
        ["AWS_EC2_METADATA_DISABLED", "LC_TEST", "PATH", "TRACEPARENT"]
    );
    // The host itself goes on to ignore them.
    let pid = rustix::process::Pid::from_child(&host);
    for signal in [rustix::process::Signal::HUP, rustix::process::Signal::USR1] {
        rustix::process::kill_process(pid, signal).expect("it lives");
    }
    assert_eq!(ask(&["runs"]).code, 0);
    drop(host.kill());
    drop(host.wait());
}

#[test]
fn long_output_is_told_of() {
    let host = Host::start(&[]);
    host.apply("task: long\nactions:\n  a: { exec: [seq, 1, 40000] }\noutput: \"${{ actions.a.output }}\"\n");
    let ran = host.ask(&["run", "long", "--wait"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let shown = host.ask(&["show", "latest"]).output;
    assert!(shown.contains("the standard output has more than 131072 bytes, so the output is null"), "{shown}");
    assert_eq!(host.json(&["show", "latest"])["output"], serde_json::Value::Null);
}

#[test]
fn link_local_addresses_are_not_called() {
    let host = Host::start(&["--http-deny", "127.0.0.1"]);
    host.apply("task: call\ninput: {}\nactions:\n  a: { http: { url: \"http://${{ input.host }}/\" }, retry: 5 }\n");
    for address in ["169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "localhost:1", "127.1:1"] {
        let ran = host.ask(&["run", "call", "--wait", "--json", "-i", &format!(r#"{{"host": "{address}"}}"#)]);
        let view: serde_json::Value = serde_json::from_str(&ran.output).expect("JSON");
        // `localhost` may be ::1 as well, which is not denied, and where nothing listens.
        let kind = view["actions"]["a"]["error"]["kind"].as_str().unwrap_or_else(|| panic!("{view}"));
        assert!(kind == "http.denied_address" || address.starts_with("localhost"), "{address}: {view}");
    }
}
