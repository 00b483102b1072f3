//! The codec of a frame: zstd where it pays, the bytes themselves where it does not.
//!
//! Contexts are kept and used again, one pair per worker. Output is bounded by the raw length that the directory
//! states, so a hostile frame cannot grow.

use crate::cbor::Malformed;
use crate::limit::FRAME_BYTES_MAX;

/// How a frame's bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    Raw,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    /// Its number in the format.
    pub fn number(self) -> u8 {
        match self {
            Codec::Raw => 0,
            Codec::Zstd => 1,
        }
    }

    /// The codec of this number.
    pub fn from_number(number: u8) -> Result<Codec, Malformed> {
        match number {
            0 => Ok(Codec::Raw),
            1 => Ok(Codec::Zstd),
            _ => Err(Malformed::new("a frame", format!("codec {number} is not known"))),
        }
    }
}

/// Compresses frames, one after another.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

impl Compressor {
    /// A compressor at a zstd level (negative: faster and larger).
    pub fn new(level: i32) -> Compressor {
        let context = zstd::bulk::Compressor::new(level).expect("zstd makes a context while there is memory");
        Compressor { context, buffer: Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_BYTES_MAX)) }
    }

    /// The smaller form of `raw`; zstd must save at least a sixteenth to count, as it costs time at each restore.
    pub fn compress<'a>(&'a mut self, raw: &'a [u8]) -> (Codec, &'a [u8]) {
        self.buffer.clear();
        self.buffer.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let written = self.context.compress_to_buffer(raw, &mut self.buffer);
        match written {
            Ok(length) if length <= raw.len().saturating_sub(raw.len() / 16) => (Codec::Zstd, &self.buffer),
            _ => (Codec::Raw, raw),
        }
    }
}

/// Gives frames back, one after another.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
}

impl Default for Decompressor {
    fn default() -> Decompressor {
        Decompressor {
            context: zstd::bulk::Decompressor::new().expect("zstd makes a context while there is memory"),
        }
    }
}

impl Decompressor {
    /// Puts the raw form of `stored` into `raw`, which is emptied first.
    pub fn decompress(
        &mut self,
        codec: Codec,
        stored: &[u8],
        raw_length: usize,
        raw: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        raw.clear();
        match codec {
            Codec::Raw => raw.extend_from_slice(stored),
            Codec::Zstd => {
                raw.reserve_exact(raw_length.min(FRAME_BYTES_MAX));
                self.context
                    .decompress_to_buffer(stored, raw)
                    .map_err(|e| Malformed::new("a frame", format!("zstd refuses it: {e}")))?;
            }
        }
        if raw.len() != raw_length {
            return Err(Malformed::new("a frame", "its raw length is not what its directory states"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back(raw in prop::collection::vec(any::<u8>(), 1..3000), times in 1usize..20, level in -5i32..6) {
            let raw = raw.repeat(times);
            let mut compressor = Compressor::new(level);
            let (codec, stored) = compressor.compress(&raw);
            prop_assert!(stored.len() <= raw.len());
            let mut back = vec![1, 2, 3];
            Decompressor::default().decompress(codec, stored, raw.len(), &mut back).unwrap();
            prop_assert_eq!(back, raw);
        }

        #[test]
        fn hostile_frames_never_panic_or_grow(stored: Vec<u8>, raw_length in 0usize..10_000) {
            let mut raw = Vec::new();
            let _ = Decompressor::default().decompress(Codec::Zstd, &stored, raw_length, &mut raw);
            prop_assert!(raw.len() <= raw.capacity() && raw.capacity() <= FRAME_BYTES_MAX);
        }
    }

    #[test]
    fn a_frame_that_would_grow_past_its_stated_length_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
        let mut raw = Vec::new();
        assert!(Decompressor::default().decompress(Codec::Zstd, &bomb, 1000, &mut raw).is_err());
        assert!(raw.capacity() < 1 << 20);
    }
}
