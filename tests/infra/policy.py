"""What must hold of the template: one function per rule, each returns its faults, each begins with the resource."""

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
    wanted = {
        "point-in-time recovery": ("PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled", True),
        "encryption by a key of the account": ("SSESpecification", "SSEEnabled", True),
        "a time to live": ("TimeToLiveSpecification", "Enabled", True),
        "a stream of both images": ("StreamSpecification", "StreamViewType", "NEW_AND_OLD_IMAGES"),
    }
    faults = kept(template, "AWS::DynamoDB::Table")
    for name, properties in of_type(template, "AWS::DynamoDB::Table").items():
        faults += [f"{name} has no {what}" for what, (group, key, value) in wanted.items() if properties.get(group, {}).get(key) != value]
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
    wildcard_actions, wildcard_resources, open_principals, shared_roles, queues, visibility, log_groups, batch_failures,
    tables, buckets, open_routes, unwatched_queues, unexplained_parameters,
)
