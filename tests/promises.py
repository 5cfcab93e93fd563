#!/usr/bin/env python3
"""Holds SEMANTICS.md to its word: each promise names the invariants and the tests that hold it, each of them exists, and
no invariant of the catalogues goes without a promise.

A promise is a tenet, a point of a list, or a paragraph of a section that has no list; it ends with a sentence that begins
with *Held by*. A test is a file and a function in it; the folders `shared` and `functions` are left out."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "SEMANTICS.md"
CATALOGUES = ("shared/domain/src/invariants.rs", "shared/testkit/src/simulation/catalogue.rs")
FOLDERS = ("shared", "functions", ".")
INVARIANT = re.compile(r"\bS[GW]\d+\b")
HELD_BY = re.compile(r"\*Held by\*\s+(.*)\.$", re.DOTALL)
# What a promise may be held by, apart from commas and spaces between.
HOLDER = re.compile(r"(?P<invariant>\bS[GW]\d+\b)|`(?P<file>[\w./-]+)::(?P<function>\w+)`")


def catalogued() -> set[str]:
    declared = re.compile(r'^    (S[GW]\d+): "', re.MULTILINE)
    return {name for path in CATALOGUES for name in declared.findall((ROOT / path).read_text())}


def promises(text: str) -> list[str]:
    """Every promise as it is written."""
    found = []
    for section in text.split("\n## ")[1:]:
        _, _, body = section.partition("\n")
        blocks = re.split(r"\n(?=- |\d+\. )|\n\n(?! )", body.strip("\n"))
        points = [block for block in blocks if re.match(r"- |\d+\. ", block)]
        found += points or blocks
    return [promise.strip() for promise in found]


def is_test(file: str, function: str) -> bool:
    paths = [ROOT / folder / file for folder in FOLDERS]
    text = next((path.read_text() for path in paths if path.is_file()), "")
    in_rust = rf"#\[(?:tokio::)?test[^\]]*\](?:\s*#\[[^\]]*\])*\s*(?:async )?fn {function}\("
    return re.search(in_rust if file.endswith(".rs") else rf"^ *def {function}\(", text, re.MULTILINE) is not None


def faults_of(promise: str) -> list[str]:
    name = f"`{' '.join(promise.split())[:70]}`"
    held = HELD_BY.search(promise)
    if not held:
        return [f"{name} does not end with what it is held by"]
    holders = list(HOLDER.finditer(held[1]))
    faults = [] if holders else [f"{name} is held by nothing"]
    rest = re.sub(r"[\s,;]|and", "", HOLDER.sub("", held[1]))
    if rest:
        faults.append(f"{name} is held by what is neither an invariant nor a test: {rest}")
    for holder in holders:
        if holder["invariant"] and holder["invariant"] not in catalogued():
            faults.append(f"{name} names {holder['invariant']}, which is in no catalogue")
        if holder["file"] and not is_test(holder["file"], holder["function"]):
            faults.append(f"{name} names {holder['file']}::{holder['function']}, which is no test")
    return faults


def main() -> int:
    text = DOCUMENT.read_text()
    found = promises(text)
    faults = [fault for promise in found for fault in faults_of(promise)]
    faults += [f"{name} is in a catalogue, and no promise names it" for name in sorted(catalogued() - set(INVARIANT.findall(text)))]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"promises: {len(found)}, {len(catalogued())} invariants, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
