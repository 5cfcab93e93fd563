//! The table of attempts, row by row: a state, and the effect of each word about it. It is 100 ms after the epoch.

use super::*;
use crate::delivery::Delivery;
use crate::ids::AgentId;
use crate::limits::{CHECK_AFTER_MS, CLOCKS_DIFFER_MS, MAX_LOSSES, SUSPECT_LOSSES};
use crate::time::{Millis, Timestamp};

const NOW: Timestamp = Timestamp::from_millis(100);

/// `ada/7`: an agent, and the message that it names.
fn agent_and_message(text: &str) -> (AgentId, u32) {
    let (agent, message) = text.split_once('/').unwrap();
    (AgentId::new(agent).unwrap(), message.parse().unwrap())
}

/// `running 1.0.1 ada/7 until 200 renewal 2`: from the owner on, all may be left out.
fn state(text: &str) -> ActionState {
    let parts: Vec<&str> = text.split(' ').collect();
    let status = ActionStatus::ALL.into_iter().find(|status| status.as_str() == parts[0]).unwrap();
    let number = |name: &str| parts.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].parse().unwrap());
    let owner = parts.get(2).map(|owner| {
        let (agent, message) = agent_and_message(owner);
        let until = number("until").map(Timestamp::from_millis);
        let renewal = number("renewal").map_or(0, |number| u32::try_from(number).unwrap());
        Owner { message, until, renewal, ..Owner::of_end(agent, NOW) }
    });
    let last = parts.get(1).map_or(Delivery::default(), |last| last.parse().unwrap());
    let queued_at = Some(Timestamp::from_millis(0));
    ActionState { status, last, owner, queued_at, ..ActionState::default() }
}

/// `claim 1.0.2 ben/7`; a renewal has its number: `renewal:1`; a dead letter has no agent: `dead-letter 1.0.2 -/7`.
fn judged(state: &ActionState, said: &str) -> String {
    let parts: Vec<&str> = said.split(' ').collect();
    let (word, number) = parts[0].split_once(':').unwrap_or((parts[0], "0"));
    let word = match word {
        "claim" => Word::Claim,
        "started" => Word::Started,
        "renewal" => Word::Renewal(number.parse().unwrap()),
        "progress" => Word::Progress,
        "hand-back" => Word::HandBack { kept: false },
        "hand-back-kept" => Word::HandBack { kept: true },
        "end" => Word::End,
        "dead-letter" => Word::DeadLetter,
        other => panic!("no word: {other}"),
    };
    let (agent, message) = agent_and_message(&parts[2].replace("-/", "queue/"));
    let agent = Some(&agent).filter(|_| word != Word::DeadLetter);
    match judge(state, &Said { word, delivery: parts[1].parse().unwrap(), message, agent }, NOW) {
        Ok(Verdict::Counts) => "counts".to_owned(),
        Ok(Verdict::Owns) => "owns".to_owned(),
        Ok(Verdict::Confirmed { lost: None }) => "confirmed".to_owned(),
        Ok(Verdict::Confirmed { lost: Some(lost) }) => format!("confirmed, lost {lost}"),
        Ok(Verdict::Again) => "again".to_owned(),
        Err(Refused::Over) => "over".to_owned(),
        Err(Refused::Unknown) => "unknown".to_owned(),
        Err(Refused::Replaced { fate, costs_owner }) => {
            let fate = if fate == Fate::Delete { "delete" } else { "leave" };
            format!("{fate}{}", if costs_owner { ", costs the owner" } else { "" })
        }
    }
}

fn check(of: &str, rows: &[(&str, &str)]) {
    let state = state(of);
    for (said, expected) in rows {
        assert_eq!(judged(&state, said), *expected, "{said} of {of}");
    }
}

/// Rule 2.
#[test]
fn claim_above_last_is_confirmed_if_free() {
    check("queued 1.0.0", &[("claim 1.0.1 ada/7", "confirmed"), ("claim 1.3.1 ada/7", "confirmed")]);
    check("queued 1.5.0", &[("claim 1.5.1 ada/7", "confirmed"), ("claim 1.4.9 ada/7", "delete")]);
    let by_ada = [
        ("claim 1.0.1 ada/7", "again"),
        ("claim 1.0.1 ada/8", "delete"),
        ("claim 1.0.1 ben/7", "leave"),
        ("claim 1.0.2 ben/7", "confirmed, lost 1.0.1"),
        ("claim 1.0.2 ada/7", "confirmed"),
        ("claim 1.0.2 ben/8", "delete"),
        ("claim 1.1.1 ben/7", "leave"),
    ];
    check("running 1.0.1 ada/7", &by_ada);
    check("running 1.4.2 ada/7", &[("claim 1.4.1 ben/7", "leave"), ("claim 1.0.9 ben/7", "delete")]);
}

/// Rule 2, and rule 7: a leased attempt needs no message.
#[test]
fn leased_attempt_is_confirmed_to_its_owner_alone() {
    let leased = [
        ("claim 1.0.1 ada/7", "again"),
        ("claim 1.0.2 ben/7", "delete"),
        ("claim 1.9.1 ben/8", "delete"),
        ("claim 1.9.1 ada/8", "delete"),
    ];
    check("running 1.0.1 ada/7 until 101", &leased);
    let lapsed = [("claim 1.0.1 ada/7", "again"), ("claim 1.0.1 ben/7", "leave"), ("claim 1.0.2 ben/7", "leave")];
    check("running 1.0.1 ada/7 until 100", &lapsed);
    check("queued 1.0.1 ada/7 until 50", &lapsed);
}

/// An agent may have deleted an older message, and the queue may show its refused claim once more.
#[test]
fn lapsed_attempt_is_confirmed_by_messages_sent_since() {
    for (of, lapsed_at) in [("running 1.0.1 ada/7 until 100", 100), ("queued 1.0.1 ada/7 until 50", 50)] {
        let (before, since) = (format!("claim 1.{lapsed_at}.1"), format!("claim 1.{}.1", lapsed_at + 1));
        let rows = [
            (format!("{before} ben/8"), "delete"),
            (format!("{since} ben/8"), "confirmed, lost 1.0.1"),
            (format!("{since} ada/8"), "confirmed"),
        ];
        check(of, &rows.each_ref().map(|(said, expected)| (said.as_str(), *expected)));
    }
}

/// Rule 3.
#[test]
fn report_counts_by_last_and_its_owner() {
    for word in ["end", "hand-back", "progress"] {
        let check = |of: &str, said: &str, expected: &str| check(of, &[(&format!("{word} {said}"), expected)]);
        // By its first word, an agent that began without asking becomes the owner.
        let first = if word == "progress" { "owns" } else { "counts" };
        check("queued 1.0.0", "1.0.1 ada/7", first);
        check("queued 1.4.0", "1.4.1 ada/7", first);
        check("queued 1.4.0", "1.0.1 ada/7", "delete");
        for owned in ["running 1.4.2 ada/7", "running 1.4.2 ada/7 until 200", "queued 1.4.2 ada/7 until 50"] {
            check(owned, "1.4.2 ada/7", "counts");
            check(owned, "1.4.2 ada/8", "counts");
            check(owned, "1.4.1 ada/7", if owned.ends_with("200") { "delete" } else { "leave" });
        }
        check("running 1.4.2 ada/7", "1.4.3 ben/7", "leave");
        check("running 1.4.2 ada/7", "1.5.1 ben/8", "delete");
    }
}

/// Rule 3: an agent whose lease ran out cannot go on by itself.
#[test]
fn start_and_renewal_after_a_lapse_are_refused() {
    let first = [("started 1.0.1 ada/7", "owns"), ("renewal:1 1.0.1 ada/7", "owns"), ("started 1.2.1 ada/9", "owns")];
    check("queued 1.0.0", &first);
    check("queued 1.3.0", &[("started 1.0.1 ada/7", "delete"), ("renewal:1 1.0.1 ada/7", "delete")]);
    let own = [
        ("started 1.0.1 ada/7", "again"),
        ("renewal:3 1.0.1 ada/7", "counts"),
        ("renewal:2 1.0.1 ada/7", "again"),
        ("renewal:9 1.0.1 ben/7", "leave"),
        ("started 1.0.2 ben/7", "leave"),
    ];
    check("running 1.0.1 ada/7 renewal 2", &[&own[..3], &own[3..]].concat());
    for lapsed in ["queued 1.0.1 ada/7 until 50", "running 1.0.1 ada/7 until 100"] {
        check(lapsed, &[("started 1.0.1 ada/7", "leave"), ("renewal:1 1.0.1 ada/7", "leave")]);
    }
}

/// Rule 3: the agent that ended it has deleted the owner's message.
#[test]
fn refused_end_of_the_owners_message_costs_it() {
    for word in ["end", "hand-back"] {
        let said = |of: &str| format!("{word} {of}");
        check("running 1.0.1 ada/7", &[(&said("1.0.1 ben/7"), "leave, costs the owner")]);
        check("running 1.0.1 ada/7", &[(&said("1.0.1 ben/8"), "delete"), (&said("1.0.2 ben/7"), "leave")]);
        check("running 1.0.1 ada/7 until 200", &[(&said("1.0.1 ben/7"), "delete")]);
        check("queued 1.0.1 ada/7 until 50", &[(&said("1.0.1 ben/7"), "leave")]);
    }
    // It still has the message, so the owner does, too.
    check("running 1.0.1 ada/7", &[("hand-back-kept 1.0.1 ben/7", "leave")]);
    check("running 1.0.1 ada/7", &[("progress 1.0.1 ben/7", "leave")]);
}

/// Rule 4: later issues had to be claimed, so no agent began them without asking.
#[test]
fn first_claim_of_redelivery_counts_a_loss() {
    check(
        "queued 1.0.0",
        &[("claim 1.0.2 ada/7", "confirmed, lost 1.0.1"), ("claim 1.0.4 ada/7", "confirmed, lost 1.0.3")],
    );
    check("queued 1.0.0", &[("claim 1.1.2 ada/7", "confirmed")]);
    check("queued 1.5.0", &[("claim 1.5.4 ada/7", "confirmed")]);
}

/// Rule 4: any later word of a lost delivery takes the loss back.
#[test]
fn word_of_a_lost_delivery_disproves_the_loss() {
    let lost = ["1.0.3", "1.4.1"].map(|text| text.parse::<Delivery>().unwrap());
    let state = ActionState { losses: lost.to_vec(), ..state("running 1.4.2 ada/7") };
    let rows = [
        ("1.0.3", Some("1.0.3")),
        ("1.0.1", Some("1.0.3")),
        ("1.0.4", None),
        ("1.4.1", Some("1.4.1")),
        ("1.4.0", None),
        ("2.0.1", None),
    ];
    for (said, expected) in rows {
        let found = disproved(&state, said.parse().unwrap());
        assert_eq!(found.map(|lost| lost.to_string()).as_deref(), expected, "{said}");
    }
}

#[test]
fn losses_make_an_action_suspect_then_poison() {
    for (count, expected) in [(1, (false, false)), (2, (true, false)), (3, (true, false)), (4, (true, true))] {
        let losses = (0..count).map(|receive| Delivery::new(1, 1, receive)).collect();
        let state = ActionState { losses, ..state("running 1.9.1 ada/7") };
        assert_eq!((is_suspect(&state), is_poison(&state)), expected, "{count} losses");
    }
    assert_eq!((SUSPECT_LOSSES, MAX_LOSSES), (2, 5));
}

/// Rule 6.
#[test]
fn first_message_may_begin_unasked_while_fresh() {
    let fresh = |of: &str, waited: u64| {
        let state = ActionState { queued_at: Some(NOW), ..state(of) };
        may_begin_unasked(&state, NOW.plus(Millis(waited)))
    };
    let longest = CHECK_AFTER_MS + CLOCKS_DIFFER_MS;
    assert!(fresh("queued 1.0.0", 0) && fresh("queued 1.0.0", longest) && !fresh("queued 1.0.0", longest + 1));
    for begun in ["queued 1.1.0", "queued 1.7.0", "running 1.0.1 ada/7", "queued 1.0.1 ada/7 until 50"] {
        assert!(!fresh(begun, 0), "{begun}");
    }
}

/// Rule 8.
#[test]
fn dead_letter_ends_only_the_message_that_counts() {
    let unowned = [("dead-letter 1.0.9 -/7", "counts"), ("dead-letter 1.1.9 -/7", "leave")];
    check("queued 1.0.0", &unowned);
    check("queued 1.5.0", &[("dead-letter 1.5.0 -/7", "counts"), ("dead-letter 1.0.9 -/7", "delete")]);
    for owned in ["running 1.5.2 ada/7", "running 1.5.2 ada/7 until 100", "queued 1.5.2 ada/7 until 50"] {
        let rows = [("dead-letter 1.5.1 -/7", "counts"), ("dead-letter 1.5.9 -/7", "counts")];
        check(owned, &rows);
        check(owned, &[("dead-letter 1.5.9 -/8", "delete"), ("dead-letter 1.6.9 -/7", "leave")]);
    }
    check("running 1.5.2 ada/7 until 101", &[("dead-letter 1.5.9 -/7", "delete")]);
}

#[test]
fn word_of_another_attempt_changes_nothing() {
    let words = ["claim", "started", "renewal:1", "progress", "hand-back", "end", "dead-letter"];
    for word in words {
        let said = |delivery: &str| format!("{word} {delivery} ada/7");
        check("queued 2.0.0", &[(&said("1.0.1"), "over"), (&said("3.0.1"), "unknown"), (&said("0.0.1"), "unknown")]);
        for over in ["waiting", "retry_waiting", "succeeded", "failed", "timed_out", "skipped", "cancelled"] {
            check(&format!("{over} 1.0.1 ada/7"), &[(&said("1.0.1"), "over")]);
        }
    }
}
