//! The log of events: one row for the events of one commit.

use rusqlite::Connection;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::RunId;
use windlass_engine::ports::{EventCursor, LoggedEvent};

use crate::error::{Failure, unreadable};

/// Events of one row. A cursor is a row's number, and in the low 8 bits how many of its events are behind.
const MAX_ROW_EVENTS: usize = 255;
const ROW_BITS: u32 = 8;

/// The rows that hold these events.
pub(crate) fn encode(events: &[PublicEvent]) -> Vec<String> {
    let row = |events: &[PublicEvent]| serde_json::to_string(events).expect("events are plain data");
    events.chunks(MAX_ROW_EVENTS).map(row).collect()
}

/// Reads events of a run after a place.
pub(crate) fn read(
    connection: &Connection,
    id: RunId,
    after: Option<EventCursor>,
    most: usize,
) -> Result<Vec<LoggedEvent>, Failure> {
    let after = after.map_or(0, |cursor| cursor.0);
    let sql =
        "SELECT seq, body FROM events WHERE run = (SELECT seq FROM runs WHERE id = ?1) AND seq >= ?2 ORDER BY seq";
    let mut statement = connection.prepare_cached(sql)?;
    let from = i64::try_from(after >> ROW_BITS).unwrap_or(i64::MAX);
    let mut rows = statement.query((id.as_uuid().as_bytes(), from))?;
    let mut events = Vec::new();
    while events.len() < most
        && let Some(row) = rows.next()?
    {
        let (seq, body): (i64, String) = (row.get(0)?, row.get(1)?);
        let what = || format!("the events of run {id}");
        let decided: Vec<PublicEvent> = serde_json::from_str(&body).map_err(|error| unreadable(&what(), &error))?;
        let places = (1..).map(|behind: u64| EventCursor((seq.unsigned_abs() << ROW_BITS) | behind));
        let logged = places.zip(decided).map(|(cursor, event)| LoggedEvent { cursor, event });
        events.extend(logged.filter(|logged| logged.cursor.0 > after).take(most - events.len()));
    }
    Ok(events)
}
