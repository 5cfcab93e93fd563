"""Who the agents are. On AWS each pool's agents have a role; a process has a user with the same policy instead, so that the
emulator refuses what the role would not allow. The Lambdas get their roles' own credentials from the emulator.
"""

import json

from .deployment import Deployer, Deployment
from .private_files import write_private
from .settings import Pool, Settings


def ensure(settings: Settings, deployer: Deployer, deployment: Deployment) -> dict[str, dict[str, str]]:
    """Credentials by pool. They are kept, because AWS tells a secret once: new ones would restart every agent."""
    path = settings.state / "credentials.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    credentials = {pool.name: of_pool(settings, deployer, deployment, pool, kept.get(pool.name)) for pool in settings.pools}
    write_private(path, json.dumps(credentials))
    return credentials


def of_pool(settings: Settings, deployer: Deployer, deployment: Deployment, pool: Pool, kept: dict[str, str] | None) -> dict[str, str]:
    iam = deployer.client("iam")
    user = f"{settings.name}-agent-{pool.name}"
    try:
        iam.create_user(UserName=user)
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    iam.attach_user_policy(UserName=user, PolicyArn=deployment.outputs[f"AgentPolicyArn{pool.name}"])
    known = [key["AccessKeyId"] for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]
    if kept and kept["AWS_ACCESS_KEY_ID"] in known:
        return kept
    for key in known:
        iam.delete_access_key(UserName=user, AccessKeyId=key)
    made = iam.create_access_key(UserName=user)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
