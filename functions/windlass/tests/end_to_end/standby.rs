//! A second host that stands by on a folder, and takes over when the first one ends.

use std::time::{Duration, Instant};

use crate::support::Host;

const TWO_STEPS: &str = "task: two-steps\nactions:\n  first: { exec: [sleep, \"1\"], retry: 2 }\n  \
                         second: { needs: [first], exec: [echo, done] }\n";
/// The longest that a folder has no host after the death of one.
const WITHOUT_HOST: Duration = Duration::from_secs(2);

/// The files of the folder that a process has open.
fn open_files(id: u32, folder: &std::path::Path) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{id}/fd")).expect("its files");
    let targets = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(folder)).map(|target| target.display().to_string()).collect()
}

#[test]
fn standby_takes_over_from_a_killed_host() {
    let mut host = Host::start(&[]);
    host.apply(TWO_STEPS);
    let run = host.json(&["run", "two-steps"])["id"].as_str().expect("an id").to_owned();
    host.until_status(&run, "running");
    let mut standby = host.second(&["--standby"]);
    standby.until_logged("this one stands by until that one ends");
    assert_eq!(open_files(standby.id(), &host.data()), Vec::<String>::new(), "it touches nothing");
    assert_eq!(standby.ready(), "");
    host.kill();
    let since = Instant::now();
    assert!(standby.until_ready(), "{}", standby.until_logged(""));
    assert!(since.elapsed() < WITHOUT_HOST, "{:?}", since.elapsed());
    standby.until_logged("the other host has ended; this one takes over");
    host.is_now(standby);
    assert_eq!(host.ask(&["watch", &run]).code, 0);
}

#[test]
fn standby_takes_over_from_a_host_that_ends_in_order() {
    let mut host = Host::start(&[]);
    let mut standby = host.second(&["--standby"]);
    standby.until_logged("this one stands by until that one ends");
    assert_eq!(host.terminate(), Some(0));
    assert!(standby.until_ready());
    host.is_now(standby);
    assert_eq!(host.ask(&["runs"]).code, 0);
}

#[test]
fn standby_without_another_host_is_the_host() {
    let host = Host::start(&["--standby"]);
    assert_eq!(host.ask(&["runs"]).code, 0);
}

#[test]
fn one_of_two_standbys_takes_over_and_the_other_goes_on_waiting() {
    let mut host = Host::start(&[]);
    let mut standbys = [host.second(&["--standby"]), host.second(&["--standby"])];
    for standby in &standbys {
        standby.until_logged("this one stands by until that one ends");
    }
    host.kill();
    let is_ready = |served: &crate::support::Served| served.ready().contains("windlass host at");
    let given_up = Instant::now() + crate::support::PATIENCE;
    while !standbys.iter().any(is_ready) {
        assert!(Instant::now() < given_up);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(standbys.iter().filter(|standby| is_ready(standby)).count(), 1);
    let other = standbys.iter_mut().find(|standby| !is_ready(standby)).expect("one waits");
    assert!(other.is_running(), "{}", other.until_logged(""));
}

#[test]
fn standby_ends_when_it_is_asked_to() {
    let host = Host::start(&[]);
    let mut standby = host.second(&["--standby"]);
    standby.until_logged("this one stands by until that one ends");
    assert_eq!(standby.terminate(), Some(0));
    assert_eq!(host.ask(&["runs"]).code, 0);
}
