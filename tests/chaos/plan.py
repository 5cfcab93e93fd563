"""What is going to happen, as a pure function of the seed: the runs that are submitted and the faults."""

import random
from dataclasses import dataclass

AGENTS = 3
# The visibility timeout of a pool's messages: an agent that is stopped for longer has lost its work.
VISIBILITY_S = 30
SHARES = {"chain": 20, "diamond": 15, "fan": 10, "flaky": 12, "hopeless": 8, "may-fail": 8, "overdue": 6, "long": 10, "resuming": 6, "stubborn": 7}
# Tasks with an action of 5 to 40 s.
LONG = {"long", "resuming"}
CANCELLED = {"long": 0.35, "stubborn": 0.5, "fan": 0.25, "chain": 0.1}


@dataclass(frozen=True)
class Submission:
    """A run that is asked for, `at` seconds after the beginning, and cancelled that long after it was answered."""

    at: float
    key: str
    task: str
    seconds: float | None
    cancel_after: float | None


@dataclass(frozen=True)
class Fault:
    """`kill` and `term` end a process, and `seconds` later there is another; `stop` holds it up for `seconds`."""

    at: float
    part: str
    kind: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    submissions: list[Submission]
    faults: dict[str, list[Fault]]


def plan(host: str, seed: int, minutes: float, rate: float) -> Plan:
    """The same arguments give the same plan. The load is bounded: `rate` runs a second in the time of the faults."""
    span = minutes * 60
    load, chaos = (random.Random(f"{subject} {host} {seed} {minutes}") for subject in ("load", "faults"))
    runs = max(10, round(span * rate))
    submissions = sorted((submission(load, n, span) for n in range(runs)), key=lambda it: it.at)
    return Plan(submissions, faults_of(chaos, host, span))


def submission(rng: random.Random, number: int, span: float) -> Submission:
    task = rng.choices(list(SHARES), list(SHARES.values()))[0]
    seconds = rng.uniform(5, min(40.0, max(10.0, span / 3))) if task in LONG else rng.uniform(3, 12) if task == "stubborn" else None
    cancelled = rng.random() < CANCELLED.get(task, 0)
    after = rng.uniform(0.1, 6) if cancelled else None
    return Submission(rng.uniform(0, span), f"key-{number}", task, round(seconds, 2) if seconds else None, after)


def faults_of(rng: random.Random, host: str, span: float) -> dict[str, list[Fault]]:
    # One agent loses its work for sure by being held up for longer than the visibility timeout.
    held_up = rng.randrange(AGENTS)
    faults = {}
    for n in range(AGENTS):
        name = f"agent-{n}"
        first = [long_stop(rng, name, rng.uniform(4, 8))] if n == held_up else []
        faults[name] = row(rng, name, span, 9, {"kill": 5, "term": 3, "stop": 3, "long stop": 1}, first)
    if host == "one":
        faults["host"] = row(rng, "host", span, 9, {"kill": 5, "term": 2, "stop": 2})
    else:
        faults["process-manager"] = row(rng, "process-manager", span, 6, {"kill": 4, "stop": 1})
        faults["coordinator"] = row(rng, "coordinator", span, 9, {"kill": 3, "stop": 1})
    return faults


def row(rng: random.Random, part: str, span: float, gap: float, shares: dict[str, int], first: list[Fault] = ()) -> list[Fault]:
    """The faults of one part, one after another, on average one in `gap` seconds in which it is well."""
    faults = list(first)
    at = faults[-1].at + faults[-1].seconds if faults else 0.0
    while (at := at + rng.uniform(0.3, 1.7) * gap) < span:
        kind = rng.choices(list(shares), list(shares.values()))[0]
        if kind == "long stop":
            faults.append(long_stop(rng, part, at))
        else:
            seconds = rng.uniform(1, 9) if kind == "stop" else rng.uniform(0.1, 4)
            faults.append(Fault(round(at, 2), part, kind, round(seconds, 2)))
        at += faults[-1].seconds
    return faults


def long_stop(rng: random.Random, part: str, at: float) -> Fault:
    return Fault(round(at, 2), part, "stop", round(VISIBILITY_S + rng.uniform(4, 12), 2))
