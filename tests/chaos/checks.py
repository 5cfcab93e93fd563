"""What must be true when everything has come to its end. Each check gives what is wrong, in words."""

import collections
from dataclasses import dataclass, field
from datetime import datetime

from parts import Happened
from plan import VISIBILITY_S
from recovery import COMPLETIONS, ENDED
from tasks import Action, Task
from witness import Performance, Witness

# A process that was held up between its last look at the time and the start of a program starts it when it wakes.
WAKING_S = 2.0
# After so many lost agents in a row an action is given up as poison (SEMANTICS.md).
MAX_LOSSES = 5


@dataclass
class Story:
    """A run: what was asked, what its record says, what its log says, what the subscriber heard (repeats left out)."""

    run: str
    name: str
    task: Task
    key: str | None = None
    cancel: str | None = None
    view: dict = field(default_factory=dict)
    log: list[dict] = field(default_factory=list)
    heard: list[dict] = field(default_factory=list)

    def wrong(self, what: str) -> str:
        return f"{self.name} {self.run}: {what}"

    def was_cancelled(self) -> bool:
        return self.cancel == "accepted" and self.view["status"] == "cancelled"


def seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def outcome(story: Story) -> list[str]:
    """The final statuses are as the task dictates, and no attempt was spent by a fault."""
    view, faults = story.view, []
    if view["status"] not in ENDED:
        return [story.wrong(f"lost: it is still {view['status']}")]
    if story.was_cancelled():
        for name, action in story.task.actions.items():
            found = view["actions"][name]
            if found["status"] not in {action.status, "cancelled", "skipped"} or found["attempts"] > max(1, action.attempts):
                faults.append(story.wrong(f"{name} of a cancelled run is {found['status']} after {found['attempts']} attempts"))
        return faults
    if view["status"] != story.task.status:
        faults.append(story.wrong(f"ended {view['status']}, not {story.task.status}: {view.get('error')}"))
    for name, action in story.task.actions.items():
        found = view["actions"][name]
        if (found["status"], found["attempts"]) != (action.status, action.attempts):
            error = found.get("error")
            faults.append(story.wrong(f"{name} is {found['status']} after {found['attempts']} attempts, "
                                      f"not {action.status} after {action.attempts}: {error}"))
    return faults


def was_poison(story: Story, witness: Witness, happened: list[Happened]) -> bool:
    """Whether an action of it was given up because agents were lost that performed it, and they were: chaos may hit the same
    action five times."""
    poison = [name for name, it in story.view["actions"].items() if (it.get("error") or {}).get("kind") == "poison"]
    return bool(poison) and all(losses(witness.of(story.run, name), happened) >= MAX_LOSSES for name in poison)


def losses(performed: list[Performance], happened: list[Happened]) -> int:
    """How many agents were lost while they had an action: a fault hit them after they began it, and before another did."""
    performed = sorted(performed, key=lambda it: it.fence)
    deadly = [fault for fault in happened if fault.kind == "kill" or fault.until - fault.at > VISIBILITY_S]
    return sum(
        it.ended is None and any(it.agent in fault.pids and it.began <= fault.at < until for fault in deadly)
        for it, until in zip(performed, [*(later.began for later in performed[1:]), float("inf")])
    )


def decisions(story: Story) -> list[str]:
    """Of each attempt one end was accepted, of each action one completion, of the run one end."""
    counted = collections.Counter((it["type"], it.get("action"), it.get("attempt")) for it in story.heard)
    faults = [story.wrong(f"{event} was decided {times} times") for event, times in counted.items()
              if times > 1 and event[0] not in {"action.started", "action.progressed"}]
    finals = [it["type"] for it in story.heard if it["type"].removeprefix("run.") in ENDED]
    if finals != [f"run.{story.view['status']}"]:
        faults.append(story.wrong(f"its final events are {finals}, its record says {story.view['status']}"))
    for name in story.task.actions:
        of = [it for it in story.heard if it.get("action") == name]
        completed = [it for it in of if it["type"] in COMPLETIONS]
        if len(completed) != 1:
            faults.append(story.wrong(f"{name} has {len(completed)} accepted completions"))
            continue
        attempts = story.view["actions"][name]["attempts"]
        retried = sorted(it["attempt"] for it in of if it["type"] == "action.retrying")
        if retried != list(range(1, attempts)) and completed[0]["type"] != "action.cancelled":
            faults.append(story.wrong(f"{name} had {attempts} attempts, and these were followed by another: {retried}"))
        if (last := completed[0].get("attempt", 0)) != attempts:
            faults.append(story.wrong(f"{name} completed in attempt {last} of {attempts}"))
    return faults


def heard(story: Story, whole: bool) -> list[str]:
    """The subscriber heard every event of the log; where the log is whole, just these and in this order.

    Where it is told from the record (docs/adr/0006), it tells of every attempt that it began. A short attempt reports only
    its end, so the bus is not told of its beginning.
    """
    told, got = ([it["id"] for it in events] for events in (story.log, story.heard))
    missed = [it for it in story.log if it["id"] not in set(got) and (whole or it["type"] != "action.started")]
    faults = [story.wrong(f"the subscriber did not hear {it['type']} of {it.get('action')} {it.get('attempt')}") for it in missed]
    if whole and not missed and told != got:
        faults.append(story.wrong(f"the subscriber heard {len(got)} events, not the log's {len(told)} in their order"))
    return faults


class Starts:
    """What the witness says of when programs were started, held against what was decided."""

    def __init__(self, witness: Witness, happened: list[Happened]):
        self.witness = witness
        self.held_up = [it for it in happened if it.kind == "stop"]
        # Starts that are late only because their agent was held up at the last moment.
        self.woken: list[str] = []

    def check(self, story: Story) -> list[str]:
        ends = {it["action"]: it for it in story.heard if it["type"] in COMPLETIONS}
        faults = []
        for name, action in story.task.actions.items():
            performed = self.witness.of(story.run, name)
            faults += self.fences(story, performed)
            faults += [fault for it in performed for fault in self.times(story, action, it, ends)]
            faults += self.accepted(story, name, action, performed, ends.get(name))
        return faults

    def fences(self, story: Story, performed: list[Performance]) -> list[str]:
        counted = collections.Counter((it.attempt, it.fence) for it in performed)
        return [story.wrong(f"{performed[0].action}: attempt {of[0]} was begun {times} times under fence {of[1]}")
                for of, times in counted.items() if times > 1]

    def times(self, story: Story, action: Action, it: Performance, ends: dict[str, dict]) -> list[str]:
        faults, what = [], f"{it.action} began (attempt {it.attempt}, fence {it.fence})"
        for need in action.needs:
            if need in ends and it.began < seconds(ends[need]["time"]):
                faults.append(story.wrong(f"{what} before {need} had ended"))
        retrying = [e for e in story.heard if e["type"] == "action.retrying" and e["action"] == it.action]
        if any(e["attempt"] == it.attempt - 1 and it.began < seconds(e["time"]) for e in retrying):
            faults.append(story.wrong(f"{what} before the attempt before it had ended"))
        if it.attempt > max(1, action.attempts):
            faults.append(story.wrong(f"{what}, which is more than its policy allows"))
        if it.step > (done := self.witness.done_before(it)):
            faults.append(story.wrong(f"{what} at step {it.step}, and only {done} were done"))
        late = []
        if it.began > seconds(story.view["finished_at"]) + 0.001:
            late.append(story.wrong(f"{what} {it.began - seconds(story.view['finished_at']):.3f} s after the run's end"))
        elif it.action in ends and it.began > seconds(ends[it.action]["time"]) + 0.001:
            late.append(story.wrong(f"{what} {it.began - seconds(ends[it.action]['time']):.3f} s after it was completed"))
        stop = self.hold_up_before(it) if late else None
        if stop is None:
            return faults + late
        earlier = [f"fence {other.fence} from {other.began - stop.at:.3f} s" for other in self.witness.of(it.run, it.action) if other is not it]
        self.woken.append(f"{late[0]}; its agent was held up for {stop.until - stop.at:.1f} s until {it.began - stop.until:.3f} s before; "
                          f"others, counted from the hold-up: {', '.join(earlier) or 'none'}")
        return faults

    def hold_up_before(self, it: Performance) -> Happened | None:
        """The hold-up of its agent that ended just before it began."""
        return next((stop for stop in self.held_up if it.agent in stop.pids and 0 <= it.began - stop.until <= WAKING_S), None)

    def accepted(self, story: Story, name: str, action: Action, performed: list[Performance], end: dict | None) -> list[str]:
        """What was accepted is what somebody did."""
        faults = []
        if end is not None and end["type"] == "action.succeeded":
            output = end["data"]["output"]
            did = (output["attempt"], output["fence"], output["pid"])
            if did not in {(it.attempt, it.fence, it.pid) for it in performed if it.succeeded}:
                faults.append(story.wrong(f"{name} was accepted as done by {output}, which nobody did"))
        failing = [e for e in story.heard if e.get("action") == name and e["type"] in {"action.retrying", "action.failed"}]
        for event in failing if any(flag.startswith("fail=") for flag in action.flags) else []:
            if not any(it.attempt == event["attempt"] and it.ended and not it.succeeded for it in performed):
                faults.append(story.wrong(f"{name}: attempt {event['attempt']} counts as failed, and none of its programs failed: "
                                          f"{event['data'].get('error')}"))
        return faults


def schedule(stories: list[Story], every: int, first: float, last: float) -> list[str]:
    """One run for each due time from `first` to `last`."""
    nominals = [round(seconds(story.view["nominal_time"])) for story in stories]
    faults = [f"the due time {at} has {times} runs" for at, times in collections.Counter(nominals).items() if times > 1]
    wanted = range(int(-(-first // every)) * every, int(last) + 1, every)
    faults += [f"the due time {at} has no run" for at in wanted if at not in set(nominals)]
    return faults


