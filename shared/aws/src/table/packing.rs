//! How the body of an item is packed: a byte with the format's version, then the JSON text as raw deflate (RFC 1951).
//!
//! To look at one by hand: `python3 -c "import sys,zlib; print(zlib.decompress(sys.stdin.buffer.read()[1:], -15))"`.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::Damage;

/// The version of everything that is packed.
pub(crate) const VERSION: u8 = 1;

/// Bytes of JSON that one item may unpack to: an item has at most 400 KB, and damage must not fill the memory.
const MAX_UNPACKED_BYTES: u64 = 16 * 1024 * 1024;

/// Packs a JSON text.
///
/// # Panics
/// Never: writing to memory does not fail.
pub(crate) fn pack(json: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(vec![VERSION], Compression::best());
    encoder.write_all(json).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// Unpacks a JSON text.
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<u8>, Damage> {
    let (version, deflated) = packed.split_first().ok_or_else(|| Damage::broken("it is empty"))?;
    if *version != VERSION {
        return Err(Damage::UnknownVersion { found: *version, known: VERSION });
    }
    let mut json = Vec::new();
    DeflateDecoder::new(deflated).take(MAX_UNPACKED_BYTES).read_to_end(&mut json).map_err(Damage::broken)?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unpacking_restores_the_packed_bytes(json in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(unpack(&pack(&json)), Ok(json));
        }

        #[test]
        fn damaged_bytes_never_panic(packed in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(unpack(&packed));
        }
    }

    #[test]
    fn other_versions_are_refused() {
        let mut packed = pack(b"{}");
        packed[0] = 9;
        assert_eq!(unpack(&packed), Err(Damage::UnknownVersion { found: 9, known: VERSION }));
        assert!(matches!(unpack(&[]), Err(Damage::Broken(_))));
        let cut = pack(b"{\"a\":\"some text that is long enough\"}");
        assert!(matches!(unpack(&cut[..cut.len() / 2]), Err(Damage::Broken(_))));
    }
}
