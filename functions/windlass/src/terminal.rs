//! What may reach a terminal: text, and the colours that this program puts in. What other people and programs wrote could
//! otherwise move the cursor, clear the screen, or turn the direction of a line around.

use std::fmt::Write as _;

/// A text of others, without anything that could steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    console::strip_ansi_codes(text).chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// Everything that is printed for people passes here: lines, tabs and colours stay.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour_at(rest);
        if colour > 0 {
            shown.push_str(&rest[..colour]);
            rest = &rest[colour..];
            continue;
        }
        shown.push(if steers(c) && !matches!(c, '\n' | '\t') { ' ' } else { c });
        rest = &rest[c.len_utf8()..];
    }
    shown
}

/// JSON in which such characters are escaped. They stand inside texts alone, for JSON has no other place for them.
pub(crate) fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) && c != '\n' {
            write!(escaped, "\\u{:04x}", u32::from(c)).expect("text takes all");
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A text of the same length in bytes without such characters, for a picture that points at bytes of it.
pub(crate) fn same_length(text: &str) -> String {
    let stand_in = |c: char| match c {
        '\n' | '\t' => c,
        c if !steers(c) => c,
        c => match c.len_utf8() {
            1 => ' ',
            2 => '\u{b7}',
            _ => '\u{fffd}',
        },
    };
    text.chars().map(stand_in).collect()
}

/// Control characters, and those that turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The bytes of the change of colour that a text begins with.
fn colour_at(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\u{1b}[") else { return 0 };
    let end = codes.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(codes.len());
    if codes[end..].starts_with('m') { end + 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that do something to a terminal: clear it, name it, write its clipboard, ring, erase a line, turn it around.
    const STEERING: [&str; 9] = [
        "\u{1b}[2J",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]52;c;aGk=\u{7}",
        "\u{1b}[1A",
        "\u{7}",
        "a\rb",
        "\u{9b}2J",
        "\u{202e}cod.exe",
        "\u{1b}P+q\u{1b}\\",
    ];

    #[test]
    fn nothing_steers_the_terminal() {
        for text in STEERING {
            for safe in [printable(text), shown(text), escaped(text), same_length(text)] {
                assert!(!safe.chars().any(steers), "{text:?}: {safe:?}");
            }
            assert_eq!(same_length(text).len(), text.len(), "{text:?}");
            let json = serde_json::to_string(text).expect("text");
            assert_eq!(serde_json::from_str::<String>(&escaped(&json)).expect("JSON"), text);
        }
    }

    #[test]
    fn our_own_colours_and_lines_stay() {
        let ours = "\u{1b}[1;31mfailed\u{1b}[0m\n\tüber\u{1b}[m\n";
        assert_eq!(shown(ours), ours);
        assert_eq!(printable("\u{1b}[31mred\u{1b}[0m"), "red");
        assert_eq!(shown("\u{1b}[31"), " [31");
    }
}
