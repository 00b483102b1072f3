//! A block device or file whose content is overwritten as it stands; everything else about it stays.
//!
//! A device is opened so that the kernel refuses it while it is mounted or otherwise in use, and stays taken until the end.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use format::meta::Kind;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, fsync, openat};
use rustix::io::Errno;

use super::apply::Existing;
use super::image;
use super::roots::shown;
use super::status::Status;
use crate::error::Error;

/// What content is written onto.
pub struct Onto {
    pub(super) file: OwnedFd,
    place: String,
    /// Bytes of a device, which cannot become longer or shorter.
    room: Option<u64>,
}

/// What is to be done with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Look,
    Write,
}

impl Onto {
    /// Opens `place`, or what it leads to, if that is a block device or a regular file; `None` for all else.
    pub(super) fn open(place: &Path, existing: Existing, use_: Use) -> Result<Option<Onto>, Error> {
        let status = Status::of(CWD, place.as_os_str().as_bytes(), true);
        let Some(kind @ (Kind::BlockDevice | Kind::File)) = status.ok().and_then(|status| status.kind())
        else {
            return Ok(None);
        };
        let is_device = kind == Kind::BlockDevice;
        if existing == Existing::Refuse {
            let what = if is_device { "a block device" } else { "a file" };
            return Err(Error::TargetHolds { path: shown(place), what });
        }
        let open = || {
            let access = if use_ == Use::Write { OFlags::RDWR } else { OFlags::RDONLY };
            // Without a file to be made, this asks for the device alone.
            let alone = if is_device { OFlags::EXCL } else { OFlags::empty() };
            let flags = access | alone | OFlags::CLOEXEC | OFlags::NOCTTY;
            let file = openat(CWD, place, flags, Mode::empty())?;
            let same = Status::of_open(&file)?.kind() == Some(kind);
            let room = if is_device { Some(image::size(&file)?) } else { None };
            if same { Ok((file, room)) } else { Err(Errno::STALE) }
        };
        match open() {
            Ok((file, room)) => Ok(Some(Onto { file, place: shown(place), room })),
            Err(Errno::BUSY) => Err(Error::TargetInUse { path: shown(place) }),
            Err(errno) => Err(Error::Target { path: shown(place), why: errno.into() }),
        }
    }

    /// Refuses content of `size` bytes that it has no room for.
    pub fn check_room(&self, size: u64) -> Result<(), Error> {
        match self.room {
            Some(room) if room < size => Err(Error::TargetTooSmall { path: self.place.clone(), room, size }),
            _ => Ok(()),
        }
    }

    /// Whether it is a device: what lies behind the content stays as it is.
    pub(super) fn is_device(&self) -> bool {
        self.room.is_some()
    }

    /// Waits until all that was written is on the disk.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        fsync(&self.file)
    }
}
