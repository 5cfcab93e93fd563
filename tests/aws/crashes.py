"""A story of kill -9: the process manager's processes, in the midst of many runs."""

import concurrent.futures
import random
import time

from agents import expect, is_public
from recovery import COMPLETIONS, ENDED, check_run, events_of, wait_for
from stack import Refused, Stack
from subscriber import Subscription

RUNS, KILLS = 100, 5
WORK = """
task: crowd
timeout: 10m
defaults: { retry: 2, timeout: 5m }
actions:
  first: { exec: [sleep, '0.1'] }
  left: { needs: [first], exec: ["true"] }
  right: { needs: [first], allow_failure: true, exec: ["false"] }
  last: { needs: [left, right], exec: ["true"] }
"""


def process_manager_killed(stack: Stack, seed: int = 1) -> str:
    """Issue 3, "It must show" 3."""
    rng = random.Random(seed)
    subscription = Subscription(stack.name, "proof-crash")
    stack.apply(WORK)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        kills = pool.submit(kill_often, stack, rng)
        ids = list(pool.map(lambda n: submit(stack, n), range(RUNS)))
        killed, open_at_kills = kills.result()
    started = time.monotonic()
    left = set(ids)

    def all_ended() -> bool:
        listed = stack.call("GET", "/v1/runs?task=crowd&limit=500")["runs"]
        left.difference_update(run["id"] for run in listed if run["status"] in ENDED)
        return not left

    wait_for(f"{len(left)} runs to end", all_ended, 300)
    took = time.monotonic() - started
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        faults = [fault for found in pool.map(lambda run: check_run(stack, run), ids) for fault in found]
        logged = [events for events in pool.map(lambda run: events_of(stack, run), ids)]
    expect(not faults, "\n".join(faults[:20]))
    wanted = {event["id"] for events in logged for event in events if is_public(event)}
    heard = hear(subscription, wanted)
    expect(wanted == set(heard), f"{len(wanted - set(heard))} events were not published, {len(set(heard) - wanted)} not logged")
    finals = [event["run"] for event in heard.values() if event["type"].removeprefix("run.") in ENDED]
    expect(len(finals) == len(set(finals)) == len(ids), f"one final event a run: {len(finals)} of {len(set(finals))} runs")
    ends = [(e["run"], e["action"]) for e in heard.values() if e["type"] in COMPLETIONS]
    expect(len(ends) == len(set(ends)), "no action has two accepted completions on the bus")
    repeats = subscription.repeats
    subscription.end()
    stack.call("DELETE", "/v1/tasks/crowd")
    return (f"{killed} processes killed with -9 at {KILLS} moments, {open_at_kills} runs open then; {len(ids)} runs ended "
            f"within {took:.0f} s after the last one was submitted, each action accepted once; {len(heard)} events heard, "
            f"{repeats} of them again")


def submit(stack: Stack, n: int) -> str:
    """Submits under a key of its own: asked again, it is the same run."""
    while True:
        try:
            return stack.start("crowd", Idempotency_Key=f"crowd-{n}")["id"]
        except Refused as refused:
            if refused.status < 500:
                raise
            time.sleep(0.2)


def kill_often(stack: Stack, rng: random.Random) -> tuple[int, str]:
    killed, open_then = 0, []
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.5, 2.5))
        while not (now := stack.kill_lambda("process-manager")):
            time.sleep(0.02)
        killed += now
        listed = stack.call("GET", "/v1/runs?task=crowd&limit=500")["runs"]
        open_then.append(sum(run["status"] not in ENDED for run in listed))
    return killed, ", ".join(map(str, open_then))


def hear(subscription: Subscription, wanted: set[str]) -> dict[str, dict]:
    """Reads until all that is wanted was heard and nothing more comes."""
    heard: dict[str, dict] = {}
    until = time.monotonic() + 60
    while time.monotonic() < until:
        fresh = [event for event in subscription.receive() if event["task"] == "crowd"]
        heard.update((event["id"], event) for event in fresh)
        if not fresh and wanted <= set(heard):
            break
    return heard
