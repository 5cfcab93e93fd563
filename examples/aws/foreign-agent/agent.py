#!/usr/bin/env python3
"""An agent in Python for a pool of its own, written from docs/agent-protocol.md alone. Needs boto3."""

import concurrent.futures
import json
import os
import signal
import sys
import threading
import time
import uuid

import boto3

NAME, POOL = os.environ.get("WINDLASS_NAME", "windlass"), os.environ.get("WINDLASS_POOL", "python")
SLOTS = min(10, int(os.environ.get("WINDLASS_SLOTS", "4")))
VISIBILITY_S, STARTED_AFTER_S, MAX_RECEIVES = 30, 2, 20
AGENT = f"python-{uuid.uuid4().hex[:12]}"

sqs = boto3.client("sqs")
pool = sqs.get_queue_url(QueueName=f"{NAME}-pool-{POOL}")["QueueUrl"]
inbox = sqs.get_queue_url(QueueName=f"{NAME}-inbox")["QueueUrl"]
draining = threading.Event()


class Failure(Exception):
    """Its kind, and what happened."""


def upper(given):
    """The work of this pool: waits, then gives the text in capitals. It may be done twice without harm."""
    if not isinstance(given.get("text"), str):
        raise Failure("permanent.input", "`text` must be a text")
    time.sleep(given.get("seconds", 0))
    return {"text": given["text"].upper(), "agent": AGENT}


HANDLERS = {"upper": upper}


def report(message, **said):
    body = {"type": "run", "v": 1, "run": message["run"], "input": {"of": message["of"], **said}}
    sqs.send_message(QueueUrl=inbox, MessageBody=json.dumps(body))


def outcome_of(work):
    handler = HANDLERS.get(work.get("handler")) if work["facade"] == "native" else None
    try:
        if handler is None:
            raise Failure("native.unknown_handler", f"this pool performs {', '.join(HANDLERS)}")
        return {"result": "succeeded", "output": handler(work.get("input") or {})}
    except Failure as failure:
        kind, text = failure.args
    except Exception as error:
        kind, text = f"python.{type(error).__name__}", str(error)[:1000]
    return {"result": "failed", "error": {"kind": kind, "message": text}}


def keep(message, receipt, started_at, done):
    """Says once that the attempt has begun, and keeps its message hidden while it is performed."""
    if not done.wait(STARTED_AFTER_S):
        report(message, type="started", agent=AGENT, started_at=started_at)
    while not done.wait(VISIBILITY_S / 3):
        sqs.change_message_visibility(QueueUrl=pool, ReceiptHandle=receipt, VisibilityTimeout=VISIBILITY_S)


def perform(received):
    message, receipt = json.loads(received["Body"]), received["ReceiptHandle"]
    if message["v"] != 1:
        raise ValueError(f"a message of version {message['v']}")  # not deleted: its queue's redrive policy keeps it
    if int(received["Attributes"]["ApproximateReceiveCount"]) > MAX_RECEIVES:
        report(message, type="dead_lettered", reason=f"received more than {MAX_RECEIVES} times")
    else:
        started_at, done = int(time.time() * 1000), threading.Event()
        threading.Thread(target=keep, args=(message, receipt, started_at, done), daemon=True).start()
        outcome = outcome_of(message["work"])
        done.set()
        report(message, type="completed", agent=AGENT, started_at=started_at, outcome=outcome)
    sqs.delete_message(QueueUrl=pool, ReceiptHandle=receipt)


def slot():
    while not draining.is_set():
        try:
            got = sqs.receive_message(QueueUrl=pool, MaxNumberOfMessages=1, WaitTimeSeconds=5,
                                      VisibilityTimeout=VISIBILITY_S, AttributeNames=["ApproximateReceiveCount"])
            for received in got.get("Messages", []):
                perform(received)
        except Exception as error:  # a message that was not answered comes again
            print(f"{AGENT}: {error!r}", file=sys.stderr)
            time.sleep(1)


for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, lambda *_: draining.set())
with concurrent.futures.ThreadPoolExecutor(SLOTS) as slots:  # its end waits for what is running
    for _ in range(SLOTS):
        slots.submit(slot)
    draining.wait()
