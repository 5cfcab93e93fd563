#!/usr/bin/env python3
"""An agent in Python for a pool of its own, written from docs/agent-protocol.md alone. Needs boto3."""
import contextlib, functools, itertools, json, os, signal, sys, threading, time, uuid, zlib  # noqa: E401
from concurrent.futures import ThreadPoolExecutor, wait
import boto3

NAME, POOL = os.environ.get("WINDLASS_NAME", "windlass"), os.environ.get("WINDLASS_POOL", "python")
SLOTS, AGENT = min(10, int(os.environ.get("WINDLASS_SLOTS", "4"))), f"py-{uuid.uuid4().hex[:12]}"
CONTROL = f"{NAME}-control-{POOL.replace('_', '__').replace('-', '_h')}-{AGENT}"  # at most 77 characters
VISIBILITY_S, ASK_EVERY_S, LEASE_S, RENEW_AFTER_S = 30, 5, 600, float(os.environ.get("WINDLASS_RENEW_AFTER_S", 28800))
sqs, numbers, lock, workers = boto3.client("sqs"), itertools.count(1), threading.Lock(), ThreadPoolExecutor(2 * SLOTS)
pool, inbox, claims = (sqs.get_queue_url(QueueName=f"{NAME}-{it}")["QueueUrl"] for it in (f"pool-{POOL}", "inbox", "claims"))
known, draining, OF_CLAIMS = {}, threading.Event(), ("claim", "renewed", "handed_back")  # known: all attempts by delivery
elapsed = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)  # it goes on while the machine sleeps
now_ms = lambda: int(time.time() * 1000)  # noqa: E731

def upper(work, stop):
    """The work of this pool: waits, then gives the text in capitals. None: it was stopped before its end."""
    try:
        if (work["facade"], work.get("handler")) != ("native", "upper"):
            return {"result": "failed", "error": {"kind": "native.unknown_handler", "message": "this pool has `upper`"}}
        output = {"text": work["input"]["text"].upper(), "agent": AGENT}
        return None if stop.wait(work["input"].get("seconds", 0)) else {"result": "succeeded", "output": output}
    except Exception as error:
        return {"result": "failed", "error": {"kind": f"python.{type(error).__name__}", "message": str(error)[:1000]}}

class Attempt:
    def __init__(self, received, asked_at):
        self.message, self.receipt = json.loads(received["Body"]), received["ReceiptHandle"]
        of, receive = self.message["of"], received["Attributes"]["ApproximateReceiveCount"]
        self.at = {"action": of["action"], "delivery": f"{of['attempt']}.{self.message.get('issue', 0)}.{receive}",
                   "message": zlib.crc32(received["MessageId"].encode()) or 1}
        self.key = (self.message["run"], *self.at.values())
        self.report = functools.partial(self.say, of=self.at | {"agent": AGENT})
        self.received_at, self.safe_since, self.span = asked_at, asked_at, VISIBILITY_S
        self.stop, self.work, self.why, self.leased, self.started_at = threading.Event(), None, None, False, now_ms()
        self.ask(lambda asked: self.say(type="claim", agent=AGENT, claims=[self.at | {"asked": asked}]))

    def ask(self, request):
        self.request, self.number, self.sent_at, self.ask_at = request, next(numbers), elapsed(), 0

    def say(self, **said):
        body = json.dumps({"type": "run", "v": 1, "run": self.message["run"], "input": said})
        sqs.send_message(QueueUrl=claims if said["type"] in OF_CLAIMS else inbox, MessageBody=body)

    def hear(self, said):
        if "fate" in said:
            self.why = self.why or said["fate"]  # the first reason counts
        elif self.why and not self.work:
            self.report(type="handed_back", kept=True)  # this agent has let go of what it claimed, and is confirmed after all
        elif self.request and said["asked"] == self.number:
            self.request = None
            if self.work:  # it was a renewal: the record keeps the attempt, and the message is of no use
                self.leased, self.safe_since, self.span = True, self.sent_at, LEASE_S
                sqs.delete_message(QueueUrl=pool, ReceiptHandle=self.receipt)
            else:
                self.started_at, self.work = now_ms(), workers.submit(upper, self.message["work"], self.stop)

    def tend(self):
        """Ends what may not go on, keeps the right to it, and asks again what has no answer."""
        now, is_renewing = elapsed(), self.work and self.request
        if now - self.safe_since > self.span * 2 / 3 or is_renewing and now - self.sent_at > LEASE_S * 2 / 3:
            self.why = "lost"
        elif not self.leased and now - self.safe_since > VISIBILITY_S / 3:
            sqs.change_message_visibility(QueueUrl=pool, ReceiptHandle=self.receipt, VisibilityTimeout=VISIBILITY_S)
            self.safe_since = now
        self.why = self.why or ("drain" if draining.is_set() else None)
        self.why and self.stop.set()
        is_old = now - self.safe_since > LEASE_S / 3 if self.leased else now - self.received_at > RENEW_AFTER_S
        if is_old and self.work and not self.request and not self.why:
            self.ask(lambda number: self.report(type="renewed", started_at=self.started_at, number=number))
        if self.request and not self.why and now > self.ask_at:
            self.request(self.number)
            self.ask_at = now + ASK_EVERY_S

    def perform(self):
        while not (self.work.done() if self.work else self.why):
            surely(self.tend, lock)
            wait([self.work], 0.2) if self.work else self.stop.wait(0.2)
        outcome = (self.work and self.work.result()) or ({"result": "cancelled"} if self.why == "report" else None)
        if outcome:
            self.report(type="completed", started_at=self.started_at, outcome=outcome)
        elif self.work and self.why in ("drain", "lost"):
            self.report(type="handed_back", kept=self.why == "lost")
        if not self.leased and (self.why in (None, "report", "delete") or self.work and self.why == "drain"):
            sqs.delete_message(QueueUrl=pool, ReceiptHandle=self.receipt)  # any other comes again, with a higher count

def surely(act, guard=contextlib.nullcontext(), until=None):
    while True:
        try:
            with guard:
                act()
        except Exception as error:
            print(f"{AGENT}: {error!r}", file=sys.stderr)
            time.sleep(1)
        if until is None or until.is_set():
            return

def take():
    asked_at = elapsed()
    got = sqs.receive_message(QueueUrl=pool, WaitTimeSeconds=5, VisibilityTimeout=VISIBILITY_S, AttributeNames=["All"])
    for attempt in (Attempt(received, asked_at) for received in got.get("Messages", [])):
        if attempt.message["v"] == 1 and known.setdefault(attempt.key, attempt) is attempt:
            attempt.perform()

def obey():
    control = sqs.create_queue(QueueName=CONTROL)["QueueUrl"]  # it is made anew when it is gone
    got = sqs.receive_message(QueueUrl=control, WaitTimeSeconds=5, MaxNumberOfMessages=10)
    for body, receipt in ((json.loads(one["Body"]), one["ReceiptHandle"]) for one in got.get("Messages", [])):
        for said in body.get("confirmed", []) + body.get("stopped", []):
            key = (body["run"], said["action"], said["delivery"], said["message"])
            surely(lambda: known[key].hear(said), lock) if key in known else None
        sqs.delete_message(QueueUrl=control, ReceiptHandle=receipt)

signal.signal(signal.SIGTERM, lambda *_: draining.set())
control = sqs.create_queue(QueueName=CONTROL)["QueueUrl"]  # before the first receive
threading.Thread(target=surely, args=(obey,), kwargs={"until": threading.Event()}, daemon=True).start()
wait([workers.submit(surely, take, until=draining) for _ in range(SLOTS)])
sqs.delete_queue(QueueUrl=control)
