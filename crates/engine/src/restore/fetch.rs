//! From pieces to written files: a pipe that does not run dry between windows.
//!
//! Three threads work ahead of the cores. The walk gathers windows; the second thread opens the packs of a window, a
//! bounded number at a time, and turns neighbouring frames into requests; the third keeps requests in flight within a
//! budget of bytes. What arrived is opened by whichever core is free, which writes all pieces in it to where they
//! belong. What a frame cannot give is asked for once more by reference, which tries every place and the substitute;
//! only then is the file given up.

use std::collections::{BTreeSet, HashMap};
use std::iter::Peekable;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use format::id::PackId;
use format::pack::{Frame, chunk_of};
use format::reference::{FrameId, FrameSet, Reference};
use repo::{Feed, Held, OpenPack, PackOpener, Scratch};

use super::files::{FileState, Files, lock};
use super::window::{Gathered, Piece};
use crate::budget::{
    Budget, FETCH_BYTES, GAP_BYTES, JOBS_AHEAD, PACKS_AT_ONCE, PACKS_BYTES, PLANNED_BYTES, RANGE_BYTES, Share,
};
use crate::error::Error;

/// Runs `walk`, which hands over windows, and fetches and writes them behind it. All is done or given up when this returns.
pub(super) fn behind<'f, 'r>(
    files: &Files<'f, 'r>,
    pool: &rayon::ThreadPool,
    walk: impl FnOnce(SyncSender<Gathered>) -> Result<(), Error>,
) -> Result<(), Error> {
    let scratches = Mutex::default();
    let (hand_over, windows) = sync_channel(0);
    let (feed, ranges) = repo::ranges(JOBS_AHEAD);
    let (scratches, repo) = (&scratches, files.reader.repo());
    let walked = pool.in_place_scope(|work| {
        std::thread::scope(|threads| {
            threads.spawn(move || Planner { files, work, feed, many: None, per_pack: 0 }.run(windows));
            threads.spawn(move || {
                repo.io().get_fed(ranges, FETCH_BYTES, repo.world(), |job: Job, bytes| {
                    let mut report = files.report();
                    report.requests += 1;
                    report.fetched_bytes += job.range.end - job.range.start;
                    drop(report);
                    work.spawn(move |_| open(files, scratches, job, bytes));
                    !files.is_stopped()
                });
                files.end();
            });
            walk(hand_over)
        })
    });
    let settled = files.settle();
    walked.and(settled)
}

type Scratches = Mutex<Vec<Scratch>>;

/// Frames with the pieces that they hold.
type Wanted<T> = Vec<(T, Vec<Piece>)>;

/// Turns windows into requests.
struct Planner<'a, 's, 'f, 'r> {
    files: &'s Files<'f, 'r>,
    work: &'a rayon::Scope<'s>,
    feed: Feed<Job>,
    /// Threads that wait for directories of packs, once there are several to wait for.
    many: Option<rayon::ThreadPool>,
    /// What the directory of a pack took in memory, in the mean of the last ones.
    per_pack: usize,
}

impl<'s> Planner<'_, 's, '_, '_> {
    fn run(mut self, windows: Receiver<Gathered>) {
        let budget = Arc::new(Budget::new(PLANNED_BYTES));
        for Gathered { pieces: mut window, bytes } in windows {
            let share = Arc::new(Share::of(&budget, bytes));
            window.sort_unstable_by_key(|piece| (piece.reference.frame(), piece.file.number, piece.offset));
            let mut pieces = window.into_iter().peekable();
            while pieces.peek().is_some() && !self.files.is_stopped() {
                let most = (PACKS_BYTES / self.per_pack.max(1)).clamp(1, PACKS_AT_ONCE);
                let frames = next_frames(&mut pieces, most);
                let opened = self.open_packs(&frames);
                for job in self.jobs(frames, &opened, &share) {
                    let (key, range) = (job.pack.key.clone(), job.range.clone());
                    if self.files.is_stopped() || !self.feed.send(job, key, range) {
                        break;
                    }
                }
            }
        }
    }

    /// The packs that open, by their ids; others are asked for again by whoever needs them. Whoever opens one mostly waits
    /// for the region, so many are opened at once.
    fn open_packs(&mut self, frames: &Wanted<FrameId>) -> HashMap<PackId, Arc<OpenPack>> {
        use rayon::prelude::*;
        let reader = self.files.reader;
        let packs: BTreeSet<PackId> = frames.iter().flat_map(|(frame, _)| reader.places(*frame)).collect();
        let open = |pack: &PackId| Some((*pack, reader.pack(*pack).ok()?));
        if packs.len() > 1 && self.many.is_none() {
            self.many = rayon::ThreadPoolBuilder::new().num_threads(PACKS_AT_ONCE).build().ok();
        }
        let opened: HashMap<_, _> = match &self.many {
            Some(many) => many.install(|| packs.par_iter().filter_map(open).collect()),
            None => packs.iter().filter_map(open).collect(),
        };
        let bytes: usize = opened.values().map(|pack| pack.bytes()).sum();
        self.per_pack = bytes / opened.len().max(1);
        opened
    }

    /// Ranges to fetch, in the order in which they lie in packs. Pieces whose frame is nowhere to be found are asked for
    /// by reference, as they may have a substitute.
    fn jobs(
        &self,
        frames: Wanted<FrameId>,
        opened: &HashMap<PackId, Arc<OpenPack>>,
        share: &Arc<Share>,
    ) -> Vec<Job> {
        let mut found = Vec::with_capacity(frames.len());
        for (id, pieces) in frames {
            let pack = opened.get(&id.pack);
            let at_hand = pack.and_then(|pack| Some((pack.opener(), slim(pack.find(id)?))));
            let located = || self.files.reader.locate(id).map(|(pack, frame)| (pack.opener(), slim(&frame)));
            match at_hand.map_or_else(located, Ok) {
                Ok((pack, frame)) => found.push((pack, frame, pieces)),
                Err(error) => {
                    let (files, why) = (self.files, error.to_string());
                    files.stop_for(error.into());
                    self.work.spawn(move |_| pieces.iter().for_each(|piece| retry(files, piece, &why)));
                }
            }
        }
        // Frames that were moved lie elsewhere than their neighbours by name.
        found.sort_by(|(pack, frame, _), (other, behind, _)| {
            (&pack.key, frame.place).cmp(&(&other.key, behind.place))
        });
        let mut jobs: Vec<Job> = Vec::new();
        for (pack, frame, pieces) in found {
            match jobs.last_mut() {
                Some(job) if job.takes(&pack, &frame) => job.add(frame, pieces),
                _ => jobs.push(Job::new(pack, frame, pieces, share.clone())),
            }
        }
        jobs
    }
}

/// The next frames with their pieces, from so many packs.
fn next_frames(pieces: &mut Peekable<std::vec::IntoIter<Piece>>, packs: usize) -> Wanted<FrameId> {
    let mut frames: Wanted<FrameId> = Vec::new();
    let mut begun = 0;
    while let Some(id) = pieces.peek().map(|piece| piece.reference.frame()) {
        let last = frames.last().map(|(last, _)| *last);
        begun += usize::from(last.is_none_or(|last| last.pack != id.pack));
        if begun > packs {
            break;
        }
        if last != Some(id) {
            frames.push((id, Vec::new()));
        }
        let next = pieces.next().expect("it was looked at");
        frames.last_mut().expect("one was just added").1.push(next);
    }
    frames
}

/// A frame without the names of what it holds: pieces know what they want.
fn slim(frame: &Frame) -> Frame {
    let Frame { origin, ordinal, place, stored_length, codec, raw_length, .. } = *frame;
    let (chunks, refs) = (Vec::new(), FrameSet::default());
    Frame { origin, ordinal, place, stored_length, codec, raw_length, chunks, refs }
}

/// Frames of one pack that are fetched by one request.
struct Job {
    pack: Arc<PackOpener>,
    range: Range<u64>,
    frames: Wanted<Frame>,
    /// Of what plans may take, until all is written.
    _share: Arc<Share>,
}

impl Job {
    fn new(pack: Arc<PackOpener>, frame: Frame, pieces: Vec<Piece>, share: Arc<Share>) -> Job {
        Job { range: pack.range(&frame), pack, frames: vec![(frame, pieces)], _share: share }
    }

    fn takes(&self, pack: &PackOpener, frame: &Frame) -> bool {
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

/// Opens what arrived, and writes all pieces in it.
fn open(files: &Files<'_, '_>, scratches: &Scratches, job: Job, bytes: Result<Held, repo::Error>) {
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => {
            let (why, pieces) = (error.to_string(), job.frames.iter().flat_map(|(_, pieces)| pieces));
            return pieces.for_each(|piece| retry(files, piece, &why));
        }
    };
    let mut scratch = lock(scratches).pop().unwrap_or_default();
    for (frame, pieces) in &job.frames {
        let opened = job.pack.open(frame, job.range.start, &bytes, &mut scratch);
        let key = files.reader.chunk_key(&job.pack, frame);
        match opened.and_then(|raw| Ok((raw, key?))) {
            _ if files.is_stopped() => break,
            Ok((raw, key)) => put_all(files, pieces, raw, key),
            Err(error) => pieces.iter().for_each(|piece| retry(files, piece, &error.to_string())),
        }
    }
    lock(scratches).push(scratch);
}

/// Writes the pieces of a frame, those together that lie together in their file.
fn put_all(files: &Files<'_, '_>, pieces: &[Piece], raw: &[u8], chunk_key: &[u8; 32]) {
    let mut run: Option<Stretch<'_>> = None;
    for piece in pieces {
        if let Err(error) = chunk_of(&piece.reference, raw, chunk_key) {
            retry(files, piece, &error.to_string());
            continue;
        }
        match &mut run {
            Some(run) if run.takes(piece) => run.length += piece.reference.length as usize,
            run => {
                if let Some(done) = run.replace(Stretch::of(piece)) {
                    files.write(done.file, done.offset, done.within(raw));
                }
            }
        }
    }
    if let Some(last) = run {
        files.write(last.file, last.offset, last.within(raw));
    }
}

/// Asks for the chunk by its reference: every place, then its substitute.
fn retry(files: &Files<'_, '_>, piece: &Piece, why: &str) {
    if files.is_stopped() || files.is_given_up(&piece.file) {
        return;
    }
    match files.reader.chunk(&piece.reference) {
        Ok(chunk) => files.write(&piece.file, piece.offset, &chunk),
        Err(error) => {
            let is_said = error.to_string().contains(why);
            let first = if is_said { String::new() } else { format!(" (first: {why})") };
            files.lose(&piece.file, error.into(), &first);
        }
    }
}

/// A stretch of a file that lies in one piece in a frame.
struct Stretch<'p> {
    file: &'p FileState,
    offset: u64,
    start: usize,
    length: usize,
}

impl Stretch<'_> {
    fn of(piece: &Piece) -> Stretch<'_> {
        let Reference { offset, length, .. } = piece.reference;
        Stretch { file: &piece.file, offset: piece.offset, start: offset as usize, length: length as usize }
    }

    /// Whether `piece` goes on where this ends, in the file and in the frame.
    fn takes(&self, piece: &Piece) -> bool {
        piece.file.number == self.file.number
            && piece.offset == self.offset.saturating_add(self.length as u64)
            && piece.reference.offset as usize == self.start.saturating_add(self.length)
    }

    fn within<'r>(&self, raw: &'r [u8]) -> &'r [u8] {
        raw.get(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
    }
}
