//! The walk: every name of the tree in path order, each looked at when its turn comes.
//!
//! A directory is listed completely before its first name is looked at, so what fails at one name takes no
//! other with it. A name is looked at just before it is handed out, its content is opened only when the
//! caller asks: each step checks that it still means the inode that the step before saw. What has gone in
//! between is told, never guessed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::meta::{FileTime, Kind, Meta};
use format::path::TreePath;
use rustix::fs::{CWD, Mode, OFlags, open, readlinkat};
use rustix::io::Errno;
use world::World;

use super::excludes::Excludes;
use super::folder::{Folder, Scope};
use super::found::{Found, Identity};
use super::ignore::Verdict;
use super::image::{self, Disk, Images};
use super::listing::{Buffer, Listing};
use super::marks::Said;
use super::roots::{Branch, root_error, shown};
use super::status::Status;
use super::xattrs;
use crate::accounts::Accounts;
use crate::error::{Error, printable};
use crate::time::file_time;

/// What to walk.
///
/// One root is the root of the point: the directory's content, or that one file; a link is followed, since
/// its name is not kept. Several roots appear under their absolute paths, with the directories on the way; a
/// root inside another is walked once.
pub struct Selection {
    /// Paths as the user named them.
    pub roots: Vec<PathBuf>,
    /// Names to leave out.
    pub excludes: Excludes,
    /// Whether directories where another file system begins are kept empty, unless they are named or lead to
    /// a root.
    pub one_file_system: bool,
    /// Directories that are never entered unless they are named: where the backups themselves lie.
    pub never: Vec<PathBuf>,
    /// Which roots are kept as images. Links to these are followed, however many roots there are.
    pub images: Images,
}

impl Selection {
    /// All that lies below `roots`, as it is kept unless somebody asks for something else.
    pub fn of(roots: Vec<PathBuf>) -> Selection {
        let (excludes, images) = (Excludes::default(), Images::default());
        Selection { roots, excludes, one_file_system: false, never: Vec::new(), images }
    }
}

/// What a walk meets.
#[derive(Debug)]
pub enum Item {
    /// A name that belongs into the point.
    Entry(Found),
    /// A name, or the content of a directory handed out before, that could not be read; the walk goes on.
    Problem(Problem),
    /// A name that is left out, with all below it.
    Skipped(Skipped),
}

/// One thing that could not be read.
#[derive(Debug)]
pub struct Problem {
    /// Where it stands in the point; the directory above where its own name cannot be kept.
    pub path: TreePath,
    /// What happened, with the name as a person finds it.
    pub error: Error,
}

/// One name that is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it would stand in the point.
    pub path: TreePath,
    /// Why not.
    pub reason: Reason,
}

/// Why a name is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A socket has no content and means nothing without the process that made it.
    Socket,
    /// It was listed, and removed before it could be looked at.
    Vanished,
    /// A pattern of names to leave out matches it.
    Excluded,
    /// A file of patterns in the tree says so.
    Ignored,
    /// It lies in a directory that is tagged as a cache.
    Cache,
    /// It lies in a directory that a file marks as not to be kept.
    Marked,
    /// It is a longer file than is wanted.
    TooLarge,
    /// The backups themselves lie there.
    Repository,
}

impl Reason {
    /// Whether the user asked for that.
    pub fn is_asked_for(self) -> bool {
        !matches!(self, Reason::Socket | Reason::Vanished | Reason::Repository)
    }

    /// For a person.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Socket => "a socket",
            Reason::Vanished => "it vanished",
            Reason::Excluded => "a pattern matches",
            Reason::Ignored => "an ignore file says so",
            Reason::Cache => "in a cache directory",
            Reason::Marked => "in a marked directory",
            Reason::TooLarge => "too large",
            Reason::Repository => "the repository itself",
        }
    }
}

/// A walk under way: an iterator of [`Item`]s whose entries are in path order, each path once.
pub struct Scan {
    base: Arc<Folder>,
    accounts: Accounts,
    excludes: Excludes,
    one_file_system: bool,
    never: Vec<(u64, u64)>,
    images: Images,
    start: FileTime,
    first: Option<First>,
    then: Option<Then>,
    /// What is told before the walk goes on.
    trouble: Option<Problem>,
    frames: Vec<Frame>,
    links: Links,
    buffer: Buffer,
}

/// The root of the point before it is handed out.
struct First {
    folder: Arc<Folder>,
    status: Status,
    branch: Arc<Branch>,
}

/// What follows the entry that was handed out last.
enum Then {
    Enter(Ahead),
    Tell(Problem),
}

/// A directory that was handed out and is walked next.
struct Ahead {
    path: TreePath,
    follow: bool,
    area: Area,
}

/// Which names of a directory are wanted.
#[derive(Clone)]
struct Area {
    /// Whether this lies in a root, so all names are taken; else only those of `branch`.
    whole: bool,
    /// The names below that lead to roots.
    branch: Option<Arc<Branch>>,
    /// The file system that the walk stays on, where it must.
    device: u64,
}

/// A directory being walked.
struct Frame {
    folder: Arc<Folder>,
    path: TreePath,
    names: Listing,
    area: Area,
    said: Said,
}

/// Starts a walk. A root that does not exist or cannot be opened is an error here; all else comes as
/// [`Item::Problem`].
pub fn scan(selection: &Selection, world: &World) -> Result<Scan, Error> {
    let first = match selection.roots.as_slice() {
        [] => return Err(Error::NoRoots),
        [root] => single(root, selection.images)?,
        roots => several(roots, selection.images)?,
    };
    Ok(Scan {
        base: first.folder.clone(),
        accounts: Accounts::of_this_machine(),
        excludes: excludes(selection, &first),
        one_file_system: selection.one_file_system,
        never: selection.never.iter().filter_map(|dir| inode_of(dir)).collect(),
        images: selection.images,
        start: file_time(world.now_ns()),
        first: Some(first),
        then: None,
        trouble: None,
        frames: Vec::new(),
        links: Links::default(),
        buffer: Buffer::new(),
    })
}

/// Several roots hang below the top of the machine, so there a pattern from the top needs no other form.
fn excludes(selection: &Selection, first: &First) -> Excludes {
    let [root] = selection.roots.as_slice() else { return selection.excludes.clone() };
    let typed = std::path::absolute(root).unwrap_or_else(|_| root.clone());
    let typed: PathBuf = typed.components().collect();
    selection.excludes.below([typed.as_path(), first.folder.scope.base.as_path()])
}

/// What is not there needs no leaving out.
fn inode_of(dir: &Path) -> Option<(u64, u64)> {
    Status::of(CWD, dir.as_os_str().as_encoded_bytes(), true).ok().map(|status| status.inode())
}

fn single(root: &Path, images: Images) -> Result<First, Error> {
    let place = root.canonicalize().map_err(|why| root_error(root, why))?;
    let status = Status::of(CWD, place.as_os_str().as_encoded_bytes(), false);
    let status = status.map_err(|errno| root_error(root, errno.into()))?;
    let kind = status.kind().ok_or_else(|| Error::SocketRoot { path: shown(root) })?;
    image::check(root, &place, kind, images)?;
    let branch = Arc::new(Branch::whole());
    let (directory, name) = match (kind, place.parent(), place.file_name()) {
        (Kind::Directory, ..) | (_, None, _) | (_, _, None) => (place, None),
        (_, Some(parent), Some(name)) => (parent.to_owned(), Some(name.as_encoded_bytes().into())),
    };
    let folder = open_base(directory, name).map_err(|errno| root_error(root, errno.into()))?;
    Ok(First { folder, status, branch })
}

fn several(roots: &[PathBuf], images: Images) -> Result<First, Error> {
    let branch = Arc::new(Branch::of(roots, images)?);
    let top = || {
        let folder = open_base(PathBuf::from("/"), None)?;
        let status = Status::of_open(folder.descriptor()?)?;
        Ok(First { folder, status, branch })
    };
    top().map_err(|errno: Errno| root_error(Path::new("/"), errno.into()))
}

fn open_base(directory: PathBuf, root_name: Option<Box<[u8]>>) -> Result<Arc<Folder>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = open(&directory, flags, Mode::empty())?;
    Folder::base(Scope::new(directory, root_name), descriptor)
}

impl Iterator for Scan {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if let Some(first) = self.first.take() {
            return Some(self.begin(first));
        }
        if let Some(trouble) = self.trouble.take() {
            return Some(Item::Problem(trouble));
        }
        let problem = match self.then.take() {
            Some(Then::Enter(ahead)) => self.enter(ahead).err(),
            Some(Then::Tell(problem)) => Some(problem),
            None => None,
        };
        problem.map(Item::Problem).or_else(|| self.walk_on())
    }
}

impl Scan {
    /// The time the walk began, for [`Found::settled`].
    pub fn start(&self) -> FileTime {
        self.start
    }

    /// Hands out the root of the point.
    fn begin(&mut self, first: First) -> Item {
        let (path, folder, status) = (TreePath::root(), first.folder, first.status);
        let named = first.branch.whole;
        if status.kind() == Some(Kind::Directory) {
            let area =
                Area { whole: first.branch.whole, branch: Some(first.branch), device: status.inode().0 };
            self.then = Some(Then::Enter(Ahead { path: path.clone(), follow: false, area }));
        }
        self.hand_out(path, folder, &status, named)
    }

    /// Lists the directory that was handed out last. After an error halfway, what was listed is walked all
    /// the same.
    fn enter(&mut self, ahead: Ahead) -> Result<(), Problem> {
        let Ahead { path, follow, area } = ahead;
        let opened = match (self.frames.last(), path.name()) {
            (Some(frame), Some(name)) => Folder::enter(&frame.folder, name, follow),
            _ => Ok(self.base.clone()),
        };
        let opened = opened.and_then(|folder| Ok((folder.descriptor()?, folder)));
        let (descriptor, folder) = opened.map_err(|errno| self.problem("list", path.clone(), errno))?;
        let (names, trouble) = match (&area.branch, area.whole) {
            (Some(branch), false) => (Listing::of(branch.children.keys().map(|name| &**name)), None),
            _ => Listing::read(&descriptor, &mut self.buffer),
        };
        let (said, unread) =
            if area.whole { self.excludes.marks.of(&descriptor, &names) } else { Default::default() };
        self.trouble = unread.and_then(|(name, errno)| {
            Some(self.problem("follow the rules in", path.join(&name).ok()?, errno))
        });
        let problem = trouble.map(|errno| self.problem("list", path.clone(), errno));
        self.frames.push(Frame { folder, path, names, area, said });
        problem.map_or(Ok(()), Err)
    }

    /// The next item of the directories that are open, from the innermost.
    fn walk_on(&mut self) -> Option<Item> {
        loop {
            let frame = self.frames.last_mut()?;
            let Some(name) = frame.names.next() else {
                self.frames.pop();
                continue;
            };
            return Some(match frame.path.join(name) {
                Ok(path) => self.visit(path),
                Err(why) => {
                    let path = format!("{}/{}", frame.folder.scope.shown(&frame.path), printable(name));
                    let error = Error::Unnamable { path, why };
                    Item::Problem(Problem { path: frame.path.clone(), error })
                }
            });
        }
    }

    /// Looks at one name of the innermost directory.
    fn visit(&mut self, path: TreePath) -> Item {
        let frame = self.frames.last().expect("the name comes from the innermost directory");
        let name = path.name().expect("the path ends in the name");
        let branch = frame.area.branch.as_ref().and_then(|branch| branch.children.get(name)).cloned();
        if branch.is_none() {
            let is_excluded = self.excludes.cover(&path).then_some(Reason::Excluded);
            if let Some(reason) = is_excluded.or_else(|| frame.said.leaves_out(name)) {
                return skipped(path, reason);
            }
        }
        let folder = frame.folder.clone();
        let descriptor = match folder.descriptor() {
            Ok(descriptor) => descriptor,
            Err(errno) => return self.give_up(errno),
        };
        let follow = branch.as_ref().is_some_and(|branch| branch.follows(frame.area.whole));
        match Status::of(descriptor, name, follow) {
            Err(Errno::NOENT) if branch.is_none() => skipped(path, Reason::Vanished),
            Err(errno) => Item::Problem(self.problem("look at", path, errno)),
            Ok(status) => self.take(path, follow, branch, folder, &status),
        }
    }

    /// The innermost directory was closed to save descriptors and cannot be opened again, mostly because it was
    /// moved away: its last names are lost, and one problem says so.
    fn give_up(&mut self, errno: Errno) -> Item {
        let frame = self.frames.pop().expect("a directory is being walked");
        Item::Problem(self.problem("list", frame.path, errno))
    }

    /// Decides what becomes of a name that was looked at, and of what is below it.
    fn take(
        &mut self,
        path: TreePath,
        follow: bool,
        branch: Option<Arc<Branch>>,
        folder: Arc<Folder>,
        status: &Status,
    ) -> Item {
        let Some(kind) = status.kind() else { return skipped(path, Reason::Socket) };
        let leads_on = branch.as_ref().is_some_and(|branch| !branch.children.is_empty());
        let named = branch.as_ref().is_some_and(|branch| branch.whole);
        if branch.is_none()
            && let Some(reason) = self.left_out(&path, kind, status)
        {
            return skipped(path, reason);
        }
        if kind == Kind::Directory {
            let area = self.area_below(status, branch);
            self.then = area.map(|area| Then::Enter(Ahead { path: path.clone(), follow, area }));
        } else if leads_on {
            let error = Error::BehindLink { path: folder.scope.shown(&path) };
            self.then = Some(Then::Tell(Problem { path: path.clone(), error }));
        }
        self.hand_out(path, folder, status, named)
    }

    /// Why a name that was looked at is left out.
    fn left_out(&self, path: &TreePath, kind: Kind, status: &Status) -> Option<Reason> {
        let is_directory = kind == Kind::Directory;
        if is_directory && self.never.contains(&status.inode()) {
            return Some(Reason::Repository);
        }
        if is_directory && self.excludes.cover_directory(path) {
            return Some(Reason::Excluded);
        }
        if kind == Kind::File && self.excludes.marks.larger_than.is_some_and(|most| status.size() > most) {
            return Some(Reason::TooLarge);
        }
        let verdict = self.frames.iter().rev().find_map(|frame| {
            let above = frame.path.as_bytes().len();
            let below = path.as_bytes().get(above..)?;
            frame.said.verdict(below.strip_prefix(b"/").unwrap_or(below), is_directory)
        });
        (verdict == Some(Verdict::Out)).then_some(Reason::Ignored)
    }

    /// What is wanted of a directory in the innermost one; `None` when only the directory itself is.
    fn area_below(&self, status: &Status, branch: Option<Arc<Branch>>) -> Option<Area> {
        let above = &self.frames.last().expect("the name comes from the innermost directory").area;
        let device = status.inode().0;
        let stays = !self.one_file_system || device == above.device;
        let named = branch.as_ref().is_some_and(|branch| branch.whole);
        let whole = named || (above.whole && stays);
        (whole || branch.is_some()).then_some(Area { whole, branch, device })
    }

    /// `named` says whether it is a root.
    fn hand_out(&mut self, path: TreePath, folder: Arc<Folder>, status: &Status, named: bool) -> Item {
        let (act, made) = match status.kind() {
            Some(Kind::BlockDevice) if named => ("open", self.disk(&path, &folder, status)),
            _ => ("read the link", self.meta(&path, &folder, status).map(|meta| (meta, None))),
        };
        match made {
            Ok((meta, disk)) => {
                let (device, inode) = status.inode();
                let identity = Identity { inode, ctime: status.ctime(), device, links: status.links() };
                let image =
                    meta.kind == Kind::File && (disk.is_some() || (named && self.images == Images::All));
                Item::Entry(Found { path, meta, identity, folder, sparse: status.is_sparse(), image, disk })
            }
            Err(errno) => Item::Problem(self.problem(act, path, errno)),
        }
    }

    /// What is kept of a device as a file: its owner and permissions, and the content as its bytes.
    fn disk(
        &mut self,
        path: &TreePath,
        folder: &Arc<Folder>,
        status: &Status,
    ) -> Result<(Meta, Option<Disk>), Errno> {
        let name = folder.scope.root_name.as_deref().or(path.name()).ok_or(Errno::STALE)?;
        let (disk, size) = Disk::of(folder, name, status)?;
        let meta = self.meta(path, folder, status)?;
        Ok((Meta { kind: Kind::File, device: 0, link: None, size, ..meta }, Some(disk)))
    }

    fn meta(&mut self, path: &TreePath, folder: &Arc<Folder>, status: &Status) -> Result<Meta, Errno> {
        let kind = status.kind().ok_or(Errno::NXIO)?;
        let mut meta = Meta {
            mode: status.mode(),
            uid: status.uid(),
            gid: status.gid(),
            user: self.accounts.users.name(status.uid()),
            group: self.accounts.groups.name(status.gid()),
            mtime: status.mtime(),
            xattrs: xattrs::flags(status.attributes()).into_iter().collect(),
            ..Meta::new(kind)
        };
        meta.link = self.links.group(status, path);
        match kind {
            Kind::File => meta.size = status.size(),
            Kind::Symlink => meta.target = link_target(folder, path)?,
            Kind::CharDevice | Kind::BlockDevice => meta.device = status.device(),
            Kind::Directory | Kind::Fifo => {}
        }
        Ok(meta)
    }

    fn problem(&self, act: &'static str, path: TreePath, errno: Errno) -> Problem {
        let error = self.base.scope.trouble(act, &path, errno);
        Problem { path, error }
    }
}

fn link_target(folder: &Arc<Folder>, path: &TreePath) -> Result<Box<[u8]>, Errno> {
    let name = path.name().ok_or(Errno::STALE)?;
    Ok(readlinkat(folder.descriptor()?, name, Vec::new())?.into_bytes().into())
}

fn skipped(path: TreePath, reason: Reason) -> Item {
    Item::Skipped(Skipped { path, reason })
}

/// What is told apart by device, inode, times and size while files with several names come by: a number that was given
/// to a new file, or a file that changed between two of its names, is another one.
#[derive(Default)]
struct Links(HashMap<Same, Group>);

type Same = ((u64, u64), FileTime, FileTime, u64);

struct Group {
    id: u64,
    seen: u32,
}

impl Links {
    /// The number of the group that `status`, met at `path`, belongs to; `None` for a directory and for what has one name.
    fn group(&mut self, status: &Status, path: &TreePath) -> Option<u64> {
        if status.links() < 2 || status.kind() == Some(Kind::Directory) {
            return None;
        }
        let same = (status.inode(), status.ctime(), status.mtime(), status.size());
        let group = self.0.entry(same).or_insert_with(|| Group { id: link_number(path), seen: 0 });
        group.seen += 1;
        let (id, complete) = (group.id, group.seen >= status.links());
        if complete {
            self.0.remove(&same);
        }
        Some(id)
    }
}

/// The first eight bytes of the path's BLAKE3, little-endian.
fn link_number(path: &TreePath) -> u64 {
    let hash = blake3::hash(path.as_bytes());
    let first = hash.as_bytes().first_chunk().expect("a hash is longer than eight bytes");
    u64::from_le_bytes(*first)
}
