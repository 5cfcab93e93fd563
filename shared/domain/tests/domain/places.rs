//! Where a fault stands in the text of a definition.

use windlass_domain::definition::Definition;

/// The first fault of the text; `marked` has `>` before its place and `<` after it.
fn check(marked: &str, code: &str) {
    let start = marked.find('>').unwrap();
    let len = marked[start + 1..].find('<').unwrap();
    let text = marked.replacen('>', "", 1).replacen('<', "", 1);
    let line = text[..start].matches('\n').count() + 1;
    let column = text[..start].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let faults = Definition::from_text(&text).unwrap_err();
    let fault = faults.iter().next().unwrap();
    let place = fault.place.unwrap();
    assert_eq!(
        (fault.code, place.line, place.column, place.offset, place.len),
        (code, line, column, start, len),
        "{fault}"
    );
}

fn task(action: &str) -> String {
    format!("task: t\nactions:\n  a:\n{action}\n")
}

/// The very character at which it goes wrong, where the text is written as it reads.
#[test]
fn fault_of_expression_stands_inside_its_text() {
    check(&task("    exec: [say, \"ä ${{ >i<nptu.x }}\"]"), "WL0204");
    check(&task("    exec: [say, \"ä ${{ input.x + >i<nptu.x }}\"]"), "WL0204");
    check(
        &task("    exec: [say]\n    stdin: ä ${{ >i<nptu.x }}")
            .replace("exec: [say]\n    stdin", "exec:\n      command: [say]\n      stdin"),
        "WL0204",
    );
    check(&task("    exec: [say]\n    when: input.a && >i<nptu.b"), "WL0204");
    check(&task("    exec: [say]\n    when: \"  ${{ input.a && >i<nptu.b }} \""), "WL0204");
}

/// In a block, its first line is not that of the `|`.
#[test]
fn fault_in_a_block_stands_in_its_line() {
    check(&task("    exec:\n      - say\n      - |\n        ä ${{ >i<nptu.x }}"), "WL0204");
    check(&task("    exec:\n      - say\n      - |-\n        ${{ >i<nptu.x }}"), "WL0204");
}

/// Text that is not written as it reads has no such character: the fault stands at its whole.
#[test]
fn fault_in_folded_text_stands_at_its_start() {
    check(&task("    exec: [say, >\"\\x24{{ inptu.x }}\"<]"), "WL0204");
}

/// Of a list or a mapping, its first character is shown.
#[test]
fn a_collection_is_shown_by_its_start() {
    check("task: t\nlabels:\n  >-< a\n  - b\nactions: { a: { exec: [x] } }\n", "WL0106");
    check("task: t\nlabels: >[<a, b]\nactions: { a: { exec: [x] } }\n", "WL0106");
    check("task: t\nlabels: >[<a,\n  b]\nactions: { a: { exec: [x] } }\n", "WL0106");
    check("task: t\ndescription:\n  >ä<: 1\n  b: 2\nactions: { a: { exec: [x] } }\n", "WL0106");
}

/// A fault of a key, such as a repeated or unknown one, names the key. A fault of a value names the value.
#[test]
fn fault_stands_at_its_key_or_value() {
    check(&task("    exec: [say]\n    >neds<: [b]"), "WL0104");
    check(&task("    exec: [say]\n    timeout: >5<"), "WL0106");
    check(&task("    exec: [say]\n    pool: p\n    >pool<: p"), "WL0103");
    check(&task("    exec: [say]\n    needs: [a, >b<]").replace("[a, ", "["), "WL0110");
}
