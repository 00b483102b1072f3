//! Reading chunks by reference: pack, directory, frame, chunk, each checked against the one before.
//!
//! A reference needs no index. Where its pack is gone or damaged, places that a `moved` fact names are tried, then the
//! substitute that a later backup announced; only then is it damage. Directories and frames that were read stay in
//! bounded caches. Ids are made with the chunk key of the generation that the origin pack is from.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use format::Malformed;
use format::compress::Decompressor;
use format::id::{ChunkHalf, PackId};
use format::limit::FRAME_BYTES_MAX;
use format::pack::{Directory, Frame, FrameOpener, Origin, TAIL_BYTES, Tail, chunk_id, chunk_of};
use format::reference::{FrameId, Reference};
use format::tree::Load;
use storage::ObjectKey;

use crate::error::Error;
use crate::fold::Fold;
use crate::layout;
use crate::repo::Repo;

/// Reads are widened to this grid, so that requests do not show lengths of frames.
pub const GRID: u64 = 64 << 10;

/// Bytes of directories kept: 20 to 100 KiB each.
const DIRECTORIES_BYTES_MAX: usize = 32 << 20;

/// Packs whose damage is remembered.
const BROKEN_MAX: usize = 512;

/// Bytes of frames kept: up to 1 MiB each.
const FRAMES_BYTES_MAX: usize = 32 << 20;

/// Whoever reads frames of a pack in their order gets what lies behind with one request, up to so many bytes of the pack: a
/// walk over a tree would otherwise wait for the region at each node.
const AHEAD_BYTES_MAX: u64 = 4 << 20;

/// Whoever will read a whole tree begins with so many bytes wherever it goes on.
const AHEAD_OF_ALL: u64 = 2 << 20;

/// A pack whose directory was opened.
pub struct OpenPack {
    opener: Arc<PackOpener>,
    directory: Directory,
    /// Where frames stand in the directory that were moved here, as their ordinals do not say so.
    moved: HashMap<FrameId, usize>,
}

impl OpenPack {
    fn of(opener: Arc<PackOpener>, directory: Directory) -> OpenPack {
        let id =
            |frame: &Frame| Some(FrameId { pack: directory.origin(frame)?.pack, ordinal: frame.ordinal });
        let moved = directory.frames.iter().enumerate().filter(|(_, frame)| frame.origin > 0);
        let moved = moved.filter_map(|(at, frame)| Some((id(frame)?, at))).collect();
        OpenPack { opener, directory, moved }
    }

    /// The frame of this identity.
    pub fn find(&self, id: FrameId) -> Option<&Frame> {
        self.position(id).and_then(|at| self.directory.frames.get(at))
    }

    fn position(&self, id: FrameId) -> Option<usize> {
        let at = self.moved.get(&id).copied().unwrap_or(id.ordinal as usize);
        let frame = self.directory.frames.get(at)?;
        let origin = self.directory.origin(frame)?.pack;
        ((origin, frame.ordinal) == (id.pack, id.ordinal)).then_some(at)
    }

    /// Its directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What opens its frames, without the directory.
    pub fn opener(&self) -> Arc<PackOpener> {
        self.opener.clone()
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let of = |frame: &Frame| {
            let refs: usize = frame.refs.packs().map(|(_, ordinals)| 64 + 8 * ordinals.len()).sum();
            size_of::<Frame>() + frame.chunks.capacity() * size_of::<(ChunkHalf, u32)>() + refs
        };
        self.directory.frames.iter().map(of).sum::<usize>() + self.directory.origins.len() * ORIGIN_BYTES
    }
}

impl std::ops::Deref for OpenPack {
    type Target = PackOpener;

    fn deref(&self) -> &PackOpener {
        &self.opener
    }
}

/// What an origin takes in memory: its key encapsulated, and what opens its frames.
const ORIGIN_BYTES: usize = 2 << 10;

/// What opens the frames of a pack: little, where its directory is long.
pub struct PackOpener {
    /// The pack's name.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// By origin: the generation of keys, and what opens its frames.
    openers: Vec<(u32, FrameOpener)>,
}

impl PackOpener {
    /// The generation of keys that a frame is from: that of its origin.
    pub fn generation(&self, frame: &Frame) -> Result<u32, Malformed> {
        Ok(self.origin(frame)?.0)
    }

    fn origin(&self, frame: &Frame) -> Result<&(u32, FrameOpener), Malformed> {
        self.openers.get(frame.origin).ok_or_else(|| Malformed::new("a frame", "it has no origin"))
    }

    /// The bytes to ask for to get `frame`: its place, widened to the grid.
    pub fn range(&self, frame: &Frame) -> Range<u64> {
        widen(frame.range(), self.size)
    }

    /// Opens `frame` from bytes that start at `start` in the object. The raw bytes stay in `scratch` until its next use.
    pub fn open<'s>(
        &self,
        frame: &Frame,
        start: u64,
        bytes: &[u8],
        scratch: &'s mut Scratch,
    ) -> Result<&'s [u8], format::Error> {
        let range = frame.range();
        let from = usize::try_from(range.start.saturating_sub(start)).unwrap_or(usize::MAX);
        let to = usize::try_from(range.end.saturating_sub(start)).unwrap_or(usize::MAX);
        let sealed =
            bytes.get(from..to).ok_or_else(|| Malformed::new("a frame", "it lies outside what was read"))?;
        let (_, opener) = self.origin(frame)?;
        let Scratch { decompressor, opened, raw } = scratch;
        opener.open(frame, sealed, decompressor, (opened, raw))
    }
}

/// Buffers of one reading thread.
#[derive(Default)]
pub struct Scratch {
    decompressor: Decompressor,
    opened: Vec<u8>,
    raw: Vec<u8>,
}

/// Widens a range to the grid within an object of `size` bytes.
pub fn widen(range: Range<u64>, size: u64) -> Range<u64> {
    let start = range.start / GRID * GRID;
    start..range.end.next_multiple_of(GRID).min(size).max(range.end)
}

/// The raw bytes of a frame, and the generation of keys that names its chunks.
#[derive(Clone)]
struct Raw {
    bytes: Arc<Vec<u8>>,
    generation: u32,
}

/// Reads chunks of one repository.
pub struct Reader<'r> {
    repo: &'r Repo,
    fold: RwLock<Arc<Fold>>,
    directories: Mutex<Recent<PackId, Arc<OpenPack>>>,
    broken: Mutex<Recent<PackId, String>>,
    /// Packs for whose frames the log was read again, once they were not where they should be.
    missed: Mutex<HashSet<PackId>>,
    frames: Mutex<Recent<FrameId, Raw>>,
    ahead: Mutex<Ahead>,
    scratch: Mutex<Scratch>,
    fetched: AtomicU64,
}

/// What does not read is read again, as bytes are lost on their way more often than at rest.
fn twice<T>(read: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    match read() {
        Err(Error::Object { .. }) => read(),
        once => once,
    }
}

impl<'r> Reader<'r> {
    /// A reader; refused if a fact forbids it that this program does not know.
    pub fn new(repo: &'r Repo) -> Result<Reader<'r>, Error> {
        repo.allow("restore")?;
        repo.must_read()?;
        repo.bundle.newest().chunk_key().map_err(Error::Keys)?;
        Ok(Reader {
            fold: RwLock::new(repo.fold()),
            missed: Mutex::default(),
            directories: Mutex::new(Recent::new(DIRECTORIES_BYTES_MAX)),
            broken: Mutex::new(Recent::new(BROKEN_MAX)),
            frames: Mutex::new(Recent::new(FRAMES_BYTES_MAX)),
            ahead: Mutex::default(),
            scratch: Mutex::default(),
            fetched: AtomicU64::new(0),
            repo,
        })
    }

    /// The repository.
    pub fn repo(&self) -> &'r Repo {
        self.repo
    }

    /// Says that most of a tree will be read, in its order: whatever is asked for, what lies behind it is fetched with it.
    pub fn expect_all(&self) {
        lock(&self.ahead).least = AHEAD_OF_ALL;
    }

    /// Bytes that this reader fetched so far, directories and frames; ranges that others fetch are not among them.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// The key that the ids of this frame's chunks are made with.
    pub fn chunk_key(&self, pack: &PackOpener, frame: &Frame) -> Result<&[u8; 32], format::Error> {
        self.chunk_key_of(pack.generation(frame)?)
    }

    fn chunk_key_of(&self, generation: u32) -> Result<&[u8; 32], format::Error> {
        Ok(&**self.repo.bundle.generation(generation)?.chunk_key()?)
    }

    /// Whether the id of this chunk is made with the newest key, so that the same content has the same id today.
    pub fn has_newest_name(&self, reference: &Reference) -> Result<bool, Error> {
        let (pack, frame) = self.locate(reference.frame())?;
        let generation = pack
            .generation(&frame)
            .map_err(format::Error::from)
            .map_err(Error::object(&pack.key, self.repo.io.place()))?;
        Ok(generation == self.repo.bundle.newest().number)
    }

    /// Whether bytes that lie elsewhere are the content of this chunk. Which generation named it, its pack would tell, but
    /// to be the same under any of our keys they have to be the same, and nothing need be fetched.
    pub fn is_content_of(&self, reference: &Reference, bytes: &[u8]) -> bool {
        let mut keys = self.repo.bundle.generations.iter().rev().filter_map(|keys| keys.chunk.as_ref());
        bytes.len() as u64 == u64::from(reference.length)
            && keys.any(|key| chunk_id(key, bytes) == reference.chunk)
    }

    /// A pack with its directory: one request of 64 KiB, a second one for long directories.
    pub fn pack(&self, pack: PackId) -> Result<Arc<OpenPack>, Error> {
        if let Some(known) = lock(&self.directories).get(&pack) {
            return Ok(known);
        }
        if let Some(why) = lock(&self.broken).get(&pack) {
            return Err(self.repo.io.damaged(&layout::pack(pack), why));
        }
        match twice(|| self.open_pack(pack)) {
            Ok(opened) => {
                let opened = Arc::new(opened);
                lock(&self.directories).put(pack, opened.clone(), opened.bytes());
                Ok(opened)
            }
            Err(error) => {
                // Damage does not go away; whoever needs the pack next need not wait for it again.
                match &error {
                    Error::Object { source, .. } => lock(&self.broken).put(pack, source.to_string(), 1),
                    Error::Damaged { why, .. } => lock(&self.broken).put(pack, why.clone(), 1),
                    _ => {}
                }
                Err(error)
            }
        }
    }

    fn open_pack(&self, pack: PackId) -> Result<OpenPack, Error> {
        let (io, key) = (&self.repo.io, layout::pack(pack));
        let (end, size) = io.get_tail(&key, GRID).map_err(|e| io.missing(e, &key))?;
        if let Some(record) = self.fold().packs.get(&pack).filter(|record| record.size != size) {
            return Err(io.damaged(&key, format!("it has {size} bytes instead of {}", record.size)));
        }
        // The genesis says which versions there are, so a pack of another one is damaged.
        let wrong = |error: format::Error| match error.is_of_later_program() {
            true => io.damaged(&key, error.to_string()),
            false => Error::object(&key, io.place())(error),
        };
        self.fetched.fetch_add(end.len() as u64, Ordering::Relaxed);
        let tail = Tail::decode(&end).map_err(wrong)?;
        let range = tail.directory_range(size).map_err(wrong)?;
        let sealed = match range.start.checked_sub(size.saturating_sub(end.len() as u64)) {
            Some(at) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                end.get(at..end.len().saturating_sub(TAIL_BYTES)).unwrap_or_default().to_vec()
            }
            None => {
                let long = io.get_range(&key, range).map_err(|e| io.missing(e, &key))?;
                self.fetched.fetch_add(long.len() as u64, Ordering::Relaxed);
                long.to_vec()
            }
        };
        let bundle = &self.repo.bundle;
        let directory = tail.open_directory(pack, bundle, size, &sealed).map_err(wrong)?;
        let opener = |origin: &Origin| {
            Ok((origin.generation, FrameOpener::new(origin, tail.repo, tail.domain, bundle)?))
        };
        let openers = directory.origins.iter().map(opener).collect::<Result<_, _>>().map_err(wrong)?;
        Ok(OpenPack::of(Arc::new(PackOpener { key, size, openers }), directory))
    }

    /// The places of a frame, the original one last: what was moved is about to be deleted there.
    pub fn places(&self, frame: FrameId) -> Vec<PackId> {
        let (region, fold) = (self.repo.io.region_name().to_owned(), self.fold());
        let moved = fold.moved.get(&(region, frame.pack, frame.ordinal));
        moved.into_iter().flatten().copied().chain([frame.pack]).collect()
    }

    fn fold(&self) -> Arc<Fold> {
        self.fold.read().expect("no holder of this lock panics").clone()
    }

    /// Reads the log again, once for each pack that was not where it should be: a sweep says where it moves frames before it
    /// deletes them. Whether it was read.
    fn look_again(&self, missed: &[PackId]) -> bool {
        let mut known = lock(&self.missed);
        if missed.iter().all(|pack| known.contains(pack)) {
            return false;
        }
        let Ok(fold) = self.repo.refresh() else { return false };
        known.extend(missed);
        *self.fold.write().expect("no holder of this lock panics") = fold;
        true
    }

    /// A frame's place: the first pack that opens and holds it.
    pub fn locate(&self, frame: FrameId) -> Result<(Arc<OpenPack>, Frame), Error> {
        self.in_places(frame, |place| self.locate_in(place, frame))
    }

    fn locate_in(&self, place: PackId, frame: FrameId) -> Result<(Arc<OpenPack>, Frame), Error> {
        let pack = self.pack(place)?;
        match pack.find(frame).cloned() {
            Some(found) => Ok((pack, found)),
            None => Err(self.repo.io.damaged(&pack.key, format!("it does not hold frame {}", frame.ordinal))),
        }
    }

    /// The raw bytes of a frame, from the first place that has them whole.
    pub fn frame(&self, frame: FrameId) -> Result<Arc<Vec<u8>>, Error> {
        self.raw(frame).map(|raw| raw.bytes)
    }

    fn raw(&self, frame: FrameId) -> Result<Raw, Error> {
        if let Some(known) = lock(&self.frames).get(&frame) {
            return Ok(known);
        }
        let raw = self.in_places(frame, |place| twice(|| self.frame_in(place, frame)))?;
        debug_assert!(raw.bytes.len() <= FRAME_BYTES_MAX, "directories are checked");
        lock(&self.frames).put(frame, raw.clone(), raw.bytes.len());
        Ok(raw)
    }

    fn frame_in(&self, place: PackId, frame: FrameId) -> Result<Raw, Error> {
        let (pack, found) = self.locate_in(place, frame)?;
        let wanted = lock(&self.ahead).wanted(frame);
        let (more, next) = following(&pack, frame, wanted);
        lock(&self.ahead).next = next;
        let (io, end) = (&self.repo.io, more.last().map_or(found.range().end, |(_, last)| last.range().end));
        let range = widen(found.range().start..end, pack.size);
        let bytes = io.get_range(&pack.key, range.clone()).map_err(|e| io.missing(e, &pack.key))?;
        self.fetched.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let open = |frame: &Frame| {
            let mut scratch = lock(&self.scratch);
            let raw = pack.open(frame, range.start, &bytes, &mut scratch)?;
            Ok(Raw { bytes: Arc::new(raw.to_vec()), generation: pack.generation(frame)? })
        };
        let raw = open(&found).map_err(Error::object(&pack.key, io.place()))?;
        for (id, frame) in more {
            // What is wrong with it is said to whoever asks for it.
            if let Ok(raw) = open(frame) {
                let bytes = raw.bytes.len();
                lock(&self.frames).put(id, raw, bytes);
            }
        }
        Ok(raw)
    }

    /// Tries the places of a frame in turn; the first error is the one that is told.
    fn in_places<T>(&self, frame: FrameId, look: impl Fn(PackId) -> Result<T, Error>) -> Result<T, Error> {
        let (mut first, mut tried) = (None, Vec::new());
        loop {
            for place in
                self.places(frame).into_iter().filter(|place| !tried.contains(place)).collect::<Vec<_>>()
            {
                tried.push(place);
                match look(place) {
                    Ok(found) => return Ok(found),
                    Err(error @ Error::Keys(_)) => return Err(error),
                    Err(error) => drop(first.get_or_insert(error)),
                }
            }
            let error = first.take().expect("a frame has at least one place");
            let damaged = world::Remedied::remedy(&error) == world::Remedy::Repair;
            if !damaged || !self.look_again(&tried) || self.places(frame).iter().all(|p| tried.contains(p)) {
                return Err(error);
            }
            first = Some(error);
        }
    }

    /// A chunk, checked against its id; from one of its substitutes if it is damaged and has any.
    pub fn chunk(&self, reference: &Reference) -> Result<Vec<u8>, Error> {
        let error = match self.chunk_itself(reference) {
            Ok(chunk) => return Ok(chunk),
            Err(error) => error,
        };
        let mut instead = self.substitutes(reference).into_iter();
        instead.find_map(|instead| self.chunk_itself(&instead).ok()).ok_or(error)
    }

    /// A chunk from the very place that the reference names, checked against its id.
    pub fn chunk_itself(&self, reference: &Reference) -> Result<Vec<u8>, Error> {
        let raw = self.raw(reference.frame())?;
        let wrong = Error::object(layout::pack(reference.pack), self.repo.io.place());
        let key = self.chunk_key_of(raw.generation);
        key.and_then(|key| chunk_of(reference, &raw.bytes, key)).map(<[u8]>::to_vec).map_err(wrong)
    }

    /// Where else the chunk of a reference is that is damaged, as later backups stored it again: their substitutes, then those of
    /// these, each once.
    pub fn substitutes(&self, lost: &Reference) -> Vec<Reference> {
        let fold = self.fold();
        let (mut all, mut at) = (vec![*lost], 0);
        while let Some(next) = all.get(at).copied() {
            let more = fold.substitutes.get(&next).into_iter().flatten();
            let more: Vec<Reference> = more.filter(|instead| !all.contains(instead)).copied().collect();
            all.extend(more);
            at += 1;
        }
        all.split_off(1)
    }
}

impl Load for &Reader<'_> {
    type Error = Error;

    fn load(&mut self, reference: &Reference) -> Result<Vec<u8>, Error> {
        self.chunk(reference)
    }
}

/// Notices that frames are asked for in their order.
#[derive(Default)]
struct Ahead {
    next: Option<FrameId>,
    bytes: u64,
    least: u64,
}

impl Ahead {
    /// How many bytes to fetch from the start of `frame` on: twice as many as last time where this is the one that was next
    /// then. What the grid brings along anyhow is the least.
    fn wanted(&mut self, frame: FrameId) -> u64 {
        let goes_on = self.next == Some(frame);
        let least = self.least.max(GRID);
        self.bytes = if goes_on { self.bytes.saturating_mul(2).clamp(least, AHEAD_BYTES_MAX) } else { least };
        self.bytes
    }
}

/// The frames behind one in its pack, as far as they end within so many bytes from its start; and the one behind those.
fn following(pack: &OpenPack, frame: FrameId, wanted: u64) -> (Vec<(FrameId, &Frame)>, Option<FrameId>) {
    let frames = &pack.directory.frames;
    let Some((at, first)) = pack.position(frame).and_then(|at| Some((at, frames.get(at)?))) else {
        return (Vec::new(), None);
    };
    let id = |frame: &Frame| {
        let origin = pack.directory.origin(frame)?;
        Some(FrameId { pack: origin.pack, ordinal: frame.ordinal })
    };
    let (most, mut end) = (first.place.saturating_add(wanted), first.range().end);
    let behind = frames.iter().skip(at.saturating_add(1));
    let more: Vec<(FrameId, &Frame)> = behind
        .take_while(|next| {
            let follows = next.place >= end && next.range().end <= most;
            end = next.range().end;
            follows
        })
        .filter_map(|next| Some((id(next)?, next)))
        .collect();
    let next = frames.get(at.saturating_add(more.len()).saturating_add(1)).and_then(id);
    (more, next)
}

/// The most recent things by key, as long as their weights stay below a limit; the very last one is always kept.
struct Recent<K, V> {
    by_key: HashMap<K, (V, usize)>,
    order: VecDeque<K>,
    weight: usize,
    most: usize,
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    fn new(most: usize) -> Recent<K, V> {
        Recent { by_key: HashMap::new(), order: VecDeque::new(), weight: 0, most }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.by_key.get(key).map(|(value, _)| value.clone())
    }

    fn put(&mut self, key: K, value: V, weight: usize) {
        self.weight = self.weight.saturating_add(weight);
        match self.by_key.insert(key, (value, weight)) {
            None => self.order.push_back(key),
            Some((_, before)) => self.weight = self.weight.saturating_sub(before),
        }
        while self.weight > self.most && self.order.len() > 1 {
            let gone = self.order.pop_front().and_then(|oldest| self.by_key.remove(&oldest));
            self.weight = self.weight.saturating_sub(gone.map_or(0, |(_, weight)| weight));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;
    use format::id::SessionId;

    #[test]
    fn whoever_reads_in_order_gets_more_each_time_and_others_do_not() {
        let pack = PackId::new(SessionId([1; 16]), [2; 16]);
        let frame = |ordinal| FrameId { pack, ordinal };
        let mut ahead = Ahead::default();
        let mut read = |ordinal: u32, next: u32| {
            let wanted = ahead.wanted(frame(ordinal));
            ahead.next = Some(frame(next));
            wanted / GRID
        };
        let rows = [(0, 1), (1, 3), (3, 7), (7, 9), (9, 20), (20, 31), (31, 60), (60, 61)];
        assert_eq!(rows.map(|(at, next)| read(at, next)), [1, 2, 4, 8, 16, 32, 64, 64]);
        assert_eq!([(7, 8), (40, 41), (39, 40)].map(|(at, next)| read(at, next)), [1, 1, 1]);
        ahead.least = AHEAD_OF_ALL;
        let mut read = |ordinal: u32, next: u32| {
            let wanted = ahead.wanted(frame(ordinal));
            ahead.next = Some(frame(next));
            wanted
        };
        let rows = [(7, 8), (100, 108), (108, 116), (3, 4)];
        let all = AHEAD_OF_ALL;
        assert_eq!(rows.map(|(at, next)| read(at, next)), [all, all, 2 * all, all]);
    }

    #[test]
    fn the_most_recent_things_stay_within_their_weight_and_the_last_one_stays_whatever_it_weighs() {
        let mut recent = Recent::new(10);
        recent.put(1, "a", 4);
        recent.put(2, "b", 4);
        recent.put(1, "c", 6);
        assert_eq!((recent.get(&1), recent.get(&2)), (Some("c"), Some("b")));
        recent.put(3, "d", 3);
        assert_eq!((recent.get(&1), recent.get(&2), recent.get(&3)), (None, Some("b"), Some("d")));
        recent.put(4, "e", 99);
        assert_eq!((recent.get(&2), recent.get(&3), recent.get(&4)), (None, None, Some("e")));
        recent.put(5, "f", 1);
        assert_eq!((recent.get(&4), recent.get(&5)), (None, Some("f")));
    }
}
