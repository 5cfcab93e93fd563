"""Writes many mutants of one Rust file into it, each behind a switch: the program is compiled once, and
`WINDLASS_MUTANT=n` chooses at its start which of them it is.

The mutants are those of `cargo mutants --list --json`. What is changed is found by its place in the syntax tree."""

import dataclasses
import re

import tree_sitter
import tree_sitter_rust

LANGUAGE = tree_sitter.Language(tree_sitter_rust.language())

# The module that every switch asks. It also notes which switches are met, so that a test is run only for mutants that it
# can tell from the original.
MODULE = '''//! Which mutant this process is.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const UNREAD: u32 = 0;
const NONE: u32 = u32::MAX;
const NOTING: u32 = u32::MAX - 1;
const MOST: usize = 8192;

static ACTIVE: AtomicU32 = AtomicU32::new(UNREAD);
static MET: [AtomicBool; MOST] = [const { AtomicBool::new(false) }; MOST];

/// Whether this process is mutant `n`.
#[inline]
pub fn on(n: u32) -> bool {
    match ACTIVE.load(Ordering::Relaxed) {
        UNREAD => first(n),
        NOTING => note(n),
        active => active == n,
    }
}

#[cold]
fn first(n: u32) -> bool {
    let chosen = std::env::var("WINDLASS_MUTANT").ok().and_then(|text| text.parse().ok());
    let noting = if std::env::var_os("WINDLASS_MUTANTS_MET").is_some() { NOTING } else { NONE };
    ACTIVE.store(chosen.unwrap_or(noting), Ordering::Relaxed);
    on(n)
}

#[cold]
fn note(n: u32) -> bool {
    if let (Some(met), Some(path)) = (MET.get(n as usize), std::env::var_os("WINDLASS_MUTANTS_MET"))
        && !met.swap(true, Ordering::Relaxed)
    {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{n}\\n").as_bytes())).expect("the file of what is met");
    }
    false
}
'''


@dataclasses.dataclass
class Edit:
    """What replaces the bytes `start..end`; `write` gives their text, with the switches that are inside of it."""

    start: int
    end: int
    write: object


def switch(number: int) -> str:
    return f"crate::switch::on(/*@{number}*/{number})"


def choice(mutants: list, original: str, changed) -> str:
    """An expression that is `changed(mutant)` in a mutant's process and `original` in all others."""
    arms = [f"if {switch(m['number'])} {{ {changed(m)} }} else " for m in mutants]
    return f"({''.join(arms)}{{ {original} }})"


class Source:
    """A file, its tree, and the mutants that could be written into it."""

    def __init__(self, text: bytes, mutants: list):
        self.text = text
        self.lines = [0]
        for at, byte in enumerate(text):
            if byte == 0x0A:
                self.lines.append(at + 1)
        self.nodes = {}
        self._index(tree_sitter.Parser(LANGUAGE).parse(text).root_node)
        self.edits, self.left_out = [], []
        groups = {}
        for mutant in mutants:
            groups.setdefault(self._group(mutant), []).append(mutant)
        for (kind, place), group in groups.items():
            edit = getattr(self, f"_{kind}")(place, group)
            if edit is None:
                self.left_out += group
            else:
                self.edits.append(edit)
        self.edits.sort(key=lambda edit: (edit.start, -edit.end))

    def written(self, constants: set) -> str:
        """The file with its switches. A switch is no constant, so functions are none either, but for those named."""
        text = self._render(0, len(self.text))
        return re.sub(r"const fn (\w+)", lambda found: found[0] if found[1] in constants else f"fn {found[1]}", text)

    def _index(self, node):
        stack = [node]
        while stack:
            node = stack.pop()
            self.nodes.setdefault((node.type, node.start_byte), []).append(node)
            stack.extend(node.children)

    def _at(self, place: dict) -> int:
        line = self.lines[place["line"] - 1]
        following = self.lines[place["line"]] if place["line"] < len(self.lines) else len(self.text)
        return line + len(self.text[line:following].decode()[: place["column"] - 1].encode())

    def _node(self, kinds: tuple, start: int):
        """The outermost node of one of these kinds that begins here."""
        found = [node for kind in kinds for node in self.nodes.get((kind, start), [])]
        return max(found, key=lambda node: node.end_byte) if found else None

    def _group(self, mutant: dict):
        start = self._at(mutant["span"]["start"])
        genre = mutant["genre"]
        if genre == "MatchArm":
            node = self._node(("match_arm",), start)
            pattern = node and next(child for child in node.children if child.type == "match_pattern")
            return "arm", pattern.start_byte if pattern else start
        if genre == "MatchArmGuard":
            around = [node for (kind, _), nodes in self.nodes.items() if kind == "match_pattern" for node in nodes]
            around = [node for node in around if node.start_byte < start <= node.end_byte]
            pattern = min(around, key=lambda node: node.end_byte - node.start_byte)
            return "arm", pattern.start_byte
        kinds = {"BinaryOperator": "binary", "UnaryOperator": "unary", "FnValue": "body", "StructField": "field"}
        return kinds[genre], start

    def _raw(self, node) -> str:
        return self.text[node.start_byte : node.end_byte].decode()

    def _inner(self, node) -> str:
        return self._render(node.start_byte, node.end_byte)

    def _render(self, start: int, end: int) -> str:
        """The text of a range, with every switch that lies inside of it. An edit asks for its operands only, so it is
        never inside of what it renders."""
        written, at = [], start
        for edit in self.edits:
            if at <= edit.start and edit.end <= end:
                written += [self.text[at : edit.start].decode(), edit.write()]
                at = edit.end
        return "".join([*written, self.text[at:end].decode()])

    def _binary(self, place: int, group: list):
        parents = {"binary_expression", "compound_assignment_expr"}
        candidates = [
            node
            for (kind, _), nodes in self.nodes.items()
            if kind in parents
            for node in nodes
            if node.child_by_field_name("operator").start_byte == place
        ]
        if not candidates:
            return None
        (node,) = candidates
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")

        def write():
            operator = self._raw(node.child_by_field_name("operator"))
            changed = lambda m: f"{self._raw(left)} {m['replacement']} {self._raw(right)}"
            return choice(group, f"{self._inner(left)} {operator} {self._inner(right)}", changed)

        return Edit(node.start_byte, node.end_byte, write)

    def _unary(self, place: int, group: list):
        node = self._node(("unary_expression",), place)
        operand = node and node.children[-1]
        if not node:
            return None
        return Edit(
            node.start_byte,
            node.end_byte,
            lambda: choice(group, self._raw(node.children[0]) + self._inner(operand), lambda m: self._raw(operand)),
        )

    def _body(self, place: int, group: list):
        blocks = [node for (kind, _), nodes in self.nodes.items() if kind == "block" for node in nodes]
        around = [node for node in blocks if node.start_byte < place <= node.end_byte]
        inside = min(around, key=lambda node: node.end_byte - node.start_byte).start_byte + 1

        def write():
            return "".join(f" if {switch(m['number'])} {{ return {m['replacement']}; }}" for m in group)

        return Edit(inside, inside, write)

    def _arm(self, place: int, group: list):
        pattern = self._node(("match_pattern",), place)
        if not pattern:
            return None
        condition = pattern.child_by_field_name("condition")
        end_of_pattern = pattern.children[0].end_byte if condition else pattern.end_byte
        deleted = [m for m in group if m["genre"] == "MatchArm"]
        guards = [m for m in group if m["genre"] == "MatchArmGuard"]

        def write():
            text = self.text[pattern.start_byte : end_of_pattern].decode()
            stays = " && ".join(f"!{switch(m['number'])}" for m in deleted)
            guard = choice(guards, self._inner(condition), lambda m: m["replacement"]) if condition else ""
            return f"{text} if {' && '.join(part for part in (stays, guard) if part)}"

        return Edit(pattern.start_byte, pattern.end_byte, write)

    def _field(self, place: int, group: list):
        node = self._node(("field_initializer", "shorthand_field_initializer"), place)
        base = node and next((n for n in node.parent.children if n.type == "base_field_initializer"), None)
        if not base:
            return None
        # In the short form the name is the value, and nothing in it is mutated.
        name, value = node.child_by_field_name("field"), node.child_by_field_name("value")
        of_base = f"({self._raw(base.children[-1])}).{self._raw(name or node)}"

        def write():
            kept = self._inner(value) if value else self._raw(node)
            return f"{self._raw(name or node)}: {choice(group, kept, lambda m: of_base)}"

        return Edit(node.start_byte, node.end_byte, write)
