#!/usr/bin/env python3
"""Plays stories with real processes on the embedded host (needs target/release/windlass):

1. a schedule starts a diamond whose one fault is not critical; 7. the wrong password and the network; 8. submit and wait;
3, 5, 6, 9 and 15a are those of survival.py.

  tests/scenarios.py [--only NAME ...] [--keep]

Stories that mostly wait are played side by side; those that end the host are played alone.
"""

import argparse
import concurrent.futures
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import diamond
from recovery import BINARY, ENDED, Host, agent_id, dead_letters, events_of, expect, wait_for
from survival import (
    blackout, deadline_passes, kills_are_acknowledged, one_action_is_killed, rolling_deploy, zombie_wakes,
)

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
NOTHING = """
task: nothing
actions:
  it: { exec: ["true"] }
"""


class Site(Host):
    """The embedded host as the stories know it, with agents in processes of their own beside it."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.agents = folder, {}
        (folder / "data").mkdir(mode=0o700)
        super().__init__(folder / "data")
        self.apply(NOTHING)

    def apply(self, text: str) -> None:
        name = text.split("task:", 1)[1].split()[0]
        file = self.folder / f"{name}.yaml"
        file.write_text(text)
        super().apply(file)

    def start(self, task: str, given=None, query: str = "", **headers: str) -> dict:
        return self.call("POST", f"/v1/tasks/{task}/runs{query}", {"input": given or {}}, **headers)

    def run(self, run: str) -> dict:
        return self.call("GET", f"/v1/runs/{run}")

    def agent(self, pool: str, slots: int = 10, drain: str = "20s") -> subprocess.Popen:
        name = f"{pool}-{len(self.agents)}"
        command = [BINARY, "agent", "--data", self.data, "--pool", pool, "--slots", str(slots), "--drain", drain]
        with open(self.folder / f"{name}.log", "ab") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self.agents[child] = name
        return child

    def agent_id(self, child: subprocess.Popen) -> str | None:
        """What an agent is called, once the host knows it."""
        return agent_id(self, child)

    def writes(self) -> bool:
        """Whether the host can write at this moment."""
        request = urllib.request.Request(f"{self.url}/v1/tasks/nothing/runs", data=b"{}", method="POST")
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return "id" in json.loads(answer.read())
        except OSError:
            return False

    def wait_until_decided(self) -> None:
        """Until what was reported has been decided: what came later has been."""
        run = self.start("nothing")["id"]
        wait_for("a later run to end", lambda: self.run(run)["status"] in ENDED, 60)

    def letters(self) -> int:
        """How many dead letters there are."""
        return len(dead_letters(self.data))

    def compute_off(self) -> None:
        self.kill()

    def compute_on(self) -> None:
        self.launch()

    def end(self) -> None:
        for child in self.agents:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.wait()
        self.stop()


def nightly_diamond(host: Site) -> str:
    """SCENARIOS 1."""
    host.apply(diamond.DEFINITION.format(every="2s", overlap="skip"))
    listed = lambda: host.call("GET", "/v1/runs?task=diamond&status=succeeded_with_faults&limit=50")["runs"]
    wait_for("three scheduled runs to end", lambda: listed()[2:])
    host.call("DELETE", "/v1/tasks/diamond")
    runs = [host.call("GET", f"/v1/runs/{summary['id']}") for summary in listed()]
    overheads = [edge for run in runs for edge in diamond.edges(host, run)]
    expect(len({run["nominal_time"] for run in runs}) == len(runs), "one run for each due time")
    return f"{len(runs)} scheduled diamonds ended succeeded_with_faults; {diamond.cost(overheads)}"


def ended(run: dict) -> dict | None:
    return run if run["status"] in ENDED else None


def wrong_password(host: Site) -> str:
    """SCENARIOS 7."""
    host.apply(FAULTS)
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


def submit_and_wait(host: Site) -> str:
    """SCENARIOS 8."""
    host.apply(WAITING)
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
    host.launch()
    end = wait_for("a run to end whose host was killed right after its 202", lambda: ended(host.call("GET", f"/v1/runs/{late['id']}")))
    expect(end["status"] == "succeeded", f"it ends well: {end['status']}")
    host.call("POST", f"/v1/runs/{long['id']}/cancel", {})
    return f"5 s: inline; 40 s: its id at {answered:.1f} s; one run a key; killed after its 202, the run ended"


ROUNDS = (
    (nightly_diamond, wrong_password),
    (zombie_wakes, rolling_deploy, kills_are_acknowledged, one_action_is_killed, deadline_passes),
    (submit_and_wait,),
    (blackout,),
)


def play(site: Site, only: list[str]) -> int:
    """Plays the rounds one after another, the stories of a round together; how many failed."""
    failed = 0
    for stories in ROUNDS:
        chosen = [story for story in stories if not only or story.__name__ in only]
        with concurrent.futures.ThreadPoolExecutor(max(1, len(chosen))) as pool:
            playing = {pool.submit(timed, story, site): story for story in chosen}
            for done in concurrent.futures.as_completed(playing):
                error = done.exception()
                failed += error is not None
                print(f"{playing[done].__name__}: {f'FAILED: {error!r}' if error else done.result()}", flush=True)
    return failed


def timed(story, site: Site) -> str:
    started = time.monotonic()
    facts = story(site)
    return f"{facts} [{time.monotonic() - started:.0f} s]"


def main() -> int:
    names = [story.__name__ for stories in ROUNDS for story in stories]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME", help=", ".join(names))
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-scenarios-"))
    site = Site(folder)
    try:
        failed = play(site, options.only)
    finally:
        site.end()
    if letters := dead_letters(site.data):
        failed += 1
        print(f"FAILED: {len(letters)} dead letters, such as {letters[0][:500]}", flush=True)
    if failed or options.keep:
        print(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    played = len(options.only) or len(names)
    print(f"{played - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
