//! Faults of a task file, each with its place in the text.

use console::Term;
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity};
use windlass_domain::definition::Fault;

const DEFAULT_COLUMNS: u16 = 100;

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
    faults.iter().map(|fault| render_one(file, text, fault, theme.clone(), columns.into())).collect()
}

fn render_one(file: &str, text: &str, fault: &Fault, theme: GraphicalTheme, columns: usize) -> String {
    let mut diagnostic = MietteDiagnostic::new(super::tree::printable(&fault.message))
        .with_code(fault.code)
        .with_severity(Severity::Error);
    if let Some(help) = &fault.help {
        diagnostic = diagnostic.with_help(super::tree::printable(help));
    }
    if let Some(place) = &fault.place {
        let start = place.offset.min(text.len());
        let len = place.len.min(text.len() - start);
        diagnostic = diagnostic.with_label(LabeledSpan::new(None, start, len));
    }
    let report = Report::new(diagnostic).with_source_code(NamedSource::new(file, text.to_owned()));
    let handler = GraphicalReportHandler::new_themed(theme).with_width(columns).with_context_lines(1).with_links(false);
    let mut out = String::new();
    if handler.render_report(&mut out, report.as_ref()).is_err() {
        // miette cannot cut this text; the plain line still names the place.
        out = format!("{file}:{fault}\n");
    }
    out.trim_start_matches('\n').to_owned() + "\n"
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
