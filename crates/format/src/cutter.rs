//! Cuts content into chunks where the content itself says so: section 12 of `docs/format.md`.
//!
//! The promise: whether a chunk ends after a byte depends on the 64 bytes up to that byte and on the chunk's length so
//! far, on nothing else. So equal content is cut alike wherever it lies; a change is forgotten a few cuts later; one
//! stream can be cut in pieces that are stitched together ([`Segment`]); and if the stream goes on, from a cut, with
//! the bytes of an old chunk that was not the last of its stream, the cutter ends that chunk at the same place, so a
//! reader may compare with old chunks first and cut only what has changed.
//!
//! FastCDC's gear hash, skipped minimum and normalised masks (Xia et al., USENIX ATC 2016; TPDS 2020), but the window
//! is never reset: a cut is first judged when 64 bytes of the chunk were seen, and older ones have left the hash.

#![allow(
    clippy::indexing_slicing,
    reason = "the hot loop looks up a table of 256 numbers by byte; slices stay inside lengths compared just before"
)]
#![allow(clippy::arithmetic_side_effects, reason = "sums of lengths of slices in memory")]

mod segment;
#[cfg(test)]
mod tests;

pub use segment::{Segment, Stitched};

use crate::limit::FRAME_BYTES_MAX;
use std::fmt;
use std::ops::ControlFlow::{self, Break, Continue};
use zeroize::Zeroizing;

/// The rule by which this code cuts: table, window, masks. Another rule is another number; sizes stand beside it.
pub const GENERATION: u32 = 0;

/// Bytes that a decision sees: each byte shifts the 64-bit hash by one, so the 65th has left it.
const WINDOW: usize = 64;

/// How much stricter than one in `normal` a cut is judged before `normal`, and how much looser after it, in bits.
/// Level 2 of the paper; `docs/decisions/0003-cutter.md` compares 1, 2 and 3.
const NORMALISATION: u32 = 2;

/// No run of one repeated byte has a hash below two to this: it stays uncut up to the maximum. The loosest mask that
/// [`Sizes`] allows has 64 - 56 bits.
const CONSTANT_RUN_LOG2: u32 = 56;

/// Separates the table from everything else that the chunk key is for. The number is that of the generation, not of the
/// format.
const TABLE_CONTEXT: &str = "seawall 0 cutter";

/// Shortest, normal and longest chunk in bytes, as recorded in a repository's genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    min: u32,
    normal: u32,
    max: u32,
}

/// Sizes that this generation cannot cut by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "chunk sizes {min}/{normal}/{max} cannot be cut by: powers of two are needed, \
     64 <= min < normal < max <= {FRAME_BYTES_MAX}, and normal at least 1024"
)]
pub struct BadSizes {
    /// Shortest chunk asked for, in bytes.
    pub min: u32,
    /// Normal chunk asked for, in bytes.
    pub normal: u32,
    /// Longest chunk asked for, in bytes.
    pub max: u32,
}

impl Sizes {
    /// What new repositories are made with; the figures are in `docs/decisions/0003-cutter.md`.
    pub const STANDARD: Sizes = Sizes { min: 32 << 10, normal: 64 << 10, max: 256 << 10 };

    /// Sizes in bytes: powers of two, 64 <= `min` < `normal` < `max` <= 1 MiB, `normal` at least 1 KiB.
    pub const fn new(min: u32, normal: u32, max: u32) -> Result<Sizes, BadSizes> {
        let powers = min.is_power_of_two() && normal.is_power_of_two() && max.is_power_of_two();
        let ordered = min < normal && normal < max;
        let bounded = min as usize >= WINDOW && max as usize <= FRAME_BYTES_MAX;
        if powers && ordered && bounded && normal >= 1 << (64 - CONSTANT_RUN_LOG2 + NORMALISATION) {
            Ok(Sizes { min, normal, max })
        } else {
            Err(BadSizes { min, normal, max })
        }
    }

    /// No chunk but the last of a stream is shorter, in bytes.
    pub const fn min(self) -> usize {
        self.min as usize
    }

    /// From this length on, in bytes, cuts are judged by the loose mask.
    pub const fn normal(self) -> usize {
        self.normal as usize
    }

    /// No chunk is longer, in bytes.
    pub const fn max(self) -> usize {
        self.max as usize
    }

    /// Hashes below this end a chunk shorter than `normal`.
    const fn strict(self) -> u64 {
        1 << (u64::BITS - self.normal.ilog2() - NORMALISATION)
    }

    /// Hashes below this end a chunk of `normal` bytes and more.
    const fn loose(self) -> u64 {
        1 << (u64::BITS - self.normal.ilog2() + NORMALISATION)
    }
}

/// Whether a stream has bytes after those at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// More bytes will follow, so what has no cut yet is not a chunk.
    GoesOn,
    /// There are no more bytes: what is left is the last chunk.
    EndsHere,
}

/// The rule with one key's table and one repository's sizes. Stateless: one serves all threads.
pub struct Cutter {
    gear: Box<Zeroizing<[u64; 256]>>,
    sizes: Sizes,
}

impl fmt::Debug for Cutter {
    /// Leaves the table out: it is as secret as the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cutter").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

impl Cutter {
    /// Draws the table from the chunk key.
    pub fn new(chunk_key: &[u8; 32], sizes: Sizes) -> Cutter {
        Cutter { gear: draw_table(chunk_key), sizes }
    }

    /// The sizes it cuts by.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Length of the chunk that starts with `data`, which starts at a cut or at the start of the stream.
    ///
    /// `None` asks for more data, and is never the answer to `max` bytes or more; the caller then asks again with
    /// what it had and what came. At the end of a stream only empty data has no chunk.
    pub fn next_cut(&self, data: &[u8], stream: Stream) -> Option<usize> {
        let seen = &data[..data.len().min(self.sizes.max())];
        if let Some(len) = self.content_cut(seen) {
            return Some(len);
        }
        let forced = seen.len() == self.sizes.max();
        let last = stream == Stream::EndsHere && !seen.is_empty();
        (forced || last).then_some(seen.len())
    }

    /// The first length, of those that `data` reaches, at which its content ends the chunk.
    fn content_cut(&self, data: &[u8]) -> Option<usize> {
        let (min, normal) = (self.sizes.min(), self.sizes.normal());
        if data.len() < min {
            return None;
        }
        // A chunk of n bytes is judged by its last byte, n - 1. The window before the first judged byte comes first.
        let middle = data.len().min(normal - 1);
        let mut window = Window { gear: &self.gear, hash: 0 };
        data[min - WINDOW..min - 1].iter().for_each(|&byte| window.push(byte));
        let window = match window.find_below(&data[min - 1..middle], self.sizes.strict()) {
            Break(at) => return Some(min + at),
            Continue(window) => window,
        };
        let loose = window.find_below(&data[middle..], self.sizes.loose());
        loose.break_value().map(|at| middle + 1 + at)
    }
}

/// The gear hash over the last 64 bytes.
struct Window<'a> {
    gear: &'a [u64; 256],
    hash: u64,
}

impl Window<'_> {
    #[inline(always)]
    fn push(&mut self, byte: u8) {
        self.hash = (self.hash << 1).wrapping_add(self.gear[usize::from(byte)]);
    }

    /// Pushes four bytes; the hashes after each. Sums over the bytes alone do not wait for the hash before, so four
    /// bytes cost about the delay of one.
    #[inline(always)]
    fn push_four(&mut self, [a, b, c, d]: [u8; 4]) -> [u64; 4] {
        let sum1 = self.gear[usize::from(a)];
        let sum2 = (sum1 << 1).wrapping_add(self.gear[usize::from(b)]);
        let sum3 = (sum2 << 1).wrapping_add(self.gear[usize::from(c)]);
        let sum4 = (sum3 << 1).wrapping_add(self.gear[usize::from(d)]);
        let before = self.hash;
        self.hash = (before << 4).wrapping_add(sum4);
        [
            (before << 1).wrapping_add(sum1),
            (before << 2).wrapping_add(sum2),
            (before << 3).wrapping_add(sum3),
            self.hash,
        ]
    }

    /// The index of the first byte after which the hash is below `limit`; else the window after all bytes.
    ///
    /// By value and not inlined: so the hash stays in a register, and each step is an instruction or two less.
    #[inline(never)]
    fn find_below(mut self, bytes: &[u8], limit: u64) -> ControlFlow<usize, Self> {
        let (blocks, rest) = bytes.as_chunks::<8>();
        for (index, &[a, b, c, d, e, f, g, h]) in blocks.iter().enumerate() {
            if let Some(at) = first_below(self.push_four([a, b, c, d]), limit) {
                return Break(index * 8 + at);
            }
            if let Some(at) = first_below(self.push_four([e, f, g, h]), limit) {
                return Break(index * 8 + 4 + at);
            }
        }
        for (index, &byte) in rest.iter().enumerate() {
            self.push(byte);
            if self.hash < limit {
                return Break(blocks.len() * 8 + index);
            }
        }
        Continue(self)
    }
}

/// Four comparisons in a row: loops over arrays of hashes were slower when measured.
#[inline(always)]
fn first_below([a, b, c, d]: [u64; 4], limit: u64) -> Option<usize> {
    if a < limit {
        Some(0)
    } else if b < limit {
        Some(1)
    } else if c < limit {
        Some(2)
    } else if d < limit {
        Some(3)
    } else {
        None
    }
}

/// The table: little-endian numbers from the extendable output of `BLAKE3-derive(TABLE_CONTEXT, chunk key)`, leaving
/// out those that would make a run of their byte look like a cut.
///
/// Key derivation, not the keyed hash, because the latter names chunks under the same key: a chunk whose content is
/// the context string would have the start of the table for its name.
fn draw_table(chunk_key: &[u8; 32]) -> Box<Zeroizing<[u64; 256]>> {
    let mut output = blake3::Hasher::new_derive_key(TABLE_CONTEXT).update(chunk_key).finalize_xof();
    let mut gear = Box::new(Zeroizing::new([0; 256]));
    for entry in gear.iter_mut() {
        while constant_run_hash(*entry) >> CONSTANT_RUN_LOG2 == 0 {
            let mut bytes = [0; 8];
            output.fill(&mut bytes);
            *entry = u64::from_le_bytes(bytes);
        }
    }
    gear
}

/// The hash of 64 times the same byte: its table entry shifted by 0 to 63 and summed, which is the entry times 2^64 - 1.
fn constant_run_hash(entry: u64) -> u64 {
    entry.wrapping_neg()
}
