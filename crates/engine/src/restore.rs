//! Bringing a point back: as parallel as making it, checked chunk by chunk, never outside the target.
//!
//! The tree is walked in order and taken in windows. In a window, pieces of content are grouped by the frames that hold
//! them, frames by packs; neighbouring frames are fetched in one request, many at once; whoever opens a frame writes all
//! pieces in it to where they belong. A file gets its metadata when its last byte is written, directories at the end,
//! deepest first. A file that cannot be had whole is not left behind as if it were.

mod plan;
mod window;

use std::path::PathBuf;
use std::time::Duration;

use format::meta::{Kind, Meta};
use format::path::TreePath;
use format::tree::{Entry, Walk};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use repo::{PointRecord, Reader, Repo};
use source::directory::{Existing, FLAGS, Ownership, Target};
use world::{Remedied, Remedy, Step};

pub use plan::{Plan, plan};

use crate::error::{Error, Problem};
use window::Window;

/// What is to be brought back, and where to.
pub struct Request {
    /// The point.
    pub point: PointRecord,
    /// The folder that it is written into.
    pub into: PathBuf,
    /// Only what matches one of these globs, and what lies below; everything if there are none.
    pub include: Vec<String>,
    /// What may happen to what is there.
    pub existing: Existing,
    /// Owners by number only.
    pub numeric_ids: bool,
    /// Threads that work; at least one.
    pub cores: usize,
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
    /// What is not back.
    pub problems: Vec<Problem>,
    /// What could not be set on something that is back.
    pub shortfalls: Vec<Problem>,
    /// How long it took.
    pub time: Duration,
}

/// Brings a point back.
pub fn restore(repo: &Repo, request: &Request) -> Result<Report, Error> {
    let begun = repo.world().monotonic();
    let include = Include::new(&request.include)?;
    let reader = Reader::new(repo)?;
    let ownership = Ownership { numeric_ids: request.numeric_ids };
    let target = Target::open(&request.into, request.existing, ownership)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.cores.max(1))
        .build()
        .map_err(|error| Error::Request(format!("cannot start threads: {error}")))?;
    repo.world().report(Step::Phase("restoring"));
    let sizes = request.point.point.sizes;
    repo.world().report(Step::Expect { items: sizes.files, bytes: sizes.bytes_logical });
    let mut run = Run {
        reader: &reader,
        target: &target,
        report: Report::default(),
        directories: Vec::new(),
        flagged: Vec::new(),
        leaf: None,
        wanted: false,
    };
    run.walk(&pool, &request.point, &include)?;
    if !run.wanted && run.report.problems.is_empty() {
        let globs = request.include.join(", ");
        return Err(Error::Request(format!("nothing in the point matches {globs}; nothing was restored")));
    }
    run.finish_directories();
    run.set_flags();
    target.sync()?;
    run.report.time = repo.world().monotonic().saturating_sub(begun);
    Ok(run.report)
}

struct Run<'a, 'r> {
    reader: &'a Reader<'r>,
    target: &'a Target,
    report: Report,
    directories: Vec<(TreePath, Meta)>,
    /// What takes no change once its flags are set.
    flagged: Vec<(TreePath, Meta)>,
    /// The last entry that was no directory. What lies below it would come next in path order.
    leaf: Option<TreePath>,
    /// Whether anything was asked for that is there.
    wanted: bool,
}

impl Run<'_, '_> {
    fn walk(
        &mut self,
        pool: &rayon::ThreadPool,
        point: &PointRecord,
        include: &Include,
    ) -> Result<(), Error> {
        let mut walk = Walk::new(Nodes(self.reader), point.point.root);
        let mut window = Window::new(self.reader, self.target);
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if is_damage(&error) => {
                    self.lost_subtree(&walk, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if self.contradicts(&entry) {
                continue;
            }
            if include.matches(&entry.path) {
                self.wanted = true;
                self.place(entry, &mut window)?;
            }
            if window.is_full() {
                self.run_window(pool, &mut window)?;
            }
            self.check_stop()?;
        }
        self.run_window(pool, &mut window)?;
        window.link_names(&mut self.report);
        Ok(())
    }

    /// Names an entry below something that is no directory. No source has such a thing, and where links may give way to
    /// directories, the target would not notice.
    fn contradicts(&mut self, entry: &Entry) -> bool {
        if let Some(leaf) = self.leaf.as_ref().filter(|leaf| entry.path.starts_with(leaf)) {
            let what = format!("the tree contradicts itself: {leaf} is no directory, and this lies below it");
            self.report.problems.push(Problem { path: entry.path.clone(), what, damaged: true });
            return true;
        }
        if entry.meta.kind != Kind::Directory {
            self.leaf = Some(entry.path.clone());
        }
        false
    }

    fn run_window(&mut self, pool: &rayon::ThreadPool, window: &mut Window<'_, '_>) -> Result<(), Error> {
        window.run(pool, &mut self.report)?;
        self.check_stop()
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.reader.repo().world().is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// A node of the tree is gone: what it held is named as far as it is known.
    fn lost_subtree(&mut self, walk: &Walk<Nodes<'_, '_>>, error: &Error) {
        let (path, count) = match walk.missing() {
            Some(child) => (child.first.clone(), child.totals.entries),
            None => (TreePath::root(), 0),
        };
        let what = match count {
            0 => format!("the tree cannot be read from here on: {error}"),
            count => format!("{count} entries from here on are lost: {error}"),
        };
        self.report.problems.push(Problem { path, what, damaged: true });
    }

    /// Makes an entry or plans it. What every later one would meet too is returned.
    fn place(&mut self, entry: Entry, window: &mut Window<'_, '_>) -> Result<(), Error> {
        let path = entry.path.clone();
        if entry.meta.xattrs.iter().any(|(name, _)| &**name == FLAGS) {
            self.flagged.push((path.clone(), entry.meta.clone()));
        }
        let placed = match entry.meta.kind {
            Kind::Directory => {
                let made = self.target.directory(&entry.path).map_err(Error::from);
                self.directories.push((entry.path, entry.meta));
                made
            }
            Kind::File => window.file(entry, &mut self.report),
            Kind::Symlink | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice
                if window.is_further_name(&entry) =>
            {
                Ok(())
            }
            Kind::Symlink => self.make(&entry, |target| target.symlink(&entry.path, &entry.meta.target)),
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => {
                self.make(&entry, |target| target.special(&entry.path, &entry.meta))
            }
        };
        match placed {
            Err(error) if concerns_everything(&error) => return Err(error),
            Err(error) => self.report.problems.push(Problem::new(&path, error)),
            Ok(()) => {}
        }
        Ok(())
    }

    fn make(
        &mut self,
        entry: &Entry,
        act: impl Fn(&Target) -> Result<(), source::Error>,
    ) -> Result<(), Error> {
        if let Some(parent) = entry.path.parent() {
            self.target.directory(&parent)?;
        }
        act(self.target)?;
        for shortfall in self.target.metadata(&entry.path, &entry.meta)? {
            self.report.shortfalls.push(Problem::new(&shortfall.path, &shortfall));
        }
        Ok(())
    }

    /// After all else, deepest first. What is not back is named already.
    fn set_flags(&mut self) {
        for (path, meta) in self.flagged.iter().rev() {
            if !self.report.problems.iter().any(|problem| problem.path == *path) {
                let shortfall = self.target.flags(path, meta);
                self.report.shortfalls.extend(shortfall.map(|s| Problem::new(path, s)));
            }
        }
    }

    /// Deepest first, because writing into a directory changes its time.
    fn finish_directories(&mut self) {
        for (path, meta) in self.directories.iter().rev() {
            match self.target.metadata(path, meta) {
                Ok(shortfalls) => {
                    let named = shortfalls.iter().map(|s| Problem::new(&s.path, s));
                    self.report.shortfalls.extend(named);
                }
                Err(error) => self.report.problems.push(Problem::new(path, error)),
            }
        }
    }
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
        Error::Repo(error) => error.remedy() == Remedy::Retry,
        _ => false,
    }
}

/// Which entries are wanted.
pub(crate) struct Include(Option<GlobSet>);

impl Include {
    pub(crate) fn new(globs: &[String]) -> Result<Include, Error> {
        if globs.is_empty() {
            return Ok(Include(None));
        }
        let bad = |error: globset::Error| Error::Request(format!("include pattern: {error}"));
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            let glob = glob.trim_matches('/');
            for form in [glob.to_owned(), format!("{glob}/**")] {
                set.add(GlobBuilder::new(&form).literal_separator(true).build().map_err(bad)?);
            }
        }
        Ok(Include(Some(set.build().map_err(bad)?)))
    }

    pub(crate) fn matches(&self, path: &TreePath) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(path.as_bytes());
        self.0.as_ref().is_none_or(|set| set.is_match(path))
    }
}
