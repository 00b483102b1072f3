//! What a point keeps of a file beside its content. Inode, ctime and atime are not here: they mean something only on
//! the machine that was read and live in its local caches.

use std::sync::Arc;

/// A file's time: seconds since 1970 UTC (negative before) and nanoseconds under a second, as Linux keeps it; reaches
/// further than 64-bit nanoseconds would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime {
    /// Seconds since 1970 UTC, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanos: u32,
}

/// What kind of thing a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// An extended attribute: its name and its value.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

/// Everything kept of one name, but its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: at most `0o7777`.
    pub mode: u32,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Owner by name, where the machine knew one; many entries share it.
    pub user: Option<Arc<[u8]>>,
    /// Group by name, where the machine knew one.
    pub group: Option<Arc<[u8]>>,
    /// Time of last change of content.
    pub mtime: FileTime,
    /// Length of a regular file's content in bytes; 0 for everything else.
    pub size: u64,
    /// Where a symbolic link points, raw; empty for everything else.
    pub target: Box<[u8]>,
    /// Device number of a device, as Linux `dev_t`; 0 for everything else.
    pub device: u64,
    /// For a regular file with several names: the same number at each of its names within one point, taken from its
    /// first name in path order (first eight bytes of its BLAKE3, little-endian), so it does not change when other
    /// files come and go.
    pub link: Option<u64>,
    /// Extended attributes by name, sorted.
    pub xattrs: Vec<Xattr>,
}

impl Meta {
    /// A plain entry of `kind` with nothing else known; callers fill in the rest.
    pub fn new(kind: Kind) -> Meta {
        Meta {
            kind,
            mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime: FileTime::default(),
            size: 0,
            target: Box::default(),
            device: 0,
            link: None,
            xattrs: Vec::new(),
        }
    }
}
