//! Writing a tree back under one directory, and nothing anywhere else, whatever stands or is planted there.
//!
//! The target is one root descriptor; every name is reached from it without following a link. What is made is
//! closed to others (0700, 0600) until its metadata comes. A file is a new inode that takes the place of what stood at
//! its name once it is whole; only where differences were asked for is a file that has no other name changed as it
//! stands. What has a second name is never opened, because that may lie outside. Order is the caller's part:
//! directories before what is in them, content before metadata, and the metadata of directories last, deepest
//! first, since it may close them and since every name made in them touches their time.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use format::id::Hash;
use format::meta::{Kind, Meta};
use format::path::TreePath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, flock, ftruncate, linkat, mkdirat, mknodat, openat,
    readlinkat, symlinkat, syncfs, unlinkat,
};
use rustix::io::Errno;

use super::attributes::{Attribute, Dresser, Shortfall, Subject, reason};
use super::beneath::{At, Beneath, Way};
use super::listing::{Buffer, Listing};
use super::onto::{Onto, Use};
use super::roots::shown;
use super::sink::{FileSink, Parked, Place, Until};
use super::status::Status;
use super::xattrs::{DEFAULT_ACL, FLAGS, Holder, clear_flags, set_flags};
use crate::accounts::Accounts;
use crate::error::Error;

/// How the name of a file begins that is not yet in its place. One that a killed restore left behind may be deleted.
pub const PART_PREFIX: &str = ".seawall-part-";

/// New files of at least this many bytes stand beside their place until they are whole. What an interrupted restore has
/// brought of them stays there, to be gone on with, and does not look like the whole.
pub(super) const LONG_BYTES: u64 = 64 << 20;

/// Longest name of a file that is also in the name of its part; some file systems allow only 143 bytes.
const NAMED_BYTES_MAX: usize = 100;

/// What may happen to what a target holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The target must be absent or empty. (`lost+found`, which a new file system has, does not count.)
    Refuse,
    /// Files, links and special files give way to what is restored at their name, as do links and files where
    /// a directory belongs, and empty directories where something else belongs. All other names stay.
    Replace,
    /// The same, but files that are there are compared, and only what differs is written.
    Differences,
}

/// Whom restored files belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Owner and group by name where this machine knows it, and by number where not.
    ByName,
    /// By number only.
    ByNumber,
    /// Whoever restores: nobody's owner is set, and set-user-ID and set-group-ID bits of files are left out, as they would
    /// give somebody else's rights.
    Mine,
}

/// A directory that a point is written into, or a device or file that the content of one is written onto. May be used by
/// many threads at once.
pub struct Target {
    inside: Arc<Inside>,
    existing: Existing,
    is_new: bool,
    beside: AtomicU64,
    /// What the names of parts that stay hold, so that no file of what is restored has such a name.
    tag: Option<String>,
}

/// What a target shares with the files that are open under it.
pub(super) struct Inside {
    place: PathBuf,
    pub(super) beneath: Beneath,
    pub(super) dresser: Dresser,
    /// What takes the content of the only file; then nothing beneath the root is touched.
    pub(super) onto: Option<Onto>,
}

/// An empty directory gives way to a file at once; a full one never does.
fn empty_folder_gives_way(at: &impl AsFd, name: &[u8], status: &Status) -> Result<(), Errno> {
    if status.kind() == Some(Kind::Directory) { unlinkat(at, name, AtFlags::REMOVEDIR) } else { Ok(()) }
}

/// Takes a part for this run, until it is closed; false if another run has it. Where the file system knows no locks, all
/// that is left is that nobody puts what is not his into place.
fn claim(part: &OwnedFd) -> bool {
    flock(part, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}

impl Target {
    /// Opens `dir`, made with mode 0700 (its missing parents with the usual one) where it does not exist. Where it is a
    /// block device or a file, content is written onto that; see [`Target::onto`].
    pub fn open(dir: &Path, existing: Existing, ownership: Ownership) -> Result<Target, Error> {
        if let Some(onto) = Onto::open(dir, existing, Use::Write)? {
            return Target::over(dir, onto, existing, ownership);
        }
        let root = open_root(dir).map_err(|errno| Error::Target { path: shown(dir), why: errno.into() })?;
        let way = Way::of_this_machine(&root);
        Target::open_by(way, dir, root, existing, ownership)
    }

    /// A target whose only file is `onto`. It needs no root; the one that it has is never used.
    fn over(dir: &Path, onto: Onto, existing: Existing, ownership: Ownership) -> Result<Target, Error> {
        let root = open_root(Path::new("/"))
            .map_err(|errno| Error::Target { path: shown(dir), why: errno.into() })?;
        let dresser = Dresser { accounts: Accounts::of_this_machine(), ownership, inherits: false };
        let beneath = Beneath::new(root, Way::Steps);
        let inside = Inside { place: dir.to_owned(), beneath, dresser, onto: Some(onto) };
        Ok(Target { inside: Arc::new(inside), existing, is_new: false, beside: AtomicU64::new(0), tag: None })
    }

    /// Lets parts of long files stay, under names that hold `tag`: then whoever gives the same one goes on with them. No name
    /// in what is restored may hold it, so it is as fresh as what is restored.
    #[must_use]
    pub fn keeping_parts(self, tag: String) -> Target {
        Target { tag: Some(tag), ..self }
    }

    /// The device or file that content is written onto, if it is none of a directory. Then there may be one file only; its
    /// metadata and all directories are left aside.
    pub fn onto(&self) -> Option<&Onto> {
        self.inside.onto.as_ref()
    }

    /// Whether nothing was there when it was opened, because anything would have been refused.
    pub fn is_vacant(&self) -> bool {
        self.existing == Existing::Refuse
    }

    /// Whether what is there is compared before it is written over.
    pub fn compares(&self) -> bool {
        self.existing == Existing::Differences
    }

    /// Refuses what [`Target::open`] would refuse for what `dir` holds, and makes nothing. Answers what the content would be
    /// written onto, if `dir` is no directory.
    pub fn check(dir: &Path, existing: Existing) -> Result<Option<Onto>, Error> {
        if let Some(onto) = Onto::open(dir, existing, Use::Look)? {
            return Ok(Some(onto));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let looked = match openat(CWD, dir, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(true),
            opened => opened.and_then(|root| is_empty(&root)),
        };
        match looked {
            Ok(false) if existing == Existing::Refuse => Err(Error::TargetNotEmpty { path: shown(dir) }),
            Ok(_) => Ok(None),
            Err(errno) => Err(Error::Target { path: shown(dir), why: errno.into() }),
        }
    }

    /// Whether the directory was made, or held nothing, when it was opened.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The same for a root opened before, walking down `way`.
    pub(super) fn open_by(
        way: Way,
        dir: &Path,
        root: OwnedFd,
        existing: Existing,
        ownership: Ownership,
    ) -> Result<Target, Error> {
        let is_new =
            is_empty(&root).map_err(|errno| Error::Target { path: shown(dir), why: errno.into() })?;
        if existing == Existing::Refuse && !is_new {
            return Err(Error::TargetNotEmpty { path: shown(dir) });
        }
        let inherits = Holder::Open(root.as_fd()).value(DEFAULT_ACL).is_ok();
        let dresser = Dresser { accounts: Accounts::of_this_machine(), ownership, inherits };
        let inside = Inside { place: dir.to_owned(), beneath: Beneath::new(root, way), dresser, onto: None };
        Ok(Target { inside: Arc::new(inside), existing, is_new, beside: AtomicU64::new(0), tag: None })
    }

    /// Makes the directory `path` and those above it that are missing; one that is there stays.
    pub fn directory(&self, path: &TreePath) -> Result<(), Error> {
        if self.onto().is_some() {
            return Ok(());
        }
        let made = match self.make_directory(path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.make_way(path),
            made => made,
        };
        made.map_err(|errno| self.inside.trouble("make", path, errno))
    }

    /// Makes the regular file `path` of `size` bytes, all zeros and not yet on disk; where its directory is not there, that
    /// is made first. Its space is not reserved, so what is never written stays a hole. Where something stands at the name and may
    /// give way, the file is made beside it and takes its place in the end, and so is one that takes long to write.
    pub fn file(&self, path: &TreePath, size: u64) -> Result<FileSink, Error> {
        let make = || match self.part_of(path, size) {
            Some(part) => self.create_part(path, part),
            None => self.create_in_place(path),
        };
        let create = || {
            let (file, until) = match (make(), path.parent()) {
                (Err(Errno::NOENT), Some(parent)) => self.make_way(&parent).and_then(|()| make())?,
                (made, _) => made?,
            };
            if size > 0 {
                ftruncate(&file, size)?;
            }
            Ok((file, Place { path: path.clone(), until, is_old: false }))
        };
        let (file, place) = create().map_err(|errno| self.inside.trouble("make", path, errno))?;
        Ok(FileSink { file, place, inside: self.inside.clone() })
    }

    fn create(&self, path: &TreePath) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (at, name) = self.inside.beneath.parent(path)?;
        openat(&at, name, flags, Mode::RUSR | Mode::WUSR)
    }

    fn create_in_place(&self, path: &TreePath) -> Result<(OwnedFd, Until), Errno> {
        match self.create(path) {
            Err(Errno::EXIST) if self.existing != Existing::Refuse => self.create_beside(path),
            created => created.map(|file| (file, Until::InPlace)),
        }
    }

    /// Where a long file stands until it is whole: its own name is in that where it is not too long, else a hash of it.
    fn part_of(&self, path: &TreePath, size: u64) -> Option<TreePath> {
        let (tag, folder, name) = (self.tag.as_ref()?, path.parent()?, path.name()?);
        let name = match name.len() {
            ..=NAMED_BYTES_MAX => name.to_owned(),
            _ => format!("{:.32}", Hash::of(name).to_string()).into_bytes(),
        };
        let named = [PART_PREFIX.as_bytes(), tag.as_bytes(), b"-of-", &name].concat();
        if size < LONG_BYTES { None } else { folder.join(&named).ok() }
    }

    /// Makes the part of a file beside its place. One that is there gives way, unless another run is at work on it.
    fn create_part(&self, path: &TreePath, part: TreePath) -> Result<(OwnedFd, Until), Errno> {
        let (at, name) = self.inside.beneath.parent(path)?;
        match Status::of(&at, name, false) {
            Ok(_) if self.existing == Existing::Refuse => return Err(Errno::EXIST),
            Ok(status) => empty_folder_gives_way(&at, name, &status)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let file = match self.create(&part) {
            Err(Errno::EXIST) if self.existing != Existing::Refuse => {
                if self
                    .inside
                    .beneath
                    .open(&part, OFlags::RDWR | OFlags::NONBLOCK)
                    .is_ok_and(|file| !claim(&file))
                {
                    return self.create_beside(path);
                }
                let (at, name) = self.inside.beneath.parent(&part)?;
                unlinkat(&at, name, AtFlags::empty())?;
                self.create(&part)?
            }
            created => created?,
        };
        claim(&file);
        Ok((file, Until::Part(part)))
    }

    /// Makes a file in the same directory, under a name that says what it is.
    fn create_beside(&self, path: &TreePath) -> Result<(OwnedFd, Until), Errno> {
        let folder = path.parent().ok_or(Errno::INVAL)?;
        let (at, name) = self.inside.beneath.parent(path)?;
        match Status::of(&at, name, false) {
            Err(Errno::NOENT) => {}
            status => empty_folder_gives_way(&at, name, &status?)?,
        }
        loop {
            let number = self.beside.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PART_PREFIX}{}-{number}", std::process::id());
            let beside = folder.join(name.as_bytes()).map_err(|_| Errno::NAMETOOLONG)?;
            match self.create(&beside) {
                Err(Errno::EXIST) => {}
                created => return Ok((created?, Until::Beside(beside))),
            }
        }
    }

    /// Opens the part that an earlier run left of a file that shall have `size` bytes, or the regular file that stands at
    /// `path`, to be compared and changed as it stands, where differences were asked for and it has no other name; `None`
    /// where it must be made anew. What content is written onto is always taken up.
    pub fn take_up(&self, path: &TreePath, size: u64) -> Result<Option<FileSink>, Error> {
        if let Some(onto) = self.onto() {
            return self.sink_onto(onto, path).map(Some);
        }
        if self.existing != Existing::Differences {
            return Ok(None);
        }
        if let Some(part) = self.part_of(path, size)
            && let Some(sink) = self.open_old(&part, OFlags::RDWR)?.filter(|sink| claim(&sink.file))
        {
            let place = Place { path: path.clone(), until: Until::Part(part), is_old: true };
            return Ok(Some(FileSink { place, ..sink }));
        }
        self.open_old(path, OFlags::RDWR)
    }

    /// Opens the regular file that stands at `path` to be read; `None` where there is none.
    pub fn look_at(&self, path: &TreePath) -> Result<Option<FileSink>, Error> {
        if let Some(onto) = self.onto() {
            return self.sink_onto(onto, path).map(Some);
        }
        self.open_old(path, OFlags::RDONLY)
    }

    /// It stays open in between, as a device would otherwise be anybody's.
    fn sink_onto(&self, onto: &Onto, path: &TreePath) -> Result<FileSink, Error> {
        let file = onto.file.try_clone();
        let trouble = |why| Error::System { act: "open", path: shown(&self.inside.place), why };
        let place = Place { path: path.clone(), until: Until::InPlace, is_old: true };
        Ok(FileSink { file: file.map_err(trouble)?, place, inside: self.inside.clone() })
    }

    fn open_old(&self, path: &TreePath, flags: OFlags) -> Result<Option<FileSink>, Error> {
        let file = match self.inside.beneath.open(path, flags | OFlags::NONBLOCK) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::ACCESS) => return Ok(None),
            Err(errno) => return Err(self.inside.trouble("open", path, errno)),
        };
        let status = Status::of_open(&file).map_err(|errno| self.inside.trouble("look at", path, errno))?;
        let alone = status.links() == 1 || flags == OFlags::RDONLY;
        if status.kind() != Some(Kind::File) || !alone {
            return Ok(None);
        }
        let place = Place { path: path.clone(), until: Until::InPlace, is_old: true };
        Ok(Some(FileSink { file, place, inside: self.inside.clone() }))
    }

    /// Removes what stands at `path`, a directory only when it is empty.
    pub fn remove(&self, path: &TreePath) -> Result<(), Error> {
        let gone = || {
            let (at, name) = self.inside.beneath.parent(path)?;
            remove(&at, name)
        };
        gone().map_err(|errno| self.inside.trouble("remove", path, errno))
    }

    /// Takes up a file that was put aside, if it is still the same file.
    pub fn reopen(&self, parked: &Parked) -> Result<FileSink, Error> {
        if let Some(onto) = self.onto() {
            return self.sink_onto(onto, &parked.place.path);
        }
        let open = || {
            let flags = OFlags::RDWR | OFlags::NONBLOCK;
            let file = self.inside.beneath.open(parked.place.stands(), flags)?;
            let same = Status::of_open(&file)?.inode() == parked.inode;
            if same { Ok(file) } else { Err(Errno::STALE) }
        };
        let place = parked.place.clone();
        let file = open().map_err(|errno| self.inside.trouble("open", &place.path, errno))?;
        Ok(FileSink { file, place, inside: self.inside.clone() })
    }

    /// Makes the symbolic link `path` that says `target`, whatever that means; it is never followed here.
    pub fn symlink(&self, path: &TreePath, target: &[u8]) -> Result<(), Error> {
        if self.existing == Existing::Differences && self.is_link_to(path, target) {
            return Ok(());
        }
        self.make_named("make", path, |at, name| symlinkat(target, at, name))
    }

    fn is_link_to(&self, path: &TreePath, target: &[u8]) -> bool {
        let said = self.inside.beneath.parent(path).and_then(|(at, name)| readlinkat(&at, name, Vec::new()));
        said.is_ok_and(|said| said.as_bytes() == target)
    }

    /// Whether a regular file of several names stands at `path` and has all that `meta` says beside the content. Such a file
    /// may have names outside, so it is never changed, but it may be right as it is.
    pub fn is_linked_and_dressed(&self, path: &TreePath, meta: &Meta) -> bool {
        let look = || {
            let file = self.inside.beneath.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
            let status = Status::of_open(&file)?;
            let is_linked = status.kind() == Some(Kind::File) && status.links() > 1;
            Ok::<bool, Errno>(
                is_linked
                    && status.size() == meta.size
                    && self.inside.dresser.is_dressed(file.as_fd(), &status, meta),
            )
        };
        self.existing == Existing::Differences && self.onto().is_none() && look().unwrap_or(false)
    }

    /// Whether two names are of one file.
    fn are_one(&self, one: &TreePath, other: &TreePath) -> bool {
        let inode = |path: &TreePath| {
            let (at, name) = self.inside.beneath.parent(path)?;
            Ok::<_, Errno>(Status::of(&at, name, false)?.inode())
        };
        matches!((inode(one), inode(other)), (Ok(one), Ok(other)) if one == other)
    }

    /// Gives `existing`, restored before, the second name `new`.
    pub fn hard_link(&self, existing: &TreePath, new: &TreePath) -> Result<(), Error> {
        if existing == new {
            return Err(self.inside.trouble("link", new, Errno::EXIST));
        }
        if self.existing == Existing::Differences && self.are_one(existing, new) {
            return Ok(());
        }
        let (from, old) =
            self.inside.beneath.parent(existing).map_err(|e| self.inside.trouble("link", existing, e))?;
        self.make_named("link", new, |at, name| linkat(&from, old, at, name, AtFlags::empty()))
    }

    /// Makes the named pipe or device that `meta` describes; devices need root.
    pub fn special(&self, path: &TreePath, meta: &Meta) -> Result<(), Error> {
        let kind = match meta.kind {
            Kind::Fifo => FileType::Fifo,
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::Directory | Kind::File | Kind::Symlink => {
                return Err(self.inside.trouble("make", path, Errno::INVAL));
            }
        };
        self.make_named("make", path, |at, name| {
            mknodat(at, name, kind, Mode::RUSR | Mode::WUSR, meta.device)
        })
    }

    /// Sets owner, mode and time of what stands at `path`, in this order; what could not be set is answered.
    /// Files get theirs from [`FileSink::finish`]. Directories must come last of all, deepest first.
    pub fn metadata(&self, path: &TreePath, meta: &Meta) -> Result<Vec<Shortfall>, Error> {
        if self.onto().is_some() {
            return Ok(Vec::new());
        }
        let dress = |subject: Subject<'_>| self.inside.dresser.dress(&subject, path, meta);
        let beneath = &self.inside.beneath;
        let set = || match meta.kind {
            Kind::Directory if path.is_root() => Ok(dress(Subject::Open(beneath.root()))),
            Kind::Directory | Kind::File => {
                let file = beneath.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
                let same = Status::of_open(&file)?.kind() == Some(meta.kind);
                if same { Ok(dress(Subject::Open(file.as_fd()))) } else { Err(Errno::STALE) }
            }
            Kind::Symlink | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => {
                let (at, name) = beneath.parent(path)?;
                let same = Status::of(&at, name, false)?.kind() == Some(meta.kind);
                if same { Ok(dress(Subject::Named(at.as_fd(), name))) } else { Err(Errno::STALE) }
            }
        };
        set().map_err(|errno| self.inside.trouble("set the metadata of", path, errno))
    }

    /// Sets the flags that `meta` has for the file or directory at `path`, if any. Must come after all else, deepest first:
    /// what is immutable takes no change, and no name.
    pub fn flags(&self, path: &TreePath, meta: &Meta) -> Option<Shortfall> {
        if self.onto().is_some() {
            return None;
        }
        let letters = meta.xattrs.iter().find(|(name, _)| &**name == FLAGS).map(|(_, letters)| letters)?;
        let set = || match path.is_root() {
            true => set_flags(self.inside.beneath.root(), letters),
            false => {
                let file = self.inside.beneath.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
                set_flags(file.as_fd(), letters)
            }
        };
        let why = reason(set().err()?);
        Some(Shortfall { path: path.clone(), what: Attribute::Flags, why })
    }

    /// Lets what stands at `path` be changed, where it is immutable or append-only and `meta` says that it is to be so in the
    /// end; [`Target::flags`] makes it so again. Where that cannot be done, whatever is tried next says so.
    pub fn unlock(&self, path: &TreePath, meta: &Meta) {
        let is_flagged = meta.xattrs.iter().any(|(name, _)| &**name == FLAGS);
        if !is_flagged || self.existing == Existing::Refuse || self.onto().is_some() {
            return;
        }
        let _ = match path.is_root() {
            true => clear_flags(self.inside.beneath.root()),
            false => (self.inside.beneath.open(path, OFlags::RDONLY | OFlags::NONBLOCK))
                .and_then(|file| clear_flags(file.as_fd())),
        };
    }

    /// Waits until all that was written is on disk; an error that the disk kept to itself so far comes out
    /// here.
    pub fn sync(&self) -> Result<(), Error> {
        let synced = match self.onto() {
            Some(onto) => onto.sync(),
            None => syncfs(self.inside.beneath.root()),
        };
        synced.map_err(|errno| self.inside.trouble("write back", &TreePath::root(), errno))
    }

    fn make_named(
        &self,
        act: &'static str,
        path: &TreePath,
        make: impl Fn(&At<'_>, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), Error> {
        self.make(path, make).map_err(|errno| self.inside.trouble(act, path, errno))
    }

    /// Makes something new at `path`; where that is allowed, what stands there gives way.
    fn make<T>(
        &self,
        path: &TreePath,
        make: impl Fn(&At<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let (at, name) = self.inside.beneath.parent(path)?;
        match make(&at, name) {
            Err(Errno::EXIST) if self.existing != Existing::Refuse => {
                remove(&at, name)?;
                make(&at, name)
            }
            made => made,
        }
    }

    fn make_directory(&self, path: &TreePath) -> Result<(), Errno> {
        if path.is_root() {
            return Ok(());
        }
        let (at, name) = self.inside.beneath.parent(path)?;
        match mkdirat(&at, name, Mode::RWXU) {
            Err(Errno::EXIST) if Status::of(&at, name, false)?.kind() == Some(Kind::Directory) => Ok(()),
            Err(Errno::EXIST) if self.existing != Existing::Refuse => {
                unlinkat(&at, name, AtFlags::empty())?;
                mkdirat(&at, name, Mode::RWXU)
            }
            made => made,
        }
    }

    /// Makes each directory on the way to `path`, from the top.
    fn make_way(&self, path: &TreePath) -> Result<(), Errno> {
        let mut above = TreePath::root();
        for name in path.components() {
            above = above.join(name).map_err(|_| Errno::INVAL)?;
            self.make_directory(&above)?;
        }
        Ok(())
    }
}

impl Inside {
    /// What `errno` means for `path` in a target.
    pub(super) fn trouble(&self, act: &'static str, path: &TreePath, errno: Errno) -> Error {
        let place = if path.is_root() || self.onto.is_some() {
            self.place.clone()
        } else {
            self.place.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
        };
        let path = shown(&place);
        match errno {
            Errno::EXIST | Errno::LOOP | Errno::NOTDIR | Errno::NOTEMPTY | Errno::ISDIR | Errno::XDEV => {
                Error::Obstacle { act, path }
            }
            Errno::STALE | Errno::NXIO => Error::Replaced { act, path },
            errno => Error::System { act, path, why: errno.into() },
        }
    }
}

pub(super) fn open_root(dir: &Path) -> Result<OwnedFd, Errno> {
    match mkdirat(CWD, dir, Mode::RWXU) {
        Err(Errno::NOENT) => {
            let parents = dir.parent().map_or(Ok(()), std::fs::create_dir_all);
            parents.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            mkdirat(CWD, dir, Mode::RWXU)?;
        }
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn is_empty(root: &OwnedFd) -> Result<bool, Errno> {
    let own = openat(root, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut names, trouble) = Listing::read(own, &mut Buffer::new());
    let mut others = std::iter::from_fn(|| names.next().map(|name| name != b"lost+found"));
    let empty = !others.any(|counts| counts);
    trouble.map_or(Ok(empty), Err)
}

/// Unlinks what `name` means in `at`; a directory only when it is empty.
fn remove(at: &At<'_>, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(at, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(at, name, AtFlags::REMOVEDIR),
        removed => removed,
    }
}
