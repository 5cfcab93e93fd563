//! Faults of a task file, each with its place in the text.

use std::sync::Arc;

use console::Term;
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity};
use windlass_domain::definition::{Fault, Place};

use crate::terminal::{self, printable};

const DEFAULT_COLUMNS: u16 = 100;
/// The longest line that is shown whole.
const MAX_LINE_BYTES: usize = 500;
/// Bytes that are shown on each side of a fault in a longer line.
const AROUND: usize = 40;

/// The faults of one file, one after the other: message, place, the lines around it, what would mend it.
pub(crate) fn rendered(file: &str, text: &str, faults: &[Fault]) -> String {
    let term = Term::stderr();
    let columns = term.size_checked().map_or(DEFAULT_COLUMNS, |(_, columns)| columns.max(40));
    let theme = if console::colors_enabled_stderr() {
        GraphicalTheme::unicode()
    } else if console::user_attended_stderr() {
        GraphicalTheme::unicode_nocolor()
    } else {
        GraphicalTheme::none()
    };
    let text = Arc::new(terminal::same_length(text));
    faults.iter().map(|fault| render_one(file, &text, fault, theme.clone(), columns.into())).collect()
}

fn render_one(file: &str, text: &Arc<String>, fault: &Fault, theme: GraphicalTheme, columns: usize) -> String {
    if let Some(place) = &fault.place
        && has_long_line(text, place)
    {
        return in_long_line(file, text, fault, place);
    }
    let mut diagnostic = MietteDiagnostic::new(printable(&fault.message)).with_code(fault.code);
    diagnostic = diagnostic.with_severity(Severity::Error);
    if let Some(help) = &fault.help {
        diagnostic = diagnostic.with_help(printable(help));
    }
    if let Some(place) = &fault.place {
        let start = place.offset.min(text.len());
        let len = place.len.min(text.len() - start);
        diagnostic = diagnostic.with_label(LabeledSpan::new(None, start, len));
    }
    let report = Report::new(diagnostic).with_source_code(NamedSource::new(file, Arc::clone(text)));
    let handler = GraphicalReportHandler::new_themed(theme).with_width(columns).with_context_lines(1).with_links(false);
    let mut out = String::new();
    if handler.render_report(&mut out, report.as_ref()).is_err() {
        // miette cannot cut this text; the plain line still names the place.
        out = format!("{file}:{fault}\n");
    }
    out.trim_start_matches('\n').to_owned() + "\n"
}

/// The bytes of the line at an offset.
fn line_at(text: &str, offset: usize) -> std::ops::Range<usize> {
    let start = text[..offset].rfind('\n').map_or(0, |end| end + 1);
    start..text[offset..].find('\n').map_or(text.len(), |end| offset + end)
}

/// Whether the line of a place, or one beside it, is too long for a picture.
fn has_long_line(text: &str, place: &Place) -> bool {
    let line = line_at(text, text.floor_char_boundary(place.offset));
    let before = line.start.checked_sub(1).map(|end| line_at(text, end));
    let after = (line.end < text.len()).then(|| line_at(text, line.end + 1));
    [before, Some(line), after].into_iter().flatten().any(|line| line.len() > MAX_LINE_BYTES)
}

/// The fault, and the part of its line around it: a program has written this file.
fn in_long_line(file: &str, text: &str, fault: &Fault, place: &Place) -> String {
    let offset = text.floor_char_boundary(place.offset);
    let line = line_at(text, offset);
    let start = text.ceil_char_boundary(offset.saturating_sub(AROUND).max(line.start));
    let end = text.floor_char_boundary((offset + AROUND).min(line.end));
    let (head, tail) = (if start > line.start { "..." } else { "" }, if end < line.end { "..." } else { "" });
    let space = " ".repeat(head.len() + console::measure_text_width(&text[start..offset]));
    format!("{file}:{}\n  {head}{}{tail}\n  {space}^\n\n", printable(&fault.to_string()), &text[start..end])
}

#[cfg(test)]
mod tests {
    use windlass_domain::definition::Definition;

    use super::*;

    #[test]
    fn every_fault_has_its_place_in_the_text() {
        console::set_colors_enabled_stderr(false);
        let text =
            "task: faulty\nactions:\n  one:\n    need: [two]\n    exec: [true]\n  two: { needs: [on], exec: [] }\n";
        let faults = Definition::from_text(text).expect_err("faults").faults;
        insta::assert_snapshot!(rendered("faulty.yaml", text, &faults));
    }

    /// Formatting takes no width above 65,535, and nobody reads such a line.
    #[test]
    fn fault_in_a_long_line_is_shown_with_what_is_around_it() {
        console::set_colors_enabled_stderr(false);
        for length in [600, 70_000, 100_000] {
            let action = format!("{{\"exec\": [\"echo\", \"{}\"], \"tmieout\": \"5s\"}}", "é".repeat(length));
            let text = format!("{{\"task\": \"t\", \"actions\": {{\"a\": {action}}}}}");
            let faults = Definition::from_text(&text).expect_err("a fault").faults;
            let shown = rendered("one.json", &text, &faults);
            assert!(shown.len() < 400 && shown.contains("unknown key `tmieout`"), "{shown}");
            let lines: Vec<&str> = shown.lines().collect();
            let column = length + 55;
            assert!(lines[0].starts_with(&format!("one.json:1:{column}: ")), "{shown}");
            let caret = lines[2].find('^').expect("a caret");
            assert!(lines[1].chars().skip(caret).collect::<String>().starts_with("\"tmieout\""), "{shown}");
        }
    }

    /// The file of a pull request could steer the terminal of whoever checks it.
    #[test]
    fn lines_of_the_file_steer_nothing() {
        console::set_colors_enabled_stderr(false);
        let text = "task: t\nactions:\n  # \u{1b}[2J\u{9b}1A\u{202e}\n  a: { exec: [a], exce: \u{1b}]0;x\u{7} }\n";
        let faults = Definition::from_text(text).expect_err("a fault").faults;
        let shown = rendered("f.yaml", text, &faults);
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{shown:?}");
    }

    #[test]
    fn fault_without_a_place_is_shown() {
        let mut fault = Definition::from_text("task: 9").expect_err("faults").faults.remove(0);
        let place = fault.place.as_mut().expect("a place");
        place.offset = 9_999;
        assert!(rendered("f.yaml", "", std::slice::from_ref(&fault)).contains(fault.code));
        fault.place = None;
        assert!(rendered("f.yaml", "", &[fault.clone()]).contains(fault.code));
    }
}
