"""Parts of a host that faults happen to, and what happened to them."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

from plan import Fault

# How long a process may take that was asked to end: its drain, the grace of its programs, a busy machine.
END_WITHIN_S = 120


@dataclass
class Happened:
    """A fault as it was done: when, to which processes, and until when they were held up or gone."""

    part: str
    kind: str
    at: float
    until: float
    pids: list[int] = field(default_factory=list)


class Part:
    """Something that faults happen to, one after another, each at its time or as soon after it as it can."""

    def __init__(self, name: str):
        self.name = name
        self.happened: list[Happened] = []
        self.problems: list[str] = []

    def suffer(self, faults: list[Fault], began: float) -> None:
        for fault in faults:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            try:
                self.do(fault)
            except Exception as error:  # What goes wrong here must not end the thread unheard.
                self.problems.append(f"{self.name}: {fault.kind} was not possible: {error!r}")

    def do(self, fault: Fault) -> None:
        raise NotImplementedError

    def note(self, kind: str, at: float, pids: list[int]) -> None:
        self.happened.append(Happened(self.name, kind, at, time.time(), pids))


class Process(Part):
    """A process that this test starts: `start(n)` starts the n-th of them."""

    def __init__(self, name: str, start, alone: bool = False):
        super().__init__(name)
        self.start, self.started, self.alone = start, 0, alone
        # Those that were asked to end: when, and whether they listened for it by then.
        self.leaving: list[tuple[subprocess.Popen, float, bool]] = []
        self.lock = threading.Lock()
        self.next()

    def next(self) -> None:
        with self.lock:
            self.started += 1
            self.child = self.start(self.started)

    def do(self, fault: Fault) -> None:
        if self.child.poll() is not None:
            self.problems.append(f"{self.name}: it ended by itself with {self.child.returncode}")
            self.next()
        at, pid = time.time(), self.child.pid
        if fault.kind == "stop":
            self.child.send_signal(signal.SIGSTOP)
            time.sleep(fault.seconds)
            self.child.send_signal(signal.SIGCONT)
        elif fault.kind == "kill":
            self.child.kill()
            self.child.wait()
            time.sleep(fault.seconds)
            self.next()
        else:
            listened = listens(pid)
            self.child.terminate()
            self.leaving.append((self.child, time.monotonic(), listened))
            if self.alone:
                self.has_left()
            time.sleep(fault.seconds)
            self.next()
        self.note(fault.kind, at, [pid])

    def has_left(self) -> None:
        """Waits for those that were asked to end. They must do so by themselves, and with 0."""
        for child, since, listened in self.leaving:
            try:
                code = child.wait(timeout=max(1.0, since + END_WITHIN_S - time.monotonic()))
                # One that has only just been started ends as the system sees to it, with nothing begun.
                if code != 0 and (listened or code != -signal.SIGTERM):
                    self.problems.append(f"{self.name}: it ended with {code} after SIGTERM")
            except subprocess.TimeoutExpired:
                self.problems.append(f"{self.name}: it has not ended {END_WITHIN_S} s after SIGTERM")
                child.kill()
                child.wait()
        self.leaving.clear()

    def calm(self) -> None:
        """After the last fault: what was asked to end has ended, and what should run does."""
        self.has_left()
        if self.child.poll() is not None:
            self.problems.append(f"{self.name}: it ended by itself with {self.child.returncode}")
            self.next()

    def end(self) -> None:
        """Ends what is left of it, whatever happened."""
        children = [self.child, *(child for child, *_ in self.leaving)]
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGCONT)
                child.terminate()
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=30)
            if child.poll() is None:
                child.kill()
                child.wait()


class Function(Part):
    """A Lambda: the emulator starts its processes when they are needed. `pids` tells which there are."""

    def __init__(self, name: str, pids):
        super().__init__(name)
        self.pids = pids

    def do(self, fault: Fault) -> None:
        until = time.monotonic() + 5
        while not (found := self.pids()) and time.monotonic() < until:
            time.sleep(0.02)
        at = time.time()
        hit = [pid for pid in found if sent(pid, signal.SIGKILL if fault.kind == "kill" else signal.SIGSTOP)]
        if not hit:
            return
        time.sleep(fault.seconds)
        if fault.kind == "stop":
            for pid in set(hit) & set(self.pids()):
                sent(pid, signal.SIGCONT)
        self.note(fault.kind, at, hit)

    def calm(self) -> None:
        pass

    def end(self) -> None:
        pass


def listens(pid: int) -> bool:
    """Whether a process has got so far that it handles SIGTERM itself."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def sent(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
