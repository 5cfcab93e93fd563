"""infra/template.yaml on the emulator, by the same calls that deploy it to AWS."""

import time
from dataclasses import dataclass

import boto3
from botocore.exceptions import ClientError

from .binaries import COORDINATOR, PROCESS_MANAGER, Binaries, architecture
from .settings import CREDENTIALS, REGION, REPOSITORY, Refused, Settings

TEMPLATE = REPOSITORY / "infra" / "template.yaml"
DEPLOY_SECONDS = 300


@dataclass(frozen=True)
class Deployment:
    """What the template put out, and the secret of the command line's client."""

    outputs: dict[str, str]
    client_secret: str


class Deployer:
    def __init__(self, settings: Settings):
        self.settings = settings
        self.cloudformation = self.client("cloudformation")

    def client(self, service: str):
        return boto3.client(
            service,
            endpoint_url=self.settings.endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def deploy(self, binaries: Binaries) -> Deployment:
        bucket = self.code_bucket()
        parameters = {
            "Name": self.settings.name,
            "Pools": ",".join(pool.name for pool in self.settings.pools),
            "CodeBucket": bucket,
            "ProcessManagerCode": self.upload(bucket, binaries, PROCESS_MANAGER),
            "CoordinatorCode": self.upload(bucket, binaries, COORDINATOR),
            "Architecture": architecture(),
            "ApiHosts": f"127.0.0.1:{self.settings.port},localhost:{self.settings.port}",
        }
        self.create_or_update(parameters | self.settings.parameters)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in self.stack().get("Outputs", [])}
        self.enable_time_to_live(outputs["TableName"])
        return Deployment(outputs, self.client_secret(outputs))

    def upload(self, bucket: str, binaries: Binaries, program: str) -> str:
        """Its key, which is of its content: a changed program has another one, and that is what makes an update deploy it."""
        s3 = self.client("s3")
        key = f"{program}-{binaries.digest(program)[:16]}.zip"
        if not s3.list_objects_v2(Bucket=bucket, Prefix=key).get("KeyCount"):
            s3.put_object(Bucket=bucket, Key=key, Body=binaries.zip(program))
        return key

    def upload_template(self) -> str:
        """A template may be sent along only up to 51,200 bytes; from a bucket it may have a million."""
        bucket = self.code_bucket()
        self.client("s3").put_object(Bucket=bucket, Key=TEMPLATE.name, Body=TEMPLATE.read_bytes())
        return f"{self.settings.endpoint}/{bucket}/{TEMPLATE.name}"

    def code_bucket(self) -> str:
        bucket = f"{self.settings.name}-code"
        s3 = self.client("s3")
        if bucket not in [known["Name"] for known in s3.list_buckets()["Buckets"]]:
            s3.create_bucket(Bucket=bucket)
        return bucket

    def create_or_update(self, parameters: dict[str, str]) -> None:
        call = {
            "StackName": self.settings.name,
            "TemplateURL": self.upload_template(),
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        }
        self.check_names(call)
        stack = self.stack()
        if stack.get("StackStatus") in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"):
            self.delete()
            stack = {}
        self.claim(bool(stack))
        try:
            (self.cloudformation.update_stack if stack else self.cloudformation.create_stack)(**call)
        except ClientError as error:
            reason = error.response["Error"]["Message"]
            if "No updates are to be performed" in reason:
                return
            raise Refused(f"the template was refused: {reason}") from error
        self.wait()

    def claim(self, exists: bool) -> None:
        """A stack that another state folder deployed has agents of its own, which would lose their credentials."""
        claimed = self.settings.state / "deployed"
        ours = f"{self.settings.name} at {self.settings.endpoint}\n"
        if exists and not (claimed.exists() and claimed.read_text() == ours):
            raise Refused(
                f"a stack `{self.settings.name}` is deployed at {self.settings.endpoint}, and not from {self.settings.state}; "
                "name its folder (--state), another stack (--name) or another emulator (--port)"
            )
        claimed.write_text(ours)

    def check_names(self, call: dict) -> None:
        """Gap of ministack: a parameter that the template does not have is ignored, where AWS refuses it."""
        known = self.cloudformation.validate_template(TemplateURL=call["TemplateURL"])["Parameters"]
        unknown = {given["ParameterKey"] for given in call["Parameters"]} - {parameter["ParameterKey"] for parameter in known}
        if unknown:
            raise Refused(f"infra/template.yaml has no parameter {' and no parameter '.join(sorted(unknown))}")

    def wait(self) -> None:
        deadline = time.monotonic() + DEPLOY_SECONDS
        while (status := self.stack()["StackStatus"]).endswith("_IN_PROGRESS"):
            if time.monotonic() > deadline:
                raise Refused(f"the deployment is {status} after {DEPLOY_SECONDS} s")
            time.sleep(0.2)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise Refused(f"the deployment ended {status}:\n" + "\n".join(self.failures()))

    def failures(self) -> list[str]:
        """Of the last try, first things first."""
        failed = []
        for event in self.cloudformation.describe_stack_events(StackName=self.settings.name)["StackEvents"]:
            if event["ResourceStatus"].endswith("_FAILED"):
                failed.append(f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason told')}")
            began = event["ResourceStatus"] in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")
            if began and event["LogicalResourceId"] == self.settings.name:
                break
        return failed[::-1]

    def delete(self) -> None:
        self.cloudformation.delete_stack(StackName=self.settings.name)
        deadline = time.monotonic() + DEPLOY_SECONDS
        while self.stack() and time.monotonic() < deadline:
            time.sleep(0.2)

    def stack(self) -> dict:
        """Empty if there is none of that name."""
        try:
            stack = self.cloudformation.describe_stacks(StackName=self.settings.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return {}
            raise
        return {} if stack["StackStatus"] == "DELETE_COMPLETE" else stack

    def enable_time_to_live(self, table: str) -> None:
        """Gap of ministack: the template's TimeToLiveSpecification is ignored, for a table and for a global table."""
        dynamodb = self.client("dynamodb")
        if dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
            dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"})

    def client_secret(self, outputs: dict[str, str]) -> str:
        found = self.client("cognito-idp").describe_user_pool_client(UserPoolId=outputs["UserPoolId"], ClientId=outputs["ClientId"])
        return found["UserPoolClient"]["ClientSecret"]
