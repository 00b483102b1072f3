//! Adding to a repository: chunks are found or stored once, points are committed.
//!
//! Data before index, index before the entry that makes it true: a pack counts when it was seen in the region, a run
//! names only packs that its entry or an earlier one brings, the point comes last. Each worker fills a pack of its own,
//! so workers share nothing but the table of new chunks. Now and then an entry brings what is stored so far, so that
//! work which was interrupted is found and used by the next run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use format::compress::Effort;
use format::entry::Brought;
use format::fact::{Fact, Point, Substitute};
use format::id::{ChunkId, Hash, PackId, PointId, RunId, SessionId, WriterId};
use format::key::Generation;
use format::limit::{FRAME_BYTES_MAX, IMAGE_FRAME_BYTES_MAX, PACK_BYTES_TARGET};
use format::pack::{ContentKind, FinishedPack, Limits, PackBuilder, Workbench, chunk_id};
use format::reference::{FrameId, FrameSet, Reference};
use format::session::Purpose;
use format::tree::Nodes;
use storage::Buffers;

use crate::error::Error;
use crate::fold::Fold;
use crate::fresh::Fresh;
use crate::index::{self, Index};
use crate::io::Uploads;
use crate::layout;
use crate::pace::Pace;
use crate::repo::Repo;
use crate::session::Session;
use crate::stated::Piece;

/// An entry brings what is stored so far after this many bytes, or this much time.
const FLUSH_BYTES: u64 = 512 << 20;
const FLUSH_TIME: Duration = Duration::from_secs(120);

/// And after this many chunks, so that what is known of them until a run lists them, about 200 bytes each, stays small.
const FLUSH_CHUNKS: u64 = 1 << 17;

/// A frame is needed as long as any chunk in it is, and with it all that its other chunks refer to. So each node of a tree has
/// a frame to itself: together, an old one that a new point takes over would keep all of the points that were.
const NODE_FRAME_BYTES: usize = 1;

/// Chunks that one run lists: 8 MB of it.
const RUN_CHUNKS: usize = 1 << 18;

/// A pack becomes at most a frame longer than what is aimed at, for a wrong guess.
const PACK_BUFFER_BYTES: usize = PACK_BYTES_TARGET + 2 * FRAME_BYTES_MAX;

/// Buffers of packs that wait to be used again: as many as may be on their way at once.
const SPARE_PACKS_MAX: usize = 4;

/// What to do with a chunk that is already in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Refer to it.
    Trusted,
    /// Refer to it only after the caller read it back; see [`Writer::find`]. A host that cannot read stores it again.
    Verified,
}

/// How a writer works.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// How hard frames are compressed.
    pub effort: Effort,
    /// What to do with known chunks.
    pub reuse: Reuse,
}

/// Packs that were seen in the region, and the chunks in them.
type Stored = Vec<(Brought, Vec<Reference>)>;

/// A session that adds.
pub struct Writer<'r> {
    repo: &'r Repo,
    session: Mutex<Session<'r>>,
    writer: WriterId,
    id: SessionId,
    style: Style,
    chunk_key: [u8; 32],
    index: Index,
    packs: Arc<Fold>,
    sizes: HashMap<PackId, u64>,
    fresh: Fresh,
    uploads: Uploads,
    buffers: Buffers,
    stored: Arc<Mutex<Stored>>,
    settled: Mutex<Vec<Brought>>,
    unbrought_bytes: Arc<AtomicU64>,
    /// Chunks in packs that were seen, and that no run lists.
    unlisted: Arc<AtomicU64>,
    flushed: Mutex<Duration>,
    substitutes: Mutex<BTreeMap<Reference, Reference>>,
    relies: Mutex<BTreeSet<Piece>>,
    /// Plain bytes of new chunks.
    new_bytes: AtomicU64,
    /// Bytes of uploaded objects.
    stored_bytes: Arc<AtomicU64>,
}

impl<'r> Writer<'r> {
    /// Opens a session that relies on `roots` and loads the index.
    pub fn open(repo: &'r Repo, roots: BTreeSet<PointId>, style: Style) -> Result<Writer<'r>, Error> {
        repo.allow("write")?;
        let generation = repo.genesis.chunks.generation;
        if generation != format::cutter::GENERATION {
            let fact = format!("generation {generation} of the cutter");
            return Err(Error::UnknownFact { verb: "write", fact });
        }
        repo.must_have_newest_keys()?;
        let signer = repo.enrolled_signer()?;
        // No sweep should wait for what died here; where that fails, what follows does too, or it is of no weight.
        let _ = repo.give_up_dead();
        let writer = WriterId::of(&signer.public());
        let session = Session::open(repo, signer, Purpose::Write, roots)?;
        // The session read the log again. Whoever renews the keys from now on finds this session at work under the old ones.
        repo.must_have_newest_keys().map_err(|error| match error {
            Error::OldKeys { .. } => Error::Raced("the keys were renewed just now".to_owned()),
            other => other,
        })?;
        let fold = repo.fold();
        let chunk_key = **repo.bundle.newest().chunk_key().map_err(Error::Keys)?;
        let index = Index::load(repo, &fold)?;
        let sizes = if fold.packs.is_empty() { HashMap::new() } else { present_packs(repo)? };
        Ok(Writer {
            writer,
            id: session.id(),
            session: Mutex::new(session),
            style,
            chunk_key,
            index,
            packs: fold,
            sizes,
            fresh: Fresh::default(),
            uploads: repo.io.uploads(&repo.world),
            buffers: Buffers::keeping(SPARE_PACKS_MAX * PACK_BUFFER_BYTES),
            stored: Arc::default(),
            settled: Mutex::default(),
            unbrought_bytes: Arc::default(),
            unlisted: Arc::default(),
            flushed: Mutex::new(repo.world.monotonic()),
            substitutes: Mutex::default(),
            relies: Mutex::default(),
            new_bytes: AtomicU64::new(0),
            stored_bytes: Arc::default(),
            repo,
        })
    }

    /// Roots that hold: references under them need no question.
    pub fn accepted(&self) -> BTreeSet<PointId> {
        lock(&self.session).accepted().clone()
    }

    /// Parts of the chunk index that could not be used, in sentences: what they list is stored again.
    pub fn lost_index(&self) -> Vec<String> {
        self.index.damaged()
    }

    /// How known chunks are treated.
    pub fn style(&self) -> Style {
        self.style
    }

    /// The id that this chunk has here.
    pub fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        chunk_id(&self.chunk_key, plain)
    }

    /// The chunk key, for the cutter and for trees.
    pub fn chunk_key(&self) -> &[u8; 32] {
        &self.chunk_key
    }

    /// Plain bytes of new chunks, and bytes of uploaded objects, so far.
    pub fn counted(&self) -> (u64, u64) {
        (self.new_bytes.load(Ordering::Relaxed), self.stored_bytes.load(Ordering::Relaxed))
    }

    /// A worker with a pack of its own.
    pub fn worker(&self, kind: ContentKind) -> Worker<'_, 'r> {
        let pace = Pace::new(&self.repo.world);
        let frame_bytes = if kind == ContentKind::Tree { NODE_FRAME_BYTES } else { FRAME_BYTES_MAX };
        Worker { writer: self, kind, frame_bytes, bench: self.bench(), pace, pack: None }
    }

    /// A worker for blocks of images: of neighbouring blocks some change and some stay, so its frames are short.
    pub fn image_worker(&self) -> Worker<'_, 'r> {
        Worker { frame_bytes: IMAGE_FRAME_BYTES_MAX, ..self.worker(ContentKind::Data) }
    }

    /// A worker whose frames are so short that a simulation has several in a pack of a few kilobytes.
    #[doc(hidden)]
    pub fn tiny_worker(&self, kind: ContentKind, frame_bytes: usize) -> Worker<'_, 'r> {
        Worker { frame_bytes, ..self.worker(kind) }
    }

    fn bench(&self) -> Workbench {
        let world = self.repo.world.clone();
        Workbench::new(self.style.effort, Box::new(move || world.chance().bytes()))
    }

    /// Where a chunk is, if it is new in this session or known to the index and may be referred to.
    pub fn find(&self, chunk: &ChunkId) -> Result<Option<Found>, Error> {
        if let Some(reference) = self.fresh.find(chunk) {
            return Ok(Some(Found::Own(reference)));
        }
        let places = self.index.places(chunk);
        if let Some(own) = places.iter().find(|reference| reference.pack.session() == self.id) {
            return Ok(Some(Found::Own(*own)));
        }
        let mut lost = None;
        // A pack that no entry brings was never counted, so nothing was lost with it.
        let brought = |reference: &Reference| self.packs.packs.contains_key(&reference.pack);
        for reference in places.into_iter().filter(brought) {
            let mut session = lock(&self.session);
            let swept = session.is_condemned(reference.pack);
            let here = !swept && self.has_whole(reference.pack);
            let piece = if here { Piece::Pack(reference.pack) } else { Piece::Frame(reference.frame()) };
            let there = here || self.is_moved(reference.frame());
            // What somebody found damaged counts only for whoever reads it back, be what was stored in its place gone or not.
            let is_doubted =
                self.style.reuse == Reuse::Trusted && self.packs.substitutes.contains_key(&reference);
            if there && is_doubted {
                lost.get_or_insert(Found::Lost(reference));
                continue;
            }
            if there && session.may_refer(piece)? {
                lock(&self.relies).insert(piece);
                return Ok(Some(Found::Known(reference)));
            }
            // What a sweep took away was not lost. What it condemned and left there may be a pack that rotted and is needed:
            // a backup that relies on nothing unread heals that.
            let spared = swept && self.style.reuse == Reuse::Verified && self.has_whole(reference.pack);
            if !here && (!swept || spared) {
                lost.get_or_insert(Found::Lost(reference));
            }
        }
        Ok(lost)
    }

    /// Whether the region has this pack, with the size that the log says.
    fn has_whole(&self, pack: PackId) -> bool {
        let size = self.packs.packs.get(&pack).map(|record| record.size);
        size.is_some() && self.sizes.get(&pack) == size.as_ref()
    }

    /// Whether a sweep moved the frame to a pack that the region has.
    fn is_moved(&self, frame: FrameId) -> bool {
        let region = self.repo.io.region_name().to_owned();
        let places = self.packs.moved.get(&(region, frame.pack, frame.ordinal));
        places.is_some_and(|places| places.iter().any(|place| self.has_whole(*place)))
    }

    /// Whether what is needed of this pack is in the region: the pack itself, or what a sweep moved out of it.
    pub fn is_present(&self, pack: PackId) -> bool {
        let all = |ordinal| (self.repo.io.region_name().to_owned(), pack, ordinal);
        let mut moved = self.packs.moved.range(all(0)..=all(u32::MAX)).map(|(_, places)| places).peekable();
        let some_moved = moved.peek().is_some();
        self.has_whole(pack)
            || some_moved && moved.all(|places| places.iter().any(|place| self.has_whole(*place)))
    }

    /// Whether content in this pack may be taken over from the point that a backup is compared with. What lies under a
    /// root that holds needs no question; of anything else the session is asked.
    pub fn may_take_over(&self, pack: PackId, under_root: bool) -> Result<bool, Error> {
        if !self.is_present(pack) {
            return Ok(false);
        }
        if under_root {
            return Ok(true);
        }
        let may = lock(&self.session).may_refer(Piece::Pack(pack))?;
        if may {
            lock(&self.relies).insert(Piece::Pack(pack));
        }
        Ok(may)
    }

    /// States that readers who meet `lost` shall read `instead`.
    pub fn substitute(&self, lost: Reference, instead: Reference) {
        lock(&self.substitutes).insert(lost, instead);
    }

    /// Waits until all that the workers finished is in the region, index and all, so that what it cost is known.
    pub fn settle(&self) -> Result<(), Error> {
        self.uploads.drain()?;
        let brings = self.take_brings()?;
        lock(&self.settled).extend(brings);
        Ok(())
    }

    /// Makes the point true. All workers must have finished. Returns when the region shows the entry.
    pub fn commit(&self, point: Point) -> Result<(), Error> {
        self.settle()?;
        self.uploads.check_complete()?;
        let brings = std::mem::take(&mut *lock(&self.settled));
        let mut relies = std::mem::take(&mut *lock(&self.relies));
        relies.extend(brings.iter().filter_map(|b| layout::parse_pack(&b.name)).map(Piece::Pack));
        let substitutes = std::mem::take(&mut *lock(&self.substitutes));
        let mut facts = vec![Fact::Point(Box::new(point))];
        if !substitutes.is_empty() {
            facts.push(Fact::Substitute(Substitute { chunks: substitutes.into_iter().collect() }));
        }
        lock(&self.session).commit(facts, brings, relies, true)?;
        self.repo.check_counts(self.writer, self.id)
    }

    /// Ends the session without a point; what was stored stays for the next run. Uploads that failed do not keep it from its
    /// end, for which sweeps wait; only where the place does not answer nobody waits for that once more.
    pub fn abandon(&self) -> Result<(), Error> {
        let settled = self.settle();
        if settled.as_ref().is_err_and(Error::is_about_place) {
            return settled;
        }
        let brings = std::mem::take(&mut *lock(&self.settled));
        let ended = lock(&self.session).commit(Vec::new(), brings, BTreeSet::new(), true);
        settled.and(ended)
    }

    /// Brings what is stored so far, if it is time.
    fn flush_if_due(&self) -> Result<(), Error> {
        let now = self.repo.world.monotonic();
        let due = {
            let mut flushed = lock(&self.flushed);
            let due = self.unbrought_bytes.load(Ordering::Relaxed) >= FLUSH_BYTES
                || self.unlisted.load(Ordering::Relaxed) >= FLUSH_CHUNKS
                || (now.saturating_sub(*flushed) >= FLUSH_TIME && !lock(&self.stored).is_empty());
            if due {
                *flushed = now;
            }
            due
        };
        lock(&self.session).renew_if_due()?;
        if due { self.bring_stored() } else { Ok(()) }
    }

    /// Brings what is in the region by now, without waiting for uploads in flight.
    fn bring_stored(&self) -> Result<(), Error> {
        let brings = self.take_brings()?;
        if brings.is_empty() {
            Ok(())
        } else {
            lock(&self.session).commit(Vec::new(), brings, BTreeSet::new(), false)
        }
    }

    /// Packs that were seen in the region, and runs of their chunks.
    fn take_brings(&self) -> Result<Vec<Brought>, Error> {
        let stored = std::mem::take(&mut *lock(&self.stored));
        self.unbrought_bytes.store(0, Ordering::Relaxed);
        self.unlisted.store(0, Ordering::Relaxed);
        let (mut brings, chunks): (Vec<Brought>, Vec<Vec<Reference>>) = stored.into_iter().unzip();
        let packs = brings.iter().filter_map(|brought| layout::parse_pack(&brought.name));
        packs.for_each(|pack| lock(&self.session).stored(pack));
        let chunks = chunks.concat();
        for part in chunks.chunks(RUN_CHUNKS) {
            brings.extend(self.list(part)?);
        }
        Ok(brings)
    }

    /// Lists chunks in a run and in the index. A host that cannot seal a run remembers by itself what it stored, so as not
    /// to store it again.
    fn list(&self, chunks: &[Reference]) -> Result<Option<Brought>, Error> {
        let can_seal = self.repo.bundle.newest().index.is_some();
        let run = can_seal.then(|| RunId(self.repo.world.chance().bytes()));
        let brought = run.map(|run| self.store_run(run, chunks)).transpose()?;
        if self.index.add(chunks, run) {
            self.fresh.forget(chunks);
        }
        Ok(brought)
    }

    fn store_run(&self, run: RunId, chunks: &[Reference]) -> Result<Brought, Error> {
        let mut chance = self.repo.world.chance();
        let bytes = index::seal_run(self.repo, (self.writer, self.id), run, chunks, &mut chance)?;
        let key = layout::run(self.writer, self.id, run);
        let brought = Brought { name: key.to_string(), size: bytes.len() as u64, hash: Hash::of(&bytes) };
        self.stored_bytes.fetch_add(brought.size, Ordering::Relaxed);
        self.repo.io.put_seen(&key, bytes.into())?;
        Ok(brought)
    }

    /// Starts an upload; how long that had to wait for earlier ones.
    fn upload(&self, pack: FinishedPack) -> Result<Duration, Error> {
        let (id, key) = (pack.id, layout::pack(pack.id));
        let bytes = pack.object.into_bytes();
        let brought = Brought { name: key.to_string(), size: bytes.len() as u64, hash: pack.hash };
        lock(&self.session).uploading(id);
        let (stored, counted) = (self.stored.clone(), self.stored_bytes.clone());
        let (unbrought, unlisted) = (self.unbrought_bytes.clone(), self.unlisted.clone());
        let begun = self.repo.world.monotonic();
        self.uploads.start(key, self.buffers.lend(bytes), move || {
            unbrought.fetch_add(brought.size, Ordering::Relaxed);
            unlisted.fetch_add(pack.chunks.len() as u64, Ordering::Relaxed);
            counted.fetch_add(brought.size, Ordering::Relaxed);
            lock(&stored).push((brought, pack.chunks));
        })?;
        let waited = self.repo.world.monotonic().saturating_sub(begun);
        self.flush_if_due()?;
        Ok(waited)
    }

    fn keep(&self, number: u32, reference: &Reference) {
        self.fresh.keep(number, reference);
        self.new_bytes.fetch_add(u64::from(reference.length), Ordering::Relaxed);
    }

    fn generation(&self) -> &Generation {
        self.repo.bundle.newest()
    }
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// New in this session.
    Own(Reference),
    /// Stored before, in a pack that has its right size.
    Known(Reference),
    /// Stored before, but its pack is gone or cut: store it again and state the substitute.
    Lost(Reference),
}

fn present_packs(repo: &Repo) -> Result<HashMap<PackId, u64>, Error> {
    let listed = repo.io.list(&layout::packs())?;
    Ok(listed.iter().filter_map(|o| Some((layout::parse_pack(o.key.as_str())?, o.size))).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

/// One thread's way to store chunks.
pub struct Worker<'w, 'r> {
    writer: &'w Writer<'r>,
    kind: ContentKind,
    frame_bytes: usize,
    bench: Workbench,
    pace: Pace,
    /// The pack that it fills, and the number that it has among those of the session.
    pack: Option<(u32, PackBuilder)>,
}

impl Worker<'_, '_> {
    /// Stores a chunk whatever is known of it. `refs` are the frames that it refers to.
    pub fn store(&mut self, chunk: ChunkId, plain: &[u8], refs: &FrameSet) -> Result<Reference, Error> {
        let full =
            self.pack.as_ref().is_some_and(|(_, pack)| !pack.is_empty() && !pack.has_room_for(plain.len()));
        if full {
            self.finish()?;
        }
        let writer = self.writer;
        let (number, pack) = self.pack.get_or_insert_with(|| {
            let pack = new_pack(writer, self.kind, self.frame_bytes);
            (writer.fresh.begin(pack.id()), pack)
        });
        let reference =
            pack.append(&mut self.bench, chunk, plain, refs).map_err(Error::object("a pack", "memory"))?;
        writer.keep(*number, &reference);
        Ok(reference)
    }

    /// Finds a chunk or stores it: [`Writer::find`], then [`Worker::store`], with a substitute where it was lost.
    pub fn save(&mut self, plain: &[u8], refs: &FrameSet) -> Result<Reference, Error> {
        let chunk = self.writer.chunk_id(plain);
        match self.writer.find(&chunk)? {
            Some(Found::Own(reference) | Found::Known(reference)) => Ok(reference),
            Some(Found::Lost(lost)) => {
                let instead = self.store(chunk, plain, refs)?;
                self.writer.substitute(lost, instead);
                Ok(instead)
            }
            None => self.store(chunk, plain, refs),
        }
    }

    /// Closes the pack and starts its upload.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.pack.take() {
            Some((_, pack)) if !pack.is_empty() => {
                let pack = pack.finish(&mut self.bench).map_err(Error::object("a pack", "memory"))?;
                let waited = self.writer.upload(pack)?;
                self.bench.set_patience(self.pace.after(&self.writer.repo.world, waited));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Nodes of trees are chunks like any other, in packs of their own.
impl Nodes for Worker<'_, '_> {
    type Error = Error;

    fn save(&mut self, node: &[u8], frames: &FrameSet) -> Result<Reference, Error> {
        Worker::save(self, node, frames)
    }
}

fn new_pack(writer: &Writer<'_>, kind: ContentKind, frame_bytes: usize) -> PackBuilder {
    let mut chance = writer.repo.world.chance();
    let id = PackId::new(writer.id, chance.bytes());
    let limits = Limits { frame_bytes, pack_bytes: PACK_BYTES_TARGET };
    let place = (writer.repo.genesis.id, writer.repo.bundle.domain, writer.generation());
    PackBuilder::new(place, kind, id, limits, &mut chance).in_buffer(writer.buffers.take(PACK_BUFFER_BYTES))
}
