//! One file for each form of each sent or stored format, read and written byte for byte.
//!
//! `UPDATE_GOLDEN=1 cargo test -p windlass-contract --test golden` writes files that are missing. It never overwrites a
//! file, because a shipped format keeps its files for ever. To change the format, make another version. As long as
//! nothing has been shipped, delete `golden/v1` and write it again.
#![expect(clippy::unwrap_used, reason = "tests")]

mod samples;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_contract::event::PublicEvent;
use windlass_contract::message::{self, ControlMessage, InboxMessage, Message, PerformMessage};
use windlass_contract::record;
use windlass_contract::schema;
use windlass_contract::view::{RunSummary, RunView};
use windlass_domain::run::{Fact, Run};

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1").join(of)
}

/// Holds the samples against the folder's files: the same names, and in each the same text.
fn check(of: &str, samples: &[(String, String)], reread: impl Fn(&str) -> String) {
    let folder = folder(of);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in samples {
            let path = folder.join(format!("{name}.json"));
            if !path.exists() {
                std::fs::write(path, format!("{text}\n")).unwrap();
            }
        }
    }
    let names: BTreeSet<String> = samples.iter().map(|(name, _)| format!("{name}.json")).collect();
    assert_eq!(names.len(), samples.len(), "{of}: every sample has its own name");
    let files: BTreeSet<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, names, "{of}: one file for each sample");
    for (name, text) in samples {
        let file = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let file = file.trim_end_matches('\n');
        assert_eq!(file, text, "{of}/{name}: what is written today");
        assert_eq!(file, reread(file), "{of}/{name}: read and written");
    }
}

fn check_messages<M: Message>(of: &str, schema: &str, samples: &[(&str, M)]) {
    let texts: Vec<_> = samples.iter().map(|(name, sample)| ((*name).to_owned(), message::encode(sample))).collect();
    check(of, &texts, |file| message::encode(&message::decode::<M>(file).unwrap()));
    check_schema(schema, texts.iter().map(|(_, text)| text.as_str()));
}

fn check_shown<T: Serialize + DeserializeOwned>(of: &str, schema: &str, samples: &[(String, T)]) {
    let text = |sample: &T| serde_json::to_string(sample).unwrap();
    let texts: Vec<_> = samples.iter().map(|(name, sample)| (name.clone(), text(sample))).collect();
    check(of, &texts, |file| text(&serde_json::from_str::<T>(file).unwrap()));
    check_schema(schema, texts.iter().map(|(_, text)| text.as_str()));
}

fn check_schema<'a>(name: &str, texts: impl Iterator<Item = &'a str>) {
    let published = schema::all().into_iter().find(|published| published.name == name).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&published.schema).unwrap();
    for text in texts {
        let value: Value = serde_json::from_str(text).unwrap();
        validator.validate(&value).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
    }
}

#[test]
fn inbox_messages() {
    check_messages::<InboxMessage>("inbox", "inbox-message.v1", &samples::inbox());
}

#[test]
fn perform_messages() {
    check_messages::<PerformMessage>("perform", "perform-message.v1", &samples::perform());
}

#[test]
fn control_messages() {
    check_messages::<ControlMessage>("control", "control-message.v1", &samples::control());
}

#[test]
fn events() {
    let definition = samples::definition();
    let public = |(name, run, fact): &(&str, Run, Fact)| {
        let event = PublicEvent::of(&definition, run, fact);
        assert_eq!(event.is_some(), fact.kind.is_public(), "{name}: what is public is published");
        Some(((*name).to_owned(), event?))
    };
    let samples: Vec<(String, PublicEvent)> = samples::events().iter().filter_map(public).collect();
    check_shown("event", "event.v1", &samples);
    let schema = schema::all().into_iter().find(|published| published.name == "event.v1").unwrap().schema;
    let described: BTreeSet<&str> = schema["allOf"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|rule| rule["if"]["properties"]["type"]["const"].as_str())
        .collect();
    let published: BTreeSet<&str> = samples.iter().map(|(_, event)| event.kind.as_str()).collect();
    assert_eq!(described, published, "the schema describes the data of every type");
}

#[test]
fn run_views() {
    let view = RunView::of(&samples::definition(), &samples::run());
    let fresh = RunView::of(&samples::definition(), &samples::submitted());
    let unserved = RunView::of(&samples::definition(), &samples::unserved());
    let views = [("ended".to_owned(), view), ("submitted".to_owned(), fresh), ("unserved".to_owned(), unserved)];
    check_shown("run", "run.v1", &views);
}

#[test]
fn run_summaries() {
    let samples = [("ended".to_owned(), RunSummary::of(&samples::run()))];
    check_shown("run-summary", "run-summary.v1", &samples);
}

/// A record's file holds the head and every page, a line each.
#[test]
fn records() {
    let lines = |run: &Run| {
        let stored = record::encode(run, None);
        let pages = stored.pages.into_iter().map(|(_, page)| page);
        std::iter::once(stored.head).chain(pages).collect::<Vec<_>>().join("\n")
    };
    let samples: Vec<_> = samples::records().iter().map(|(name, run)| ((*name).to_owned(), lines(run))).collect();
    check("record", &samples, |file| {
        let mut stored = file.lines().map(str::to_owned);
        let head = stored.next().unwrap();
        lines(&record::decode(&head, &stored.collect::<Vec<_>>()).unwrap())
    });
}
