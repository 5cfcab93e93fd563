"""A story of kill -9: the process manager's processes, in the midst of many runs."""

import collections
import concurrent.futures
import random
import time

from recovery import ENDED, check_run, expect, wait_for
from stack import Refused, Stack
from subscriber import Subscription

RUNS, KILLS = 100, 5
WORK = """
task: crowd
events: all
timeout: 10m
defaults: { timeout: 5m }
actions:
  first: { exec: [sleep, '0.1'] }
  left: { needs: [first], exec: ["true"] }
  right: { needs: [first], allow_failure: true, exec: ["false"] }
  last: { needs: [left, right], exec: ["true"] }
"""


# What every run must lead to, once.
EVENTS = (
    ("run.started", None),
    *(("action.queued", name) for name in ("first", "left", "right", "last")),
    *(("action.succeeded", name) for name in ("first", "left", "last")),
    ("action.failed", "right"),
    ("run.succeeded_with_faults", None),
)


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

    wait_for(f"{len(left)} runs to end", all_ended, 600)
    took = time.monotonic() - started
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        faults = [fault for found in pool.map(lambda run: check_run(stack, run), ids) for fault in found]
    expect(not faults, "\n".join(faults[:20]))
    heard = collections.Counter(hear(subscription, len(ids) * len(EVENTS)))
    twice = [event for event, times in heard.items() if times > 1]
    expect(not twice, f"nothing is accepted twice: {twice[:10]}")
    missing = {(run, *event) for run in ids for event in EVENTS} - set(heard)
    expect(not missing, f"{len(missing)} events were not published: {sorted(missing, key=str)[:10]}")
    repeats = subscription.repeats
    subscription.end()
    stack.call("DELETE", "/v1/tasks/crowd")
    return (f"{killed} processes killed with -9 at {KILLS} moments, {open_at_kills} runs open then; {len(ids)} runs ended "
            f"within {took:.0f} s after the last one was submitted; of each action one completion was accepted and heard, "
            f"{repeats} events came again")


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


def hear(subscription: Subscription, enough: int) -> list[tuple]:
    """What was decided, as the bus tells it: reads until enough was heard and nothing more comes."""
    heard: list[tuple] = []
    until = time.monotonic() + 300
    while time.monotonic() < until:
        fresh = [event for event in subscription.receive() if event["task"] == "crowd"]
        # Who redelivers says who has begun: that may be told more than once.
        decided = [event for event in fresh if event["type"] != "action.started"]
        heard += [(event["run"], event["type"], event.get("action")) for event in decided]
        if not fresh and len(heard) >= enough:
            break
    return heard
