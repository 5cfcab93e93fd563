"""The template keeps its rules, and each rule bites: a copy with one thing broken has just that fault."""

import copy
import unittest
from collections.abc import Callable

from . import policy, template

LOADED = template.load()


def resource(broken: dict, name: str) -> dict:
    return broken["Resources"][name]["Properties"]


def statement(broken: dict, role: str, sid: str) -> dict:
    found = [one for name, one in policy.statements(broken) if name == role and one.get("Sid") == sid]
    return found[0]


class TheTemplate(unittest.TestCase):
    def test_it_keeps_every_rule(self):
        for rule in policy.RULES:
            with self.subTest(rule.__name__):
                self.assertEqual(rule(LOADED), [])

    def test_it_has_what_the_rules_are_about(self):
        """A rule about nothing holds: these are what the rules must have found."""
        for kind, least in {"AWS::SQS::Queue": 5, "AWS::Logs::LogGroup": 3, "AWS::Lambda::EventSourceMapping": 3, "AWS::IAM::Role": 5,
                            "AWS::ApiGatewayV2::Route": 2, "AWS::DynamoDB::GlobalTable": 1, "AWS::S3::Bucket": 1, "AWS::Lambda::Function": 2}.items():
            self.assertGreaterEqual(len(template.of_type(LOADED, kind)), least, kind)
        self.assertGreaterEqual(len(list(policy.statements(LOADED))), 25)


class EveryRuleBites(unittest.TestCase):
    def check(self, rule: Callable[[dict], list[str]], fault: str, breaks: Callable[[dict], object]) -> None:
        broken = copy.deepcopy(LOADED)
        breaks(broken)
        self.assertEqual(rule(broken), [fault])

    def test_actions(self):
        def widen(to):
            return lambda broken: statement(broken, "CoordinatorRole", "Publish").update(Action=to)

        self.check(policy.wildcard_actions, "CoordinatorRole allows *", widen("*"))
        self.check(policy.wildcard_actions, "CoordinatorRole allows events:*", widen(["events:*"]))
        self.check(policy.wildcard_actions, "CoordinatorRole allows sqs:Send*", widen(["events:PutEvents", "sqs:Send*"]))

    def test_actions_of_a_policy_in_a_loop(self):
        self.check(policy.wildcard_actions, "AgentRole${Pool} allows s3:*",
                   lambda broken: statement(broken, "AgentRole${Pool}", "ReadObjects").update(Action="s3:*"))

    def test_resources(self):
        def widen(to):
            return lambda broken: statement(broken, "CoordinatorRole", "Publish").update(Resource=to)

        self.check(policy.wildcard_resources, "CoordinatorRole allows events:PutEvents on *", widen("*"))
        self.check(policy.wildcard_resources, "CoordinatorRole allows events:PutEvents on arn:?:sqs:?:?:*",
                   widen({"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:*"}))

    def test_the_exception_is_of_one_action(self):
        self.check(policy.wildcard_resources, "PullAgentImage allows ecr:GetAuthorizationToken, ecr:BatchGetImage on *",
                   lambda broken: statement(broken, "PullAgentImage", "SignInToTheRegistry").update(Action=["ecr:GetAuthorizationToken", "ecr:BatchGetImage"]))

    def test_principals(self):
        def trust(principal, condition):
            def breaks(broken):
                trusted = resource(broken, "ScheduleRole")["AssumeRolePolicyDocument"]["Statement"][0]
                trusted.update(Principal=principal, Condition=condition)
            return breaks

        self.check(policy.open_principals, "ScheduleRole is for everybody without a condition", trust("*", {}))
        self.check(policy.open_principals, "ScheduleRole is for everybody without a condition", trust({"AWS": ["*"]}, None))

    def test_roles(self):
        self.check(policy.shared_roles, "Coordinator has the role of ProcessManager",
                   lambda broken: resource(broken, "Coordinator").update(Role=resource(broken, "ProcessManager")["Role"]))

    def test_rights_of_agents(self):
        role = "AgentRole${Pool}"

        def grant(sid, **changed):
            return lambda broken: statement(broken, role, sid).update(changed)

        control = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${Name}-control-*"
        self.check(policy.rights_of_agents, f"{role} allows sqs:ReceiveMessage on Inbox",
                   grant("Report", Action=["sqs:SendMessage", "sqs:ReceiveMessage"], Resource={"Fn::GetAtt": ["Inbox", "Arn"]}))
        self.check(policy.rights_of_agents, f"{role} allows sqs:DeleteQueue on arn:?:sqs:?:?:?-control-*",
                   grant("ControlQueue", Action="sqs:DeleteQueue", Resource={"Fn::Sub": control}))
        self.check(policy.rights_of_agents, f"{role} allows dynamodb:UpdateItem on Table", grant("Register", Action="dynamodb:UpdateItem"))
        self.check(policy.rights_of_agents, f"{role} allows s3:PutObject on ?/payload/*",
                   grant("ReadObjects", Action="s3:PutObject", Resource={"Fn::Sub": "${Bucket.Arn}/payload/*"}))
        self.check(policy.rights_of_agents, f"{role} allows events:PutEvents on Bus",
                   grant("ReadObjects", Action="events:PutEvents", Resource={"Fn::GetAtt": ["Bus", "Arn"]}))

    def test_partitions_of_agents(self):
        role = "AgentRole${Pool}"

        def keys(sid, operator, key, value):
            return lambda broken: statement(broken, role, sid)["Condition"][operator].update({key: value})

        own = {"Fn::Sub": "AGENTS#${Pool}"}
        equals, leading = "ForAllValues:StringEquals", "dynamodb:LeadingKeys"
        faults = [f"{role} allows dynamodb:{call} on other partitions" for call in ("PutItem", "DeleteItem")]
        for wider in (["AGENTS#*"], [own, "RUN#*"]):
            broken = copy.deepcopy(LOADED)
            keys("Register", equals, leading, wider)(broken)
            self.assertEqual(policy.partitions_of_agents(broken), faults)
        self.check(policy.partitions_of_agents, f"{role} allows dynamodb:PutItem with other attributes",
                   keys("Register", equals, "dynamodb:Attributes", ["pk", "sk", "b", "expires_at", "due_shard"]))

    def test_conditions_on_absent_keys(self):
        self.check(policy.unguarded_conditions, "AgentRole${Pool} allows dynamodb:PutItem, dynamodb:DeleteItem without dynamodb:LeadingKeys",
                   lambda broken: statement(broken, "AgentRole${Pool}", "Register")["Condition"].pop("Null"))

    def test_senders(self):
        variables = lambda broken: resource(broken, "ProcessManager")["Environment"]["Variables"]
        self.check(policy.known_senders, "AgentRole${Pool} may send inputs and the process manager does not know it",
                   lambda broken: variables(broken).pop("Fn::ForEach::AgentRoleIds"))
        hosts = [{"Fn::GetAtt": [role, "RoleId"]} for role in ("ProcessManagerRole", "CoordinatorRole")]
        self.check(policy.known_senders, "ScheduleRole may send inputs and the process manager does not know it",
                   lambda broken: variables(broken).update(WINDLASS_HOST_ROLES={"Fn::Join": [",", hosts]}))

    def test_uncalled_actions(self):
        self.check(policy.uncalled_actions, "CoordinatorRole allows dynamodb:BatchWriteItem, which no program calls",
                   lambda broken: statement(broken, "CoordinatorRole", "Records")["Action"].append("dynamodb:BatchWriteItem"))

    def test_dead_letters(self):
        self.check(policy.unread_dead_letters, "SchedulesDlq is read by nothing", lambda broken: broken["Resources"].pop("SchedulesDlqToProcessManager"))

    def test_queues(self):
        self.check(policy.queues, "PoolQueue${Pool} has no redrive to a dead-letter queue",
                   lambda broken: resource(broken, "PoolQueue${Pool}").pop("RedrivePolicy"))
        self.check(policy.queues, "Inbox is not encrypted", lambda broken: resource(broken, "Inbox").update(SqsManagedSseEnabled=False))
        tried = policy.deliveries()
        self.check(policy.queues, f"Inbox gives up after {tried} deliveries, before the engine says why after {tried}",
                   lambda broken: resource(broken, "Inbox")["RedrivePolicy"].update(maxReceiveCount=tried))

    def test_visibility(self):
        rows = "InboxVisibility"
        self.check(policy.visibility, "InboxVisibility hides for 179 s with a timeout of 30 s",
                   lambda broken: broken["Mappings"][rows]["30"].update(Seconds=179))
        self.check(policy.visibility, "InboxVisibility lacks 20", lambda broken: broken["Mappings"][rows].pop("20"))

    def test_log_groups(self):
        self.check(policy.log_groups, "ApiLogs is kept for ever", lambda broken: resource(broken, "ApiLogs").pop("RetentionInDays"))
        self.check(policy.log_groups, "Coordinator writes to a log group of its own making, which is kept for ever",
                   lambda broken: resource(broken, "Coordinator").pop("LoggingConfig"))

    def test_batches(self):
        self.check(policy.batch_failures, "InboxToProcessManager fails a whole batch for one message",
                   lambda broken: resource(broken, "InboxToProcessManager").pop("FunctionResponseTypes"))

    def test_table(self):
        self.check(policy.tables, "Table has no point-in-time recovery",
                   lambda broken: resource(broken, "Table")["Replicas"][0].pop("PointInTimeRecoverySpecification"))
        self.check(policy.tables, "Table has no stream of both images", lambda broken: resource(broken, "Table").pop("StreamSpecification"))
        self.check(policy.tables, "Table has no time to live", lambda broken: resource(broken, "Table").pop("TimeToLiveSpecification"))
        self.check(policy.tables, "Table cannot become a global table", lambda broken: broken["Resources"]["Table"].update(Type="AWS::DynamoDB::Table"))
        self.check(policy.tables, "Table goes with the stack", lambda broken: broken["Resources"]["Table"].pop("DeletionPolicy"))

    def test_bucket(self):
        self.check(policy.buckets, "Bucket may be made public",
                   lambda broken: resource(broken, "Bucket")["PublicAccessBlockConfiguration"].update(BlockPublicPolicy=False))
        self.check(policy.buckets, "Bucket can be read without TLS", lambda broken: broken["Resources"].pop("BucketPolicy"))
        self.check(policy.buckets, "Bucket is not encrypted", lambda broken: resource(broken, "Bucket").pop("BucketEncryption"))

    def test_routes(self):
        self.check(policy.open_routes, "EveryCall is open: ANY /{proxy+}", lambda broken: resource(broken, "EveryCall").update(AuthorizationType="NONE"))

    def test_alarms(self):
        self.check(policy.unwatched_queues, "PoolDlq${Pool} has no alarm", lambda broken: broken["Resources"].pop("PoolDlqAlarm${Pool}"))

    def test_parameters(self):
        parameters = "Parameters"
        self.check(policy.unexplained_parameters, "Name does not say what it must be",
                   lambda broken: broken[parameters]["Name"].pop("ConstraintDescription"))
        self.check(policy.unexplained_parameters, "LogLevel takes anything", lambda broken: broken[parameters]["LogLevel"].pop("AllowedValues"))


if __name__ == "__main__":
    unittest.main()
