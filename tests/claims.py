#!/usr/bin/env python3
"""Measures how long agents wait for the answers to their claims while the inbox has a backlog, and prints the figures.

  tests/claims.py --host one|aws [--reports N] [--actions N] [--runs N] [--keep]

Needs the programs (WINDLASS_BINARIES, or the release build). Four agents of 64 slots work on runs of `--actions` actions.
The script replaces all four twice by SIGTERM (SCENARIOS 5), and kills an agent with ten actions (SCENARIOS 2). Each
time it first puts `--reports` reports into the inbox. They are of other runs: for each action one `started`, then some
`progressed`, then one `completed`. So the process managers must decide each, and those runs must end well.

A claim counts from when its agent first sends it until its agent reads the answer, by the agents' logs. What the agent then
needs to start programs counts no more.
docs/performance.md has the last figures. The script ends with 1 if a figure misses its aim.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "aws")]

from recovery import BINARY, ENDED, PATIENCE_S, check_run, expect, wait_for  # noqa: E402
from scenarios import Site  # noqa: E402
from survival import RESUMING, STEP, VISIBILITY_S, check_resumed, said  # noqa: E402

AGENTS, SLOTS, DRAIN_S = 4, 64, 6
SLEEPS_S = (5.0, 15.0)
# The steps of the action that saves each; one takes a second.
SAVING_STEPS = 150
# A message that has waited for longer than the visibility timeout must be claimed.
OLD_S = VISIBILITY_S + 5
DECIDE_WITHIN_S = 1200
# The lines that tell of claims and of conflicts.
LINES = "info,windlass_engine::agent::claim=trace,windlass_engine::agent::control=trace,windlass_engine::settle=trace"
AIM_MS = {"one": 50, "aws": 2000}
AIM_CONFLICTS = 0.1
# Added to the visibility timeout (SCENARIOS 2).
AIM_MOVED_S = VISIBILITY_S + 5
SPARE = 10


class One(Site):
    """The embedded host, without agents of its own."""

    def launch(self) -> None:
        self.arguments = ("--no-agent", "--log-format", "json")
        super().launch()

    def agent(self, pool: str, slots: int = 10, drain: str = "20s") -> subprocess.Popen:
        name = f"agent-{pool}-{len(self.agents)}"
        command = [BINARY, "agent", "--data", self.data, "--pool", pool, "--slots", str(slots), "--drain", drain,
                   "--log-format", "json"]
        with open(self.folder / f"{name}.log", "ab") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self.agents[child] = name
        return child

    def send_reports(self, bodies: list[str]) -> None:
        """Puts messages into the inbox, behind all that is there. Ids are microseconds, so small ones are free."""
        sent_at = int(time.time() * 1000)
        with contextlib.closing(sqlite3.connect(self.data / "windlass.db", timeout=60)) as database, database:
            (inbox,), = database.execute("SELECT id FROM queues WHERE name = 'inbox'")
            (first,), = database.execute("SELECT coalesce(max(id), 0) + 1 FROM messages WHERE id < 1000000000")
            # The file's own time (shared/embedded/src/file_clock.rs).
            (ahead,), = database.execute("SELECT ahead FROM clock")
            now = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 + ahead) // 1000
            # A message with 2 receives was never received (shared/embedded/src/queues.rs).
            rows = [(first + n, inbox, now, sent_at, body) for n, body in enumerate(bodies)]
            database.executemany("INSERT INTO messages (id, queue, visible_at, receives, sent_at, body) VALUES (?, ?, ?, 2, ?, ?)", rows)

    def backlog(self) -> int:
        with contextlib.closing(sqlite3.connect(f"file:{self.data / 'windlass.db'}?mode=ro", uri=True, timeout=60)) as database:
            sql = "SELECT count(*) FROM messages WHERE queue = (SELECT id FROM queues WHERE name = 'inbox')"
            (count,), = database.execute(sql)
            return count

    def conflict_lines(self, _since: float) -> list[str]:
        return (self.folder / "host.log").read_text(errors="replace").splitlines()


def on_aws():
    """The local AWS stack. Its module wants boto3, so only this host reads it."""
    import stack as stacks

    stacks.in_venv()

    class Aws(stacks.Stack):
        def __init__(self):
            super().__init__("fleet:0", "spare:0", "elsewhere:0", ProcessManagerTimeout="60")
            self.started = 0
            function = f"{self.name}-process-manager"
            known = self.lambdas.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
            variables = known | {"WINDLASS_LOG": LINES}
            self.lambdas.update_function_configuration(FunctionName=function, Environment={"Variables": variables})

        def agent(self, pool: str, slots: int = 10, drain: str = "20s") -> subprocess.Popen:
            self.started += 1
            environment = self.agent_environments[pool] | {
                "WINDLASS_SLOTS": str(slots), "WINDLASS_DRAIN": drain, "WINDLASS_LOG": LINES,
                "WINDLASS_HEALTH_ADDR": f"127.0.0.1:{stacks.free_port()}",
            }
            return self.spawn([stacks.program("windlass-agent")], environment, f"agent-{pool}-{self.started}")

        def send_reports(self, bodies: list[str]) -> None:
            url = self.queue("inbox")

            def send(at: int) -> None:
                entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[at : at + 10])]
                answer = self.sqs.send_message_batch(QueueUrl=url, Entries=entries)
                expect(not answer.get("Failed"), f"the inbox takes the reports: {answer.get('Failed')}")

            with concurrent.futures.ThreadPoolExecutor(4) as senders:
                list(senders.map(send, range(0, len(bodies), 10)))

        def backlog(self) -> int:
            return self.depth("inbox")

        def conflict_lines(self, since: float) -> list[str]:
            return self.log_lines("process-manager", int(since * 1000))

        def end(self) -> None:
            self.down()

    return Aws()


# The load


def fan(name: str, pool: str, actions: int, command) -> str:
    lines = [f"task: {name}", f"defaults: {{ pool: {pool}, retry: {{ attempts: 5, delay: 100ms }} }}", "actions:"]
    return "\n".join([*lines, *(f"  a{n}: {{ exec: {json.dumps(command(n))} }}" for n in range(actions))]) + "\n"


def report(run: str, action: int, kind: str, number: int) -> str:
    """A report of an agent elsewhere, about the first delivery of an action's first attempt."""
    of = {"action": action, "delivery": "1.0.1", "message": action + 1, "agent": f"elsewhere-{action % 8}"}
    told = {
        "started": {"started_at": int(time.time() * 1000)},
        "progressed": {"number": number, "progress": {"percent": min(100.0, float(number)), "message": f"step {number}"}},
        "completed": {"started_at": int(time.time() * 1000), "outcome": {"result": "succeeded", "output": None}},
    }[kind]
    return json.dumps({"type": "run", "v": 1, "run": run, "input": {"type": kind, "of": of, **told}})


@dataclasses.dataclass
class Backlog:
    """One filling of the inbox: when it began, the messages at its end, and when it was empty again."""

    kind: str
    began: float
    filled: float = 0.0
    depth: int = 0
    drained: float = 0.0

    def line(self) -> str:
        return (f"{self.depth:,} messages in the inbox {self.filled - self.began:.1f} s after the first `{self.kind}` was sent; "
                f"empty {self.drained - self.began:.0f} s after it")


class Measure:
    def __init__(self, site, host: str, options):
        self.site, self.host, self.options = site, host, options
        self.folder = site.folder / "claims"
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.backlogs: list[Backlog] = []
        self.facts: list[str] = []
        self.faults: list[str] = []
        self.held = True

    def play(self) -> None:
        self.apply()
        self.agents = self.fleet()
        # First of all: later it would wait behind the others in its pool.
        self.resuming = self.site.start("resuming")["id"]
        wait_for("the action that saves its steps to be under way", lambda: len(said(self.folder / "saved", "step")) >= 2)
        self.runs = [self.site.start("loaded")["id"] for _ in range(self.options.runs)]
        began = time.monotonic()
        wait_for("all slots to be taken", lambda: len(said(self.log, "begin")) >= AGENTS * SLOTS - 1)
        self.others = [self.site.start("elsewhere")["id"] for _ in range(self.options.reports // self.options.actions)]
        self.letters = self.site.letters()
        wait_for("messages to be old", lambda: time.monotonic() - began > OLD_S)
        for kind in ("started", "progressed"):
            self.replace(kind)
        self.agent_dies()
        self.drain(self.fill("completed"))
        self.check_end()

    def apply(self) -> None:
        draw = random.Random(1)
        act = self.folder / "act"
        act.write_text(STEP.replace('"$0"', f'"{self.log}"') + 'say begin; sleep "$1"; say done\n')
        seconds = lambda _: ["sh", str(act), f"{draw.uniform(*SLEEPS_S):.1f}"]
        self.site.apply(fan("loaded", "fleet", self.options.actions, seconds))
        self.site.apply(fan("elsewhere", "elsewhere", self.options.actions, lambda _: ["true"]))
        ten = ["sh", "-c", STEP + "say begin; sleep 60; say done", str(self.folder / "ten")]
        self.site.apply(fan("ten", "spare", SPARE, lambda _: ten))
        resuming = json.dumps(["sh", "-c", STEP + RESUMING, str(self.folder / "saved"), str(SAVING_STEPS)])
        self.site.apply(f"task: resuming\nactions:\n  a: {{ pool: fleet, exec: {resuming} }}\n")

    def fleet(self) -> list[subprocess.Popen]:
        return [self.site.agent("fleet", slots=SLOTS, drain=f"{DRAIN_S}s") for _ in range(AGENTS)]

    def fill(self, kind: str, number: int = 1) -> Backlog:
        """Fills the inbox with a report for each action of the other runs, in the order in which a pool gives them out."""
        bodies = self.bodies(kind, number)
        backlog = Backlog(kind, time.time())
        self.site.send_reports(bodies)
        backlog.filled, backlog.depth = time.time(), self.site.backlog()
        self.backlogs.append(backlog)
        return backlog

    def bodies(self, kind: str, number: int) -> list[str]:
        return [report(run, action, kind, number) for run in self.others for action in range(self.options.actions)]

    def keep_full(self, number: int, ended: threading.Event) -> None:
        """Keeps the inbox between half full and full with further reports of progress."""
        half = self.options.reports // 2
        while not ended.wait(0.2):
            if self.site.backlog() < half:
                self.site.send_reports(self.bodies("progressed", number)[:half])
                number += 1

    def drain(self, backlog: Backlog) -> None:
        """Waits until the inbox is as empty as it is without a backlog."""
        # Looking more often would be load of its own.
        wait_for("the backlog to be decided", lambda: time.sleep(0.4) or self.site.backlog() <= 50, DECIDE_WITHIN_S)
        backlog.drained = time.time()
        print(f"  {backlog.line()}; load {os.getloadavg()[0]:.1f}", flush=True)

    def replace(self, kind: str) -> None:
        """All agents end by SIGTERM, and others begin, while the inbox is full."""
        backlog = self.fill(kind)
        gone = self.agents
        for agent in gone:
            agent.terminate()
        self.agents = self.fleet()
        for agent in gone:
            expect(agent.wait(timeout=PATIENCE_S) == 0, "an agent that drains ends with 0")
        self.drain(backlog)

    def agent_dies(self) -> None:
        """SCENARIOS 2. The inbox is filled just before the dead agent's messages come again."""
        ten = self.folder / "ten"
        first = self.site.agent("spare", slots=SPARE)
        run = self.site.start("ten")["id"]
        wait_for("ten actions to run", lambda: len(said(ten, "begin")) >= SPARE)
        second = self.site.agent("spare", slots=SPARE)
        wait_for("the other agent to register", lambda: self.site.agent_id(second))
        first.kill()
        killed = time.monotonic()
        first.wait()
        time.sleep(VISIBILITY_S / 3)
        # The inbox stays full until the agent's messages have come again and their claims are answered.
        backlog, ended = self.fill("progressed", 2), threading.Event()
        keeper = threading.Thread(target=self.keep_full, args=(3, ended))
        keeper.start()
        wait_for("ten actions to run again", lambda: len(said(ten, "begin")) >= 2 * SPARE, DECIDE_WITHIN_S)
        moved = time.monotonic() - killed
        ended.set()
        keeper.join()
        self.drain(backlog)
        self.judge("SCENARIOS 2: ten actions run on the other agent", f"{AIM_MOVED_S} s", f"{moved:.1f} s", moved <= AIM_MOVED_S)
        wait_for("the run of ten to end", lambda: self.site.run(run)["status"] in ENDED)
        self.faults += check_run(self.site, run)
        second.terminate()
        expect(second.wait(timeout=PATIENCE_S) == 0, "an agent that drains ends with 0")

    def check_end(self) -> None:
        """SCENARIOS 5, and that every report of the backlog was decided."""
        runs = [*self.runs, self.resuming, *self.others]
        listed = lambda task: self.site.call("GET", f"/v1/runs?task={task}&limit=100")["runs"]
        for task in ("loaded", "resuming", "elsewhere"):
            ended = lambda: time.sleep(1) or all(run["status"] in ENDED for run in listed(task))
            wait_for(f"all runs of {task} to end", ended, DECIDE_WITHIN_S)
        for run in runs:
            self.faults += check_run(self.site, run)
        spent = 0
        for run in self.runs:
            spent += sum(action["attempts"] != 1 for action in self.site.run(run)["actions"].values())
        begun = [tuple(it[:4]) for it in said(self.log, "begin")]
        performed, wanted = {it[:2] for it in begun}, len(self.runs) * self.options.actions
        starts = check_resumed(self.site, self.resuming, self.folder / "saved", SAVING_STEPS)
        letters = self.site.letters() - self.letters
        self.judge("SCENARIOS 5: actions performed", f"{wanted:,}", f"{len(performed):,}", len(performed) == wanted)
        self.judge("SCENARIOS 5: attempts spent by handing back", "0", f"{spent}", spent == 0)
        self.judge("SCENARIOS 5: starts under a fence that another start had", "0", f"{len(begun) - len(set(begun))}",
                   len(begun) == len(set(begun)))
        self.judge("SCENARIOS 5: dead letters", "0", f"{letters}", letters == 0)
        self.judge("SCENARIOS 5: begun at its checkpoints", "twice or more", f"at steps {starts}", len(starts) >= 2)
        self.judge("runs that did not end well, or twice", "0", f"{len(self.faults)}", not self.faults)
        for agent in self.agents:
            agent.terminate()
            agent.wait(timeout=PATIENCE_S)
        again = len(begun) - len(performed)
        print(f"  {again} times an action was begun again elsewhere", flush=True)

    # The figures

    def judge(self, what: str, aim: str, measured: str, holds: bool) -> None:
        self.facts.append(f"| {what} | {aim} | {measured} | {'yes' if holds else '**no**'} |")
        if not holds:
            print(f"  missed: {what}: {measured}", flush=True)
        self.held = self.held and holds

    def tell(self) -> None:
        claims = self.claims()
        beside = [[claim for claim in claims if it.began <= claim.sent <= it.drained] for it in self.backlogs]
        for backlog, some in zip(self.backlogs, beside):
            print(f"  claims sent beside the backlog of `{backlog.kind}`: {spread(some)}", flush=True)
        beside = [claim for some in beside for claim in some]
        known = set(beside)
        print(f"  claims sent beside a backlog: {spread(beside)}")
        print(f"  other claims: {spread([claim for claim in claims if claim not in known])}", flush=True)
        answered = latencies(beside)
        p95 = percentile(answered, 0.95) * 1000 if answered else float("inf")
        self.judge("answer to a claim beside the backlog, p95", f"{AIM_MS[self.host]} ms", f"{p95:,.0f} ms", p95 <= AIM_MS[self.host])
        of_claims, of_all = self.conflicts()
        print(f"  conflicts: {of_claims:,} on the records of claimed runs, {of_all:,} on all", flush=True)
        each = of_claims / max(1, len(claims))
        self.judge("conflicts a claim, on the records of claimed runs", f"{AIM_CONFLICTS}", f"{each:.2f}", each <= AIM_CONFLICTS)
        print("\n| what | aim | measured | holds |\n|---|---|---|---|\n" + "\n".join(self.facts), flush=True)

    def claims(self) -> list["Claim"]:
        """Every claim that an agent has sent since the first filling."""
        found: dict[tuple[str, int], Claim] = {}
        for log in self.site.folder.glob("agent-*.log"):
            for line in figures(log.read_text(errors="replace").splitlines()):
                key = (log.name, line.get("asked"))
                if line.get("message") == "a claim is sent":
                    found.setdefault(key, Claim(moment(line)))
                elif line.get("message") == "a claim is answered" and key in found and not found[key].answered:
                    found[key].answered = moment(line)
        return [claim for claim in found.values() if claim.sent >= self.backlogs[0].began]

    def conflicts(self) -> tuple[int, int]:
        """How many there were since the first filling: on the records of claimed runs, and on all."""
        began = self.backlogs[0].began
        lines = [it for it in figures(self.site.conflict_lines(began)) if it.get("metric") == "Conflicts"]
        lines = [it for it in lines if moment(it) >= began]
        others = set(self.others)
        return sum(it.get("span", {}).get("run.id") not in others for it in lines), len(lines)


@dataclasses.dataclass(eq=False)
class Claim:
    sent: float
    answered: float = 0.0


def figures(lines: list[str]):
    """The lines that have a figure, or tell of a claim."""
    for line in lines:
        if ("metric" in line or "a claim is" in line) and "{" in line and "_aws" not in line:
            with contextlib.suppress(ValueError):
                yield json.loads(line[line.index("{") :])


def moment(line: dict) -> float:
    return datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()


def percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def latencies(claims: list[Claim]) -> list[float]:
    """Seconds to the answer, of those that have one."""
    return sorted(claim.answered - claim.sent for claim in claims if claim.answered)


def spread(claims: list[Claim]) -> str:
    seconds = latencies(claims)
    if not seconds:
        return f"{len(claims)}, none answered"
    told = ", ".join(f"{name} {percentile(seconds, share) * 1000:,.0f} ms" for name, share in (("p50", 0.5), ("p95", 0.95)))
    unanswered = len(claims) - len(seconds)
    return f"{len(claims):,}, {unanswered:,} of them unanswered; {told}, max {seconds[-1] * 1000:,.0f} ms"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=("one", "aws"), required=True)
    parser.add_argument("--reports", type=int, default=20_000, help="how many are in the inbox; a multiple of --actions")
    parser.add_argument("--actions", type=int, default=1000, help="of each run")
    parser.add_argument("--runs", type=int, default=4, help="that the agents work on")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    options = parser.parse_args()
    os.environ["WINDLASS_LOG"] = LINES
    site = on_aws() if options.host == "aws" else One(pathlib.Path(tempfile.mkdtemp(prefix="windlass-claims-")))
    began, load = time.monotonic(), os.getloadavg()
    measure, is_told = Measure(site, options.host, options), False
    try:
        measure.play()
        measure.tell()
        is_told = True
    finally:
        site.end()
        if is_told and not options.keep:
            shutil.rmtree(site.folder, ignore_errors=True)
        else:
            print(f"the logs are in {site.folder}")
    loads = f"{load[0]:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"{options.host}: {time.monotonic() - began:.0f} s; {os.cpu_count()} cores, load {loads}")
    return 0 if measure.held else 1


if __name__ == "__main__":
    sys.exit(main())
