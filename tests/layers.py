"""What the sources of a crate are held to: no two files import each other, even by a way round, no file and no function
grows past what a reader takes in, and the settings of rustfmt and clippy stay as agreed. `tests/dependencies.py` calls it.

An import is a name of another file that a file uses: by `use`, or by a path in its code. A name that a module only
hands on (`pub use`) is an import of the file that defines it. Tests are left out of the circles, and count for lengths.
"""

import pathlib
import re
import tomllib
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_WIDTH = 120
MAX_RULE_LINES = 1200
MAX_WAY = 6

# What decides about an attempt and its run; the rest of the domain says what there is, and how it is told.
RULES = [
    f"shared/domain/src/{name}.rs"
    for name in ("attempt/table", "attempt/loss", "run/table", "run/control", "run/report", "run/ending", "run/time",
                 "run/timers", "run/graph", "run/readiness", "outstanding")
]

TOKEN = re.compile(
    r"""(?P<skip>//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/|\s+)
      | (?P<text>b?r(?P<hash>\#*)".*?"(?P=hash)|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'])')
      | (?P<life>'\w+)
      | (?P<word>(?:r\#)?[A-Za-z_]\w*)
      | (?P<path>::)
      | (?P<other>\d[\w.]*|.)""",
    re.VERBOSE | re.DOTALL,
)
DEFINES = {"fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"}
ANCHORS = {"crate", "self", "super"}


@dataclass
class Module:
    """One module: the file that holds it, and what its names mean."""

    name: tuple[str, ...]
    file: pathlib.Path
    defined: set[str] = field(default_factory=set)
    # A name that `use` brings in, with its path and whether the module hands it on.
    brought: dict[str, tuple[tuple[str, ...], bool]] = field(default_factory=dict)
    globs: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)
    # The paths and the bare names in the code, `use` aside.
    paths: set[tuple[str, ...]] = field(default_factory=set)


@dataclass
class Function:
    """A function with a body, by its lines."""

    name: str
    first: int
    last: int


def tokens_of(text: str) -> list[tuple[str, int]]:
    """The tokens of a Rust source with their lines. Comments are gone, literals are `""`."""
    tokens, line = [], 1
    for match in TOKEN.finditer(text):
        kind = match.lastgroup if match.lastgroup != "hash" else "text"
        if kind != "skip":
            tokens.append(('""' if kind == "text" else match.group(), line))
        line += match.group().count("\n")
    return tokens


def closing_of(tokens: list) -> dict[int, int]:
    """For the place of each opening bracket the place of the one that closes it."""
    found, opened = {}, []
    for place, (token, _) in enumerate(tokens):
        if token in {"(", "[", "{"}:
            opened.append(place)
        elif token in {")", "]", "}"} and opened:
            found[opened.pop()] = place
    return found


def end_of_item(tokens: list, closing: dict[int, int], start: int) -> int:
    """The place of the last token of the item that begins at `start`: its `;`, or the end of its block."""
    place = start
    while place < len(tokens):
        token = tokens[place][0]
        if token == ";":
            return place
        if place in closing:
            place = closing[place]
            if token == "{":
                return place
        place += 1
    return len(tokens) - 1


def is_test(attribute: list[str]) -> bool:
    return attribute[:3] == ["cfg", "(", "test"] or attribute == ["test"]


def without_tests(tokens: list) -> list:
    """The tokens without the items under `#[cfg(test)]`."""
    kept, place, closing = [], 0, closing_of(tokens)
    while place < len(tokens):
        if tokens[place][0] == "#" and place + 1 < len(tokens) and tokens[place + 1][0] == "[":
            end = closing[place + 1]
            if is_test([token for token, _ in tokens[place + 2 : end]]):
                place = end_of_item(tokens, closing, end + 1) + 1
                continue
        kept.append(tokens[place])
        place += 1
    return kept


def leaves(tokens: list[str], prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """The paths of a `use` tree, each with the name that it brings in; `*` for all names."""
    path, place = list(prefix), 0
    while place < len(tokens):
        token = tokens[place]
        if token == "{":
            branches, depth, branch = [], 0, []
            for inner in tokens[place + 1 : -1]:
                depth += {"{": 1, "}": -1}.get(inner, 0)
                if inner == "," and depth == 0:
                    branches.append(branch)
                    branch = []
                else:
                    branch.append(inner)
            return [leaf for one in [*branches, branch] if one for leaf in leaves(one, tuple(path))]
        if token == "as":
            return [(tuple(path), tokens[place + 1])]
        if token != "::":
            path.append(token)
        place += 1
    if path[-1] == "self" and len(path) > 1:
        path.pop()
    return [(tuple(path), path[-1])]


class Crate:
    """The modules of a crate, and which of its files uses a name of which."""

    def __init__(self, root: pathlib.Path):
        self.modules: dict[tuple[str, ...], Module] = {}
        self.read(root, (), root.parent)

    def read(self, file: pathlib.Path, name: tuple[str, ...], folder: pathlib.Path) -> None:
        """Reads a file and the files of its modules, which are in `folder`."""
        tokens = without_tests(tokens_of(file.read_text()))
        module = self.modules[name] = Module(name, file)
        open_modules: list[tuple[Module, int]] = []
        closing = closing_of(tokens)
        place, handed_on = 0, False
        while place < len(tokens):
            token = tokens[place][0]
            following = tokens[place + 1][0] if place + 1 < len(tokens) else ""
            if open_modules and place == open_modules[-1][1]:
                open_modules.pop()
            here = open_modules[-1][0] if open_modules else module
            if token == "mod" and tokens[place + 2][0] == ";":
                inner = folder.joinpath(*here.name[len(name) :], following)
                flat = inner.with_suffix(".rs")
                self.read(flat if flat.exists() else inner / "mod.rs", (*here.name, following), inner)
                place += 3
            elif token == "mod" and tokens[place + 2][0] == "{":
                inner_module = self.modules[(*here.name, following)] = Module((*here.name, following), file)
                open_modules.append((inner_module, closing[place + 2]))
                place += 3
            elif token == "use" and following != "<":
                end = next(at for at in range(place, len(tokens)) if tokens[at][0] == ";")
                self.bring(here, [one for one, _ in tokens[place + 1 : end]], handed_on)
                place = end + 1
            else:
                place = self.take(here, tokens, place)
            if token not in {")", "crate", "super", "in", "("} or not handed_on:
                handed_on = token == "pub"

    @staticmethod
    def bring(module: Module, tree: list[str], handed_on: bool) -> None:
        for path, name in leaves(tree):
            if name == "*":
                module.globs.append((path[:-1], handed_on))
            else:
                module.brought[name] = (path, handed_on)

    @staticmethod
    def take(module: Module, tokens: list, place: int) -> int:
        """Takes in what is at `place`: a definition, a path, a bare name. Returns the place after it."""
        token = tokens[place][0]
        if not re.match(r"\w", token):
            return place + 1
        if token in DEFINES:
            after = place + 1 + (tokens[place + 1][0] == "!")
            module.defined.add(tokens[after][0])
            return place + 1
        path, before = [token], tokens[place - 1][0] if place else ""
        while place + 2 < len(tokens) and tokens[place + 1][0] == "::" and re.match(r"[A-Za-z_]", tokens[place + 2][0]):
            path.append(tokens[place + 2][0])
            place += 2
        # A field or a method names nothing of another file, and `::name` names another crate.
        if before not in {".", "::"} and before not in DEFINES:
            module.paths.add(tuple(path))
        return place + 1

    def defining(
        self, start: Module, path: tuple[str, ...], seen: frozenset = frozenset(), is_told: bool = True
    ) -> pathlib.Path | None:
        """The file of this crate that defines the name at `path`, as `start` reads it. None for other crates' names.
        `is_told`: the path leads to the name, so that one which no definition shows is one that a macro defines."""
        at, rest = start, path
        if path[0] in ANCHORS:
            while rest and rest[0] in ANCHORS:
                name = {"crate": (), "self": at.name, "super": at.name[:-1]}[rest[0]]
                at, rest = self.modules[name], rest[1:]
        while rest:
            child = self.modules.get((*at.name, rest[0]))
            if child:
                at, rest = child, rest[1:]
                continue
            return self.named(at, rest, seen, is_told and (at is not start or path[0] in ANCHORS))
        # A module for itself: what is taken from it is told by the paths that go through it.
        return None

    def named(self, at: Module, rest: tuple[str, ...], seen: frozenset, is_told: bool) -> pathlib.Path | None:
        """The file that defines `rest[0]`, which is no module, as the module `at` knows it."""
        if (at.name, rest[0]) in seen:
            return None
        seen |= {(at.name, rest[0])}
        if rest[0] in at.brought:
            return self.defining(at, at.brought[rest[0]][0] + rest[1:], seen, is_told)
        if rest[0] in at.defined:
            return at.file
        for path, _ in at.globs:
            found = self.defining(at, path + rest, seen, is_told=False)
            if found:
                return found
        return at.file if is_told else None

    def imports(self) -> dict[pathlib.Path, dict[pathlib.Path, set[str]]]:
        """For each file the files whose names it uses, with those names."""
        found: dict[pathlib.Path, dict[pathlib.Path, set[str]]] = {}
        for module in self.modules.values():
            used = {path for path, handed_on in module.brought.values() if not handed_on} | module.paths
            for path in used:
                file = self.defining(module, path)
                if file and file != module.file:
                    found.setdefault(module.file, {}).setdefault(file, set()).add(shown_name(path))
        return found


def shown_name(path: tuple[str, ...]) -> str:
    """The last name of a path; with its type, if it is a variant or a function of one."""
    return "::".join(path[-2:]) if len(path) > 1 and path[-2][:1].isupper() else path[-1]


def circles_of(imports: dict) -> list[list]:
    """The groups of files that reach each other (Tarjan's strongly connected components), each sorted."""
    index, low, stack, groups = {}, {}, [], []

    def visit(file) -> None:
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in imports.get(file, {}):
            if other not in index:
                visit(other)
                low[file] = min(low[file], low[other])
            elif other in stack:
                low[file] = min(low[file], index[other])
        if low[file] == index[file]:
            group = stack[stack.index(file) :]
            del stack[stack.index(file) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for file in imports:
        if file not in index:
            visit(file)
    return sorted(groups)


def functions_of(text: str) -> list[Function]:
    tokens, found = tokens_of(text), []
    closing = closing_of(tokens)
    for place, (token, line) in enumerate(tokens):
        if token != "fn" or not re.match(r"[A-Za-z_]", tokens[place + 1][0]):
            continue
        end = end_of_item(tokens, closing, place)
        if tokens[end][0] == "}":
            found.append(Function(tokens[place + 1][0], line, tokens[end][1]))
    return found


def sources(folder: str = "") -> list[pathlib.Path]:
    tops = [ROOT / folder] if folder else [ROOT / "shared", ROOT / "functions", ROOT / "fuzz"]
    return sorted(file for top in tops for file in top.rglob("*.rs") if "target" not in file.parts)


def shown(file: pathlib.Path) -> str:
    return str(file.relative_to(ROOT))


def circles() -> list[str]:
    """Each circle of each crate: its files, and by which names they import each other."""
    found = []
    for root in sorted([*ROOT.glob("shared/*/src/lib.rs"), *ROOT.glob("*/*/src/main.rs"), ROOT / "fuzz/src/lib.rs"]):
        imports = Crate(root).imports()
        for group in circles_of(imports):
            ties = [
                f"    {shown(one)} -> {shown(other)}: {', '.join(sorted(names))}"
                for one in group
                for other, names in sorted(imports[one].items())
                if other in group
            ]
            headline = f"a circle of {len(group)} files: {', '.join(shown(one) for one in group)}"
            found.append("\n".join([headline, *ties]))
    return found


def lengths() -> list[str]:
    found = []
    for file in sources():
        text = file.read_text()
        count = text.count("\n")
        if count > MAX_FILE_LINES:
            found.append(f"{shown(file)} has {count} lines; {MAX_FILE_LINES} are allowed")
        for one in functions_of(text):
            count = one.last - one.first + 1
            if count > MAX_FUNCTION_LINES:
                where = f"{shown(file)}:{one.first}"
                text_of = f"{where}: `{one.name}` has {count} lines; {MAX_FUNCTION_LINES} are allowed"
                found.append(text_of)
    return found


def settings() -> list[str]:
    faults = []
    width = tomllib.loads((ROOT / "rustfmt.toml").read_text()).get("max_width")
    if width != MAX_WIDTH:
        faults.append(f"rustfmt.toml: max_width is {width}, not {MAX_WIDTH}")
    for file in sorted([ROOT / "clippy.toml", *ROOT.glob("*/clippy.toml"), *ROOT.glob("*/*/clippy.toml")]):
        for key in tomllib.loads(file.read_text()):
            if key in {"cognitive-complexity-threshold", "cyclomatic-complexity-threshold"}:
                faults.append(f"{shown(file)} sets {key}; its default is agreed")
    return faults


def rules() -> list[str]:
    """The lines of code, comments and tests aside, of the rules that decide about an attempt and its run."""
    count = 0
    for file in RULES:
        code = (ROOT / file).read_text().split("#[cfg(test)]")[0]
        count += sum(1 for line in code.splitlines() if line.strip() and not line.strip().startswith("//"))
    print(f"rules: {count} lines of code in {len(RULES)} files; {MAX_RULE_LINES} are allowed")
    return [f"the rules have {count} lines of code; {MAX_RULE_LINES} are allowed"] if count > MAX_RULE_LINES else []


def ways() -> list[str]:
    """The files that ARCHITECTURE.md names on the way of an input, each of which must exist."""
    found = []
    for name, steps in re.findall(r"^## The way of `(\w+)`$(.*?)(?=^## )", (ROOT / "ARCHITECTURE.md").read_text(), re.M | re.S):
        files = re.findall(r"^\d+\. `([^`]+)`", steps, re.M)
        print(f"the way of {name}: {len(files)} files; {MAX_WAY} are allowed")
        found += [f"the way of {name} has {len(files)} files; {MAX_WAY} are allowed"] if len(files) > MAX_WAY else []
        found += [f"the way of {name} names {file}, which does not exist" for file in files if not (ROOT / file).exists()]
    return found


def faults() -> list[str]:
    """What is wrong, a text each."""
    return settings() + circles() + lengths() + rules() + ways()
