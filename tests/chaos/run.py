#!/usr/bin/env python3
"""Chaos on real processes: kills, stops, drains and restarts them at random under a load of mixed tasks, then checks
that no run was lost, nothing was accepted twice and nothing was started that should not have been.

  tests/chaos/run.py --host one|aws [--seed N] [--minutes M] [--rate R] [--keep]

Needs the programs (WINDLASS_BINARIES, or the release build). What happens is a function of the arguments; when exactly
it hits what, is not. docs/chaos.md tells the rest.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "aws")]

import checks  # noqa: E402
import plan  # noqa: E402
import report  # noqa: E402
from api import Refused, Unavailable, again, pages  # noqa: E402
from parts import Happened  # noqa: E402
from recovery import ENDED  # noqa: E402
from tasks import TASKS, ticking  # noqa: E402
from witness import Witness  # noqa: E402

# By itself everything ends far sooner: the slowest repair is that of a run whose submitter died, after up to 5 minutes.
SETTLE_WITHIN_S = 900
CLIENTS = 32


class Chaos:
    def __init__(self, world, drawn: plan.Plan, log: pathlib.Path):
        self.world, self.plan, self.log = world, drawn, log
        self.stories: dict[str, checks.Story] = {}
        self.poison: list[str] = []
        self.problems: list[str] = []
        self.lock = threading.Lock()

    def play(self) -> None:
        definitions = {name: task.definition(name, self.log) for name, task in TASKS.items()}
        definitions["ticking"] = ticking(self.world.every).definition("ticking", self.log)
        for name, text in definitions.items():
            again(self.world.call, "PUT", f"/v1/tasks/{name}", text.encode(), Content_Type="application/yaml")
        self.applied = time.time()
        began = time.monotonic()
        faults = [threading.Thread(target=part.suffer, args=(self.plan.faults[part.name], began)) for part in self.world.parts]
        for thread in faults:
            thread.start()
        self.submit_all(began)
        for thread in faults:
            thread.join()
        for part in self.world.parts:
            part.calm()
        self.world.wait_until_up()

    # The clients

    def submit_all(self, began: float) -> None:
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            asked = []
            for submission in self.plan.submissions:
                time.sleep(max(0.0, began + submission.at - time.monotonic()))
                asked.append((submission, clients.submit(self.submit, submission)))
            for submission, answered in asked:
                if error := answered.exception():
                    self.problems.append(f"{submission.key} of {submission.task} was not answered: {error!r}")

    def submit(self, submission: plan.Submission) -> None:
        run = self.ask_for(submission)["id"]
        story = checks.Story(run, submission.task, TASKS[submission.task], submission.key)
        with self.lock:
            self.stories[run] = story
        self.world.listen(run)
        if submission.cancel_after is not None:
            time.sleep(submission.cancel_after)
            try:
                again(self.world.call, "POST", f"/v1/runs/{run}/cancel", {"reason": "chaos"})
                story.cancel = "accepted"
            except Refused as refused:
                if refused.status != 409:
                    raise
                story.cancel = "refused"

    def ask_for(self, submission: plan.Submission) -> dict:
        given = {} if submission.seconds is None else {"seconds": submission.seconds}
        path = f"/v1/tasks/{submission.task}/runs"
        return again(self.world.call, "POST", path, {"input": given}, Idempotency_Key=submission.key)

    # When the faults are over

    def settle(self) -> None:
        """Waits until all has ended, and touches nothing meanwhile."""
        self.calm_at = time.time()
        until = time.monotonic() + SETTLE_WITHIN_S
        every = self.world.every_s
        due = int(self.calm_at) // every * every
        while True:
            runs = pages(self.world.call, "/v1/runs", "runs", "cursor")
            left = [run for run in runs if run["status"] not in ENDED]
            ticks = [run for run in runs if run["task"] == "ticking"]
            for run in ticks:
                self.world.listen(run["id"])
            if not left and self.has_fired(ticks, due):
                break
            if time.monotonic() > until:
                self.problems.append(f"after {SETTLE_WITHIN_S} s without faults {len(left)} runs are open")
                break
            time.sleep(1)
        self.settled = time.time() - self.calm_at
        self.last_due = due
        again(self.world.call, "DELETE", "/v1/tasks/ticking")
        self.wait_for_late_ticks(until)

    def has_fired(self, ticks: list[dict], due: int) -> bool:
        """Whether the last time that was due among the faults has its run, which is not older than that time."""
        return any(checks.seconds(run["submitted_at"]) >= due for run in ticks)

    def wait_for_late_ticks(self, until: float) -> None:
        """The schedule has gone on meanwhile: its last runs are checked too."""
        while time.monotonic() < until:
            runs = pages(self.world.call, "/v1/runs?task=ticking", "runs", "cursor")
            if all(run["status"] in ENDED for run in runs):
                for run in runs:
                    self.world.listen(run["id"])
                    self.stories[run["id"]] = checks.Story(run["id"], "ticking", ticking(self.world.every))
                return
            time.sleep(0.5)
        self.problems.append("scheduled runs are still open")

    def gather(self) -> None:
        """Reads what became of each run, and asks for each key once more: it is the run that it was."""
        by_key = {submission.key: submission for submission in self.plan.submissions}
        for story in self.stories.values():
            try:
                story.view = again(self.world.call, "GET", f"/v1/runs/{story.run}")
            except Refused as refused:
                self.problems.append(story.wrong(f"lost: {refused}"))
                continue
            story.log = pages(self.world.call, f"/v1/runs/{story.run}/events", "events", "after")
            if story.key and (same := self.ask_for(by_key[story.key])["id"]) != story.run:
                self.problems.append(story.wrong(f"its key is now that of {same}"))
        until = time.monotonic() + 120
        while not self.world.heard_enough() and time.monotonic() < until:
            time.sleep(0.2)

    def check(self, witness: Witness, starts: checks.Starts, happened: list[Happened]) -> None:
        whole = self.world.name == "one"
        stories = [story for story in self.stories.values() if story.view]
        for story in stories:
            story.heard = self.world.heard_of(story.run)
            if story.view["status"] in ENDED and checks.was_poison(story, witness, happened):
                self.poison.append(story.wrong("given up as poison"))
            else:
                self.problems += checks.outcome(story)
            if story.view["status"] in ENDED:
                self.problems += checks.decisions(story) + checks.heard(story, whole) + starts.check(story)
        ticks = [story for story in stories if story.name == "ticking"]
        self.problems += checks.schedule(ticks, self.world.every_s, self.world.first_due(self.applied, ticks), self.last_due)
        self.problems += [problem for part in self.world.parts for problem in part.problems]
        self.problems += witness.problems + self.world.contradictions()


def world_of(host: str, folder: pathlib.Path):
    if host == "one":
        from one import World
    else:
        from aws import World
    return World(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=["one", "aws"], required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0.75, help="how long faults are made")
    parser.add_argument("--rate", type=float, default=1.5, help="runs a second")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    if options.host == "aws":
        from stack import in_venv

        in_venv()
    # Whoever ends this is not left with the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-chaos-"))
    log = folder / "witness.log"
    log.touch()
    started = time.monotonic()
    world = world_of(options.host, folder)
    chaos = Chaos(world, plan.plan(options.host, options.seed, options.minutes, options.rate), log)
    try:
        chaos.play()
        chaos.settle()
        chaos.gather()
    except (Unavailable, Refused) as error:
        chaos.problems.append(f"the API does not answer any more: {error}")
    finally:
        world.end()
    chaos.problems += [f"a dead letter: {body[:300]}" for body in world.dead_letters()]
    return told(chaos, options, folder, log, started)


def told(chaos: Chaos, options, folder: pathlib.Path, log: pathlib.Path, started: float) -> int:
    happened = sorted((it for part in chaos.world.parts for it in part.happened), key=lambda it: it.at)
    witness = Witness(log)
    starts = checks.Starts(witness, happened)
    chaos.check(witness, starts, happened)
    heard = sum(len(story.heard) for story in chaos.stories.values())
    facts = {
        "starts by an agent that was held up at the last moment": "; ".join([str(len(starts.woken)), *starts.woken]),
        "given up after five agents were lost with it": "; ".join([str(len(chaos.poison)), *chaos.poison]),
        "subscriber": f"heard {heard} events, {chaos.world.repeats} of them again",
        "all ended": f"{chaos.settled:.0f} s after the last fault; the whole took {time.monotonic() - started:.0f} s",
    }
    stories = [story for story in chaos.stories.values() if story.view]
    for line in report.lines(options.host, options.seed, options.minutes, stories, happened, witness, facts, chaos.problems):
        print(line, flush=True)
    if chaos.problems or options.keep:
        print(f"the logs are in {folder}")
        kept = {"happened": [vars(it) for it in happened], "stories": {run: vars(it) | {"task": it.name} for run, it in chaos.stories.items()}}
        (folder / "found.json").write_text(json.dumps(kept, default=str))
        return 1 if chaos.problems else 0
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
