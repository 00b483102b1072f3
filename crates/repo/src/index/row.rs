//! One place of one chunk, as tables keep it.

use format::id::{ChunkId, PackId};
use format::reference::Reference;
use format::run::RunEntry;

/// Bytes of a row in a table.
pub(super) const ROW_BYTES: usize = 32;

/// A chunk's place: half its id, the number of its pack in the table that has the row, and where in the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) chunk: [u8; 16],
    pub(super) pack: u32,
    pub(super) ordinal: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl Row {
    /// The row of an entry of a run, whose pack has this number.
    pub(super) fn of(entry: &RunEntry, pack: u32) -> Row {
        let &RunEntry { chunk, frame, offset, length } = entry;
        Row { chunk, pack, ordinal: frame.ordinal, offset, length }
    }

    /// The reference, once the pack and the rest of the id are known.
    pub(super) fn reference(&self, pack: PackId, chunk: &ChunkId) -> Reference {
        let &Row { ordinal, offset, length, .. } = self;
        Reference { pack, ordinal, offset, length, chunk: *chunk }
    }

    /// What filters and fences know of it.
    pub(super) fn key(&self) -> u64 {
        key(&self.chunk)
    }

    pub(super) fn to_bytes(self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[..16].copy_from_slice(&self.chunk);
        let numbers = [self.pack, self.ordinal, self.offset, self.length].map(u32::to_le_bytes);
        bytes[16..].copy_from_slice(numbers.as_flattened());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; ROW_BYTES]) -> Row {
        let (chunk, numbers) = bytes.split_first_chunk().expect("a row is longer than half a chunk id");
        let number = |n: usize| u32::from_le_bytes(numbers.as_chunks().0[n]);
        Row { chunk: *chunk, pack: number(0), ordinal: number(1), offset: number(2), length: number(3) }
    }
}

/// The first half of the id is random already; eight bytes of it tell chunks apart well enough for a filter, and order
/// as the half does.
pub(super) fn key(half: &[u8; 16]) -> u64 {
    u64::from_be_bytes(*half.first_chunk().expect("16 bytes hold 8"))
}
