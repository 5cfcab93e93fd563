#!/usr/bin/env python3
"""Holds what may depend on what: the direction between our crates (domain <- contract <- engine <- {embedded, facade,
api} <- host <- functions), the licenses, bans, sources and the request for advisories of deny.toml
(`cargo deny check` reads the same file; this needs nothing installed), and what layers.py holds of the sources."""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

import layers

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"

CORE = {"windlass-domain", "windlass-contract", "windlass-engine"}

# What each crate of the workspace may depend on, tests aside. What is not listed here may not exist.
ALLOWED = {
    "windlass-domain": set(),
    "windlass-contract": {"windlass-domain"},
    "windlass-engine": {"windlass-domain", "windlass-contract"},
    "windlass-fuzz": {"windlass-domain", "windlass-contract"},
    "windlass-embedded": CORE,
    "windlass-facade": CORE,
    "windlass-api": CORE,
    "windlass-aws": CORE,
    "windlass-testkit": CORE,
    "windlass-host": CORE | {"windlass-embedded", "windlass-facade", "windlass-api"},
    "windlass-process-manager": CORE | {"windlass-aws"},
    "windlass-coordinator": CORE | {"windlass-aws", "windlass-api"},
    "windlass-agent": CORE | {"windlass-aws", "windlass-facade"},
    "windlass": CORE | {"windlass-embedded", "windlass-facade", "windlass-api", "windlass-host"},
}

# Crates that would let an inner crate know what only a host may know.
FORBIDDEN = {
    "windlass-domain": {"tokio", "rand", "getrandom", "fastrand", "rusqlite", "reqwest", "axum", "tracing", "async-trait"},
    "windlass-contract": {"tokio", "rusqlite", "reqwest", "axum"},
    "windlass-engine": {"rusqlite", "reqwest", "axum"},
    "windlass-api": {"rusqlite", "reqwest"},
}


def metadata(*arguments: str) -> dict:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def built() -> set[tuple[str, str]]:
    """Name and version of every crate that is built, tests included. `cargo metadata` also has those that only a feature
    would bring that nobody has asked for."""
    command = ["cargo", "tree", "--workspace", "--locked", "--edges", "all", "--target", "all", "--prefix", "none"]
    tree = subprocess.run([*command, "--format", "{p}"], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    lines = (line.split() for line in tree.splitlines() if line)
    return {(name, version.removeprefix("v")) for name, version, *_ in lines}


def direction(packages: list) -> list[str]:
    faults = []
    for package in packages:
        name = package["name"]
        normal = {d["name"] for d in package["dependencies"] if d["kind"] is None}
        if name not in ALLOWED:
            faults.append(f"{name}: not in the list of tests/dependencies.py")
            continue
        inner = {d for d in normal if d == "windlass" or d.startswith("windlass-")}
        faults += [f"{name} must not depend on {d}" for d in sorted(inner - ALLOWED[name])]
        faults += [f"{name} must not depend on {d}" for d in sorted(normal & FORBIDDEN.get(name, set()))]
    return faults


def is_licensed(expression: str, allowed: set[str]) -> bool:
    """Whether one of the alternatives of an SPDX expression is allowed in all its parts. Parentheses are met in
    published crates only around alternatives, so `A AND (B OR C)` is read as its parts joined by AND."""
    parts = re.split(r"\s+AND\s+(?![^(]*\))", expression.replace("/", " OR "))
    return all(any(one.strip(" ()") in allowed for one in re.split(r"\s+OR\s+", part)) for part in parts)


def policy(packages: list) -> list[str]:
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(deny["licenses"]["allow"])
    banned = {ban["crate"]: ban["reason"] for ban in deny["bans"]["deny"]}
    faults = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            faults.append(f"{name} is banned: {banned[package['name']]}")
        if package["source"] is not None and package["source"] != CRATES_IO:
            faults.append(f"{name} comes from {package['source']}")
        if package["source"] is not None and not is_licensed(package["license"] or "", allowed):
            faults.append(f"{name}: the license {package['license']!r} is not allowed by deny.toml")
    return faults


def advisories() -> list[str]:
    """What can be checked of advisories without their database: how deny.toml asks for them, and that Cargo.lock pins what was
    looked at. Whether a crate has an advisory, or was yanked, only `cargo deny check advisories` says."""
    asked = tomllib.loads((ROOT / "deny.toml").read_text()).get("advisories", {})
    faults = [] if asked.get("yanked") == "deny" else ["deny.toml: [advisories] must deny yanked crates"]
    if asked.get("unmaintained") not in ("workspace", "all"):
        faults.append("deny.toml: [advisories] must name unmaintained crates")
    for exception in asked.get("ignore", []):
        if not (isinstance(exception, dict) and exception.get("id") and exception.get("reason")):
            faults.append(f"deny.toml: the exception {exception} needs an id and a reason")
    for package in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]:
        if "source" in package and "checksum" not in package:
            faults.append(f"Cargo.lock: {package['name']} {package['version']} has no checksum")
    return faults


def main() -> int:
    ours = metadata("--no-deps")["packages"]
    used = built()
    everything = [package for package in metadata()["packages"] if (package["name"], package["version"]) in used]
    faults = direction(ours) + policy(everything) + advisories() + layers.faults()
    for fault in faults:
        print(fault, file=sys.stderr)
    print("advisories: asked for in deny.toml; their database is not here (`cargo deny check advisories` reads it)")
    print(f"dependencies: {len(ours)} crates of ours, {len(everything)} in all, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
