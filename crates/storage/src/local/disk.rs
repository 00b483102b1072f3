//! The blocking half of a local store: system calls in the order that durability needs.
//!
//! write hidden file, sync it, make and sync the directories above, rename (or link), sync the directory. A
//! directory counts as synced only once this process did it; that another process made it is no proof.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use world::World;

use crate::key::KEY_BYTES_MAX;
use crate::store::{act, checked_len};
use crate::{Act, Buffers, Error, KeyPrefix, Listed, ObjectKey, Place, Verb};

/// Where unfinished objects lie; no key begins with a dot.
const INCOMING: &str = ".incoming";
/// A day: the longest that one session, and so one upload, can live.
const LEFTOVER_AGE_NS: i64 = 24 * 3600 * 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// It can only be the same object, stored before.
    Replace,
    /// It stays; different bytes are an error.
    Compare,
}

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    place: Place,
    world: World,
    /// Directories whose way down from the root this process has synced.
    durable: Mutex<HashSet<PathBuf>>,
    cleaned: AtomicBool,
    buffers: Buffers,
}

impl Disk {
    pub(super) fn new(root: &Path, world: &World) -> Disk {
        Disk {
            root: root.to_owned(),
            place: Place::new(&root.to_string_lossy()),
            world: world.clone(),
            durable: Mutex::default(),
            cleaned: AtomicBool::new(false),
            buffers: Buffers::default(),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    pub(super) fn store(&self, key: &ObjectKey, bytes: &[u8], existing: Existing) -> Result<(), Error> {
        let verb = if existing == Existing::Replace { Verb::Put } else { Verb::Create };
        let act = || act(&self.place, verb, key);
        if existing == Existing::Compare {
            self.make_root().map_err(|(path, e)| self.failed(act(), &path, e))?;
        } else if self.is_blank() {
            let root = self.root.display();
            let detail = format!("{root} is empty: nothing was created in it, or its disk is not mounted");
            return Err(Error::NoPlace { act: act(), detail });
        }
        let path = self.path(key);
        let staged = self.stage(bytes).map_err(|(path, e)| self.failed(act(), &path, e))?;
        let published = match existing {
            Existing::Replace => self.publish(&path, || fs::rename(&staged, &path)).map(|()| true),
            Existing::Compare => self.publish_new(&staged, &path),
        };
        if !matches!((existing, &published), (Existing::Replace, Ok(_))) {
            // What stays is cleaned a day later, so failing to remove it is no failure of the act.
            let _ = fs::remove_file(&staged);
        }
        match published {
            Ok(true) => Ok(()),
            Ok(false) if self.holds(&path, bytes).map_err(|e| self.failed(act(), &path, e))? => Ok(()),
            Ok(false) => Err(Error::Exists { act: act() }),
            Err((path, e)) => Err(self.failed(act(), &path, e)),
        }
    }

    /// A synced file with these bytes, under a hidden name.
    fn stage(&self, bytes: &[u8]) -> Result<PathBuf, (PathBuf, io::Error)> {
        let incoming = self.root.join(INCOMING);
        let at = |path: &Path| {
            let path = path.to_owned();
            move |e| (path, e)
        };
        make_dir(&incoming).map_err(at(&incoming))?;
        if !self.cleaned.swap(true, Ordering::Relaxed) {
            self.clean(&incoming);
        }
        let path = incoming.join(hex(&self.world.chance().bytes::<16>()));
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            });
        written.map_err(|e| {
            let _ = fs::remove_file(&path);
            (path.clone(), e)
        })?;
        Ok(path)
    }

    /// Removes what crashed writers left. Only courtesy, so errors are left for the act that meets them.
    fn clean(&self, incoming: &Path) {
        let now_ns = self.world.now_ns();
        for entry in fs::read_dir(incoming).into_iter().flatten().flatten() {
            let old = entry.metadata().is_ok_and(|meta| now_ns - modified_ns(&meta) > LEFTOVER_AGE_NS);
            if old {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Makes the way to `path`, then runs `step`, which gives the file its name, and syncs the name.
    fn publish(&self, path: &Path, step: impl Fn() -> io::Result<()>) -> Result<(), (PathBuf, io::Error)> {
        let dir = path.parent().expect("a key has a directory above it");
        self.lead_to(dir)?;
        let named = match step() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // Somebody removed the directory since we synced it.
                self.durable().retain(|known| !dir.starts_with(known) || *known == self.root);
                self.lead_to(dir)?;
                step()
            }
            named => named,
        };
        named.map_err(|e| (path.to_owned(), e))?;
        sync_dir(dir).map_err(|e| (dir.to_owned(), e))
    }

    /// Gives the staged file its name unless something has that name already: then false.
    fn publish_new(&self, staged: &Path, path: &Path) -> Result<bool, (PathBuf, io::Error)> {
        match self.publish(path, || fs::hard_link(staged, path)) {
            Ok(()) => Ok(true),
            Err((_, e)) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err((_, e)) if has_no_links(&e) && path.exists() => Ok(false),
            Err((_, e)) if has_no_links(&e) => self.publish(path, || fs::rename(staged, path)).map(|()| true),
            Err(failed) => Err(failed),
        }
    }

    fn holds(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let file = File::open(path)?;
        if file.metadata()?.len() != bytes.len() as u64 {
            return Ok(false);
        }
        let mut there = Vec::with_capacity(bytes.len());
        file.take(bytes.len() as u64 + 1).read_to_end(&mut there)?;
        sync_dir(path.parent().expect("a key has a directory above it"))?;
        Ok(there == bytes)
    }

    /// Whether the root is there and nothing was ever created in it: perhaps the place where a disk is not
    /// mounted.
    fn is_blank(&self) -> bool {
        let entries = || fs::read_dir(&self.root);
        !self.root.join(INCOMING).exists() && entries().is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Makes the root and what is missing above it.
    fn make_root(&self) -> Result<(), (PathBuf, io::Error)> {
        let missing: Vec<&Path> = self.root.ancestors().take_while(|dir| !dir.exists()).collect();
        for dir in missing.into_iter().rev() {
            make_dir(dir).map_err(|e| (dir.to_owned(), e))?;
            let above = dir.parent().expect("what exists above it stopped the search");
            sync_dir(above).map_err(|e| (above.to_owned(), e))?;
        }
        Ok(())
    }

    /// Makes the directories from the root down to `dir` and syncs each one's name in the one above.
    fn lead_to(&self, dir: &Path) -> Result<(), (PathBuf, io::Error)> {
        if dir == self.root || self.durable().contains(dir) {
            return Ok(());
        }
        let above = dir.parent().expect("it lies beneath the root");
        self.lead_to(above)?;
        make_dir(dir).map_err(|e| (dir.to_owned(), e))?;
        sync_dir(above).map_err(|e| (above.to_owned(), e))?;
        self.durable().insert(dir.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().expect("no holder of this lock panics")
    }

    /// Opens an object's file; anything else under that name is no object.
    fn open(&self, verb: Verb, key: &ObjectKey) -> Result<(File, u64), Error> {
        let path = self.path(key);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((meta, file)) if meta.is_file() => Ok((file, meta.len())),
            Ok(_) => Err(Error::NotFound { act: act(&self.place, verb, key) }),
            Err(e) => Err(self.failed(act(&self.place, verb, key), &path, e)),
        }
    }

    pub(super) fn size(&self, key: &ObjectKey) -> Result<u64, Error> {
        Ok(self.open(Verb::Size, key)?.1)
    }

    pub(super) fn read(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        let (file, size) = self.open(Verb::Get, key)?;
        self.read_exactly(Verb::Get, key, &file, 0..size)
    }

    pub(super) fn read_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        let (file, size) = self.open(Verb::GetRange, key)?;
        checked_len(&range, size, || act(&self.place, Verb::GetRange, key))?;
        self.read_exactly(Verb::GetRange, key, &file, range)
    }

    pub(super) fn read_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error> {
        let (file, size) = self.open(Verb::GetTail, key)?;
        let tail = self.read_exactly(Verb::GetTail, key, &file, size.saturating_sub(bytes)..size)?;
        Ok((tail, size))
    }

    fn read_exactly(
        &self,
        verb: Verb,
        key: &ObjectKey,
        file: &File,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let promised = range.end - range.start;
        // Reading to the end fills room that nobody had to clear first.
        let mut bytes = self.buffers.take(promised as usize);
        let mut file = file;
        let read = file
            .seek(SeekFrom::Start(range.start))
            .and_then(|_| file.take(promised).read_to_end(&mut bytes))
            .map_err(|e| self.failed(act(&self.place, verb, key), &self.path(key), e))?;
        if (read as u64) < promised {
            let (act, got) = (act(&self.place, verb, key), read as u64);
            return Err(Error::CutShort { act, promised, got, detail: "the file shrank".into() });
        }
        Ok(self.buffers.lend(bytes))
    }

    pub(super) fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error> {
        let act = || act(&self.place, Verb::List, prefix);
        let root_now = || fs::metadata(&self.root).map(|meta| (meta.dev(), meta.ino()));
        let before = root_now().map_err(|e| self.failed(act(), &self.root, e))?;
        let mut listed = Vec::new();
        let mut dirs = vec![prefix.as_str().trim_end_matches('/').to_owned()];
        while let Some(dir) = dirs.pop() {
            self.list_dir(&dir, &mut dirs, &mut listed)
                .map_err(|e| self.failed(act(), &self.root.join(&dir), e))?;
        }
        let after = root_now().map_err(|e| self.failed(act(), &self.root, e))?;
        if before != after {
            let detail = "the directory was exchanged while it was listed".to_owned();
            return Err(Error::Unavailable { act: act(), detail });
        }
        listed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    /// Adds the objects of one directory to `listed` and its directories to `dirs`. What vanishes meanwhile
    /// was deleted.
    fn list_dir(&self, dir: &str, dirs: &mut Vec<String>, listed: &mut Vec<Listed>) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(dir)) {
            Err(e) if is_absent(&e) && !dir.is_empty() => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let below = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
            let Ok(key) = ObjectKey::new(&below) else { continue };
            let meta = match fs::metadata(entry.path()) {
                Err(e) if is_absent(&e) => continue,
                meta => meta?,
            };
            if meta.is_dir() && below.len() < KEY_BYTES_MAX {
                dirs.push(below);
            } else if meta.is_file() {
                listed.push(Listed { key, size: meta.len(), modified_ns: modified_ns(&meta) });
            }
        }
        Ok(())
    }

    pub(super) fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        let path = self.path(key);
        let failed = |path: &Path, e| self.failed(act(&self.place, Verb::Delete, key), path, e);
        let dir = path.parent().expect("a key has a directory above it");
        match fs::remove_file(&path).and_then(|()| sync_dir(dir)) {
            Err(e) if is_absent(&e) && self.root.exists() => Ok(()),
            Err(e) => Err(failed(&path, e)),
            Ok(()) => Ok(()),
        }
    }

    /// The error that a system error means for this act.
    pub(super) fn failed(&self, act: Box<Act>, path: &Path, e: io::Error) -> Error {
        let detail = || format!("{}: {e}", path.display());
        match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory if !self.root.is_dir() => {
                Error::NoPlace { act, detail: format!("{} is not a directory", self.root.display()) }
            }
            ErrorKind::NotFound | ErrorKind::NotADirectory if !act.verb.writes() => Error::NotFound { act },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Error::Denied { act, detail: detail() }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Error::Full { act, detail: detail() }
            }
            ErrorKind::TimedOut
            | ErrorKind::ResourceBusy
            | ErrorKind::StaleNetworkFileHandle
            | ErrorKind::OutOfMemory => Error::Unavailable { act, detail: detail() },
            _ if is_out_of_files(&e) => Error::Unavailable { act, detail: detail() },
            _ => Error::Local { act, path: path.to_owned(), source: e },
        }
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made,
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// FAT and some FUSE and network file systems have no hard links.
fn has_no_links(e: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = e.raw_os_error();
    [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS].iter().any(|errno| code == Some(errno.raw_os_error()))
}

fn is_out_of_files(e: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error()))
}

fn modified_ns(meta: &fs::Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
