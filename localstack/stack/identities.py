"""Who the agents are: each pool's agents have the role that the template makes for them, as on AWS. An agent of the local stack is
a process, so `up` assumes the role for it. The Lambdas get their roles' own credentials from the emulator.
"""

import json
import time

import boto3
from botocore.exceptions import ClientError

from .deployment import Deployer, Deployment
from .private_files import write_private
from .settings import REGION, Pool, Settings

# The longest that AWS lets a session of a role last. After that the agents of a stack that still runs need another `up`.
LASTS_SECONDS = 12 * 3600


def ensure(settings: Settings, deployer: Deployer, deployment: Deployment) -> dict[str, dict[str, str]]:
    """Credentials by pool. They are kept while they are good, because new ones restart every agent."""
    path = settings.state / "credentials.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    sessions = {pool.name: of_pool(settings, deployer, deployment, pool, kept.get(pool.name)) for pool in settings.pools}
    write_private(path, json.dumps(sessions))
    return {pool: session["credentials"] for pool, session in sessions.items()}


def of_pool(settings: Settings, deployer: Deployer, deployment: Deployment, pool: Pool, kept: dict | None) -> dict:
    if kept and kept["expires_at"] - time.time() > LASTS_SECONDS / 2 and is_known(settings, kept["credentials"]):
        return kept
    role = deployment.outputs[f"AgentRoleArn{pool.name}"]
    made = deployer.client("sts").assume_role(RoleArn=role, RoleSessionName="local", DurationSeconds=LASTS_SECONDS)["Credentials"]
    return {
        "expires_at": made["Expiration"].timestamp(),
        "credentials": {
            "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            "AWS_SESSION_TOKEN": made["SessionToken"],
        },
    }


def is_known(settings: Settings, credentials: dict[str, str]) -> bool:
    """Whether the emulator gave them out: one that was started since has forgotten them."""
    try:
        client(settings, credentials, "sts").get_caller_identity()
        return True
    except ClientError:
        return False


def client(settings: Settings, credentials: dict[str, str], service: str):
    """A client with these credentials, for example with those of an agent."""
    return boto3.client(
        service,
        endpoint_url=settings.endpoint,
        region_name=REGION,
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=credentials["AWS_SESSION_TOKEN"],
    )
