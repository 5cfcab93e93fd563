"""The emulator: one that answers at the endpoint already, or ministack as a child process."""

import http.client
import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request

from .processes import Processes
from .settings import CREDENTIALS, REGION, Refused, Settings

EMULATOR = "emulator"
START_SECONDS = 60


def ensure(settings: Settings, processes: Processes) -> bool:
    """Whether the emulator is ours; else it belongs to somebody who started it before."""
    if processes.running(EMULATOR):
        return True
    if healthy(settings):
        return False
    start(settings, processes)
    return True


def start(settings: Settings, processes: Processes) -> None:
    script = pathlib.Path(__file__).resolve().parents[1] / "emulator.py"
    temporary = settings.state / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    # Lambdas inherit the emulator's environment, so it gets nothing of ours but this.
    env = CREDENTIALS | {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(settings.state),
        "TMPDIR": str(temporary),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(settings.port),
        "AWS_ENDPOINT_URL": settings.endpoint,
        "MINISTACK_REGION": REGION,
        "IOT_MTLS_ENABLED": "0",
        # What the template's roles do not allow is refused, as on AWS.
        "AUTH": "true",
        # Gap: ConsumedCapacity says 1.0 for every read, so the meter of our programs computes reads from the sizes.
        "WINDLASS_METER_READS": "sized",
    }
    log = settings.logs / f"{EMULATOR}.log"
    processes.start(EMULATOR, [sys.executable, "-B", str(script), str(settings.logs)], env, settings.state, log)
    deadline = time.monotonic() + START_SECONDS
    while not healthy(settings):
        if not processes.running(EMULATOR):
            raise Refused(f"the emulator ended; its last words:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise Refused(f"the emulator does not answer at {settings.endpoint} within {START_SECONDS} s; see {log}")
        time.sleep(0.1)


def healthy(settings: Settings) -> bool:
    """Whether an emulator of AWS answers there; anything else that does is refused, and nothing at all is `False`."""
    try:
        with urllib.request.urlopen(f"{settings.endpoint}/_localstack/health", timeout=5) as answer:
            return isinstance(json.load(answer).get("services"), dict)
    except (urllib.error.HTTPError, http.client.HTTPException, ValueError, AttributeError) as error:
        raise Refused(f"what answers at {settings.endpoint} is no emulator of AWS ({error}); name another port: --port") from error
    except OSError:
        return False


def tail(path: pathlib.Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""
