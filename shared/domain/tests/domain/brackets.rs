//! The depth of an expression. Brackets and operators inside strings and comments do not count.

use serde_json::{Value, json};
use windlass_domain::expression::{Expression, Scope};
use windlass_domain::limits::{MAX_EXPRESSION_BYTES, MAX_EXPRESSION_CHAIN, MAX_EXPRESSION_DEPTH};

/// Brackets and operators that are far too many, if they are any.
fn many() -> String {
    "([{".repeat(MAX_EXPRESSION_DEPTH) + &"+".repeat(MAX_EXPRESSION_CHAIN)
}

fn check(source: &str, expected: &Value) {
    let expression = Expression::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(&expression.evaluate(&Scope::default()).unwrap(), expected, "{source}");
}

fn check_refused(source: &str, at: usize) {
    let error = Expression::parse(source).expect_err(source);
    assert_eq!((error.code, error.offset), ("WL0203", Some(at)), "{source}: {error}");
}

#[test]
fn bracket_in_a_string_is_ignored() {
    let many = many();
    let length = json!(many.len());
    for (open, close) in [("'", "'"), ("\"", "\""), ("'''", "'''"), ("\"\"\"", "\"\"\""), ("r'", "'"), ("R\"", "\"")] {
        check(&format!("size({open}{many}{close})"), &length);
    }
    check(&format!("size('a' + '{many}') - size(\"'\")"), &length);
    check(&format!("size('''a'{many}''') - 2"), &length);
}

/// If the count takes a string for longer than it is, it misses the brackets after it. If it takes it for shorter, it
/// counts brackets inside.
#[test]
fn a_string_ends_where_it_ends() {
    let many = many();
    for first in [r"'\''", r#""\"""#, r"'\\'", r"r'\'", r"R'\'", r"''", r"'a'", r"'''a'''", r#""""a'""""#] {
        check(&format!("size({first}) < 9 && size('{many}') > 9"), &json!(true));
    }
    for first in [r"b'\''", r"br'\'", r"b'\\'"] {
        check(&format!("{first} != b'zz' && size('{many}') > 9"), &json!(true));
    }
    let ends = ["'a'", "\"a\"", "'''a'''", "r'\\'", "'\\''", "''"];
    for first in ends {
        let before = format!("size({first}) + ");
        check_refused(&format!("{before}{}1", "(".repeat(99)), before.len() + MAX_EXPRESSION_DEPTH);
    }
}

#[test]
fn bracket_in_a_comment_is_ignored() {
    let many = many();
    check(&format!("1 // {many}\n + 1"), &json!(2));
    check(&format!("1 + 1 // {many}"), &json!(2));
    let before = "1 // a comment\n + ";
    check_refused(&format!("{before}{}1", "(".repeat(99)), before.len() + MAX_EXPRESSION_DEPTH);
}

/// Each operator counts until the next `,`, `&&` or `||`.
#[test]
fn chain_over_its_bound_is_refused() {
    for operator in ["+", "-", "*", "/", "%"] {
        let link = format!("{operator}1");
        check(&format!("type(1{}) == int", link.repeat(MAX_EXPRESSION_CHAIN - 1)), &json!(true));
        let chain = format!("1{}", link.repeat(MAX_EXPRESSION_CHAIN));
        Expression::parse(&chain).unwrap();
        check_refused(&format!("{chain}{link}"), chain.len());
    }
    let items = vec!["1+1+1"; MAX_EXPRESSION_CHAIN].join(",");
    check(&format!("size([{items}])"), &json!(MAX_EXPRESSION_CHAIN));
    for operator in ["&&", "||"] {
        let terms = vec!["1+1==2"; 20].join(operator);
        check(&terms, &json!(true));
    }
}

/// `in` is an operator; other names that begin with an `i` are none.
#[test]
fn a_chain_of_memberships_is_bounded() {
    let link = " in [1]";
    let before = "1".to_owned() + &link.repeat(MAX_EXPRESSION_CHAIN / 2 + 1);
    let error = Expression::parse(&before.repeat(2)).expect_err("too long");
    assert_eq!(error.code, "WL0203");
    let items = vec!["if1"; MAX_EXPRESSION_CHAIN + 9].join(" ");
    // It is not read, and for another reason.
    assert_eq!(Expression::parse(&items).expect_err("no expression").code, "WL0201");
    let items = vec!["in1"; MAX_EXPRESSION_CHAIN + 9].join(" ");
    assert_eq!(Expression::parse(&items).expect_err("no expression").code, "WL0203");
}

/// An expression around a bracket deepens the expression inside, until the bracket is closed.
#[test]
fn the_chain_around_a_bracket_counts_inside() {
    let half = MAX_EXPRESSION_CHAIN / 2;
    let outer = "1+".repeat(half);
    // The bracket itself is one step.
    check(&format!("type({}1) == int", format!("1+({}1)+", "1+".repeat(3)).repeat(9)), &json!(true));
    let fits = format!("{outer}({}1)", "1+".repeat(MAX_EXPRESSION_CHAIN - half - 1));
    check(&fits, &json!(MAX_EXPRESSION_CHAIN));
    let over = format!("{outer}({}", "1+".repeat(MAX_EXPRESSION_CHAIN - half));
    check_refused(&format!("{over}1)"), over.len() - 1);
    let closed = format!("[{}1]", "(1+1)+".repeat(half - 2));
    assert!(Expression::parse(&closed).is_ok(), "{closed}");
}

#[test]
fn expression_over_its_length_bound_is_refused() {
    let text = |bytes: usize| format!("'{}'", "x".repeat(bytes - 2));
    assert!(Expression::parse(&text(MAX_EXPRESSION_BYTES)).is_ok());
    assert_eq!(Expression::parse(&text(MAX_EXPRESSION_BYTES + 1)).expect_err("too long").code, "WL0203");
}

/// A choice nests to the right. An expression in a bracket inside of it nests in both.
#[test]
fn choices_around_brackets_count_inside() {
    let open = "true ? (";
    let fits = MAX_EXPRESSION_CHAIN / 2;
    check_refused(&open.repeat(fits + 1), fits * open.len() + 5);
    let closed = format!("{}2", "true ? (1) : ".repeat(10));
    check(&closed, &json!(1));
}

#[test]
fn a_bracket_right_after_an_operator_counts() {
    for before in ["true||", "true&&", "1+", "true?", "1,", "!"] {
        let source = format!("{before}{}", "(".repeat(MAX_EXPRESSION_DEPTH + 1));
        check_refused(&source, source.len() - 1);
    }
}

/// Such an expression is not well formed either, but the scan refuses it before the parser sees it.
#[test]
fn a_bracket_that_closes_nothing_ends_no_count() {
    let before = format!("1){}", "+1".repeat(MAX_EXPRESSION_CHAIN));
    check_refused(&format!("{before}+1"), before.len());
}
