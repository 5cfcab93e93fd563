"""Runs ministack with what it lacks put in: every difference to AWS that Windlass would meet is mended here and nowhere else.

    python emulator.py FOLDER      writes what each Lambda prints to FOLDER/FUNCTION.log, while it prints it

`up` starts it as a process of its own. Its settings are ministack's (GATEWAY_PORT, BIND_HOST...), from the environment. Each
mend names its gap; they are written for the version that requirements.txt pins.
"""

import functools
import json
import pathlib
import sys
import threading
import time
import uuid
import zoneinfo
from datetime import datetime, timezone

from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import eventbridge, iam, lambda_svc, scheduler, sqs

TICK_SECONDS = 1


def main() -> None:
    logs = pathlib.Path(sys.argv.pop(1)).resolve()
    take_numbers_as_numbers()
    authorize_as_aws_does()
    name_senders()
    write_logs_while_they_are_printed(logs)
    tick_each_second()
    scheduler._tick_schedules = Schedules().tick
    app.main()


def take_numbers_as_numbers() -> None:
    """Gap: CloudFormation hands a Number parameter on as text, and a mapping's MaximumConcurrency is compared with a number."""
    allowed = lambda_svc._sqs_esm_concurrency

    def with_numbers(esm, *rest):
        scaling = esm.get("ScalingConfig") or {}
        if isinstance(scaling.get("MaximumConcurrency"), str):
            scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        return allowed(esm, *rest)

    lambda_svc._sqs_esm_concurrency = with_numbers


def write_logs_while_they_are_printed(folder: pathlib.Path) -> None:
    """Gap: what a Lambda prints is seen when its invocation has ended, and never when it was killed."""
    pump = lambda_runtime.ProvidedWorker._pump_output

    def pump_and_write(worker, stream, queue):
        with open(folder / f"{worker.func_name}.log", "ab", buffering=0) as log:
            pump(worker, Copied(stream, log), queue)

    lambda_runtime.ProvidedWorker._pump_output = pump_and_write


class Copied:
    """A stream of lines, each of which goes to a file too. Appending whole lines keeps those of several processes apart."""

    def __init__(self, stream, log):
        self.stream, self.log = stream, log

    def readline(self):
        line = self.stream.readline()
        self.log.write(line)
        return line

    def close(self):
        self.stream.close()


def authorize_as_aws_does() -> None:
    """Gaps: see each of those that are put in."""
    put_around(iam_actions, "extract_iam_action", action_of_single_call)
    put_around(iam_actions, "extract_resource_arn", schedule_of_its_group)
    put_around(iam_actions, "dynamodb_service_context", with_leading_keys)
    put_around(app, "pin_request_origin", loopback_as_tls)


def put_around(module, name: str, outer) -> None:
    setattr(module, name, functools.partial(outer, getattr(module, name)))


def action_of_single_call(asked, service, *rest):
    """Gap: a batch asks for an action of its own, where on AWS it needs that of its single call:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    """
    action = asked(service, *rest)
    return action.removesuffix("Batch") if service == "sqs" and action else action


def schedule_of_its_group(asked, service, method, path, headers, body, query_params, *rest):
    """Gap: every schedule is taken for one of the group `default`."""
    arn = asked(service, method, path, headers, body, query_params, *rest)
    if service != "scheduler" or ":schedule/default/" not in arn:
        return arn
    named = query_params.get("groupName") or json.loads(body or b"{}").get("GroupName") or "default"
    group = named[0] if isinstance(named, list) else named
    return arn.replace(":schedule/default/", f":schedule/{group}/")


def with_leading_keys(asked, body):
    """Gaps: `dynamodb:LeadingKeys`, the partitions that a request writes or gets, is not known. `dynamodb:Attributes` lacks
    those of an item that is put. Our table's key is `pk`.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    context = asked(body)
    named = list(items_and_keys(json.loads(body or b"{}")))
    keys = [item["pk"]["S"] for item in named if "pk" in item]
    attributes = sorted({*context.get("dynamodb:Attributes", []), *(attribute for item in named for attribute in item)})
    return context | ({"dynamodb:LeadingKeys": keys} if keys else {}) | ({"dynamodb:Attributes": attributes} if attributes else {})


def items_and_keys(value):
    """What a request puts, gets or deletes: `Item` and `Key` of one, `Keys` of a batch, in a transaction each of its parts."""
    if isinstance(value, list):
        for inner in value:
            yield from items_and_keys(inner)
    elif isinstance(value, dict):
        for part, inner in value.items():
            if part in ("Item", "Key"):
                yield inner or {}
            elif part == "Keys":
                yield from inner
            else:
                yield from items_and_keys(inner)


def name_senders() -> None:
    """Gap: the attribute `SenderId` of every message is the account. On AWS it is the id of who sent the message: of a role
    `ROLE-ID:SESSION`, of a user the user's id.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
    """
    put_around(sqs, "_build_send_sys_attrs", with_sender)
    put_around(lambda_svc, "_run_sqs_batch", with_senders_of_batch)


def with_sender(asked, *given):
    return asked(*given) | {"SenderId": sender_id(iam_evaluator.caller_arn())}


def sender_id(arn: str) -> str:
    account, kind_and_name = arn.split(":")[4], arn.split(":", 5)[5]
    kind, _, name = kind_and_name.partition("/")
    if kind == "assumed-role":
        role, _, session = name.partition("/")
        return f"{(iam._roles.get(role) or {}).get('RoleId', role)}:{session}"
    if kind == "user":
        return (iam._users.get(name.rpartition("/")[2]) or {}).get("UserId", name)
    return account


def with_senders_of_batch(run, esm, function, event, batch, *rest):
    """The same for the messages that a Lambda gets."""
    senders = {message["id"]: message["sys"]["SenderId"] for message in batch}
    for record in event["Records"]:
        record["attributes"]["SenderId"] = senders[record["messageId"]]
    return run(esm, function, event, batch, *rest)


def loopback_as_tls(asked, address, secure):
    """Gap: plain HTTP over this machine's own network counts as a way that others listen on, so that a bucket that wants TLS
    refuses everything."""
    return asked(address, secure or address == "127.0.0.1")


def tick_each_second() -> None:
    """Gap: schedules and scheduled rules are looked at every 10 s."""
    scheduler._SCHEDULE_TICK_INTERVAL = TICK_SECONDS
    eventbridge._SCHEDULER_TICK_INTERVAL = TICK_SECONDS


class Schedules:
    """Gaps: a schedule's time zone is ignored, its target's input keeps `<aws.scheduler...>` as it stands, and a recurring
    schedule drifts, because its next time is counted from when it was looked at rather than from when it was due. What a
    queue does not take is dropped, where AWS puts it into the schedule's dead-letter queue.

    The rules: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html and
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """

    def __init__(self):
        self.lock = threading.Lock()
        # Key of a schedule -> (what makes it this schedule, the time that it was last due or else began).
        self.seen: dict[tuple, tuple[tuple, float]] = {}

    def tick(self) -> None:
        now = time.time()
        with self.lock:
            stored = dict(scheduler._schedules._data)
            self.seen = {key: seen for key, seen in self.seen.items() if key in stored}
            for key, schedule in stored.items():
                self.fire_if_due(key, schedule, now)

    def fire_if_due(self, key: tuple, schedule: dict, now: float) -> None:
        if schedule.get("State") != "ENABLED":
            self.seen[key] = (identity(schedule), now)
            return
        due = next_time(schedule, self.last_time(key, schedule, now))
        end = scheduler._to_epoch(schedule.get("EndDate"))
        over = due is None or (end is not None and due > end)
        if not over and due <= now:
            self.seen[key] = (identity(schedule), due)
            send(key, schedule, due)
            over = is_one_time(schedule)
        if over and schedule.get("ActionAfterCompletion") == "DELETE":
            scheduler._schedules._data.pop(key, None)

    def last_time(self, key: tuple, schedule: dict, now: float) -> float:
        """A schedule that is new counts from its creation, one that was changed from now."""
        known, last = self.seen.get(key, (None, None))
        if known != identity(schedule):
            created = scheduler._to_epoch(schedule.get("CreationDate")) or now
            last = created if known is None else now
            self.seen[key] = (identity(schedule), last)
        return last


def identity(schedule: dict) -> tuple:
    """What makes a changed or new schedule of the same name another one to the clock."""
    return tuple(str(schedule.get(field)) for field in ("ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "CreationDate"))


def is_one_time(schedule: dict) -> bool:
    return schedule.get("ScheduleExpression", "").strip().startswith("at(")


def next_time(schedule: dict, after: float) -> float | None:
    """The first time after this one that the schedule is due, in seconds, or none."""
    expression = schedule.get("ScheduleExpression", "").strip()
    zone = zoneinfo.ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")
    start = scheduler._to_epoch(schedule.get("StartDate")) or 0
    if is_one_time(schedule):
        # Whole seconds: what was made in the second that it names is due.
        at = datetime.fromisoformat(expression[len("at("):-1]).replace(tzinfo=zone).timestamp()
        return at if at > after - 1 and at != after else None
    interval = eventbridge._parse_rate_seconds(expression)
    if interval is not None:
        return start if start > after else after + interval
    fields = eventbridge._parse_cron_fields(expression)
    return next_cron_time(fields, zone, max(after, start - 1)) if fields else None


def next_cron_time(fields, zone: zoneinfo.ZoneInfo, after: float) -> float | None:
    """By the wall clock: a time that the clocks skip is skipped, one that they repeat comes once."""
    # The walk is over wall clock times; ministack's function wants them to say UTC.
    wall = datetime.fromtimestamp(after, zone).replace(tzinfo=timezone.utc)
    while (wall := eventbridge._cron_next_fire(fields, wall)) is not None:
        due = wall.replace(tzinfo=zone, fold=0)
        exists = due.astimezone(timezone.utc).astimezone(zone).replace(tzinfo=timezone.utc) == wall
        if exists and due.timestamp() > after:
            return due.timestamp()
    return None


def send(key: tuple, schedule: dict, due: float) -> None:
    account, region, _name = key
    previous = scheduler.get_account_id(), scheduler.get_region(), iam_evaluator.caller_arn()
    scheduler.set_request_account_id(account)
    scheduler.set_request_region(region)
    target = schedule.get("Target") or {}
    role = target.get("RoleArn", "").rpartition("/")[2]
    iam_evaluator._request_caller_arn.set(f"arn:aws:sts::{account}:assumed-role/{role}/scheduler")
    body = with_context(target.get("Input", ""), schedule, due)
    try:
        failure = put_into_queue(target.get("Arn", ""), body, {})
        given_up = (target.get("DeadLetterConfig") or {}).get("Arn")
        if failure and given_up:
            put_into_queue(given_up, body, dead_letter_attributes(schedule, due, failure))
    finally:
        scheduler.set_request_account_id(previous[0])
        scheduler.set_request_region(previous[1])
        iam_evaluator._request_caller_arn.set(previous[2])


def put_into_queue(arn: str, body: str, attributes: dict[str, str]) -> Exception | None:
    """Why it failed, if it did. Our schedules have no other targets than queues."""
    told = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    try:
        sqs._act_send_message({"MessageBody": body, "MessageAttributes": told}, sqs._queue_url(arn.rpartition(":")[2]))
    except sqs._Err as error:
        return error
    return None


def dead_letter_attributes(schedule: dict, due: float, failure: Exception) -> dict[str, str]:
    """What Scheduler says of a message that it gives up. A queue that is not there is not tried again."""
    return {
        "ERROR_CODE": getattr(failure, "code", type(failure).__name__),
        "ERROR_MESSAGE": str(failure) or "no message",
        "EXECUTION_ID": str(uuid.uuid4()),
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": "0",
        "SCHEDULED_TIME": rfc3339(due),
        "SCHEDULE_ARN": schedule.get("Arn", ""),
        "TARGET_ARN": (schedule.get("Target") or {}).get("Arn", ""),
    }


def rfc3339(time_of: float) -> str:
    return datetime.fromtimestamp(int(time_of), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_context(text: str, schedule: dict, due: float) -> str:
    values = {
        "scheduled-time": rfc3339(due),
        "schedule-arn": schedule.get("Arn", ""),
        "execution-id": str(uuid.uuid4()),
        "attempt-number": "1",
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


if __name__ == "__main__":
    main()
