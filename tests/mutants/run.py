#!/usr/bin/env python3
"""Mutation testing of windlass-domain: which of the mutants that cargo-mutants proposes does no test notice?

cargo-mutants compiles the crate and all that tests it once for each mutant; there are two thousand of them. Here they are
compiled once, all in one program, and chosen by a variable of the environment (switches.py). A mutant is then run
against the tests that meet it, cheapest first, until one fails.

    python3 -m venv .venv-mutants && .venv-mutants/bin/pip install -r tests/mutants/requirements.txt
    .venv-mutants/bin/python tests/mutants/run.py [--only decide/] [--again]

It needs cargo-mutants in the path, and writes to target/mutation; nothing of the sources is touched."""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

from switches import MODULE, Source

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TREE = TARGET / "mutation"
DOMAIN = "shared/domain/src"
CRATES = ["domain", "contract", "engine", "testkit"]
# What is compiled elsewhere is used as it is; only our crates are made faster, since they are run thousands of times.
PROFILE = "".join(f"\n[profile.dev.package.windlass-{crate}]\nopt-level = 1\n" for crate in CRATES)

# A case that failed for a mutant is no case of the next.
PERSISTENCE = b"Some(Box::new(FileFailurePersistence::Direct(regressions)))"

# Tests by what they cost; each is a binary and what it is given. The first stage is the domain's own.
STAGES = [
    [("domain:*", {})],
    [("testkit:invariants", {}), ("testkit:scenarios", {}), ("testkit:state_machine", {"WINDLASS_CASES": "400"})],
    [("contract:*", {})],
    [("testkit:state_machine", {"WINDLASS_CASES": "10000"})],
    [("engine:*", {}), ("testkit:*", {})],
]
ORDER = ["/decide/", "/run/", "/retry.rs", "/overlap.rs", "/schedule", "/time.rs", "/definition/", "/expression/"]
# Orders of magnitude over what the longest takes; a mutant that waits or loops for ever is caught by that.
NICE = os.environ.get("WINDLASS_MUTANTS_NICE", "10")
TIMEOUT_S = float(os.environ.get("WINDLASS_MUTANTS_TIMEOUT_S", "120"))


def cargo(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET), "CARGO_INCREMENTAL": "1"}
    return subprocess.run(["cargo", *arguments], cwd=TREE, env=environment, text=True, **options)


def proposed() -> list:
    command = ["cargo", "mutants", "--package", "windlass-domain", "--list", "--json"]
    listed = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    for number, mutant in enumerate(listed, start=1):
        mutant["number"] = number
        del mutant["diff"]
    return listed


def copy_tree() -> None:
    """The crates that test the domain, in a workspace of their own. Unchanged files keep their times."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    kept = [name for name in tracked if name and not name.startswith(("functions/", "fuzz/", "infra/", "tests/"))]
    for name in kept:
        if name.startswith(DOMAIN) or not (ROOT / name).is_file():
            continue
        content = (ROOT / name).read_bytes()
        put(TREE / name, content.replace(PERSISTENCE, b"None"))
    manifest = (ROOT / "Cargo.toml").read_text()
    members = ", ".join(f'"shared/{crate}"' for crate in CRATES)
    lines = [line for line in manifest.split("\n") if not line.startswith("default-members")]
    lines = [f"members = [{members}]" if line.startswith("members") else line for line in lines]
    put(TREE / "Cargo.toml", ("\n".join(lines) + PROFILE).encode())


def put(path: pathlib.Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_domain(mutants: list, constants: set) -> list:
    """Writes the crate with its switches; gives the mutants that have no place for one."""
    by_file, left_out = {}, []
    for mutant in mutants:
        by_file.setdefault(mutant["file"], []).append(mutant)
    for path in sorted((ROOT / DOMAIN).rglob("*.rs")):
        name = str(path.relative_to(ROOT))
        source = Source(path.read_bytes(), by_file.get(name, []))
        left_out += source.left_out
        written = source.written(constants)
        if path.name == "lib.rs":
            # What overflows in a mutant fails when it is run, not when it is compiled.
            written = f"#![allow(arithmetic_overflow, unconditional_panic)]\n{written}\n#[doc(hidden)]\npub mod switch;\n"
        put(TREE / name, written.encode())
    put(TREE / DOMAIN / "switch.rs", MODULE.encode())
    return left_out


def faulty(message: dict) -> set:
    """The mutants whose switches an error of the compiler is about."""
    if (message["code"] or {}).get("code") == "E0004":
        # A match that needs one of its arms: the next that could be deleted.
        (span,) = (span for span in message["spans"] if span["is_primary"])
        following = (TREE / span["file_name"]).read_bytes()[span["byte_end"] :]
        return {int(re.search(rb"!crate::switch::on\(/\*@(\d+)", following)[1])}
    numbers = set()
    for span in message["spans"]:
        path = TREE / span["file_name"]
        if not path.is_file():
            continue
        text = path.read_bytes()
        # The nearest switch before the end of what is wrong: each guards what follows it.
        before = text[: span["byte_end"]].rfind(b"/*@")
        if before >= 0:
            numbers.add((span["is_primary"], int(text[before + 3 : text.index(b"*/", before)])))
    primary = {number for is_primary, number in numbers if is_primary}
    return primary or {number for _, number in numbers}


def constant_functions(errors: list) -> set:
    """The functions that constants are made with."""
    called = [re.search(r"cannot call non-const .*`([^`]+)` in ", error["message"]) for error in errors]
    return {found[1].rpartition("::")[2] for found in called if found} - {"on"}


def compile_switches(mutants: list) -> tuple[list, list]:
    """The mutants that compile, and those that do not, each with its outcome."""
    # Found by the compiler, one after the other; these are known to come.
    constants, out = {"from_millis", "from_secs"}, {}
    while True:
        for mutant in mutants:
            if mutant["function"] and mutant["function"]["function_name"].rpartition("::")[2] in constants:
                out.setdefault(mutant["number"], "is in a constant")
        tried = [mutant for mutant in mutants if mutant["number"] not in out]
        for mutant in write_domain(tried, constants):
            out[mutant["number"]] = "does not compile"
        checked = cargo("check", "--workspace", "--all-targets", "--keep-going", "--message-format", "json", capture_output=True)
        messages = [json.loads(line) for line in checked.stdout.split("\n") if line.startswith("{")]
        errors = [m["message"] for m in messages if m["reason"] == "compiler-message" and m["message"]["level"] == "error"]
        errors = [error for error in errors if error["spans"]]
        if not errors and checked.returncode != 0:
            sys.exit(checked.stderr)
        if not errors:
            return [m for m in mutants if m["number"] not in out], [m | {"outcome": out[m["number"]]} for m in mutants if m["number"] in out]
        more = constant_functions(errors) - constants
        errors = [error for error in errors if not constant_functions([error])]
        numbers = set().union(*(faulty(error) for error in errors)) - out.keys()
        print(f"{len(errors)} errors, {len(numbers)} mutants do not compile, {len(more)} functions are for constants", flush=True)
        if not numbers and not more:
            sys.exit("\n".join(error["rendered"] for error in errors))
        constants |= more
        of_constants = set().union(*(faulty(error) for error in errors if "non-const function `on`" in error["message"]))
        out |= {number: "is in a constant" if number in of_constants else "does not compile" for number in numbers}


def as_built(mutants: list) -> tuple[list, list]:
    """What the earlier run found, by the switches that stand in its tree."""
    texts = (path.read_text() for path in (TREE / DOMAIN).rglob("*.rs"))
    there = {int(number) for text in texts for number in re.findall(r"/\*@(\d+)\*/", text)}
    viable = [mutant for mutant in mutants if mutant["number"] in there]
    return viable, [mutant | {"outcome": "does not compile"} for mutant in mutants if mutant["number"] not in there]


def build_tests() -> dict:
    """The test binaries, by `crate:name`."""
    built = cargo("test", "--no-run", "--tests", "--message-format", "json", capture_output=True)
    if built.returncode != 0:
        sys.exit(f"the tests do not compile\n{built.stderr}")
    binaries = {}
    for line in built.stdout.split("\n"):
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            binaries[f"{folder.name}:{message['target']['name']}"] = (message["executable"], folder)
    return binaries


def perform(binary: tuple, tests: list, variables: dict, timeout: float) -> str:
    executable, folder = binary
    environment = os.environ | variables | {
        "CARGO_MANIFEST_DIR": str(folder),
        "INSTA_UPDATE": "no",
        "INSTA_WORKSPACE_ROOT": str(TREE),
        "PROPTEST_MAX_SHRINK_ITERS": "0",
        "RUST_BACKTRACE": "0",
    }
    # 8 GB of addresses: a mutant that fills the memory is to fail alone.
    command = ["prlimit", "--as=8589934592", "--core=0", "nice", "-n", NICE, executable, "--quiet", "--exact", *tests]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, timeout=timeout, **quiet)
        return "passed" if done.returncode == 0 else "caught"
    except subprocess.TimeoutExpired:
        return "timed out"


@dataclasses.dataclass
class Test:
    """A test, the mutants that it meets, and how long it takes."""

    stage: int
    binary: str
    name: str
    variables: dict
    met: set
    took_s: float


def plan(binaries: dict) -> list:
    """What is run, as (stage, binary, variables)."""
    steps = []
    for stage, patterns in enumerate(STAGES):
        for pattern, variables in patterns:
            crate, _, name = pattern.partition(":")
            named = [key for key in sorted(binaries) if key == pattern or name == "*" and key.startswith(f"{crate}:")]
            done = {step[1] for step in steps}
            steps += [(stage, key, variables) for key in named if name != "*" or key not in done]
    return steps


def look_round(steps: list, binaries: dict, jobs: int, skip: list) -> list:
    """Every test; each must pass alone."""

    def look(step: tuple) -> Test:
        stage, binary, variables, name = step
        met = TREE / f"met-{threading.get_ident()}.txt"
        met.unlink(missing_ok=True)
        began = time.monotonic()
        outcome = perform(binaries[binary], [name], variables | {"WINDLASS_MUTANTS_MET": str(met)}, 1800)
        took = time.monotonic() - began
        if outcome != "passed":
            print(f"{binary} {name} fails without a mutant, and is left out", flush=True)
            return Test(stage, binary, name, variables, set(), took)
        numbers = {int(line) for line in met.read_text().split()} if met.exists() else set()
        return Test(stage, binary, name, variables, numbers, took)

    every = []
    for stage, binary, variables in steps:
        executable, folder = binaries[binary]
        listed = subprocess.run([executable, "--list", "--format", "terse"], cwd=folder, check=True, capture_output=True, text=True)
        every += [(stage, binary, variables, line.removesuffix(": test")) for line in listed.stdout.split("\n") if line.endswith(": test")]
    every = [step for step in every if not any(part in step[3] for part in skip)]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        looked = list(pool.map(look, every))
    for test in sorted(looked, key=lambda test: -test.took_s)[:12]:
        print(f"{test.took_s:6.1f} s {test.binary} {test.name}, meets {len(test.met)}", flush=True)
    print(f"{len(looked)} tests take {sum(test.took_s for test in looked):.0f} s one by one", flush=True)
    return sorted(looked, key=lambda test: test.took_s)


def judge(mutant: dict, looked: list, binaries: dict) -> dict:
    """Runs the tests that meet the mutant, the shortest first, until one fails."""
    tests = [test for test in looked if mutant["number"] in test.met]
    for test in tests:
        variables = test.variables | {"WINDLASS_MUTANT": str(mutant["number"])}
        outcome = perform(binaries[test.binary], [test.name], variables, max(TIMEOUT_S, test.took_s * 10))
        if outcome != "passed":
            return mutant | {"outcome": outcome, "by": f"{test.binary} {test.name}", "stage": test.stage}
    return mutant | {"outcome": "survived" if tests else "not met"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", default=[], help="files whose path has this in it")
    parser.add_argument("--except", dest="without", action="append", default=["limits.rs", "sabotage.rs"], help="files to leave out")
    parser.add_argument("--again", metavar="OUTCOMES", help="only what survived in this file of an earlier run")
    parser.add_argument("--as-built", action="store_true", help="the crate is as it was: write no switches anew")
    parser.add_argument("--stages", type=int, default=len(STAGES), help="only so many of the stages of tests")
    parser.add_argument("--longest", type=float, default=1e9, help="only tests that take no more seconds than that")
    parser.add_argument("--skip", action="append", default=[], help="tests whose name has this in it")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    mutants = proposed()
    copy_tree()
    excluded = [m for m in mutants if any(part in m["file"] for part in given.without)]
    chosen = [m for m in mutants if m not in excluded]
    viable, unviable = as_built(chosen) if given.as_built else compile_switches(chosen)
    # What decides comes first.
    viable.sort(key=lambda mutant: next((at for at, part in enumerate(ORDER) if part in mutant["file"]), len(ORDER)))
    print(f"{len(mutants)} mutants: {len(excluded)} left out, {len(unviable)} do not compile, {len(viable)} to judge", flush=True)
    binaries = build_tests()
    looked = look_round([step for step in plan(binaries) if step[0] < given.stages], binaries, given.jobs, given.skip)
    looked = [test for test in looked if test.took_s <= given.longest]
    if given.again:
        earlier = [json.loads(line) for line in pathlib.Path(given.again).read_text().split("\n") if line]
        names = {m["name"] for m in earlier if m["outcome"] in ("survived", "not met")}
        viable = [m for m in viable if m["name"] in names]
    if given.only:
        viable = [m for part in given.only for m in viable if part in m["file"]]
    write = threading.Lock()
    with (TREE / "outcomes.jsonl").open("w") as file:
        for mutant in unviable:
            file.write(json.dumps(mutant) + "\n")

        def one(mutant: dict) -> dict:
            judged = judge(mutant, looked, binaries)
            with write:
                file.write(json.dumps(judged) + "\n")
                file.flush()
            return judged

        with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
            outcomes = list(pool.map(one, viable))
    report(outcomes, unviable)


def report(outcomes: list, unviable: list) -> None:
    for mutant in outcomes:
        if mutant["outcome"] in ("survived", "not met"):
            print(f"{mutant['outcome']}: {mutant['name']}")
    count = lambda *kinds: sum(mutant["outcome"] in kinds for mutant in outcomes)
    caught, late, left = count("caught"), count("timed out"), count("survived", "not met")
    print(f"{len(outcomes)} judged: {caught} caught, {late} timed out, {left} survived; {len(unviable)} did not compile")
    print(f"score: {100 * (caught + late) / max(1, len(outcomes)):.1f} %")


if __name__ == "__main__":
    main()
