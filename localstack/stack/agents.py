"""Agents as child processes: on AWS the template runs them on ECS, which emulators only pretend to do."""

import hashlib
import json
import os
import pathlib
import socket
from dataclasses import dataclass

from .binaries import AGENT, Binaries
from .deployment import Deployment
from .processes import Process, Processes
from .settings import REGION, Pool, Settings

DRAIN_SECONDS = 10


@dataclass(frozen=True)
class Crew:
    """All that agents are started with."""

    settings: Settings
    deployment: Deployment
    binaries: Binaries
    # By pool.
    credentials: dict[str, dict[str, str]]

    def environment(self, pool: Pool) -> dict[str, str]:
        """As the template's task definition has it. What actions run is theirs to find, so they get our PATH and HOME."""
        outputs = self.deployment.outputs
        return self.credentials[pool.name] | {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.settings.endpoint,
            "WINDLASS_NAME": self.settings.name,
            "WINDLASS_TABLE": outputs["TableName"],
            "WINDLASS_BUCKET": outputs["BucketName"],
            "WINDLASS_QUEUE_PREFIX": f"{self.settings.name}-",
            "WINDLASS_POOL": pool.name,
            "WINDLASS_SLOTS": str(pool.slots),
            "WINDLASS_VERSION": "1",
            "WINDLASS_DRAIN": f"{DRAIN_SECONDS}s",
            "WINDLASS_CREDENTIALS": self.settings.parameters.get("AgentCredentials", "none"),
            "WINDLASS_METER_READS": "sized",
        }

    def fingerprint(self, pool: Pool) -> str:
        told = json.dumps([self.binaries.digest(AGENT), sorted(self.environment(pool).items()), str(pathlib.Path.cwd())])
        return hashlib.sha256(told.encode()).hexdigest()


def ensure(crew: Crew, processes: Processes) -> list[str]:
    """Every agent that was asked for runs, with this binary and these settings; those that were not asked for are ended."""
    wanted = {f"agent-{pool.name}-{number}": pool for pool in crew.settings.pools for number in range(1, pool.agents + 1)}
    made_of = {name: crew.fingerprint(pool) for name, pool in wanted.items()}
    processes.stop([known for known in running(processes) if made_of.get(known.name) != known.made_of], DRAIN_SECONDS + 5)
    for name, pool in wanted.items():
        if not processes.running(name):
            env = crew.environment(pool) | {"WINDLASS_HEALTH_ADDR": f"127.0.0.1:{free_port()}"}
            command, log = [str(crew.binaries.path(AGENT))], crew.settings.logs / f"{name}.log"
            processes.start(name, command, env, pathlib.Path.cwd(), log, made_of[name])
    return list(wanted)


def running(processes: Processes) -> list[Process]:
    return [process for process in processes.all() if process.name.startswith("agent-")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
