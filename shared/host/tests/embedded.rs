//! A host inside this very program.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use windlass_host::{
    Caller, Definition, Handlers, Host, HostError, PoolName, Run, RunStatus, SeparateAgent, StartRequest, TOKEN_FILE,
    URL_FILE,
};

const TASK: &str = "task: echo\nactions:\n  say: { native: { handler: echo, input: \"${{ input }}\" } }\n\
                    output: \"${{ actions.say.output }}\"\n";

fn handlers() -> Handlers {
    Handlers::new().with("echo", |input, _control| async move { Ok(input) })
}

async fn submit(host: &Host, input: Value) -> Run {
    let definition = Definition::from_text(TASK).expect("a definition");
    host.registry().put(&definition).await.expect("put");
    let request = StartRequest { task: definition.task, version: None, input, key: None, caller: Caller::default() };
    host.starter().start(request).await.expect("started").run
}

/// The status line of a call to the API.
fn status_of(host: &Host, token: &str) -> String {
    let mut stream = TcpStream::connect(host.address()).expect("connected");
    let address = host.address();
    write!(
        stream,
        "GET /v1/tasks HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.lines().next().unwrap_or_default().to_owned()
}

/// The example, as cargo has built it beside this test.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a folder of a profile");
    profile.join("examples/embed")
}

#[test]
fn example_runs_a_task_and_prints_its_output() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let run = Command::new(example())
            .arg(folder.path())
            .output()
            .expect("the example is built with all tests of the crate");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(serde_json::from_slice::<Value>(&run.stdout).expect("JSON"), json!({ "words": 8 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn api_answers_the_token_of_its_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::builder(folder.path()).without_agents().start().await.expect("started");
    let written = std::fs::read_to_string(folder.path().join(TOKEN_FILE)).expect("a token");
    assert_eq!(written.trim(), host.token());
    assert_eq!(std::fs::read_to_string(folder.path().join(URL_FILE)).expect("a URL").trim(), host.url());
    assert_eq!(status_of(&host, host.token()), "HTTP/1.1 200 OK");
    assert_eq!(status_of(&host, "another"), "HTTP/1.1 401 Unauthorized");
    host.shutdown().await.expect("ended");
    assert!(!folder.path().join(URL_FILE).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn run_survives_the_end_of_its_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::builder(folder.path()).without_agents().start().await.expect("started");
    let run = submit(&host, json!("kept")).await;
    host.shutdown().await.expect("ended");
    let next = Host::builder(folder.path()).handlers(handlers()).start().await.expect("started");
    let run = next.wait_for_end(run.id).await.expect("read").expect("it is there");
    assert_eq!((run.status, run.output), (RunStatus::Succeeded, Some(json!("kept"))));
    next.shutdown().await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn separate_agent_performs_for_its_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::builder(folder.path()).without_agents().start().await.expect("started");
    let stop = CancellationToken::new();
    let agent = SeparateAgent::new(folder.path(), PoolName::default(), 1).handlers(handlers());
    let stopping = stop.clone();
    let agent = tokio::spawn(async move { agent.run(&stopping).await });
    let run = submit(&host, json!({ "a": 1 })).await;
    let run = host.wait_for_end(run.id).await.expect("read").expect("it is there");
    assert_eq!(run.output, Some(json!({ "a": 1 })));
    stop.cancel();
    agent.await.expect("no panic").expect("ended in order");
    host.shutdown().await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn second_host_of_a_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::builder(folder.path()).start().await.expect("started");
    let refused = Host::builder(folder.path()).start().await.err().expect("refused");
    assert_eq!(refused.code(), "WL0311");
    host.shutdown().await.expect("ended");
}

#[tokio::test]
async fn address_for_other_machines_must_be_meant() {
    for address in ["0.0.0.0:0", "10.0.0.7:8080", "[::]:0"] {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let refused = Host::builder(&data).listen(address.parse().expect("an address")).start().await.err();
        assert!(matches!(refused, Some(HostError::Remote(_))), "{address}");
        assert!(!data.exists(), "nothing was opened");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let meant = Host::builder(folder.path()).listen(([0, 0, 0, 0], 0).into()).allow_remote();
    let host = meant.without_agents().start().await.expect("started");
    assert!(host.url().starts_with("http://127.0.0.1:"), "{}", host.url());
    host.shutdown().await.expect("ended");
}
