//! What the user named, turned into one tree of names: where a walk takes everything and where it only passes
//! through.
//!
//! Names stay as they were typed, made absolute; only `..` makes us ask the system where a path really leads.
//! On the way to a root links are followed, as they were by the user who typed it; the root itself stays a
//! link when it is one, unless it was typed with a slash at its end or leads to what is kept as an image.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use format::meta::Kind;
use rustix::fs::CWD;

use super::image::{self, Images};
use super::status::Status;
use crate::error::{Error, printable};

/// One name that leads to roots, or is one.
#[derive(Default)]
pub(super) struct Branch {
    /// Whether this is a root: everything below it is wanted.
    pub(super) whole: bool,
    /// The names below it that lead on, in path order.
    pub(super) children: BTreeMap<Box<[u8]>, Arc<Branch>>,
    /// Whether this is a link to an image, whose content is wanted under the name of the link.
    pub(super) leads_to_image: bool,
    slashed: bool,
}

impl Branch {
    /// A single root, below which everything is wanted.
    pub(super) fn whole() -> Branch {
        Branch { whole: true, ..Branch::default() }
    }

    /// The branch of all `roots`, starting at `/`. A root that cannot be found is an error, and so is one that cannot be kept
    /// as `images` says.
    pub(super) fn of(roots: &[PathBuf], images: Images) -> Result<Branch, Error> {
        let mut top = Branch::default();
        for root in roots {
            let place = absolute(root).map_err(|why| root_error(root, why))?;
            let slashed = root.as_os_str().as_bytes().ends_with(b"/");
            let status = Status::of(CWD, place.as_os_str().as_bytes(), slashed);
            let status = status.map_err(|errno| root_error(root, errno.into()))?;
            let kind = status.kind().ok_or_else(|| Error::SocketRoot { path: shown(root) })?;
            let behind = if kind == Kind::Symlink { image::behind(&place, images) } else { None };
            image::check(root, &place, behind.unwrap_or(kind), images)?;
            top.insert(&place, slashed, behind.is_some());
        }
        Ok(top)
    }

    /// Whether a link of this name is followed; `whole` says whether it lies in another root.
    pub(super) fn follows(&self, whole: bool) -> bool {
        self.leads_to_image || (!whole && (self.slashed || !self.children.is_empty()))
    }

    fn insert(&mut self, place: &Path, slashed: bool, leads_to_image: bool) {
        let mut branch = self;
        for component in place.components() {
            if let Component::Normal(name) = component {
                let next = branch.children.entry(name.as_bytes().into()).or_default();
                branch = Arc::get_mut(next).expect("a branch has one owner while it grows");
            }
        }
        branch.whole = true;
        branch.slashed |= slashed;
        branch.leads_to_image |= leads_to_image;
    }
}

/// `root` from the top of the file system, without `..`.
fn absolute(root: &Path) -> io::Result<PathBuf> {
    if !root.components().any(|part| part == Component::ParentDir) {
        return std::path::absolute(root);
    }
    match (root.parent(), root.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => root.canonicalize(),
    }
}

pub(super) fn root_error(root: &Path, why: io::Error) -> Error {
    Error::Root { path: shown(root), why }
}

pub(super) fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}
