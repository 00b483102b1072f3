//! Files under way: made with their first piece, finished with their last, removed if they cannot be had whole.
//!
//! Whoever writes the last bytes of a file finishes it, whichever thread and whichever window that is: a file may be
//! planned in many windows, and counts its own plan as one more thing to come until the last of them. What every later
//! file would meet too, such as a full disk or a region that is away, ends the run; what was begun is removed then, but for
//! parts of long files, which stand beside their place for the run that goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use format::meta::Meta;
use format::path::TreePath;
use repo::Reader;
use source::directory::{FileSink, Parked, Target};
use world::Step;

use super::Report;
use crate::error::{Error, Problem};

/// Files that are kept open between two of their pieces; others are put aside.
const OPEN_FILES_MAX: u64 = 256;

/// What the plan of a file counts as among the bytes that it still waits for.
const PLAN: u64 = 1;

/// A file under way.
pub(super) struct FileState {
    /// Files have numbers in the order in which they were begun.
    pub(super) number: u64,
    path: TreePath,
    meta: Meta,
    /// Bytes that were planned and not yet written, and [`PLAN`] while more may be planned.
    left: AtomicU64,
    slot: Mutex<Slot>,
}

/// Where a file stands. It is written without holding the lock on this: one large file is written by all at once.
enum Slot {
    /// Not begun, or done.
    Absent,
    Open(Arc<FileSink>),
    Parked(Parked),
    /// Given up, and named.
    Given,
}

/// All files under way, and what came of all others.
pub(super) struct Files<'a, 'r> {
    pub(super) reader: &'a Reader<'r>,
    pub(super) target: &'a Target,
    report: Mutex<Report>,
    begun: Mutex<Begun>,
    idle: Condvar,
    open: AtomicU64,
    stopped: AtomicBool,
    reason: Mutex<Option<Error>>,
}

/// Files that are neither finished nor given up.
#[derive(Default)]
struct Begun {
    files: BTreeMap<u64, Arc<FileState>>,
    count: u64,
    /// Nobody will write to them any more.
    ended: bool,
}

impl<'a, 'r> Files<'a, 'r> {
    pub(super) fn new(reader: &'a Reader<'r>, target: &'a Target) -> Files<'a, 'r> {
        Files {
            reader,
            target,
            report: Mutex::default(),
            begun: Mutex::default(),
            idle: Condvar::new(),
            open: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            reason: Mutex::default(),
        }
    }

    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        lock(&self.report)
    }

    pub(super) fn into_report(self) -> Report {
        self.report.into_inner().expect("no holder of this lock panics")
    }

    /// Notes a file that waits for its pieces; `old` is what stands there and is changed in place.
    pub(super) fn begin(&self, path: TreePath, meta: Meta, old: Option<Arc<FileSink>>) -> Arc<FileState> {
        self.open.fetch_add(u64::from(old.is_some()), Ordering::Relaxed);
        let slot = Mutex::new(old.map_or(Slot::Absent, Slot::Open));
        let mut begun = lock(&self.begun);
        let number = begun.count;
        begun.count += 1;
        let file = Arc::new(FileState { number, path, meta, left: AtomicU64::new(PLAN), slot });
        begun.files.insert(number, file.clone());
        file
    }

    /// Notes that so many bytes of a file will be written; said before the first of them can be.
    pub(super) fn expect(&self, file: &FileState, bytes: u64) {
        file.left.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Notes that all bytes of a file are planned.
    pub(super) fn planned(&self, file: &FileState) {
        if file.left.fetch_sub(PLAN, Ordering::AcqRel) == PLAN {
            match self.sink_of(file, 0) {
                Ok(Some(sink)) => self.finish(file, &sink),
                Ok(None) => {}
                Err(error) => self.fail(file, error),
            }
        } else {
            self.put_aside(file);
        }
    }

    /// Whether the file was given up, so that no more of it is wanted.
    pub(super) fn is_given_up(&self, file: &FileState) -> bool {
        matches!(*lock(&file.slot), Slot::Given)
    }

    /// Writes a piece of a file.
    pub(super) fn write(&self, file: &FileState, offset: u64, bytes: &[u8]) {
        let length = bytes.len() as u64;
        let sink = match self.sink_of(file, length) {
            Ok(Some(sink)) => sink,
            Ok(None) => return,
            Err(error) => return self.fail(file, error),
        };
        let written = match sink.is_old() && self.target.compares() {
            true => sink.write_differing(offset, bytes),
            false => sink.write_at(offset, bytes).map(|()| length),
        };
        match written {
            Ok(written) => self.report().written_bytes += written,
            Err(error) => return self.fail(file, error),
        }
        self.reader.repo().world().report(Step::Done { items: 0, bytes: length });
        // Whoever wrote the last bytes finds that all others have written theirs.
        if file.left.fetch_sub(length, Ordering::AcqRel) == length {
            self.finish(file, &sink);
        } else if self.open.load(Ordering::Relaxed) > OPEN_FILES_MAX {
            drop(sink);
            self.put_aside(file);
        }
    }

    /// The open file, made if it was not begun; `None` if it was given up. It has its length from the start, unless this
    /// write of so many bytes gives it.
    fn sink_of(&self, file: &FileState, bytes: u64) -> Result<Option<Arc<FileSink>>, source::Error> {
        let mut slot = lock(&file.slot);
        let opened = match &*slot {
            Slot::Open(sink) => return Ok(Some(sink.clone())),
            Slot::Given => return Ok(None),
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
    fn put_aside(&self, file: &FileState) {
        let mut slot = lock(&file.slot);
        *slot = match std::mem::replace(&mut *slot, Slot::Absent) {
            Slot::Open(sink) => match Arc::try_unwrap(sink) {
                Ok(sink) => {
                    self.open.fetch_sub(1, Ordering::Relaxed);
                    Slot::Parked(sink.park())
                }
                Err(shared) => Slot::Open(shared),
            },
            other => other,
        };
    }

    fn finish(&self, file: &FileState, sink: &FileSink) {
        *lock(&file.slot) = Slot::Absent;
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.reader.repo().world().report(Step::Done { items: 1, bytes: 0 });
        let finished = sink.finish(&file.meta);
        self.report().note_file(&file.path, &file.meta, finished);
        self.leave(file);
    }

    /// The file is no longer under way.
    fn leave(&self, file: &FileState) {
        let mut begun = lock(&self.begun);
        begun.files.remove(&file.number);
        if begun.files.is_empty() {
            self.idle.notify_all();
        }
    }

    /// Gives the file up because it cannot be written.
    pub(super) fn fail(&self, file: &FileState, error: source::Error) {
        let problem = Problem::new(&file.path, &error);
        let error = error.into();
        self.give_up(file, problem, super::concerns_everything(&error));
        self.stop_for(error);
    }

    /// Gives the file up because a part of it cannot be read; `first` is what else was tried.
    pub(super) fn lose(&self, file: &FileState, error: Error, first: &str) {
        let what = format!("{error}{first}");
        let problem = Problem { path: file.path.clone(), what, damaged: super::is_damage(&error) };
        self.give_up(file, problem, super::concerns_everything(&error));
        self.stop_for(error);
    }

    /// Ends the run if every later file would meet the same.
    pub(super) fn stop_for(&self, error: Error) {
        if super::concerns_everything(&error) {
            lock(&self.reason).get_or_insert(error);
            self.stopped.store(true, Ordering::Relaxed);
            self.end();
        }
    }

    /// Whether the run comes to an end before everything was done.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.reader.repo().world().is_stopped()
    }

    /// Names a file as not back. What is there of it goes, unless it is a long one and may be gone on with.
    fn give_up(&self, file: &FileState, problem: Problem, may_go_on: bool) {
        let begun = std::mem::replace(&mut *lock(&file.slot), Slot::Given);
        if !matches!(begun, Slot::Given) {
            let kept = self.remove(begun, may_go_on);
            let kept = kept
                .map(|part| format!("; what there is of it is in {part}, and --resume goes on with that"));
            let what = problem.what + &kept.unwrap_or_default();
            self.report().problems.push(Problem { what, ..problem });
            self.leave(file);
        }
    }

    /// Removes what was begun, or answers where it is. A rest that cannot be removed is still named as a problem.
    fn remove(&self, begun: Slot, may_go_on: bool) -> Option<TreePath> {
        if let Slot::Parked(parked) = &begun
            && may_go_on
            && let Some(part) = parked.part()
        {
            return Some(part.clone());
        }
        let sink = match begun {
            Slot::Open(sink) => {
                self.open.fetch_sub(1, Ordering::Relaxed);
                Some(sink)
            }
            Slot::Parked(parked) => self.target.reopen(&parked).ok().map(Arc::new),
            Slot::Absent | Slot::Given => None,
        };
        let sink = sink?;
        let part = sink.part().filter(|_| may_go_on || sink.is_old()).cloned();
        if part.is_none() {
            let _ = sink.discard();
        }
        part
    }

    /// Waits until every file is finished or given up, or nobody goes on with them.
    pub(super) fn wait_until_idle(&self) {
        let busy = |begun: &mut Begun| !begun.files.is_empty() && !begun.ended;
        let waited = self.idle.wait_while(lock(&self.begun), busy);
        drop(waited.expect("no holder of this lock panics"));
    }

    /// Notes that nothing will be fetched any more.
    pub(super) fn end(&self) {
        lock(&self.begun).ended = true;
        self.idle.notify_all();
    }

    /// Names every file that is not whole, and leaves none of them behind; answers what ended the run early. Called when
    /// nobody writes any more.
    pub(super) fn settle(&self) -> Result<(), Error> {
        let begun = std::mem::take(&mut lock(&self.begun).files);
        for file in begun.into_values() {
            self.give_up(&file, Problem::new(&file.path, "not all of it came back"), true);
        }
        self.report().problems.sort_by(|one, other| one.path.cmp(&other.path));
        lock(&self.reason).take().map_or(Ok(()), Err)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
