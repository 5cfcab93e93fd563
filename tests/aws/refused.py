"""A story of a program that has the credentials of its agent and abuses them: what it does to another pool is refused."""

import json
import sys
import time

import boto3

from recovery import ENDED, PATIENCE_S, check_run, expect, wait_for
from stack import ROOT, Stack
from survival import folder_of

POOL, INTRUDERS = "guarded", "intruders"
# As on ECS. The agents here have keys as well, which SDKs take first.
CONTAINER = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/role", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "of-the-agent"}
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
# Where AWS is, and that the machine is not to be asked for its role (docs/exec.md).
NO_CREDENTIALS = {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED"}
SHOW = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
SHOWS = f"""
task: shows-its-environment
actions:
  by_default: {{ pool: {POOL}, exec: {json.dumps(SHOW)} }}
  inherited: {{ pool: {INTRUDERS}, exec: {json.dumps(SHOW)} }}
"""
GUARDED = """
task: guarded
defaults: {{ pool: {pool}, timeout: 10m }}
actions:
  work: {{ exec: [sh, -c, 'until [ -e "$1/over" ]; do sleep 0.1; done; echo done', sh, {folder}] }}
"""
INTRUSION = f"""
task: intrusion
actions:
  tries:
    pool: {INTRUDERS}
    timeout: 2m
    exec: {{ command: {json.dumps([sys.executable, "-B", str(ROOT / "tests/aws/intruder.py")])}, stdin: "${{{{ input }}}}" }}
"""


def program_is_refused(stack: Stack) -> str:
    """A program does not get its agent's credentials. One that does get them can do nothing to another pool's runs and agents."""
    # With one slot, a second run waits in the queue: nobody has its attempt yet.
    guard = stack.agent(POOL, slots=1, **CONTAINER)
    intruder = stack.agent(INTRUDERS, options=("--credentials", "inherit"), **CONTAINER)
    guard_id = wait_for("the pool's agent to register", lambda: stack.agent_id(guard))
    wait_for("the intruder's agent to register", lambda: stack.agent_id(intruder))
    inherited = environments(stack)

    folder = folder_of(stack, "refused")
    stack.apply(GUARDED.format(pool=POOL, folder=json.dumps(str(folder))))
    held = stack.start("guarded")["id"]
    wait_for("the first run to occupy the agent", lambda: work_of(stack, held)["agent"] == guard_id)
    waiting, vouched = (stack.start("guarded")["id"] for _ in range(2))
    # The message of an attempt that is performed stays until its end.
    wait_for("two attempts to wait", lambda: stack.depth(f"pool-{POOL}") == 3)

    report, drain = completed(waiting), json.dumps({"type": "drain", "v": 1, "deadline_ms": 30_000, "agent": guard_id})
    control = stack.queue(f"control-{POOL}-{guard_id}")
    refused = intrude(stack, {
        "table": stack.outputs["TableName"], "run": held, "pool": POOL, "agent": guard_id, "own_pool": INTRUDERS,
        "inbox": stack.queue("inbox"), "report": report, "control": control, "drain": drain,
    })
    letter = wait_for("the report to become a dead letter", lambda: letter_of(stack, report))
    expect("of its own pool" in letter["reason"], f"the dead letter says why: {letter}")

    # The same report counts if the pool's own role sends it, so nothing but its sender was refused.
    as_guard(stack).send_message(QueueUrl=stack.queue("inbox"), MessageBody=completed(vouched))
    wait_for("the pool's own report to be taken", lambda: stack.run(vouched)["status"] == "succeeded")
    expect(work_of(stack, vouched)["output"] == "reported", f"by its output: {stack.run(vouched)}")
    view = stack.run(waiting)
    expect((view["status"], work_of(stack, waiting)["status"]) == ("running", "queued"), f"the run stays open: {view}")
    mine = next(agent for agent in stack.call("GET", "/v1/agents")["agents"] if agent["id"] == guard_id)
    expect(not mine["draining"] and guard.poll() is None, f"the agent is not drained: {mine}")

    (folder / "over").touch()
    for run in (held, waiting):
        wait_for("the run to end by its own agent", lambda run=run: stack.run(run)["status"] in ENDED)
        expect((faults := check_run(stack, run)) == [], "\n".join(faults))
        work = work_of(stack, run)
        expect((work["agent"], work["output"], work["attempts"]) == (guard_id, "done", 1), f"its own agent performed it: {work}")
    wait_for("the pool to be empty", lambda: stack.depth(f"pool-{POOL}") == 0)
    # The drain was a good one, too: from who may send it, the agent obeys it.
    stack.sqs.send_message(QueueUrl=control, MessageBody=drain)
    intruder.terminate()
    for agent in (guard, intruder):
        expect(agent.wait(timeout=PATIENCE_S) == 0, "the agent drains and ends with 0")
    return (f"by default a program gets no credentials; one that inherited {inherited} variables of them was refused: "
            f"{refused}, and the report (a dead letter); both runs ended by their own agent")


def environments(stack: Stack) -> int:
    """What a program gets of its agent's credentials by default, and with `--credentials inherit`; how many variables that is."""
    stack.apply(SHOWS)
    run = stack.start("shows-its-environment")["id"]
    wait_for("the environments to be shown", lambda: stack.run(run)["status"] in ENDED)
    actions = stack.run(run)["actions"]
    kept, inherited = actions["by_default"]["output"], actions["inherited"]["output"]
    names = {name for name in kept if name.startswith(("AWS_", "ECS_"))}
    expect(names <= NO_CREDENTIALS, f"by default no credential is passed: {sorted(names)}")
    secrets = {stack.agent_environments[POOL][name] for name in KEYS} | set(CONTAINER.values())
    # Only the name of what leaks is told.
    leaks = [name for name, value in kept.items() if any(secret in value for secret in secrets)]
    expect(leaks == [], f"nor by another name: {leaks}")
    whole = {name: stack.agent_environments[INTRUDERS][name] for name in KEYS} | CONTAINER
    missing = [name for name, value in whole.items() if inherited.get(name) != value]
    expect(missing == [], f"`--credentials inherit` passes them: {missing}")
    return len(whole)


def work_of(stack: Stack, run: str) -> dict:
    return stack.run(run)["actions"]["work"]


def completed(run: str) -> str:
    """A report that ends the run's only action, if it counts: while nobody has the attempt, its first delivery may report."""
    said = {"type": "completed", "of": {"action": 0, "delivery": "1.0.1", "message": 1, "agent": "intruder"},
            "started_at": time.time_ns() // 1_000_000, "outcome": {"result": "succeeded", "output": "reported"}}
    return json.dumps({"type": "run", "v": 1, "run": run, "input": said})


def intrude(stack: Stack, given: dict) -> str:
    """Has an action of the other pool try all that; what AWS has refused, and by which codes."""
    stack.apply(INTRUSION)
    run = stack.start("intrusion", given)["id"]
    wait_for("the intruder to end", lambda: stack.run(run)["status"] in ENDED)
    tries = stack.run(run)["actions"]["tries"]
    expect(tries["status"] == "succeeded", f"the intruder could try: {tries}")
    done = {name for name, outcome in tries["output"].items() if outcome == "done"}
    expect(done == {"read the record", "delete from its own register", "report"}, f"nothing else is done: {tries['output']}")
    refused = {name: code for name, code in tries["output"].items() if name not in done}
    expect(all(code.startswith("AccessDenied") for code in refused.values()), f"it is denied by policy: {refused}")
    return ", ".join(f"{name} ({code})" for name, code in refused.items())


def letter_of(stack: Stack, body: str) -> dict | None:
    """The dead letter of that message, which is taken away. Others are left alone."""
    url = stack.queue("dead-letters")
    for message in stack.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=2).get("Messages", []):
        letter = json.loads(message["Body"])
        if letter.get("body") == body:
            stack.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return letter
    return None


def as_guard(stack: Stack):
    """SQS with the role of the pool that is intruded upon."""
    own = stack.agent_environments[POOL]
    return boto3.client("sqs", aws_access_key_id=own["AWS_ACCESS_KEY_ID"], aws_secret_access_key=own["AWS_SECRET_ACCESS_KEY"],
                        aws_session_token=own["AWS_SESSION_TOKEN"])
