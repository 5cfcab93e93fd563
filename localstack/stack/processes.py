"""Child processes that outlive the command that started them, and are known again by their id and start time.

A process id alone is not enough to end a process by: the system gives it to another one some day.
"""

import json
import os
import pathlib
import signal
import subprocess
import time
from dataclasses import asdict, dataclass


# How long the system may take to end what was killed.
KILL_SECONDS = 10


@dataclass(frozen=True)
class Process:
    name: str
    pid: int
    started: str
    # What it was started with; when this changes, `up` starts it anew.
    made_of: str

    def is_alive(self) -> bool:
        return start_time(self.pid) == self.started


class Processes:
    """The processes of one stack: a file each in its folder."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def start(self, name: str, command: list[str], env: dict[str, str], cwd: pathlib.Path, log: pathlib.Path, made_of: str = "") -> Process:
        """Starts it as the leader of its own group, so that it and its children can be ended together."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            child = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        # It outlives this object, which would complain of that otherwise.
        child.returncode = 0
        process = Process(name, child.pid, start_time(child.pid) or "", made_of)
        (self.folder / f"{name}.json").write_text(json.dumps(asdict(process)))
        return process

    def all(self) -> list[Process]:
        return [Process(**json.loads(path.read_text())) for path in sorted(self.folder.glob("*.json"))]

    def running(self, name: str) -> Process | None:
        return next((process for process in self.all() if process.name == name and process.is_alive()), None)

    def stop(self, chosen: list[Process], grace_seconds: float) -> None:
        """Asks all of them to end, and kills what is left of their groups when the time is up."""
        for process in chosen:
            if process.is_alive():
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while any(process.is_alive() for process in chosen) and time.monotonic() < deadline:
            reap()
            time.sleep(0.05)
        for process in chosen:
            kill_group(process)
            (self.folder / f"{process.name}.json").unlink(missing_ok=True)


def kill_group(process: Process) -> None:
    """Children may outlive the leader. While one does, the system gives the group's number to nobody else."""
    if start_time(process.pid) not in (None, process.started):
        return
    deadline = time.monotonic() + KILL_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        reap()
        time.sleep(0.01)


def reap() -> None:
    """Takes note of ended children, if this process has any: until then they count as alive."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def start_time(pid: int) -> str | None:
    """When the process started, in a form that is only good for comparing; none if it is gone or a zombie."""
    stat = pathlib.Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            # The name in brackets may hold anything, so the fields are counted from behind it.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return None if not told or told.startswith("Z") else told.split(maxsplit=1)[1]
