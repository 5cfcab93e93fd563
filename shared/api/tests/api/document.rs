//! The OpenAPI document: it is valid, it has the router's routes, and the answers fit it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use jsonschema::Validator;
use serde_json::{Value, json};
use windlass_api::document;

use crate::world::{Answer, Call, World};

/// The document's path and the operation that a call is of; `None` for a route that there is not.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap();
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len() && template.iter().zip(&parts).all(|(t, p)| t.starts_with('{') || t == p)
    };
    let paths = document()["paths"].as_object().unwrap();
    let (_, item) = paths.iter().find(|(template, _)| fits(template))?;
    item.get(method.to_ascii_lowercase())
}

/// Holds an answer against the document: it names the status, and its schema fits the body.
pub(crate) fn check_answer(method: &str, path: &str, answer: &Answer) {
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(answer.header(name), Some(value), "{method} {path}");
    }
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let described = operation(method, path).map(|operation| &operation["responses"]);
    let named = described.and_then(|responses| responses.get(answer.status.as_str()));
    if answer.status.is_success() {
        let named = named.unwrap_or_else(|| panic!("{method} {path}: {} is not in the document", answer.status));
        let content = &named["content"]["application/json"]["schema"];
        match answer.header("content-type") {
            Some("application/json") => check_schema(content, &answer.json()),
            Some("text/event-stream") => assert!(named["content"]["text/event-stream"].is_object()),
            other => assert!(answer.text.is_empty(), "{method} {path}: {other:?}"),
        }
    } else {
        check_schema(&json!({ "$ref": "#/components/schemas/Problem" }), &answer.json());
    }
}

fn check_schema(schema: &Value, value: &Value) {
    static COMPILED: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let compile = || {
        let mut root = schema.clone();
        root["components"] = document()["components"].clone();
        Arc::new(jsonschema::options().should_validate_formats(true).build(&root).unwrap())
    };
    let validator = COMPILED.lock().unwrap().entry(schema.to_string()).or_insert_with(compile).clone();
    validator.validate(value).unwrap_or_else(|error| panic!("{error}: {value}"));
}

/// Every method of every path of the document.
#[tokio::test]
async fn document_has_the_routes_of_the_router() {
    let world = World::with_report().await;
    let id = world.start().await.to_string();
    for (template, item) in document()["paths"].as_object().unwrap() {
        let path = template
            .replace("{name}", "report")
            .replace("{version}", "1")
            .replace("{id}", &id)
            .replace("{agent}", "agent-1");
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            let answer = world.send(Call::new(method, &path)).await;
            let code = answer.text.contains("WL0405") || answer.text.contains("WL0404");
            let known = item.get(method.to_ascii_lowercase()).is_some();
            assert_eq!(!code, known, "{method} {path}: {}", answer.text);
            if !known {
                answer.refused(405, "WL0405");
                assert!(answer.header("allow").is_some(), "{method} {path}");
            }
        }
    }
}

/// The parts of OpenAPI 3.1 that a reader relies on; its schemas are JSON Schema 2020-12 and are checked as that.
#[test]
fn the_document_is_openapi_3_1() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        jsonschema::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let in_path: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            let parameters = operation["parameters"].as_array().unwrap();
            let named = parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap());
            assert_eq!(named.collect::<BTreeSet<_>>(), in_path, "{method} {path}");
            assert!(parameters.iter().all(|p| p["in"] != "path" || p["required"] == true));
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("default") && responses.len() > 1, "{method} {path}");
        }
    }
    check_references(document, document);
}

/// What the common generators of clients understand (`tests/clients`).
#[test]
fn statuses_are_enums_and_actions_a_map() {
    let schemas = &document()["components"]["schemas"];
    for name in ["RunStatus", "ActionStatus"] {
        assert_eq!(schemas[name]["type"], "string");
        assert!(schemas[name]["enum"].as_array().is_some_and(|texts| texts.contains(&json!("succeeded"))), "{name}");
    }
    let actions = &schemas["RunView"]["properties"]["actions"];
    assert_eq!(actions["additionalProperties"], json!({ "$ref": "#/components/schemas/ActionView" }));
    assert_eq!(actions.get("patternProperties"), None);
}

fn check_references(document: &Value, within: &Value) {
    match within {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
            }
            map.values().for_each(|value| check_references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(document, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let answer = World::new().get("/openapi.json").await;
    assert_eq!(&answer.expect(StatusCode::OK), document());
}
