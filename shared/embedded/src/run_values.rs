//! The values that stand apart from the records of runs: each is written once, in the transaction of its record.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;
use windlass_domain::content::{Apart, Place, Wanted};
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;
use windlass_engine::ports::PortError;

use crate::error::{Failure, unreadable};
use crate::run_pages::first_page;
use crate::session::Session;

/// A value that a transaction writes.
pub(crate) struct Fresh {
    place: Place,
    apart: Apart,
    text: String,
}

/// The values of the references that are new to a record.
pub(crate) fn fresh(before: Option<&Run>, after: &Run) -> Result<Vec<Fresh>, PortError> {
    let text = |(place, apart)| match after.value(place) {
        Some(value) => Ok(Fresh { place, apart, text: value.to_string() }),
        None => Err(unreadable(&format!("run {}", after.id), &"a value that it makes is not in memory")),
    };
    after.apart_since(before).into_iter().map(text).collect()
}

/// Writes values of the run of that number. A later life of an action replaces the value of an earlier one.
pub(crate) fn write(session: &mut Session<'_>, seq: i64, values: &[Fresh]) -> Result<(), Failure> {
    for Fresh { place, apart, text } in values {
        let sql = "INSERT INTO run_values (id, digest, body) VALUES (?1, ?2, ?3)
                   ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, body = excluded.body";
        session.write(sql, (value_id(seq, *place), apart.digest.0, text))?;
    }
    Ok(())
}

/// Reads the values of references. A conflict if another value stands there: the record is an old one.
pub(crate) fn read(
    connection: &Connection,
    id: RunId,
    wanted: &[(Place, Apart)],
) -> Result<Vec<(Apart, Arc<Value>)>, Failure> {
    let seq = { connection.prepare_cached("SELECT seq FROM runs WHERE id = ?1")? };
    let seq: Option<i64> = { seq }.query_row([id.as_uuid().as_bytes()], |row| row.get(0)).optional()?;
    let seq = seq.ok_or_else(PortError::conflict)?;
    let mut statement = connection.prepare_cached("SELECT body FROM run_values WHERE id = ?1 AND digest = ?2")?;
    let mut values = Vec::with_capacity(wanted.len());
    for (place, apart) in wanted {
        let key = (value_id(seq, *place), apart.digest.0);
        let text: Option<String> = statement.query_row(key, |row| row.get(0)).optional()?;
        let text = text.ok_or_else(PortError::conflict)?;
        let value = serde_json::from_str(&text).map_err(|error| unreadable(&format!("a value of run {id}"), &error))?;
        values.push((*apart, Arc::new(value)));
    }
    Ok(values)
}

/// The references at these places.
pub(crate) fn references(run: &Run, wanted: &Wanted) -> Vec<(Place, Apart)> {
    wanted.iter().filter_map(|place| Some((*place, run.apart(*place)?))).collect()
}

/// Where a value of a run is kept, numbered as its pages are: beside the actions' outputs the input has the last number, which no action has.
fn value_id(seq: i64, place: Place) -> i64 {
    const INPUT: i64 = 0xffff;
    let number = match place {
        Place::Input => INPUT,
        Place::Output(action) => i64::from(action.0).min(INPUT - 1),
    };
    first_page(seq) | number
}
