"""What the actions themselves wrote down: who began what when, and how it ended."""

import pathlib
from collections import defaultdict
from dataclasses import dataclass


@dataclass
class Performance:
    """One time that an attempt was performed, from the step on that was saved before. `ended` is none if it was killed, or
    stopped."""

    run: str
    action: str
    attempt: int
    fence: int
    agent: int
    pid: int
    began: float
    step: int
    ended: float | None = None
    succeeded: bool = False


class Witness:
    def __init__(self, log: pathlib.Path):
        self.performances: list[Performance] = []
        self.problems: list[str] = []
        # Of an action: when somebody had done which step.
        self.steps: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        open_ones: dict[tuple, Performance] = {}
        for line in log.read_text().splitlines():
            at, mark, run, action, attempt, fence, agent, pid, step = line.split()
            if mark == "begin":
                it = Performance(run, action, int(attempt), int(fence), int(agent), int(pid), float(at), int(step))
                self.performances.append(it)
                open_ones[run, action, attempt, fence, pid] = it
            elif mark == "step":
                self.steps[run, action].append((float(at), int(step)))
            else:
                it = open_ones.pop((run, action, attempt, fence, pid))
                it.ended, it.succeeded = float(at), mark == "done"
        self.by_action: dict[tuple[str, str], list[Performance]] = defaultdict(list)
        for it in self.performances:
            self.by_action[it.run, it.action].append(it)

    def of(self, run: str, action: str, attempt: int | None = None) -> list[Performance]:
        return [it for it in self.by_action.get((run, action), []) if attempt in (None, it.attempt)]

    def done_before(self, it: Performance) -> int:
        """The last step of an action that anybody had done when it was begun."""
        return max((step for at, step in self.steps.get((it.run, it.action), []) if at <= it.began), default=0)

    def second_starts(self) -> int:
        """How often an attempt was begun again, which is allowed: its agent was lost, drained, or taken for lost."""
        attempts = {(it.run, it.action, it.attempt) for it in self.performances}
        return len(self.performances) - len(attempts)
