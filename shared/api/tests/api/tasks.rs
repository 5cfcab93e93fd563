//! Tasks.

use axum::http::StatusCode;
use serde_json::{Value, json};
use windlass_domain::definition::Schedule;
use windlass_domain::ids::TaskName;
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{PortError, ScheduleRefusal, Schedules};
use windlass_testkit::memory::MemoryHost;

use crate::world::{Call, REPORT, START, World};

/// The first five half past twos of 2026 in Berlin, in winter time.
fn due() -> Value {
    (1..=5).map(|day| format!("2026-01-0{day}T01:30:00.000Z")).collect()
}

#[tokio::test]
async fn a_definition_is_put_once() {
    let world = World::new();
    let put = world.put("report", REPORT).await.expect(StatusCode::CREATED);
    assert_eq!(put, json!({ "task": "report", "version": 1, "created": true, "next_due": due() }));
    let again = world.put("report", REPORT).await.expect(StatusCode::OK);
    assert_eq!(again, json!({ "task": "report", "version": 1, "created": false, "next_due": due() }));
    let changed = REPORT.replace("echo, done", "echo, finished");
    assert_eq!(world.put("report", &changed).await.expect(StatusCode::CREATED)["version"], 2);
}

#[tokio::test]
async fn a_definition_may_be_json_and_say_so() {
    let world = World::new();
    let definition = json!({ "task": "tiny", "actions": { "a": { "exec": ["true"] } } });
    for (content_type, status) in
        [("application/json", 201), ("application/yaml", 200), ("application/x-www-form-urlencoded", 200)]
    {
        let call = Call::new("PUT", "/v1/tasks/tiny").header("content-type", content_type).body(definition.to_string());
        assert_eq!(world.send(call).await.status.as_u16(), status, "{content_type}");
    }
    let page = Call::new("PUT", "/v1/tasks/tiny").header("content-type", "text/html; charset=utf-8");
    world.send(page.body(definition.to_string())).await.refused(415, "WL0408");
}

#[tokio::test]
async fn every_fault_of_a_definition_has_its_place() {
    let world = World::new();
    let text = "task: report\nactions:\n  a:\n    exec: [echo]\n    need: [b]\n  b: {}\n";
    let problem = world.put("report", text).await.refused(422, "WL0416");
    let faults = problem["faults"].as_array().unwrap();
    assert!(faults.len() >= 2, "{problem}");
    for fault in faults {
        assert!(fault["code"].as_str().unwrap().starts_with("WL01"), "{fault}");
        assert!(fault["line"].as_u64().is_some() && fault["column"].as_u64().is_some(), "{fault}");
    }
    assert_eq!(faults[0]["line"], 5);
    world.get("/v1/tasks/report").await.refused(404, "WL0411");
    world.put("report", "").await.refused(422, "WL0416");
    world.put("report", "{").await.refused(422, "WL0416");
}

#[tokio::test]
async fn path_and_definition_name_the_same_task() {
    let world = World::new();
    world.put("other", REPORT).await.refused(422, "WL0415");
    world.get("/v1/tasks/report").await.refused(404, "WL0411");
}

#[tokio::test(start_paused = true)]
async fn a_task_is_shown_with_its_definition() {
    let world = World::with_report().await;
    let task = world.get("/v1/tasks/report").await.expect(StatusCode::OK);
    assert_eq!(task["task"], "report");
    assert_eq!(task["version"], 1);
    assert_eq!(task["description"], "Extract and publish");
    assert_eq!(task["labels"], json!({ "client": "acme" }));
    assert_eq!(task["schedule"], json!({ "cron": "30 2 * * *", "timezone": "Europe/Berlin" }));
    assert_eq!(task["next_due"], due());
    assert_eq!(task["updated_at"], "2026-01-01T00:00:00.000Z");
    assert_eq!(task["definition"]["actions"]["extract"]["exec"], json!(["echo", "${{ input.day }}"]));
}

/// A task that was stored by another version of the program hides no other.
#[tokio::test]
async fn unreadable_task_is_listed_with_its_problem() {
    let world = World::with_report().await;
    let name = TaskName::new("broken").unwrap();
    world.ports.tasks.put(&name, &json!({ "actions": {} }), None, world.ports.clock.now()).await.unwrap();
    let list = world.get("/v1/tasks").await.expect(StatusCode::OK);
    assert_eq!((&list["tasks"][0]["task"], &list["tasks"][1]["task"]), (&json!("broken"), &json!("report")));
    let problem = list["tasks"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("WL0702") && problem.contains("version 1 of task `broken`"), "{problem}");
    assert_eq!(list["tasks"][1].get("problem"), None);
}

#[tokio::test]
async fn tasks_are_listed_in_pages() {
    let world = World::new();
    for name in ["c", "a", "b"] {
        let definition = format!("task: {name}\nactions: {{ x: {{ exec: [echo] }} }}\n");
        world.put(name, &definition).await.expect(StatusCode::CREATED);
    }
    let names = |page: &Value| -> Vec<String> {
        page["tasks"].as_array().unwrap().iter().map(|task| task["task"].as_str().unwrap().to_owned()).collect()
    };
    let first = world.get("/v1/tasks?limit=2").await.expect(StatusCode::OK);
    assert_eq!((names(&first), &first["next"]), (vec!["a".to_owned(), "b".to_owned()], &json!("b")));
    assert_eq!(first["tasks"][0].get("definition"), None);
    let second = world.get("/v1/tasks?limit=2&cursor=b").await.expect(StatusCode::OK);
    assert_eq!((names(&second), &second["next"]), (vec!["c".to_owned()], &Value::Null));
}

#[tokio::test]
async fn deleted_task_returns_when_put_again() {
    let world = World::with_report().await;
    let delete = || Call::new("DELETE", "/v1/tasks/report");
    world.send(delete()).await.expect(StatusCode::NO_CONTENT);
    world.send(delete()).await.expect(StatusCode::NO_CONTENT);
    world.get("/v1/tasks/report").await.refused(410, "WL0413");
    world.post("/v1/tasks/report/runs", json!({})).await.refused(410, "WL0413");
    assert_eq!(world.get("/v1/tasks").await.expect(StatusCode::OK)["tasks"], json!([]));
    assert_eq!(world.ports.tasks.earliest_due().await.unwrap(), None);
    world.get("/v1/tasks/report/versions/1").await.expect(StatusCode::OK);

    assert_eq!(world.put("report", REPORT).await.expect(StatusCode::OK)["version"], 1);
    world.post("/v1/tasks/report/runs", json!({})).await.expect(StatusCode::ACCEPTED);
    assert!(world.ports.tasks.earliest_due().await.unwrap().is_some());
    world.send(Call::new("DELETE", "/v1/tasks/other")).await.refused(404, "WL0411");
}

/// A host that was down when a task was due finds the same definition applied again before its scheduler looks.
#[tokio::test]
async fn same_schedule_put_again_keeps_due_times() {
    let world = World::with_report().await;
    let name = TaskName::new("report").unwrap();
    let next_due = async || world.ports.tasks.load(&name).await.unwrap().unwrap().next_due.unwrap().to_string();
    world.host.set_time(Timestamp::parse_rfc3339("2026-01-01T03:00:00Z").unwrap());
    world.put("report", REPORT).await.expect(StatusCode::OK);
    assert_eq!(next_due().await, "2026-01-01T01:30:00.000Z");
    world.put("report", &REPORT.replace("30 2", "45 2")).await.expect(StatusCode::CREATED);
    assert_eq!(next_due().await, "2026-01-02T01:45:00.000Z");
    let unscheduled: String =
        REPORT.lines().filter(|line| !line.starts_with("schedule")).fold(String::new(), |a, l| a + l + "\n");
    let put = world.put("report", &unscheduled).await.expect(StatusCode::CREATED);
    assert_eq!(put["next_due"], json!([]));
    assert_eq!(world.ports.tasks.load(&name).await.unwrap().unwrap().next_due, None);
}

#[tokio::test(start_paused = true)]
async fn versions_stay() {
    let world = World::with_report().await;
    for day in ["monday", "tuesday"] {
        world.put("report", &REPORT.replace("default: today", &format!("default: {day}"))).await;
    }
    let first = world.get("/v1/tasks/report/versions?limit=2").await.expect(StatusCode::OK);
    assert_eq!((&first["versions"][0]["version"], &first["versions"][1]["version"]), (&json!(3), &json!(2)));
    let second = world.get("/v1/tasks/report/versions?limit=2&cursor=2").await.expect(StatusCode::OK);
    assert_eq!(second["versions"], json!([{ "version": 1, "created_at": "2026-01-01T00:00:00.000Z" }]));
    assert_eq!((&first["next"], &second["next"]), (&json!("2"), &Value::Null));

    let one = world.get("/v1/tasks/report/versions/2").await.expect(StatusCode::OK);
    assert_eq!(one["definition"]["input"]["properties"]["day"]["default"], "monday");
    for version in ["0", "4"] {
        world.get(&format!("/v1/tasks/report/versions/{version}")).await.refused(404, "WL0412");
    }
    world.get("/v1/tasks/report/versions/one").await.refused(400, "WL0409");
    world.get("/v1/tasks/other/versions").await.refused(404, "WL0411");
    world.get("/v1/tasks/other/versions/1").await.refused(404, "WL0411");
}

/// A host that fires no more often than once a minute.
struct Minutes;

#[async_trait::async_trait]
impl Schedules for Minutes {
    fn check(&self, _: &Schedule) -> Result<(), ScheduleRefusal> {
        let message = "`every: 30s` is too short here".to_owned();
        Err(ScheduleRefusal { code: "WL0340", path: "schedule.every", message, help: Some("write `1m`".to_owned()) })
    }
    async fn put(&self, _: &TaskName, _: &Schedule, _: Timestamp) -> Result<(), PortError> {
        Ok(())
    }
    async fn remove(&self, _: &TaskName) -> Result<(), PortError> {
        Ok(())
    }
}

#[tokio::test]
async fn unsupported_schedule_is_a_fault_of_the_definition() {
    let host = MemoryHost::new(Timestamp::parse_rfc3339(START).unwrap());
    let ports = Ports { schedules: std::sync::Arc::new(Minutes), ..host.ports() };
    let world = World::on(host, ports);
    let problem = world.put("report", REPORT).await.refused(422, "WL0416");
    let fault = json!({
        "code": "WL0340", "path": "schedule.every", "message": "`every: 30s` is too short here", "help": "write `1m`",
    });
    assert_eq!(problem["faults"], json!([fault]));
    world.get("/v1/tasks/report").await.refused(404, "WL0411");
}
