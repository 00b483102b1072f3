//! What the system says about a name or an open file, in our words.

use format::meta::{FileTime, Kind};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp, makedev, statx};
use rustix::io::Errno;

/// One answer of `statx`.
#[derive(Clone, Copy)]
pub(super) struct Status(Statx);

impl Status {
    /// Of `name` in the directory `at`; with `follow`, of what it leads to.
    pub(super) fn of(at: impl AsFd, name: &[u8], follow: bool) -> Result<Status, Errno> {
        let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        statx(at, name, flags, wanted()).map(Status)
    }

    /// Of what is open as `file`.
    pub(super) fn of_open(file: impl AsFd) -> Result<Status, Errno> {
        statx(file, c"", AtFlags::EMPTY_PATH, wanted()).map(Status)
    }

    /// `None` for a socket, and for anything the system may yet invent.
    pub(super) fn kind(&self) -> Option<Kind> {
        match FileType::from_raw_mode(self.0.stx_mode.into()) {
            FileType::RegularFile => Some(Kind::File),
            FileType::Directory => Some(Kind::Directory),
            FileType::Symlink => Some(Kind::Symlink),
            FileType::Fifo => Some(Kind::Fifo),
            FileType::CharacterDevice => Some(Kind::CharDevice),
            FileType::BlockDevice => Some(Kind::BlockDevice),
            FileType::Socket | FileType::Unknown => None,
        }
    }

    /// Permission bits with setuid, setgid and sticky.
    pub(super) fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode) & 0o7777
    }

    pub(super) fn uid(&self) -> u32 {
        self.0.stx_uid
    }

    pub(super) fn gid(&self) -> u32 {
        self.0.stx_gid
    }

    pub(super) fn links(&self) -> u32 {
        self.0.stx_nlink
    }

    pub(super) fn size(&self) -> u64 {
        self.0.stx_size
    }

    pub(super) fn mtime(&self) -> FileTime {
        time(self.0.stx_mtime)
    }

    pub(super) fn ctime(&self) -> FileTime {
        time(self.0.stx_ctime)
    }

    /// Whether it takes less room than it is long, so that there may be holes in it.
    pub(super) fn is_sparse(&self) -> bool {
        self.0.stx_blocks.saturating_mul(512) < self.0.stx_size
    }

    /// What the system says of it beside its times and numbers.
    pub(super) fn attributes(&self) -> StatxAttributes {
        self.0.stx_attributes
    }

    /// The device it is, for devices.
    pub(super) fn device(&self) -> u64 {
        makedev(self.0.stx_rdev_major, self.0.stx_rdev_minor)
    }

    /// The device it lies on and its number there: one thing, whatever its names.
    pub(super) fn inode(&self) -> (u64, u64) {
        (makedev(self.0.stx_dev_major, self.0.stx_dev_minor), self.0.stx_ino)
    }
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS.difference(StatxFlags::ATIME)
}

fn time(stamp: StatxTimestamp) -> FileTime {
    FileTime { seconds: stamp.tv_sec, nanos: stamp.tv_nsec }
}
