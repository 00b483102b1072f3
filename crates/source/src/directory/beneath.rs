//! The way down from a target's root to any name in it, which cannot lead out.
//!
//! The kernel resolves every path from the root's descriptor with the promise to stay beneath it and to
//! follow no link (`openat2`). Where the kernel is too old or a sandbox forbids that call, the way is walked
//! one name at a time and each step refuses links; paths have no `..`, so that is the same promise for more
//! calls. The last name is never part of the way: what is done to it is done relative to its directory, by
//! calls that do not follow it.
//!
//! No directory stays open between two operations: one that was moved out of the target in between is not
//! written to.

use format::path::TreePath;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Longest path handed to the kernel at once; it takes 4,096 bytes with the end mark.
const STEP_BYTES_MAX: usize = 4_000;

/// A root and the way of walking down from it.
pub(super) struct Beneath {
    root: OwnedFd,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The kernel walks and promises.
    Kernel,
    /// We walk, name by name.
    Steps,
}

/// An open directory on the way.
pub(super) enum At<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for At<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            At::Root(root) => *root,
            At::Below(directory) => directory.as_fd(),
        }
    }
}

impl Way {
    /// What this machine can do, tried on `root`.
    pub(super) fn of_this_machine(root: impl AsFd) -> Way {
        if Way::Kernel.open_directory(root, b".").is_ok() { Way::Kernel } else { Way::Steps }
    }

    fn open_directory(self, at: impl AsFd, step: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match self {
            Way::Kernel => {
                let promise = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                openat2(at, step, flags, Mode::empty(), promise)
            }
            Way::Steps => openat(at, step, flags, Mode::empty()),
        }
    }

    /// Where the first step into `path` ends.
    fn step(self, path: &[u8]) -> usize {
        let slash = |b: &u8| *b == b'/';
        let end = match self {
            Way::Steps => path.iter().position(slash),
            Way::Kernel if path.len() <= STEP_BYTES_MAX => None,
            Way::Kernel => path[..STEP_BYTES_MAX].iter().rposition(slash),
        };
        end.unwrap_or(path.len())
    }
}

impl Beneath {
    pub(super) fn new(root: OwnedFd, way: Way) -> Beneath {
        Beneath { root, way }
    }

    /// The root itself, opened for reading.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory that holds `path`, and the name there; `INVAL` for the root. `LOOP` or `NOTDIR` when
    /// something that is no directory stands on the way, `NOENT` when nothing does.
    pub(super) fn parent<'a>(&self, path: &'a TreePath) -> Result<(At<'_>, &'a [u8]), Errno> {
        let name = path.name().ok_or(Errno::INVAL)?;
        let bytes = path.as_bytes();
        let above = &bytes[..(bytes.len() - name.len()).saturating_sub(1)];
        Ok((self.descend(above)?, name))
    }

    /// Opens the last name of `path` itself, never what it links to.
    pub(super) fn open(&self, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let (at, name) = self.parent(path)?;
        openat(at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
    }

    fn descend(&self, mut path: &[u8]) -> Result<At<'_>, Errno> {
        let mut at = At::Root(self.root.as_fd());
        while !path.is_empty() {
            let (step, rest) = path.split_at(self.way.step(path));
            at = At::Below(self.way.open_directory(&at, step)?);
            path = rest.strip_prefix(b"/").unwrap_or(rest);
        }
        Ok(at)
    }
}
