"""What `tests/layers.py` takes for a circle, and what it does not."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import layers  # noqa: E402


class Circles(unittest.TestCase):
    def check(self, files: dict[str, str], *expected: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            found = layers.circles_of(layers.Crate(root / "lib.rs").imports())
            self.assertEqual([[str(file.relative_to(root)) for file in group] for group in found], list(expected))

    def test_files_that_import_each_other_are_a_circle(self):
        self.check({"lib.rs": "mod a;\nmod b;", "a.rs": "use crate::b::B;\npub struct A(B);", "b.rs": "use super::a::A;\npub struct B;"},
                   ["a.rs", "b.rs"])  # fmt: skip

    def test_a_path_in_the_code_is_an_import(self):
        self.check({"lib.rs": "mod a;\nmod b;", "a.rs": "use super::b;\npub fn f() { b::g() }", "b.rs": "pub fn g() { crate::a::f() }"},
                   ["a.rs", "b.rs"])  # fmt: skip

    def test_a_way_round_is_a_circle(self):
        files = {"lib.rs": "mod a;\nmod b;\nmod c;"}
        for one, other in ("ab", "bc", "ca"):
            files[f"{one}.rs"] = f"use crate::{{{other}::{{f as g}}}};\npub fn f() {{ g() }}"
        self.check(files, ["a.rs", "b.rs", "c.rs"])

    def test_a_parent_that_uses_its_child_is_in_a_circle_with_it(self):
        child = "use super::P;\npub fn f(_: P) {}"
        self.check({"lib.rs": "mod p;", "p.rs": "mod c;\npub struct P;\npub fn g() { c::f(P) }", "p/c.rs": child},
                   ["p/c.rs", "p.rs"])  # fmt: skip
        self.check({"lib.rs": "mod p;", "p/mod.rs": "mod c;\nuse c::f;\npub struct P;", "p/c.rs": child}, ["p/c.rs", "p/mod.rs"])

    def test_a_parent_that_hands_its_child_on_is_in_no_circle(self):
        self.check({"lib.rs": "mod p;", "p.rs": "mod c;\npub use c::f;\npub(crate) use c::*;\npub struct P;",
                    "p/c.rs": "use super::P;\npub fn f(_: P) {}"})  # fmt: skip

    def test_a_name_that_is_handed_on_is_its_own_files(self):
        self.check({"lib.rs": "mod a;\nmod p;", "a.rs": "use crate::p::C;\npub struct A(C);", "p.rs": "mod c;\npub use c::C;\nuse crate::a::A;",
                    "p/c.rs": "pub struct C;"})  # fmt: skip

    def test_tests_comments_and_texts_import_nothing(self):
        self.check({"lib.rs": "mod a;\nmod b;", "a.rs": "use crate::b::B;\npub struct A(B);",
                    "b.rs": "pub struct B; // crate::a::A\nconst T: &str = \"crate::a::A\";\n#[cfg(test)]\nmod tests { use crate::a::A; }"})  # fmt: skip


class Functions(unittest.TestCase):
    def test_a_function_ends_where_its_block_does(self):
        text = 'fn one(a: [u8; 3]) -> char\nwhere\n{\n    let _ = "}";\n    \'}\'\n}\ntrait T {\n    fn none();\n}\n'
        found = [(one.name, one.first, one.last) for one in layers.functions_of(text)]
        self.assertEqual(found, [("one", 1, 6)])


if __name__ == "__main__":
    unittest.main()
