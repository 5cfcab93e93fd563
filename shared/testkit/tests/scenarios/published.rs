//! Which events a bus gets.

use windlass_contract::event::PublicEvent;
use windlass_domain::definition::Definition;
use windlass_domain::run::{Fact, Input, Origin};
use windlass_testkit::world::World;

use crate::steps::give;

fn begun(events: &str) -> World {
    let text = format!("task: t\n{events}actions: {{ a: {{ exec: [\"true\"] }} }}\n");
    let mut world = World::new(Definition::from_text(&text).expect("sound"), Origin::Request, "published");
    give(&mut world, &Input::Start);
    world
}

#[test]
fn bus_gets_ends_requests_and_failures_or_all() {
    let always = "run.succeeded run.succeeded_with_faults run.failed run.timed_out run.cancelled run.cancelling run.paused \
                  run.resumed run.retried action.retrying action.failed action.timed_out action.unserved";
    let on_request = "run.started action.queued action.started action.progressed action.succeeded action.skipped \
                      action.cancelled";
    for (events, gets_all) in [("", false), ("events: ends\n", false), ("events: all\n", true)] {
        let world = begun(events);
        let event: &Fact = world.log.first().expect("it has begun");
        let some = PublicEvent::of(&world.definition, &world.run, event).expect("it is public");
        let is_published = |kind: &str| {
            let event = PublicEvent { kind: kind.to_owned(), ..some.clone() };
            event.is_published(&world.definition)
        };
        for kind in always.split_whitespace() {
            assert!(is_published(kind), "{kind} with {events:?}");
        }
        for kind in on_request.split_whitespace() {
            assert_eq!(is_published(kind), gets_all, "{kind} with {events:?}");
        }
    }
}
