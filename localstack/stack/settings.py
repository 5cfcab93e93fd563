"""What can be chosen about a stack: by flag, else by environment, else by default."""

import argparse
import os
import pathlib
import re
from dataclasses import dataclass, field

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
REGION = "us-east-1"
# Emulators take any; the account is theirs.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# What the template has for AWS is too long to wait for, or too many processes, on one machine.
LOCAL_PARAMETERS = {"ProcessManagerTimeout": "10", "ProcessManagerConcurrency": "2"}


class Refused(Exception):
    """Something that a person has to mend; its text says what."""


@dataclass(frozen=True)
class Pool:
    """A pool and the agents that are started for it."""

    name: str
    agents: int
    slots: int

    @classmethod
    def parse(cls, text: str) -> "Pool":
        found = re.fullmatch(r"([A-Za-z][A-Za-z0-9]{0,31})(?::(\d{1,3}))?(?::(\d{1,4}))?", text)
        if not found:
            raise Refused(f"`{text}` is not a pool: say NAME, NAME:AGENTS or NAME:AGENTS:SLOTS, such as default:2:10")
        name, agents, slots = found.groups()
        return cls(name, int(agents or 2), int(slots or 10))


@dataclass(frozen=True)
class Settings:
    name: str
    port: int
    state: pathlib.Path
    profile: str
    binaries: pathlib.Path | None
    pools: tuple[Pool, ...]
    parameters: dict[str, str] = field(default_factory=dict)
    detach: bool = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def logs(self) -> pathlib.Path:
        return self.state / "logs"

    @property
    def stack_file(self) -> pathlib.Path:
        """What `up` knows of the stack, for `down` and for tests: JSON."""
        return self.state / "stack.json"

    @property
    def env_file(self) -> pathlib.Path:
        return self.state / "env"


def parser(description: str) -> argparse.ArgumentParser:
    """The settings that every command has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--state", metavar="DIR", type=pathlib.Path, default=env("STATE", str(REPOSITORY / ".localstack")),
                      help="folder of this stack's logs and process ids; another stack, another folder (WINDLASS_STACK_STATE)")
    return made


def for_up(arguments: list[str]) -> Settings:
    made = parser("Starts the local AWS stack, deploys infra/template.yaml to it and starts agents.")
    made.add_argument("--name", default=env("NAME", "windlass"), help="prefix of every name, the template's parameter Name (WINDLASS_STACK_NAME)")
    made.add_argument("--port", type=int, default=env("PORT", "4566"),
                      help="port of the emulator on 127.0.0.1; one that answers there already is used (WINDLASS_STACK_PORT)")
    made.add_argument("--pool", action="append", metavar="NAME[:AGENTS[:SLOTS]]",
                      help="a pool and its agents, again for more pools (WINDLASS_STACK_POOLS, commas between; default:2:10 unless told)")
    made.add_argument("--profile", choices=["release", "dev"], default=env("PROFILE", "release"), help="how to build (WINDLASS_STACK_PROFILE)")
    made.add_argument("--binaries", metavar="DIR", type=pathlib.Path, default=env("BINARIES", None),
                      help="take the programs from this folder and build nothing (WINDLASS_STACK_BINARIES)")
    made.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of infra/template.yaml, again for more")
    made.add_argument("--detach", action="store_true", help="return when the stack is ready, and leave it running")
    given = made.parse_args(arguments)
    pools = given.pool or (env("POOLS", "default:2:10") or "").split(",")
    settings = Settings(
        name=given.name,
        port=given.port,
        state=given.state.absolute(),
        profile=given.profile,
        binaries=given.binaries.absolute() if given.binaries else None,
        pools=tuple(Pool.parse(text) for text in pools),
        parameters=LOCAL_PARAMETERS | dict(name_and_value(text) for text in given.parameter),
        detach=given.detach,
    )
    check(settings)
    return settings


def env(name: str, default: str | None) -> str | None:
    return os.environ.get(f"WINDLASS_STACK_{name}", default)


def name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Refused(f"`{text}` is not a parameter: say NAME=VALUE")
    return name, value


def check(settings: Settings) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", settings.name) or len(settings.name) > 20:
        raise Refused(f"`{settings.name}` is not a name: 1 to 20 small letters, digits and single hyphens, beginning with a letter")
    if re.search(r"-(pool|control)(-|$)", settings.name):
        raise Refused(f"`{settings.name}` is not a name: `-pool` and `-control` begin the names of another stack's queues")
    if "AgentImage" in settings.parameters:
        raise Refused("AgentImage is for AWS: emulators start no containers, so agents are processes here (--pool)")
    if not 1024 <= settings.port <= 65535:
        raise Refused(f"{settings.port} is not a port from 1024 to 65535")
    names = [pool.name for pool in settings.pools]
    if len(set(names)) != len(names):
        raise Refused(f"a pool is named twice: {', '.join(names)}")
