//! Directories under a walk: reachable as long as an entry of theirs lives, open only while that is cheap.
//!
//! A folder knows its parent and its name there. A window holds the descriptors opened last and closes the
//! oldest; a closed folder is opened again from its nearest open ancestor, name by name, never through a
//! link, and must still be the same inode. So a chain of any depth needs a fixed number of descriptors, and a
//! tree that was moved about in the meantime is noticed, not followed.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use format::path::TreePath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::status::Status;
use crate::error::{Error, printable};

/// Open directories of one walk. A process has 1,024 descriptors unless told otherwise, and most belong to
/// files being read and to connections.
pub(super) const OPEN_MAX: usize = 128;

/// What all folders of one walk share.
pub(super) struct Scope {
    /// Where on this machine the root of the point lies.
    pub(super) base: PathBuf,
    /// The name below `base` when the root of the point is no directory; whatever it is called in the point.
    pub(super) root_name: Option<Box<[u8]>>,
    window: Mutex<VecDeque<Weak<Folder>>>,
}

/// One directory of a walk.
pub(super) struct Folder {
    pub(super) scope: Arc<Scope>,
    parent: Option<Arc<Folder>>,
    name: Box<[u8]>,
    follow: bool,
    inode: (u64, u64),
    open: Mutex<Option<Arc<OwnedFd>>>,
}

impl Scope {
    pub(super) fn new(base: PathBuf, root_name: Option<Box<[u8]>>) -> Arc<Scope> {
        Arc::new(Scope { base, root_name, window: Mutex::default() })
    }

    /// `path` as a person finds it on this machine.
    pub(super) fn shown(&self, path: &TreePath) -> String {
        let below = self.root_name.as_deref().unwrap_or(path.as_bytes());
        let mut shown = self.base.as_os_str().as_bytes().to_vec();
        if !below.is_empty() && shown.last() != Some(&b'/') {
            shown.push(b'/');
        }
        shown.extend_from_slice(below);
        printable(&shown)
    }

    /// What `errno` means for `path` in a walk.
    pub(super) fn trouble(&self, act: &'static str, path: &TreePath, errno: Errno) -> Error {
        let path = self.shown(path);
        match errno {
            Errno::NOENT => Error::Vanished { act, path },
            Errno::STALE | Errno::LOOP | Errno::NOTDIR | Errno::NXIO => Error::Replaced { act, path },
            errno => Error::System { act, path, why: errno.into() },
        }
    }

    /// Counts `folder` as open and closes the one opened longest ago when there are too many.
    fn admit(&self, folder: &Arc<Folder>) {
        let mut window = held(&self.window);
        window.push_back(Arc::downgrade(folder));
        let oldest = if window.len() > OPEN_MAX { window.pop_front() } else { None };
        drop(window);
        if let Some(oldest) = oldest.and_then(|weak| weak.upgrade()) {
            drop(held(&oldest.open).take());
        }
    }
}

impl Folder {
    /// The top of a walk; its descriptor stays open.
    pub(super) fn base(scope: Arc<Scope>, open: OwnedFd) -> Result<Arc<Folder>, Errno> {
        let inode = Status::of_open(&open)?.inode();
        let open = Mutex::new(Some(Arc::new(open)));
        Ok(Arc::new(Folder { scope, parent: None, name: Box::default(), follow: false, inode, open }))
    }

    /// Opens the directory `name` of `parent`; with `follow`, where a link of that name leads.
    pub(super) fn enter(parent: &Arc<Folder>, name: &[u8], follow: bool) -> Result<Arc<Folder>, Errno> {
        let open = Arc::new(open_directory(parent.descriptor()?, name, follow)?);
        let folder = Arc::new(Folder {
            scope: parent.scope.clone(),
            parent: Some(parent.clone()),
            name: name.into(),
            follow,
            inode: Status::of_open(&open)?.inode(),
            open: Mutex::new(Some(open)),
        });
        folder.scope.admit(&folder);
        Ok(folder)
    }

    /// An open descriptor of this directory; `STALE` when it is no longer where it was.
    pub(super) fn descriptor(self: &Arc<Folder>) -> Result<Arc<OwnedFd>, Errno> {
        let mut closed = Vec::new();
        let mut folder = self;
        let mut open = loop {
            if let Some(open) = held(&folder.open).clone() {
                break open;
            }
            closed.push(folder);
            folder = folder.parent.as_ref().expect("the top of a walk is never closed");
        };
        while let Some(folder) = closed.pop() {
            open = folder.open_again(&open)?;
        }
        Ok(open)
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        held(&self.open).is_some()
    }

    fn open_again(self: &Arc<Folder>, parent: &OwnedFd) -> Result<Arc<OwnedFd>, Errno> {
        let open = Arc::new(open_directory(parent, &self.name, self.follow)?);
        if Status::of_open(&open)?.inode() != self.inode {
            return Err(Errno::STALE);
        }
        *held(&self.open) = Some(open.clone());
        self.scope.admit(self);
        Ok(open)
    }
}

/// Lets go of a long chain of parents one by one; nested drops would use up the stack.
impl Drop for Folder {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut folder) = parent.and_then(Arc::into_inner) {
            parent = folder.parent.take();
        }
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().expect("no holder of this lock panics")
}

fn open_directory(at: impl AsFd, name: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    open_quietly(at, name, OFlags::RDONLY | OFlags::DIRECTORY | nofollow)
}

/// Opens without leaving an access time where that is allowed: to the owner and to root.
pub(super) fn open_quietly(at: impl AsFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    match openat(&at, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(&at, name, flags, Mode::empty()),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_far_deeper_than_the_stack_is_let_go() {
        let scope = Scope::new(PathBuf::from("/"), None);
        let below = |parent| Folder {
            scope: scope.clone(),
            parent,
            name: Box::default(),
            follow: false,
            inode: (0, 0),
            open: Mutex::default(),
        };
        let top = Arc::new(below(None));
        let gone = Arc::downgrade(&top);
        let deepest = (0..1_000_000).fold(top, |parent, _| Arc::new(below(Some(parent))));
        assert!(gone.upgrade().is_some());
        drop(deepest);
        assert!(gone.upgrade().is_none());
    }
}
