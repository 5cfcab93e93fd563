"""Stories of agents: one dies, one is a zombie, one is not ours."""

import json
import os
import signal
import sys
import time

from recovery import ENDED, check_run, events_of, wait_for
from stack import ROOT, Stack
from subscriber import Subscription

VISIBILITY_S = 30
WIDE = """
task: ten-sleeps
defaults: {{ pool: {pool}, timeout: 5m }}
actions:
"""
# Each action is long where it runs first and short where it runs again; it says which fence it had.
ZOMBIE = """
task: zombie
defaults: {{ pool: {pool}, timeout: 10m }}
actions:
  long:
    exec: [sh, -c, 'if mkdir "$1/long"; then echo $$ > "$1/long/pid"; sleep 300; else sleep 1; fi; echo $WINDLASS_FENCE', sh, {folder}]
  stale:
    exec: [sh, -c, 'if mkdir "$1/stale"; then sleep 8; else sleep 1; fi; echo $WINDLASS_FENCE', sh, {folder}]
"""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"failed: {what}")


def all_on(stack: Stack, run: str, agent: str | None) -> bool:
    actions = stack.run(run)["actions"].values()
    return all(a["status"] in {"running", "succeeded"} and a["agent"] == agent for a in actions)


def agent_dies(stack: Stack) -> str:
    """SCENARIOS 2, actions."""
    pool = "spare"
    actions = "".join(f"  s{n}: {{ exec: [sleep, '20'] }}\n" for n in range(10))
    stack.apply(WIDE.format(pool=pool) + actions)
    first = stack.agent(pool)
    first_id = wait_for("the first agent to register", lambda: stack.agent_id(first), 30)
    run = stack.start("ten-sleeps")["id"]
    wait_for("ten actions to run on the first agent", lambda: all_on(stack, run, first_id), 30)
    second = stack.agent(pool)
    second_id = wait_for("the second agent to register", lambda: stack.agent_id(second), 30)
    first.kill()
    first.wait()
    killed = time.monotonic()
    wait_for("ten actions to run on the second agent", lambda: all_on(stack, run, second_id), VISIBILITY_S + 5)
    moved = time.monotonic() - killed
    wait_for("the run to end", lambda: stack.run(run)["status"] in ENDED, 60)
    expect((faults := check_run(stack, run)) == [], "\n".join(faults))
    second.terminate()
    expect(second.wait(timeout=60) == 0, "the second agent drains on SIGTERM and ends with 0")
    return f"10 actions ran on the other agent {moved:.1f} s after the kill -9 (at most {VISIBILITY_S + 5})"


def zombie_wakes(stack: Stack) -> str:
    """SCENARIOS 3."""
    pool, folder = "haunted", stack.folder / "haunted"
    folder.mkdir()
    stack.apply(ZOMBIE.format(pool=pool, folder=json.dumps(str(folder))))
    first = stack.agent(pool)
    first_id = wait_for("the first agent to register", lambda: stack.agent_id(first), 30)
    run = stack.start("zombie")["id"]
    wait_for("both actions to run on the first agent", lambda: all_on(stack, run, first_id), 30)
    first.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    second = stack.agent(pool)
    wait_for("the run to end on the second agent", lambda: stack.run(run)["status"] in ENDED, VISIBILITY_S + 30)
    taken_over = time.monotonic() - stopped
    program = int((folder / "long" / "pid").read_text())
    expect(is_alive(program), "the program of the stopped agent still runs")
    first.send_signal(signal.SIGCONT)
    woken = time.monotonic()
    # One beat is a sixth of the visibility timeout.
    wait_for("the zombie's work to be stopped", lambda: not is_alive(program), VISIBILITY_S / 6 + 2)
    beat = time.monotonic() - woken
    wait_for("the zombie to have nothing left to report", lambda: busy_of(stack, first_id) == 0, 30)
    wait_for("the inbox to be empty", lambda: stack.depth("inbox") == 0, 30)
    view = stack.run(run)
    second_id = stack.agent_id(second)
    for name, action in view["actions"].items():
        expect(action["agent"] == second_id, f"{name} is the second owner's")
        expect((action["attempts"], action["output"]) == (1, 2), f"{name}: one attempt, the second fence: {action}")
    expect((faults := check_run(stack, run)) == [], "\n".join(faults))
    for child in (first, second):
        child.terminate()
        child.wait(timeout=60)
    return f"taken over {taken_over:.0f} s after SIGSTOP; its work stopped {beat:.1f} s after SIGCONT, its report refused"


def busy_of(stack: Stack, agent: str) -> int | None:
    agents = stack.call("GET", "/v1/agents")["agents"]
    return next((it["busy"] for it in agents if it["id"] == agent), None)


def is_alive(pid: int) -> bool:
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def foreign_agent(stack: Stack) -> str:
    """An agent in Python on a pool of its own, and a subscriber that hears exactly what happened."""
    subscription = Subscription(stack.name, "proof-foreign")
    environment = os.environ | {"WINDLASS_POOL": "python"}
    agent = stack.spawn([sys.executable, ROOT / "examples/aws/foreign-agent/agent.py"], environment, "agent-python")
    stack.apply((ROOT / "examples/aws/foreign-agent/upper.yaml").read_text())
    run = stack.start("upper", {"text": "windlass"}, "?wait=20s")
    expect(run["status"] == "succeeded", f"the run succeeds: {run}")
    expect(run["output"] == {"first": "WINDLASS", "slow": "WINDLASS AGAIN"}, f"its output: {run['output']}")
    slow = run["actions"]["slow"]
    expect(slow["started_at"] is not None and slow["agent"].startswith("python-"), f"it said that it began: {slow}")
    wrong = stack.start("upper", {"text": ""}, "?wait=20s")
    expect(wrong["status"] == "succeeded", "an empty text stays one")
    wanted = sorted([("run.started", None), ("action.queued", "first"), ("action.succeeded", "first"),
                     ("action.queued", "slow"), ("action.started", "slow"), ("action.succeeded", "slow"),
                     ("run.succeeded", None)], key=str)
    heard: list[dict] = []

    def hear() -> bool:
        heard.extend(event for event in subscription.receive() if event["run"] in {run["id"], wrong["id"]})
        return len(heard) >= 2 * len(wanted)

    wait_for(f"the subscriber to hear {2 * len(wanted)} events", hear, 20)
    hear()
    for it in (run, wrong):
        found = sorted([(event["type"], event.get("action")) for event in heard if event["run"] == it["id"]], key=str)
        expect(found == wanted, f"exactly the expected events: {found}")
        kept = {event["id"] for event in events_of(stack, it["id"])}
        expect(kept >= {event["id"] for event in heard if event["run"] == it["id"]}, "the API tells of the same events")
    subscription.end()
    agent.terminate()
    expect(agent.wait(timeout=30) == 0, "the Python agent drains on SIGTERM")
    kinds = sorted({event["type"] for event in heard})
    lines = len((ROOT / "examples/aws/foreign-agent/agent.py").read_text().splitlines())
    return f"{lines} lines of Python performed 4 actions; the subscriber heard exactly {len(heard)} events ({', '.join(kinds)})"
