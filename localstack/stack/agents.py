"""Agents as child processes: on AWS the template runs them on ECS, which emulators only pretend to do."""

import hashlib
import json
import os
import pathlib
import socket

from .binaries import AGENT, Binaries
from .deployment import Deployment
from .processes import Process, Processes
from .settings import CREDENTIALS, REGION, Settings

DRAIN_SECONDS = 10


def ensure(settings: Settings, processes: Processes, binaries: Binaries, deployment: Deployment) -> list[str]:
    """Every agent that was asked for runs, with this binary and these settings; those that were not asked for are ended."""
    wanted = {f"agent-{pool.name}-{number}": pool for pool in settings.pools for number in range(1, pool.agents + 1)}
    made_of = {name: fingerprint(binaries, environment(settings, deployment, pool.name, pool.slots)) for name, pool in wanted.items()}
    stale = [process for process in running(processes) if made_of.get(process.name) != process.made_of]
    processes.stop(stale, DRAIN_SECONDS + 5)
    for name, pool in wanted.items():
        if not processes.running(name):
            env = environment(settings, deployment, pool.name, pool.slots) | {"WINDLASS_HEALTH_ADDR": f"127.0.0.1:{free_port()}"}
            processes.start(name, [str(binaries.path(AGENT))], env, pathlib.Path.cwd(), settings.logs / f"{name}.log", made_of[name])
    return list(wanted)


def running(processes: Processes) -> list[Process]:
    return [process for process in processes.all() if process.name.startswith("agent-")]


def environment(settings: Settings, deployment: Deployment, pool: str, slots: int) -> dict[str, str]:
    """As the template's task definition has it. What actions run is theirs to find, so they get our PATH and HOME."""
    return CREDENTIALS | {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": settings.endpoint,
        "WINDLASS_NAME": settings.name,
        "WINDLASS_TABLE": deployment.outputs["TableName"],
        "WINDLASS_BUCKET": deployment.outputs["BucketName"],
        "WINDLASS_BUS": deployment.outputs["BusName"],
        "WINDLASS_QUEUE_PREFIX": f"{settings.name}-",
        "WINDLASS_POOL": pool,
        "WINDLASS_SLOTS": str(slots),
        "WINDLASS_VERSION": "1",
        "WINDLASS_DRAIN": f"{DRAIN_SECONDS}s",
    }


def fingerprint(binaries: Binaries, env: dict[str, str]) -> str:
    told = json.dumps([binaries.digest(AGENT), sorted(env.items()), str(pathlib.Path.cwd())])
    return hashlib.sha256(told.encode()).hexdigest()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
