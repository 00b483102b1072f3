//! Every limit of the pipelines, each with its reason.

use std::sync::{Arc, Condvar, Mutex};

/// Bytes of a large file that one worker reads and cuts at a time: long enough to hide the start of a read, short
/// enough that four of them per core fit into the budget.
pub(crate) const SEGMENT_BYTES: usize = 8 << 20;

/// A file up to this length is read whole even if it has holes: asking where they are costs more than it saves.
pub(crate) const SPARSE_BYTES_MIN: u64 = 64 << 10;

/// A file that changed while it was read is read a second time if it is not longer than this.
pub(crate) const REREAD_BYTES_MAX: u64 = 1 << 30;

/// Zeros of this length or more are not stored: a block of the file systems there are.
pub(crate) const ZEROS_BYTES_MIN: usize = 4 << 10;

/// Files in one batch of small files: enough that handing it over costs nothing beside opening them.
pub(crate) const BATCH_FILES: usize = 64;

/// Bytes in one batch of small files: about two frames.
pub(crate) const BATCH_BYTES: u64 = 2 << 20;

/// Entries without content of their own that are handed on together.
pub(crate) const READY_ENTRIES: usize = 256;

/// Names that the walk hands on together, and how many such batches it may be ahead: enough that neither side waits for
/// the other, few enough that a file is read soon after it was looked at.
pub(crate) const AHEAD_NAMES: usize = 64;
pub(crate) const AHEAD_BATCHES: usize = 8;

/// What an entry in flight is counted as, in bytes: path, metadata, references.
pub(crate) const ENTRY_BYTES: usize = 1024;

/// Units in flight per core: one at work, one waiting, two for whoever is slower.
const UNITS_PER_CORE: usize = 4;

/// Bytes of work in flight for `cores` workers.
pub(crate) fn work_bytes(cores: usize) -> usize {
    SEGMENT_BYTES * (UNITS_PER_CORE * cores).saturating_add(1)
}

/// Bytes of ranges that a restore has asked for and not yet opened: what comes in 300 ms at 500 MB/s, and a third more for
/// what waits for a core.
pub(crate) const FETCH_BYTES: u64 = 192 << 20;

/// Two frames of one pack are fetched together if the gap between them is at most this: reading on is cheaper than
/// another request at 30 ms and 90 MB/s, and wastes less than a frame.
pub(crate) const GAP_BYTES: u64 = 512 << 10;

/// Packs whose directories a restore fetches at once: as many as requests may be in flight.
pub(crate) const PACKS_AT_ONCE: usize = 32;

/// Bytes of directories that a restore opens at once, as far as those before tell how long they are.
pub(crate) const PACKS_BYTES: usize = 16 << 20;

/// Requests that a restore has planned beyond those in flight, so that there is something to ask for while the directories
/// of more packs are fetched.
pub(crate) const JOBS_AHEAD: usize = 64;

/// Longest range of one request: 24 of them fill what may be asked for at once, so that one that is late holds up little, and
/// where no buffer is at hand, the allocator keeps memory of this length for the next.
pub(crate) const RANGE_BYTES: u64 = 6 << 20;

/// Bytes of one window of a restore, which is gathered while the one before is fetched: about 100 for each piece of content,
/// so 250,000 of them, and [`FILE_BYTES`] for each file.
pub(crate) const WINDOW_BYTES: usize = 24 << 20;

/// Bytes of windows whose content is not all written yet: one that arrives, one that is asked for, one that is planned. Many
/// tiny files have longer plans than content.
pub(crate) const PLANNED_BYTES: usize = 3 * WINDOW_BYTES;

/// What a file under way is counted as, in bytes: path, metadata, state.
pub(crate) const FILE_BYTES: usize = 512;

/// Parts of one file that a restore plans at once: enough for all cores where they are compared with what is there.
pub(crate) const PARTS_AT_ONCE: usize = 8 << 10;

/// Directories that a restore remembers until it sets their times in the end, about 300 bytes each; where there are more,
/// the tree is walked a second time instead.
pub(crate) const DIRECTORIES_MAX: usize = 64 << 10;

/// Entries that a search over many points remembers, so that it need not read their nodes again: about 300 bytes each.
pub(crate) const FOUND_ENTRIES_MAX: usize = 100_000;

/// Leaves of a tree that a search reads at once: enough for all cores, few enough that the first finds come soon.
pub(crate) const LEAVES_AT_ONCE: usize = 32;

/// Names left out that a backup remembers for those who ask which; how many there were is always counted.
pub(crate) const LEFT_OUT_NAMED_MAX: usize = 100_000;

/// Bytes that may be in flight, shared by all who feed a pipeline; a guard gives them back.
pub(crate) struct Budget {
    free: Mutex<usize>,
    freed: Condvar,
    most: usize,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Budget {
        Budget { free: Mutex::new(most), freed: Condvar::new(), most }
    }

    /// Takes `bytes`, or all there are if it asks for more; waits until they are free.
    pub(crate) fn take(&self, bytes: usize) -> usize {
        let bytes = bytes.min(self.most);
        let mut free = self.free.lock().expect("no holder of this lock panics");
        while *free < bytes {
            free = self.freed.wait(free).expect("no holder of this lock panics");
        }
        *free -= bytes;
        bytes
    }

    /// Gives back what [`Budget::take`] answered.
    pub(crate) fn give(&self, bytes: usize) {
        *self.free.lock().expect("no holder of this lock panics") += bytes;
        self.freed.notify_all();
    }
}

/// A part of a [`Budget`], given back when it is dropped.
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Waits until so many bytes are free.
    pub(crate) fn of(budget: &Arc<Budget>, bytes: usize) -> Share {
        Share { budget: budget.clone(), bytes: budget.take(bytes) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}
