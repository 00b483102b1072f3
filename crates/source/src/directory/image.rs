//! What is kept as an image: content that is a disk, whatever the name leads to.
//!
//! A block device that the user named, itself or by a link to it, is read as one long file; one that a walk merely meets
//! stays the special file that it is. A device has no times that tell of a change of its content, so it is never taken for
//! unchanged.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use format::meta::Kind;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, OFlags, SeekFrom, seek};
use rustix::io::Errno;

use super::folder::{Folder, open_quietly};
use super::roots::{root_error, shown};
use super::status::Status;
use crate::error::Error;

/// Which of the paths that were named are images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// Block devices.
    #[default]
    Devices,
    /// All of them: each must be a regular file or a block device.
    All,
}

/// The device that a disk is, by which it is known again when it is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk {
    device: u64,
}

impl Disk {
    /// What `status` says is a block device, and how many bytes it has.
    pub(super) fn of(folder: &Arc<Folder>, name: &[u8], status: &Status) -> Result<(Disk, u64), Errno> {
        let disk = Disk { device: status.device() };
        let size = size(&disk.open(folder, name)?)?;
        Ok((disk, size))
    }

    /// Opens it, also through a link; `STALE` if the name leads to something else by now.
    pub(super) fn open(self, folder: &Arc<Folder>, name: &[u8]) -> Result<OwnedFd, Errno> {
        let file = open_quietly(folder.descriptor()?, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let status = Status::of_open(&file)?;
        let same = status.kind() == Some(Kind::BlockDevice) && status.device() == self.device;
        if same { Ok(file) } else { Err(Errno::STALE) }
    }
}

/// Bytes of an open device, or of a file.
pub(super) fn size(file: &OwnedFd) -> Result<u64, Errno> {
    seek(file, SeekFrom::End(0))
}

/// What a link leads to, where that is kept as an image under the name of the link.
pub(super) fn behind(place: &Path, images: Images) -> Option<Kind> {
    let kind = Status::of(CWD, place.as_os_str().as_bytes(), true).ok()?.kind()?;
    (kind == Kind::BlockDevice || images == Images::All).then_some(kind)
}

/// Refuses what was to be kept as an image and is none, and a device that cannot be read.
pub(super) fn check(typed: &Path, place: &Path, kind: Kind, images: Images) -> Result<(), Error> {
    match (kind, images) {
        (Kind::BlockDevice, _) => {
            let opened = open_quietly(CWD, place.as_os_str().as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK);
            opened.map(drop).map_err(|errno| root_error(typed, errno.into()))
        }
        (Kind::File, _) | (_, Images::Devices) => Ok(()),
        (_, Images::All) => Err(Error::NotAnImage { path: shown(typed) }),
    }
}
