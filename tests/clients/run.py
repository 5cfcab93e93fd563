#!/usr/bin/env python3
"""Has two common generators make clients of the host's OpenAPI document, and uses them.

Each client starts a run, waits for its end and reads its actions: openapi-typescript (npm), whose client is also checked by
the compiler, and openapi-python-client (PyPI). The generators have pinned versions and are installed once, into .clients.
Where they are not there and the registry is out of reach, the test says so and passes."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / ".clients"
BINARIES = pathlib.Path(os.environ.get("WINDLASS_BINARIES", ROOT / "target" / "debug"))
TASK = {
    "task": "greet",
    "actions": {
        "say": {"exec": ["echo", '"hello ${{ input.name }}"']},
        "shout": {"needs": ["say"], "when": "false", "exec": ["echo", "!"]},
    },
}
EXPECTED = {
    "status": "succeeded",
    "actions": [["say", "succeeded", "hello Ada"], ["shout", "skipped", None]],
    "refused": "WL0411",
}


def step(*command: object, **more: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **more)


class Broken(Exception):
    """The tools can not be installed, and the registry is not the reason."""


def install(folder: pathlib.Path, pinned: list[str], asks: list[object], *commands: list[object]) -> bool:
    """Whether the tools are there: installed before from the same pins, or now. `asks` only asks the registry."""
    wanted = "".join((HERE / name).read_text() for name in pinned)
    mark = folder / "installed"
    if mark.is_file() and mark.read_text() == wanted:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in pinned:
        shutil.copy(HERE / name, folder)
    for command in commands:
        done = step(*command, cwd=folder)
        if done.returncode != 0:
            if step(*asks, cwd=folder).returncode == 0:
                raise Broken(f"{command}: {done.stderr}")
            print(f"  skipped: the registry is out of reach: {done.stderr.strip().splitlines()[-1:]}")
            return False
    mark.write_text(wanted)
    return True


def used(name: str, done: subprocess.CompletedProcess) -> bool:
    found = done.stdout.strip()
    if done.returncode == 0 and json.loads(found) == EXPECTED:
        print(f"  {name}: it starts a run, waits for it and reads its actions")
        return True
    print(f"  {name} FAILED: {found}\n{done.stderr}")
    return False


def typescript(document: pathlib.Path, scratch: pathlib.Path, host: dict) -> bool:
    tools = TOOLS / "node"
    if not shutil.which("npm"):
        print("  skipped: there is no npm")
        return True
    asks, ci = ["npm", "view", "openapi-fetch", "version"], ["npm", "ci", "--no-audit", "--no-fund"]
    if not install(tools, ["package.json", "package-lock.json"], asks, ci):
        return True
    (scratch / "node_modules").symlink_to(tools / "node_modules")
    shutil.copy(HERE / "package.json", scratch)
    shutil.copy(HERE / "client.ts", scratch)
    programs = tools / "node_modules" / ".bin"
    made = step(programs / "openapi-typescript", document, "-o", scratch / "api.d.ts")
    strict = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]
    (scratch / "node.d.ts").write_text("declare const process: { env: Record<string, string | undefined> };\n")
    checked = step(programs / "tsc", *strict, "client.ts", "node.d.ts", cwd=scratch)
    for done in (made, checked):
        if done.returncode != 0:
            print(f"  TypeScript FAILED: {done.stdout}{done.stderr}")
            return False
    return used("TypeScript", step("node", "client.js", cwd=scratch, env={**os.environ, **host}))


def python(document: pathlib.Path, scratch: pathlib.Path, host: dict) -> bool:
    tools = TOOLS / "python"
    pip = [tools / "venv/bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    venv = [sys.executable, "-m", "venv", "venv"]
    asks = [*pip, "index", "versions", "attrs"]
    if not install(tools, ["requirements.txt"], asks, venv, [*pip, "install", "--requirement", "requirements.txt"]):
        return True
    client = scratch / "windlass_client"
    generator = tools / "venv/bin/openapi-python-client"
    made = step(generator, "generate", "--path", document, "--output-path", client, "--meta", "none")
    if made.returncode != 0:
        print(f"  Python FAILED: {made.stdout}{made.stderr}")
        return False
    shutil.copy(HERE / "client.py", scratch)
    return used("Python", step(tools / "venv/bin/python", "client.py", cwd=scratch, env={**os.environ, **host}))


def call(host: dict, method: str, path: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {host['WINDLASS_TOKEN']}", "Content-Type": "application/json"}
    request = urllib.request.Request(host["WINDLASS_URL"] + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        data = scratch / "data"
        command = [BINARIES / "windlass", "serve", "--json", "--listen", "127.0.0.1:0", "--data", data]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                url = json.loads(process.stdout.readline())["url"]
                host = {"WINDLASS_URL": url, "WINDLASS_TOKEN": (data / "token").read_text().strip()}
                document = scratch / "openapi.json"
                document.write_bytes(call(host, "GET", "/openapi.json"))
                call(host, "PUT", "/v1/tasks/greet", TASK)
                results = [generated(document, scratch, host) for generated in (typescript, python)]
            finally:
                process.terminate()
        return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
