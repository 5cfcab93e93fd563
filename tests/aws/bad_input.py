"""A story of bad input: every queue, every program's start, the template."""

import json
import os
import socket
import subprocess
import uuid

from recovery import ENDED, expect, wait_for
from stack import ROOT, Refused, Stack, program

# A pool that nobody serves: the test itself answers for its agent.
MANUAL = """
task: by-hand
defaults: { pool: manual, timeout: 5m }
actions:
  only: { native: { handler: by-hand } }
"""
NOWHERE = """
task: nowhere
actions:
  lost: { pool: no-such-pool, exec: ["true"] }
"""
PROGRAMS = ("windlass-agent", "windlass-process-manager", "windlass-coordinator")
SETTINGS = ("WINDLASS_NAME", "WINDLASS_BUCKET", "AWS_REGION")


def bad_input(stack: Stack) -> str:
    while stack.receive("dead-letters"):
        pass
    letters = inbox_letters(stack)
    large = too_large(stack)
    pool = pool_without_queue(stack)
    named = missing_settings()
    taken = address_taken()
    template = wrong_parameter(stack)
    done = f"{letters} bad messages in a batch are dead letters, the good one is done"
    return "; ".join([done, large, pool, named, taken, template])


def inbox_letters(stack: Stack) -> int:
    """Bad messages beside a good one: each a dead letter with its reason, the good one done."""
    stack.apply(MANUAL)
    run = stack.start("by-hand")["id"]
    perform = json.loads(wait_for("the attempt to be queued", lambda: stack.receive("pool-manual"))[0])
    delivery = f"{perform['of']['attempt']}.{perform.get('issue', 0)}.1"
    of = {"action": perform["of"]["action"], "delivery": delivery, "message": 0, "agent": "proof"}
    said = {"type": "completed", "of": of, "started_at": perform["queued_at"],
            "outcome": {"result": "succeeded", "output": 7}}
    stranger = str(uuid.uuid4())
    bad = {
        "version 99": json.dumps({"type": "run", "v": 99, "run": run, "input": {"type": "explode"}}),
        "not of the expected shape": "this is not JSON",
        "no such run": json.dumps({"type": "run", "v": 1, "run": stranger, "input": {"type": "wake"}}),
        "there is no task": json.dumps(
            {"type": "task", "v": 1, "task": "vanished", "input": {"type": "due", "nominal": perform["queued_at"]}}),
        "unknown variant": json.dumps({"type": "nonsense", "v": 1}),
        "missing field": json.dumps({"type": "run", "v": 1, "run": run, "input": {"type": "completed"}}),
    }
    good = json.dumps({"type": "run", "v": 1, "run": run, "input": said})
    stack.send("inbox", *bad.values(), good)
    wait_for("the good message of the batch to be done", lambda: stack.run(run)["status"] == "succeeded")
    letters: list[dict] = []

    def all_there() -> bool:
        letters.extend(map(json.loads, stack.receive("dead-letters")))
        return len(letters) >= len(bad)

    wait_for(f"{len(bad)} dead letters", all_there)
    for reason, body in bad.items():
        found = [letter for letter in letters if letter["body"] == body]
        expect(len(found) == 1, f"one dead letter of {body[:60]}: {found}")
        expect(reason in found[0]["reason"], f"it says `{reason}`: {found[0]['reason']}")
    expect(len(letters) == len(bad), f"nothing else is a dead letter: {letters}")
    return len(bad)


def too_large(stack: Stack) -> str:
    """Bodies over a limit are refused where they come in; an answer over it fails its action with a reason."""
    try:
        stack.start("by-hand", {"text": "x" * 140_000})
        raise SystemExit("failed: an input of 140 kB is accepted")
    except Refused as refused:
        expect(refused.status in {413, 422}, f"an input over the limit is refused: {refused}")
    try:
        stack.send("inbox", "x" * (1024 * 1024 + 1))
        wait_for("a dead letter", lambda: stack.receive("dead-letters"))
        return "a message over 1 MiB is a dead letter"
    except stack.sqs.exceptions.ClientError as refused:
        return f"a message over 1 MiB is refused by the queue ({refused.response['Error']['Code'].rpartition('.')[2]})"


def pool_without_queue(stack: Stack) -> str:
    stack.apply(NOWHERE)
    run = stack.start("nowhere")["id"]
    wait_for("a run whose pool has no queue to end", lambda: stack.run(run)["status"] in ENDED)
    view = stack.run(run)
    error = view["actions"]["lost"]["error"]
    expect(view["status"] == "failed" and "no-such-pool" in error["message"], f"it fails and says why: {view}")
    return f"a pool without a queue fails its action ({error['kind']})"


def missing_settings() -> str:
    """Every program names all that is missing in one go."""
    bare = {"PATH": os.environ["PATH"], "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "AWS_LAMBDA_FUNCTION_NAME": "proof"}
    for name in PROGRAMS:
        done = subprocess.run([program(name)], env=bare, capture_output=True, text=True, timeout=120)
        said = done.stdout + done.stderr
        unnamed = [setting for setting in SETTINGS if setting not in said]
        expect(done.returncode != 0 and not unnamed, f"{name} ({done.returncode}) does not name {unnamed}: {said[-800:]}")
        expect("WL0801" in said, f"{name} gives the code: {said[-800:]}")
    return f"{len(PROGRAMS)} programs name all missing settings together"


def address_taken() -> str:
    """An agent that can not tell how it does takes no work."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        given = dict.fromkeys(SETTINGS, "proof") | {"WINDLASS_POOL": "manual", "WINDLASS_HEALTH_ADDR": address}
        bare = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": "http://127.0.0.1:9"} | given
        done = subprocess.run([program("windlass-agent")], env=bare, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    expect(done.returncode == 3 and "WL0802" in said and address in said, f"the agent ({done.returncode}) names it: {said[-800:]}")
    return "an agent whose health address is taken says so"


def wrong_parameter(stack: Stack) -> str:
    """A parameter that is wrong fails the deployment with a reason, and leaves the stack as it is."""
    import boto3

    cloudformation = boto3.client("cloudformation")
    template = (ROOT / "infra" / "template.yaml").read_text()
    name = f"{stack.name}-wrong"
    given = {"Name": "Not a name!", "CodeBucket": "code", "ProcessManagerCode": "a.zip", "CoordinatorCode": "b.zip"}
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    try:
        cloudformation.create_stack(StackName=name, TemplateBody=template, Parameters=parameters,
                                    Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"])
    except cloudformation.exceptions.ClientError as refused:
        said = refused.response["Error"]["Message"]
        expect("Name" in said, f"the refusal names the parameter: {said}")
        return "a wrong template parameter is refused by its name"
    events = lambda: cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = wait_for("the deployment to fail", lambda: [e for e in events() if "FAILED" in e["ResourceStatus"]])
    reason = failed[0].get("ResourceStatusReason", "")
    expect(reason != "", "the failed deployment has a reason")
    return f"a wrong template parameter fails the deployment ({reason[:60]})"
