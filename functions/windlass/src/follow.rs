//! Following a run to its end: its events as they come, over any number of connections, and the run itself.

use std::pin::{Pin, pin};
use std::time::Duration;

use eventsource_stream::{Event as StreamEvent, Eventsource};
use futures::{Stream, StreamExt, stream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use windlass_api::SeenEvents;
use windlass_contract::event::PublicEvent;
use windlass_contract::view::RunView;
use windlass_domain::definition::Definition;
use windlass_domain::ids::RunId;
use windlass_domain::time::Millis;

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render::live::LiveTree;
use crate::render::outline::Outline;
use crate::render::{self, events};

/// How long a host may be away before following gives up: a drain, an upgrade and a restart of its machine take less.
const GIVE_UP_AFTER: Duration = Duration::from_mins(10);
/// How long a host may be away before that is told.
const TOLD_AFTER: Duration = Duration::from_secs(2);
const RECONNECT_DELAY: Duration = Duration::from_millis(300);
const FRAME: Duration = Duration::from_millis(120);
/// Streams in a row that told nothing, after which an ended run has no more events to come.
const ENOUGH_EMPTY_ENDS: u32 = 3;
/// The client reads a run at most this often while its events come in, and a run of many actions less often.
const READ_AT_MOST_EVERY: Duration = Duration::from_millis(120);
const READ_LATER_PER_ACTION: Duration = Duration::from_micros(300);
/// The client reads the run at least this often, even if no event arrives.
const READ_AT_LEAST_EVERY: Duration = Duration::from_secs(2);

type Events = Pin<Box<dyn Stream<Item = StreamEvent> + Send>>;

/// A run's events, from its first one: none twice, none left out.
pub(crate) struct Feed<'a> {
    client: &'a Client,
    run: RunId,
    seen: Option<String>,
    told: SeenEvents,
    stream: Option<Events>,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(client: &'a Client, run: RunId) -> Self {
        Self { client, run, seen: None, told: SeenEvents::default(), stream: None }
    }

    /// The next event, over as many streams as it takes. `None` if the host has ended the stream in order, which it may
    /// do after a run's last event. WL0601 if the host is away for too long.
    pub(crate) async fn next(&mut self) -> Result<Option<PublicEvent>, Failure> {
        let mut away = Away::default();
        loop {
            let Some(stream) = &mut self.stream else {
                match self.client.event_stream(self.run, self.seen.as_deref()).await {
                    Ok(response) => {
                        let events = response.bytes_stream().eventsource().take_while(|event| {
                            let whole = event.is_ok();
                            async move { whole }
                        });
                        self.stream = Some(Box::pin(events.filter_map(|event| async move { event.ok() })));
                    }
                    Err(failure) => away.bear(failure).await?,
                }
                continue;
            };
            let Some(event) = stream.next().await else {
                self.stream = None;
                return Ok(None);
            };
            if !event.id.is_empty() {
                self.seen = Some(event.id);
            }
            // A kind of event of another version is passed over: it says nothing that this version could show. A log may
            // have an event twice.
            if let Ok(event) = serde_json::from_str::<PublicEvent>(&event.data)
                && self.told.is_first(event.id)
            {
                return Ok(Some(event));
            }
        }
    }
}

/// How a run is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A tree that is drawn in place.
    Tree,
    /// A line for each event.
    Lines,
    /// A JSON object for each event.
    JsonLines,
    /// Nothing is printed.
    Silent,
}

impl Manner {
    /// The view that suits standard output.
    pub(crate) fn suiting(json: bool) -> Self {
        if json {
            Self::JsonLines
        } else if render::can_draw() {
            Self::Tree
        } else {
            Self::Lines
        }
    }
}

/// Follows a run until it has ended, at most for so long; gives it as it then is. WL0605 if the time is over.
pub(crate) async fn follow(
    client: &Client,
    id: RunId,
    manner: Manner,
    at_most: Option<Millis>,
) -> Result<RunView, Failure> {
    let following = async {
        match manner {
            Manner::Tree => follow_tree(client, id).await,
            Manner::Lines | Manner::JsonLines | Manner::Silent => follow_lines(client, id, manner).await,
        }
    };
    tokio::select! {
        ended = async {
            match at_most {
                Some(Millis(most)) => timeout(Duration::from_millis(most), following).await.map_err(|_| late(id))?,
                None => following.await,
            }
        } => ended.map_err(|failure| if failure.is_absence() { lost(failure, id) } else { failure }),
        _ = tokio::signal::ctrl_c() => Err(left(id)),
    }
}

async fn follow_lines(client: &Client, id: RunId, manner: Manner) -> Result<RunView, Failure> {
    let mut feed = Feed::new(client, id);
    let mut empty_ends = 0;
    loop {
        let Some(event) = feed.next().await? else {
            // The host went away, or has no more to tell. The client reads the host's last decisions before it calls
            // the run ended.
            empty_ends += 1;
            sleep(RECONNECT_DELAY).await;
            let view = read(client, id).await?;
            if view.status.is_final() && empty_ends >= ENOUGH_EMPTY_ENDS {
                return Ok(view);
            }
            continue;
        };
        empty_ends = 0;
        match manner {
            Manner::Lines => render::print(&(events::line(&event) + "\n")),
            Manner::JsonLines => render::print_json_line(&event),
            Manner::Tree | Manner::Silent => {}
        }
        if ends_run(&event) {
            let view = read(client, id).await?;
            // A run that was retried has ended before: only the event of its last end counts.
            if view.status.is_final() && view.finished_at.as_ref().is_some_and(|end| *end <= event.time) {
                return Ok(view);
            }
        }
    }
}

async fn follow_tree(client: &Client, id: RunId) -> Result<RunView, Failure> {
    let mut view = read(client, id).await?;
    let actions = u32::try_from(view.actions.len()).unwrap_or(u32::MAX);
    let at_most_every = (READ_AT_MOST_EVERY + READ_LATER_PER_ACTION * actions).min(READ_AT_LEAST_EVERY);
    let mut tree = LiveTree::new(outline_of(client, &view).await);
    // A stream keeps its place while the client draws a frame; a call of `next` would begin again.
    let feed = stream::unfold(Feed::new(client, id), async |mut feed| Some((feed.next().await, feed)));
    let mut feed = pin!(feed);
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut read_at, mut stale) = (Instant::now(), false);
    while !view.status.is_final() {
        tokio::select! {
            Some(event) = feed.next() => {
                stale = true;
                if event?.is_none() {
                    sleep(RECONNECT_DELAY).await;
                }
            }
            _ = frames.tick() => tree.draw(&view),
            () = sleep_until(read_at + at_most_every), if stale => {
                (view, read_at, stale) = (read(client, id).await?, Instant::now(), false);
            }
            () = sleep_until(read_at + READ_AT_LEAST_EVERY) => stale = true,
        }
    }
    tree.finish(&view);
    Ok(view)
}

/// The run as it stands. Waits for a host that is away for a moment because it restarts.
async fn read(client: &Client, id: RunId) -> Result<RunView, Failure> {
    let mut away = Away::default();
    loop {
        match client.run(id).await {
            Err(failure) => away.bear(failure).await?,
            Ok(view) => return Ok(view),
        }
    }
}

/// How long the host has been away.
#[derive(Default)]
struct Away {
    since: Option<Instant>,
    is_told: bool,
}

impl Away {
    /// Waits a moment if the failure says that the host is away, and tells once that it waits; otherwise, and after a long
    /// time, gives the failure.
    async fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        let since = self.since.get_or_insert_with(Instant::now).elapsed();
        if !failure.is_absence() || since > GIVE_UP_AFTER {
            return Err(failure);
        }
        if since > TOLD_AFTER && !std::mem::replace(&mut self.is_told, true) {
            render::print_error("the host is away; waiting for its return\n");
        }
        sleep(RECONNECT_DELAY).await;
        Ok(())
    }
}

/// The outline of a run's task; a plain list if the client cannot get the definition.
pub(crate) async fn outline_of(client: &Client, view: &RunView) -> Outline {
    match definition_of(client, view).await {
        Some(definition) if definition.actions.len() == view.actions.len() => Outline::of(&definition),
        _ => Outline::flat(view),
    }
}

async fn definition_of(client: &Client, view: &RunView) -> Option<Definition> {
    let source = client.definition(&view.task, view.version).await.ok()?;
    Definition::from_source(&source).ok()
}

fn ends_run(event: &PublicEvent) -> bool {
    let ends = ["run.succeeded", "run.succeeded_with_faults", "run.failed", "run.timed_out", "run.cancelled"];
    ends.contains(&event.kind.as_str())
}

fn late(id: RunId) -> Failure {
    Failure::new("WL0605", Exit::TimedOut, "the run has not ended in the time given for waiting; it goes on")
        .help(format!("`windlass watch {id}` waits for it"))
        .details(serde_json::json!({ "run": id }))
}

/// The host is away for too long. The run is not lost by that.
fn lost(failure: Failure, id: RunId) -> Failure {
    failure.help(format!("`windlass watch {id}` goes on waiting")).details(serde_json::json!({ "run": id }))
}

fn left(id: RunId) -> Failure {
    Failure::new("WL0605", Exit::TimedOut, "waiting was interrupted; the run goes on")
        .help(format!("`windlass watch {id}` waits for it, `windlass cancel {id}` ends it"))
        .details(serde_json::json!({ "run": id }))
}
