"""A wrong parameter fails before anything is made, with a reason; checked by the emulator's reading of the template."""

import unittest

from ministack.services.cloudformation import engine

from .template import PATH

TEMPLATE = engine._parse_template(PATH.read_text())
GOOD = {"CodeBucket": "a-bucket", "ProcessManagerCode": "code/a.zip", "CoordinatorCode": "b.zip"}
AGENTS = {"AgentImage": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/windlass-agent:1", "Subnets": "subnet-0123456789abcdef0,subnet-01234567"}

RIGHT = [
    {},
    {"Name": "a"},
    {"Name": "prod-2"},
    {"Name": "pool-a"},
    {"Name": "a-pools-controls"},
    {"Pools": "default,gpu,Python3"},
    {"Issuer": "https://login.example.com/tenant", "Audience": "windlass,other"},
    AGENTS | {"SecurityGroups": "sg-01234567"},
    AGENTS | {"Vpc": "vpc-01234567", "AgentRepository": "team/windlass-agent"},
    {"AlarmTopic": "arn:aws:sns:eu-central-1:123456789012:people"},
    {"ApiHosts": "api.example.com,127.0.0.1:4566"},
    {"ProcessManagerTimeout": "60"},
]
# What is given, and what the refusal says.
WRONG = [
    ({"Name": "Windlass"}, "'Name' must be 1 to 20 small letters"),
    ({"Name": "x" * 21}, "'Name' must be 1 to 20 small letters"),
    ({"Name": "a--b"}, "'Name' must be 1 to 20 small letters"),
    ({"Name": ""}, "'Name' must be 1 to 20 small letters"),
    ({"Name": "prod-pool-x"}, "without `-pool` and `-control`"),
    ({"Name": "prod-pool"}, "without `-pool` and `-control`"),
    ({"Name": "prod-x-control"}, "without `-pool` and `-control`"),
    ({"Pools": "default,my-pool"}, "'Pools' must be a list of pools"),
    ({"Pools": ""}, "'Pools' must be a list of pools"),
    ({"CodeBucket": "Not A Bucket"}, "'CodeBucket' must be the name of an S3 bucket"),
    ({"CoordinatorCode": "b.tar"}, "'CoordinatorCode' must be the key of a zip file"),
    ({"Issuer": "http://plain.example.com", "Audience": "a"}, "'Issuer' must be an https URL"),
    ({"Issuer": "https://login.example.com"}, "Issuer is given without Audience"),
    ({"Audience": "windlass"}, "Audience is given without Issuer"),
    ({"AgentSlots": "0"}, "'AgentSlots' must be 1 to 10000"),
    ({"AgentSlots": "many"}, "AgentSlots"),
    ({"AgentDrain": "200"}, "'AgentDrain' must be 1 to 110 seconds"),
    ({"LogDays": "31"}, "LogDays"),
    ({"ProcessManagerTimeout": "7"}, "ProcessManagerTimeout"),
    ({"ProcessManagerConcurrency": "1"}, "'ProcessManagerConcurrency' must be 2 to 1000"),
    ({"AlarmTopic": "people"}, "'AlarmTopic' must be the ARN of an SNS topic"),
    ({"Subnets": "subnet-xyz"}, "'Subnets' must be a list of subnet-"),
    ({"AgentImage": "windlass-agent:1"}, "AgentImage is given without Subnets"),
    (AGENTS, "AgentImage is given without SecurityGroups and without Vpc"),
]


def refusal(given: dict[str, str]) -> str:
    """What CloudFormation would answer; empty if it takes them."""
    provided = [{"Key": key, "Value": value} for key, value in (GOOD | given).items()]
    try:
        parameters = engine._resolve_parameters(TEMPLATE, provided)
        engine._evaluate_rules(TEMPLATE, parameters, engine._evaluate_conditions(TEMPLATE, parameters))
    except ValueError as error:
        return str(error)
    return ""


class Parameters(unittest.TestCase):
    def test_right_ones_are_taken(self):
        for given in RIGHT:
            with self.subTest(given):
                self.assertEqual(refusal(given), "")

    def test_wrong_ones_are_refused_with_a_reason(self):
        for given, reason in WRONG:
            with self.subTest(given):
                self.assertIn(reason, refusal(given))

    def test_code_must_be_named(self):
        with self.assertRaisesRegex(ValueError, "CodeBucket"):
            engine._resolve_parameters(TEMPLATE, [])


if __name__ == "__main__":
    unittest.main()
