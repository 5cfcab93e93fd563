#!/usr/bin/env python3
"""Runs the nginx example of docs/operations.md before a host: calls by its name arrive, also events, and others do not.

Only the ports and the places of files differ. Where there is no nginx, the test says so and passes. WINDLASS_NGINX names
another one."""

import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = pathlib.Path(os.environ.get("WINDLASS_BINARIES", ROOT / "target" / "debug"))
NAME = "windlass.example.com"
TASK = {"task": "slow", "actions": {"wait": {"exec": ["sleep", "2"]}}}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def configuration(folder: pathlib.Path, port: int, host_port: str) -> pathlib.Path:
    text = re.search(r"```nginx\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.S).group(1)
    for of_example, own in (
        ("listen 443", f"listen 127.0.0.1:{port}"), ("/etc/windlass", str(folder)), ("127.0.0.1:8080", host_port)
    ):
        assert of_example in text, of_example
        text = text.replace(of_example, own)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/errors;\nuser root;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{places}{text}\n}}\n"
    )
    return file


class Proxied:
    """Calls by the proxy."""

    def __init__(self, folder: pathlib.Path, port: int, token: str):
        self.trust = ssl.create_default_context(cafile=folder / "fullchain.pem")
        self.port, self.token = port, token

    def open(self, method: str, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection = http.client.HTTPConnection(NAME)
        connection.sock = self.trust.wrap_socket(plain, server_hostname=NAME)
        data = None if body is None else json.dumps(body)
        given = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        connection.request(method, path, data, given)
        return connection.getresponse()

    def call(self, *what: object, **headers: str) -> tuple[int, dict]:
        answer = self.open(*what, **headers)
        return answer.status, json.loads(answer.read())


def until_it_listens(port: int, process: subprocess.Popen) -> None:
    given_up = time.monotonic() + 20
    while True:
        assert process.poll() is None and time.monotonic() < given_up, "the proxy does not begin"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)


def check(proxied: Proxied) -> None:
    assert proxied.call("GET", "/healthz")[0] == 200
    status, answer = proxied.call("PUT", "/v1/tasks/slow", TASK)
    assert status == 201, answer
    status, run = proxied.call("POST", "/v1/tasks/slow/runs", {})
    assert status == 202, run
    stream = proxied.open("GET", f"/v1/runs/{run['id']}/events", Accept="text/event-stream")
    first = stream.readline()
    status, now = proxied.call("GET", f"/v1/runs/{run['id']}")
    assert first and now["status"] in ("submitted", "running"), "events come when the run has ended"
    assert b"run.succeeded" in stream.read()
    status, refused = proxied.call("GET", "/v1/runs", None, Host="evil.example")
    assert (status, refused["code"]) == (403, "WL0402"), refused


def main() -> int:
    nginx = os.environ.get("WINDLASS_NGINX") or shutil.which("nginx")
    if not nginx or not shutil.which("openssl"):
        print("skipped: there is no nginx, or no openssl")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
                "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", folder / "privkey.pem",
                "-out", folder / "fullchain.pem"]
        subprocess.run(made, check=True, capture_output=True)
        serve = [BINARIES / "windlass", "serve", "--json", "--listen", "127.0.0.1:0", "--data", folder / "data",
                 "--host-name", NAME]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as host:
            try:
                url = json.loads(host.stdout.readline())["url"]
                port = free_port()
                file = configuration(folder, port, url.removeprefix("http://"))
                with subprocess.Popen([nginx, "-p", folder, "-c", file], stderr=subprocess.DEVNULL) as proxy:
                    try:
                        until_it_listens(port, proxy)
                        check(Proxied(folder, port, (folder / "data/token").read_text().strip()))
                    finally:
                        proxy.terminate()
            finally:
                host.terminate()
    print("calls by the proxy arrive, events as they happen, and calls to other names do not")
    return 0


if __name__ == "__main__":
    sys.exit(main())
