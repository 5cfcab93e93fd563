"""Takes down just what `up` started. Needs nothing but Python: the stack may be half made."""

import json
import os
import pathlib
import shutil
import sys

from . import settings
from .processes import Processes

# An agent hands its work back within its drain (10 s); the emulator and its Lambdas have nothing to save.
AGENT_SECONDS = 15
EMULATOR_SECONDS = 5


def main(arguments: list[str]) -> int:
    parser = settings.parser("Ends the processes that localstack/up started, and nothing else.")
    parser.add_argument("--clean", action="store_true", help="remove the state folder with its logs too")
    given = parser.parse_args(arguments)
    # The stack has credentials of its own, and a profile that is not there stops every client.
    os.environ.pop("AWS_PROFILE", None)
    state = given.state.absolute()
    ended = stop(state)
    print(f"# ended: {', '.join(ended) or 'nothing'}", file=sys.stderr)
    if given.clean:
        clean(state)
    return 0


def stop(state: pathlib.Path) -> list[str]:
    """Agents first, while there still is a stack that they can hand their work back to."""
    processes = Processes(state / "run")
    known = processes.all()
    agents = [process for process in known if process.name.startswith("agent-")]
    others = [process for process in known if process not in agents]
    processes.stop(agents, AGENT_SECONDS)
    left = borrowed(state)
    if left:
        delete_from(left)
    processes.stop(others, EMULATOR_SECONDS)
    for name in ("env", "stack.json"):
        (state / name).unlink(missing_ok=True)
    return [process.name for process in known] + ([f"stack {left['name']}"] if left else [])


def borrowed(state: pathlib.Path) -> dict | None:
    """What `up` wrote, if the emulator is somebody else's: then the stack has to be taken off it."""
    path = state / "stack.json"
    told = json.loads(path.read_text()) if path.exists() else None
    return told if told and not told["owns_emulator"] else None


def delete_from(told: dict) -> None:
    """The template keeps the table of a stack that is deleted, for people's sake; here it would be in the way of the next."""
    import boto3  # Only here: it is the venv's, and ending processes must not need it.

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    def client(service: str):
        return boto3.client(service, endpoint_url=told["endpoint"], region_name=settings.REGION, **keys)

    try:
        client("cloudformation").delete_stack(StackName=told["name"])
        client("cloudformation").get_waiter("stack_delete_complete").wait(StackName=told["name"], WaiterConfig={"Delay": 1})
        client("dynamodb").delete_table(TableName=told["outputs"]["TableName"])
    except Exception as error:  # Whatever it is, the processes must be ended all the same.
        print(f"# the stack {told['name']} was not taken off {told['endpoint']}: {error}", file=sys.stderr)


def clean(state: pathlib.Path) -> None:
    """Only a folder that looks like ours."""
    if (state / "logs").is_dir() and (state / "lock").exists():
        shutil.rmtree(state)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
