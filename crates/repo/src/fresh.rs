//! The chunks that are new in a session and not listed yet: 48 bytes each, so that a hundred thousand of them cost some 6 to
//! 11 MB. Once a run lists them they are in the index, and leave.
//!
//! Workers share this table and nothing else. It is split so that they rarely wait for each other, and a chunk's id,
//! which is as good as chance, says where it stands.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, RwLock};

use format::id::{ChunkId, PackId};
use format::reference::Reference;

/// Parts of the table; more than there are cores.
const SHARDS: usize = 64;

/// Where a chunk is, without its name.
#[derive(Clone, Copy)]
struct Place {
    pack: u32,
    ordinal: u32,
    offset: u32,
    length: u32,
}

type Shard = HashMap<ChunkId, Place, BuildHasherDefault<OwnBits>>;

/// Chunks by their id.
pub(crate) struct Fresh {
    shards: Vec<Mutex<Shard>>,
    packs: RwLock<Vec<PackId>>,
}

impl Default for Fresh {
    fn default() -> Fresh {
        Fresh { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), packs: RwLock::default() }
    }
}

impl Fresh {
    /// A number for a pack whose chunks will be kept.
    pub(crate) fn begin(&self, pack: PackId) -> u32 {
        let mut packs = self.packs.write().expect("no holder of this lock panics");
        packs.push(pack);
        u32::try_from(packs.len() - 1).expect("fewer than 2^32 packs in one session")
    }

    /// Keeps a chunk of the pack of this number.
    pub(crate) fn keep(&self, number: u32, reference: &Reference) {
        let Reference { ordinal, offset, length, chunk, .. } = *reference;
        self.shard(&chunk).insert(chunk, Place { pack: number, ordinal, offset, length });
    }

    /// Where a chunk is.
    pub(crate) fn find(&self, chunk: &ChunkId) -> Option<Reference> {
        let Place { pack, ordinal, offset, length } = *self.shard(chunk).get(chunk)?;
        let packs = self.packs.read().expect("no holder of this lock panics");
        Some(Reference { pack: *packs.get(pack as usize)?, ordinal, offset, length, chunk: *chunk })
    }

    /// Drops chunks that are found elsewhere by now.
    pub(crate) fn forget(&self, listed: &[Reference]) {
        for Reference { chunk, .. } in listed {
            self.shard(chunk).remove(chunk);
        }
    }

    fn shard(&self, chunk: &ChunkId) -> MutexGuard<'_, Shard> {
        let at = usize::from(chunk.0[0]) % SHARDS;
        self.shards[at].lock().expect("no holder of this lock panics")
    }
}

/// Eight bytes of the id itself, behind the one that chose the shard.
#[derive(Default)]
struct OwnBits(u64);

impl Hasher for OwnBits {
    fn write(&mut self, id: &[u8]) {
        if let Some(bits) = id.get(8..16).and_then(|bits| bits.first_chunk()) {
            self.0 = u64::from_le_bytes(*bits);
        }
    }

    /// The length of the id, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use format::id::SessionId;
    use std::hash::{BuildHasher, Hash};

    #[test]
    fn what_was_kept_is_found_and_nothing_else() {
        let fresh = Fresh::default();
        let packs: Vec<PackId> = (0..3).map(|n| PackId::new(SessionId([n; 16]), [n; 16])).collect();
        let numbers: Vec<u32> = packs.iter().map(|pack| fresh.begin(*pack)).collect();
        let reference = |n: u32| Reference {
            pack: packs[n as usize % 3],
            ordinal: n,
            offset: n + 1,
            length: n + 2,
            chunk: ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()),
        };
        for n in 0..10_000 {
            fresh.keep(numbers[n as usize % 3], &reference(n));
        }
        for n in 0..20_000 {
            let expected = (n < 10_000).then(|| reference(n));
            assert_eq!(fresh.find(&reference(n).chunk), expected);
        }
        fresh.forget(&(0..5_000).map(reference).collect::<Vec<_>>());
        for n in 0..20_000 {
            let expected = (5_000..10_000).contains(&n).then(|| reference(n));
            assert_eq!(fresh.find(&reference(n).chunk), expected);
        }
    }

    #[test]
    fn ids_spread_by_their_own_bits() {
        let build = BuildHasherDefault::<OwnBits>::default();
        let hash = |n: u32| build.hash_one(ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()));
        let spread: std::collections::BTreeSet<u64> = (0..1000).map(hash).collect();
        assert_eq!(spread.len(), 1000);
        let mut hasher = OwnBits::default();
        ChunkId([1; 32]).hash(&mut hasher);
        assert_eq!(hasher.finish(), 0x0101_0101_0101_0101);
    }
}
