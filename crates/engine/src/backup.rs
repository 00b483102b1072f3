//! Making a point: a walk, workers, and one collector that puts the tree together in path order.
//!
//! The walk hands out units in path order: entries that are done, batches of small files, segments of large ones. Workers
//! read, cut, name, look up, compress and seal a unit to its end; the collector takes units in their order again, so the
//! tree is the same however many workers there are. Packs are stored before the tree that refers to them, the entry
//! comes last. What could not be read is named and left out; the point says so.

mod again;
mod collect;
mod feed;
mod hooks;
mod image;
mod map;
mod work;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use format::compress::Effort;
use format::cutter::{Cutter, Sizes as CutSizes};
use format::fact::{Point, PointKind, Sizes};
use format::id::PointId;
use format::path::TreePath;
use repo::{Repo, Reuse, Style, Writer};
use source::directory::{Selection, Skipped};
use source::stream::Stream;
use world::Step;

pub use hooks::Hooks;
pub use map::{Map, MapReport};

use crate::basis::{Basis, Places};
use crate::budget::LEFT_OUT_NAMED_MAX;
use crate::error::{Error, Problem};
use image::Mapped;
use map::Ranges;

/// What is said where a map was given and everything was read all the same.
const MAP_UNUSED: &str =
    "the point that the map is relative to cannot be built on any more, so everything was read";

/// What is to be kept.
pub enum What {
    /// Paths of the file system.
    Paths(Box<Selection>),
    /// Standard input, under this name.
    Stdin(TreePath),
    /// What a command prints, under this name; the command and its arguments.
    Command(TreePath, Vec<OsString>),
}

/// A backup to be made.
pub struct Request {
    /// What the point protects.
    pub source: String,
    /// What is to be kept.
    pub what: What,
    /// What it is compared with; `None` is incremental where a point exists, else full.
    pub kind: Option<PointKind>,
    /// What changed since a point, where one image is to be kept and somebody knows.
    pub map: Option<Map>,
    /// Commands to be run before and after.
    pub hooks: Hooks,
    /// Labels.
    pub tags: Vec<(String, String)>,
    /// How hard content is compressed.
    pub effort: Effort,
    /// Program and version, for the record.
    pub program: String,
    /// Threads that work; at least one.
    pub cores: usize,
    /// How many of a hundred files that seem unchanged are read all the same, others in each run.
    pub read_again: f64,
}

impl Request {
    /// All of a folder, under the name of a source, for measurements: nothing that seems unchanged is read again.
    pub fn of(source: &str, folder: &Path, cores: usize) -> Request {
        Request {
            source: source.to_owned(),
            what: What::Paths(Box::new(Selection::of(vec![folder.to_owned()]))),
            kind: None,
            map: None,
            hooks: Hooks::default(),
            tags: Vec::new(),
            effort: Effort::Standard,
            program: format!("seawall {}", env!("CARGO_PKG_VERSION")),
            cores,
            read_again: 0.0,
        }
    }
}

/// What came of a backup.
#[derive(Debug)]
pub struct Report {
    /// The point.
    pub point: PointId,
    /// What it was compared with.
    pub kind: PointKind,
    /// The point it was compared with.
    pub basis: Option<PointId>,
    /// The instant before the first read, in UTC nanoseconds.
    pub as_of: i64,
    /// How much it holds and cost.
    pub sizes: Sizes,
    /// How long it took.
    pub time: Duration,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Files that changed while they were read; they are kept as they were read.
    pub changed: Vec<TreePath>,
    /// Files that hold something else than before although size, times and number are the same; kept as they are now.
    pub betrayed: Vec<TreePath>,
    /// Names left out that nobody asked for, such as sockets.
    pub skipped: Vec<TreePath>,
    /// Names left out as the request asked.
    pub left_out: LeftOut,
    /// Bytes of content that were read.
    pub read_bytes: u64,
    /// What came of the map, if there was one and it was used.
    pub map: Option<MapReport>,
    /// How the command failed that was run after it.
    pub after: Option<source::Error>,
    /// Things that a person should hear.
    pub notices: Vec<String>,
}

/// Names left out as the request asked, each with all below it, which nobody looked at.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// How many.
    pub count: u64,
    /// The first of them, at most 100,000.
    pub named: Vec<Skipped>,
}

impl LeftOut {
    fn add(&mut self, name: Skipped) {
        self.count += 1;
        if self.named.len() < LEFT_OUT_NAMED_MAX {
            self.named.push(name);
        }
    }
}

/// What a dry run found.
#[derive(Debug, Default)]
pub struct Preview {
    /// How much the point would hold; `bytes_new` is the size of the files that would be read.
    pub sizes: Sizes,
    /// What could not be looked at.
    pub problems: Vec<Problem>,
    /// What would be left out as the request asked.
    pub left_out: LeftOut,
}

/// Makes a point, between the commands that were asked for.
pub fn backup(repo: &Repo, mut request: Request) -> Result<Report, Error> {
    let begun = repo.world().monotonic();
    repo.may_add(&request.source)?;
    let basis = choose_basis(repo, &request);
    check_map(repo, &request, basis)?;
    let (hooks, source) = (std::mem::take(&mut request.hooks), request.source.clone());
    hooks.around(repo, &source, |as_of| make(repo, request, basis, (begun, as_of)))
}

fn make(
    repo: &Repo,
    request: Request,
    basis: Option<PointId>,
    (begun, as_of): (Duration, Option<i64>),
) -> Result<Report, Error> {
    let ranges = request.map.as_ref().map(|map| Ranges::read(&map.file)).transpose()?;
    let kind = request.kind.unwrap_or(if basis.is_some() { PointKind::Incremental } else { PointKind::Full });
    let damaged = known_damage(repo, &request.source);
    // What is known to be damaged somewhere is not relied on: all of it is read back, or stored again.
    let kind = if damaged.is_some() { PointKind::Full } else { kind };
    let basis = basis.filter(|_| kind != PointKind::Full);
    let reuse = if kind == PointKind::Full { Reuse::Verified } else { Reuse::Trusted };
    let style = Style { effort: request.effort, reuse };
    let roots: BTreeSet<PointId> = basis.into_iter().filter(|_| repo.can_read()).collect();
    let rooted = !roots.is_empty();
    let writer = Writer::open(repo, roots, style)?;
    let basis = basis.filter(|basis| !rooted || writer.accepted().contains(basis));
    let map_unused = ranges.is_some() && basis.is_none();
    let run = Run { repo, request, writer, kind, basis, rooted, damaged, ranges, map_unused, as_of, begun };
    run.go()
}

/// Says what a backup would do, and writes nothing.
pub fn preview(repo: &Repo, request: &Request) -> Result<Preview, Error> {
    let What::Paths(selection) = &request.what else {
        return Err(Error::Request("a dry run needs paths: a stream can be read only once".into()));
    };
    let places = Places::of(repo.state(), &request.source);
    let basis = choose_basis(repo, request);
    let remembered = basis.and_then(|basis| feed::remembered(&places, request.kind, basis));
    feed::preview(selection, remembered, repo.world())
}

/// What the point says of a map that was wrong.
fn wrong_map(at: u64) -> Problem {
    let what = format!(
        "the map of changed ranges left out a block at {at} that had changed; everything was read, so this point is whole, \
         but points made with such maps before may hold old blocks"
    );
    Problem::new(&TreePath::root(), what)
}

/// A sentence about points that were found damaged since the last full point of this source, if there are some. A full
/// point stores anew what it cannot read back, and says where it is to be read from then on.
fn known_damage(repo: &Repo, source: &str) -> Option<String> {
    let (fold, region) = (repo.fold(), repo.io().region_name().to_owned());
    let full = fold
        .live(Some(source))
        .iter()
        .filter(|p| p.point.kind == PointKind::Full)
        .map(|p| p.point.as_of)
        .max();
    let since = full.unwrap_or(i64::MIN);
    let found = |p: &&&repo::PointRecord| p.standing(&region).damaged.is_some_and(|found| found.time > since);
    let damaged = fold.live(None).iter().filter(found).count();
    (damaged > 0).then(|| {
        let points = if damaged == 1 { "1 point was".to_owned() } else { format!("{damaged} points were") };
        format!(
            "{points} found damaged since the last full one, so this point is full: everything was read, and \
             used again only where it could be read back. `seawall verify --level L1` says what is whole now"
        )
    })
}

/// The point that this one is compared with: for a differential one the newest full point, else the newest. A host that
/// cannot read points knows those that it remembers.
fn choose_basis(repo: &Repo, request: &Request) -> Option<PointId> {
    if !repo.can_read() {
        let places = Places::of(repo.state(), &request.source);
        let place = if request.kind == Some(PointKind::Differential) { places.full } else { places.last };
        return Basis::point_in(&place).filter(|_| request.kind != Some(PointKind::Full));
    }
    if let Some(since) = request.map.as_ref().and_then(|map| map.since) {
        return Some(since);
    }
    let fold = repo.fold();
    let live = fold.live(Some(&request.source));
    let fits = |kind: PointKind| request.kind != Some(PointKind::Differential) || kind == PointKind::Full;
    let newest = match request.kind {
        Some(PointKind::Full) => return None,
        Some(PointKind::Differential) => live.iter().rev().find(|p| fits(p.point.kind)).copied(),
        _ => fold.newest(Some(&request.source), i64::MAX, &BTreeSet::new()),
    };
    newest.map(|p| p.point.id)
}

/// Refuses a map that nothing is known to be relative to.
fn check_map(repo: &Repo, request: &Request, basis: Option<PointId>) -> Result<(), Error> {
    let Some(map) = &request.map else { return Ok(()) };
    repo.must_read()?;
    if !matches!(request.kind, None | Some(PointKind::Incremental)) {
        let why = "a map says what changed since a point, so it goes with an incremental backup only";
        return Err(Error::Request(why.into()));
    }
    let fold = repo.fold();
    let is_there = |id: &PointId| fold.live(Some(&request.source)).iter().any(|p| p.point.id == *id);
    match basis.filter(is_there) {
        Some(_) => Ok(()),
        None => Err(image::no_point(&map.since.map_or_else(|| "yet".to_owned(), |since| since.to_string()))),
    }
}

struct Run<'r> {
    repo: &'r Repo,
    request: Request,
    writer: Writer<'r>,
    kind: PointKind,
    basis: Option<PointId>,
    /// Whether the basis is a root of the session, so that what lies under it may be taken over without a question.
    rooted: bool,
    /// Why this point is a full one though another kind was asked for or usual.
    damaged: Option<String>,
    /// What a map says has changed since the basis.
    ranges: Option<Ranges>,
    /// Whether there was a map, and no basis that could be used with it.
    map_unused: bool,
    /// The moment that the point is of, if that was before this began: a snapshot was made.
    as_of: Option<i64>,
    begun: Duration,
}

impl Run<'_> {
    fn go(mut self) -> Result<Report, Error> {
        let world = self.repo.world().clone();
        let (point, as_of) = (self.repo.fresh_point(), self.as_of.unwrap_or_else(|| world.now_ns()));
        world.report(Step::Phase("reading and storing"));
        let outcome = self.read_and_store(point);
        let collected = match outcome {
            Ok(collected) => collected,
            Err(error) => {
                // What was stored stays for the next run; a failure to say so is less than the one at hand.
                let _ = self.writer.abandon();
                return Err(error);
            }
        };
        world.report(Step::Phase("committing"));
        self.writer.settle()?;
        if world.is_stopped() {
            let _ = self.writer.abandon();
            return Err(Error::Stopped);
        }
        let record = self.record(point, as_of, &collected);
        let (bytes_new, bytes_stored) = self.writer.counted();
        let sizes = Sizes { bytes_new, bytes_stored, ..collected.sizes };
        let lost = |what: &String| format!("chunk index: {what}; what it lists is stored again");
        let lost_index: Vec<String> = self.writer.lost_index().iter().map(lost).collect();
        let unused = (self.map_unused && self.damaged.is_none()).then(|| MAP_UNUSED.to_owned());
        let mut notices: Vec<String> =
            self.damaged.take().into_iter().chain(unused).chain(lost_index).collect();
        self.writer.commit(record)?;
        notices.extend(self.repo.lost_catalog());
        if let Err(repo::Error::OldKeys { .. }) = self.repo.must_have_newest_keys() {
            notices.push(
                "the keys were renewed meanwhile; this point is sealed under those from before".to_owned(),
            );
        }
        let places = Places::of(self.repo.state(), &self.request.source);
        let names = match self.kind {
            PointKind::Full => vec![places.last, places.full],
            _ => vec![places.last],
        };
        if let Some(recorder) = collected.recorder
            && !recorder.finish(&names)
        {
            let folder = self.repo.state().path("");
            notices.push(format!(
                "what was seen could not be remembered in {}, so the next backup may have to read everything again",
                folder.display()
            ));
        }
        Ok(Report {
            point,
            kind: self.kind,
            basis: self.basis,
            as_of,
            sizes,
            time: world.monotonic().saturating_sub(self.begun),
            problems: collected.problems,
            changed: collected.changed,
            betrayed: collected.betrayed,
            skipped: collected.skips.others,
            left_out: collected.skips.asked_for,
            read_bytes: collected.read_bytes,
            map: collected.map,
            after: None,
            notices,
        })
    }

    fn read_and_store(&mut self, point: PointId) -> Result<collect::Collected, Error> {
        let sizes = self.repo.genesis().chunks;
        let sizes = CutSizes::new(sizes.min, sizes.normal, sizes.max)
            .map_err(|error| Error::Request(format!("this repository cannot be written to: {error}")))?;
        let cutter = Cutter::new(self.writer.chunk_key(), sizes);
        let places = Places::of(self.repo.state(), &self.request.source);
        let what = std::mem::replace(&mut self.request.what, What::Stdin(TreePath::root()));
        let source = match what {
            What::Paths(selection) => feed::Source::walk(&selection, self.repo.world())?,
            What::Stdin(path) => feed::Source::Stream(Stream::stdin(path, self.repo.world())),
            What::Command(path, argv) => {
                feed::Source::Stream(Stream::command(path, &argv, self.repo.world())?)
            }
        };
        let remembered = self.basis.and_then(|basis| feed::remembered(&places, Some(self.kind), basis));
        let run = Basis::run_in(&places.last).unwrap_or(0).wrapping_add(1);
        let recorder = source.start().map(|_| crate::basis::Recorder::start(&places.last, point, run));
        let basis = remembered.map(|basis| (basis, self.rooted));
        let map = self.ranges.take().zip(self.basis);
        let map = map.map(|(ranges, since)| Mapped::open(self.repo, ranges, since)).transpose()?;
        let past = work::Past { basis, recorder, map };
        let share = again::Share::of(run, self.request.read_again);
        let reading = work::Reading { cores: self.request.cores.max(1), share };
        work::run(self.repo, &self.writer, &cutter, source, past, reading)
    }

    fn record(&self, id: PointId, as_of: i64, collected: &collect::Collected) -> Point {
        let (bytes_new, bytes_stored) = self.writer.counted();
        // That a map was wrong is noted too: points made with maps before are to be doubted.
        let wrong = collected.map.and_then(|map| map.wrong_at).map(wrong_map);
        let problems: Vec<&Problem> = wrong.iter().chain(&collected.problems).collect();
        let shown = problems.iter().take(Point::PROBLEMS_MAX);
        Point {
            id,
            source: self.request.source.clone(),
            host: self.repo.host().to_owned(),
            kind: self.kind,
            basis: self.basis,
            as_of,
            begun: as_of,
            finished: self.repo.world().now_ns(),
            paths: collected.paths.iter().map(|p| p.as_os_str().as_bytes().to_vec().into()).collect(),
            root: collected.root,
            sizes: Sizes { bytes_new, bytes_stored, ..collected.sizes },
            problems: problems.len() as u64,
            problem_list: shown.map(|p| (p.path.as_bytes().to_vec().into(), p.what.clone())).collect(),
            tags: self.request.tags.clone(),
            cutter: self.repo.genesis().chunks.generation,
            program: self.request.program.clone(),
            amplification: 1000,
        }
    }
}
