//! A file being written back: out of order, from many threads, and put aside without a descriptor when there
//! are many.

use std::sync::Arc;

use format::meta::Meta;
use format::path::TreePath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::{Errno, pwrite};

use super::apply::Inside;
use super::attributes::{Shortfall, Subject};
use super::status::Status;
use crate::error::Error;

/// An open file under a target. It has its full length from the start, and what is not written reads as
/// zeros.
///
/// Dropped without [`FileSink::finish`] or [`FileSink::discard`], it stays as it is, readable by its owner
/// only.
pub struct FileSink {
    pub(super) file: OwnedFd,
    pub(super) parked: Parked,
    pub(super) inside: Arc<Inside>,
}

/// A file put aside: it keeps no descriptor, and is only taken up again as the very file that it was.
#[derive(Clone, Debug)]
pub struct Parked {
    pub(super) path: TreePath,
    pub(super) inode: (u64, u64),
}

impl FileSink {
    /// Where it stands in the point.
    pub fn path(&self) -> &TreePath {
        &self.parked.path
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

    /// Closes the file until [`Target::reopen`](super::Target::reopen).
    pub fn park(self) -> Parked {
        self.parked
    }

    /// Sets owner, mode and time, in this order, and closes the file; call it after the last write. What
    /// could not be set is answered.
    pub fn finish(self, meta: &Meta) -> Vec<Shortfall> {
        let subject = Subject::Open(self.file.as_fd());
        self.inside.dresser.dress(&subject, &self.parked.path, meta)
    }

    /// Removes the file: nothing is better than a part that looks like the whole.
    pub fn discard(self) -> Result<(), Error> {
        let remove = || {
            let (at, name) = self.inside.beneath.parent(&self.parked.path)?;
            let same = Status::of(&at, name, false)?.inode() == self.parked.inode;
            if same { unlinkat(at, name, AtFlags::empty()) } else { Err(Errno::STALE) }
        };
        remove().map_err(|errno| self.trouble("remove", errno))
    }

    fn trouble(&self, act: &'static str, errno: Errno) -> Error {
        self.inside.trouble(act, &self.parked.path, errno)
    }
}
