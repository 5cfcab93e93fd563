#!/usr/bin/env python3
"""Holds SEMANTICS.md to its word: each promise has a row in the table at its end, with the invariants and the tests that
hold it. Each of them exists, each promise has a test, and no invariant of the catalogues goes without a promise.

A promise is a point of the tenets or a paragraph of another section; it begins with its title in bold letters. A block
that is a table, a list, code, or begins with "Example:" belongs to the promise above it. Every other block is a fault.
A test is a file and a function in it; the folders `shared` and `functions` are left out. Sentences are short."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "SEMANTICS.md"
CATALOGUES = ("shared/domain/src/invariants.rs", "shared/testkit/src/simulation/catalogue.rs")
FOLDERS = ("shared", "functions", ".")
TENETS, TABLE = "Tenets", "What holds each promise"
HEAD = ["| promise | invariants | tests |", "|---|---|---|"]
TITLE = re.compile(r"(?:\d+\. )?\*\*([^*]+)\.\*\* ")
BESIDE = re.compile(r"\||```|- |Example: ")
INVARIANT = re.compile(r"S[GW]\d+")
TEST = re.compile(r"`(?P<file>[\w./-]+)::(?P<function>\w+)`")
MOST_TENETS = 8
MOST_WORDS = 25


def catalogued() -> list[str]:
    declared = re.compile(r'^    (S[GW]\d+): "', re.MULTILINE)
    return [name for path in CATALOGUES for name in declared.findall((ROOT / path).read_text())]


def sections(text: str) -> dict[str, str]:
    """The body of each section, by its heading."""
    parts = (section.partition("\n") for section in text.split("\n## ")[1:])
    return {heading: body.strip("\n") for heading, _, body in parts}


def blocks(section: str) -> list[str]:
    """The paragraphs, points of numbered lists and other blocks of a section."""
    code = re.compile(r"```.*?\n```", re.DOTALL)
    closed = code.sub(lambda found: found[0].replace("\n\n", "\n"), section)
    return [block for block in re.split(r"\n\n|\n(?=\d+\. )", closed) if block]


def promises(text: str) -> tuple[list[str], list[str]]:
    """The titles of the promises, in order, and what is wrong with the blocks."""
    titles, faults = [], []
    for heading, section in sections(text).items():
        if heading == TABLE:
            continue
        found = [TITLE.match(block) for block in blocks(section)]
        for block, title in zip(blocks(section), found):
            if title:
                titles.append(title[1])
            elif not BESIDE.match(block) or not titles:
                faults.append(f"`{block[:70]}` is neither a promise nor beside one")
        if not any(found):
            faults.append(f"the section `{heading}` has no promise")
        if heading == TENETS and not 0 < len(titles) <= MOST_TENETS:
            faults.append(f"there are {len(titles)} tenets; 1 to {MOST_TENETS} are wanted")
    return titles, faults


def long_sentences(text: str) -> list[str]:
    """The sentences of promises that have too many words. Tables and code are none."""
    spoken = [line for line in re.sub(r"```.*?\n```", "", text, flags=re.DOTALL).split("\n") if not line.startswith(("|", "#"))]
    sentences = re.split(r"(?<=[.:?])\*{0,2}\s+(?=[A-Z*`\d])|\n\n|\n- ", "\n".join(spoken))
    return [f"a sentence has more than {MOST_WORDS} words: `{' '.join(one.split())[:90]}`"
            for one in sentences if len(one.split()) > MOST_WORDS]


def is_test(file: str, function: str) -> bool:
    paths = [ROOT / folder / file for folder in FOLDERS]
    text = next((path.read_text() for path in paths if path.is_file()), "")
    in_rust = rf"#\[(?:tokio::)?test[^\]]*\](?:\s*#\[[^\]]*\])*\s*(?:async )?fn {function}\("
    return re.search(in_rust if file.endswith(".rs") else rf"^ *def {function}\(", text, re.MULTILINE) is not None


def holders_of(cell: str, shape: re.Pattern) -> tuple[list[re.Match], str]:
    """What a cell of the table names, and what else it says."""
    return list(shape.finditer(cell)), re.sub(r"[\s,]", "", shape.sub("", cell))


def faults_of_row(row: str, known: list[str]) -> list[str]:
    title, invariants, tests = (cell.strip() for cell in row.strip("|").split("|"))
    (named, rest), (tested, more) = holders_of(invariants, INVARIANT), holders_of(tests, TEST)
    faults = [f"`{title}` is held by what is neither an invariant nor a test: {rest}{more}"] if rest + more else []
    if not tested:
        faults.append(f"`{title}` has no test")
    for holders in (named, tested):
        texts = [holder[0] for holder in holders]
        faults += [f"`{title}` names {text} twice" for text in sorted(set(texts)) if texts.count(text) > 1]
    faults += [f"`{title}` names {name[0]}, which is in no catalogue" for name in named if name[0] not in known]
    faults += [f"`{title}` names {test['file']}::{test['function']}, which is no test"
               for test in tested if not is_test(test["file"], test["function"])]
    return faults


def faults_of_table(table: str, titles: list[str], known: list[str]) -> list[str]:
    lines = [line for line in table.split("\n") if line.startswith("|")]
    if lines[:2] != HEAD:
        return [f"the table does not begin with {HEAD[0]}"]
    rows = [row for row in lines[2:] if row.strip("|").count("|") == 2]
    faults = [f"a row of the table has not three cells: {row[:70]}" for row in lines[2:] if row not in rows]
    of_rows = [row.strip("|").split("|")[0].strip() for row in rows]
    faults += [f"`{title}` stands more than once" for title in sorted(set(titles)) if titles.count(title) > 1]
    faults += [f"`{title}` has no row in the table" for title in titles if title not in of_rows]
    faults += [f"the table has a row for `{title}`, which is no promise" for title in of_rows if title not in titles]
    if not faults and of_rows != titles:
        faults.append("the rows of the table are not in the order of the promises")
    return faults + [fault for row in rows for fault in faults_of_row(row, known)]


def main() -> int:
    text = DOCUMENT.read_text()
    known = catalogued()
    titles, faults = promises(text)
    parts = sections(text)
    table = parts.get(TABLE, "")
    if list(parts)[:1] != [TENETS] or list(parts)[-1:] != [TABLE]:
        faults.append(f"the first section is not `{TENETS}`, or the last one not `{TABLE}`")
    faults += faults_of_table(table, titles, known)
    faults += long_sentences(text)
    named = set(INVARIANT.findall(table))
    faults += [f"{name} is in a catalogue, and no promise names it" for name in known if name not in named]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"promises: {len(titles)}, {len(known)} invariants, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
