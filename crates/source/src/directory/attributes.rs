//! Owner, mode, extended attributes and times of what was written back, in this order: changing the owner clears setuid,
//! setgid and capabilities, so they come after it; access lists come after the mode, which would change them, and users'
//! attributes before it, which may forbid them; nothing may touch the content after the times. Flags come last of all,
//! when nothing is written any more: see [`super::Target::flags`].
//!
//! What this process may not set, or the file system cannot keep, is answered as a [`Shortfall`]; the rest is
//! set. A setuid or setgid bit is not given to a file whose owner or group could not be given back.

use format::meta::{FileTime, Kind, Meta, Xattr};
use format::path::TreePath;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmod, chownat, fchmod, fchown,
    futimens, openat, utimensat,
};
use rustix::io::Errno;

use super::apply::Ownership;
use super::status::Status;
use super::xattrs::{FLAGS, Holder};
use crate::accounts::Accounts;
use crate::error::printable;

/// Something of a file that could not be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Which file.
    pub path: TreePath,
    /// What of it.
    pub what: Attribute,
    /// The system's reason, or ours.
    pub why: String,
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.what {
            Attribute::Owner => "owner",
            Attribute::Group => "group",
            Attribute::Mode => "mode",
            Attribute::Mtime => "time",
            Attribute::Extended => "extended attribute",
            Attribute::Flags => "flags (immutable, append-only, no-dump)",
        };
        write!(f, "its {what} could not be set: {}", self.why)
    }
}

/// What a file has beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// The owner.
    Owner,
    /// The group.
    Group,
    /// Permissions, setuid, setgid, sticky.
    Mode,
    /// The time of the last change of content.
    Mtime,
    /// An extended attribute: an access list, a capability, a user's own.
    Extended,
    /// Immutable, append-only, no-dump.
    Flags,
}

/// What attributes are set on.
pub(super) enum Subject<'a> {
    /// A file or directory that is open.
    Open(BorrowedFd<'a>),
    /// A name that must not be opened: a link, a pipe, a device.
    Named(BorrowedFd<'a>, &'a [u8]),
}

/// Sets the attributes of one file after another.
pub(super) struct Dresser {
    pub(super) accounts: Accounts,
    pub(super) ownership: Ownership,
    /// Whether what is made here inherits an access list that it may not have had.
    pub(super) inherits: bool,
}

impl Dresser {
    /// Gives `subject`, which stands at `path`, what `meta` says of it.
    pub(super) fn dress(&self, subject: &Subject<'_>, path: &TreePath, meta: &Meta) -> Vec<Shortfall> {
        let mut shortfalls = Vec::new();
        let mut miss = |what, why: String| shortfalls.push(Shortfall { path: path.clone(), what, why });
        let lost = self.give_owner(subject, meta, &mut miss);
        if self.inherits {
            subject.holder().remove_inherited_acls();
        }
        let (own, rest): (Vec<&Xattr>, Vec<&Xattr>) = meta
            .xattrs
            .iter()
            .filter(|(name, _)| &**name != FLAGS)
            .partition(|(name, _)| name.starts_with(b"user."));
        give_attributes(subject, &own, &mut miss);
        if meta.kind != Kind::Symlink {
            give_mode(subject, meta, lost, &mut miss);
        }
        give_attributes(subject, &rest, &mut miss);
        if let Err(why) = give_mtime(subject, meta.mtime) {
            miss(Attribute::Mtime, why);
        }
        shortfalls
    }

    /// Sets owner and group and answers the mode bits that must not be given because one of them is not
    /// right.
    fn give_owner(
        &self,
        subject: &Subject<'_>,
        meta: &Meta,
        miss: &mut impl FnMut(Attribute, String),
    ) -> u32 {
        if self.ownership == Ownership::Mine {
            return if meta.kind == Kind::Directory { 0 } else { 0o6000 };
        }
        let (uid, gid) = self.ids(meta);
        let Err(errno) = subject.chown(Some(uid), Some(gid)) else { return 0 };
        // Whoever may not give a file away may still give it to one of their own groups.
        let _ = subject.chown(None, Some(gid));
        let (is_uid, is_gid) = subject.status().map_or((None, None), |s| (Some(s.uid()), Some(s.gid())));
        let mut lost = 0;
        if is_uid != Some(uid) {
            miss(Attribute::Owner, reason(errno));
            lost |= 0o4000;
        }
        if is_gid != Some(gid) {
            miss(Attribute::Group, reason(errno));
            lost |= 0o2000;
        }
        if meta.kind == Kind::Directory { 0 } else { lost }
    }

    /// Whether an open file has all that [`Dresser::dress`] would give it; flags, which come later, do not count.
    pub(super) fn is_dressed(&self, file: BorrowedFd<'_>, status: &Status, meta: &Meta) -> bool {
        let owners = (status.uid(), status.gid());
        let owned = self.ownership == Ownership::Mine || owners == self.ids(meta);
        let (held, missed) = Holder::Open(file).all();
        let mut wanted: Vec<&Xattr> = meta.xattrs.iter().filter(|(name, _)| &**name != FLAGS).collect();
        wanted.sort();
        owned
            && (status.mode(), status.mtime()) == (meta.mode & 0o7777, meta.mtime)
            && missed.is_none()
            && held.iter().eq(wanted)
    }

    /// By name where this machine knows it and names were asked for, else by number.
    fn ids(&self, meta: &Meta) -> (u32, u32) {
        if self.ownership == Ownership::ByNumber {
            return (meta.uid, meta.gid);
        }
        let uid = meta.user.as_deref().and_then(|name| self.accounts.users.id(name));
        let gid = meta.group.as_deref().and_then(|name| self.accounts.groups.id(name));
        (uid.unwrap_or(meta.uid), gid.unwrap_or(meta.gid))
    }
}

fn give_attributes(subject: &Subject<'_>, xattrs: &[&Xattr], miss: &mut impl FnMut(Attribute, String)) {
    for (name, value) in xattrs {
        if let Err(errno) = subject.holder().set(name, value) {
            miss(Attribute::Extended, format!("{}: {}", printable(name), reason(errno)));
        }
    }
}

fn give_mode(subject: &Subject<'_>, meta: &Meta, lost: u32, miss: &mut impl FnMut(Attribute, String)) {
    let withheld = meta.mode & lost;
    if withheld != 0 {
        miss(
            Attribute::Mode,
            format!("bits {withheld:o} are withheld because owner or group are not set or differ"),
        );
    }
    if let Err(errno) = subject.chmod(meta.mode & 0o7777 & !lost) {
        miss(Attribute::Mode, reason(errno));
    }
}

fn give_mtime(subject: &Subject<'_>, mtime: FileTime) -> Result<(), String> {
    // Numbers beyond a second have other meanings to the call.
    if mtime.nanos >= 1_000_000_000 {
        return Err("the time has more than a second of nanoseconds".to_owned());
    }
    subject.set_mtime(mtime).map_err(reason)?;
    if (0..1 << 31).contains(&mtime.seconds) {
        return Ok(());
    }
    // File systems cut what is out of their range without a word.
    let kept = subject.status().map_err(reason)?.mtime();
    if kept == mtime { Ok(()) } else { Err("the file system cannot keep a time so far away".to_owned()) }
}

impl Subject<'_> {
    fn holder(&self) -> Holder<'_> {
        match self {
            Subject::Open(file) => Holder::Open(*file),
            Subject::Named(at, name) => Holder::Named(*at, name),
        }
    }

    fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        // The highest number means "leave as it is" to the call.
        let (uid, gid) = (checked(uid)?.map(Uid::from_raw), checked(gid)?.map(Gid::from_raw));
        match self {
            Subject::Open(file) => fchown(file, uid, gid),
            Subject::Named(at, name) => chownat(at, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    fn chmod(&self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Subject::Open(file) => fchmod(file, mode),
            // A descriptor that only names the file, and the door to it: a link in its place is not followed.
            Subject::Named(at, name) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(at, *name, flags, Mode::empty())?;
                chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
            }
        }
    }

    fn set_mtime(&self, mtime: FileTime) -> Result<(), Errno> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
        };
        match self {
            Subject::Open(file) => futimens(file, &times),
            Subject::Named(at, name) => utimensat(at, *name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    fn status(&self) -> Result<Status, Errno> {
        match self {
            Subject::Open(file) => Status::of_open(file),
            Subject::Named(at, name) => Status::of(at.as_fd(), name, false),
        }
    }
}

fn checked(id: Option<u32>) -> Result<Option<u32>, Errno> {
    if id == Some(u32::MAX) { Err(Errno::INVAL) } else { Ok(id) }
}

pub(super) fn reason(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}
