"""The AWS host under chaos: a local stack of its own, agents as processes of this test, a rule to a queue of ours."""

import json
import pathlib
import threading
import urllib.error

import stack as stacks
from api import Refused, Unavailable
from checks import seconds
from parts import Function, Process
from plan import AGENTS
from subscriber import Subscription

SLOTS = 8


class Ear(Subscription):
    """A subscriber that keeps what it hears, repeats too: what is told twice must be the same."""

    def __init__(self, name: str):
        super().__init__(name, "chaos")
        self.first: dict[str, dict] = {}
        self.different: list[str] = []

    def read(self, message: dict) -> dict | None:
        told = json.loads(message["Body"])["detail"]
        first = self.first.setdefault(told["id"], told)
        if first.get("data") != told.get("data"):
            self.different.append(f"the event {told['id']} was heard with two meanings: {first} and {told}")
        return super().read(message)


class World:
    name = "aws"
    every, every_s = "1m", 60

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.stack = stacks.Stack("default:0")
        try:
            self.ear = Ear(self.stack.name)
        except BaseException:
            self.stack.down()
            raise
        self.stopped = threading.Event()
        self.listener = threading.Thread(target=self.hear, daemon=True)
        self.listener.start()
        start = lambda _nth: self.stack.agent("default", SLOTS, WINDLASS_DRAIN="5s")
        functions = [Function(name, lambda name=name: self.stack.lambda_pids(name)) for name in ("process-manager", "coordinator")]
        self.parts = [*functions, *(Process(f"agent-{n}", start) for n in range(AGENTS))]

    def wait_until_up(self) -> None:
        pass

    def call(self, method: str, path: str, body=None, **headers: str):
        try:
            return self.stack.call(method, path, body, **headers)
        except stacks.Refused as refused:
            if refused.status >= 500 or refused.status == 429:
                raise Unavailable(str(refused)) from None
            raise Refused(refused.status, str(refused)) from None
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise Unavailable(repr(error)) from None

    def first_due(self, _applied: float, ticks: list) -> float:
        """EventBridge Scheduler takes up a new schedule within a minute: from its first due time on, none may miss."""
        return min((seconds(story.view["nominal_time"]) for story in ticks), default=0)

    # The subscriber: a rule of the bus to a queue.

    def listen(self, run: str) -> None:
        pass

    def hear(self) -> None:
        while not self.stopped.is_set():
            self.ear.receive()

    def heard_of(self, run: str) -> list[dict]:
        return [event for event in self.ear.first.values() if event["run"] == run]

    @property
    def repeats(self) -> int:
        return self.ear.repeats

    def heard_enough(self) -> bool:
        """Nothing is left to be told: no input waits, and the subscriber's queue is empty."""
        return all(self.stack.depth(queue) == 0 for queue in ("inbox", "claims", "chaos"))

    def contradictions(self) -> list[str]:
        return self.ear.different

    def dead_letters(self) -> list[str]:
        return self.letters

    def end(self) -> None:
        self.stopped.set()
        for part in self.parts:
            part.end()
        self.listener.join(timeout=30)
        self.letters = []
        while got := self.stack.receive("dead-letters"):
            self.letters += got
        self.stack.down()
        self.stack.forget()
