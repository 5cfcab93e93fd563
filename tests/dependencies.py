#!/usr/bin/env python3
"""Holds the direction of dependencies: domain <- contract <- engine <- {embedded, facade, api} <- functions."""

import json
import subprocess
import sys

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
    "windlass-testkit": CORE,
    "windlass": CORE | {"windlass-embedded", "windlass-facade", "windlass-api"},
}

# Crates that would let an inner crate know what only a host may know.
FORBIDDEN = {
    "windlass-domain": {"tokio", "rand", "rusqlite", "reqwest", "axum", "tracing", "async-trait"},
    "windlass-contract": {"tokio", "rusqlite", "reqwest", "axum"},
    "windlass-engine": {"rusqlite", "reqwest", "axum"},
    "windlass-api": {"rusqlite", "reqwest"},
}


def main() -> int:
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["packages"]
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
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"dependencies: {len(packages)} crates, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
