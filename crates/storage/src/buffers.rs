//! Memory for objects and parts of them on their way, used again once they have arrived.
//!
//! Allocators give memory of that size back to the system as soon as it is freed. Taking it again costs a page fault and a
//! cleared page for every 4 KiB: a quarter of the time of a backup of random data, and a fifth of its restore.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

/// Shorter ones are left to the allocator.
const POOLED_BYTES_MIN: usize = 512 << 10;

/// Capacities are multiples of this, so that what was used for one length does for its neighbours.
const GRAIN: usize = 1 << 20;

/// What a store keeps between two reads: the longest ranges of a few requests.
const READ_BYTES_MAX: usize = 64 << 20;

/// Where buffers come from and go back to; clones share them.
#[derive(Clone, Debug)]
pub struct Buffers {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    most: usize,
}

/// For what a store reads.
impl Default for Buffers {
    fn default() -> Buffers {
        Buffers::keeping(READ_BYTES_MAX)
    }
}

impl Buffers {
    /// Keeps at most so many bytes of memory that nobody uses.
    pub fn keeping(most: usize) -> Buffers {
        Buffers { spare: Arc::default(), most }
    }

    /// An empty buffer with room for so many bytes.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        if bytes < POOLED_BYTES_MIN {
            return Vec::with_capacity(bytes);
        }
        let mut spare = self.spare();
        let fits = spare.iter().rposition(|buffer| buffer.capacity() >= bytes);
        // One that is too small makes room for one that is not: what is asked for changes with time.
        let taken = fits.or_else(|| spare.len().checked_sub(1)).map(|at| spare.swap_remove(at));
        drop(spare);
        let mut buffer = taken.filter(|buffer| buffer.capacity() >= bytes).unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(bytes.next_multiple_of(GRAIN));
        buffer
    }

    /// Bytes whose buffer comes back when nobody needs them any more.
    pub fn lend(&self, bytes: Vec<u8>) -> Bytes {
        if bytes.capacity() < POOLED_BYTES_MIN {
            return bytes.into();
        }
        Bytes::from_owner(Lent { bytes, home: self.clone() })
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().expect("no holder of this lock panics")
    }
}

struct Lent {
    bytes: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.home.spare();
        let kept: usize = spare.iter().map(Vec::capacity).sum();
        if kept.saturating_add(self.bytes.capacity()) <= self.home.most {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn lent(buffers: &Buffers, length: usize) -> Bytes {
        let mut bytes = buffers.take(length);
        bytes.resize(length, 7);
        buffers.lend(bytes)
    }

    fn spare(buffers: &Buffers) -> Vec<usize> {
        buffers.spare().iter().map(Vec::capacity).collect()
    }

    #[test]
    fn a_buffer_comes_back_once_nobody_reads_it_and_is_used_again() {
        let buffers = Buffers::keeping(8 * MIB);
        let bytes = lent(&buffers, MIB + 1);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!((spare(&buffers), &part[..]), (vec![], &[7; 10][..]));
        drop(part);
        assert_eq!(spare(&buffers), [2 * MIB]);
        let again = buffers.take(2 * MIB);
        assert_eq!((again.len(), again.capacity(), spare(&buffers)), (0, 2 * MIB, vec![]));
    }

    #[test]
    fn no_more_is_kept_than_was_said_and_short_ones_not_at_all() {
        let buffers = Buffers::keeping(3 * MIB);
        drop((0..9).map(|_| lent(&buffers, MIB)).collect::<Vec<_>>());
        drop((0..9).map(|_| lent(&buffers, 1000)).collect::<Vec<_>>());
        assert_eq!(spare(&buffers), [MIB; 3]);
    }

    #[test]
    fn what_is_too_small_makes_room() {
        let buffers = Buffers::keeping(4 * MIB);
        drop((0..4).map(|_| lent(&buffers, MIB)).collect::<Vec<_>>());
        for _ in 0..5 {
            drop(lent(&buffers, 3 * MIB));
        }
        assert!(spare(&buffers).contains(&(3 * MIB)), "{:?}", spare(&buffers));
        assert!(spare(&buffers).iter().sum::<usize>() <= 4 * MIB);
    }
}
