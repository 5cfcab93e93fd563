#!/usr/bin/env python3
"""Holds every error code to its page in docs/errors and to a test that provokes it; docs/errors/README.md reports that.

A test provokes a code if the code stands in what it expects: a line that only makes a failure of that code up does not
count, nor does a comment. A code that no test provokes has its reason in the report, and no test beside it.

    python3 tests/codes.py           checks
    python3 tests/codes.py --bless   writes the report; reasons are kept, and are written by hand"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "errors"
REPORT = PAGES / "README.md"
CODE = re.compile(r"\bWL\d{4}\b")
MADE_UP = ("PortError::new(", "failing(", "ScheduleRefusal {", '"code": "', "use crate::")
CONSTANT = re.compile(r'const (\w+): &str = "(WL\d{4})";')
UNIT_TESTS = re.compile(r"#\[cfg\(test\)\]\nmod tests \{")
HEAD = """# Error codes

Every failure that a person can meet has a code and a page here. A test provokes it, or the table says why no test does.
`tests/codes.py` checks that, and writes this table (`--bless`).

| code | what it says | provoked by |
|---|---|---|
"""


def is_test(name: str) -> bool:
    is_suite = name.startswith(("tests/", "shared/testkit/src/conformance/")) or "/tests/" in name
    return is_suite or name.endswith("tests.rs")


def uttered(text: str, *without: str) -> set[str]:
    """The codes in lines that are no comment and have none of these in them."""
    lines = (line for line in text.split("\n") if not line.lstrip().startswith(("//", "# ")))
    return {code for line in lines if not any(part in line for part in without) for code in CODE.findall(line)}


def sources() -> dict[str, tuple[str, str]]:
    """Each file's program and its tests."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split("\n")
    found = {}
    for name in names:
        path = ROOT / name
        if path.suffix in {".rs", ".py", ".snap"} and path.is_file() and name != "tests/codes.py":
            program, _, tests = UNIT_TESTS.sub("\0", path.read_text()).partition("\0")
            found[name] = ("", program) if is_test(name) else (program, tests)
    return found


def look() -> tuple[dict, dict]:
    """The files that give each code, and those whose tests provoke it. A crate's constant stands for its code."""
    given, provoked, constants = {}, {}, {}
    files = sources()
    for name, (program, _) in files.items():
        for code in uttered(program):
            given.setdefault(code, []).append(name)
        constants.setdefault(crate_of(name), {}).update(CONSTANT.findall(program))
    for name, (_, tests) in files.items():
        of_crate = constants.get(crate_of(name), {})
        text = re.sub(r"\b[A-Z][A-Z_]+\b", lambda word: of_crate.get(word[0], word[0]), tests)
        for code in uttered(text, *MADE_UP):
            provoked.setdefault(code, []).append(name)
    return given, provoked


def crate_of(name: str) -> tuple:
    return pathlib.PurePath(name).parts[:2]


def reported() -> dict:
    """What the report says of each code."""
    text = REPORT.read_text() if REPORT.is_file() else ""
    return dict(re.findall(r"^\| \[(WL\d{4})\]\(.*\| (.*) \|$", text, re.MULTILINE))


def title_of(code: str) -> str:
    return (PAGES / f"{code}.md").read_text().split("\n")[0].removeprefix(f"# {code}: ")


def faults_of(given: dict, provoked: dict, rows: dict) -> list[str]:
    pages = {page.stem for page in PAGES.glob("WL*.md")}
    faults = [f"{code} has no page in docs/errors ({given[code][0]})" for code in sorted(given.keys() - pages)]
    faults += [f"docs/errors/{code}.md: nothing gives this code" for code in sorted(pages - given.keys())]
    for code in sorted(pages & given.keys()):
        if not (PAGES / f"{code}.md").read_text().startswith(f"# {code}: "):
            faults.append(f"docs/errors/{code}.md does not begin with its code")
        row = rows.get(code)
        reason = row.removeprefix("no test: ") if row and row.startswith("no test: ") else None
        if row is None:
            faults.append(f"{code} is not in docs/errors/README.md: tests/codes.py --bless")
        elif reason is None and row.strip("`") not in provoked.get(code, []):
            faults.append(f"{code}: {row} does not provoke it")
        elif reason is not None and code in provoked:
            faults.append(f"{code} is said to have no test, and {provoked[code][0]} provokes it: tests/codes.py --bless")
        elif reason is not None and len(reason) < 20:
            faults.append(f"{code}: no test provokes it, and docs/errors/README.md has no reason")
    faults += [f"docs/errors/README.md has {code}, which is none" for code in sorted(rows.keys() - pages)]
    return faults


def bless(given: dict, provoked: dict, rows: dict) -> None:
    written = [HEAD]
    for code in sorted(given):
        row, tests = rows.get(code, ""), sorted(provoked.get(code, []))
        if tests:
            row = row if row.strip("`") in tests else f"`{tests[0]}`"
        elif not row.startswith("no test: "):
            row = "no test: "
        written.append(f"| [{code}]({code}.md) | {title_of(code)} | {row} |\n")
    REPORT.write_text("".join(written))


def main() -> int:
    given, provoked = look()
    if sys.argv[1:] == ["--bless"]:
        bless(given, provoked, reported())
    rows = reported()
    faults = faults_of(given, provoked, rows)
    for fault in faults:
        print(fault, file=sys.stderr)
    without = sum(row.startswith("no test: ") for row in rows.values())
    print(f"error codes: {len(given)}, {len(given) - without} provoked by a test, {without} with a reason, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
