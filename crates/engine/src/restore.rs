//! Bringing a point back: as parallel as making it, checked chunk by chunk, never outside the target.
//!
//! The tree is walked in order and taken in windows, one gathered while the one before is fetched. In a window, pieces of
//! content are grouped by the frames that hold them, frames by packs; neighbouring frames are fetched in one request, many
//! at once; whoever opens a frame writes all pieces in it to where they belong. A file gets its metadata when its last byte
//! is written, directories at the end, deepest first. A file that cannot be had whole is not left behind as if it were.

mod compare;
mod fetch;
mod files;
mod include;
mod later;
mod names;
mod onto;
mod plan;
mod window;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use format::meta::{Kind, Meta};
use format::path::TreePath;
use format::tree::{Entry, Walk};
use repo::{Guard, PointRecord, Reader, Repo};
use source::directory::{Existing, FLAGS, Item, Ownership, Selection, Shortfall, Target, scan};
use world::{Remedied, Remedy, Step};

use include::Chosen;
pub(crate) use include::Include;
pub use plan::{Plan, plan};

use crate::budget::{DIRECTORIES_MAX, PARTS_AT_ONCE, WINDOW_BYTES};
use crate::error::{Error, Problem};
use files::Files;
use later::Later;
use names::Names;
use window::Window;

/// Files that are read back together.
const READ_BACK_FILES: usize = 1024;

/// What is to be brought back, and where to.
pub struct Request {
    /// The point.
    pub point: PointRecord,
    /// The folder that it is written into, or the device or file that the content of one file is written onto.
    pub into: PathBuf,
    /// Only what matches one of these globs, and what lies below; everything if there are none.
    pub include: Vec<String>,
    /// What matches these globs comes first, in this order.
    pub first: Vec<String>,
    /// Remove names of the target that are not in the point.
    pub remove_others: bool,
    /// Read everything that was written again from the disk, and compare.
    pub read_back: bool,
    /// What may happen to what is there.
    pub existing: Existing,
    /// Whether this goes on with a restore that was interrupted, so that the folder is the point's too.
    pub resume: bool,
    /// Whom files belong to.
    pub ownership: Ownership,
    /// Threads that work; at least one.
    pub cores: usize,
}

impl Request {
    /// All of a point, into a folder that is not there or empty.
    pub fn of(point: PointRecord, into: PathBuf, ownership: Ownership, cores: usize) -> Request {
        Request {
            point,
            into,
            include: Vec::new(),
            first: Vec::new(),
            remove_others: false,
            read_back: false,
            existing: Existing::Refuse,
            resume: false,
            ownership,
            cores,
        }
    }
}

/// What came of a restore.
#[derive(Debug, Default)]
pub struct Report {
    /// Regular files that are back, whole.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes fetched from the region for content.
    pub fetched_bytes: u64,
    /// Requests for content.
    pub requests: u64,
    /// Bytes of content that were written; where differences were asked for, those that were not there already.
    pub written_bytes: u64,
    /// Names that were there and not in the point, and were removed because that was asked for.
    pub removed: u64,
    /// What should have been removed and stayed.
    pub not_removed: Vec<Problem>,
    /// Patterns that nothing in the point matched.
    pub unmatched: Vec<String>,
    /// What is not back.
    pub problems: Vec<Problem>,
    /// What could not be set on something that is back.
    pub shortfalls: Vec<Problem>,
    /// Why a sweep could have taken the point from under the restore, if so.
    pub unprotected: Option<String>,
    /// Why it could not be said that the restore is over, if so: sweeps wait for it until somebody lets it expire.
    pub unended: Option<String>,
    /// How long it took.
    pub time: Duration,
}

impl Report {
    /// Notes that a file is finished, or why it is not.
    fn note_file(&mut self, path: &TreePath, meta: &Meta, finished: Result<Vec<Shortfall>, source::Error>) {
        match finished {
            Ok(shortfalls) => {
                self.shortfalls.extend(shortfalls.into_iter().map(|what| Problem::new(path, what)));
                self.files += 1;
                self.bytes = self.bytes.saturating_add(meta.size);
            }
            Err(error) => self.problems.push(Problem::new(path, error)),
        }
    }
}

fn nothing_matches(request: &Request) -> Error {
    let globs = request.include.join(", ");
    Error::Request(format!("nothing in the point matches {globs}; nothing was restored"))
}

/// How much a restore plans and remembers, whatever the source. One window is gathered and one waits while those before them,
/// as many as three full ones, are not all written yet.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a window: about 100 for each piece of content, 512 for each file.
    pub window_bytes: usize,
    /// Parts of one file that are planned together, and compared with what is there by all threads.
    pub parts_at_once: usize,
    /// Directories that are remembered until the end; where there are more, the tree is walked a second time.
    pub directories: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { window_bytes: WINDOW_BYTES, parts_at_once: PARTS_AT_ONCE, directories: DIRECTORIES_MAX }
    }
}

/// Brings a point back.
pub fn restore(repo: &Repo, request: &Request) -> Result<Report, Error> {
    restore_within(repo, request, Limits::default())
}

/// As [`restore`], within other limits.
pub fn restore_within(repo: &Repo, request: &Request, limits: Limits) -> Result<Report, Error> {
    let begun = repo.world().monotonic();
    let include = Include::new(&request.include)?;
    let reader = Reader::new(repo)?;
    if request.include.is_empty() {
        reader.expect_all();
    }
    let target = Target::open(&request.into, request.existing, request.ownership)?
        .keeping_parts(format!("{:.12}", request.point.point.id.to_string()));
    if let Some(onto) = target.onto() {
        onto::check(&reader, request, &include, onto)?;
    }
    let guard = repo.guard(BTreeSet::from([request.point.point.id]))?;
    match restore_guarded((&reader, &guard), request, limits, (&include, &target)) {
        Ok(mut report) => {
            report.unprotected = guard.unprotected();
            report.unended = guard.end().err().map(|error| error.to_string());
            report.time = repo.world().monotonic().saturating_sub(begun);
            Ok(report)
        }
        Err(error) => {
            let away = matches!(&error, Error::Repo(error) if error.is_about_place());
            if !away {
                guard.leave();
            }
            Err(error)
        }
    }
}

fn restore_guarded<'r>(
    (reader, guard): (&Reader<'r>, &Guard<'r>),
    request: &Request,
    limits: Limits,
    (include, target): (&Include, &Target),
) -> Result<Report, Error> {
    let repo = reader.repo();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.cores.max(1))
        .build()
        .map_err(|error| Error::Request(format!("cannot start threads: {error}")))?;
    repo.world().report(Step::Phase("restoring"));
    let sizes = request.point.point.sizes;
    repo.world().report(Step::Expect { items: sizes.files, bytes: sizes.bytes_logical });
    let files = Files::new(reader, target);
    let mut run = Run {
        reader,
        guard,
        target,
        request,
        include,
        files: &files,
        directories: Later::new(limits.directories),
        flagged: Later::new(limits.directories),
        names: Names::default(),
        leaf: None,
        wanted: false,
    };
    run.walk_all(&pool, limits)?;
    if !run.wanted && files.report().problems.is_empty() {
        return Err(nothing_matches(request));
    }
    files.report().unmatched = include.unmatched();
    if request.remove_others {
        run.remove_others()?;
    }
    run.finish_directories();
    target.sync()?;
    if request.read_back {
        run.read_back(&pool)?;
    }
    run.set_flags();
    Ok(files.into_report())
}

struct Run<'a, 'r> {
    reader: &'a Reader<'r>,
    guard: &'a Guard<'r>,
    target: &'a Target,
    request: &'a Request,
    include: &'a Include,
    files: &'a Files<'a, 'r>,
    directories: Later,
    /// What takes no change once its flags are set.
    flagged: Later,
    names: Names,
    /// The last entry that was no directory. What lies below it would come next in path order.
    leaf: Option<TreePath>,
    /// Whether anything was asked for that is there.
    wanted: bool,
}

impl Run<'_, '_> {
    /// What is wanted first comes first, in the order in which it was named; then the rest.
    fn walk_all(&mut self, pool: &rayon::ThreadPool, limits: Limits) -> Result<(), Error> {
        let first: Vec<Include> = self
            .request
            .first
            .iter()
            .map(|glob| Include::new(std::slice::from_ref(glob)))
            .collect::<Result<_, _>>()?;
        let files = self.files;
        fetch::behind(files, pool, |hand_over| {
            let mut window = Window::new(files, hand_over, limits);
            for pass in 0..=first.len() {
                self.leaf = None;
                let turn =
                    |path: &TreePath| first.iter().position(|f| f.matches(path)).unwrap_or(first.len());
                self.walk(pool, &mut window, &|path| turn(path) == pass)?;
                window.flush();
                if pass < first.len() {
                    files.wait_until_idle();
                }
            }
            Ok(())
        })?;
        self.check_stop()?;
        std::mem::take(&mut self.names).link(files);
        Ok(())
    }

    fn walk(
        &mut self,
        pool: &rayon::ThreadPool,
        window: &mut Window<'_, '_, '_>,
        is_now: &dyn Fn(&TreePath) -> bool,
    ) -> Result<(), Error> {
        let mut walk = self.include.walk(self.reader, self.request.point.point.root);
        while let Some(entry) = walk.next() {
            if self.files.is_stopped() {
                break;
            }
            self.guard.keep();
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if is_damage(&error) => {
                    self.lost_subtree(&walk, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !self.contradicts(&entry) && self.include.matches(&entry.path) && is_now(&entry.path) {
                self.wanted = true;
                self.place(entry, pool, window)?;
            }
        }
        Ok(())
    }

    /// Names an entry below something that is no directory. No source has such a thing, and where links may give way to
    /// directories, the target would not notice.
    fn contradicts(&mut self, entry: &Entry) -> bool {
        if let Some(leaf) = self.leaf.as_ref().filter(|leaf| entry.path.starts_with(leaf)) {
            let what = format!("the tree contradicts itself: {leaf} is no directory, and this lies below it");
            self.name(Problem { path: entry.path.clone(), what, damaged: true });
            return true;
        }
        if entry.meta.kind != Kind::Directory {
            self.leaf = Some(entry.path.clone());
        }
        false
    }

    fn name(&self, problem: Problem) {
        self.files.report().problems.push(problem);
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.reader.repo().world().is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Removes what the target holds and the point does not, deepest first. Where part of the point could not be read,
    /// nobody knows what belongs to it, and everything stays.
    fn remove_others(&mut self) -> Result<(), Error> {
        let mut report = self.files.report();
        if report.problems.iter().any(|problem| problem.damaged) {
            let what = "nothing was removed, as part of the point could not be read";
            report.not_removed.push(Problem::new(&TreePath::root(), what));
            return Ok(());
        }
        let mut stays: Option<TreePath> = None;
        for path in others(self.reader, self.request)?.into_iter().rev() {
            // What could not be removed keeps the directories that it lies in.
            if stays.as_ref().is_some_and(|below| below.starts_with(&path)) {
                continue;
            }
            match self.target.remove(&path) {
                Ok(()) => report.removed += 1,
                Err(error) => {
                    report.not_removed.push(Problem::new(&path, error));
                    stays = Some(path);
                }
            }
        }
        Ok(())
    }

    /// Reads every file that was restored, and compares each chunk with its id.
    fn read_back(&mut self, pool: &rayon::ThreadPool) -> Result<(), Error> {
        use rayon::prelude::*;
        self.reader.repo().world().report(Step::Phase("reading back"));
        let named: BTreeSet<TreePath> =
            self.files.report().problems.iter().map(|problem| problem.path.clone()).collect();
        let mut batch = Vec::new();
        let mut walk = self.include.walk(self.reader, self.request.point.point.root);
        loop {
            self.check_stop()?;
            let next = walk.next();
            let done = next.is_none();
            // What could not be read is named already.
            batch.extend(next.and_then(Result::ok).filter(|entry| {
                let is_file = entry.meta.kind == Kind::File;
                is_file && self.include.matches(&entry.path) && !named.contains(&entry.path)
            }));
            if done || batch.len() >= READ_BACK_FILES {
                let (target, reader) = (self.target, self.reader);
                let wrong = |entry: Entry| match compare::is_whole(target, reader, &entry) {
                    Ok(true) => None,
                    Ok(false) => Some(Problem::new(&entry.path, "it reads back other than it was written")),
                    Err(error) => Some(Problem::new(&entry.path, error)),
                };
                let batch = std::mem::take(&mut batch);
                let found: Vec<Problem> = pool.install(|| batch.into_par_iter().filter_map(wrong).collect());
                self.files.report().problems.extend(found);
            }
            if done {
                return Ok(());
            }
        }
    }

    /// A node of the tree is gone: what it held is named as far as it is known.
    fn lost_subtree(&self, walk: &Chosen<'_, '_>, error: &Error) {
        let (path, count) = match walk.missing() {
            Some(child) => (child.first.clone(), child.totals.entries),
            None => (TreePath::root(), 0),
        };
        let what = match count {
            0 => format!("the tree cannot be read from here on: {error}"),
            count => format!("{count} entries from here on are lost: {error}"),
        };
        self.name(Problem { path, what, damaged: true });
    }

    /// Makes an entry or plans it. What every later one would meet too is returned.
    fn place(
        &mut self,
        entry: Entry,
        pool: &rayon::ThreadPool,
        window: &mut Window<'_, '_, '_>,
    ) -> Result<(), Error> {
        let path = entry.path.clone();
        if entry.meta.xattrs.iter().any(|(name, _)| &**name == FLAGS) {
            self.flagged.add(&path, &entry.meta);
            self.target.unlock(&path, &entry.meta);
        }
        let placed = match entry.meta.kind {
            Kind::Directory => {
                self.directories.add(&entry.path, &entry.meta);
                self.target.directory(&entry.path).map_err(Error::from)
            }
            _ if self.names.is_further(&entry) => Ok(()),
            Kind::File => window.file(entry, pool),
            Kind::Symlink => self.make(&entry, |target| target.symlink(&entry.path, &entry.meta.target)),
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => {
                self.make(&entry, |target| target.special(&entry.path, &entry.meta))
            }
        };
        match placed {
            Err(error) if concerns_everything(&error) => return Err(error),
            Err(error) => self.name(Problem::new(&path, error)),
            Ok(()) => {}
        }
        Ok(())
    }

    fn make(&self, entry: &Entry, act: impl Fn(&Target) -> Result<(), source::Error>) -> Result<(), Error> {
        if let Some(parent) = entry.path.parent() {
            self.target.directory(&parent)?;
        }
        act(self.target)?;
        for shortfall in self.target.metadata(&entry.path, &entry.meta)? {
            self.files.report().shortfalls.push(Problem::new(&shortfall.path, &shortfall));
        }
        Ok(())
    }

    /// After all else, deepest first. What is not back is named already.
    fn set_flags(&mut self) {
        let mut report = self.files.report();
        let named: HashSet<TreePath> = report.problems.iter().map(|problem| problem.path.clone()).collect();
        let is_flagged = |entry: &Entry| entry.meta.xattrs.iter().any(|(name, _)| &**name == FLAGS);
        let given = (self.reader, self.request, self.include);
        std::mem::take(&mut self.flagged).deepest_first(given, is_flagged, |path, meta| {
            if !named.contains(path) {
                let shortfall = self.target.flags(path, meta);
                report.shortfalls.extend(shortfall.map(|s| Problem::new(path, s)));
            }
        });
    }

    /// Deepest first, because writing into a directory changes its time.
    fn finish_directories(&mut self) {
        let mut report = self.files.report();
        // A directory that was there and holds other things too keeps its own.
        let is_own = |path: &TreePath| self.request.resume || self.target.is_new() || !path.is_root();
        let is_directory = |entry: &Entry| entry.meta.kind == Kind::Directory;
        let given = (self.reader, self.request, self.include);
        std::mem::take(&mut self.directories).deepest_first(given, is_directory, |path, meta| {
            if !is_own(path) {
                return;
            }
            match self.target.metadata(path, meta) {
                Ok(shortfalls) => {
                    let named = shortfalls.iter().map(|s| Problem::new(&s.path, s));
                    report.shortfalls.extend(named);
                }
                Err(error) => report.problems.push(Problem::new(path, error)),
            }
        });
    }
}

/// Names below the target that the point does not hold, in path order; both are walked in that order side by side.
fn others(reader: &Reader<'_>, request: &Request) -> Result<Vec<TreePath>, Error> {
    let selection = Selection::of(vec![request.into.clone()]);
    let mut walk = Walk::new(Nodes(reader), request.point.point.root);
    let mut next = walk.next().transpose()?;
    let mut others = Vec::new();
    for item in scan(&selection, reader.repo().world())? {
        let path = match item {
            Item::Entry(found) => found.path,
            Item::Skipped(skipped) => skipped.path,
            Item::Problem(problem) => return Err(problem.error.into()),
        };
        while next.as_ref().is_some_and(|entry| entry.path < path) {
            next = walk.next().transpose()?;
        }
        if next.as_ref().is_none_or(|entry| entry.path != path) {
            others.push(path);
        }
    }
    Ok(others)
}

/// Nodes with this crate's errors.
pub(crate) struct Nodes<'a, 'r>(pub(crate) &'a Reader<'r>);

impl format::tree::Load for Nodes<'_, '_> {
    type Error = Error;

    fn load(&mut self, reference: &format::reference::Reference) -> Result<Vec<u8>, Error> {
        Ok(self.0.chunk(reference)?)
    }
}

/// Whether stored data is damaged, so that going on with the rest makes sense.
pub(crate) fn is_damage(error: &Error) -> bool {
    error.remedy() == Remedy::Repair
}

/// Whether every later item would meet the same: no room or no descriptors here, or a region that patience did not
/// bring back.
fn concerns_everything(error: &Error) -> bool {
    match error {
        Error::Source(error) => error.remedy() == Remedy::Stop,
        Error::Repo(error) => error.is_about_place(),
        _ => false,
    }
}
