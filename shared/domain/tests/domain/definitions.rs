//! Definitions from files. The reader accepts the sound ones, and reports for the others the faults in the snapshots.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use windlass_domain::definition::{Definition, TASK_SCHEMA};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn check_sound(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let definition = Definition::from_text(&text).unwrap_or_else(|faults| panic!("{}:\n{faults}", file.display()));
    let again = Definition::from_source(&definition.source).unwrap();
    assert_eq!(again.source, definition.source);
    assert_eq!(format!("{:?}", again.actions), format!("{:?}", definition.actions));
    let json = Definition::from_text(&serde_json::to_string_pretty(&definition.source).unwrap()).unwrap();
    assert_eq!(json.source, definition.source, "JSON is read like YAML");
    let schema: Value = serde_json::from_str(TASK_SCHEMA).unwrap();
    assert!(jsonschema::is_valid(&schema, &definition.source), "the published schema accepts it");
}

fn check_faulty(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let faults = Definition::from_text(&text).unwrap_err();
    assert!(faults.iter().all(|fault| fault.place.is_some()));
    let name = file.file_stem().unwrap().to_str().unwrap();
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, faults.to_string());
    });
}

#[test]
fn sound_definitions_are_read_in_every_form() {
    for file in files("sound") {
        check_sound(&file);
    }
}

#[test]
fn every_fault_of_a_definition_has_its_place() {
    for file in files("faulty") {
        check_faulty(&file);
    }
}

#[test]
fn every_code_has_its_page() {
    let sources = [include_str!("../../src/definition/code.rs"), include_str!("../../src/expression/error.rs")];
    let codes: Vec<&str> =
        sources.iter().flat_map(|source| source.split("= \"").skip(1)).map(|rest| &rest[..6]).collect();
    assert!(codes.len() > 25, "{codes:?}");
    for code in codes {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/errors/{code}.md"));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.starts_with(&format!("# {code}: ")), "{}", page.display());
    }
}
