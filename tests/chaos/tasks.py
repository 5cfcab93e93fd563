"""The tasks of the load, and how a run of each must end whatever happens to the machines."""

import json
import pathlib
from dataclasses import dataclass

WORK = pathlib.Path(__file__).resolve().with_name("work.py")
ALWAYS = 1000


@dataclass(frozen=True)
class Action:
    """An action, and what must have become of it in the end."""

    needs: tuple[str, ...] = ()
    seconds: str = "0.05"
    flags: tuple[str, ...] = ()
    options: str = ""
    status: str = "succeeded"
    attempts: int = 1


@dataclass(frozen=True)
class Task:
    actions: dict[str, Action]
    status: str = "succeeded"
    schedule: str = ""

    def definition(self, name: str, log: pathlib.Path) -> str:
        lines = [f"task: {name}", "events: all"]
        if self.schedule:
            lines.append(f"schedule: {self.schedule}")
        else:
            lines.append("input: { type: object, properties: { seconds: { type: number, default: 0.05 } } }")
        lines.append("actions:")
        for action, it in self.actions.items():
            command = ["python3", "-I", "-S", str(WORK), str(log), it.seconds, *it.flags]
            options = f", {it.options}" if it.options else ""
            lines.append(f"  {action}: {{ needs: {json.dumps(it.needs)}, exec: {json.dumps(command)}{options} }}")
        return "\n".join(lines) + "\n"


def failing(times: int) -> tuple[str, ...]:
    return (f"fail={times}",)


FAN = 8
GIVEN = "${{ input.seconds }}"
TASKS = {
    "chain": Task({
        "a": Action(),
        "b": Action(("a",)),
        "c": Action(("b",)),
        "d": Action(("c",)),
    }),
    "diamond": Task({
        "a": Action(),
        "b": Action(("a",), seconds="0.4"),
        "c": Action(("a",), flags=failing(ALWAYS), options="allow_failure: true", status="failed"),
        "d": Action(("b", "c")),
    }, status="succeeded_with_faults"),
    "fan": Task({
        "first": Action(),
        **{f"w{n}": Action(("first",), seconds="0.3") for n in range(FAN)},
        "join": Action(tuple(f"w{n}" for n in range(FAN))),
    }),
    "flaky": Task({
        "a": Action(flags=failing(2), options="retry: { attempts: 4, delay: 300ms }", attempts=3),
        "b": Action(("a",)),
    }),
    "hopeless": Task({
        "a": Action(flags=failing(ALWAYS), options="retry: { attempts: 3, delay: 200ms }", status="failed", attempts=3),
        "never": Action(("a",), status="skipped", attempts=0),
        "instead": Action(("a",), options="trigger: any_failed"),
    }, status="failed"),
    "may-fail": Task({
        "a": Action(flags=failing(ALWAYS), options="allow_failure: true, retry: { attempts: 2, delay: 200ms }",
                    status="failed", attempts=2),
        "b": Action(("a",)),
    }, status="succeeded_with_faults"),
    "overdue": Task({
        "a": Action(seconds="600", options="allow_failure: true, timeout: 3s, retry: { attempts: 2, delay: 100ms }",
                    status="timed_out", attempts=2),
        "b": Action(("a",)),
    }, status="succeeded_with_faults"),
    "long": Task({
        "a": Action(),
        "b": Action(("a",), seconds=GIVEN),
        "c": Action(("b",)),
    }),
    "resuming": Task({
        "a": Action(seconds=GIVEN, flags=("steps=24",)),
        "b": Action(("a",)),
    }),
    "stubborn": Task({
        "a": Action(seconds=GIVEN, flags=("stubborn",)),
        "b": Action(("a",)),
    }),
}
TICKING = Task({"a": Action(), "b": Action(("a",), seconds="0.2")}, schedule="{{ every: {every}, overlap: allow, catch_up: 10m }}")


def ticking(every: str) -> Task:
    return Task(TICKING.actions, schedule=TICKING.schedule.format(every=every))
