//! The workers: each takes a unit and brings it to its end on one thread.
//!
//! A large file is read and cut in segments by all workers at once, each as if a cut lay at its start; whoever completes
//! the row stitches the cuts in order and hands the chunks of a segment, with the bytes that the one before left over, to
//! a second piece of work that names and stores them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};

use format::cutter::{Cutter, Segment, Stream as More};
use format::meta::{FileTime, Meta};
use format::pack::ContentKind;
use format::path::TreePath;
use format::reference::{FrameSet, Reference};
use format::tree::{Content, Entry, INLINE_BYTES_MAX, Part};
use rayon::Scope;
use repo::{Found as Known, Repo, Reuse, Worker, Writer};
use source::directory::{Found, Reader};
use world::{Remedied, Remedy, World};

use super::again::{Expected, Share, Trouble};
use super::collect::{self, Collected, Done, FileEnd, Unit};
use super::feed::{Feed, Source};
use super::image::Mapped;
use super::map::MapReport;
use crate::basis::{Basis, Recorder, Seen};
use crate::budget::{Budget, SEGMENT_BYTES, ZEROS_BYTES_MIN, work_bytes};
use crate::error::{Error, Problem};

/// How it is read.
pub(super) struct Reading {
    /// Threads that work; at least one.
    pub(super) cores: usize,
    /// Files that are read although they seem unchanged.
    pub(super) share: Share,
}

/// What is known of earlier points.
pub(super) struct Past<'r> {
    /// What is remembered of the basis, and whether it is a root of the session.
    pub(super) basis: Option<(Basis, bool)>,
    /// What is to be remembered of this point.
    pub(super) recorder: Option<Recorder>,
    /// What changed in an image since then.
    pub(super) map: Option<Mapped<'r>>,
}

/// Runs the whole pipeline: this thread walks, a pool of `cores` works, one thread collects.
pub(super) fn run<'r>(
    repo: &'r Repo,
    writer: &Writer<'r>,
    cutter: &Cutter,
    source: Source,
    past: Past<'r>,
    reading: Reading,
) -> Result<Collected, Error> {
    let (Past { basis, recorder, map }, Reading { cores, share }) = (past, reading);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(cores)
        .thread_name(|n| format!("seawall-work-{n}"))
        .build()
        .map_err(|error| Error::Request(format!("cannot start {cores} threads: {error}")))?;
    let (results, units) = std::sync::mpsc::channel();
    let known = match writer.style().reuse {
        Reuse::Trusted => Belief::Trusted,
        Reuse::Verified if repo.can_read() => Belief::Verified(Box::new(repo::Reader::new(repo)?)),
        Reuse::Verified => Belief::None,
    };
    let shop = Workshop {
        writer,
        cutter,
        budget: Budget::new(work_bytes(cores)),
        workers: (0..cores).map(|_| Mutex::new(writer.worker(ContentKind::Data))).collect(),
        image_workers: (0..cores).map(|_| Mutex::new(writer.image_worker())).collect(),
        map,
        told: Mutex::default(),
        read_bytes: AtomicU64::new(0),
        buffers: Mutex::default(),
        known,
        failure: Mutex::default(),
        failed: AtomicBool::new(false),
        world: repo.world(),
        start: source.start(),
        expected: Expected::default(),
    };
    let (paths, skips) = (source.paths(), Mutex::default());
    let collected = std::thread::scope(|threads| {
        let collector = threads.spawn(|| collect::collect(&shop, repo, units, recorder));
        let fed =
            pool.in_place_scope(|scope| Feed::new(&shop, scope, results, basis, &skips, share).feed(source));
        let collected = collector.join().expect("the collector does not panic");
        fed.and(collected)
    });
    if let Some(error) = lock(&shop.failure).take() {
        return Err(error);
    }
    if repo.world().is_stopped() {
        return Err(Error::Stopped);
    }
    let mut collected = collected?;
    shop.finish_data()?;
    collected.read_bytes = shop.read_bytes.load(Ordering::Relaxed);
    collected.map = *lock(&shop.told);
    collected.paths = paths;
    collected.skips = skips.into_inner().expect("no holder of this lock panics");
    Ok(collected)
}

/// One entry of a batch.
pub(super) enum Pending {
    /// Nothing is to be read.
    Done(Done),
    /// A small file to be read.
    Read(Box<Found>),
}

/// What all workers share.
pub(super) struct Workshop<'w, 'r> {
    pub(super) writer: &'w Writer<'r>,
    pub(super) cutter: &'w Cutter,
    pub(super) budget: Budget,
    workers: Vec<Mutex<Worker<'w, 'r>>>,
    image_workers: Vec<Mutex<Worker<'w, 'r>>>,
    /// What changed in an image, as somebody else knows.
    pub(super) map: Option<Mapped<'r>>,
    /// What came of the map.
    pub(super) told: Mutex<Option<MapReport>>,
    read_bytes: AtomicU64,
    buffers: Mutex<Vec<Vec<u8>>>,
    known: Belief<'r>,
    failure: Mutex<Option<Error>>,
    failed: AtomicBool,
    world: &'w World,
    start: Option<FileTime>,
    /// What files held that are read although they seem unchanged.
    pub(super) expected: Expected,
}

/// What is done with chunks that were stored before this session.
enum Belief<'r> {
    /// They are used.
    Trusted,
    /// They are used after they were read back.
    Verified(Box<repo::Reader<'r>>),
    /// They are stored again, as this host cannot read.
    None,
}

/// How a unit reaches the collector.
#[derive(Clone)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) bytes: usize,
    pub(super) results: Sender<(u64, usize, Unit)>,
}

impl Ticket {
    /// Hands the unit on; whoever collects may have stopped because of a failure that is told elsewhere.
    pub(super) fn send(self, unit: Unit) {
        let _ = self.results.send((self.number, self.bytes, unit));
    }
}

impl<'w, 'r> Workshop<'w, 'r> {
    /// Whether the run will not succeed any more.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.world.is_stopped()
    }

    /// Keeps the first failure; the run ends as soon as everybody notices.
    pub(super) fn fail(&self, error: Error) {
        self.failed.store(true, Ordering::Relaxed);
        lock(&self.failure).get_or_insert(error);
    }

    /// Reads, cuts and stores small files among entries that are done.
    pub(super) fn batch(&self, batch: Vec<Pending>, ticket: Ticket) {
        let mut done = Vec::with_capacity(batch.len());
        let mut buffer = self.buffer();
        for pending in batch {
            let one = match pending {
                Pending::Done(one) => Ok(one),
                Pending::Read(found) => self.small_file(*found, &mut buffer),
            };
            match one {
                Ok(one) => done.push(one),
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
        }
        self.give_back(buffer);
        ticket.send(Unit::Entries(done));
    }

    fn small_file(&self, found: Found, buffer: &mut Vec<u8>) -> Result<Done, Error> {
        let mut meta = found.meta.clone();
        let read = match self.read_small(&found, &mut meta, buffer) {
            Ok(read) => read,
            Err(Trouble::File(error)) => return Ok(Done::Problem(Problem::new(&found.path, error))),
            Err(Trouble::Run(error)) => return Err(error),
        };
        let lacks = read.lacks.map(|error| Problem::new(&found.path, error));
        let identity = self.seen(&found).filter(|_| read.at_once && lacks.is_none());
        Ok(Done::Entry {
            entry: Box::new(Entry { path: found.path, meta, content: read.content }),
            identity,
            changed: read.changed,
            lacks,
        })
    }

    /// Reads a file, a second time if it changed meanwhile.
    fn read_small(&self, found: &Found, meta: &mut Meta, buffer: &mut Vec<u8>) -> Result<Read, Trouble> {
        let mut reader = found.open()?;
        let mut at_once = true;
        loop {
            buffer.clear();
            // Files that the system makes up are longer than it says; others have grown meanwhile.
            let content = if reader.read_all_small(SEGMENT_BYTES, buffer)? {
                self.count_read(buffer.len());
                None
            } else {
                reader = reader.again(meta)?;
                Some(self.read_through(&reader)?)
            };
            let changed = reader.changed()?;
            if changed && at_once {
                at_once = false;
                reader = reader.again(meta)?;
                continue;
            }
            let lacks = reader.add_attributes(meta);
            meta.size =
                content.as_ref().map_or(buffer.len() as u64, |parts| parts.iter().map(Part::covers).sum());
            let content = match content {
                Some(parts) => Content::Parts { depth: 0, parts },
                None => self.content(buffer)?,
            };
            return Ok(Read { content, at_once, changed, lacks });
        }
    }

    /// By which the file is known again; streams are not.
    pub(super) fn seen(&self, found: &Found) -> Option<Seen> {
        self.start.map(|start| Seen::of(found, start))
    }

    /// The content of a file that is all in memory.
    fn content(&self, bytes: &[u8]) -> Result<Content, Error> {
        if bytes.len() <= INLINE_BYTES_MAX {
            return Ok(Content::Inline(bytes.into()));
        }
        let mut parts = Vec::new();
        let mut rest = bytes;
        let mut worker = self.worker();
        while let Some(length) = self.cutter.next_cut(rest, More::EndsHere) {
            let (chunk, after) = rest.split_at(length);
            push(&mut parts, self.part(&mut worker, chunk)?);
            rest = after;
        }
        Ok(Content::Parts { depth: 0, parts })
    }

    /// Stores a chunk; zeros are stored nowhere.
    pub(super) fn part(&self, worker: &mut Worker<'_, '_>, plain: &[u8]) -> Result<Part, Error> {
        if plain.len() >= ZEROS_BYTES_MIN && plain.iter().all(|byte| *byte == 0) {
            return Ok(Part::Zeros(plain.len() as u64));
        }
        self.save(worker, plain, &FrameSet::default()).map(Part::Chunk)
    }

    /// Stores a chunk, or finds it; what a full backup finds was read back first.
    pub(super) fn save(
        &self,
        worker: &mut Worker<'_, '_>,
        plain: &[u8],
        refs: &FrameSet,
    ) -> Result<Reference, Error> {
        let reader = match &self.known {
            Belief::Trusted => return Ok(worker.save(plain, refs)?),
            Belief::Verified(reader) => Some(reader),
            Belief::None => None,
        };
        let chunk = self.writer.chunk_id(plain);
        let lost = match (self.writer.find(&chunk)?, reader) {
            (Some(Known::Own(reference)), _) => return Ok(reference),
            (Some(Known::Known(reference)), Some(reader)) => match reader.chunk_itself(&reference) {
                Ok(_) => return Ok(reference),
                // A region that is away has lost nothing.
                Err(error) if error.remedy() != Remedy::Repair => return Err(error.into()),
                Err(_) => Some(reference),
            },
            (Some(Known::Lost(lost)), _) => Some(lost),
            (Some(Known::Known(_)) | None, _) => None,
        };
        let instead = worker.store(chunk, plain, refs)?;
        if let Some(lost) = lost {
            self.writer.substitute(lost, instead);
        }
        Ok(instead)
    }

    pub(super) fn worker(&self) -> MutexGuard<'_, Worker<'w, 'r>> {
        own(&self.workers)
    }

    /// The worker of this thread for blocks of images.
    pub(super) fn image_worker(&self) -> MutexGuard<'_, Worker<'w, 'r>> {
        own(&self.image_workers)
    }

    /// Notes that content was read.
    pub(super) fn count_read(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Finishes all packs of data.
    pub(super) fn finish_data(&self) -> Result<(), Error> {
        for worker in self.workers.iter().chain(&self.image_workers) {
            lock(worker).finish()?;
        }
        Ok(())
    }

    pub(super) fn buffer(&self) -> Vec<u8> {
        lock(&self.buffers).pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        lock(&self.buffers).push(buffer);
    }

    /// Cuts a segment whose bytes lie in `buffer` behind the headroom, then stitches what is in a row.
    pub(super) fn segment<'s>(
        &'s self,
        row: Arc<Row>,
        index: u64,
        filled: Result<Vec<u8>, Problem>,
        (ends, ticket): (Ends, Ticket),
        scope: &Scope<'s>,
    ) where
        'w: 's,
        'r: 's,
    {
        let piece = match filled {
            Ok(buffer) => {
                let more = if matches!(ends, Ends::Row(_)) { More::EndsHere } else { More::GoesOn };
                let start = index.saturating_mul(SEGMENT_BYTES as u64);
                let data = buffer.get(self.headroom()..).unwrap_or_default();
                let segment = self.cutter.cut_segment(start, data, more);
                Ok((buffer, segment))
            }
            Err(problem) => Err(problem),
        };
        let mut stitch = lock(&row.stitch);
        let end = if let Ends::Row(end) = ends { end } else { None };
        stitch.waiting.insert(index, Piece { piece, end, ticket });
        while let Some(piece) = stitch.take_next() {
            self.stitch(&mut stitch, piece, scope);
        }
    }

    /// Room in front of a segment for what the one before leaves over.
    pub(super) fn headroom(&self) -> usize {
        self.cutter.sizes().max()
    }

    fn stitch<'s>(&'s self, stitch: &mut Stitch, piece: Piece, scope: &Scope<'s>)
    where
        'w: 's,
        'r: 's,
    {
        let Piece { piece, end, ticket } = piece;
        let (mut buffer, segment) = match piece {
            Ok(good) => good,
            Err(problem) => return ticket.send(Unit::Broken(problem, end.is_some())),
        };
        let start = self.headroom().saturating_sub(stitch.carry.len());
        if let Some(room) = buffer.get_mut(start..self.headroom()) {
            room.copy_from_slice(&stitch.carry);
        }
        let data = buffer.get(start..).unwrap_or_default();
        let first = segment.end().saturating_sub(data.len() as u64);
        let cuts: Vec<usize> = self
            .cutter
            .stitch(data, &segment)
            .cuts
            .iter()
            .map(|cut| usize::try_from(cut.saturating_sub(first)).unwrap_or(data.len()))
            .collect();
        let last = cuts.last().copied().unwrap_or(0);
        stitch.carry.clear();
        stitch.carry.extend_from_slice(data.get(last..).unwrap_or_default());
        scope.spawn(move |_| self.store_segment(buffer, start, &cuts, end, ticket));
    }

    fn store_segment(
        &self,
        buffer: Vec<u8>,
        start: usize,
        cuts: &[usize],
        end: Option<Box<FileEnd>>,
        ticket: Ticket,
    ) {
        let mut parts = Vec::with_capacity(cuts.len());
        let mut from = start;
        for cut in cuts {
            let to = start.saturating_add(*cut);
            let chunk = buffer.get(from..to).unwrap_or_default();
            if self.has_failed() {
                break;
            }
            let saved = self.part(&mut self.worker(), chunk);
            match saved {
                Ok(part) => parts.push(part),
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
            from = to;
        }
        self.give_back(buffer);
        ticket.send(Unit::Segment(parts, end));
    }
}

/// What was read of a small file.
struct Read {
    content: Content,
    /// Whether it did not change while it was read for the first time.
    at_once: bool,
    /// Whether it changed while it was read for the last time.
    changed: bool,
    lacks: Option<source::Error>,
}

/// Adds a part; zeros that touch are one.
pub(super) fn push(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (Some(Part::Zeros(length)), Part::Zeros(more)) => *length = length.saturating_add(more),
        _ => parts.push(part),
    }
}

/// Whether a segment is the last of its row, and what ends with it.
pub(super) enum Ends {
    /// More segments follow.
    Not,
    /// The row ends, and with it the file whose end this is.
    Row(Option<Box<FileEnd>>),
}

/// Where a segment lies in its file; an exact one is as long as it was seen to be, with zeros for what is gone by now, as
/// others have their places behind it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) exact: bool,
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// The segments of one row, a stretch of a large file that is cut as one, as they come.
#[derive(Default)]
pub(super) struct Row {
    stitch: Mutex<Stitch>,
}

#[derive(Default)]
struct Stitch {
    next: u64,
    waiting: BTreeMap<u64, Piece>,
    carry: Vec<u8>,
}

impl Stitch {
    fn take_next(&mut self) -> Option<Piece> {
        let piece = self.waiting.remove(&self.next)?;
        self.next = self.next.saturating_add(1);
        Some(piece)
    }
}

struct Piece {
    piece: Result<(Vec<u8>, Segment), Problem>,
    end: Option<Box<FileEnd>>,
    ticket: Ticket,
}

impl Workshop<'_, '_> {
    /// Reads one segment of a file into a buffer behind the headroom.
    pub(super) fn read_segment(
        &self,
        reader: &Reader,
        path: &TreePath,
        place: Place,
    ) -> Result<Vec<u8>, Problem> {
        let (headroom, mut buffer) = (self.headroom(), self.buffer());
        buffer.resize(headroom.saturating_add(place.length), 0);
        let room = buffer.get_mut(headroom..).unwrap_or_default();
        let read = reader.read_at(place.offset, room).map_err(|error| Problem::new(path, error))?;
        self.count_read(read);
        match place.exact {
            true => room.get_mut(read..).unwrap_or_default().fill(0),
            false => buffer.truncate(headroom.saturating_add(read)),
        }
        Ok(buffer)
    }
}

/// What belongs to this thread of the pool.
fn own<T>(each: &[Mutex<T>]) -> MutexGuard<'_, T> {
    let index = rayon::current_thread_index().unwrap_or(0);
    lock(each.get(index).or(each.first()).expect("there is at least one worker"))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
