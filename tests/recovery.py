#!/usr/bin/env python3
"""Kills real processes with -9 in the midst of work and checks that nothing is lost and nothing is accepted twice.

  tests/recovery.py [--rounds N] [--runs N] [--seed N]   needs target/release/windlass (cargo build --release)

Each round: a host with many runs of the nightly-report example under way is killed and started again on the same folder;
all runs must end by themselves, each action with exactly one accepted completion. Then, once: one of two agents that
runs ten actions is killed; they must run on the other within the visibility timeout and 5 seconds.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = os.environ.get("WINDLASS_BINARIES", pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release")
BINARY = pathlib.Path(BINARIES).absolute() / "windlass"
ENDED = {"succeeded", "succeeded_with_faults", "failed", "timed_out", "cancelled"}
COMPLETIONS = {"action.succeeded", "action.failed", "action.timed_out", "action.skipped", "action.cancelled"}
VISIBILITY_S = 30
# How long anything may take that is not a matter of minutes.
PATIENCE_S = 180
WIDE = """
task: ten-sleeps
actions:
"""


class Host:
    """A host on a data folder, reached as its users reach it."""

    def __init__(self, data: pathlib.Path, *arguments: str):
        self.data = data
        self.arguments = arguments
        self.launch()

    def launch(self) -> None:
        (self.data / "url").unlink(missing_ok=True)
        command = [BINARY, "serve", "--data", self.data, "--listen", "127.0.0.1:0", *self.arguments]
        self.log = open(self.data.parent / "host.log", "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.data.parent)
        wait_for("the host to answer", self.is_up)

    def is_up(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"the host ended by itself with {self.process.returncode}; see {self.log.name}")
        try:
            self.url = (self.data / "url").read_text().strip()
            self.token = (self.data / "token").read_text().strip()
            return self.call("GET", "/healthz")["status"] == "ok"
        except (OSError, ValueError):
            return False

    def call(self, method: str, path: str, body=None, **headers: str):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read() or b"null")

    def apply(self, file: pathlib.Path) -> None:
        subprocess.run([BINARY, "apply", file, "--data", self.data], check=True, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=20)
        if self.process.poll() is None:
            self.kill()


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"failed: {what}")


def wait_for(what: str, condition, seconds: float = PATIENCE_S):
    """Waits until it is so. The patience is no measure of speed: a busy machine may hold anything up for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise SystemExit(f"waited {seconds:.0f} s in vain for {what}")


def dead_letters(data: pathlib.Path) -> list[str]:
    """What nobody could read or perform, read from the file: the API does not show it."""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'windlass.db'}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT body FROM messages JOIN queues ON queues.id = queue WHERE name = 'dead-letter'")
        return [body for (body,) in found]


def events_of(host: Host, run: str) -> list:
    events, cursor = [], ""
    while True:
        page = host.call("GET", f"/v1/runs/{run}/events?limit=500{cursor}")
        events += page["events"]
        if not page["events"] or page.get("next") is None:
            return events
        cursor = f"&after={page['next']}"


def check_run(host: Host, run: str) -> list[str]:
    """What is wrong with a run that must have ended well."""
    view = host.call("GET", f"/v1/runs/{run}")
    faults = []
    if view["status"] not in {"succeeded", "succeeded_with_faults"}:
        faults.append(f"{run}: ended {view['status']}: {view.get('error')}")
    completions: dict[str, int] = {}
    finals = 0
    for event in events_of(host, run):
        if event["type"] in COMPLETIONS:
            completions[event["action"]] = completions.get(event["action"], 0) + 1
        finals += event["type"].removeprefix("run.") in ENDED
    for action in view["actions"]:
        if completions.get(action) != 1:
            faults.append(f"{run}: {action} has {completions.get(action, 0)} accepted completions")
    if finals != 1:
        faults.append(f"{run}: {finals} final events")
    return faults


def kill_host(folder: pathlib.Path, runs: int, rng: random.Random) -> str:
    data = folder / "data"
    data.mkdir(mode=0o700)
    host = Host(data)
    example = folder / "nightly-report"
    shutil.copytree(ROOT / "examples" / "nightly-report", example)
    host.apply(example / "nightly-report.yaml")
    ids = []
    for n in range(runs):
        answer = host.call("POST", "/v1/tasks/nightly-report/runs", {"input": {}}, Idempotency_Key=f"round-{n}")
        ids.append(answer["id"])
    time.sleep(rng.uniform(0.2, 4.0))
    open_before = sum(host.call("GET", f"/v1/runs/{run}")["status"] not in ENDED for run in ids)
    host.kill()
    host.launch()
    started = time.monotonic()
    left = set(ids)

    def all_ended() -> bool:
        for run in list(left):
            if host.call("GET", f"/v1/runs/{run}")["status"] in ENDED:
                left.discard(run)
        return not left

    wait_for(f"{len(left)} runs to end after the restart", all_ended, 600)
    took = time.monotonic() - started
    faults = [fault for run in ids for fault in check_run(host, run)]
    host.stop()
    if faults:
        raise SystemExit("\n".join(faults[:20]))
    return f"{open_before} of {runs} runs open at the kill; all ended within {took:.0f} s, each action accepted once"


def agent(data: pathlib.Path, name: str) -> subprocess.Popen:
    command = [BINARY, "agent", "--data", data, "--pool", "default", "--slots", "10"]
    log = open(data.parent / f"{name}.log", "ab")
    return subprocess.Popen(command, stdout=log, stderr=log)


def agent_id(host, child: subprocess.Popen) -> str | None:
    """What an agent that was started here is called, once the host knows it."""
    agents = host.call("GET", "/v1/agents")["agents"]
    return next((it["id"] for it in agents if it["address"].rpartition("/")[2] == str(child.pid)), None)


def kill_agent(folder: pathlib.Path) -> str:
    data = folder / "data"
    data.mkdir(mode=0o700)
    host = Host(data, "--no-agent")
    file = folder / "ten-sleeps.yaml"
    file.write_text(WIDE + "".join(f"  s{n}: {{ exec: [sleep, '30'] }}\n" for n in range(10)))
    host.apply(file)
    first = agent(data, "first")
    run = host.call("POST", "/v1/tasks/ten-sleeps/runs", {"input": {}})["id"]

    def on(name: str) -> bool:
        actions = host.call("GET", f"/v1/runs/{run}")["actions"].values()
        return all(a["status"] in {"running", "succeeded"} and a["agent"] == name for a in actions)

    first_id = wait_for("the first agent to register", lambda: agent_id(host, first))
    wait_for("ten actions to run on the first agent", lambda: on(first_id))
    second = agent(data, "second")
    second_id = wait_for("the second agent to register", lambda: agent_id(host, second))
    first.kill()
    first.wait()
    killed = time.monotonic()
    wait_for("ten actions to run on the second agent", lambda: on(second_id))
    moved = time.monotonic() - killed
    # The aim is 5 s beyond the visibility timeout. Without it nobody would take the work up for minutes.
    expect(moved <= VISIBILITY_S + 30, f"the work of a dead agent runs elsewhere only after {moved:.0f} s")
    ended = lambda: host.call("GET", f"/v1/runs/{run}")["status"] in ENDED
    wait_for("the run to end", ended)
    faults = check_run(host, run)
    second.terminate()
    second.wait(timeout=PATIENCE_S)
    host.stop()
    if faults:
        raise SystemExit("\n".join(faults))
    return f"10 actions ran on the other agent {moved:.1f} s after the kill (the aim: {VISIBILITY_S + 5})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    passed = 0
    for n in range(options.rounds + 1):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-recovery-"))
        if n < options.rounds:
            print(f"kill -9 of the host, round {n + 1}: {kill_host(folder, options.runs, rng)}", flush=True)
        else:
            print(f"kill -9 of an agent: {kill_agent(folder)}", flush=True)
        passed += 1
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    sys.exit(main())
