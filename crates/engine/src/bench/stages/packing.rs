//! From bytes to packs and from packs to files, one stage at a time.

use std::collections::HashSet;
use std::hint::black_box;
use std::path::Path;

use format::compress::{Codec, Compressor, Decompressor, Effort};
use format::cutter::{Cutter, Sizes, Stream};
use format::id::{ChunkId, DomainId, Hash, PackId, SessionId};
use format::key::Generation;
use format::limit::{FRAME_BYTES_MAX, PACK_BYTES_TARGET};
use format::local::LocalKey;
use format::pack::chunk_of;
use format::reference::Reference;
use format::tree::INLINE_BYTES_MAX;
use repo::{Repo, Writer};
use world::World;

use super::Spent;
use super::output::Output;
use super::reading::{Extent, Part, Unit};
use crate::budget::ZEROS_BYTES_MIN;
use crate::error::Error;

/// What errors call what is opened.
const FRAME: &str = "a frame";

/// Packs that are kept to be stored in the end: as many as a backup has in flight.
const KEPT_PACKS: usize = 4;

/// What the stages cost that need neither source nor place.
#[derive(Default)]
pub(super) struct Costs {
    pub(super) cut: Spent,
    pub(super) name: Spent,
    pub(super) find: Spent,
    pub(super) compress: Spent,
    pub(super) seal: Spent,
    pub(super) again: Spent,
    pub(super) hash: Spent,
    pub(super) open: Spent,
    pub(super) decompress: Spent,
    pub(super) check: Spent,
    pub(super) write: Spent,
}

/// Packs that were made.
#[derive(Default)]
pub(super) struct Packs {
    /// Some of them.
    pub(super) material: Vec<Vec<u8>>,
    /// Bytes of all of them.
    pub(super) bytes: u64,
}

/// A chunk: where it belongs in its file, and where it is in its unit or frame.
#[derive(Clone, Copy)]
struct Chunk {
    file: usize,
    offset: u64,
    start: usize,
    length: usize,
}

impl Chunk {
    fn within<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.start..self.start + self.length).expect("chunks lie in what was cut")
    }
}

/// A frame in the pack.
struct Frame {
    start: usize,
    end: usize,
    codec: Codec,
    raw_length: usize,
    chunks: Vec<(Chunk, ChunkId)>,
}

/// Everything that a unit meets on its way.
pub(super) struct Line<'w, 'r> {
    repo: &'r Repo,
    world: &'w World,
    writer: &'w Writer<'r>,
    cutter: Cutter,
    compressor: Compressor,
    decompressor: Decompressor,
    opened: Vec<u8>,
    raw_again: Vec<u8>,
    seen: HashSet<ChunkId>,
    raw: Vec<u8>,
    chunks: Vec<(Chunk, ChunkId)>,
    id: PackId,
    keys: Generation,
    key: LocalKey,
    pack: Vec<u8>,
    frames: Vec<Frame>,
    output: Output,
    costs: Costs,
    packs: Packs,
}

/// The id of a pack, and a key that seals as that of a pack does.
fn fresh_pack(repo: &Repo, keys: &Generation) -> (PackId, LocalKey) {
    let mut chance = repo.world().chance();
    let id = PackId::new(SessionId(chance.bytes()), chance.bytes());
    let key = LocalKey::new(repo.genesis().id, DomainId([0; 16]), keys, &chance.bytes());
    (id, key.expect("fresh keys have a chunk key"))
}

impl<'w, 'r> Line<'w, 'r> {
    pub(super) fn new(repo: &'r Repo, writer: &'w Writer<'r>, into: &Path) -> Result<Line<'w, 'r>, Error>
    where
        'r: 'w,
    {
        let sizes = repo.genesis().chunks;
        let sizes = Sizes::new(sizes.min, sizes.normal, sizes.max)
            .map_err(|error| Error::Request(format!("this repository cannot be written to: {error}")))?;
        let keys = Generation::fresh(0, &mut repo.world().chance());
        let (id, key) = fresh_pack(repo, &keys);
        Ok(Line {
            repo,
            world: repo.world(),
            writer,
            cutter: Cutter::new(writer.chunk_key(), sizes),
            compressor: Compressor::new(Effort::Standard),
            decompressor: Decompressor::default(),
            opened: Vec::new(),
            raw_again: Vec::new(),
            seen: HashSet::new(),
            raw: Vec::with_capacity(FRAME_BYTES_MAX),
            chunks: Vec::new(),
            id,
            keys,
            key,
            pack: Vec::with_capacity(PACK_BYTES_TARGET),
            frames: Vec::new(),
            output: Output::open(into)?,
            costs: Costs::default(),
            packs: Packs::default(),
        })
    }

    /// Takes a unit through all stages; answers what is left over of a segment.
    pub(super) fn take(&mut self, unit: &mut Unit) -> Result<Vec<u8>, Error> {
        for (path, meta) in &unit.files {
            self.output.expect(path.clone(), meta.clone());
        }
        let (chunks, rest) = self.cut(unit)?;
        let named = self.name(unit, &chunks)?;
        self.find(&named)?;
        for (chunk, id) in named {
            if self.seen.insert(id) {
                self.append(chunk, id, chunk.within(&unit.bytes))?;
            } else {
                self.give_again(chunk, id, chunk.within(&unit.bytes))?;
            }
        }
        Ok(unit.bytes.split_off(rest))
    }

    /// Ends the last pack; what all of it cost.
    pub(super) fn finish(mut self) -> Result<(Costs, Packs), Error> {
        self.close_frame()?;
        self.end_pack()?;
        self.costs.write.on(self.world, 0, || self.output.sync())?;
        Ok((self.costs, self.packs))
    }

    /// Cuts a unit; what begins at the second answer has no cut yet.
    fn cut(&mut self, unit: &Unit) -> Result<(Vec<Chunk>, usize), Error> {
        let (mut chunks, mut rest) = (Vec::new(), unit.bytes.len());
        let short = |part: &&Part| part.extent == Extent::Whole && part.length <= INLINE_BYTES_MAX;
        let long: Vec<&Part> = unit.parts.iter().filter(|part| !short(part)).collect();
        let cutter = &self.cutter;
        let carried = long
            .iter()
            .map(|part| if let Extent::Segment { carried, .. } = part.extent { carried } else { 0 });
        let fresh = long.iter().map(|part| part.length).sum::<usize>() - carried.sum::<usize>();
        self.costs.cut.on(self.world, fresh, || {
            for part in &long {
                let bytes = unit.bytes.get(part.start..part.start + part.length).unwrap_or_default();
                rest = part.start + cut_part(cutter, part, bytes, &mut chunks);
            }
        });
        // The shortest files are kept in the tree itself, so of theirs nothing is left but writing it.
        for part in unit.parts.iter().filter(short) {
            let bytes = unit.bytes.get(part.start..part.start + part.length).unwrap_or_default();
            self.costs.write.on(self.world, bytes.len(), || self.output.write(part.file, 0, bytes))?;
        }
        let has_rest = long.last().is_some_and(|part| part.start + part.length == unit.bytes.len());
        Ok((chunks, if has_rest { rest } else { unit.bytes.len() }))
    }

    /// Names chunks; those of zeros get no name, as they are stored nowhere.
    fn name(&mut self, unit: &Unit, chunks: &[Chunk]) -> Result<Vec<(Chunk, ChunkId)>, Error> {
        let bytes = chunks.iter().map(|chunk| chunk.length).sum();
        let (writer, mut zeros) = (self.writer, Vec::new());
        let named = self.costs.name.on(self.world, bytes, || {
            let name = |chunk: &Chunk| {
                let plain = chunk.within(&unit.bytes);
                if plain.len() >= ZEROS_BYTES_MIN && plain.iter().all(|byte| *byte == 0) {
                    zeros.push(*chunk);
                    return None;
                }
                Some((*chunk, writer.chunk_id(plain)))
            };
            chunks.iter().filter_map(name).collect::<Vec<_>>()
        });
        for chunk in zeros {
            self.output.settle(chunk.file, chunk.length as u64)?;
        }
        Ok(named)
    }

    fn find(&mut self, named: &[(Chunk, ChunkId)]) -> Result<(), Error> {
        let bytes = named.iter().map(|(chunk, _)| chunk.length).sum();
        let writer = self.writer;
        self.costs.find.on(self.world, bytes, || {
            named.iter().try_for_each(|(_, id)| {
                writer.find(id).map(|found| {
                    black_box(found);
                })
            })
        })?;
        Ok(())
    }

    fn append(&mut self, chunk: Chunk, id: ChunkId, plain: &[u8]) -> Result<(), Error> {
        if self.raw.len() + plain.len() > FRAME_BYTES_MAX {
            self.close_frame()?;
        }
        self.chunks.push((Chunk { start: self.raw.len(), ..chunk }, id));
        self.raw.extend_from_slice(plain);
        Ok(())
    }

    /// What is there already costs a backup no more, but a restore checks and writes it like everything else.
    fn give_again(&mut self, chunk: Chunk, id: ChunkId, plain: &[u8]) -> Result<(), Error> {
        let is_right = self.costs.check.on(self.world, plain.len(), || self.writer.chunk_id(plain) == id);
        debug_assert!(is_right, "the same bytes have the same name");
        self.costs.write.on(self.world, plain.len(), || self.output.write(chunk.file, chunk.offset, plain))
    }

    /// Compresses and seals a frame, opens it again and compares.
    fn close_frame(&mut self) -> Result<(), Error> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        if self.pack.len() + self.raw.len() > PACK_BYTES_TARGET {
            self.end_pack()?;
        }
        let (world, costs, raw) = (self.world, &mut self.costs, &self.raw);
        let (key, pack, opened, again) = (&self.key, &mut self.pack, &mut self.opened, &mut self.raw_again);
        let ordinal = u32::try_from(self.frames.len()).expect("a pack has few frames");
        let start = pack.len();
        let compressor = &mut self.compressor;
        let (codec, stored) = costs.compress.on(world, raw.len(), || compressor.compress(raw));
        costs.seal.on(world, stored.len(), || {
            key.seal(pack, ordinal, world.chance().bytes(), stored);
        });
        let sealed = pack.get(start..).unwrap_or_default();
        let decompressor = &mut self.decompressor;
        let is_same = costs.again.on(world, raw.len(), || -> Result<bool, Error> {
            key.open(opened, ordinal, sealed).map_err(unopened)?;
            Ok(decompressor.decompress(codec, opened, raw.len(), again)? == raw)
        })?;
        if !is_same {
            return Err(unopened(format::Error::Altered(FRAME)));
        }
        let chunks = std::mem::take(&mut self.chunks);
        self.frames.push(Frame { start, end: pack.len(), codec, raw_length: raw.len(), chunks });
        self.raw.clear();
        Ok(())
    }

    /// Hashes the pack, and does with it what a restore does.
    fn end_pack(&mut self) -> Result<(), Error> {
        if self.pack.is_empty() {
            return Ok(());
        }
        let pack = std::mem::take(&mut self.pack);
        black_box(self.costs.hash.on(self.world, pack.len(), || Hash::of(&pack)));
        for (ordinal, frame) in std::mem::take(&mut self.frames).into_iter().enumerate() {
            self.restore(&pack, u32::try_from(ordinal).expect("a pack has few frames"), &frame)?;
        }
        self.packs.bytes += pack.len() as u64;
        if self.packs.material.len() < KEPT_PACKS {
            self.packs.material.push(pack);
            self.pack = Vec::with_capacity(PACK_BYTES_TARGET);
        } else {
            self.pack = pack;
            self.pack.clear();
        }
        (self.id, self.key) = fresh_pack(self.repo, &self.keys);
        Ok(())
    }

    fn restore(&mut self, pack: &[u8], ordinal: u32, frame: &Frame) -> Result<(), Error> {
        let (world, costs) = (self.world, &mut self.costs);
        let (key, opened) = (&self.key, &mut self.opened);
        let sealed = pack.get(frame.start..frame.end).unwrap_or_default();
        let open = || key.open(opened, ordinal, sealed);
        costs.open.on(world, sealed.len(), open).map_err(unopened)?;
        let (opened, decompressor, again) = (&self.opened, &mut self.decompressor, &mut self.raw_again);
        let raw = costs.decompress.on(world, frame.raw_length, || {
            decompressor.decompress(frame.codec, opened, frame.raw_length, again)
        })?;
        let (id, chunk_key) = (self.id, self.writer.chunk_key());
        costs
            .check
            .on(world, frame.raw_length, || {
                frame.chunks.iter().try_for_each(|(chunk, name)| {
                    let reference = reference(id, ordinal, chunk, *name);
                    chunk_of(&reference, raw, chunk_key).map(drop)
                })
            })
            .map_err(unopened)?;
        let output = &mut self.output;
        costs.write.on(world, frame.raw_length, || {
            let lies_behind = |a: &(Chunk, ChunkId), b: &(Chunk, ChunkId)| {
                a.0.file == b.0.file && a.0.offset + a.0.length as u64 == b.0.offset
            };
            frame.chunks.chunk_by(lies_behind).try_for_each(|run| {
                let Some((first, _)) = run.first() else { return Ok(()) };
                let length = run.iter().map(|(chunk, _)| chunk.length).sum();
                output.write(first.file, first.offset, Chunk { length, ..*first }.within(raw))
            })
        })
    }
}

/// Appends the chunks of a part; answers where in it the last one ends.
fn cut_part(cutter: &Cutter, part: &Part, bytes: &[u8], chunks: &mut Vec<Chunk>) -> usize {
    let mut at = 0;
    let mut push = |to: usize| {
        let (offset, start) = (part.offset + at as u64, part.start + at);
        chunks.push(Chunk { file: part.file, offset, start, length: to - at });
        at = to;
    };
    match part.extent {
        Extent::Whole => {
            let mut to = 0;
            while let Some(length) = cutter.next_cut(bytes.get(to..).unwrap_or_default(), Stream::EndsHere) {
                to += length;
                push(to);
            }
        }
        Extent::Segment { carried, is_last } => {
            let stream = if is_last { Stream::EndsHere } else { Stream::GoesOn };
            let fresh = bytes.get(carried..).unwrap_or_default();
            let segment = cutter.cut_segment(part.offset + carried as u64, fresh, stream);
            for cut in cutter.stitch(bytes, &segment).cuts {
                push(usize::try_from(cut - part.offset).unwrap_or(bytes.len()));
            }
        }
    }
    at
}

fn reference(pack: PackId, ordinal: u32, chunk: &Chunk, name: ChunkId) -> Reference {
    let small = |number: usize| u32::try_from(number).expect("a frame is small");
    Reference { pack, ordinal, offset: small(chunk.start), length: small(chunk.length), chunk: name }
}

/// What was sealed a moment ago and does not open.
fn unopened(error: format::Error) -> Error {
    Error::Request(format!("{error}, though it was sealed here just now: check this machine's memory"))
}
