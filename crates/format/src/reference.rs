//! Where a chunk is, for ever: a reference never changes, and what it leads to is proved by the chunk id.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use crate::id::{ChunkId, PackId};

/// A frame by its origin: the pack it was first written to and its number there. Moving does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct FrameId {
    /// The pack that the frame was first written to.
    #[n(0)]
    pub pack: PackId,
    /// Its number in that pack, from 0.
    #[n(1)]
    pub ordinal: u32,
}

/// A chunk by where it is and by what it is; section 6 of `docs/format.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Reference {
    /// Origin pack of the frame.
    #[n(0)]
    pub pack: PackId,
    /// Number of the frame in its origin pack.
    #[n(1)]
    pub ordinal: u32,
    /// First byte in the raw frame.
    #[n(2)]
    pub offset: u32,
    /// Length in bytes; never 0.
    #[n(3)]
    pub length: u32,
    /// Keyed BLAKE3 of the plain bytes.
    #[n(4)]
    pub chunk: ChunkId,
}

impl Reference {
    /// The frame that holds the chunk.
    pub fn frame(&self) -> FrameId {
        FrameId { pack: self.pack, ordinal: self.ordinal }
    }
}

/// A set of frames, as directories list what their frames refer to: by pack, then by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameSet {
    packs: BTreeMap<PackId, BTreeSet<u32>>,
}

impl FrameSet {
    /// Adds one frame.
    pub fn insert(&mut self, frame: FrameId) {
        self.packs.entry(frame.pack).or_default().insert(frame.ordinal);
    }

    /// Adds all frames of `other`.
    pub fn extend(&mut self, other: &FrameSet) {
        for (pack, ordinals) in &other.packs {
            self.packs.entry(*pack).or_default().extend(ordinals);
        }
    }

    /// The frames, sorted.
    pub fn iter(&self) -> impl Iterator<Item = FrameId> {
        self.packs
            .iter()
            .flat_map(|(&pack, ordinals)| ordinals.iter().map(move |&ordinal| FrameId { pack, ordinal }))
    }

    /// The packs with their ordinals, sorted.
    pub fn packs(&self) -> impl Iterator<Item = (&PackId, &BTreeSet<u32>)> {
        self.packs.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }
}

impl FromIterator<FrameId> for FrameSet {
    fn from_iter<I: IntoIterator<Item = FrameId>>(frames: I) -> FrameSet {
        let mut set = FrameSet::default();
        frames.into_iter().for_each(|frame| set.insert(frame));
        set
    }
}
