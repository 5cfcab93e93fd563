//! The published schemas are those of the types. `UPDATE_SCHEMAS=1 cargo test -p windlass-contract` writes them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use windlass_contract::schema::{Published, all};

fn path_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(format!("{name}.schema.json"))
}

/// The same value with sorted keys: the features of a build decide which order its maps keep.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<_, _> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn text_of(schema: &Value) -> String {
    serde_json::to_string_pretty(&sorted(schema)).unwrap() + "\n"
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    for Published { name, schema } in all() {
        let (path, text) = (path_of(name), text_of(&schema));
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(published == text, "{} differs: UPDATE_SCHEMAS=1 cargo test -p windlass-contract", path.display());
    }
}

#[test]
fn published_schemas_are_valid_json_schema() {
    for Published { name, schema } in all() {
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
