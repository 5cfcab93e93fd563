//! Looks at an expression before the parser does, so that the parser, the evaluator and everything that walks the
//! tree recurse to a bounded depth.

use cel::parser::PrattParser;

use super::error::{ExpressionError, code};
use crate::limits::{MAX_EXPRESSION_BYTES, MAX_EXPRESSION_CHAIN, MAX_EXPRESSION_DEPTH};

/// Refuses expressions that are too long or would nest too deep.
pub(super) fn check(source: &str) -> Result<(), ExpressionError> {
    if source.len() > MAX_EXPRESSION_BYTES {
        let message =
            format!("the expression has {} characters; at most {MAX_EXPRESSION_BYTES} are allowed", source.len());
        return Err(ExpressionError::new(code::TOO_LARGE, message));
    }
    if source.trim().is_empty() {
        return Err(ExpressionError::at(code::SYNTAX, 0, "the expression is empty"));
    }
    Scan { source: source.as_bytes(), at: 0, levels: vec![Level::default()], nested: 0 }.run()
}

/// What stands between two brackets, as far as it deepens the tree.
#[derive(Default)]
struct Level {
    /// Operators since the last `,`, `&&` or `||`: each may put one more node above the one before.
    chain: usize,
    /// Ternaries since the last `,`: they nest to the right.
    ternaries: usize,
}

struct Scan<'a> {
    source: &'a [u8],
    at: usize,
    levels: Vec<Level>,
    /// The depth that the levels outside the innermost one add up to.
    nested: usize,
}

impl Scan<'_> {
    fn run(mut self) -> Result<(), ExpressionError> {
        while let Some(&byte) = self.source.get(self.at) {
            let start = self.at;
            self.at += 1;
            match byte {
                b'"' | b'\'' => self.at = end_of_string(self.source, start),
                b'/' if self.peek() == Some(b'/') => self.skip_line(),
                b'(' | b'[' | b'{' => self.open(start)?,
                b')' | b']' | b'}' => self.close(),
                b',' => self.set(Level::default()),
                b'&' | b'|' => {
                    if self.peek() == Some(byte) {
                        self.at += 1;
                    }
                    let ternaries = self.levels.last().map_or(0, |level| level.ternaries);
                    self.set(Level { chain: 0, ternaries });
                }
                b'?' => self.deepen(start, |level| level.ternaries += 1)?,
                b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'!' | b'<' | b'>' | b'=' => {
                    self.deepen(start, |level| level.chain += 1)?;
                }
                // `in` is an operator; a name with these letters costs one step too many, which does no harm.
                b'i' if self.peek() == Some(b'n') => self.deepen(start, |level| level.chain += 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn set(&mut self, level: Level) {
        if let Some(last) = self.levels.last_mut() {
            *last = level;
        }
    }

    fn open(&mut self, start: usize) -> Result<(), ExpressionError> {
        if self.levels.len() > MAX_EXPRESSION_DEPTH {
            let message = format!("the expression nests deeper than {MAX_EXPRESSION_DEPTH} brackets here");
            return Err(ExpressionError::at(code::TOO_LARGE, start, message));
        }
        self.deepen(start, |level| level.chain += 1)?;
        let outer = self.levels.last().map_or(0, |level| level.chain + level.ternaries);
        self.nested += outer;
        self.levels.push(Level::default());
        Ok(())
    }

    fn close(&mut self) {
        if self.levels.len() > 1 {
            self.levels.pop();
            let outer = self.levels.last().map_or(0, |level| level.chain + level.ternaries);
            self.nested = self.nested.saturating_sub(outer);
        }
    }

    fn deepen(&mut self, start: usize, change: impl FnOnce(&mut Level)) -> Result<(), ExpressionError> {
        let mut depth = self.nested;
        if let Some(level) = self.levels.last_mut() {
            change(level);
            depth += level.chain + level.ternaries;
        }
        if depth > MAX_EXPRESSION_CHAIN {
            let message = format!("the expression chains more than {MAX_EXPRESSION_CHAIN} operators here");
            return Err(ExpressionError::at(code::TOO_LARGE, start, message));
        }
        Ok(())
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }
}

/// The byte after a string, raw or not, in one or three quotes, whose first quote stands at `start`. One without an end
/// ends with the text: that is for the parser to tell.
pub(super) fn end_of_string(source: &[u8], start: usize) -> usize {
    let quote = source[start];
    let before = |back: usize| start.checked_sub(back).and_then(|at| source.get(at)).copied();
    let raw = matches!(before(1), Some(b'r' | b'R'))
        || (matches!(before(1), Some(b'b' | b'B')) && matches!(before(2), Some(b'r' | b'R')));
    let quotes = if source[start..].starts_with(&[quote; 3]) { 3 } else { 1 };
    let end = &[quote; 3][..quotes];
    let mut at = start + quotes;
    while let Some(&byte) = source.get(at) {
        if source[at..].starts_with(end) {
            return at + quotes;
        }
        at += if byte == b'\\' && !raw { 2 } else { 1 };
    }
    source.len()
}

/// Parses what [`check`] has let pass.
///
/// Of the library's two parsers this is the one that recurses once for each bracket, not once for each rule of the
/// grammar: the other needs more than 100 KiB of stack for a bracket in an unoptimised build.
pub(super) fn parse(source: &str) -> Result<cel::IdedExpr, ExpressionError> {
    let errors = match PrattParser::new().enable_optional_syntax(false).parse(source) {
        Ok(ast) => return Ok(ast),
        Err(errors) => errors,
    };
    let Some(first) = errors.errors.first() else {
        return Err(ExpressionError::new(code::SYNTAX, "the expression can not be read"));
    };
    let message = format!("the expression can not be read: {}", shorten(&first.msg));
    Err(ExpressionError { code: code::SYNTAX, message, offset: offset(source, first.pos) })
}

/// The byte at a line and column as the parser counts them: both from 1, the column in bytes.
fn offset(source: &str, (line, column): (isize, isize)) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let before: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    Some(source.floor_char_boundary(before + column))
}

fn shorten(message: &str) -> String {
    const MOST: usize = 200;
    let line = message.lines().next().unwrap_or(message);
    let line = line.strip_prefix("Syntax error: ").unwrap_or(line);
    // The parser lists the tokens of its grammar that it expected, which helps no author.
    let line = line.split(" expecting {").next().unwrap_or(line);
    let line = line.replace("mismatched input '<EOF>'", "it ends too early,");
    line.chars().take(MOST).collect()
}
