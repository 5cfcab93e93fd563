"""The embedded host under chaos: the host with an agent of its own, agents in processes beside it, a reader of streams."""

import http.client
import json
import pathlib
import subprocess
import threading
import time
import urllib.error
import urllib.request

from api import Unavailable, ask
from parts import Process
from plan import AGENTS
from recovery import BINARY, dead_letters

SLOTS = 8
EVERY = "5s"


class World:
    """A host on a data folder of its own, its agents, and how all of it is reached."""

    name = "one"
    every, every_s = EVERY, 5

    def __init__(self, folder: pathlib.Path):
        self.folder, self.data = folder, folder / "data"
        self.data.mkdir(mode=0o700)
        self.where: tuple[str, str] | None = None
        self.ended = threading.Event()
        self.heard: dict[str, list[tuple[str, str]]] = {}
        self.readers: dict[str, threading.Thread] = {}
        self.repeats = 0
        self.host = Process("host", self.start_host, alone=True)
        self.wait_until_up()
        agents = [Process(f"agent-{n}", lambda nth, n=n: self.start_agent(f"agent-{n}-{nth}")) for n in range(AGENTS)]
        self.parts = [self.host, *agents]

    def start_host(self, _nth: int) -> subprocess.Popen:
        (self.data / "url").unlink(missing_ok=True)
        return self.spawn("host", "serve", "--listen", "127.0.0.1:0", "--pool", "default=2", "--drain", "5s")

    def start_agent(self, name: str) -> subprocess.Popen:
        return self.spawn(name, "agent", "--pool", "default", "--slots", str(SLOTS), "--drain", "5s")

    def spawn(self, log: str, *arguments: str) -> subprocess.Popen:
        with open(self.folder / f"{log}.log", "ab") as out:
            return subprocess.Popen([BINARY, *arguments, "--data", self.data], stdout=out, stderr=out, cwd=self.folder)

    def wait_until_up(self) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                self.call("GET", "/healthz")
                return
            except Unavailable as unavailable:
                if self.host.child.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"the host does not answer: {unavailable}; see {self.folder}/host.log") from None
                time.sleep(0.1)

    def call(self, method: str, path: str, body=None, **headers: str):
        return ask(*self.address(), method, path, body, **headers)

    def address(self) -> tuple[str, str]:
        """Where the host is. It has another port after each start."""
        try:
            return (self.data / "url").read_text().strip(), (self.data / "token").read_text().strip()
        except OSError as error:
            raise Unavailable(str(error)) from None

    def first_due(self, applied: float, _ticks: list) -> float:
        """From when on each due time must have its run."""
        return applied

    # The subscriber: one stream of events for each run.

    def listen(self, run: str) -> None:
        if run not in self.readers:
            self.heard[run] = []
            self.readers[run] = threading.Thread(target=self.follow, args=(run,), daemon=True)
            self.readers[run].start()

    def follow(self, run: str) -> None:
        """Reads a run's stream to its end, and goes on after the last event that it heard when the stream breaks."""
        while not self.ended.is_set():
            try:
                if self.read_stream(run):
                    return
            except (Unavailable, OSError, http.client.HTTPException, ValueError):
                time.sleep(0.2)

    def read_stream(self, run: str) -> bool:
        url, token = self.address()
        request = urllib.request.Request(f"{url}/v1/runs/{run}/events")
        request.add_header("Authorization", f"Bearer {token}")
        request.add_header("Accept", "text/event-stream")
        heard = self.heard[run]
        if heard:
            request.add_header("Last-Event-ID", heard[-1][0])
        with urllib.request.urlopen(request, timeout=40) as stream:
            if stream.status == 204:
                return True
            fields: dict[str, str] = {}
            for line in stream:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    heard.append((fields["id"], fields["data"]))
                    fields = {}
        return False

    def heard_of(self, run: str) -> list[dict]:
        """The events of a run in the order in which they were first heard."""
        events = [json.loads(data) for _, data in self.heard.get(run, [])]
        first = {event["id"]: event for event in reversed(events)}
        self.repeats += len(events) - len(first)
        return [event for event in events if first.pop(event["id"], None)]

    def heard_enough(self) -> bool:
        return not any(reader.is_alive() for reader in self.readers.values())

    def contradictions(self) -> list[str]:
        """The log has each event once."""
        return []

    def dead_letters(self) -> list[str]:
        return dead_letters(self.data)

    def end(self) -> None:
        self.ended.set()
        for part in reversed(self.parts):
            part.end()
