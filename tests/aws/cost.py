#!/usr/bin/env python3
"""Measures what an action costs: runs workloads on a local AWS stack and adds up what its programs' meters logged.

  tests/aws/cost.py [--only NAME ...] [--scale F]   prints the tables of docs/performance.md

Every program logs what it asked of AWS in billed units (shared/aws/src/meter.rs). What no program sees, the event source
mapping's own receives and deletes, is counted from the invocations. Prices are those of docs/prices.json.
"""

import argparse
import collections
import concurrent.futures
import json
import math
import re
import signal
import sys
import time

import stack as stacks

stacks.in_venv()

from recovery import ENDED, wait_for  # noqa: E402

PRICES = json.loads((stacks.ROOT / "docs" / "prices.json").read_text())
REPORT = re.compile(r"Billed Duration: ([\d.]+) ms\tMemory Size: (\d+) MB")
# What an execution of Step Functions Express takes: its duration is billed, so one must be assumed.
ASSUMED_ACTION_S, EXPRESS_GB = 0.1, 64 / 1024


def chain(length: int) -> str:
    lines = [f"  a{n}: {{ {f'needs: [a{n - 1}], ' if n else ''}exec: ['true'] }}" for n in range(length)]
    return "task: chain\nactions:\n" + "\n".join(lines) + "\n"


DIAMOND = """task: diamond
actions:
  a: { exec: ['true'] }
  b: { needs: [a], exec: ['true'] }
  c: { needs: [a], exec: ['true'] }
  d: { needs: [b, c], exec: ['true'] }
"""


def fan(width: int) -> str:
    names = [f"w{n}" for n in range(width)]
    lines = [f"  {name}: {{ exec: ['true'] }}" for name in names]
    return f"task: fan-{width}\nactions:\n" + "\n".join(lines) + f"\n  join: {{ needs: [{', '.join(names)}], exec: ['true'] }}\n"


# Name, definition, actions a run, runs, runs in a row for a competitor's critical path.
WORKLOADS = {
    "chain of 5": (chain(5), 5, 300, 5),
    "diamond": (DIAMOND, 4, 300, 3),
    "fan of 100": (fan(100), 101, 30, 2),
    "fan of 1,000": (fan(1000), 1001, 5, 2),
    "fan of 10,000": (fan(10_000), 10_001, 1, 2),
}


class Counted:
    """Requests and billed units by service and operation."""

    def __init__(self):
        self.requests: collections.Counter = collections.Counter()
        self.units: collections.Counter = collections.Counter()

    def add(self, key: tuple[str, str], requests: float, units: float) -> None:
        self.requests[key] += requests
        self.units[key] += units

    def add_lines(self, lines) -> None:
        for line in lines:
            if "meter.entries" not in line or "{" not in line:
                continue
            said = json.loads(line[line.index("{") :])
            said = said.get("fields", said)
            for entry in json.loads(said["meter.entries"]):
                operation = entry["operation"] + (f" ({entry['index']})" if entry.get("index") else "")
                self.add((entry["service"], operation), entry["requests"], entry["units"])


def price(key: tuple[str, str]) -> float:
    """Dollars a unit of that operation."""
    service, operation = key
    aws = {name: entry["usd_per_million"] / 1e6 for name, entry in PRICES["aws"].items()}
    reads = ("GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems")
    match service:
        case "SQS":
            return aws["sqs_request"]
        case "DynamoDB":
            return aws["dynamodb_read_unit" if operation.split()[0] in reads else "dynamodb_write_unit"]
        case "EventBridge":
            return aws["eventbridge_event"]
        case "Lambda":
            return aws["lambda_arm_gb_second" if operation == "GB-seconds" else "lambda_request"]
        case "Scheduler":
            return 0.0  # writing a schedule is free; one that fires is billed
        case "S3":
            return aws["s3_get" if operation.startswith(("Get", "Head")) else "s3_put"]
    raise ValueError(f"no price for {key}")


def measure(stack: stacks.Stack, name: str, scale: float) -> tuple[Counted, dict]:
    text, actions, runs, _ = WORKLOADS[name]
    runs = max(1, round(runs * scale))
    task = re.search(r"^task: (\S+)", text)[1]
    stack.apply(text)
    agent = stack.agent("default", slots=100)
    agent_log = stack.folder / "agent-default.log"
    wait_for("the agent to register", lambda: stack.agent_id(agent), 30)
    settle(stack)
    logged_before, since = agent_log.stat().st_size, int(time.time() * 1000)
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: stack.start(task)["id"], range(runs)))
    submitted_ms = int(time.time() * 1000)
    last = ids[-1]
    left = set(ids)

    def all_ended() -> bool:
        time.sleep(1)
        if stack.depth("inbox") + stack.depth("pool-default") > 0:
            return False
        left.difference_update(run for run in list(left) if stack.run(run)["status"] in ENDED)
        return not left

    wait_for(f"{runs} runs of {task} to end", all_ended, 900)
    took = time.monotonic() - started
    expect_succeeded(stack, last)
    settle(stack)
    agent.send_signal(signal.SIGTERM)
    agent.wait(timeout=60)
    counted = Counted()
    with open(agent_log, errors="replace") as log:
        log.seek(logged_before)
        counted.add_lines(log)
    manager = stack.log_lines("process-manager", since)
    counted.add_lines(manager)
    # Only the submissions: reading how the runs are doing is the test's own.
    coordinator = [line for line in stack.log_lines("coordinator", since, submitted_ms)]
    counted.add_lines(coordinator)
    invocations = add_lambda(counted, manager, "process-manager") + add_lambda(counted, coordinator, "coordinator")
    batches = sum("REPORT" in line for line in manager)
    # An event source mapping receives a batch by one request and deletes it by one.
    counted.add(("SQS", "ReceiveMessage (mapping)"), batches, batches)
    counted.add(("SQS", "DeleteMessageBatch (mapping)"), batches, batches)
    return counted, {"actions": actions * runs, "runs": runs, "took": took, "invocations": invocations}


def expect_succeeded(stack: stacks.Stack, run: str) -> None:
    status = stack.run(run)["status"]
    if status != "succeeded":
        raise SystemExit(f"the run {run} ended {status}")


def settle(stack: stacks.Stack) -> None:
    """Waits until nothing is under way."""
    wait_for("the queues to be empty", lambda: stack.depth("inbox") + stack.depth("pool-default") == 0, 120)
    time.sleep(2)


def add_lambda(counted: Counted, lines: list[str], function: str) -> int:
    reports = [(float(ms), float(mb)) for line in lines for ms, mb in REPORT.findall(line)]
    counted.add(("Lambda", f"Invoke {function}"), len(reports), len(reports))
    gb_seconds = sum(math.ceil(ms) / 1000 * mb / 1024 for ms, mb in reports)
    counted.add(("Lambda", "GB-seconds"), 0, gb_seconds)
    return len(reports)


def others(name: str) -> dict[str, float]:
    """Dollars per million actions of other products, by their published rules, the work itself apart."""
    _, actions, _, path = WORKLOADS[name]
    usd = {key: entry["usd_per_million"] for key, entry in PRICES["others"].items()}
    express_s = math.ceil(path * ASSUMED_ACTION_S * 10) / 10
    express = usd["step_functions_express_request"] + express_s * EXPRESS_GB * usd["step_functions_express_gb_second"]
    return {
        "Step Functions Standard": usd["step_functions_standard"],
        "Step Functions Express": express / actions,
        "Temporal Cloud": usd["temporal_cloud_action"] * (actions + 1) / actions,
        "Lambda durable functions": usd["lambda_durable_operation"] * (actions + 1) / actions,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer runs")
    parser.add_argument("--json", help="writes what was counted to this file")
    options = parser.parse_args()
    stack = stacks.Stack(agents=0, WINDLASS_METER_READS="sized")
    measured = {}
    try:
        for name in options.only:
            counted, facts = measure(stack, name, options.scale)
            measured[name] = (counted, facts)
            print_workload(name, counted, facts)
    finally:
        stack.down()
    print_summary(measured)
    if options.json:
        dump = {n: {"facts": f, "requests": text_keys(c.requests), "units": text_keys(c.units)} for n, (c, f) in measured.items()}
        with open(options.json, "w") as out:
            json.dump(dump, out, indent=1)
    return 0


def text_keys(counter: collections.Counter) -> dict[str, float]:
    return {" ".join(key): value for key, value in counter.items()}


def print_workload(name: str, counted: Counted, facts: dict) -> None:
    actions = facts["actions"]
    print(f"\n{name}: {facts['runs']} runs, {actions:,} actions in {facts['took']:.0f} s", flush=True)
    print("| service | operation | requests an action | units an action | $ per million actions |")
    print("|---|---|---|---|---|")
    for key in sorted(set(counted.requests) | set(counted.units)):
        usd = counted.units[key] / actions * price(key) * 1e6
        print(f"| {key[0]} | {key[1]} | {counted.requests[key] / actions:.4f} | {counted.units[key] / actions:.4f} | {usd:.3f} |")
    print(f"| total | | | | {total(counted) / actions * 1e6:.3f} |", flush=True)


def total(counted: Counted, service: str | None = None) -> float:
    return sum(units * price(key) for key, units in counted.units.items() if service in (None, key[0]))


def print_summary(measured: dict) -> None:
    services = ("SQS", "DynamoDB", "EventBridge", "Lambda", "S3")
    names = list(others("chain of 5"))
    print("\n| workload | " + " | ".join(services) + " | Windlass | " + " | ".join(names) + " |")
    print("|---" * (2 + len(services) + len(names)) + "|")
    for name, (counted, facts) in measured.items():
        by = [f"{total(counted, service) / facts['actions'] * 1e6:.2f}" for service in services]
        theirs = [f"{usd:.2f}" for usd in others(name).values()]
        whole = f"**{total(counted) / facts['actions'] * 1e6:.2f}**"
        print(f"| {name} | " + " | ".join([*by, whole, *theirs]) + " |")


if __name__ == "__main__":
    sys.exit(main())
