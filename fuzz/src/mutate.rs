//! Changes inputs at random, from a seed: the same seed gives the same inputs.

/// Pieces that readers treat in their own way.
const PIECES: [&str; 48] = [
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

/// The longest input that is made.
const MAX_BYTES: usize = 64 * 1024;

/// A source of changed inputs.
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A source whose inputs depend on the seed alone.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// One of the inputs, changed in a few places.
    pub fn change(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut data = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            self.change_once(&mut data, corpus);
        }
        data.truncate(MAX_BYTES);
        data
    }

    fn change_once(&mut self, data: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let start = self.below(data.len() + 1);
        let end = (start + self.below(32)).min(data.len());
        match self.below(7) {
            0 => drop(data.drain(start..end)),
            1 => {
                let piece = PIECES[self.below(PIECES.len())];
                data.splice(start..start, piece.bytes());
            }
            2 => {
                let piece = PIECES[self.below(PIECES.len())];
                data.splice(start..end, piece.bytes());
            }
            3 => {
                let copy = data[start..end].repeat(1 + self.below(40));
                data.splice(start..start, copy);
            }
            4 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(200)).min(other.len());
                data.splice(start..end, other[from..to].iter().copied());
            }
            5 if start < data.len() => data[start] = u8::try_from(self.below(128)).unwrap_or_default(),
            _ if start < data.len() => data[start] ^= 1 << self.below(8),
            _ => data.truncate(end),
        }
    }

    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        // SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % (bound.max(1) as u64)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_again() {
        let corpus = vec![b"task: a".to_vec(), b"[1, 2, 3]".to_vec()];
        let run = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..100).map(|_| mutator.change(&corpus)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
