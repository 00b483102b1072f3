//! Packs: frames and the directory that finds them; section 6 of `docs/format.md`.
//!
//! A [`PackBuilder`] takes chunks, closes a frame when it is full, compresses and seals it straight into the object, and
//! opens what it sealed again and compares before going on, so that no byte leaves that could not come back. A reference
//! to a chunk is known as soon as the chunk was taken. Reading goes tail, directory, frame; each step checks that the
//! bytes belong to this repository, this pack and this place.

mod directory;
mod tail;

pub use directory::{Directory, Frame, Origin};
pub use tail::{TAIL_BYTES, Tail};

use rand_core::CryptoRng;

use crate::cbor::Malformed;
use crate::compress::{Codec, Compressor, Decompressor, Effort};
use crate::error::Error;
use crate::genesis::SUITE;
use crate::id::{ChunkId, DomainId, Hash, PackId, RepoId};
use crate::key::{Bundle, Generation};
use crate::limit::{DIRECTORY_BYTES_MAX, FRAME_BYTES_MAX, PACK_FRAMES_MAX};
use crate::object::{ObjectKind, SIZE_CLASS_MIN, Sealed, size_class};
use crate::reference::{FrameId, FrameSet, Reference};
use crate::seal::{Enc, SEAL_OVERHEAD, SealKey, join};

const WHAT: &str = "a pack";
const FRAME: &str = "a frame";
const FRAME_VERSION: u8 = 0;
const DIRECTORY_ORDINAL: u32 = u32::MAX;
const DIRECTORY_GRAIN: usize = 4096;

/// What a pack's frames hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentKind {
    /// Contents of files.
    Data,
    /// Nodes of trees.
    Tree,
    /// Segments of changes.
    Segment,
}

impl ContentKind {
    fn number(self) -> u8 {
        match self {
            ContentKind::Data => 0,
            ContentKind::Tree => 1,
            ContentKind::Segment => 2,
        }
    }

    fn from_number(number: u8) -> Result<ContentKind, Malformed> {
        match number {
            0 => Ok(ContentKind::Data),
            1 => Ok(ContentKind::Tree),
            2 => Ok(ContentKind::Segment),
            _ => Err(Malformed::new(WHAT, format!("content kind {number} is not known"))),
        }
    }
}

/// Where a frame was first written, as far as its key and additional data depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    kind: ContentKind,
    repo: RepoId,
    domain: DomainId,
    generation: u32,
    pack: PackId,
}

impl Place {
    fn info(&self, use_: &str) -> Vec<u8> {
        let generation = self.generation.to_le_bytes();
        join(&[use_.as_bytes(), &self.repo.0, &self.domain.0, &generation, &self.pack.0])
    }

    fn aad(&self, ordinal: u32, codec: Codec, raw_length: u32) -> Vec<u8> {
        join(&[
            &[SUITE, self.kind.number()],
            &self.repo.0,
            &self.domain.0,
            &self.generation.to_le_bytes(),
            &self.pack.0,
            &ordinal.to_le_bytes(),
            &[codec.number(), FRAME_VERSION],
            &raw_length.to_le_bytes(),
        ])
    }
}

/// Contexts that packs of one worker share, one after another.
pub struct Workbench {
    compressor: Compressor,
    decompressor: Decompressor,
    opened: Vec<u8>,
    raw: Vec<u8>,
    chance: NonceChance,
}

/// Gives the random half of a nonce. It must ask the machine each time and keep no state of its own: a process that was
/// cloned in the middle of a pack and goes on twice must not use one nonce for two frames.
pub type NonceChance = Box<dyn FnMut() -> [u8; 8] + Send>;

impl Workbench {
    /// A workbench that compresses this hard.
    pub fn new(effort: Effort, chance: NonceChance) -> Workbench {
        Workbench {
            compressor: Compressor::new(effort),
            decompressor: Decompressor::default(),
            opened: Vec::new(),
            raw: Vec::new(),
            chance,
        }
    }

    /// See [`Compressor::set_patience`].
    pub fn set_patience(&mut self, patience: usize) {
        self.compressor.set_patience(patience);
    }
}

/// A finished pack, ready to be stored.
pub struct FinishedPack {
    /// Its id.
    pub id: PackId,
    /// What its frames hold.
    pub kind: ContentKind,
    /// The object.
    pub object: Sealed,
    /// BLAKE3 of the object.
    pub hash: Hash,
    /// The chunks that it holds.
    pub chunks: Vec<Reference>,
}

/// A pack while it is filled.
pub struct PackBuilder {
    place: Place,
    data_key: SealKey,
    directory_key: SealKey,
    encs: (Enc, Enc),
    padding: [u8; 32],
    bytes: Vec<u8>,
    directory: directory::Builder,
    open: OpenFrame,
    limits: Limits,
}

/// How large frames and the pack may become.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Raw bytes of a frame: at most [`FRAME_BYTES_MAX`].
    pub frame_bytes: usize,
    /// Bytes of the object that are aimed at: a size class, and it may become somewhat longer.
    pub pack_bytes: usize,
}

#[derive(Default)]
struct OpenFrame {
    raw: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
    refs: FrameSet,
}

impl PackBuilder {
    /// An empty pack of `kind` under the keys of `generation`.
    pub fn new(
        (repo, domain, generation): (RepoId, DomainId, &Generation),
        kind: ContentKind,
        id: PackId,
        limits: Limits,
        rng: &mut dyn CryptoRng,
    ) -> PackBuilder {
        let place = Place { kind, repo, domain, generation: generation.number, pack: id };
        let (data_enc, data_key) = generation.data_public.encapsulate(&place.info("seawall 1 data"), rng);
        let (directory_enc, directory_key) =
            generation.catalog_public.encapsulate(&place.info("seawall 1 directory"), rng);
        let mut padding = [0; 32];
        rng.fill_bytes(&mut padding);
        let bytes = ObjectKind::Pack.head().to_vec();
        PackBuilder {
            place,
            data_key,
            directory_key,
            encs: (data_enc, directory_enc),
            padding,
            bytes,
            directory: directory::Builder::default(),
            open: OpenFrame::default(),
            limits,
        }
    }

    /// The same pack, built in a buffer that was used before; for one that has no chunks yet.
    pub fn in_buffer(mut self, mut buffer: Vec<u8>) -> PackBuilder {
        buffer.clear();
        buffer.extend_from_slice(&self.bytes);
        self.bytes = buffer;
        self
    }

    /// Its id.
    pub fn id(&self) -> PackId {
        self.place.pack
    }

    /// Takes a chunk; `refs` are the frames that the chunk refers to, for nodes of trees. A chunk has 1 to
    /// [`FRAME_BYTES_MAX`] bytes.
    pub fn append(
        &mut self,
        bench: &mut Workbench,
        chunk: ChunkId,
        plain: &[u8],
        refs: &FrameSet,
    ) -> Result<Reference, Error> {
        debug_assert!(!plain.is_empty() && plain.len() <= FRAME_BYTES_MAX, "the cutter's sizes are checked");
        if self.open.raw.len().saturating_add(plain.len()) > self.limits.frame_bytes {
            self.close_frame(bench)?;
        }
        let length = small(plain.len());
        let reference = Reference {
            pack: self.place.pack,
            ordinal: self.directory.next_ordinal(),
            offset: small(self.open.raw.len()),
            length,
            chunk,
        };
        self.open.raw.extend_from_slice(plain);
        self.open.chunks.push((chunk, length));
        self.open.refs.extend(refs);
        Ok(reference)
    }

    /// Takes a frame as it was sealed in another pack, for which no key is needed: its identity, and with it the key and the
    /// additional data that open it, stay those of `origin`. A pack holds frames of its own or moved ones.
    pub fn carry(&mut self, frame: &Frame, origin: &Origin, sealed: &[u8]) -> Result<(), Error> {
        if sealed.len() as u64 != u64::from(frame.stored_length) || origin.kind != self.place.kind {
            return Err(Malformed::new(FRAME, "what is to be moved is not what its directory says").into());
        }
        debug_assert!(self.open.chunks.is_empty(), "moved frames do not share a pack with others");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(sealed);
        self.directory.push_moved(start, frame, origin);
        Ok(())
    }

    /// Whether a moved frame of this length, sealed, still belongs in here.
    pub fn has_room_for_moved(&self, frame: &Frame) -> bool {
        let directory = self.directory.bytes_estimate(frame.chunks.len()).next_multiple_of(DIRECTORY_GRAIN);
        let parts = [self.bytes.len(), directory, frame.stored_length as usize, SEAL_OVERHEAD, TAIL_BYTES];
        parts.iter().sum::<usize>() <= self.limits.pack_bytes && self.directory.frames() < PACK_FRAMES_MAX
    }

    /// Whether a chunk of this length still belongs in here. What packs are padded to are size classes, and the length that
    /// is aimed at is one; how long the open frame will be is guessed from those before it, a quarter more.
    pub fn has_room_for(&self, length: usize) -> bool {
        let raw = self.open.raw.len().saturating_add(length) as u64;
        let sealed = (self.bytes.len() as u64).saturating_mul(raw);
        let guess =
            sealed.checked_div(self.directory.raw_bytes()).map_or(raw, |guess| guess.saturating_mul(5) / 4);
        let chunks = self.open.chunks.len().saturating_add(1);
        let directory = self.directory.bytes_estimate(chunks).next_multiple_of(DIRECTORY_GRAIN);
        let others =
            [self.bytes.len(), directory, 3 * SEAL_OVERHEAD, TAIL_BYTES].iter().sum::<usize>() as u64;
        others.saturating_add(guess.min(raw)) <= self.limits.pack_bytes as u64
            && self.directory.frames() < PACK_FRAMES_MAX.saturating_sub(1)
    }

    /// Whether it holds nothing yet.
    pub fn is_empty(&self) -> bool {
        self.open.chunks.is_empty() && self.directory.frames() == 0
    }

    /// Bytes so far, sealed and waiting.
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_add(self.open.raw.len())
    }

    /// Compresses, seals, opens again, compares.
    fn close_frame(&mut self, bench: &mut Workbench) -> Result<(), Error> {
        if self.open.chunks.is_empty() {
            return Ok(());
        }
        let (ordinal, raw_length) = (self.directory.next_ordinal(), small(self.open.raw.len()));
        let (codec, stored) = bench.compressor.compress(&self.open.raw);
        let aad = self.place.aad(ordinal, codec, raw_length);
        let start = self.bytes.len();
        self.data_key.seal(&mut self.bytes, ordinal, (bench.chance)(), &aad, stored);
        let sealed = self.bytes.get(start..).unwrap_or_default();
        self.data_key.open_again(FRAME, &mut bench.opened, ordinal, &aad, sealed)?;
        let back =
            bench.decompressor.decompress(codec, &bench.opened, self.open.raw.len(), &mut bench.raw)?;
        if back != self.open.raw {
            return Err(Malformed::new(
                FRAME,
                "it did not come back as it was sealed: check this machine's memory",
            )
            .into());
        }
        let frame = std::mem::take(&mut self.open);
        self.directory.push(start, sealed.len(), codec, raw_length, &frame.chunks, frame.refs);
        self.open.raw = frame.raw;
        self.open.raw.clear();
        Ok(())
    }

    /// Closes the pack: padding, directory, tail.
    pub fn finish(mut self, bench: &mut Workbench) -> Result<FinishedPack, Error> {
        self.close_frame(bench)?;
        let chunks = self.directory.references(self.place.pack);
        let directory = self.directory.encode(DIRECTORY_GRAIN);
        let sealed_length = directory.len().saturating_add(SEAL_OVERHEAD);
        let length = self.bytes.len().saturating_add(sealed_length).saturating_add(TAIL_BYTES);
        let class = usize::try_from(size_class(length as u64, SIZE_CLASS_MIN)).expect("packs fit in memory");
        let start = self.bytes.len();
        self.bytes.resize(start.saturating_add(class.saturating_sub(length)), 0);
        let padding = self.bytes.get_mut(start..).unwrap_or_default();
        blake3::Hasher::new_keyed(&self.padding).finalize_xof().fill(padding);
        let tail = Tail {
            kind: self.place.kind,
            generation: self.place.generation,
            repo: self.place.repo,
            domain: self.place.domain,
            pack: self.place.pack,
            data_enc: self.encs.0,
            directory_enc: self.encs.1,
            data_commitment: self.data_key.commitment(),
            directory_commitment: self.directory_key.commitment(),
            directory_length: small(sealed_length),
        };
        let random = (bench.chance)();
        self.directory_key.seal(&mut self.bytes, DIRECTORY_ORDINAL, random, &tail.identity(), &directory);
        tail.encode(&mut self.bytes);
        let hash = Hash::of(&self.bytes);
        let (id, kind) = (self.place.pack, self.place.kind);
        Ok(FinishedPack { id, kind, object: Sealed::new(self.bytes), hash, chunks })
    }
}

fn small(length: usize) -> u32 {
    u32::try_from(length).expect("limits keep frames and directories below 4 GiB")
}

/// Opens frames of one origin.
pub struct FrameOpener {
    place: Place,
    key: SealKey,
}

impl FrameOpener {
    /// Decapsulates the data key of `origin` with the keys of `bundle`.
    pub fn new(
        origin: &Origin,
        repo: RepoId,
        domain: DomainId,
        bundle: &Bundle,
    ) -> Result<FrameOpener, Error> {
        let place =
            Place { kind: origin.kind, repo, domain, generation: origin.generation, pack: origin.pack };
        let generation = bundle.generation(origin.generation)?;
        let secret = generation.data.as_ref().ok_or(Error::NoKey("reading"))?;
        let key = secret.decapsulate(&place.info("seawall 1 data"), &origin.data_enc)?;
        key.check(FRAME, &origin.commitment)?;
        Ok(FrameOpener { place, key })
    }

    /// The raw bytes of `frame`, whose sealed bytes these are; they lie in one of the buffers.
    pub fn open<'b>(
        &self,
        frame: &Frame,
        sealed: &[u8],
        decompressor: &mut Decompressor,
        (opened, raw): (&'b mut Vec<u8>, &'b mut Vec<u8>),
    ) -> Result<&'b [u8], Error> {
        if sealed.len() as u64 != u64::from(frame.stored_length) {
            return Err(Malformed::new(FRAME, "it is not as long as its directory says").into());
        }
        let aad = self.place.aad(frame.ordinal, frame.codec, frame.raw_length);
        self.key.open_again(FRAME, opened, frame.ordinal, &aad, sealed)?;
        Ok(decompressor.decompress(frame.codec, opened, frame.raw_length as usize, raw)?)
    }
}

/// The chunk that `reference` leads to within the raw frame, after its id was checked.
pub fn chunk_of<'r>(reference: &Reference, raw: &'r [u8], chunk_key: &[u8; 32]) -> Result<&'r [u8], Error> {
    let start = reference.offset as usize;
    let end = start.saturating_add(reference.length as usize);
    let chunk =
        raw.get(start..end).ok_or_else(|| Malformed::new("a reference", "it leads outside its frame"))?;
    if chunk_id(chunk_key, chunk) != reference.chunk {
        return Err(Error::Altered("a chunk"));
    }
    Ok(chunk)
}

/// The id of a chunk: keyed BLAKE3.
pub fn chunk_id(chunk_key: &[u8; 32], plain: &[u8]) -> ChunkId {
    ChunkId(*blake3::keyed_hash(chunk_key, plain).as_bytes())
}

#[cfg(test)]
pub(crate) mod tests;
