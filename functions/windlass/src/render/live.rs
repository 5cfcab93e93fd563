//! A tree that is drawn again and again in the same place of a terminal.

use console::{Term, truncate_str};
use windlass_contract::view::RunView;

use super::outline::Outline;
use super::span;
use super::tree::{Drawing, lines};

/// How many branches of one fork are tried, until the tree fits the terminal.
const MOST_TRIED: [usize; 6] = [1000, 32, 16, 8, 4, 2];

/// A run on a terminal. The cursor is hidden while it lives.
pub(crate) struct LiveTree {
    term: Term,
    outline: Outline,
    drawn: usize,
    frame: usize,
}

impl LiveTree {
    /// A tree at the cursor's place.
    pub(crate) fn new(outline: Outline) -> Self {
        let term = Term::buffered_stdout();
        drop(term.hide_cursor());
        Self { term, outline, drawn: 0, frame: 0 }
    }

    /// Draws the run as it stands, over the last frame.
    pub(crate) fn draw(&mut self, view: &RunView) {
        self.frame += 1;
        let (height, width) = self.term.size();
        let room = usize::from(height).saturating_sub(1).max(4);
        let lines = self.fitting(view, room);
        self.replace(&lines, width.into());
    }

    /// Draws the run whole, for the last time.
    pub(crate) fn finish(mut self, view: &RunView) {
        let drawing = Drawing { now: span::now(), most: MOST_TRIED[1], frame: None, whole_errors: true };
        let lines = lines(view, &self.outline, &drawing);
        let (_, width) = self.term.size();
        self.replace(&lines, width.into());
    }

    fn fitting(&self, view: &RunView, room: usize) -> Vec<String> {
        let mut fitting = Vec::new();
        for most in MOST_TRIED {
            let drawing = Drawing { now: span::now(), most, frame: Some(self.frame), whole_errors: false };
            fitting = lines(view, &self.outline, &drawing);
            if fitting.len() <= room {
                return fitting;
            }
        }
        // A long chain: its end, with the foot, is where things happen.
        fitting.drain(1..=fitting.len() - room);
        fitting
    }

    fn replace(&mut self, lines: &[String], width: usize) {
        let out = || -> std::io::Result<()> {
            self.term.move_cursor_up(self.drawn)?;
            for line in lines {
                self.term.clear_line()?;
                self.term.write_line(&truncate_str(line, width.saturating_sub(1).max(20), "…"))?;
            }
            self.term.clear_to_end_of_screen()?;
            self.term.flush()
        };
        // A terminal that is gone is no reason to stop waiting for the run.
        drop(out());
        self.drawn = lines.len();
    }
}

impl Drop for LiveTree {
    fn drop(&mut self) {
        drop(self.term.show_cursor());
        drop(self.term.flush());
    }
}
