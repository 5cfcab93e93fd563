//! A backup of a store, and a folder that is made of one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Answer, Host, windlass};

/// `first` writes down that it ran, and waits for the file `go`.
fn task(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "task: steps\nworkdir: {folder}\nactions:\n  \
         first: {{ exec: [sh, -c, \"echo first >> ran; while ! test -e go; do sleep 0.05; done\"] }}\n  \
         second: {{ needs: [first], exec: [sh, -c, \"echo second >> ran\"] }}\n"
    )
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn back_up(host: &Host, file: &Path) -> Answer {
    host.ask(&["backup", &file.display().to_string()])
}

/// As docs/operations.md says it: a folder of its own, with the backup and the token.
fn restore(backup: &Path, token: &Path, into: &Path) {
    fs::create_dir(into).expect("made");
    fs::set_permissions(into, fs::Permissions::from_mode(0o700)).expect("set");
    fs::copy(backup, into.join("windlass.db")).expect("copied");
    fs::copy(token, into.join("token")).expect("copied");
}

#[test]
fn restored_folder_goes_on_from_its_backup() {
    let mut host = Host::start(&[]);
    let ran = host.files().join("ran");
    host.apply(&task(host.files()));
    fs::write(host.files().join("go"), "").expect("written");
    for _ in 0..3 {
        assert_eq!(host.ask(&["run", "steps", "--wait"]).code, 0);
    }
    fs::remove_file(host.files().join("go")).expect("removed");
    fs::remove_file(&ran).expect("removed");
    let run = host.json(&["run", "steps"])["id"].as_str().expect("an id").to_owned();
    host.until_status(&run, "running");
    host.until(|| lines(&ran) == ["first"]);
    let backup = host.files().join("backup.db");
    let answer = back_up(&host, &backup);
    assert_eq!(answer.code, 0, "{}", answer.errors);
    assert_eq!(fs::metadata(&backup).expect("there").permissions().mode() & 0o777, 0o600);
    // The original goes on, and is lost.
    let go = host.files().join("go");
    fs::write(&go, "").expect("written");
    assert_eq!(host.ask(&["watch", &run]).code, 0);
    assert_eq!(lines(&ran), ["first", "second"]);
    fs::remove_file(&go).expect("removed");
    let later = host.json(&["run", "steps"])["id"].as_str().expect("an id").to_owned();
    host.kill();

    let restored = host.files().join("restored");
    restore(&backup, &host.data().join("token"), &restored);
    fs::write(&go, "").expect("written");
    host.work_on(&restored);
    assert_eq!(host.ask(&["watch", &run]).code, 0);
    let all = lines(&ran);
    assert!(all.ends_with(&["first".to_owned(), "second".to_owned()]), "what ran after the backup runs again: {all:?}");
    assert_eq!(all.iter().filter(|line| *line == "second").count(), 2, "{all:?}");
    assert_eq!(host.json(&["runs"]).as_array().expect("a list").len(), 4);
    let unknown = host.ask(&["show", &later]);
    assert!(unknown.errors.contains("[WL0414]"), "what was accepted after the backup is lost: {}", unknown.errors);
    assert_eq!(host.ask(&["run", "steps", "--wait"]).code, 0);
}

#[test]
fn backup_of_a_killed_host_has_what_it_answered() {
    let mut host = Host::start(&["--no-agent"]);
    host.apply(&task(host.files()));
    let run = host.json(&["run", "steps"])["id"].as_str().expect("an id").to_owned();
    host.kill();
    let backup = host.files().join("backup.db");
    let answer = back_up(&host, &backup);
    assert_eq!(answer.code, 0, "{}", answer.errors);
    let restored = host.files().join("restored");
    restore(&backup, &host.data().join("token"), &restored);
    host.work_on(&restored);
    assert_eq!(host.json(&["show", &run])["id"], run.as_str());
}

#[test]
fn backup_replaces_nothing_and_leaves_nothing_behind() {
    let host = Host::start(&[]);
    let folder = host.files().join("backups");
    fs::create_dir(&folder).expect("made");
    let file = folder.join("one.db");
    assert_eq!(back_up(&host, &file).code, 0);
    let before = fs::read(&file).expect("read");
    for taken in [file.clone(), host.data().join("windlass.db")] {
        let again = back_up(&host, &taken);
        assert_eq!(again.code, 2);
        assert!(again.errors.contains("[WL0621]") && again.errors.contains("a file already"), "{}", again.errors);
    }
    assert_eq!(fs::read(&file).expect("read"), before);
    let nowhere = back_up(&host, &folder.join("none/two.db"));
    assert!(nowhere.errors.contains("[WL0621]"), "{}", nowhere.errors);
    assert_eq!(fs::read_dir(&folder).expect("there").count(), 1);
    let mut empty = windlass();
    empty.args(["backup", &folder.join("two.db").display().to_string(), "--data"]).arg(&folder);
    let empty = Answer::of(empty);
    assert_eq!(empty.code, 3);
    assert!(empty.errors.contains("no host has worked there"), "{}", empty.errors);
}

#[test]
fn foreign_or_damaged_store_is_not_backed_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backup.db");
    let mut text = b"SQLite format 3\0".to_vec();
    text.resize(8192, b'x');
    fs::write(folder.path().join("windlass.db"), text).expect("written");
    let mut command = windlass();
    command.arg("backup").arg(&file).arg("--data").arg(folder.path());
    let answer = Answer::of(command);
    assert_eq!(answer.code, 3, "{}", answer.errors);
    assert!(!file.exists());
}
