//! Stored definitions: reading a missing or unreadable one fails with its error code.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::time::Timestamp;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::ErrorClass;
use windlass_testkit::memory::MemoryHost;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Stores a definition past everything that checks it, and asks for a version of it.
async fn check(stored: &Value, version: TaskVersion, code: &str) {
    let tasks = MemoryHost::new(START).ports().tasks;
    let task = TaskName::new("t").expect("a name");
    tasks.put(&task, stored, None, START).await.expect("it is stored");
    let told = Definitions::new(Arc::clone(&tasks)).get(&task, version).await.expect_err(code);
    assert_eq!((told.class, told.code), (ErrorClass::Bug, code), "{told}");
    assert!(told.message.contains(&format!("version {version} of task `t`")), "{told}");
}

#[tokio::test]
async fn missing_or_unreadable_version_is_an_error() {
    let sound = json!({ "task": "t", "actions": { "a": { "exec": ["true"] } } });
    check(&sound, 2, "WL0701").await;
    check(&json!({ "task": "t", "actions": {} }), 1, "WL0702").await;
}
