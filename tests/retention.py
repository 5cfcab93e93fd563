#!/usr/bin/env python3
"""Shows that a host which deletes old runs keeps its size: the curve of docs/performance.md.

    tests/retention.py WINDLASS FOLDER [--runs 1000000] [--keep 3s] [--in-flight 100] [--rest 300]

It starts `windlass bench single` with a short `--keep`, and each second writes a line of CSV to standard output: the
time, the bytes of the database, of its log, and of the process. FOLDER must be on a disk. At the end it says on standard
error how the size at full load and after the rest compares with the size at the first 10,000 runs.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

READ_EVERY = 1.0


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("windlass")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--keep", default="3s")
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--rest", type=int, default=300)
    args = parser.parse_args()

    args.folder.mkdir(parents=True, exist_ok=True)
    options = ["--runs", args.runs, "--keep", args.keep, "--in-flight", args.in_flight, "--rest", f"{args.rest}s"]
    command = [args.windlass, "bench", "single", "--json", "--folder", args.folder, *options]
    bench = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    began, rows = time.monotonic(), []
    print("seconds,database,log,resident", flush=True)
    while bench.poll() is None:
        database = next(args.folder.glob("windlass-bench-*/windlass.db"), Path("none"))
        row = (time.monotonic() - began, size(database), size(Path(f"{database}-wal")), resident(bench.pid))
        rows.append(row)
        print(f"{row[0]:.1f},{row[1]},{row[2]},{row[3]}", flush=True)
        time.sleep(READ_EVERY)
    if bench.returncode != 0:
        return bench.returncode
    report = json.loads(bench.stdout.read())
    loaded = report["seconds"]
    at_10_000 = max(database for at, database, *_ in rows if at <= loaded * 10_000 / args.runs + 2 * READ_EVERY)
    at_full_load = [database for at, database, *_ in rows if loaded / 2 <= at <= loaded]
    print(
        f"{args.runs} runs in {loaded:.0f} s; the database had {at_10_000} bytes at the first 10,000 runs, "
        f"{max(at_full_load)} at most in the second half, and {rows[-1][1]} after {args.rest} s of rest",
        file=sys.stderr,
    )
    return 0 if max(at_full_load) <= at_10_000 * 1.1 and rows[-1][1] <= at_10_000 * 1.1 else 1


if __name__ == "__main__":
    sys.exit(main())
