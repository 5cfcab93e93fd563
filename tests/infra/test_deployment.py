"""The template on the emulator: it deploys, deploys again, and its roles allow what they must and no more.

The Lambdas' code is a stand-in that is never run; tests/aws has the real ones.
"""

import contextlib
import dataclasses
import pathlib
import random
import re
import shutil
import socket
import sys
import tempfile
import time
import unittest
from datetime import datetime, timedelta, timezone

import boto3
from botocore.exceptions import ClientError

from .template import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "localstack"))

from stack import access, binaries, down, emulation, identities, settings  # noqa: E402
from stack.deployment import Deployer  # noqa: E402
from stack.processes import Processes  # noqa: E402

ADAPTER = REPOSITORY / "shared" / "aws" / "src" / "table.rs"


def free_port() -> int:
    """A port that nobody listens on, below those that systems give to connections and to whoever asks for any: of those,
    one that is free may be somebody's a moment later."""
    while True:
        with socket.socket() as listener, contextlib.suppress(OSError):
            port = random.SystemRandom().randrange(10_000, 30_000)
            listener.bind(("127.0.0.1", port))
            return port


class Deployed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        root = pathlib.Path(folder.name)
        programs = root / "bin"
        programs.mkdir()
        for program in (binaries.PROCESS_MANAGER, binaries.COORDINATOR, binaries.AGENT):
            shutil.copy("/bin/sh", programs / program)
        cls.settings = settings.for_up([
            "--name", "test", "--port", str(free_port()), "--state", str(root / "state"), "--binaries", str(programs),
            "--pool", "default:0", "--pool", "gpu:0",
        ])
        cls.settings.logs.mkdir(parents=True)
        cls.addClassCleanup(down.stop, cls.settings.state)
        emulation.ensure(cls.settings, Processes(cls.settings.state / "run"))
        cls.programs = binaries.provide(cls.settings)
        cls.deployer = Deployer(cls.settings)
        cls.deployed = cls.deployer.deploy(cls.programs)
        cls.credentials = identities.ensure(cls.settings, cls.deployer, cls.deployed)

    def test_a_second_time_changes_nothing(self):
        self.assertEqual(self.deployer.deploy(self.programs), self.deployed)
        self.assertEqual(identities.ensure(self.settings, self.deployer, self.deployed), self.credentials)

    def test_another_folder_does_not_take_it_over(self):
        with tempfile.TemporaryDirectory() as other:
            stranger = Deployer(dataclasses.replace(self.settings, state=pathlib.Path(other)))
            with self.assertRaisesRegex(settings.Refused, "a stack `test` is deployed at .* and not from"):
                stranger.deploy(self.programs)

    def test_mappings(self):
        found = self.deployer.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        self.assertEqual({mapping["EventSourceArn"].rpartition(":")[2] for mapping in found}, {"test-inbox", "test-inbox-dlq", "test-pool-default-dlq", "test-pool-gpu-dlq"})
        for mapping in found:
            self.assertEqual((mapping["BatchSize"], mapping["FunctionResponseTypes"]), (10, ["ReportBatchItemFailures"]))

    def test_expired_items_go_by_the_column_that_the_adapter_writes(self):
        column = re.search(r'EXPIRES_AT: &str = "(\w+)"', ADAPTER.read_text())[1]
        told = self.deployer.client("dynamodb").describe_time_to_live(TableName="test")["TimeToLiveDescription"]
        self.assertEqual((told["TimeToLiveStatus"], told["AttributeName"]), ("ENABLED", column))

    def test_the_api_wants_a_token(self):
        variables = access.variables(self.settings, self.deployed)
        tasks = f"{variables['WINDLASS_URL']}/v1/tasks"
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {variables['WINDLASS_CLIENT_SECRET']}"}):
            self.assertEqual(access.call(tasks, headers)[0], 401)
        # The stand-in fails, and that it was asked shows that the token was taken.
        self.assertGreaterEqual(access.list_tasks(variables)[0], 500)

    def test_an_unknown_parameter_is_refused(self):
        with self.assertRaisesRegex(settings.Refused, "no parameter Nope"):
            self.deployer.create_or_update({"Nope": "1"})

    def test_a_schedule_tells_when_it_was_due(self):
        sqs, scheduler = self.deployer.client("sqs"), self.deployer.client("scheduler")
        queue = sqs.create_queue(QueueName="scheduled")["QueueUrl"]
        # One that is made when it is past is never due: on a machine that is held up a later one is made.
        for ahead in (2, 5, 10, 20, 40):
            due = (datetime.now(timezone.utc) + timedelta(seconds=ahead)).replace(microsecond=0)
            told = due.replace(tzinfo=None).isoformat()
            scheduler.create_schedule(
                Name=f"once-{ahead}", GroupName="test", ScheduleExpression=f"at({told})", FlexibleTimeWindow={"Mode": "OFF"}, ActionAfterCompletion="DELETE",
                Target={"Arn": "arn:aws:sqs:us-east-1:000000000000:scheduled", "RoleArn": "arn:aws:iam::000000000000:role/any", "Input": "<aws.scheduler.scheduled-time>"},
            )
            if datetime.now(timezone.utc) < due:
                break
            scheduler.delete_schedule(Name=f"once-{ahead}", GroupName="test")
        receive = lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20).get("Messages", [])
        received = receive() or receive() or receive()
        self.assertEqual([message["Body"] for message in received], [f"{told}Z"])
        # It is taken away after it was told.
        deadline = time.monotonic() + 60
        while scheduler.list_schedules(GroupName="test")["Schedules"]:
            self.assertLess(time.monotonic(), deadline, "it is still there")
            time.sleep(0.05)

    def test_an_agent_may_do_its_work_and_no_more(self):
        def client(service: str):
            mine = self.credentials["default"]
            return boto3.client(service, endpoint_url=self.settings.endpoint, region_name=settings.REGION,
                                aws_access_key_id=mine["AWS_ACCESS_KEY_ID"], aws_secret_access_key=mine["AWS_SECRET_ACCESS_KEY"])

        sqs, dynamodb, s3, outputs = client("sqs"), client("dynamodb"), client("s3"), self.deployed.outputs
        item = lambda partition: {"pk": {"S": partition}, "sk": {"S": "x"}}
        control = sqs.create_queue(QueueName="test-control-a1")["QueueUrl"]
        allowed = [
            lambda: sqs.receive_message(QueueUrl=outputs["PoolQueueUrldefault"], WaitTimeSeconds=0),
            lambda: sqs.receive_message(QueueUrl=control),
            lambda: sqs.send_message_batch(QueueUrl=outputs["InboxUrl"], Entries=[{"Id": "1", "MessageBody": "{}"}]),
            lambda: dynamodb.put_item(TableName="test", Item=item("AGENTS")),
            lambda: dynamodb.put_item(TableName="test", Item=item("RUN#1")),
            lambda: dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": "test", "Item": item("RUN#2")}}]),
            lambda: dynamodb.get_item(TableName="test", Key=item("TASKS")),
            lambda: s3.put_object(Bucket=outputs["BucketName"], Key="payload/x", Body=b"x"),
            lambda: sqs.delete_queue(QueueUrl=control),
        ]
        refused = [
            lambda: sqs.receive_message(QueueUrl=outputs["InboxUrl"]),
            lambda: sqs.receive_message(QueueUrl=outputs["PoolQueueUrlgpu"]),
            lambda: sqs.create_queue(QueueName="test-other"),
            lambda: dynamodb.put_item(TableName="test", Item=item("TASKS")),
            lambda: dynamodb.delete_item(TableName="test", Key=item("TASKS")),
            lambda: dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": "test", "Item": item("TASKS")}}]),
            lambda: dynamodb.scan(TableName="test"),
            lambda: s3.put_object(Bucket=outputs["BucketName"], Key="definition/x", Body=b"x"),
            lambda: s3.list_objects_v2(Bucket=outputs["BucketName"]),
            lambda: client("scheduler").list_schedules(),
        ]
        for call in allowed:
            call()
        for number, call in enumerate(refused):
            with self.subTest(number), self.assertRaisesRegex(ClientError, "not authorized"):
                call()


if __name__ == "__main__":
    unittest.main()
