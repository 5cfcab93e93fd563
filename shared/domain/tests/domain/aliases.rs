//! The bounds of anchors and aliases in a definition, to the last value, level and byte.

use windlass_domain::definition::Definition;
use windlass_domain::limits::{MAX_ALIASED_NODES, MAX_DEFINITION_BYTES, MAX_DEFINITION_DEPTH};

/// Whether the reader refuses a text with that under an unknown key, in these words.
fn check(under: &str, words: &str, is_refused: bool) {
    let faults = Definition::from_text(&format!("x:\n{under}\n")).unwrap_err();
    let found = faults.iter().any(|fault| fault.code == "WL0102" && fault.message.contains(words));
    assert_eq!(found, is_refused, "{:?}", faults.iter().next());
}

/// A list of an anchor and so many aliases of it, under the key `x`.
fn repeated(anchored: &str, aliases: usize) -> String {
    format!(" - &a {anchored}\n{}", " - *a\n".repeat(aliases))
}

fn check_values(anchored: &str, weight: usize) {
    let most = MAX_ALIASED_NODES / weight - 1;
    assert_eq!((most + 1) * weight, MAX_ALIASED_NODES, "{anchored}");
    check(&repeated(anchored, most), "anchors and aliases", false);
    check(&repeated(anchored, most + 1), "anchors and aliases", true);
}

/// A collection is a value, and so is each that it holds; the keys of a mapping are none.
#[test]
fn values_count_for_anchor_and_each_alias() {
    check_values("[1, 2, 3, 4, 5, 6, 7, 8, 9]", 10);
    check_values("{a: 1, b: 2, c: 3, d: [4, 5, 6, 7, 8]}", 10);
    check_values("[[[[1, 2, 3], 4]]]", 8);
}

#[test]
fn value_without_an_anchor_is_not_counted() {
    check(&format!(" [{}]", "1,".repeat(MAX_ALIASED_NODES + 1)), "", false);
    check(&format!(" [{}]", "[1],".repeat(MAX_ALIASED_NODES / 2 + 1)), "", false);
}

#[test]
fn bytes_count_for_anchor_and_each_alias() {
    let (text, entry) = ("x".repeat(16_384), format!("{{{}: {}}}", "k".repeat(1024), "x".repeat(15_360)));
    let most = MAX_DEFINITION_BYTES / 16_384 - 1;
    for anchored in [text.clone(), format!("[{}, {}]", &text[..9000], &text[9000..]), entry] {
        check(&repeated(&anchored, most), "anchors and aliases", false);
        check(&repeated(&anchored, most + 1), "anchors and aliases", true);
    }
}

/// The value of an alias nests as if the author had written it out where the alias stands.
#[test]
fn levels_count_where_an_alias_puts_them() {
    for (open, close) in [("[", "]"), ("{k: ", "}")] {
        for anchored in [0, 2, 30, 50] {
            let what = open.repeat(anchored) + "1" + &close.repeat(anchored);
            // The definition and the list under `x` are two levels.
            for (around, is_refused) in [(62 - anchored, false), (63 - anchored, true), (64 - anchored, true)] {
                let alias = open.repeat(around) + "*a" + &close.repeat(around);
                check(&format!(" - &a {what}\n - {alias}\n"), "nests deeper", is_refused);
            }
        }
    }
    const { assert!(MAX_DEFINITION_DEPTH == 64) };
}

#[test]
fn definition_over_its_length_bound_is_refused() {
    let task = "{task: t, actions: {a: {exec: [x]}}}";
    let padded = |bytes: usize| format!("{task}\n#{}", "-".repeat(bytes - task.len() - 2));
    Definition::from_text(&padded(MAX_DEFINITION_BYTES)).unwrap();
    let faults = Definition::from_text(&padded(MAX_DEFINITION_BYTES + 1)).unwrap_err();
    assert_eq!(faults.faults[0].code, "WL0102");
}
