//! Runs: sorted pieces of the chunk index, so that a writer finds in memory which chunks are already stored; section 7
//! of `docs/format.md`.
//!
//! A run saves time and proves nothing: what it says is in the directories too, and whoever follows it compares the
//! chunk id. Half a chunk id is kept, which chance does not hit twice. Runs are sealed with the index key, because a
//! list of chunk ids lets its holder test guesses about content.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;

use crate::cbor::{self, Fixed, Malformed};
use crate::error::Error;
use crate::id::{ChunkHalf, ChunkId, DomainId, PackId, RepoId, RunId, SessionId, WriterId};
use crate::key::{Bundle, Generation};
use crate::limit::{FRAME_BYTES_MAX, PACK_FRAMES_MAX, RUN_BYTES_MAX};
use crate::object::{ObjectKind, SIZE_CLASS_MIN, Sealed, size_class};
use crate::reference::{FrameId, Reference};
use crate::seal::{SEAL_OVERHEAD, SealKey};

const WHAT: &str = "a run";

/// Plain bytes of a block: sealed and opened at once.
const BLOCK_BYTES_MAX: usize = 1 << 20;

/// Bytes of the clear record; it has fewer than 200.
const HEAD_BYTES_MAX: usize = 4096;

/// Bytes of an entry, and of a pack id.
const ROW_BYTES: usize = 32;

/// Numbers of packs and entries.
const COUNTS_BYTES: usize = 12;

/// Packs and entries of a run together: half of its bytes, so that seals and the size class find room.
pub const RUN_ROWS_MAX: usize = 1 << 24;

const _: () =
    assert!(RUN_ROWS_MAX as u64 * ROW_BYTES as u64 * 2 <= RUN_BYTES_MAX, "a full run must be readable");

/// What a run says in the clear: whose it is and what can open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RunHead {
    /// The repository.
    #[n(0)]
    pub repo: RepoId,
    /// The domain whose chunks it lists.
    #[n(1)]
    pub domain: DomainId,
    /// The key generation that named those chunks and seals this.
    #[n(2)]
    pub generation: u32,
    /// Who wrote it.
    #[n(3)]
    pub writer: WriterId,
    /// The session that wrote it.
    #[n(4)]
    pub session: SessionId,
    /// The run.
    #[n(5)]
    pub run: RunId,
    /// The generation of the cutter that cut the chunks.
    #[n(6)]
    pub cutter: u32,
}

/// The clear record: the head, and what the key is found with.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Record {
    #[n(0)]
    repo: RepoId,
    #[n(1)]
    domain: DomainId,
    #[n(2)]
    generation: u32,
    #[n(3)]
    writer: WriterId,
    #[n(4)]
    session: SessionId,
    #[n(5)]
    run: RunId,
    #[n(6)]
    cutter: u32,
    #[n(7)]
    salt: Fixed<32>,
    #[n(8)]
    commitment: Fixed<32>,
}

impl Record {
    fn new(head: &RunHead, salt: [u8; 32], commitment: [u8; 32]) -> Record {
        let &RunHead { repo, domain, generation, writer, session, run, cutter } = head;
        let (salt, commitment) = (Fixed(salt), Fixed(commitment));
        Record { repo, domain, generation, writer, session, run, cutter, salt, commitment }
    }

    fn head(&self) -> RunHead {
        let &Record { repo, domain, generation, writer, session, run, cutter, .. } = self;
        RunHead { repo, domain, generation, writer, session, run, cutter }
    }
}

fn seal_key(head: &RunHead, keys: &Generation, salt: &[u8; 32]) -> Result<SealKey, Error> {
    let index = keys.index.as_ref().ok_or(Error::NoKey("finding chunks of earlier backups"))?;
    let generation = head.generation.to_le_bytes();
    let parts: [&[u8]; 5] = [&index[..], head.repo.as_bytes(), head.domain.as_bytes(), &generation, salt];
    Ok(SealKey::derive("seawall 1 run", &parts))
}

/// A chunk and a place of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunEntry {
    /// The first half of the chunk id.
    pub chunk: ChunkHalf,
    /// The frame, by its origin.
    pub frame: FrameId,
    /// First byte in the raw frame.
    pub offset: u32,
    /// Length in bytes.
    pub length: u32,
}

impl RunEntry {
    /// A reference to the chunk, whose first half of its id this entry has.
    fn reference(&self, chunk: &ChunkId) -> Reference {
        let FrameId { pack, ordinal } = self.frame;
        Reference { pack, ordinal, offset: self.offset, length: self.length, chunk: *chunk }
    }
}

impl From<&Reference> for RunEntry {
    fn from(reference: &Reference) -> RunEntry {
        RunEntry {
            chunk: reference.chunk.half(),
            frame: reference.frame(),
            offset: reference.offset,
            length: reference.length,
        }
    }
}

/// An entry as it is stored, but for the byte order of numbers.
#[derive(Clone, Copy)]
struct Row {
    chunk: ChunkHalf,
    pack: u32,
    ordinal: u32,
    offset: u32,
    length: u32,
}

impl Row {
    fn to_bytes(self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        let numbers = [self.pack, self.ordinal, self.offset, self.length].map(u32::to_le_bytes);
        for (to, from) in bytes.iter_mut().zip(self.chunk.iter().chain(numbers.as_flattened())) {
            *to = *from;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; ROW_BYTES]) -> Row {
        let (chunk, rest) = bytes.split_first_chunk().expect("a row is longer than half a chunk id");
        let (numbers, _) = rest.as_chunks();
        let number = |n: usize| u32::from_le_bytes(numbers.get(n).copied().unwrap_or_default());
        Row { chunk: *chunk, pack: number(0), ordinal: number(1), offset: number(2), length: number(3) }
    }

    fn is_possible(&self, packs: usize) -> bool {
        let end = u64::from(self.offset).saturating_add(u64::from(self.length));
        (self.pack as usize) < packs
            && (self.ordinal as usize) < PACK_FRAMES_MAX
            && self.length > 0
            && end <= FRAME_BYTES_MAX as u64
    }
}

/// Gathers entries in any order, and makes a run of them.
pub struct RunBuilder {
    head: RunHead,
    packs: BTreeMap<PackId, u32>,
    rows: Vec<Row>,
    rows_max: usize,
}

impl RunBuilder {
    /// A run without entries.
    pub fn new(head: RunHead) -> RunBuilder {
        RunBuilder { head, packs: BTreeMap::new(), rows: Vec::new(), rows_max: RUN_ROWS_MAX }
    }

    /// Adds a place of a chunk. Repetitions disappear.
    ///
    /// # Errors
    /// [`Malformed`] for a place that cannot be, or if the run is full.
    pub fn push(&mut self, entry: &RunEntry) -> Result<(), Error> {
        if self.is_full() {
            return Err(Malformed::new(WHAT, "more entries than a run may have").into());
        }
        let known = u32::try_from(self.packs.len()).expect("fewer packs than rows of a run");
        let row = Row {
            chunk: entry.chunk,
            pack: self.packs.get(&entry.frame.pack).copied().unwrap_or(known),
            ordinal: entry.frame.ordinal,
            offset: entry.offset,
            length: entry.length,
        };
        if !row.is_possible(usize::MAX) {
            return Err(Malformed::new(WHAT, "an entry that leads to where no chunk can be").into());
        }
        self.packs.entry(entry.frame.pack).or_insert(known);
        self.rows.push(row);
        Ok(())
    }

    /// Whether nothing more may be added; what is left over goes to another run.
    pub fn is_full(&self) -> bool {
        self.packs.len().saturating_add(self.rows.len()) >= self.rows_max.saturating_sub(1)
    }

    /// How many entries were added.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The object, sealed with the index key in `keys`.
    ///
    /// # Errors
    /// [`Error::NoKey`] if `keys` have no index key.
    pub fn finish(mut self, keys: &Generation, rng: &mut dyn CryptoRng) -> Result<Sealed, Error> {
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        let key = seal_key(&self.head, keys, &salt)?;
        let record = cbor::encode(&Record::new(&self.head, salt, key.commitment()));
        let plain = self.plain();
        let blocks = plain.len().div_ceil(BLOCK_BYTES_MAX).saturating_mul(SEAL_OVERHEAD.saturating_add(4));
        let mut out = Vec::with_capacity(HEAD_BYTES_MAX.saturating_add(plain.len()).saturating_add(blocks));
        out.extend_from_slice(&ObjectKind::Run.head());
        out.extend_from_slice(&length_bytes(record.len()));
        out.extend_from_slice(&record);
        for (ordinal, block) in (0..).zip(plain.chunks(BLOCK_BYTES_MAX)) {
            let mut random = [0; 8];
            rng.fill_bytes(&mut random);
            out.extend_from_slice(&length_bytes(block.len().saturating_add(SEAL_OVERHEAD)));
            key.seal(&mut out, ordinal, random, &record, block);
        }
        Ok(Sealed::new(out))
    }

    fn plain(&mut self) -> Vec<u8> {
        self.sort();
        let length = plain_length(self.packs.len(), self.rows.len()).expect("a full run has far fewer bytes");
        let mut plain = Vec::with_capacity(length);
        plain.extend_from_slice(&length_bytes(self.packs.len()));
        plain.extend_from_slice(&(self.rows.len() as u64).to_le_bytes());
        self.packs.keys().for_each(|pack| plain.extend_from_slice(pack.as_bytes()));
        self.rows.iter().for_each(|row| plain.extend_from_slice(&row.to_bytes()));
        plain.resize(length, 0);
        plain
    }

    /// Numbers packs in order of their ids, and puts rows in order.
    fn sort(&mut self) {
        let mut renumbered = vec![0; self.packs.len()];
        for (number, known) in (0u32..).zip(self.packs.values()) {
            if let Some(place) = renumbered.get_mut(*known as usize) {
                *place = number;
            }
        }
        for row in &mut self.rows {
            row.pack = renumbered.get(row.pack as usize).copied().expect("each row's pack was numbered");
        }
        self.rows.sort_by_key(|row| row.to_bytes());
        self.rows.dedup_by_key(|row| row.to_bytes());
    }
}

fn length_bytes(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("lengths in a run are far below 4 GiB").to_le_bytes()
}

/// Plain bytes of a run with so many rows, with their padding; `None` if there is no such number.
fn plain_length(packs: usize, entries: usize) -> Option<usize> {
    let rows = packs.checked_add(entries)?.checked_mul(ROW_BYTES)?;
    let length = rows.checked_add(COUNTS_BYTES)?;
    usize::try_from(size_class(length as u64, SIZE_CLASS_MIN)).ok()
}

/// An open run.
pub struct Run {
    head: RunHead,
    packs: Vec<PackId>,
    plain: Vec<u8>,
    /// Where entries are in `plain`.
    entries: std::ops::Range<usize>,
}

impl Run {
    /// Opens a run with the keys in `bundle`.
    ///
    /// # Errors
    /// [`Error::Foreign`] for a run of another repository or domain, [`Error::NoKey`] and [`Error::WrongKey`] for one
    /// that this bundle does not open, [`Error::Altered`] and [`Error::Malformed`] for damage.
    pub fn open(bytes: &[u8], bundle: &Bundle) -> Result<Run, Error> {
        let (record, raw, blocks) = split(bytes)?;
        let head = record.head();
        if (head.repo, head.domain) != (bundle.repo, bundle.domain) {
            return Err(Error::Foreign(WHAT));
        }
        let key = seal_key(&head, bundle.generation(head.generation)?, &record.salt.0)?;
        key.check(WHAT, &record.commitment.0)?;
        Ok(Run::parse(head, open_blocks(&key, raw, blocks)?)?)
    }

    /// What a run says of itself before it was opened, so nothing of it is proved.
    pub fn head_of(bytes: &[u8]) -> Result<RunHead, Error> {
        split(bytes).map(|(record, _, _)| record.head())
    }

    /// What the run says of itself; whoever got it from a store compares it with its name there.
    pub fn head(&self) -> &RunHead {
        &self.head
    }

    /// The packs that its entries lead to, sorted.
    pub fn packs(&self) -> &[PackId] {
        &self.packs
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.rows().is_empty()
    }

    /// All entries, by rising chunk: for merging, and for filters.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = RunEntry> {
        self.rows().iter().map(|bytes| self.entry(bytes))
    }

    /// A place of the chunk; whoever cannot use it asks for all [`Run::places`].
    pub fn lookup(&self, chunk: &ChunkId) -> Option<Reference> {
        self.places(chunk).next()
    }

    /// All places of the chunk that the run knows.
    pub fn places(&self, chunk: &ChunkId) -> impl Iterator<Item = Reference> {
        let (rows, wanted) = (self.rows(), chunk.half());
        let start = rows.partition_point(|row| row.as_slice() < wanted.as_slice());
        let found = rows.iter().skip(start).take_while(move |row| row.starts_with(&wanted));
        let chunk = *chunk;
        found.map(move |bytes| self.entry(bytes).reference(&chunk))
    }

    fn rows(&self) -> &[[u8; ROW_BYTES]] {
        self.plain.get(self.entries.clone()).unwrap_or_default().as_chunks().0
    }

    fn entry(&self, bytes: &[u8; ROW_BYTES]) -> RunEntry {
        let Row { chunk, pack, ordinal, offset, length } = Row::from_bytes(bytes);
        let pack = *self.packs.get(pack as usize).expect("checked when the run was opened");
        RunEntry { chunk, frame: FrameId { pack, ordinal }, offset, length }
    }

    fn parse(head: RunHead, plain: Vec<u8>) -> Result<Run, Malformed> {
        let wrong = |why: &str| Malformed::new(WHAT, why);
        let (counts, rest) = plain.split_first_chunk().ok_or_else(|| wrong("shorter than its counts"))?;
        let (packs, entries) = read_counts(counts).ok_or_else(|| wrong("too many entries"))?;
        if plain_length(packs, entries) != Some(plain.len()) {
            return Err(wrong("not as long as its counts say"));
        }
        let rows = packs.saturating_add(entries);
        let (used, padding) = rest.split_at_checked(rows.saturating_mul(ROW_BYTES)).unwrap_or((rest, &[]));
        let (pack_rows, rows) =
            used.as_chunks().0.split_at_checked(packs).ok_or_else(|| wrong("no packs"))?;
        let packs: Vec<PackId> = pack_rows.iter().copied().map(PackId).collect();
        if padding.iter().any(|&b| b != 0) || !packs.is_sorted_by(|a, b| a < b) {
            return Err(wrong("its padding is not zero, or its packs are not sorted"));
        }
        check_rows(rows, packs.len())?;
        let start = COUNTS_BYTES.saturating_add(packs.len().saturating_mul(ROW_BYTES));
        let end = start.saturating_add(rows.len().saturating_mul(ROW_BYTES));
        Ok(Run { head, packs, plain, entries: start..end })
    }
}

/// The numbers of packs and entries.
fn read_counts(bytes: &[u8; COUNTS_BYTES]) -> Option<(usize, usize)> {
    let (packs, rest) = bytes.split_first_chunk()?;
    let packs = usize::try_from(u32::from_le_bytes(*packs)).ok()?;
    let entries = usize::try_from(u64::from_le_bytes(*rest.first_chunk()?)).ok()?;
    (packs.checked_add(entries)? <= RUN_ROWS_MAX).then_some((packs, entries))
}

fn check_rows(rows: &[[u8; ROW_BYTES]], packs: usize) -> Result<(), Malformed> {
    if !rows.is_sorted_by(|a, b| a < b) {
        return Err(Malformed::new(WHAT, "its entries are not in order"));
    }
    if !rows.iter().all(|bytes| Row::from_bytes(bytes).is_possible(packs)) {
        return Err(Malformed::new(WHAT, "an entry leads to where no chunk can be"));
    }
    Ok(())
}

/// The record, its bytes, and the blocks after it.
fn split(bytes: &[u8]) -> Result<(Record, &[u8], &[u8]), Error> {
    if bytes.len() as u64 > RUN_BYTES_MAX {
        return Err(Malformed::new(WHAT, "longer than a run may be").into());
    }
    let rest = ObjectKind::Run.strip(bytes)?;
    let (raw, blocks) = take_piece(rest, HEAD_BYTES_MAX)?;
    Ok((cbor::decode(WHAT, raw)?, raw, blocks))
}

/// A length, so many bytes, and the rest.
fn take_piece(bytes: &[u8], most: usize) -> Result<(&[u8], &[u8]), Malformed> {
    let (length, rest) = bytes.split_first_chunk().ok_or_else(|| Malformed::new(WHAT, "cut short"))?;
    match usize::try_from(u32::from_le_bytes(*length)) {
        Ok(length) if length <= most => {
            rest.split_at_checked(length).ok_or_else(|| Malformed::new(WHAT, "cut short"))
        }
        _ => Err(Malformed::new(WHAT, "a piece is longer than it may be")),
    }
}

fn open_blocks(key: &SealKey, record: &[u8], mut blocks: &[u8]) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::with_capacity(blocks.len());
    let mut ordinal = 0u32;
    while !blocks.is_empty() {
        let (sealed, rest) = take_piece(blocks, BLOCK_BYTES_MAX.saturating_add(SEAL_OVERHEAD))?;
        key.open(WHAT, &mut plain, ordinal, record, sealed)?;
        ordinal = ordinal.checked_add(1).ok_or_else(|| Malformed::new(WHAT, "too many blocks"))?;
        blocks = rest;
    }
    Ok(plain)
}

#[cfg(test)]
mod tests;
