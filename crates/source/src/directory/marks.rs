//! What a tree itself says about what to leave out of it: files of patterns, and files that mark a directory.
//!
//! A mark that cannot be read leaves nothing out: what was to be kept is never lost by it. A marked directory stays, with
//! the file that marks it, so that it is marked again where it is restored.

use format::meta::Kind;
use rustix::fd::AsFd;
use rustix::fs::OFlags;
use rustix::io::{Errno, pread};

use super::folder::open_quietly;
use super::ignore::{Rules, Verdict};
use super::listing::Listing;
use super::scan::Reason;
use super::status::Status;
use crate::error::{Error, printable};

/// The file that marks a directory whose content can be made again, and how it begins (<https://bford.info/cachedir/>).
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Longest file of patterns that is read; longer ones are told and say nothing.
const IGNORE_BYTES_MAX: usize = 1 << 20;

/// Rules that depend on what lies in the tree.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Names of files whose lines say, as in git, what to leave out of their directory and below; in one directory the
    /// file whose name stands later here has the last word.
    pub ignore_files: Vec<Vec<u8>>,
    /// Whether directories with a `CACHEDIR.TAG` are kept without their content.
    pub caches: bool,
    /// Names; directories that hold one are kept without their other content.
    pub if_present: Vec<Vec<u8>>,
    /// Regular files that are longer are left out; in bytes.
    pub larger_than: Option<u64>,
}

/// What the files of one directory say.
#[derive(Default)]
pub(super) struct Said {
    /// Why only some names are kept, and which.
    only: Option<(Reason, Vec<Vec<u8>>)>,
    rules: Vec<Rules>,
}

impl Marks {
    /// Refuses names that cannot be those of a file.
    pub(super) fn check(&self) -> Result<(), Error> {
        let names = self.ignore_files.iter().chain(&self.if_present);
        let bad = |name: &&Vec<u8>| name.is_empty() || name.contains(&b'/');
        names.clone().find(bad).map_or(Ok(()), |name| {
            Err(Error::Glob { glob: printable(name), why: "it must be a name, without a slash".into() })
        })
    }

    /// What the files of a directory with these names say, and the first of them that cannot be read.
    pub(super) fn of(&self, directory: impl AsFd, names: &Listing) -> (Said, Option<(Vec<u8>, Errno)>) {
        let mut said = Said::default();
        let mut trouble = None;
        let present: Vec<Vec<u8>> = self.if_present.iter().filter(|name| names.has(name)).cloned().collect();
        if !present.is_empty() {
            said.only = Some((Reason::Marked, present));
        }
        if self.caches && names.has(CACHE_TAG) {
            match read(&directory, CACHE_TAG, CACHE_SIGNATURE.len()) {
                Ok(Some(start)) if start.starts_with(CACHE_SIGNATURE) => {
                    said.only.get_or_insert((Reason::Cache, Vec::new())).1.push(CACHE_TAG.to_vec());
                }
                Ok(_) => {}
                Err(errno) => drop(trouble.get_or_insert((CACHE_TAG.to_vec(), errno))),
            }
        }
        for name in self.ignore_files.iter().filter(|name| names.has(name)) {
            match read(&directory, name, IGNORE_BYTES_MAX + 1) {
                Ok(Some(text)) if text.len() > IGNORE_BYTES_MAX => {
                    trouble.get_or_insert((name.clone(), Errno::FBIG));
                }
                Ok(Some(text)) => said.rules.push(Rules::parse(&text)),
                Ok(None) => {}
                Err(errno) => drop(trouble.get_or_insert((name.clone(), errno))),
            }
        }
        (said, trouble)
    }
}

impl Said {
    /// Why this name of the directory is left out, whatever it is.
    pub(super) fn leaves_out(&self, name: &[u8]) -> Option<Reason> {
        let (reason, kept) = self.only.as_ref()?;
        (!kept.iter().any(|one| one == name)).then_some(*reason)
    }

    /// What its files of patterns say of a path that starts at the directory.
    pub(super) fn verdict(&self, path: &[u8], is_directory: bool) -> Option<Verdict> {
        self.rules.iter().rev().find_map(|rules| rules.verdict(path, is_directory))
    }
}

/// The first `most` bytes of a regular file; `None` for anything else, also a link to one, as in git.
fn read(directory: impl AsFd, name: &[u8], most: usize) -> Result<Option<Vec<u8>>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open_quietly(directory, name, flags) {
        Err(Errno::LOOP | Errno::NXIO | Errno::NOENT) => return Ok(None),
        file => file?,
    };
    if Status::of_open(&file)?.kind() != Some(Kind::File) {
        return Ok(None);
    }
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match pread(&file, &mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(filled);
    Ok(Some(bytes))
}
