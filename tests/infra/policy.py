"""What must hold of the template: one function per rule, each returns its faults, each begins with the resource."""

import json
import re
from collections.abc import Iterator

from .template import REPOSITORY, of_type

# Actions that no resource can be named for, each with AWS's own word for it.
NO_RESOURCE = {
    "ecr:GetAuthorizationToken": "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html",
}
# The end of the line: what is here waits for a person, and an alarm says so.
LAST_STATION = "DeadLetters"
# Lambda's advice for a queue that it reads: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
VISIBILITY_PER_TIMEOUT = 6
OPEN_ROUTES = {"GET /healthz"}
CONTROL_QUEUES = "arn:?:sqs:?:?:?-control-${Pool}-*"
# All that an agent may do, by the resource. It writes no run's record, uses no other pool's queues and tells no other system.
AGENT_MAY = {
    "PoolQueue${Pool}": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueUrl"},
    "Inbox": {"sqs:SendMessage", "sqs:GetQueueUrl"},
    "Claims": {"sqs:SendMessage", "sqs:GetQueueUrl"},
    "DeadLetters": {"sqs:SendMessage", "sqs:GetQueueUrl"},
    CONTROL_QUEUES: {"sqs:CreateQueue", "sqs:TagQueue", "sqs:DeleteQueue", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueUrl"},
    "Table": {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"},
    "?/payload/*": {"s3:GetObject"},
    "?/definition/*": {"s3:GetObject"},
    "arn:?:ecs:?:?:task/?/*": {"ecs:GetTaskProtection", "ecs:UpdateTaskProtection"},
}
# By the action, what an agent's requests to the table must be about.
LEADING_KEYS = {
    "dynamodb:GetItem": ["RUN#*", "TASK#*"],
    "dynamodb:BatchGetItem": ["RUN#*", "TASK#*"],
    "dynamodb:PutItem": [{"Fn::Sub": "AGENTS#${Pool}"}],
    "dynamodb:DeleteItem": [{"Fn::Sub": "AGENTS#${Pool}"}],
}
# The right to a call that no program makes under this name: SQS wants it of who makes a queue with tags.
CALLED_BY_ANOTHER_NAME = {"sqs:TagQueue"}


def statements(template: dict) -> Iterator[tuple[str, dict]]:
    """Of every policy, each with the name of its resource."""
    for name, resource in template["Resources"].items():
        for document in documents(resource.get("Properties", {})):
            for statement in as_list(document["Statement"]):
                yield name, statement


def documents(properties: dict) -> Iterator[dict]:
    for key in ("PolicyDocument", "AssumeRolePolicyDocument"):
        if key in properties:
            yield properties[key]
    for inline in properties.get("Policies", []):
        yield inline["PolicyDocument"]


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]


def text_of(value) -> str:
    """A resource as one string; what only the deployment knows is `?`."""
    if isinstance(value, str):
        return value
    found = value.get("Fn::Sub") if isinstance(value, dict) else None
    return re.sub(r"\$\{[^}]*\}", "?", found if isinstance(found, str) else found[0]) if found else "?"


def wildcard_actions(template: dict) -> list[str]:
    return [
        f"{name} allows {action}"
        for name, statement in statements(template)
        if statement["Effect"] == "Allow"
        for action in as_list(statement.get("Action", "*"))
        if "*" in action
    ]


def wildcard_resources(template: dict) -> list[str]:
    return [
        f"{name} allows {', '.join(as_list(statement['Action']))} on {text_of(resource)}"
        for name, statement in statements(template)
        if statement["Effect"] == "Allow" and "Principal" not in statement
        for resource in as_list(statement.get("Resource", "*"))
        if names_nothing(text_of(resource)) and not set(as_list(statement["Action"])) <= set(NO_RESOURCE)
    ]


def names_nothing(resource: str) -> bool:
    """`*`, or an ARN whose last part begins with a wildcard: `arn:aws:sqs:eu-west-1:123456789012:*`."""
    last = resource.split(":", 5)[-1]
    return last.startswith("*") or resource == "*"


def open_principals(template: dict) -> list[str]:
    return [
        f"{name} is for everybody without a condition"
        for name, statement in statements(template)
        if statement["Effect"] == "Allow" and everybody(statement.get("Principal")) and not statement.get("Condition")
    ]


def everybody(principal) -> bool:
    return principal == "*" or (isinstance(principal, dict) and any("*" in as_list(who) for who in principal.values()))


def shared_roles(template: dict) -> list[str]:
    """One role per program."""
    taken: dict[str, str] = {}
    faults = []
    for name, properties in of_type(template, "AWS::Lambda::Function").items():
        role = str(properties["Role"])
        if role in taken:
            faults.append(f"{name} has the role of {taken[role]}")
        taken[role] = name
    return faults


def agents(template: dict) -> Iterator[tuple[str, dict]]:
    """Each statement of what an agent may do."""
    for name, statement in statements(template):
        if name in ("AgentRole${Pool}", "AgentProtection${Pool}") and "Principal" not in statement:
            yield name, statement


def named(resource) -> str:
    """The resource of the template, or as much of an ARN as the template says; the pool stays `${Pool}`."""
    found = resource.get("Fn::GetAtt") if isinstance(resource, dict) else None
    if found:
        return found[0] if isinstance(found[0], str) else found[0]["Fn::Sub"]
    text = json.dumps(resource).replace("${Pool}", "$Pool")
    return text_of(json.loads(text)).replace("$Pool", "${Pool}")


def rights_of_agents(template: dict) -> list[str]:
    return [
        f"{name} allows {action} on {named(resource)}"
        for name, statement in agents(template)
        for resource in as_list(statement["Resource"])
        for action in as_list(statement["Action"])
        if action not in AGENT_MAY.get(named(resource), set())
    ]


def partitions_of_agents(template: dict) -> list[str]:
    """An agent reads runs and versions of tasks, and writes its pool's register; in an item of that, no column of an index."""
    faults = []
    for name, statement in agents(template):
        for action in as_list(statement["Action"]):
            if not action.startswith("dynamodb:"):
                continue
            condition = statement.get("Condition", {})
            held = {key: value for operator, keys in condition.items() if operator.startswith("ForAllValues:") for key, value in keys.items()}
            if held.get("dynamodb:LeadingKeys") != LEADING_KEYS.get(action):
                faults.append(f"{name} allows {action} on other partitions")
            if action == "dynamodb:PutItem" and held.get("dynamodb:Attributes") != ["pk", "sk", "b", "expires_at"]:
                faults.append(f"{name} allows {action} with other attributes")
    return faults


def unguarded_conditions(template: dict) -> list[str]:
    """`ForAllValues` holds of a request that does not have the key at all:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    """
    return [
        f"{name} allows {', '.join(as_list(statement['Action']))} without {key}"
        for name, statement in statements(template)
        for operator, keys in statement.get("Condition", {}).items()
        if operator.startswith("ForAllValues:")
        for key in keys
        # An agent's request always has attributes or needs none; its partitions are what counts.
        if key != "dynamodb:Attributes" and statement["Condition"].get("Null", {}).get(key) != "false"
    ]


def known_senders(template: dict) -> list[str]:
    """The process manager knows every role that may send it inputs."""
    variables = of_type(template, "AWS::Lambda::Function")["ProcessManager"]["Environment"]["Variables"]
    told = json.dumps(variables)
    senders = {
        name
        for name, statement in statements(template)
        if "sqs:SendMessage" in as_list(statement.get("Action", []))
        and {"Inbox", "Claims"} & {named(resource) for resource in as_list(statement["Resource"])}
    }
    return [f"{name} may send inputs and the process manager does not know it" for name in sorted(senders)
            if json.dumps([name, "RoleId"]) not in told and json.dumps([{"Fn::Sub": name}, "RoleId"]) not in told]


def uncalled_actions(template: dict) -> list[str]:
    """A right that no program uses goes. All calls of our programs are in shared/aws; those of a mapping are Lambda's own."""
    source = "".join(path.read_text() for path in sorted((REPOSITORY / "shared" / "aws" / "src").rglob("*.rs")))
    return sorted({
        f"{name} allows {action}, which no program calls"
        for name, statement in statements(template)
        if statement["Effect"] == "Allow"
        for action in as_list(statement.get("Action", []))
        if action.split(":")[0] in ("dynamodb", "sqs", "s3", "scheduler", "events") and action not in CALLED_BY_ANOTHER_NAME
        and not re.search(rf"\.{snake_case(action.split(':')[1])}(_batch)?\(\)", source)
    })


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def unread_dead_letters(template: dict) -> list[str]:
    """What a queue or a schedule gives up reaches the process manager."""
    read = [named(mapping["EventSourceArn"]) for mapping in of_type(template, "AWS::Lambda::EventSourceMapping").values()]
    return [f"{name} is read by nothing" for name in of_type(template, "AWS::SQS::Queue")
            if ("Dlq" in name) and name not in read]


def queues(template: dict) -> list[str]:
    faults = []
    tried = deliveries()
    for name, properties in of_type(template, "AWS::SQS::Queue").items():
        redrive = properties.get("RedrivePolicy")
        if not redrive and name != LAST_STATION:
            faults.append(f"{name} has no redrive to a dead-letter queue")
        if redrive and redrive["maxReceiveCount"] <= tried:
            faults.append(f"{name} gives up after {redrive['maxReceiveCount']} deliveries, before the engine says why after {tried}")
        if not (properties.get("SqsManagedSseEnabled") is True or properties.get("KmsMasterKeyId")):
            faults.append(f"{name} is not encrypted")
    return faults


def deliveries() -> int:
    """After how many deliveries the engine sets a message aside."""
    limits = (REPOSITORY / "shared" / "domain" / "src" / "limits.rs").read_text()
    return int(re.search(r"MAX_DELIVERIES: u32 = (\d+)", limits).group(1))


def visibility(template: dict) -> list[str]:
    mapping = {timeout: row["Seconds"] for timeout, row in template["Mappings"]["InboxVisibility"].items()}
    faults = [f"InboxVisibility hides for {hidden} s with a timeout of {timeout} s" for timeout, hidden in mapping.items()
              if hidden < VISIBILITY_PER_TIMEOUT * int(timeout)]
    offered = set(template["Parameters"]["ProcessManagerTimeout"]["AllowedValues"])
    if offered != set(mapping):
        faults.append(f"InboxVisibility lacks {', '.join(sorted(offered ^ set(mapping)))}")
    return faults


def log_groups(template: dict) -> list[str]:
    faults = [f"{name} is kept for ever" for name, properties in of_type(template, "AWS::Logs::LogGroup").items() if "RetentionInDays" not in properties]
    return faults + [f"{name} writes to a log group of its own making, which is kept for ever"
                     for name, properties in of_type(template, "AWS::Lambda::Function").items()
                     if "LogGroup" not in properties.get("LoggingConfig", {})]


def batch_failures(template: dict) -> list[str]:
    return [
        f"{name} fails a whole batch for one message"
        for name, properties in of_type(template, "AWS::Lambda::EventSourceMapping").items()
        if "ReportBatchItemFailures" not in properties.get("FunctionResponseTypes", [])
    ]


def tables(template: dict) -> list[str]:
    """A plain table cannot become a global one later, so each is global from the first day."""
    wanted = {
        "encryption by a key of the account": ("SSESpecification", "SSEEnabled", True),
        "time to live": ("TimeToLiveSpecification", "Enabled", True),
        "stream of both images": ("StreamSpecification", "StreamViewType", "NEW_AND_OLD_IMAGES"),
    }
    faults = kept(template, "AWS::DynamoDB::GlobalTable")
    faults += [f"{name} cannot become a global table" for name in of_type(template, "AWS::DynamoDB::Table")]
    for name, properties in of_type(template, "AWS::DynamoDB::GlobalTable").items():
        faults += [f"{name} has no {what}" for what, (group, key, value) in wanted.items() if properties.get(group, {}).get(key) != value]
        recovery = [replica.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") for replica in properties["Replicas"]]
        if recovery != [True] * len(recovery):
            faults.append(f"{name} has no point-in-time recovery")
    return faults


def buckets(template: dict) -> list[str]:
    faults = kept(template, "AWS::S3::Bucket")
    for name, properties in of_type(template, "AWS::S3::Bucket").items():
        block = properties.get("PublicAccessBlockConfiguration", {})
        if not all(block.get(key) for key in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")):
            faults.append(f"{name} may be made public")
        if "BucketEncryption" not in properties:
            faults.append(f"{name} is not encrypted")
        if not any(tls_only(policy) for policy in of_type(template, "AWS::S3::BucketPolicy").values() if policy["Bucket"] == {"Ref": name}):
            faults.append(f"{name} can be read without TLS")
    return faults


def tls_only(policy: dict) -> bool:
    return any(
        statement["Effect"] == "Deny" and statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
        for statement in policy["PolicyDocument"]["Statement"]
    )


def kept(template: dict, kind: str) -> list[str]:
    """What holds people's data outlives the stack."""
    return [
        f"{name} goes with the stack"
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind and not (str(resource.get("DeletionPolicy", "")).startswith("Retain") and resource.get("UpdateReplacePolicy") == "Retain")
    ]


def open_routes(template: dict) -> list[str]:
    return [
        f"{name} is open: {properties['RouteKey']}"
        for name, properties in of_type(template, "AWS::ApiGatewayV2::Route").items()
        if properties.get("AuthorizationType") != "JWT" and properties["RouteKey"] not in OPEN_ROUTES
    ]


def unwatched_queues(template: dict) -> list[str]:
    """Each queue has an alarm."""
    watched = str([alarm.get("Dimensions") for alarm in of_type(template, "AWS::CloudWatch::Alarm").values()])
    return [f"{name} has no alarm" for name in of_type(template, "AWS::SQS::Queue") if f"'{name}'" not in watched]


def unexplained_parameters(template: dict) -> list[str]:
    """What is wrong about a value is told in words; the rest of the bounds explain themselves."""
    bounded = ("AllowedPattern", "MinValue", "MaxValue", "MinLength", "MaxLength")
    faults = []
    for name, parameter in template["Parameters"].items():
        if any(bound in parameter for bound in bounded) and "ConstraintDescription" not in parameter:
            faults.append(f"{name} does not say what it must be")
        if not any(bound in parameter for bound in (*bounded, "AllowedValues")):
            faults.append(f"{name} takes anything")
        if "Description" not in parameter:
            faults.append(f"{name} does not say what it is for")
    return faults


RULES = (
    wildcard_actions, wildcard_resources, open_principals, shared_roles, rights_of_agents, partitions_of_agents,
    unguarded_conditions, known_senders, uncalled_actions, unread_dead_letters, queues, visibility, log_groups, batch_failures,
    tables, buckets, open_routes, unwatched_queues, unexplained_parameters,
)
