//! A file being written back: out of order, from many threads, and put aside without a descriptor when there
//! are many.

use std::ops::Range;
use std::sync::Arc;

use format::meta::Meta;
use format::path::TreePath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Advice, AtFlags, FallocateFlags, fallocate, ftruncate, renameat, unlinkat};
use rustix::io::{Errno, pread, pwrite};

use super::apply::Inside;
use super::attributes::{Shortfall, Subject};
use super::status::Status;
use crate::error::Error;

/// What file systems write at once.
const BLOCK: usize = 4 << 10;

/// Bytes that are looked at together where zeros belong.
const ZERO_STEP: usize = 1 << 20;

/// An open file under a target. It has its full length from the start, and what is not written reads as
/// zeros.
///
/// One that takes the place of another stands beside it under a name of its own until it is finished. One that was taken
/// up as it stood is changed in place.
///
/// Dropped without [`FileSink::finish`] or [`FileSink::discard`], it stays as it is, readable by its owner
/// only where it is new.
pub struct FileSink {
    pub(super) file: OwnedFd,
    pub(super) place: Place,
    pub(super) inside: Arc<Inside>,
}

/// A file put aside: it keeps no descriptor, and is only taken up again as the very file that it was.
#[derive(Clone, Debug)]
pub struct Parked {
    pub(super) place: Place,
    pub(super) inode: (u64, u64),
}

/// Where a file is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where it belongs.
    pub(super) path: TreePath,
    /// Where it stands until it is finished.
    pub(super) until: Until,
    /// Whether it stood there before.
    pub(super) is_old: bool,
}

/// Where a file stands until it is finished.
#[derive(Clone, Debug)]
pub(super) enum Until {
    /// Where it belongs.
    InPlace,
    /// Under a name of its own.
    Beside(TreePath),
    /// Under the name by which another run finds it, and goes on with it.
    Part(TreePath),
}

impl Place {
    /// Where it stands now.
    pub(super) fn stands(&self) -> &TreePath {
        match &self.until {
            Until::InPlace => &self.path,
            Until::Beside(name) | Until::Part(name) => name,
        }
    }

    fn part(&self) -> Option<&TreePath> {
        if let Until::Part(name) = &self.until { Some(name) } else { None }
    }
}

impl Parked {
    /// As [`FileSink::part`].
    pub fn part(&self) -> Option<&TreePath> {
        self.place.part()
    }
}

impl FileSink {
    /// Where it stands in the point.
    pub fn path(&self) -> &TreePath {
        &self.place.path
    }

    /// Writes all of `bytes` from `offset` on.
    pub fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match pwrite(&self.file, bytes, offset) {
                Ok(0) => return Err(self.trouble("write", Errno::IO)),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.trouble("write", errno)),
            }
        }
        Ok(())
    }

    /// Fills `buf` from `offset` as far as the file reaches.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buf.len() {
            match pread(&self.file, &mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.trouble("read", errno)),
            }
        }
        Ok(filled)
    }

    /// The name under which a part of it is found by the run that goes on with it, if it has one.
    pub fn part(&self) -> Option<&TreePath> {
        self.place.part()
    }

    /// Whether the file stood there before and is changed in place.
    pub fn is_old(&self) -> bool {
        self.place.is_old
    }

    /// Writes those blocks of `bytes` that are not there already, and answers how many bytes that were.
    pub fn write_differing(&self, offset: u64, bytes: &[u8]) -> Result<u64, Error> {
        let mut there = vec![0; bytes.len()];
        let length = self.read_at(offset, &mut there)?;
        there.truncate(length);
        let (mut written, mut run) = (0, 0..0);
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            let from = number * BLOCK;
            if there.get(from..from + block.len()) == Some(block) {
                written += self.write_run(offset, bytes, &run)?;
                run = 0..0;
            } else if run.is_empty() {
                run = from..from + block.len();
            } else {
                run.end = from + block.len();
            }
        }
        Ok(written + self.write_run(offset, bytes, &run)?)
    }

    fn write_run(&self, offset: u64, bytes: &[u8], run: &Range<usize>) -> Result<u64, Error> {
        self.write_at(offset + run.start as u64, &bytes[run.clone()])?;
        Ok(run.len() as u64)
    }

    /// Makes a stretch read as zeros, as holes where the file system can. Answers how many bytes were something else, in
    /// whole blocks.
    pub fn zero(&self, offset: u64, length: u64) -> Result<u64, Error> {
        let mut there = vec![0; usize::try_from(length).unwrap_or(ZERO_STEP).min(ZERO_STEP)];
        let (mut at, end, mut zeroed) = (offset, offset.saturating_add(length), 0);
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(ZERO_STEP).min(there.len());
            let read = self.read_at(at, &mut there[..want])?;
            let mut run = 0..0;
            for (number, block) in there[..read].chunks(BLOCK).enumerate() {
                let from = number * BLOCK;
                if block.iter().all(|byte| *byte == 0) {
                    zeroed += self.zero_run(at, &run)?;
                    run = 0..0;
                } else if run.is_empty() {
                    run = from..from + block.len();
                } else {
                    run.end = from + block.len();
                }
            }
            zeroed += self.zero_run(at, &run)?;
            at += want as u64;
        }
        Ok(zeroed)
    }

    fn zero_run(&self, offset: u64, run: &Range<usize>) -> Result<u64, Error> {
        if run.is_empty() {
            return Ok(0);
        }
        let (from, length) = (offset + run.start as u64, run.len() as u64);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(&self.file, flags, from, length).is_err() {
            self.write_at(from, &vec![0; run.len()])?;
        }
        Ok(length)
    }

    /// Gives the file this length; a device that has room for so much keeps its own.
    pub fn set_size(&self, size: u64) -> Result<(), Error> {
        if let Some(onto) = self.inside.onto.as_ref().filter(|onto| onto.is_device()) {
            return onto.check_room(size);
        }
        ftruncate(&self.file, size).map_err(|errno| self.trouble("set the length of", errno))
    }

    /// Whether it ends where its content ends; a device may go on.
    pub fn ends_with_content(&self) -> bool {
        self.inside.onto.as_ref().is_none_or(|onto| !onto.is_device())
    }

    /// Lets go of what memory holds of the file, so that the next read asks the disk. Where that is not possible, the
    /// read is answered from memory.
    pub fn forget_cached(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Closes the file until [`Target::reopen`](super::Target::reopen).
    pub fn park(self) -> Parked {
        // One that cannot say which file it is, is not found again.
        let inode = Status::of_open(&self.file).map_or((0, 0), |status| status.inode());
        Parked { place: self.place, inode }
    }

    /// Sets owner, mode, attributes and time, in this order, and puts the file in its place; call it after the last write. What could not be set is answered.
    pub fn finish(&self, meta: &Meta) -> Result<Vec<Shortfall>, Error> {
        if self.inside.onto.is_some() {
            return Ok(Vec::new());
        }
        let subject = Subject::Open(self.file.as_fd());
        let shortfalls = self.inside.dresser.dress(&subject, &self.place.path, meta);
        if let Until::Beside(beside) | Until::Part(beside) = &self.place.until {
            let put = || {
                let (at, name) = self.inside.beneath.parent(&self.place.path)?;
                let (from, part) = self.inside.beneath.parent(beside)?;
                // Another run may have put its own there, which is not whole.
                self.check_stands_at(&from, part)?;
                match renameat(&from, part, &at, name) {
                    Err(Errno::ISDIR) => {
                        unlinkat(&at, name, AtFlags::REMOVEDIR)?;
                        renameat(&from, part, &at, name)
                    }
                    put => put,
                }
            };
            put().map_err(|errno| self.trouble("put in place", errno))?;
        }
        Ok(shortfalls)
    }

    /// Removes the file: nothing is better than a part that looks like the whole. One that stood there before stays.
    pub fn discard(&self) -> Result<(), Error> {
        if self.place.is_old {
            return Ok(());
        }
        let remove = || {
            let (at, name) = self.inside.beneath.parent(self.place.stands())?;
            self.check_stands_at(&at, name)?;
            unlinkat(at, name, AtFlags::empty())
        };
        remove().map_err(|errno| self.trouble("remove", errno))
    }

    fn check_stands_at(&self, at: &impl AsFd, name: &[u8]) -> Result<(), Errno> {
        let same = Status::of(at, name, false)?.inode() == Status::of_open(&self.file)?.inode();
        if same { Ok(()) } else { Err(Errno::STALE) }
    }

    fn trouble(&self, act: &'static str, errno: Errno) -> Error {
        self.inside.trouble(act, &self.place.path, errno)
    }
}
