#!/usr/bin/env python3
"""A host at full load for a long time, with what happens in a year: kills, a full disk, and old runs that are deleted.

    tests/soak.py [--minutes 30] [--keep 60s] [--callers 64] [--csv FILE] [--folder FOLDER] [--filler-mib N]

Needs target/release/windlass. Callers start runs by the API, each with a key, and ask until each run has ended: an answer
that a kill took away is asked for again. A run is two calls of an HTTP endpoint of this script, one after the other. Every
two minutes the host is killed with -9 and started again. In the middle the folder's disk is filled for 20 seconds, if
FOLDER is a file system of its own that --filler-mib fills (a loop mount, say). Every second a line of CSV has the file, its
log, the memory of the host, and the latencies of that second. It fails if a run is lost, ends otherwise than well, or is
performed less than once, or if the file or the memory grows in the second half.
"""

import argparse
import asyncio
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = os.environ.get("WINDLASS_BINARIES", pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release")
BINARY = pathlib.Path(BINARIES).absolute() / "windlass"
KILL_EVERY_S = 120
DISK_FULL_FOR_S = 20
# How long a run may take, kills and a full disk included.
PATIENCE_S = 240
GROWTH = 1.25

TASK = """
task: soak
actions:
  first: {{ retry: {{ attempts: forever, delay: 1s }}, http: {{ method: POST, url: "{url}/first", body: "${{{{ run.id }}}}" }} }}
  second: {{ needs: first, retry: {{ attempts: forever, delay: 1s }}, http: {{ method: POST, url: "{url}/second", body: "${{{{ run.id }}}}" }} }}
"""


class Lost(Exception):
    """A promise of the host does not hold."""


class Endpoint:
    """What the actions call; it counts the calls of each run."""

    def __init__(self):
        self.calls = collections.Counter()

    async def start(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def answer(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                body = (await reader.readexactly(length)).decode()
                self.calls[body, head.split(b" ")[1].decode().strip("/")] += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Host:
    """A host on a data folder."""

    def __init__(self, data, keep):
        self.data, self.keep = data, keep
        self.log = open(data.parent / "soak-host.log", "ab")
        self.start()

    def start(self):
        (self.data / "url").unlink(missing_ok=True)
        command = [BINARY, "serve", "--data", self.data, "--listen", "127.0.0.1:0", "--keep", self.keep, "--pool", "default=64"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def address(self):
        try:
            url = (self.data / "url").read_text().strip()
            return url.removeprefix("http://").split(":")
        except FileNotFoundError:
            return None

    def token(self):
        return (self.data / "token").read_text().strip()

    async def is_up(self):
        for _ in range(600):
            if self.process.poll() is not None:
                raise Lost(f"the host ended by itself with {self.process.returncode}: see {self.log.name}")
            if self.address():
                return
            await asyncio.sleep(0.05)
        raise Lost("the host does not come up")

    def resident(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        return 0


class Caller:
    """One connection that is kept open."""

    def __init__(self, host):
        self.host, self.writer = host, None

    async def call(self, method, path, headers="", body=""):
        """The status and the body; none if the host can not be reached just now."""
        try:
            if self.writer is None:
                address = self.host.address()
                if address is None:
                    return None
                self.reader, self.writer = await asyncio.open_connection(*address)
            head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self.host.token()}\r\n{headers}"
            self.writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            answer = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 90)
            length = [int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length")]
            text = await self.reader.readexactly(length[0]) if length else b""
            return int(answer.split(b" ")[1]), text
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            if self.writer is not None:
                self.writer.close()
            self.writer = None
            return None


class Soak:
    def __init__(self, args, host, endpoint):
        self.args, self.host, self.endpoint = args, host, endpoint
        self.ended, self.took, self.asked_again = 0, [], 0
        self.until = time.monotonic() + args.minutes * 60

    async def caller(self, number):
        caller, sequence = Caller(self.host), 0
        while time.monotonic() < self.until:
            sequence += 1
            began = time.monotonic()
            await self.run_one(caller, f"{number}-{sequence}")
            self.ended += 1
            self.took.append(time.monotonic() - began)

    async def run_one(self, caller, key):
        """Starts a run and sees it end well."""
        began, run = time.monotonic(), None
        while True:
            if time.monotonic() - began > PATIENCE_S:
                raise Lost(f"the run of {key} ({run}) has not ended within {PATIENCE_S} s")
            headers = f"idempotency-key: {key}\r\ncontent-type: application/json\r\n"
            answer = await caller.call("POST", "/v1/tasks/soak/runs?wait=20s", headers, "{}")
            if answer is None or answer[0] == 503:
                self.asked_again += 1
                await asyncio.sleep(0.2)
                continue
            status, text = answer
            if status not in (200, 202):
                raise Lost(f"{key}: the host answers {status}: {text[:300]}")
            view = json.loads(text)
            if run not in (None, view["id"]):
                raise Lost(f"{key} is run {run} and run {view['id']}")
            run = view["id"]
            if status == 200:
                break
        if view["status"] != "succeeded":
            raise Lost(f"run {run} is {view['status']}: {text[:300]}")
        calls = [self.endpoint.calls.pop((run, name), 0) for name in ("first", "second")]
        if 0 in calls:
            raise Lost(f"run {run} has succeeded, and its actions were performed {calls} times")

    async def kills(self):
        while time.monotonic() < self.until - KILL_EVERY_S / 2:
            await asyncio.sleep(KILL_EVERY_S * random.uniform(0.8, 1.2))
            self.host.process.send_signal(signal.SIGKILL)
            self.host.process.wait()
            self.host.start()
            await self.host.is_up()

    async def full_disk(self):
        if not self.args.filler_mib:
            return
        await asyncio.sleep(self.args.minutes * 30)
        filler = self.host.data.parent / "filler"
        await asyncio.to_thread(fill, filler, self.args.filler_mib)
        await asyncio.sleep(DISK_FULL_FOR_S)
        filler.unlink()

    async def samples(self, csv):
        began, rows = time.monotonic(), []
        print("seconds,database,log,resident,ended,p50_ms,p99_ms", file=csv, flush=True)
        while time.monotonic() < self.until:
            await asyncio.sleep(1)
            took, self.took = sorted(self.took), []
            at = lambda share: round(took[int((len(took) - 1) * share)] * 1000, 1) if took else ""
            database = self.host.data / "windlass.db"
            try:
                row = (database.stat().st_size, pathlib.Path(f"{database}-wal").stat().st_size, self.host.resident())
            except FileNotFoundError:
                continue
            rows.append(row)
            seconds = round(time.monotonic() - began)
            print(f"{seconds},{','.join(map(str, row))},{self.ended},{at(0.5)},{at(0.99)}", file=csv, flush=True)
        half = len(rows) // 2
        for what, column in (("file", 0), ("memory", 2)):
            first, second = (max(row[column] for row in part) for part in (rows[half // 2 : half], rows[half:]))
            if second > first * GROWTH:
                raise Lost(f"the {what} grows: {first} bytes at most in the second quarter, {second} in the second half")

    async def play(self, csv):
        tasks = [self.caller(number) for number in range(self.args.callers)]
        tasks += [self.kills(), self.full_disk(), self.samples(csv)]
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)


def fill(path, mib):
    with open(path, "wb", buffering=0) as file:
        try:
            for _ in range(mib):
                file.write(bytes(1 << 20))
        except OSError:
            return


async def soak(args, folder, csv):
    endpoint = Endpoint()
    await endpoint.start()
    data = folder / "data"
    host = Host(data, args.keep)
    try:
        await host.is_up()
        caller = Caller(host)
        body = TASK.format(url=endpoint.url)
        answer = await caller.call("PUT", "/v1/tasks/soak", "content-type: application/yaml\r\n", body)
        if answer is None or answer[0] not in (200, 201):
            raise Lost(f"the task is refused: {answer}")
        play = Soak(args, host, endpoint)
        await play.play(csv)
        print(f"{play.ended} runs ended well, none lost; {play.asked_again} calls were made again", file=sys.stderr)
    finally:
        host.process.terminate()
        host.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--keep", default="60s")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--csv", type=argparse.FileType("w"), default=sys.stdout)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--filler-mib", type=int, default=0)
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-soak-", dir=args.folder))
    try:
        asyncio.run(soak(args, folder, args.csv))
    except* Lost as lost:
        for one in lost.exceptions:
            print(f"soak: {one}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
