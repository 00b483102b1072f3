//! The names in one directory, sorted by bytes and each once: sorted names, going down at once, are path
//! order.
//!
//! All names lie in one buffer and are sorted by their first eight bytes as a number, so that a directory of
//! many files costs two allocations and few comparisons reach into the buffer.

use rustix::fd::AsFd;
use rustix::fs::RawDir;
use rustix::io::Errno;

/// What one system call may return; larger saves few calls.
const BUFFER_BYTES: usize = 64 << 10;

/// Names still to come.
#[derive(Default)]
pub(super) struct Listing {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    next: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    first_eight: u64,
    start: usize,
    length: usize,
}

/// Memory that every listing of a walk reads into.
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    pub(super) fn new() -> Buffer {
        Buffer(Vec::with_capacity(BUFFER_BYTES))
    }
}

impl Listing {
    /// Reads `directory` from where its descriptor stands, which is the start for one just opened. After an
    /// error the names read so far are there all the same.
    pub(super) fn read(directory: impl AsFd, buffer: &mut Buffer) -> (Listing, Option<Errno>) {
        let mut listing = Listing::default();
        let mut names = RawDir::new(directory, buffer.0.spare_capacity_mut());
        let trouble = loop {
            match names.next() {
                None => break None,
                Some(Err(Errno::INTR)) => {}
                Some(Err(errno)) => break Some(errno),
                Some(Ok(entry)) => listing.push(entry.file_name().to_bytes()),
            }
        };
        listing.sort();
        (listing, trouble)
    }

    /// A listing of `names`, sorted already.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Listing {
        let mut listing = Listing::default();
        names.for_each(|name| listing.push(name));
        listing
    }

    /// The next name in order.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let slot = self.slots.get(self.next)?;
        self.next += 1;
        Some(slot.name(&self.bytes))
    }

    /// Whether `name` is among the names, also where it was given out.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        let sorted = |slot: &Slot| slot.name(&self.bytes).cmp(name);
        self.slots.binary_search_by(sorted).is_ok()
    }

    fn push(&mut self, name: &[u8]) {
        if matches!(name, b"." | b"..") {
            return;
        }
        let mut first = [0; 8];
        let head = name.len().min(8);
        first[..head].copy_from_slice(&name[..head]);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.slots.push(Slot { first_eight: u64::from_be_bytes(first), start, length: name.len() });
    }

    /// A directory that changes while it is listed may give a name twice.
    fn sort(&mut self) {
        let bytes = &self.bytes;
        let order = |a: &Slot, b: &Slot| {
            a.first_eight.cmp(&b.first_eight).then_with(|| a.name(bytes).cmp(b.name(bytes)))
        };
        self.slots.sort_unstable_by(order);
        self.slots.dedup_by(|a, b| order(a, b).is_eq());
    }
}

impl Slot {
    fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_sorted_by_bytes_and_each_once() {
        let mut listing = Listing::default();
        let names: [&[u8]; 9] =
            [b"b", b"abcdefgh", b"..", b"a", b"abcdefghz", b"\xff", b"abcdefgh", b".", b"abcdefghA"];
        names.iter().for_each(|name| listing.push(name));
        listing.sort();
        let sorted: [&[u8]; 6] = [b"a", b"abcdefgh", b"abcdefghA", b"abcdefghz", b"b", b"\xff"];
        assert!(
            sorted.iter().all(|name| listing.has(name)) && !listing.has(b"abcdefghB") && !listing.has(b"..")
        );
        for name in sorted {
            assert_eq!(listing.next(), Some(name));
        }
        assert_eq!(listing.next(), None);
    }
}
