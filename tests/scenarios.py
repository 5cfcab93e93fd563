#!/usr/bin/env python3
"""Plays stories with real processes on the embedded host (needs target/release/windlass):

1. a schedule starts a diamond whose one fault is not critical; 7. the wrong password and the network; 8. submit and wait.
"""

import pathlib
import shutil
import sys
import tempfile
import time

import diamond
from recovery import ENDED, Host, events_of, expect, wait_for

FAULTS = """
task: faults
actions:
  password:
    exec: [sh, -c, 'printf %s "{\\"kind\\":\\"auth.password\\",\\"message\\":\\"refused\\"}" > "$WINDLASS_ERROR"; exit 1']
    retry: { attempts: 5, delay: 100ms }
    allow_failure: true
  network:
    exec: [sh, -c, 'printf %s "{\\"kind\\":\\"network.reset\\",\\"message\\":\\"reset\\"}" > "$WINDLASS_ERROR"; exit 1']
    retry: { attempts: 4, delay: 200ms, factor: 2, jitter: none, max_delay: 300ms }
    allow_failure: true
"""
WAITING = """
task: waiting
input: { type: object, properties: { seconds: { type: integer } }, required: [seconds] }
actions:
  work: { exec: [sleep, '${{ input.seconds }}'] }
"""


def nightly_diamond(host: Host) -> str:
    """SCENARIOS 1."""
    listed = lambda: host.call("GET", "/v1/runs?task=diamond&status=succeeded_with_faults&limit=50")["runs"]
    wait_for("three scheduled runs to end", lambda: listed()[2:])
    host.call("DELETE", "/v1/tasks/diamond")
    runs = [host.call("GET", f"/v1/runs/{summary['id']}") for summary in listed()]
    overheads = [edge for run in runs for edge in diamond.edges(host, run)]
    expect(len({run["nominal_time"] for run in runs}) == len(runs), "one run for each due time")
    return f"{len(runs)} scheduled diamonds ended succeeded_with_faults; {diamond.cost(overheads)}"


def ended(run: dict) -> dict | None:
    return run if run["status"] in ENDED else None


def wrong_password(host: Host) -> str:
    """SCENARIOS 7."""
    id = host.call("POST", "/v1/tasks/faults/runs", {"input": {}})["id"]
    run = wait_for("the run to end", lambda: ended(host.call("GET", f"/v1/runs/{id}")))
    expect(run["status"] == "succeeded_with_faults", f"both faults are allowed: {run['status']}")
    password, network = run["actions"]["password"], run["actions"]["network"]
    expect((password["attempts"], password["error"]["kind"]) == (1, "auth.password"), "the wrong password: one attempt")
    expect((network["attempts"], network["error"]["kind"]) == (4, "network.reset"), "the network: all attempts")
    retrying = [e for e in events_of(host, run["id"]) if e["type"] == "action.retrying"]
    delays = [round((diamond.seconds(e["data"]["retry_at"]) - diamond.seconds(e["time"])) * 1000) for e in retrying]
    expect(delays == [200, 300, 300], f"the exact schedule, capped: {delays}")
    return f"one attempt for the wrong password; a reset is retried after {delays} ms and no more"


def submit_and_wait(host: Host) -> str:
    """SCENARIOS 8."""
    started = time.monotonic()
    short = host.call("POST", "/v1/tasks/waiting/runs?wait=20s", {"input": {"seconds": 5}})
    inline = time.monotonic() - started
    expect(short["status"] == "succeeded", f"a 5 s job answers inline: {inline:.1f} s")
    started = time.monotonic()
    body = {"input": {"seconds": 40}}
    long = host.call("POST", "/v1/tasks/waiting/runs?wait=20s", body, Idempotency_Key="k")
    answered = time.monotonic() - started
    expect(answered >= 19 and long["status"] not in ENDED, f"a 40 s job answers at 20 s: {answered:.1f} s")
    same = host.call("POST", "/v1/tasks/waiting/runs", body, Idempotency_Key="k")
    expect(same["id"] == long["id"], "the same key is one run")
    late = host.call("POST", "/v1/tasks/waiting/runs", {"input": {"seconds": 1}})
    host.kill()
    host.start()
    end = wait_for("a run to end whose host was killed right after its 202", lambda: ended(host.call("GET", f"/v1/runs/{late['id']}")))
    expect(end["status"] == "succeeded", f"it ends well: {end['status']}")
    host.call("POST", f"/v1/runs/{long['id']}/cancel", {})
    return f"5 s: inline; 40 s: its id at {answered:.1f} s; one run a key; killed after its 202, the run ended"


def main() -> None:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-scenarios-"))
    (folder / "data").mkdir(mode=0o700)
    host = Host(folder / "data")
    for name, text in {"faults": FAULTS, "waiting": WAITING, "diamond": diamond.DEFINITION.format(every="2s", overlap="skip")}.items():
        file = folder / f"{name}.yaml"
        file.write_text(text)
        host.apply(file)
    stories = [nightly_diamond, wrong_password, submit_and_wait]
    try:
        for story in stories:
            print(f"{story.__name__}: {story(host)}", flush=True)
    finally:
        host.stop()
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(stories)} passed, 0 failed")


if __name__ == "__main__":
    sys.exit(main())
