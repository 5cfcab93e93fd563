use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use uuid::Uuid;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::Runs;
use windlass_testkit::memory::MemoryHost;

use super::*;
use crate::scripted::{Scripted, settings};

/// The runs of one task (one query gives `page` of them), the mark, and every run that a look has read.
struct Books {
    submitted_at: Vec<i64>,
    page: usize,
    mark: Option<Value>,
    looked_at: BTreeSet<String>,
}

impl Books {
    fn answer(&mut self, operation: &str, input: &Value) -> Value {
        match operation {
            "GetItem" => self.mark.as_ref().map_or_else(|| json!({}), |mark| json!({ "Item": mark })),
            "PutItem" => {
                self.mark = Some(input["Item"].clone());
                json!({})
            }
            "BatchGetItem" => {
                let keys = input["RequestItems"]["prod"]["Keys"].as_array().expect("keys");
                self.looked_at.extend(keys.iter().map(|key| key["pk"]["S"].to_string()));
                json!({ "Responses": {} })
            }
            "Query" => match input["IndexName"].as_str() {
                None => {
                    let item = crate::table::list::item(&TaskName::new("busy").expect("a name"));
                    let text = |name: &str| json!({ "S": item[name].as_s().expect("text") });
                    json!({ "Items": [{ "pk": text("pk"), "sk": text("sk") }] })
                }
                Some(RUNS_INDEX) => self.runs(input),
                Some(_) => json!({ "Items": [] }),
            },
            other => panic!("{other}"),
        }
    }

    fn runs(&self, input: &Value) -> Value {
        let millis = |value: &Value| value["N"].as_str().and_then(|text| text.parse::<i64>().ok());
        let values = &input["ExpressionAttributeValues"];
        let (from, until) = (millis(&values[":from"]), millis(&values[":until"]));
        let after = millis(&input["ExclusiveStartKey"][SUBMITTED_AT]);
        let fits = |at: &&i64| Some(**at) >= from && Some(**at) <= until && Some(**at) > after;
        let all: Vec<i64> = self.submitted_at.iter().filter(fits).copied().collect();
        let item = |at: &i64| {
            let id = Uuid::from_u128(at.unsigned_abs().into());
            json!({ "pk": { "S": format!("RUN#{id}") }, "sk": { "S": "HEAD" }, "list_key": { "S": "busy" },
                    "submitted_at": { "N": at.to_string() } })
        };
        let items: Vec<Value> = all.iter().take(self.page).map(item).collect();
        match items.last() {
            Some(last) if all.len() > self.page => json!({ "LastEvaluatedKey": last, "Items": items }),
            _ => json!({ "Items": items }),
        }
    }
}

/// There are more runs than one look reads. The next look goes on where the last one ended, until all are read.
#[tokio::test]
async fn sweep_resumes_where_the_last_one_stopped() {
    let count = 2 * MAX_LOOKED_AT + 5;
    let submitted_at: Vec<i64> = (0..).take(count).map(|at| 1_000_000 + 10 * at).collect();
    let until = Timestamp::from_millis(submitted_at[count - 1]);
    let books = Books { submitted_at, page: CHUNK, mark: None, looked_at: BTreeSet::new() };
    let books = Arc::new(Mutex::new(books));
    let answering = books.clone();
    let scripted =
        Scripted::new(move |operation, input| (200, answering.lock().expect("a lock").answer(operation, input)));
    let others = MemoryHost::new(until).ports();
    let (clients, _) = scripted.clients(1);
    let definitions = Arc::new(Definitions::new(others.tasks.clone()));
    let runs = RunTable::new(&clients, &settings(), definitions, others.clock);
    for _ in 0..4 {
        runs.stale(until, until, 10).await.expect("it looks");
    }
    let books = books.lock().expect("a lock");
    assert_eq!(books.looked_at.len(), count);
    let mark = books.mark.as_ref().map(|mark| mark["u"]["N"].clone());
    assert_eq!(mark, Some(json!((until.as_millis() - OVERLAP_MS).to_string())), "where the next one begins");
}
