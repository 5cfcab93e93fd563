"""How the command line and other programs reach the stack, and the proof that they can."""

import json
import shlex
import time
import urllib.error
import urllib.parse
import urllib.request

from .deployment import Deployment
from .private_files import write_private
from .settings import CREDENTIALS, REGION, Refused, Settings

ANSWER_SECONDS = 60


def variables(settings: Settings, deployment: Deployment) -> dict[str, str]:
    """The emulator serves the API below a path and gives tokens at its own address; on AWS each has a host name."""
    return CREDENTIALS | {
        "WINDLASS_URL": f"{settings.endpoint}/_aws/execute-api/{deployment.outputs['ApiId']}",
        "WINDLASS_CLIENT_ID": deployment.outputs["ClientId"],
        "WINDLASS_CLIENT_SECRET": deployment.client_secret,
        "WINDLASS_TOKEN_URL": f"{settings.endpoint}/oauth2/token",
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def export_lines(variables: dict[str, str]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def write(settings: Settings, variables: dict[str, str], deployment: Deployment, agents: dict[str, dict[str, str]], owns_emulator: bool) -> None:
    """For shells, and the same for programs. Both hold the client's secret, so they are for their owner alone."""
    write_private(settings.env_file, "\n".join(export_lines(variables)) + "\n")
    told = {
        "name": settings.name,
        "endpoint": settings.endpoint,
        "owns_emulator": owns_emulator,
        "environment": variables,
        # By pool, for an agent of your own.
        "agent_environments": agents,
        "outputs": deployment.outputs,
    }
    write_private(settings.stack_file, json.dumps(told, indent=2) + "\n")


def wait_for_api(variables: dict[str, str]) -> None:
    """Until a call with a token is answered, which takes the Lambda's first start."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        status, told = list_tasks(variables)
        if status == 200:
            return
        if time.monotonic() > deadline or status in (400, 401, 403, 404):
            raise Refused(f"the API at {variables['WINDLASS_URL']} answers {status}: {told}")
        time.sleep(0.2)


def list_tasks(variables: dict[str, str]) -> tuple[int, str]:
    fields = {"grant_type": "client_credentials", "client_id": variables["WINDLASS_CLIENT_ID"], "client_secret": variables["WINDLASS_CLIENT_SECRET"]}
    status, told = call(variables["WINDLASS_TOKEN_URL"], {}, urllib.parse.urlencode(fields).encode())
    if status != 200:
        return status, told
    return call(f"{variables['WINDLASS_URL']}/v1/tasks", {"Authorization": f"Bearer {json.loads(told)['access_token']}"})


def call(url: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)
