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

from recovery import wait_for  # noqa: E402

PRICES = json.loads((stacks.ROOT / "docs" / "prices.json").read_text())
REPORT = re.compile(r"Billed Duration: ([\d.]+) ms\tMemory Size: (\d+) MB")
# So long nothing may be under way before a workload counts as ended.
QUIET_S = 3.0
# So long the message that completes a start is held back (shared/engine/src/submit.rs).
HELD_BACK_S = 60
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


# By name: the definition, actions a run, runs, and actions one after another, which is what a run takes at least.
WORKLOADS = {
    "chain of 5": (chain(5), 5, 300, 5),
    "diamond": (DIAMOND, 4, 300, 3),
    "fan of 100": (fan(100), 101, 30, 2),
    "fan of 1,000": (fan(1000), 1001, 5, 2),
    # With its join that is as many actions as a task may have.
    "fan of 9,999": (fan(9_999), 10_000, 1, 2),
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
                if entry["service"] == "Lambda":
                    continue  # counted by the function's own reports, which have the duration too
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
            return aws["lambda_arm_gb_second" if operation.startswith("GB") else "lambda_request"]
        case "API":
            return aws["http_api_request"]
        case "Logs":
            return aws["log_gb"] / 1e9
        case "Scheduler":
            return 0.0  # writing a schedule is free; one that fires is billed
        case "S3":
            return aws["s3_get" if operation.startswith(("Get", "Head")) else "s3_put"]
    raise ValueError(f"no price for {key}")


class Measured:
    """What a workload asked of AWS: for its work, for submitting its runs by the API, and for the messages that would
    have completed their starts. A run is created by the latter two."""

    def __init__(self, name: str, runs: int):
        self.name, self.runs, self.actions = name, runs, WORKLOADS[name][1] * runs
        self.work, self.submission, self.starts = Counted(), Counted(), Counted()
        self.took_s, self.items, self.largest_item = 0.0, 0, 0

    def creation_usd(self) -> float:
        """Dollars for the creation of a million runs, logs apart."""
        parts = (self.usd(*SERVICES, "API", counted=counted) for counted in (self.submission, self.starts))
        return sum(parts) * self.actions / self.runs

    def usd(self, *services: str, counted: Counted | None = None) -> float:
        """Dollars per million actions."""
        units = (counted or self.work).units
        return sum(n * price(key) for key, n in units.items() if key[0] in services) / self.actions * 1e6


def measure(stack: stacks.Stack, name: str, scale: float) -> Measured:
    text, _, runs, _ = WORKLOADS[name]
    measured = Measured(name, max(1, round(runs * scale)))
    task = re.search(r"^task: (\S+)", text)[1]
    stack.apply(text)
    agent = stack.agent("default", slots=100)
    wait_for("the agent to register", lambda: stack.agent_id(agent), 30)
    settle(stack)
    agent_log = stack.folder / "agent-default.log"
    logged_before, since = agent_log.stat().st_size, int(time.time() * 1000)
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: stack.start(task)["id"], range(measured.runs)))
    submitted = int(time.time() * 1000)
    settle(stack)
    worked = int(time.time() * 1000)
    measured.took_s = time.monotonic() - started - QUIET_S
    agent.send_signal(signal.SIGTERM)
    agent.wait(timeout=60)
    settle(stack, delayed=True)
    with open(agent_log, errors="replace") as log:
        log.seek(logged_before)
        add_program(measured.work, log.readlines())
    # A start is held back for a minute. One that came while there was work is counted with the work.
    add_manager(measured.work, stack.log_lines("process-manager", since, worked))
    add_manager(measured.starts, stack.log_lines("process-manager", worked + 1))
    # Only the submissions: reading how the runs are doing is the test's own.
    coordinator = stack.log_lines("coordinator", since, submitted)
    add_program(measured.submission, coordinator)
    calls = add_lambda(measured.submission, coordinator, "coordinator")
    measured.submission.add(("API", "request"), calls, calls)
    for run in ids:
        if (status := stack.run(run)["status"]) != "succeeded":
            raise SystemExit(f"the run {run} of {name} is {status}")
    sizes = item_sizes(stack, ids[-1])
    measured.items, measured.largest_item = len(sizes), max(sizes)
    return measured


def add_manager(counted: Counted, lines: list[str]) -> None:
    add_program(counted, lines)
    batches = add_lambda(counted, lines, "process-manager")
    # An event source mapping receives a batch by one request and deletes it by one; no program sees that.
    for operation in ("ReceiveMessage", "DeleteMessageBatch"):
        counted.add(("SQS", f"{operation} (mapping)"), batches, batches)


def add_program(counted: Counted, lines: list[str]) -> None:
    counted.add_lines(lines)
    # CloudWatch Logs counts 26 bytes for each event beside its text.
    counted.add(("Logs", "bytes"), 0, sum(len(line.encode()) + 26 for line in lines))


def settle(stack: stacks.Stack, delayed: bool = False) -> None:
    """Waits until nothing is under way for a while; `delayed`: and nothing is held back either."""
    quiet_since = time.monotonic()
    until = time.monotonic() + 900
    while time.monotonic() < until:
        if sum(stack.depth(queue, delayed) for queue in ("inbox", "claims", "pool-default")) > 0:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > QUIET_S:
            return
        time.sleep(0.5)
    raise SystemExit("the queues are not empty after 15 minutes")


def item_sizes(stack: stacks.Stack, run: str) -> list[int]:
    """Bytes of the items that keep a run, as DynamoDB counts them: names and values."""
    pages = stack.dynamodb.get_paginator("scan").paginate(TableName=stack.name, FilterExpression="contains(pk, :run)",
                                                          ExpressionAttributeValues={":run": {"S": run}})
    return [sum(len(name) + value_size(value) for name, value in item.items()) for page in pages for item in page["Items"]]


def value_size(value: dict) -> int:
    (kind, inner), = value.items()
    match kind:
        case "S":
            return len(inner.encode())
        case "B":
            return len(inner)
        case "N":
            return (len(inner.strip("-").replace(".", "")) + 1) // 2 + 1
        case "L":
            return 3 + sum(1 + value_size(entry) for entry in inner)
        case "M":
            return 3 + sum(1 + len(name) + value_size(entry) for name, entry in inner.items())
        case "SS" | "NS" | "BS":
            return sum(map(len, inner))
    return 1


def add_lambda(counted: Counted, lines: list[str], function: str) -> int:
    """Invocations and their GB-seconds. The function's own measure is taken where it has one: the emulator waits a
    tenth of a second after each invocation for what it has still to log."""
    reports = [(float(ms), float(mb)) for line in lines for ms, mb in REPORT.findall(line)]
    durations = [ms for ms, _ in reports]
    if own := [ms for line in lines if '"InvocationMs"' in line for ms in own_durations(line)]:
        durations = own
    megabytes = reports[0][1] if reports else 0
    counted.add(("Lambda", f"Invoke {function}"), len(reports), len(reports))
    counted.add(("Lambda", f"GB-seconds {function}"), 0, sum(map(math.ceil, durations)) / 1000 * megabytes / 1024)
    return len(reports)


def own_durations(line: str) -> list[float]:
    said = json.loads(line[line.index("{") :]).get("InvocationMs", [])
    return said if isinstance(said, list) else [said]


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
    options = parser.parse_args()
    # Ten thousand messages take this machine longer to send than an invocation has on the local stack.
    stack = stacks.Stack("default:0", ProcessManagerTimeout="120")
    measured = []
    try:
        for name in options.only:
            measured.append(measure(stack, name, options.scale))
            print_workload(measured[-1])
    finally:
        stack.down()
        print_summary(measured)
    stack.forget()
    return 0


def print_workload(measured: Measured) -> None:
    actions = measured.actions
    print(f"\n{measured.name}: {measured.runs} runs, {actions:,} actions in {measured.took_s:.0f} s; "
          f"{measured.items} items a run, the largest {measured.largest_item:,} bytes")
    print("\n| of | service | operation | requests an action | units an action | $ per million actions |")
    print("|---|---|---|---|---|---|")
    for of, counted in (("work", measured.work), ("submission", measured.submission), ("start", measured.starts)):
        for key in sorted(counted.units):
            requests, units = counted.requests[key] / actions, counted.units[key] / actions
            print(f"| {of} | {key[0]} | {key[1]} | {requests:.4f} | {units:.4f} | {units * price(key) * 1e6:.3f} |", flush=True)


SERVICES = ("SQS", "DynamoDB", "EventBridge", "Lambda", "S3")


def print_summary(measured: list[Measured]) -> None:
    names = list(others("chain of 5"))
    heads = ["workload", *SERVICES, "Windlass", "submission", "logs", *names]
    print("\nDollars per million actions:\n\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for it in measured:
        figures = [it.usd(service) for service in SERVICES]
        beside = [it.usd(*SERVICES, "API", counted=it.submission), it.usd("Logs") + it.usd("Logs", counted=it.submission)]
        cells = [*(f"{usd:.2f}" for usd in figures), f"**{sum(figures):.2f}**", *(f"{usd:.2f}" for usd in beside),
                 *(f"{usd:.2f}" for usd in others(it.name).values())]
        print(f"| {it.name} | " + " | ".join(cells) + " |")
    for it in measured:
        late = ". Some starts came while there was work, and are counted with it" if it.took_s + QUIET_S > HELD_BACK_S else ""
        print(f"\n{it.name}: the creation of a million runs costs ${it.creation_usd():.2f}{late}.")


if __name__ == "__main__":
    sys.exit(main())
