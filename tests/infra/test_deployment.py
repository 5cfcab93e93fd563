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
        self.assertEqual({mapping["EventSourceArn"].rpartition(":")[2] for mapping in found}, {"test-inbox", "test-inbox-dlq", "test-claims", "test-schedules-dlq", "test-pool-default-dlq", "test-pool-gpu-dlq"})
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

    def test_a_due_time_that_its_queue_does_not_take_is_a_dead_letter(self):
        sqs, scheduler = self.deployer.client("sqs"), self.deployer.client("scheduler")
        queue = sqs.create_queue(QueueName="given-up")["QueueUrl"]
        target = {
            "Arn": "arn:aws:sqs:us-east-1:000000000000:nowhere", "RoleArn": "arn:aws:iam::000000000000:role/any", "Input": "<aws.scheduler.scheduled-time>",
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:given-up"},
        }
        scheduler.create_schedule(Name="lost", GroupName="test", ScheduleExpression="rate(1 minute)", FlexibleTimeWindow={"Mode": "OFF"},
                                  StartDate=datetime.now(timezone.utc) + timedelta(seconds=1), Target=target)
        self.addCleanup(scheduler.delete_schedule, Name="lost", GroupName="test")
        receive = lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, MessageAttributeNames=["All"]).get("Messages", [])
        message = (receive() or receive())[0]
        told = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
        self.assertEqual(told["SCHEDULED_TIME"], message["Body"])
        self.assertTrue(told["SCHEDULE_ARN"].endswith(":schedule/test/lost"), told)

    def client_of(self, pool: str, service: str):
        return identities.client(self.settings, self.credentials[pool], service)

    def role_id(self, name: str) -> str:
        resource = self.deployer.cloudformation.describe_stack_resource(StackName="test", LogicalResourceId=name)
        return self.deployer.client("iam").get_role(RoleName=resource["StackResourceDetail"]["PhysicalResourceId"])["Role"]["RoleId"]

    def test_the_process_manager_knows_the_role_of_each_pool(self):
        name = self.deployed.outputs["ProcessManagerName"]
        variables = self.deployer.client("lambda").get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        self.assertEqual(variables["WINDLASS_POOLS"], "default,gpu")
        for pool in ("default", "gpu"):
            self.assertEqual(variables[f"WINDLASS_AGENT_ROLE_{pool}"], self.role_id(f"AgentRole{pool}"))
        self.assertEqual(variables["WINDLASS_HOST_ROLES"].split(","), [self.role_id(f"{role}Role") for role in ("ProcessManager", "Coordinator", "Schedule")])

    def test_a_message_names_the_role_of_its_sender(self):
        sqs = self.deployer.client("sqs")
        queue = self.deployed.outputs["DeadLettersUrl"]
        for pool in ("default", "gpu"):
            self.client_of(pool, "sqs").send_message(QueueUrl=queue, MessageBody=pool)
        sqs.send_message(QueueUrl=queue, MessageBody="account")
        senders = {}
        while len(senders) < 3:
            received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20, MessageSystemAttributeNames=["SenderId"])["Messages"]
            senders |= {message["Body"]: message["Attributes"]["SenderId"] for message in received}
        self.assertEqual(senders, {"default": f"{self.role_id('AgentRoledefault')}:local", "gpu": f"{self.role_id('AgentRolegpu')}:local",
                                   "account": "000000000000"})

    def test_a_due_time_names_the_role_of_its_schedule(self):
        sqs, scheduler = self.deployer.client("sqs"), self.deployer.client("scheduler")
        queue = sqs.create_queue(QueueName="fired")["QueueUrl"]
        role = self.deployer.cloudformation.describe_stack_resource(StackName="test", LogicalResourceId="ScheduleRole")["StackResourceDetail"]
        target = {"Arn": "arn:aws:sqs:us-east-1:000000000000:fired", "Input": "{}",
                  "RoleArn": f"arn:aws:iam::000000000000:role/{role['PhysicalResourceId']}"}
        scheduler.create_schedule(Name="fired", GroupName="test", ScheduleExpression="rate(1 minute)", FlexibleTimeWindow={"Mode": "OFF"},
                                  StartDate=datetime.now(timezone.utc) + timedelta(seconds=1), Target=target)
        self.addCleanup(scheduler.delete_schedule, Name="fired", GroupName="test")
        receive = lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, MessageSystemAttributeNames=["SenderId"]).get("Messages", [])
        message = (receive() or receive())[0]
        self.assertEqual(message["Attributes"]["SenderId"].partition(":")[0], self.role_id("ScheduleRole"))

    def check(self, allowed: list, refused: list) -> None:
        for call in allowed:
            call()
        for number, call in enumerate(refused):
            with self.subTest(number), self.assertRaisesRegex(ClientError, "not authorized"):
                call()

    def test_an_agent_uses_the_queues_of_its_pool(self):
        sqs, gpu, outputs = self.client_of("default", "sqs"), self.client_of("gpu", "sqs"), self.deployed.outputs
        control = sqs.create_queue(QueueName="test-control-default-a1", tags={"windlass:agent": "a1"})["QueueUrl"]
        theirs = gpu.create_queue(QueueName="test-control-gpu-a1")["QueueUrl"]
        self.check(
            allowed=[
                lambda: sqs.receive_message(QueueUrl=outputs["PoolQueueUrldefault"], WaitTimeSeconds=0),
                lambda: sqs.receive_message(QueueUrl=control),
                lambda: sqs.get_queue_url(QueueName="test-control-default-a1"),
                lambda: sqs.send_message_batch(QueueUrl=outputs["InboxUrl"], Entries=[{"Id": "1", "MessageBody": "{}"}]),
                lambda: sqs.send_message_batch(QueueUrl=outputs["ClaimsUrl"], Entries=[{"Id": "1", "MessageBody": "{}"}]),
                lambda: sqs.delete_queue(QueueUrl=control),
            ],
            refused=[
                lambda: sqs.receive_message(QueueUrl=outputs["InboxUrl"]),
                lambda: sqs.receive_message(QueueUrl=outputs["ClaimsUrl"]),
                lambda: sqs.receive_message(QueueUrl=outputs["PoolQueueUrlgpu"]),
                lambda: sqs.send_message(QueueUrl=outputs["PoolQueueUrldefault"], MessageBody="{}"),
                lambda: sqs.send_message(QueueUrl=outputs["PoolQueueUrlgpu"], MessageBody="{}"),
                lambda: sqs.create_queue(QueueName="test-other"),
                lambda: sqs.create_queue(QueueName="test-control-a1"),
                lambda: sqs.create_queue(QueueName="test-control-gpu-a2"),
                lambda: sqs.create_queue(QueueName="test-control-defaults-a2"),
                lambda: sqs.receive_message(QueueUrl=theirs),
                # To drain or to stop an agent is the host's right, also in the agent's own pool.
                lambda: sqs.send_message(QueueUrl=theirs, MessageBody="{}"),
                lambda: sqs.send_message(QueueUrl=control, MessageBody="{}"),
                lambda: sqs.delete_queue(QueueUrl=theirs),
            ],
        )
        gpu.delete_queue(QueueUrl=theirs)

    def test_an_agent_writes_the_register_of_its_pool_alone(self):
        dynamodb = self.client_of("default", "dynamodb")
        key = lambda partition: {"pk": {"S": partition}, "sk": {"S": "x"}}
        put = lambda partition, **more: dynamodb.put_item(TableName="test", Item=key(partition) | more)
        own = "AGENTS#default"
        get = lambda *partitions: dynamodb.batch_get_item(RequestItems={"test": {"Keys": [key(partition) for partition in partitions]}})
        together = lambda *partitions: dynamodb.transact_write_items(
            TransactItems=[{"Put": {"TableName": "test", "Item": key(partition)}} for partition in partitions])
        self.check(
            allowed=[
                lambda: put(own, b={"B": b"x"}, expires_at={"N": "1"}),
                lambda: dynamodb.delete_item(TableName="test", Key=key(own)),
                lambda: dynamodb.get_item(TableName="test", Key=key("RUN#1")),
                lambda: dynamodb.get_item(TableName="test", Key=key("TASK#a")),
                lambda: get("RUN#1", "RUN#2"),
            ],
            refused=[
                lambda: put("RUN#1"),
                lambda: put("TASKS"),
                lambda: put("AGENTS"),
                lambda: put("AGENTS#gpu"),
                lambda: put("AGENTS#default2"),
                lambda: put(own, due_shard={"S": "1"}, due_at={"N": "1"}),
                lambda: together("RUN#1"),
                lambda: together(own, "RUN#1"),
                lambda: dynamodb.update_item(TableName="test", Key=key(own)),
                lambda: dynamodb.update_item(TableName="test", Key=key("RUN#1")),
                lambda: dynamodb.delete_item(TableName="test", Key=key("RUN#1")),
                lambda: dynamodb.delete_item(TableName="test", Key=key("AGENTS#gpu")),
                lambda: dynamodb.batch_write_item(RequestItems={"test": [{"PutRequest": {"Item": key(own)}}]}),
                lambda: dynamodb.get_item(TableName="test", Key=key("TASKS")),
                lambda: dynamodb.get_item(TableName="test", Key=key(own)),
                lambda: get("RUN#1", "TASKS"),
                lambda: dynamodb.query(TableName="test", KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": "RUN#1"}}),
                lambda: dynamodb.scan(TableName="test"),
            ],
        )

    def test_an_agent_writes_no_object_and_tells_no_system(self):
        bucket, s3 = self.deployed.outputs["BucketName"], self.client_of("default", "s3")
        self.deployer.client("s3").put_object(Bucket=bucket, Key="payload/x", Body=b"x")
        events = self.client_of("default", "events")
        self.check(
            allowed=[lambda: s3.get_object(Bucket=bucket, Key="payload/x")],
            refused=[
                lambda: s3.put_object(Bucket=bucket, Key="payload/x", Body=b"x"),
                lambda: s3.put_object(Bucket=bucket, Key="definition/x", Body=b"x"),
                lambda: s3.list_objects_v2(Bucket=bucket),
                lambda: events.put_events(Entries=[{"Source": "windlass", "DetailType": "run.failed", "Detail": "{}", "EventBusName": "test"}]),
                lambda: self.client_of("default", "scheduler").list_schedules(),
                lambda: self.client_of("default", "sts").assume_role(RoleArn=self.deployed.outputs["AgentRoleArngpu"], RoleSessionName="agent"),
            ],
        )


if __name__ == "__main__":
    unittest.main()
