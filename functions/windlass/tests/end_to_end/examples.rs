//! Every example, run to its end by the real program.

use std::fs;
use std::path::Path;

use crate::support::Host;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// A host with a copy of one example applied.
fn host_with(example: &str) -> Host {
    let host = Host::start(&[]);
    let folder = host.files().join(example);
    fs::create_dir(&folder).expect("made");
    for entry in fs::read_dir(Path::new(EXAMPLES).join(example)).expect("the example") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
    let file = folder.join(format!("{example}.yaml"));
    let applied = host.json(&["apply", file.to_str().expect("text")]);
    assert_eq!(applied[0]["version"], 1);
    assert!(applied[0]["workdir"].as_str().expect("a folder").ends_with(example), "{applied}");
    host
}

#[test]
fn nightly_report_ends_with_its_allowed_fault() {
    let host = host_with("nightly-report");
    let run = host.json(&["run", "nightly-report", "--wait", "--input", r#"{"day": "2026-03-01"}"#]);
    assert_eq!(run["actions"]["totals"]["status"], "succeeded", "{run}");
    assert_eq!(run["actions"]["publish"]["status"], "succeeded", "{run}");
    let report = fs::read_to_string(run["output"]["report"].as_str().expect("a path")).expect("a report");
    assert!(report.starts_with("# Sales of 2026-03-01\n"), "{report}");
    // Whether something listens on the charts' port is not this test's to say.
    match run["actions"]["charts"]["status"].as_str() {
        Some("failed") => assert_eq!(run["status"], "succeeded_with_faults"),
        _ => assert_eq!(run["status"], "succeeded"),
    }
    let task = host.json(&["tasks", "nightly-report"]);
    assert_eq!(task["next_due"].as_array().map(Vec::len), Some(5), "{task}");
    assert_eq!(host.json(&["show", "latest"]), run, "`show` and `run --wait` print the same run");
}

#[test]
fn log_pipeline_counts_lines_and_tidies_up() {
    let host = host_with("log-pipeline");
    let run = host.json(&["run", "log-pipeline", "--wait", "--input", r#"{"lines": 1000}"#]);
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!(run["output"]["requests"], 4000);
    let folder = run["actions"]["generate"]["output"]["folder"].as_str().expect("a path");
    assert!(!Path::new(folder).exists());
}

#[test]
fn the_csv_join_tries_the_flaky_source_again() {
    let host = host_with("csv-join");
    let run = host.json(&["run", "csv-join", "--wait", "--input", r#"{"orders": 200}"#]);
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!(run["actions"]["customers"]["attempts"], 2);
    assert_eq!(run["output"]["rows"], 200);
    let events = host.ask(&["events", "latest"]);
    assert!(events.output.contains("action.retrying     customers  source.away"), "{}", events.output);
}

#[test]
fn the_health_check_takes_the_branch_that_fits() {
    let host = host_with("health-check");
    let url = fs::read_to_string(host.data().join("url")).expect("an address");
    let input = format!(r#"{{"url": "{}/healthz", "full_at": 101}}"#, url.trim());
    let well = host.json(&["run", "health-check", "--wait", "--input", &input]);
    assert_eq!(well["status"], "succeeded", "{well}");
    assert_eq!(well["actions"]["alarm"]["status"], "skipped");

    let ill = host.ask(&["run", "health-check", "--wait", "--json", "--input", r#"{"url": "http://127.0.0.1:1/"}"#]);
    assert_eq!(ill.code, 1, "{}", ill.errors);
    let ill: serde_json::Value = serde_json::from_str(&ill.output).expect("a run");
    assert_eq!(ill["actions"]["alarm"]["status"], "succeeded", "{ill}");
    assert_eq!(ill["actions"]["well"]["status"], "skipped");
    assert_eq!(ill["actions"]["note"]["status"], "succeeded");
}

#[test]
fn the_backup_keeps_three() {
    let host = host_with("backup");
    for _ in 0..4 {
        let run = host.json(&["run", "backup", "--wait"]);
        assert_eq!(run["status"], "succeeded", "{run}");
        assert_eq!(run["output"]["files"], 5, "{run}");
    }
    let kept = fs::read_dir(host.files().join("backup/out")).expect("there").count();
    assert_eq!(kept, 3);
}
