#!/usr/bin/env python3
"""A subsystem that hears of every event: a rule on the bus, a queue of its own, and the published schema. Needs boto3
and jsonschema.

WINDLASS_NAME=windlass python3 subscriber.py [--types run.succeeded,run.failed] [--seconds 60] > events.jsonl
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import time

import boto3
import jsonschema

SCHEMA = pathlib.Path(__file__).resolve().parents[3] / "schemas" / "event.v1.schema.json"
# An id that is older than this is forgotten: it is repeated within seconds, if at all.
REMEMBERED = 200_000


class Subscription:
    """A queue that gets every event that fits the pattern, for as long as the subscription lives."""

    def __init__(self, name: str, subscriber: str, types: list[str] | None = None):
        self.sqs, self.events = boto3.client("sqs"), boto3.client("events")
        self.bus, self.rule = name, f"{name}-{subscriber}"
        self.url = self.sqs.create_queue(QueueName=self.rule)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        pattern = {"source": ["windlass"]} | ({"detail-type": types} if types else {})
        rule = self.events.put_rule(Name=self.rule, EventBusName=self.bus, EventPattern=json.dumps(pattern))
        allowed = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
                   "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": rule["RuleArn"]}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})
        target = {"Id": "queue", "Arn": arn}
        failed = self.events.put_targets(Rule=self.rule, EventBusName=self.bus, Targets=[target])["FailedEntryCount"]
        if failed:
            raise SystemExit("the queue could not be made a target of the rule")
        self.validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
        self.seen: dict[str, None] = {}
        self.repeats = 0

    def receive(self, wait_s: int = 1) -> list[dict]:
        """Some events that were not heard of before, each valid by the published schema."""
        got = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
        messages = got.get("Messages", [])
        fresh = [event for event in map(self.read, messages) if event is not None]
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
        return fresh

    def read(self, message: dict) -> dict | None:
        envelope = json.loads(message["Body"])
        event = envelope["detail"]
        self.validator.validate(event)
        if envelope["detail-type"] != event["type"]:
            raise ValueError(f"the detail-type is {envelope['detail-type']}, the event's {event['type']}")
        if event["id"] in self.seen:
            self.repeats += 1
            return None
        self.seen[event["id"]] = None
        if len(self.seen) > REMEMBERED:
            del self.seen[next(iter(self.seen))]
        return event

    def end(self) -> None:
        self.events.remove_targets(Rule=self.rule, EventBusName=self.bus, Ids=["queue"])
        self.events.delete_rule(Name=self.rule, EventBusName=self.bus)
        self.sqs.delete_queue(QueueUrl=self.url)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscriber", default="subscriber", help="its name, and its queue's")
    parser.add_argument("--types", help="only events of these types")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long to listen")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    types = options.types.split(",") if options.types else None
    subscription = Subscription(os.environ.get("WINDLASS_NAME", "windlass"), options.subscriber, types)
    until = time.monotonic() + options.seconds
    try:
        while time.monotonic() < until:
            for event in subscription.receive():
                print(json.dumps(event), flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        subscription.end()


if __name__ == "__main__":
    main()
