//! One stream cut by many: pieces are cut apart, each as if a cut lay at its start, and stitched in order.
//!
//! From a place where both the true cuts and a piece's guessed ones have a cut, they are the same to the piece's end,
//! because a cut depends on nothing before its chunk. So stitching cuts anew only from the last true cut up to the
//! first meeting: a few chunks, but the whole piece if it has no content to meet by (a run of one byte is cut by length).

use super::{Cutter, Stream};

/// A piece of a stream with its guessed cuts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    start: u64,
    end: u64,
    stream: Stream,
    cuts: Vec<u64>,
}

impl Segment {
    /// Where the guessed chunks end, as positions in the stream, ascending. The first starts at the segment's start;
    /// bytes after the last cut belong to a chunk that ends in the next segment.
    pub fn cuts(&self) -> &[u64] {
        &self.cuts
    }

    /// The position in the stream after the segment's last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The guessed cuts after `position`, if that is one of them or the start.
    fn cuts_after(&self, position: u64) -> Option<&[u64]> {
        if position == self.start {
            return Some(&self.cuts);
        }
        let index = self.cuts.binary_search(&position).ok()?;
        self.cuts.get(index + 1..)
    }
}

/// The true cuts of a stream from its last true cut to a segment's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stitched {
    /// Positions in the stream, ascending.
    pub cuts: Vec<u64>,
    /// How many of the last of them end chunks that the segment had too: what was worked out for those still holds.
    pub kept: usize,
}

impl Cutter {
    /// Cuts `data`, which lies at `start` in its stream, as if a cut lay there. `stream` says what follows `data`.
    pub fn cut_segment(&self, start: u64, data: &[u8], stream: Stream) -> Segment {
        let mut cuts = Vec::new();
        let mut rest = data;
        while let Some(len) = self.next_cut(rest, stream) {
            rest = &rest[len..];
            cuts.push(start + (data.len() - rest.len()) as u64);
        }
        Segment { start, end: start + data.len() as u64, stream, cuts }
    }

    /// The true cuts up to the end of `segment`, given `data`: the bytes from the last true cut (the start of the
    /// stream, at first) to the end of the segment. What follows the last cut is carried over to the next segment;
    /// that is less than a longest chunk.
    ///
    /// # Panics
    ///
    /// If `data` is longer than the stream up to the segment's end.
    pub fn stitch(&self, data: &[u8], segment: &Segment) -> Stitched {
        let last_cut = segment.end.checked_sub(data.len() as u64);
        let mut at = last_cut.expect("the caller's data starts in the stream");
        let mut rest = data;
        let mut cuts = Vec::new();
        loop {
            if let Some(kept) = segment.cuts_after(at) {
                cuts.extend_from_slice(kept);
                return Stitched { cuts, kept: kept.len() };
            }
            let Some(len) = self.next_cut(rest, segment.stream) else {
                return Stitched { cuts, kept: 0 };
            };
            rest = &rest[len..];
            at += len as u64;
            cuts.push(at);
        }
    }
}
