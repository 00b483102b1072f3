//! One entry of a scan, and its content: only what was listed is read, and a change under the reading hand is
//! told.

use std::ops::Range;
use std::sync::Arc;

use format::meta::{FileTime, Kind, Meta, Xattr};
use format::path::TreePath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::{Errno, pread};

use super::folder::{Folder, Scope, open_quietly};
use super::image::{self, Disk};
use super::status::Status;
use super::xattrs::Holder;
use crate::error::Error;
use crate::time::nanoseconds;

/// A kernel stamps files with a coarse clock that ticks every 1 to 10 ms. Two changes within one tick look
/// like one, and the clock may lag a tick behind the one that the scan's start was read from; five of the
/// longest are safe.
const TICK_NS: i128 = 50_000_000;

/// The same for file systems that keep no parts of a second.
const COARSE_TICK_NS: i128 = 2_050_000_000;

/// By how much a buffer grows at most while a file turns out longer than it was listed, in bytes.
const MORE_ROOM: usize = 256 << 10;

/// One name of a scanned tree.
pub struct Found {
    /// Where it stands in the point.
    pub path: TreePath,
    /// What is kept of it beside its content.
    pub meta: Meta,
    /// What tells whether it is still the same, on this machine only.
    pub identity: Identity,
    /// Whether there may be holes in its content.
    pub sparse: bool,
    /// Whether its content is a disk, which changes block by block.
    pub image: bool,
    pub(super) folder: Arc<Folder>,
    /// The device that it is; `None` for what is a regular file.
    pub(super) disk: Option<Disk>,
}

/// A stretch of a file that its file system keeps, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
    /// Whether nothing but zeros is there, and no room is taken.
    pub hole: bool,
}

/// What a machine knows of a file beside what is kept; comparing it tells changes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Number on its device.
    pub inode: u64,
    /// When content or metadata last changed, by the machine's clock; nobody can set it.
    pub ctime: FileTime,
    /// The device it lies on; may differ after each boot or mount, so it says nothing about change.
    pub device: u64,
    /// How many names it has.
    pub links: u32,
}

impl Found {
    /// Whether a later change must show in the times: false when the file changed so shortly before
    /// `scan_start` (or after it) that another change could have left the same times. Such a file is read
    /// again next time, whatever its times say. Holds where ctime is stamped by this machine's clock.
    /// The content of a device changes without a trace in its times.
    pub fn settled(&self, scan_start: FileTime) -> bool {
        if self.disk.is_some() {
            return false;
        }
        // A file system that keeps whole seconds (some keep even ones only) stamps all of them with one time.
        let coarse = self.meta.mtime.nanos == 0 && self.identity.ctime.nanos == 0;
        let before = nanoseconds(scan_start) - if coarse { COARSE_TICK_NS } else { TICK_NS };
        nanoseconds(self.meta.mtime) < before && nanoseconds(self.identity.ctime) < before
    }

    /// Opens the content of a regular file or image: the same inode that was listed, or an error. A new file that was given
    /// the number of the old one passes here, but not [`Reader::changed`].
    pub fn open(&self) -> Result<Reader, Error> {
        if self.meta.kind != Kind::File {
            return Err(Error::NotAFile { path: self.folder.scope.shown(&self.path) });
        }
        let file = self.open_same().map_err(|errno| self.folder.scope.trouble("open", &self.path, errno))?;
        let scope = self.folder.scope.clone();
        let listed = (self.meta.size, self.meta.mtime, self.identity.ctime);
        let (path, sparse) = (self.path.clone(), self.sparse);
        Ok(Reader { file, listed, sparse, path, scope, is_disk: self.disk.is_some() })
    }

    /// Reads the extended attributes of what is no regular file; files have theirs from [`Reader::add_attributes`]. Adds them
    /// to [`Found::meta`], and answers the first that could not be read.
    pub fn add_attributes(&mut self) -> Option<Error> {
        let root_name = self.folder.scope.root_name.as_deref();
        let trouble = |errno| self.folder.scope.trouble("read the attributes of", &self.path, errno);
        let descriptor = match self.folder.descriptor() {
            Ok(descriptor) => descriptor,
            Err(errno) => return Some(trouble(errno)),
        };
        let holder = match root_name.or(self.path.name()) {
            Some(name) => Holder::Named(descriptor.as_fd(), name),
            None => Holder::Open(descriptor.as_fd()),
        };
        let (found, missed) = holder.all();
        let missed = missed.map(trouble);
        add(&mut self.meta, found);
        missed
    }

    /// The name as a person finds it on this machine, printable.
    pub fn shown(&self) -> String {
        self.folder.scope.shown(&self.path)
    }

    fn open_same(&self) -> Result<OwnedFd, Errno> {
        let root_name = self.folder.scope.root_name.as_deref();
        let name = root_name.or(self.path.name()).ok_or(Errno::ISDIR)?;
        if let Some(disk) = self.disk {
            return disk.open(&self.folder, name);
        }
        // A pipe or terminal that took the file's place must neither block nor become ours before it is
        // noticed.
        // An image may have been named by a link.
        let nofollow = if self.image { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::RDONLY | nofollow | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = open_quietly(self.folder.descriptor()?, name, flags)?;
        let status = Status::of_open(&file)?;
        let same = status.inode() == (self.identity.device, self.identity.inode);
        if same && status.kind() == Some(Kind::File) { Ok(file) } else { Err(Errno::STALE) }
    }
}

fn push(stretches: &mut Vec<Stretch>, range: Range<u64>, hole: bool) {
    if range.end > range.start {
        stretches.push(Stretch { offset: range.start, length: range.end - range.start, hole });
    }
}

/// Adds attributes in the order of their names.
fn add(meta: &mut Meta, found: Vec<Xattr>) {
    meta.xattrs.extend(found);
    meta.xattrs.sort();
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("path", &self.path)
            .field("meta", &self.meta)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The open content of one file; may be read by many threads at once.
pub struct Reader {
    file: OwnedFd,
    listed: (u64, FileTime, FileTime),
    path: TreePath,
    scope: Arc<Scope>,
    sparse: bool,
    is_disk: bool,
}

impl Reader {
    /// Fills `buf` from `offset` as far as the file reaches; less than asked for means that it ends there.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read_some(offset + filled as u64, &mut buf[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        Ok(filled)
    }

    /// Appends the whole content to `into` if it is at most `limit` bytes now, and says whether it was; else
    /// `into` holds its first `limit` bytes. One system call for a file that is as long as it was listed.
    pub fn read_all_small(&self, limit: usize, into: &mut Vec<u8>) -> Result<bool, Error> {
        let start = into.len();
        let listed = usize::try_from(self.listed.0).unwrap_or(limit);
        let mut room = listed.min(limit) + 1;
        loop {
            let filled = into.len();
            into.resize(start + room, 0);
            let read = self.read_some((filled - start) as u64, &mut into[filled..]);
            let more = *read.as_ref().unwrap_or(&0);
            into.truncate(filled + more);
            read?;
            let length = into.len() - start;
            if length > limit {
                into.truncate(start + limit);
                return Ok(false);
            }
            if more == 0 || (filled == start && length == listed) {
                return Ok(true);
            }
            // The system may make up a page at a time, so room for much more would be cleared again and again.
            room = (room * 2).min(length + MORE_ROOM).max(length + 1).min(limit + 1);
        }
    }

    /// The same open file, to be read from its beginning as it is now; `meta` gets all that the system says of it now, but
    /// for the attributes that [`Reader::add_attributes`] reads. An owner that is another now is known by number only.
    pub fn again(&self, meta: &mut Meta) -> Result<Reader, Error> {
        let now = Status::of_open(&self.file).map_err(|errno| self.trouble(errno))?;
        meta.user.take_if(|_| meta.uid != now.uid());
        meta.group.take_if(|_| meta.gid != now.gid());
        (meta.mode, meta.uid, meta.gid) = (now.mode(), now.uid(), now.gid());
        (meta.size, meta.mtime) = (now.size(), now.mtime());
        meta.xattrs = super::xattrs::flags(now.attributes()).into_iter().collect();
        let file = rustix::io::fcntl_dupfd_cloexec(&self.file, 0).map_err(|errno| self.trouble(errno))?;
        let listed = (now.size(), now.mtime(), now.ctime());
        let (path, scope) = (self.path.clone(), self.scope.clone());
        Ok(Reader { file, listed, sparse: now.is_sparse(), is_disk: self.is_disk, path, scope })
    }

    /// Its length in bytes, as it was listed or looked at again.
    pub fn size(&self) -> u64 {
        self.listed.0
    }

    /// Whether there may be holes in it, as it was listed or looked at again.
    pub fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// What is to be said of a file that grows while it is read, without an end.
    pub fn endless(&self) -> Error {
        Error::Endless { path: self.scope.shown(&self.path), listed: self.listed.0 }
    }

    /// Whether size or times differ from what the scan saw: what was read may then be neither the old nor the
    /// new. Of a device only the size tells anything.
    pub fn changed(&self) -> Result<bool, Error> {
        if self.is_disk {
            return Ok(image::size(&self.file).map_err(|errno| self.trouble(errno))? != self.listed.0);
        }
        let now = Status::of_open(&self.file).map_err(|errno| self.trouble(errno))?;
        Ok((now.size(), now.mtime(), now.ctime()) != self.listed)
    }

    /// Reads the extended attributes, adds them to `meta`, and answers the first that could not be read.
    pub fn add_attributes(&self, meta: &mut Meta) -> Option<Error> {
        let (found, missed) = Holder::Open(self.file.as_fd()).all();
        add(meta, found);
        missed.map(|errno| self.scope.trouble("read the attributes of", &self.path, errno))
    }

    /// Where the file system keeps data and where there are holes, up to the length that was listed. A file system that
    /// cannot tell says that all is data.
    pub fn stretches(&self) -> Vec<Stretch> {
        let (size, mut stretches, mut at) = (self.listed.0, Vec::new(), 0);
        while at < size {
            let data = match seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) => data.clamp(at, size),
                // Behind the last data there is a hole up to the end.
                Err(Errno::NXIO) => size,
                Err(_) => at,
            };
            push(&mut stretches, at..data, true);
            let hole = match seek(&self.file, SeekFrom::Hole(data)) {
                Ok(hole) if hole > data => hole.min(size),
                _ => size,
            };
            push(&mut stretches, data..hole, false);
            at = hole;
        }
        stretches
    }

    fn read_some(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            match pread(&self.file, &mut *buf, offset) {
                Err(Errno::INTR) => continue,
                read => return read.map_err(|errno| self.trouble(errno)),
            }
        }
    }

    fn trouble(&self, errno: Errno) -> Error {
        self.scope.trouble("read", &self.path, errno)
    }
}
