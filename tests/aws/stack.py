"""A local AWS stack of its own for a test: brought up by localstack/up, taken down whatever happens.

The tests reach it as its users do: the API with a token of the stack's client, the queues and the bus with boto3.
"""

import base64
import contextlib
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples" / "aws" / "subscriber")]

from recovery import wait_for  # noqa: E402


def in_venv() -> None:
    """Goes on in the interpreter that localstack/ makes, where boto3 and jsonschema are."""
    try:
        import boto3  # noqa: F401
        import jsonschema  # noqa: F401
    except ImportError:
        venv = subprocess.run([ROOT / "localstack" / "venv"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        if pathlib.Path(sys.prefix).resolve() == pathlib.Path(venv).resolve():
            raise
        os.execv(f"{venv}/bin/python", [f"{venv}/bin/python", "-B", *sys.argv])


def free_port() -> int:
    """A port that nobody listens on, below those that systems give to connections and to whoever asks for any: of those,
    one that is free may be somebody's a moment later."""
    while True:
        with socket.socket() as listener, contextlib.suppress(OSError):
            port = random.SystemRandom().randrange(10_000, 30_000)
            listener.bind(("127.0.0.1", port))
            return port


def binaries() -> pathlib.Path:
    """Where the programs were built: WINDLASS_BINARIES, or the release build. If it is not there localstack/up builds."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return pathlib.Path(os.environ.get("WINDLASS_BINARIES", target / "release")).absolute()


def program(name: str) -> pathlib.Path:
    return binaries() / name


def tail(path: pathlib.Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


class Refused(Exception):
    """An answer of the API that is no success."""

    def __init__(self, status: int, body: str):
        super().__init__(f"{status}: {body[:500]}")
        self.status = status
        with contextlib.suppress(ValueError):
            self.problem = json.loads(body)


class Stack:
    """One deployment on one emulator, with the pools that are named as `NAME:AGENTS:SLOTS`."""

    def __init__(self, *pools: str, **parameters: str):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-aws-"))
        self.name = f"t{os.getpid()}"
        self.state = self.folder / "state"
        self.arguments = ["--name", self.name, "--port", str(free_port()), "--state", str(self.state), "--detach"]
        if binaries().is_dir():
            self.arguments += ["--binaries", str(binaries())]
        for pool in pools:
            self.arguments += ["--pool", pool]
        for name, value in parameters.items():
            self.arguments += ["--parameter", f"{name}={value}"]
        self.children: list[subprocess.Popen] = []
        self.lock, self.tokens = threading.Lock(), (0.0, "")
        self.log = open(self.folder / "up.log", "ab")
        try:
            self.up()
        except BaseException:
            self.down()
            raise

    def up(self) -> None:
        started = time.monotonic()
        # The agents perform exec actions in this folder.
        up = subprocess.run([ROOT / "localstack" / "up", *self.arguments], cwd=self.folder, stdout=subprocess.PIPE,
                            stderr=self.log, text=True, timeout=900)
        if up.returncode != 0:
            raise SystemExit(f"localstack/up failed with {up.returncode}:\n{tail(self.folder / 'up.log')}")
        self.took = time.monotonic() - started
        exported = (line.removeprefix("export ") for line in up.stdout.splitlines() if line.startswith("export "))
        self.exports = dict(shlex.split(line)[0].split("=", 1) for line in exported)
        told = json.loads((self.state / "stack.json").read_text())
        self.outputs, self.agent_environments = told["outputs"], told["agent_environments"]
        os.environ.update(self.exports, WINDLASS_NAME=self.name)
        import boto3

        self.sqs, self.dynamodb, self.logs = (boto3.client(name) for name in ("sqs", "dynamodb", "logs"))
        self.lambdas = boto3.client("lambda")
        self.url = self.exports["WINDLASS_URL"]

    def down(self) -> None:
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.wait()
        down = [ROOT / "localstack" / "down", "--state", self.state]
        subprocess.run(down, stdout=self.log, stderr=self.log, check=False, timeout=120)
        self.log.close()

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # The API

    def token(self) -> str:
        """A token by client credentials (RFC 6749, 4.4), kept until shortly before it runs out."""
        with self.lock:
            until, token = self.tokens
            if time.monotonic() < until:
                return token
            pair = f"{self.exports['WINDLASS_CLIENT_ID']}:{self.exports['WINDLASS_CLIENT_SECRET']}"
            request = urllib.request.Request(self.exports["WINDLASS_TOKEN_URL"], data=b"grant_type=client_credentials")
            request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
            request.add_header("Content-Type", "application/x-www-form-urlencoded")
            with urllib.request.urlopen(request, timeout=30) as response:
                answer = json.loads(response.read())
            self.tokens = (time.monotonic() + answer.get("expires_in", 300) - 60, answer["access_token"])
            return answer["access_token"]

    def call(self, method: str, path: str, body=None, authorized: bool = True, **headers: str):
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if authorized:
            request.add_header("Authorization", f"Bearer {self.token()}")
        request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from None

    def apply(self, text: str) -> None:
        name = re.search(r"^task: *(\S+)", text, re.MULTILINE)[1]
        self.call("PUT", f"/v1/tasks/{name}", text.encode(), Content_Type="application/yaml")

    def start(self, task: str, given=None, query: str = "", **headers: str) -> dict:
        return self.call("POST", f"/v1/tasks/{task}/runs{query}", {"input": given or {}}, **headers)

    def run(self, run: str) -> dict:
        return self.call("GET", f"/v1/runs/{run}")

    def cli(self, *arguments: str, expect: int = 0, **variables: str) -> str:
        """The command line, with what localstack/up said to export; its standard output."""
        environment = os.environ | variables
        done = subprocess.run([program("windlass"), *map(str, arguments)], env=environment, capture_output=True,
                              text=True, timeout=120, cwd=self.folder)
        if done.returncode != expect:
            said = (done.stdout[-1500:] + done.stderr[-1500:]).strip()
            raise SystemExit(f"`windlass {' '.join(map(str, arguments))}` ended with {done.returncode}: {said}")
        return done.stdout

    # Queues and processes

    def queue(self, name: str) -> str:
        return self.sqs.get_queue_url(QueueName=f"{self.name}-{name}")["QueueUrl"]

    def send(self, name: str, *bodies: str) -> None:
        for at in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[at : at + 10])]
            answer = self.sqs.send_message_batch(QueueUrl=self.queue(name), Entries=entries)
            if answer.get("Failed"):
                raise SystemExit(f"the queue {name} refused a message: {answer['Failed']}")

    def receive(self, name: str, wait_s: int = 1) -> list[str]:
        """Takes what is in a queue, and deletes it."""
        url = self.queue(name)
        got = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s).get("Messages", [])
        for message in got:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in got]

    def depth(self, name: str, delayed: bool = False) -> int:
        """The messages of a queue, those that somebody holds included; `delayed`: those that are held back, too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        names += ["ApproximateNumberOfMessagesDelayed"] * delayed
        got = self.sqs.get_queue_attributes(QueueUrl=self.queue(name), AttributeNames=names)["Attributes"]
        return sum(map(int, got.values()))

    def agent(self, pool: str, slots: int = 10, drain: str = "20s", options: tuple[str, ...] = (),
              **variables: str) -> subprocess.Popen:
        """An agent of ours as a process of this test, with the role of its pool."""
        environment = self.agent_environments[pool] | {
            "WINDLASS_SLOTS": str(slots),
            "WINDLASS_DRAIN": drain,
            "WINDLASS_HEALTH_ADDR": f"127.0.0.1:{free_port()}",
        }
        return self.spawn([program("windlass-agent"), *options], environment | variables, f"agent-{pool}")

    def spawn(self, command: list, environment: dict[str, str], log: str) -> subprocess.Popen:
        out = open(self.folder / f"{log}.log", "ab")
        child = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=self.folder)
        out.close()
        self.children.append(child)
        return child

    def agent_id(self, child: subprocess.Popen) -> str | None:
        """What an agent that was started here calls itself."""
        for agent in self.call("GET", "/v1/agents")["agents"]:
            if agent["address"].rpartition("/")[2] == str(child.pid):
                return agent["id"]
        return None

    def writes(self) -> bool:
        """Nobody here holds up the others: the table is the emulator's."""
        return True

    def wait_until_decided(self) -> None:
        wait_for("all inputs to be decided", lambda: self.depth("inbox") + self.depth("claims") == 0)

    def letters(self) -> int:
        """How many dead letters there are."""
        return self.depth("dead-letters")

    def compute_off(self) -> None:
        """Nothing hands inputs to the process manager, and none is at work."""
        self.deliver_inputs(False)
        self.kill_lambda("process-manager")

    def compute_on(self) -> None:
        self.deliver_inputs(True)

    def deliver_inputs(self, enabled: bool) -> None:
        name = f"{self.name}-process-manager"
        for mapping in self.lambdas.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
            self.lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)

    def lambda_pids(self, function: str) -> list[int]:
        """The processes in which the emulator runs a function of this stack."""
        wanted = f"AWS_LAMBDA_FUNCTION_NAME={self.name}-{function}".encode()
        found = []
        for folder in pathlib.Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (folder / "environ").read_bytes().split(b"\0"):
                        found.append(int(folder.name))
        return found

    def kill_lambda(self, function: str) -> int:
        """kill -9 of every process of a function; how many there were."""
        killed = 0
        for pid in self.lambda_pids(function):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        return killed

    def log_lines(self, function: str, since_ms: int = 0, until_ms: int = 1 << 42) -> list[str]:
        """What a function has logged between two moments, in CloudWatch Logs."""
        lines, token = [], {}
        while True:
            page = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{self.name}-{function}", startTime=since_ms,
                                               endTime=until_ms, **token)
            lines += [event["message"] for event in page["events"]]
            if "nextToken" not in page:
                return lines
            token = {"nextToken": page["nextToken"]}
