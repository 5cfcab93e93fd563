//! A text that a few edits make of a file of the corpus. The corpus is sound, or nearly so. An edited text gets further
//! into a reader than random bytes do. A repeated part shows work that grows faster than the text.

use bolero::TypeGenerator;

/// Parts of texts that the readers treat in their own way.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "'",
    ":",
    ": ",
    ", ",
    "\n",
    "\n  ",
    "- ",
    "? ",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    ">-\n",
    "<<: ",
    "---\n",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "18446744073709551616",
    "9223372036854775807",
    "0x",
    "${{ ",
    " }}",
    "$${{",
    "input.",
    "actions.",
    ".map(x, ",
    "has(",
    "&&",
    "||",
    "\\u0000",
    "\\ud83d",
    "\u{feff}",
    "\u{e4}",
    "\"v\":1",
    "$ref",
    "needs",
    "exec",
];

/// The longest text that is made.
const MAX_BYTES: usize = 64 * 1024;

/// A file, and its edits. Numbers of files and places are taken modulo how many there are.
#[derive(Debug, Clone, TypeGenerator)]
pub(crate) struct Edited {
    file: u16,
    #[generator(bolero::produce::<Vec<Edit>>().with().len(0..8_usize))]
    edits: Vec<Edit>,
}

#[derive(Debug, Clone, TypeGenerator)]
enum Edit {
    Insert {
        at: u16,
        #[generator(0..PIECES.len())]
        piece: usize,
    },
    Remove {
        at: u16,
        #[generator(1..64_usize)]
        len: usize,
    },
    Repeat {
        at: u16,
        #[generator(1..32_usize)]
        len: usize,
        #[generator(1..2_000_usize)]
        times: usize,
    },
    Splice {
        at: u16,
        file: u16,
        from: u16,
        #[generator(1..256_usize)]
        len: usize,
    },
    Set {
        at: u16,
        byte: u8,
    },
}

impl Edited {
    /// The text, at most `MAX_BYTES` of it. Bytes that are no text are replaced, for every reader refuses them at once.
    pub(crate) fn of(&self, corpus: &[Vec<u8>]) -> String {
        let mut data = corpus[usize::from(self.file) % corpus.len()].clone();
        for edit in &self.edits {
            edit.apply(&mut data, corpus);
            data.truncate(MAX_BYTES);
        }
        String::from_utf8_lossy(&data).into_owned()
    }
}

impl Edit {
    fn apply(&self, data: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        match *self {
            Self::Insert { at, piece } => {
                let at = place(at, data);
                data.splice(at..at, PIECES[piece].bytes());
            }
            Self::Remove { at, len } => drop(data.drain(part(at, len, data))),
            Self::Repeat { at, len, times } => {
                let part = part(at, len, data);
                let copies = data[part.clone()].repeat(times);
                data.splice(part.start..part.start, copies);
            }
            Self::Splice { at, file, from, len } => {
                let other = &corpus[usize::from(file) % corpus.len()];
                let at = place(at, data);
                data.splice(at..at, other[part(from, len, other)].iter().copied());
            }
            Self::Set { at, byte } => {
                if let Some(there) = data.get_mut(usize::from(at)) {
                    *there = byte;
                }
            }
        }
    }
}

fn place(at: u16, data: &[u8]) -> usize {
    usize::from(at) % (data.len() + 1)
}

fn part(at: u16, len: usize, data: &[u8]) -> std::ops::Range<usize> {
    let start = place(at, data);
    start..(start + len).min(data.len())
}
