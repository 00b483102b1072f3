//! A window of a restore: pieces of content by the frames that hold them.
//!
//! A window is filled by the walk and then run to its end. A frame is fetched once per window however many files need
//! it. What a frame cannot give is asked for once more by reference, which tries every place and the substitute; only
//! then is the file given up. What every later file would meet too, such as a full disk or a region that is away, ends
//! the run; files that were begun are removed then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use format::id::PackId;
use format::meta::Meta;
use format::pack::{Frame, chunk_of};
use format::path::TreePath;
use format::reference::{FrameId, Reference};
use format::tree::{Content, Entry, Extent, content_parts};
use repo::{Held, OpenPack, Reader, Scratch};
use source::directory::{FileSink, Parked, Target};
use world::{Remedied, Remedy, Step};

use super::{Nodes, Report, compare};
use crate::budget::{FETCH_BYTES, GAP_BYTES, PACKS_AT_ONCE, RANGE_BYTES, WINDOW_PIECES};
use crate::error::{Error, Problem};

/// Files that are kept open between two of their pieces; others are put aside.
const OPEN_FILES_MAX: u64 = 256;

/// A file under way.
struct FileState {
    path: TreePath,
    meta: Meta,
    left: AtomicU64,
    slot: Mutex<Slot>,
}

/// Where a file stands. It is written without holding the lock on this: one large file is written by all at once.
enum Slot {
    /// Not begun, or done.
    Absent,
    Open(Arc<FileSink>),
    Parked(Parked),
    Given(Problem),
}

/// A piece of content: where it goes and where it is.
pub(super) struct Piece {
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) reference: Reference,
}

/// Chunks and stretches of zeros.
type Parts = (Vec<Piece>, Vec<(u64, u64)>);

pub(super) struct Window<'a, 'r> {
    reader: &'a Reader<'r>,
    target: &'a Target,
    files: Vec<FileState>,
    pieces: BTreeMap<FrameId, Vec<Piece>>,
    count: usize,
    first_names: HashMap<u64, TreePath>,
    more_names: Vec<(u64, TreePath)>,
    open: AtomicU64,
    stopped: AtomicBool,
    reason: Mutex<Option<Error>>,
    scratches: Mutex<Vec<Scratch>>,
}

impl<'a, 'r> Window<'a, 'r> {
    pub(super) fn new(reader: &'a Reader<'r>, target: &'a Target) -> Window<'a, 'r> {
        Window {
            reader,
            target,
            files: Vec::new(),
            pieces: BTreeMap::new(),
            count: 0,
            first_names: HashMap::new(),
            more_names: Vec::new(),
            open: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            reason: Mutex::default(),
            scratches: Mutex::default(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= WINDOW_PIECES
    }

    /// Plans a file; tiny ones are written at once.
    pub(super) fn file(
        &mut self,
        entry: Entry,
        pool: &rayon::ThreadPool,
        report: &mut Report,
    ) -> Result<(), Error> {
        if self.is_further_name(&entry) {
            return Ok(());
        }
        // Something else may stand where a directory belongs.
        if !self.target.is_vacant()
            && let Some(parent) = entry.path.parent()
        {
            self.target.directory(&parent)?;
        }
        // Of several names, and right as it is: it is neither changed nor made anew.
        if entry.meta.link.is_some()
            && self.target.is_linked_and_dressed(&entry.path, &entry.meta)
            && compare::is_whole(self.target, self.reader, &entry).unwrap_or(false)
        {
            report.files += 1;
            report.bytes = report.bytes.saturating_add(entry.meta.size);
            return Ok(());
        }
        match &entry.content {
            Content::Inline(bytes) => {
                let old = self.target.take_up(&entry.path)?;
                let sink = old.map_or_else(|| self.target.file(&entry.path, 0), Ok)?;
                sink.set_size(entry.meta.size)?;
                report.written_bytes += sink.write_differing(0, bytes)?;
                report.note_file(&entry.path, &entry.meta, sink.finish(&entry.meta));
                Ok(())
            }
            Content::None => Err(Error::Request("a regular file without content".into())),
            Content::Parts { .. } => self.plan(entry, pool, report),
        }
    }

    /// Whether this is a further name of something that has one already; it gets it in the end.
    pub(super) fn is_further_name(&mut self, entry: &Entry) -> bool {
        let Some(link) = entry.meta.link else { return false };
        let further = self.first_names.contains_key(&link);
        if further {
            self.more_names.push((link, entry.path.clone()));
        } else {
            self.first_names.insert(link, entry.path.clone());
        }
        further
    }

    fn plan(&mut self, entry: Entry, pool: &rayon::ThreadPool, report: &mut Report) -> Result<(), Error> {
        let Some((mut pieces, zeros)) = self.parts_of(&entry, report)? else { return Ok(()) };
        let old = self.target.take_up(&entry.path)?;
        if let Some(sink) = &old {
            sink.set_size(entry.meta.size)?;
            if self.target.compares() {
                pieces = compare::missing(pool, sink, pieces, self.reader)?;
            }
            for (offset, length) in zeros {
                report.written_bytes += sink.zero(offset, length)?;
            }
        }
        if pieces.is_empty() {
            let sink = old.map_or_else(|| self.target.file(&entry.path, entry.meta.size), Ok)?;
            report.note_file(&entry.path, &entry.meta, sink.finish(&entry.meta));
            return Ok(());
        }
        let wanted = pieces.iter().map(|piece| u64::from(piece.reference.length)).sum();
        self.count += pieces.len();
        for piece in pieces {
            self.pieces.entry(piece.reference.frame()).or_default().push(piece);
        }
        let slot = Mutex::new(old.map_or(Slot::Absent, |sink| Slot::Parked(sink.park())));
        self.files.push(FileState { path: entry.path, meta: entry.meta, left: AtomicU64::new(wanted), slot });
        Ok(())
    }

    /// The chunks of a file, and where it is zero; `None` if its content nodes are lost, which is named.
    fn parts_of(&self, entry: &Entry, report: &mut Report) -> Result<Option<Parts>, Error> {
        let (mut pieces, mut zeros) = (Vec::new(), Vec::new());
        for extent in content_parts(Nodes(self.reader), entry) {
            match extent {
                Ok(Extent { offset, chunk: Some(reference), .. }) => {
                    pieces.push(Piece { file: self.files.len(), offset, reference });
                }
                Ok(Extent { offset, length, chunk: None }) => zeros.push((offset, length)),
                Err(error) if super::concerns_everything(&error) => return Err(error),
                Err(error) => {
                    let damaged = super::is_damage(&error);
                    let path = entry.path.clone();
                    report.problems.push(Problem { path, what: error.to_string(), damaged });
                    return Ok(None);
                }
            }
        }
        Ok(Some((pieces, zeros)))
    }

    /// Fetches and writes everything that was planned.
    pub(super) fn run(&mut self, pool: &rayon::ThreadPool, report: &mut Report) -> Result<(), Error> {
        let pieces = std::mem::take(&mut self.pieces);
        self.count = 0;
        let (jobs, lost) = self.jobs(pool, pieces);
        let outcome = Mutex::new(std::mem::take(report));
        let this = &*self;
        pool.in_place_scope(|scope| {
            for (piece, error) in lost {
                let outcome = &outcome;
                scope.spawn(move |_| this.retry(&piece, error, outcome));
            }
            let wanted = jobs.into_iter().take_while(|_| !this.stopped.load(Ordering::Relaxed));
            let ranges = wanted.map(|job| {
                let (key, range) = (job.pack.key.clone(), job.range.clone());
                (job, key, range)
            });
            this.reader.repo().io().get_ranges(ranges, FETCH_BYTES, |job, bytes| {
                let mut report = lock(&outcome);
                report.requests += 1;
                report.fetched_bytes += job.range.end - job.range.start;
                drop(report);
                let outcome = &outcome;
                scope.spawn(move |_| this.open_job(job, bytes, outcome));
            });
        });
        *report = outcome.into_inner().expect("no holder of this lock panics");
        self.settle(report);
        lock(&self.reason).take().map_or(Ok(()), Err)
    }

    /// Ranges to fetch, in the order of packs; and pieces whose pack does not even open.
    fn jobs(
        &self,
        pool: &rayon::ThreadPool,
        pieces: BTreeMap<FrameId, Vec<Piece>>,
    ) -> (Vec<Job>, Vec<(Piece, String)>) {
        let frames: Vec<(FrameId, Vec<Piece>)> = pieces.into_iter().collect();
        let opened = self.open_packs(pool, frames.iter().map(|(frame, _)| frame.pack).collect());
        let locate = |id: FrameId| {
            let pack = opened.get(&id.pack);
            let found = pack.and_then(|pack| Some((pack.clone(), pack.directory().find(id)?.clone())));
            found.map_or_else(|| self.reader.locate(id), Ok)
        };
        let (mut jobs, mut lost): (Vec<Job>, Vec<(Piece, String)>) = (Vec::new(), Vec::new());
        for (id, pieces) in frames {
            match locate(id) {
                Ok((pack, frame)) => match jobs.last_mut() {
                    Some(job) if job.takes(&pack, &frame) => job.add(frame, pieces),
                    _ => jobs.push(Job::new(pack, frame, pieces)),
                },
                Err(error) => {
                    let why = error.to_string();
                    lost.extend(pieces.into_iter().map(|piece| (piece, why.clone())));
                    self.stop_for(error.into());
                }
            }
        }
        (jobs, lost)
    }

    /// The packs that open, by their ids. Whoever opens one mostly waits for the region, so many are opened at once; and all
    /// stay open until the window is planned, however many there are.
    fn open_packs(
        &self,
        pool: &rayon::ThreadPool,
        packs: BTreeSet<PackId>,
    ) -> HashMap<PackId, Arc<OpenPack>> {
        use rayon::prelude::*;
        let open =
            || packs.par_iter().filter_map(|pack| Some((*pack, self.reader.pack(*pack).ok()?))).collect();
        let threads = packs.len().min(PACKS_AT_ONCE);
        let many = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        many.as_ref().ok().filter(|_| threads > pool.current_num_threads()).unwrap_or(pool).install(open)
    }

    fn open_job(&self, job: Job, bytes: Result<Held, repo::Error>, outcome: &Mutex<Report>) {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                let why = error.to_string();
                let pieces = job.frames.into_iter().flat_map(|(_, pieces)| pieces);
                return pieces.for_each(|piece| self.retry(&piece, why.clone(), outcome));
            }
        };
        let mut scratch = lock(&self.scratches).pop().unwrap_or_default();
        for (frame, pieces) in job.frames {
            let opened = job.pack.open(&frame, job.range.start, &bytes, &mut scratch);
            let key = self.reader.chunk_key(&job.pack, &frame);
            match opened.and_then(|raw| Ok((raw, key?))) {
                _ if self.reader.repo().world().is_stopped() => {}
                Ok((raw, key)) => self.put_all(&pieces, raw, key, outcome),
                Err(error) => pieces.iter().for_each(|piece| self.retry(piece, error.to_string(), outcome)),
            }
        }
        lock(&self.scratches).push(scratch);
    }

    /// Writes the pieces of a frame, those together that lie together in their file.
    fn put_all(&self, pieces: &[Piece], raw: &[u8], chunk_key: &[u8; 32], outcome: &Mutex<Report>) {
        let mut run: Option<Stretch> = None;
        for piece in pieces {
            if let Err(error) = chunk_of(&piece.reference, raw, chunk_key) {
                self.retry(piece, error.to_string(), outcome);
                continue;
            }
            match &mut run {
                Some(run) if run.takes(piece) => run.length += piece.reference.length as usize,
                run => {
                    if let Some(done) = run.replace(Stretch::of(piece)) {
                        self.write(done.file, done.offset, done.within(raw), outcome);
                    }
                }
            }
        }
        if let Some(last) = run {
            self.write(last.file, last.offset, last.within(raw), outcome);
        }
    }

    /// Asks for the chunk by its reference: every place, then its substitute.
    fn retry(&self, piece: &Piece, why: String, outcome: &Mutex<Report>) {
        if self.stopped.load(Ordering::Relaxed) {
            return;
        }
        match self.reader.chunk(&piece.reference) {
            Ok(chunk) => self.write(piece.file, piece.offset, &chunk, outcome),
            Err(error) => {
                let damaged = error.remedy() == Remedy::Repair;
                let first = if error.to_string() == why { String::new() } else { format!(" (first: {why})") };
                let file = &self.files[piece.file];
                let problem = Problem { path: file.path.clone(), what: format!("{error}{first}"), damaged };
                self.give_up(file, problem);
                self.stop_for(error.into());
            }
        }
    }

    fn write(&self, file: usize, offset: u64, bytes: &[u8], outcome: &Mutex<Report>) {
        let file = &self.files[file];
        let sink = match self.sink_of(file, bytes.len() as u64) {
            Ok(Some(sink)) => sink,
            Ok(None) => return,
            Err(error) => return self.fail(file, error),
        };
        let written = match sink.is_old() && self.target.compares() {
            true => sink.write_differing(offset, bytes),
            false => sink.write_at(offset, bytes).map(|()| bytes.len() as u64),
        };
        match written {
            Ok(written) => lock(outcome).written_bytes += written,
            Err(error) => return self.fail(file, error),
        }
        let length = bytes.len() as u64;
        self.reader.repo().world().report(Step::Done { items: 0, bytes: length });
        // Whoever wrote the last bytes finds that all others have written theirs.
        if file.left.fetch_sub(length, Ordering::AcqRel) == length {
            *lock(&file.slot) = Slot::Absent;
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.reader.repo().world().report(Step::Done { items: 1, bytes: 0 });
            finish_file(&sink, &file.path, &file.meta, outcome);
        } else if self.open.load(Ordering::Relaxed) > OPEN_FILES_MAX {
            self.put_aside(file, sink);
        }
    }

    /// The open file, made if it was not begun; `None` if it was given up. It has its length from the start, unless this
    /// write of so many bytes gives it.
    fn sink_of(&self, file: &FileState, bytes: u64) -> Result<Option<Arc<FileSink>>, source::Error> {
        let mut slot = lock(&file.slot);
        let opened = match &*slot {
            Slot::Open(sink) => return Ok(Some(sink.clone())),
            Slot::Given(_) => return Ok(None),
            Slot::Absent if bytes == file.meta.size => self.target.file(&file.path, 0),
            Slot::Absent => self.target.file(&file.path, file.meta.size),
            Slot::Parked(parked) => self.target.reopen(parked),
        };
        let sink = Arc::new(opened?);
        self.open.fetch_add(1, Ordering::Relaxed);
        *slot = Slot::Open(sink.clone());
        Ok(Some(sink))
    }

    /// Closes a file that nobody else writes at the moment.
    fn put_aside(&self, file: &FileState, sink: Arc<FileSink>) {
        let mut slot = lock(&file.slot);
        if !matches!(&*slot, Slot::Open(_)) {
            return;
        }
        *slot = Slot::Absent;
        match Arc::try_unwrap(sink) {
            Ok(sink) => {
                self.open.fetch_sub(1, Ordering::Relaxed);
                *slot = Slot::Parked(sink.park());
            }
            Err(shared) => *slot = Slot::Open(shared),
        }
    }

    /// Gives the file up because it cannot be written.
    fn fail(&self, file: &FileState, error: source::Error) {
        self.give_up(file, Problem::new(&file.path, &error));
        self.stop_for(error.into());
    }

    /// Ends the run if every later file would meet the same.
    fn stop_for(&self, error: Error) {
        if super::concerns_everything(&error) {
            self.stopped.store(true, Ordering::Relaxed);
            lock(&self.reason).get_or_insert(error);
        }
    }

    fn give_up(&self, file: &FileState, problem: Problem) {
        let mut slot = lock(&file.slot);
        *slot = match std::mem::replace(&mut *slot, Slot::Absent) {
            Slot::Given(first) => Slot::Given(first),
            begun => {
                self.remove(begun);
                Slot::Given(problem)
            }
        };
    }

    /// Removes what was begun. A rest that cannot be removed is still named as a problem.
    fn remove(&self, begun: Slot) {
        let sink = match begun {
            Slot::Open(sink) => Some(sink),
            Slot::Parked(parked) => self.target.reopen(&parked).ok().map(Arc::new),
            Slot::Absent | Slot::Given(_) => None,
        };
        let _ = sink.map(|sink| sink.discard());
    }

    /// Names every file that is not whole, and leaves none of them behind.
    fn settle(&mut self, report: &mut Report) {
        for file in std::mem::take(&mut self.files) {
            let whole = file.left.load(Ordering::Acquire) == 0;
            match file.slot.into_inner().expect("no holder of this lock panics") {
                Slot::Given(problem) => report.problems.push(problem),
                _ if whole => {}
                begun => {
                    self.remove(begun);
                    report.problems.push(Problem::new(&file.path, "not all of it came back"));
                }
            }
        }
        self.open.store(0, Ordering::Relaxed);
    }

    /// Further names of files, once their content is there.
    pub(super) fn link_names(&mut self, report: &mut Report) {
        let lost: HashMap<TreePath, bool> =
            report.problems.iter().map(|problem| (problem.path.clone(), problem.damaged)).collect();
        for (link, path) in std::mem::take(&mut self.more_names) {
            let first = self.first_names.get(&link).expect("a further name comes after the first");
            if let Some(damaged) = lost.get(first).copied() {
                let what = format!("it is another name of {first}, which is not back");
                report.problems.push(Problem { path, what, damaged });
                continue;
            }
            match self.link(first, &path) {
                Ok(()) => report.files += 1,
                Err(error) => report.problems.push(Problem::new(&path, error)),
            }
        }
    }

    fn link(&self, first: &TreePath, path: &TreePath) -> Result<(), source::Error> {
        if let Some(parent) = path.parent() {
            self.target.directory(&parent)?;
        }
        self.target.hard_link(first, path)
    }
}

/// Finishes a file; the lock is held only to note what came of it.
fn finish_file(sink: &FileSink, path: &TreePath, meta: &Meta, outcome: &Mutex<Report>) {
    let finished = sink.finish(meta);
    lock(outcome).note_file(path, meta, finished);
}

/// A stretch of a file that lies in one piece in a frame.
struct Stretch {
    file: usize,
    offset: u64,
    start: usize,
    length: usize,
}

impl Stretch {
    fn of(piece: &Piece) -> Stretch {
        let Reference { offset, length, .. } = piece.reference;
        Stretch { file: piece.file, offset: piece.offset, start: offset as usize, length: length as usize }
    }

    /// Whether `piece` goes on where this ends, in the file and in the frame.
    fn takes(&self, piece: &Piece) -> bool {
        piece.file == self.file
            && piece.offset == self.offset.saturating_add(self.length as u64)
            && piece.reference.offset as usize == self.start.saturating_add(self.length)
    }

    fn within<'r>(&self, raw: &'r [u8]) -> &'r [u8] {
        raw.get(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
    }
}

/// Frames of one pack that are fetched by one request.
struct Job {
    pack: Arc<OpenPack>,
    range: std::ops::Range<u64>,
    frames: Vec<(Frame, Vec<Piece>)>,
}

impl Job {
    fn new(pack: Arc<OpenPack>, frame: Frame, pieces: Vec<Piece>) -> Job {
        Job { range: pack.range(&frame), pack, frames: vec![(frame, pieces)] }
    }

    fn takes(&self, pack: &Arc<OpenPack>, frame: &Frame) -> bool {
        let range = pack.range(frame);
        self.pack.key == pack.key
            && range.start >= self.range.start
            && range.start <= self.range.end.saturating_add(GAP_BYTES)
            && range.end.saturating_sub(self.range.start) <= RANGE_BYTES
    }

    fn add(&mut self, frame: Frame, pieces: Vec<Piece>) {
        self.range.end = self.range.end.max(self.pack.range(&frame).end);
        self.frames.push((frame, pieces));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
