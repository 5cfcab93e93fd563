"""Lists the processes of a stack, the Lambdas' own among them, for those who want to kill one and see."""

import json
import pathlib
import subprocess
import sys
from dataclasses import asdict, dataclass

from . import settings
from .processes import Processes


@dataclass(frozen=True)
class Running:
    pid: int
    part: str


def main(arguments: list[str]) -> int:
    parser = settings.parser("Lists the processes of a stack: the emulator, its Lambdas and the agents.")
    parser.add_argument("--part", help="only those of this part, such as process-manager; prints ids alone")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    given = parser.parse_args(arguments)
    found = [running for running in of_stack(given.state.absolute()) if given.part in (None, running.part)]
    if given.json:
        print(json.dumps([asdict(running) for running in found]))
    else:
        for running in found:
            print(running.pid if given.part else f"{running.pid:>8}  {running.part}")
    return 0


def of_stack(state: pathlib.Path) -> list[Running]:
    known = [process for process in Processes(state / "run").all() if process.is_alive()]
    found = [Running(process.pid, process.name) for process in known]
    emulator = next((process.pid for process in known if process.name == "emulator"), None)
    name = json.loads((state / "stack.json").read_text())["name"] if (state / "stack.json").exists() else ""
    return found + [Running(pid, lambda_name(pid).removeprefix(f"{name}-")) for pid in children(emulator)] if emulator else found


def children(parent: int) -> list[int]:
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in told.splitlines()]
    return [int(pid) for pid, ppid, state in rows if int(ppid) == parent and not state.startswith("Z")]


def lambda_name(pid: int) -> str:
    """From its environment, where the system shows that; else just `lambda`."""
    try:
        env = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return "lambda"
    prefix = b"AWS_LAMBDA_FUNCTION_NAME="
    return next((entry[len(prefix):].decode() for entry in env if entry.startswith(prefix)), "lambda")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
