"""What a chaos run came to, for people."""

import collections
import os
import platform
from dataclasses import dataclass

from checks import Story, seconds
from parts import Happened
from recovery import COMPLETIONS
from witness import Witness


@dataclass
class Recovery:
    """How long after a fault the last of the runs that it held up went on."""

    fault: Happened
    runs: int
    took: float


def recoveries(happened: list[Happened], witness: Witness, stories: list[Story]) -> list[Recovery]:
    """A run is affected by the end or hold-up of a process that performs for it; by one of a part that decides if nothing
    is performed for it just then, so that it waits for a decision. It goes on with the next start or completion."""
    signs = {story.run: signs_of_life(story, witness) for story in stories}
    found = []
    for fault in happened:
        affected = [story for story in stories if is_affected(story, fault, witness)]
        nexts = [next((at for at in signs[story.run] if at > fault.at + 0.01), None) for story in affected]
        waited = [at - fault.at for at in nexts if at is not None]
        if waited:
            found.append(Recovery(fault, len(waited), max(waited)))
    return found


def signs_of_life(story: Story, witness: Witness) -> list[float]:
    begun = [it.began for it in witness.performances if it.run == story.run]
    return sorted(begun + [seconds(event["time"]) for event in story.heard if event["type"] in COMPLETIONS])


def is_affected(story: Story, fault: Happened, witness: Witness) -> bool:
    if not seconds(story.view["submitted_at"]) < fault.at < seconds(story.view["finished_at"]):
        return False
    running = [it for it in witness.performances if it.run == story.run and it.began < fault.at and ends_after(it, story, fault.at)]
    if fault.part.startswith("agent"):
        return any(it.agent in fault.pids for it in running)
    return not running or any(it.agent in fault.pids for it in running)


def ends_after(it, story: Story, at: float) -> bool:
    """Whether it was performed at that moment. One that was killed counts until somebody else began."""
    if it.ended is not None:
        return it.ended > at
    completed = [seconds(e["time"]) for e in story.heard if e.get("action") == it.action and e["type"] in COMPLETIONS]
    return not completed or completed[0] > at


def lines(host: str, seed: int, minutes: float, stories: list[Story], happened: list[Happened], witness: Witness,
          facts: dict[str, str], problems: list[str]) -> list[str]:
    kinds = collections.Counter((it.part.rstrip("-0123456789") or it.part, it.kind) for it in happened)
    statuses = collections.Counter(story.view.get("status", "lost") for story in stories)
    longest = max(recoveries(happened, witness, stories), key=lambda it: it.took, default=None)
    told = [
        f"host {host}, seed {seed}, {minutes:g} minutes of faults, on {platform.machine()} with {os.cpu_count()} cores",
        "faults: " + ", ".join(f"{part} {kind} {times}" for (part, kind), times in sorted(kinds.items())),
        f"runs: {len(stories)} accepted; " + ", ".join(f"{times} {status}" for status, times in sorted(statuses.items())),
        f"programs started: {len(witness.performances)}; second starts of an attempt: {witness.second_starts()}",
        f"work taken up from a checkpoint: {sum(it.step > 0 for it in witness.performances)} times",
        *(f"{name}: {fact}" for name, fact in facts.items()),
    ]
    if longest:
        told.append(f"longest recovery: {longest.took:.1f} s, after {longest.fault.kind} of {longest.fault.part} "
                    f"({longest.fault.until - longest.fault.at:.1f} s), {longest.runs} runs waiting then")
    told += [f"WRONG: {problem}" for problem in problems[:40]]
    told.append(f"{len(problems)} things are wrong" if problems else "lost: none; duplicates accepted: none")
    told.append(f"again: python3 tests/chaos/run.py --host {host} --seed {seed} --minutes {minutes:g}")
    return told
