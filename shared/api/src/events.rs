//! The events of a run: a page of them, or a stream that can be resumed (Server-Sent Events).

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use windlass_contract::view::json_bytes;
use windlass_domain::limits::MAX_SHOWN_BYTES;
use windlass_domain::run::Run;
use windlass_engine::ports::{EventCursor, LoggedEvent, PortError};

use crate::follow::Follower;
use crate::operation::Operation;
use crate::problem::{Kind, Refusal};
use crate::request::{Parameters, RunPath, header, parameter};
use crate::shown::load;
use crate::state::ApiState;
use crate::view::{EventList, EventView};

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events of one read of the log.
const BATCH: usize = 100;
/// Seconds after which a place among the streams may be free.
const RETRY_AFTER_SECS: u32 = 5;

/// `GET /v1/runs/{id}/events`
pub(crate) async fn list(
    State(api): State<ApiState>,
    RunPath(id): RunPath,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let parameters = parameters.of(Operation::ListEvents)?;
    let limit = parameters.limit()?;
    let after = parameters.read("after", "a cursor that an event had", cursor)?;
    let run = load(&api, id).await?;
    if wants_stream(&headers) {
        let resumed = last_event_id(&headers)?;
        return stream(api, run, resumed.or(after)).await;
    }
    Ok(Json(page(&api, &run, after, limit).await?).into_response())
}

fn cursor(text: &str) -> Option<EventCursor> {
    text.parse().ok().map(EventCursor)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<EventCursor>, Refusal> {
    let Some(text) = header(headers, "last-event-id")? else {
        return Ok(None);
    };
    let refused =
        || parameter(format!("the header `Last-Event-ID` must be a cursor that an event had; `{text}` is not"));
    cursor(text).map(Some).ok_or_else(refused)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.split(',').any(|range| range.trim().starts_with("text/event-stream")))
}

/// A page: it ends at its limit, or once it is large. The run was read before its events, so if it had ended then, a page
/// that ends with the log has the last ones.
async fn page(api: &ApiState, run: &Run, after: Option<EventCursor>, limit: usize) -> Result<EventList, PortError> {
    let (mut events, mut last, mut bytes, mut is_end) = (Vec::new(), after, 0, false);
    while !is_end && events.len() < limit && bytes < MAX_SHOWN_BYTES {
        let most = BATCH.min(limit - events.len());
        let batch = api.ports().runs.events(run.id, last.clone(), most).await?;
        let read = batch.len();
        let fits = |event: &LoggedEvent| {
            let has_room = bytes < MAX_SHOWN_BYTES;
            bytes += json_bytes(&event.event);
            has_room
        };
        let taken: Vec<LoggedEvent> = batch.into_iter().take_while(fits).collect();
        is_end = taken.len() == read && read < most;
        last = taken.last().map(|event| event.cursor.clone()).or(last);
        events.extend(taken.into_iter().map(EventView::of));
    }
    let next = (!is_end || !run.status.is_final()).then(|| last.unwrap_or(EventCursor(0)).0.to_string());
    Ok(EventList { events, next })
}

async fn stream(api: ApiState, run: Run, after: Option<EventCursor>) -> Result<Response, Refusal> {
    let most = api.max_lasting();
    let permit = api.streams().clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{most} event streams are open, and no more can be");
        Refusal::new(&Kind::TOO_MANY_STREAMS, detail).retry_after(RETRY_AFTER_SECS)
    })?;
    let resumed = after.is_some();
    let mut follower = Follower::new(api, run, after, permit);
    if follower.is_over().await? && resumed {
        // A browser takes the end of a stream for a broken one and resumes it for ever; this answer stops it.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    Ok(Sse::new(messages(follower)).keep_alive(keep_alive).into_response())
}

/// The events as messages. A failure of the host ends the stream; its reader resumes where it broke off.
fn messages(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(follower, async |mut follower| match follower.next().await {
        Ok(Some(event)) => {
            let (message, bytes) = message(&event);
            follower.has_told(bytes);
            Some((Ok(message), follower))
        }
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(error.code = error.code, error = %error, "failed to follow a run's events");
            None
        }
    })
}

/// An event as a message, and about how many bytes it has.
fn message(logged: &LoggedEvent) -> (Event, usize) {
    let data = serde_json::to_string(&logged.event).expect("events are maps with text keys");
    let bytes = data.len();
    (Event::default().id(logged.cursor.0.to_string()).event(&logged.event.kind).data(data), bytes)
}
