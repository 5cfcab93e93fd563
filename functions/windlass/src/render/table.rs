//! Tables: a head, and cells that stand under each other.

use console::{measure_text_width, style};

/// Rows under a head; the last column is as wide as it likes.
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column. Cells may have colours.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, every line with its end.
    pub(crate) fn text(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| measure_text_width(cell));
            cells.chain([self.head[at].len()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.head.len()).map(width).collect();
        let head = self.head.iter().map(|name| style(*name).dim().to_string()).collect::<Vec<_>>();
        [&head].into_iter().chain(&self.rows).map(|row| line(row, &widths) + "\n").collect()
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        let missing = width.saturating_sub(measure_text_width(cell));
        format!("{cell}{}", " ".repeat(missing))
    });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_under_each_other() {
        console::set_colors_enabled(false);
        let mut table = Table::new(&["TASK", "VERSION"]);
        table.row(["nightly-report".into(), "3".into()]);
        table.row(["b".into(), "12".into()]);
        assert_eq!(table.text(), "TASK            VERSION\nnightly-report  3\nb               12\n");
    }
}
