//! Extended attributes: read with names in order, and set; POSIX ACLs and capabilities are among them.
//!
//! Three flags of files that have no attribute of their own (immutable, append-only, no-dump) are kept under a name that
//! no file system gives: [`FLAGS`], whose value is their letters as `lsattr` shows them.

use format::meta::Xattr;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{
    IFlags, StatxAttributes, XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, ioctl_getflags,
    ioctl_setflags, lgetxattr, llistxattr, lsetxattr,
};
use rustix::io::Errno;

/// The name under which flags are kept.
pub const FLAGS: &[u8] = b"seawall.flags";

/// The access list of a file.
pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// The access list that a directory gives to what is made in it.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Each flag as `lsattr` shows it, as the system lists it, and as it is set.
const LETTERS: [(u8, StatxAttributes, IFlags); 3] = [
    (b'a', StatxAttributes::APPEND, IFlags::APPEND),
    (b'd', StatxAttributes::NODUMP, IFlags::NODUMP),
    (b'i', StatxAttributes::IMMUTABLE, IFlags::IMMUTABLE),
];

/// Bytes of names and values that one file may have here; a node of the tree holds twice as many.
const ALL_BYTES_MAX: usize = 256 << 10;

/// Room for a list of names or a value; the system allows no longer ones.
const BYTES_MAX: usize = 64 << 10;

/// What has attributes.
pub(super) enum Holder<'a> {
    /// A file or directory that is open.
    Open(BorrowedFd<'a>),
    /// A name in a directory; a link is not followed.
    Named(BorrowedFd<'a>, &'a [u8]),
}

/// The flags among what the system says of a file, as an attribute; `None` if there are none.
pub(super) fn flags(said: StatxAttributes) -> Option<Xattr> {
    let set = LETTERS.iter().filter(|(_, listed, _)| said.contains(*listed));
    let letters: Vec<u8> = set.map(|(letter, ..)| *letter).collect();
    (!letters.is_empty()).then(|| (FLAGS.into(), letters.into()))
}

/// Adds flags that were kept to those of an open file or directory.
pub(super) fn set_flags(file: BorrowedFd<'_>, letters: &[u8]) -> Result<(), Errno> {
    let wanted = LETTERS.iter().filter(|(letter, ..)| letters.contains(letter));
    let wanted = wanted.fold(IFlags::empty(), |sum, (.., flag)| sum | *flag);
    let known = letters.iter().all(|letter| LETTERS.iter().any(|(known, ..)| known == letter));
    ioctl_setflags(file, ioctl_getflags(file)? | wanted)?;
    if known { Ok(()) } else { Err(Errno::INVAL) }
}

/// Takes the flags away that let nobody change an open file or directory.
pub(super) fn clear_flags(file: BorrowedFd<'_>) -> Result<(), Errno> {
    let there = ioctl_getflags(file)?;
    let closed = IFlags::IMMUTABLE | IFlags::APPEND;
    if there.intersects(closed) { ioctl_setflags(file, there - closed) } else { Ok(()) }
}

impl Holder<'_> {
    /// All attributes that can be read, sorted by name, and why the first one that could not be was not. A file system that has none gives
    /// none.
    pub(super) fn all(&self) -> (Vec<Xattr>, Option<Errno>) {
        let names = match self.names() {
            Ok(names) => names,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return (Vec::new(), None),
            Err(errno) => return (Vec::new(), Some(errno)),
        };
        let (mut found, mut missed, mut bytes) = (Vec::new(), None, 0_usize);
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match self.value(name) {
                Ok(value) if bytes + name.len() + value.len() > ALL_BYTES_MAX => {
                    missed = missed.or(Some(Errno::TOOBIG));
                }
                Ok(value) => {
                    bytes += name.len() + value.len();
                    found.push((Box::from(name), value));
                }
                // Removed since it was listed, or listed by a file system that then knows nothing of it.
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(errno) => missed = missed.or(Some(errno)),
            }
        }
        found.sort();
        (found, missed)
    }

    /// Sets one attribute.
    pub(super) fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Holder::Open(file) => fsetxattr(file, name, value, XattrFlags::empty()),
            Holder::Named(at, last) => lsetxattr(door(*at, last), name, value, XattrFlags::empty()),
        }
    }

    /// The value of one attribute.
    pub(super) fn value(&self, name: &[u8]) -> Result<Box<[u8]>, Errno> {
        grown(|room| match self {
            Holder::Open(file) => fgetxattr(file, name, room),
            Holder::Named(at, last) => lgetxattr(door(*at, last), name, room),
        })
    }

    /// Takes away access lists that were inherited; without one that is no failure.
    pub(super) fn remove_inherited_acls(&self) {
        if let Holder::Open(file) = self {
            // What has no list, or can have none, is as it should be.
            let _ = fremovexattr(file, ACCESS_ACL);
            let _ = fremovexattr(file, DEFAULT_ACL);
        }
    }

    fn names(&self) -> Result<Box<[u8]>, Errno> {
        grown(|room| match self {
            Holder::Open(file) => flistxattr(file, room),
            Holder::Named(at, last) => llistxattr(door(*at, last), room),
        })
    }
}

/// The calls take no directory and name, so the way leads through the door that the system keeps for each descriptor.
fn door(at: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", at.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Calls with little room first, as most answers are short.
fn grown(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Box<[u8]>, Errno> {
    let mut short = [0; 512];
    match call(&mut short) {
        Ok(length) => return Ok(short.get(..length).unwrap_or_default().into()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut long = vec![0; BYTES_MAX];
    let length = call(&mut long)?;
    long.truncate(length);
    Ok(long.into())
}
