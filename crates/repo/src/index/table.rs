//! A table: places of chunks by rising id, in a sealed file of the local state that is read a block at a time.
//!
//! In memory stay, for a million rows: filters, one for each million at most (1.13 MB; binary fuse, Graf and Lemire,
//! 2022), eight bytes of the first id of each block (258 kB), and the packs (32 bytes each). A look-up of a chunk that the table does
//! not have ends at the filter 255 times of 256; one that it has reads and opens one block of 1 KiB.
//!
//! The file: a block with the magic and the salt of its key; blocks of [`ROWS_IN_BLOCK`] rows, each sealed by its
//! number; the tail (what stays in memory, and the runs whose rows these are) in sealed pieces whose numbers go on; two
//! numbers in the clear that say where the tail is. Whatever does not open is no table, and is made anew from the region.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use format::id::{ChunkId, DomainId, PackId, RepoId, RunId};
use format::key::Generation;
use format::local::{LOCAL_OVERHEAD, LocalKey};
use format::reference::Reference;
use world::World;
use xorf::{BinaryFuse8, Descriptor, Filter};

use super::row::{ROW_BYTES, Row, key};

const MAGIC: &[u8; 16] = b"seawall chunks 1";

/// Bytes of a block in the file: opening a whole page of 4 KiB takes most of a look-up, and a fence for each costs little.
const BLOCK_BYTES: usize = 1024;

/// The rows that fit into one.
const ROWS_IN_BLOCK: usize = (BLOCK_BYTES - LOCAL_OVERHEAD) / ROW_BYTES;

/// Blocks that share a filter: a million rows, so that building one takes 35 MB for a moment.
const BLOCKS_IN_FILTER: usize = 1_000_000 / ROWS_IN_BLOCK;

/// Plain bytes of a piece of the tail.
const PIECE_BYTES: usize = 1 << 20;

/// The numbers at the end: of rows, and of plain bytes of the tail.
const END_BYTES: usize = 16;

/// Fewer keys get no filter: it would save less than it costs.
const FILTER_KEYS_MIN: usize = 64;

/// Blocks that are read together by whoever reads all.
const BLOCKS_AT_ONCE: usize = 256;

/// Why a table cannot be used.
pub(super) type Bad = Box<dyn std::error::Error + Send + Sync>;

/// What seals tables: those of another repository, or of older keys, do not open.
pub(super) struct Keys {
    pub(super) repo: RepoId,
    pub(super) domain: DomainId,
    pub(super) generation: Generation,
    pub(super) world: World,
}

impl Keys {
    fn of_file(&self, salt: &[u8; 32]) -> Result<LocalKey, format::Error> {
        LocalKey::new(self.repo, self.domain, &self.generation, salt)
    }
}

/// Where its blocks are.
enum Place {
    File(File),
    /// Where no file could be written.
    Memory(Vec<u8>),
}

impl Place {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Place::File(file) => file.read_exact_at(bytes, offset),
            Place::Memory(all) => {
                let at = usize::try_from(offset).map_err(io::Error::other)?;
                let from = all.get(at..at.saturating_add(bytes.len()));
                bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// What stays in memory.
#[derive(Default)]
struct Known {
    rows: u64,
    packs: Vec<PackId>,
    runs: Vec<RunId>,
    /// The key of each block's first row.
    fences: Vec<u64>,
    /// For each [`BLOCKS_IN_FILTER`] blocks; none where there are few rows, or none could be built.
    filters: Vec<Option<BinaryFuse8>>,
}

/// An open table.
pub(super) struct Table {
    /// Where it lies; whoever no longer needs it removes it.
    pub(super) path: PathBuf,
    place: Place,
    key: LocalKey,
    known: Known,
}

impl Table {
    /// Opens a file.
    pub(super) fn open(keys: &Keys, path: PathBuf) -> Result<Table, Bad> {
        let mut file = open(&path)?;
        let mut salt = [0; 32];
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        file.read_exact(&mut salt)?;
        if magic != *MAGIC {
            return Err("it does not begin as a table does".into());
        }
        let key = keys.of_file(&salt)?;
        let length = file.seek(SeekFrom::End(0))?;
        let known = Known::read(&file, length, &key)?;
        Ok(Table { path, place: Place::File(file), key, known })
    }

    /// The runs whose rows it has.
    pub(super) fn runs(&self) -> &[RunId] {
        &self.known.runs
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> u64 {
        self.known.rows
    }

    /// The packs that its rows lead to.
    pub(super) fn packs(&self) -> &[PackId] {
        &self.known.packs
    }

    /// Adds all places of a chunk to `found`, as far as half of its id tells.
    pub(super) fn places(&self, chunk: &ChunkId, found: &mut Vec<Reference>) -> Result<(), Bad> {
        let half = chunk.half();
        let wanted = key(&half);
        let fences = &self.known.fences;
        // Rows of one chunk may lie in several blocks, and begin with one.
        let first = fences.partition_point(|fence| *fence < wanted).saturating_sub(1);
        let blocks = (first..fences.len()).take_while(|block| *block == first || fences[*block] <= wanted);
        for block in blocks.filter(|block| self.known.may_have(*block, wanted)) {
            let mut plain = Vec::with_capacity(BLOCK_BYTES);
            let rows = self.block(block, &mut plain)?;
            let at = rows.partition_point(|row| row[..16] < half[..]);
            for row in rows[at..].iter().take_while(|row| row[..16] == half[..]).map(Row::from_bytes) {
                found.push(row.reference(self.pack(&row)?, chunk));
            }
        }
        Ok(())
    }

    fn pack(&self, row: &Row) -> Result<PackId, Bad> {
        self.known.packs.get(row.pack as usize).copied().ok_or_else(|| "a row leads to no pack".into())
    }

    fn block<'p>(&self, block: usize, plain: &'p mut Vec<u8>) -> Result<&'p [[u8; ROW_BYTES]], Bad> {
        let mut sealed = [0; BLOCK_BYTES];
        self.place.read_at(&mut sealed, offset_of(block))?;
        self.open_block(block, &sealed, plain)
    }

    fn open_block<'p>(
        &self,
        block: usize,
        sealed: &[u8],
        plain: &'p mut Vec<u8>,
    ) -> Result<&'p [[u8; ROW_BYTES]], Bad> {
        self.key.open(plain, u32::try_from(block)?, &sealed[..LOCAL_OVERHEAD + ROWS_IN_BLOCK * ROW_BYTES])?;
        let before = (block as u64).saturating_mul(ROWS_IN_BLOCK as u64);
        let rows = self.known.rows.saturating_sub(before).min(ROWS_IN_BLOCK as u64);
        Ok(&plain.as_chunks().0[..usize::try_from(rows)?])
    }

    /// All rows, by rising id.
    pub(super) fn rows(&self) -> Rows<'_> {
        Rows { table: self, next: 0, sealed: Vec::new(), plain: Vec::new(), at: 0, left: 0 }
    }
}

fn offset_of(block: usize) -> u64 {
    (block as u64 + 1) * BLOCK_BYTES as u64
}

fn blocks_of(rows: u64) -> u64 {
    rows.div_ceil(ROWS_IN_BLOCK as u64)
}

/// Reads a table from its first row to its last.
pub(super) struct Rows<'t> {
    table: &'t Table,
    /// The block after those in `sealed`.
    next: usize,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    /// The next row in `plain`, and how many there are.
    at: usize,
    left: usize,
}

impl Rows<'_> {
    fn next_block(&mut self) -> Result<bool, Bad> {
        let blocks = self.table.known.fences.len();
        if self.next == blocks {
            return Ok(false);
        }
        let within = self.next % BLOCKS_AT_ONCE;
        if within == 0 {
            self.sealed.resize((blocks - self.next).min(BLOCKS_AT_ONCE) * BLOCK_BYTES, 0);
            self.table.place.read_at(&mut self.sealed, offset_of(self.next))?;
        }
        let sealed = &self.sealed[within * BLOCK_BYTES..][..BLOCK_BYTES];
        self.left = self.table.open_block(self.next, sealed, &mut self.plain)?.len();
        (self.at, self.next) = (0, self.next + 1);
        Ok(true)
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, Bad>;

    fn next(&mut self) -> Option<Result<Row, Bad>> {
        while self.at == self.left {
            match self.next_block() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(bad) => return Some(Err(bad)),
            }
        }
        let row = Row::from_bytes(&self.plain.as_chunks().0[self.at]);
        self.at += 1;
        Some(Ok(row))
    }
}

/// Makes a table of rows that come by rising id.
pub(super) struct Making<W> {
    out: W,
    salt_key: LocalKey,
    world: World,
    block: Vec<u8>,
    sealed: Vec<u8>,
    hashes: Vec<u64>,
    known: Known,
}

impl<W: Write> Making<W> {
    /// Begins one whose rows lead to `packs` by their numbers.
    pub(super) fn begin(keys: &Keys, mut out: W, packs: Vec<PackId>) -> Result<Making<W>, Bad> {
        let salt = keys.world.chance().bytes();
        let mut head = [0; BLOCK_BYTES];
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        head[MAGIC.len()..][..salt.len()].copy_from_slice(&salt);
        out.write_all(&head)?;
        let known = Known { packs, ..Known::default() };
        let salt_key = keys.of_file(&salt)?;
        let (world, block, sealed, hashes) = (keys.world.clone(), Vec::new(), Vec::new(), Vec::new());
        Ok(Making { out, salt_key, world, block, sealed, hashes, known })
    }

    pub(super) fn push(&mut self, row: &Row) -> Result<(), Bad> {
        if self.block.is_empty() {
            self.known.fences.push(row.key());
        }
        if self.hashes.last() != Some(&row.key()) {
            self.hashes.push(row.key());
        }
        self.block.extend_from_slice(&row.to_bytes());
        self.known.rows += 1;
        if self.block.len() == ROWS_IN_BLOCK * ROW_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), Bad> {
        let blocks = self.known.fences.len();
        self.block.resize(ROWS_IN_BLOCK * ROW_BYTES, 0);
        self.sealed.clear();
        let random = self.world.chance().bytes();
        self.salt_key.seal(&mut self.sealed, u32::try_from(blocks - 1)?, random, &self.block);
        self.sealed.resize(BLOCK_BYTES, 0);
        self.out.write_all(&self.sealed)?;
        self.block.clear();
        if blocks.is_multiple_of(BLOCKS_IN_FILTER) {
            self.end_filter();
        }
        Ok(())
    }

    fn end_filter(&mut self) {
        let enough = self.hashes.len() >= FILTER_KEYS_MIN;
        self.known.filters.push(enough.then(|| BinaryFuse8::try_from(&self.hashes[..]).ok()).flatten());
        self.hashes.clear();
    }

    /// Ends it; it has all rows of `runs`.
    fn finish(mut self, runs: Vec<RunId>) -> Result<(W, LocalKey, Known), Bad> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        if !self.hashes.is_empty() {
            self.end_filter();
        }
        self.known.runs = runs;
        let tail = self.known.to_bytes();
        let blocks = self.known.fences.len();
        for (piece, number) in tail.chunks(PIECE_BYTES).zip(blocks..) {
            self.sealed.clear();
            let random = self.world.chance().bytes();
            self.salt_key.seal(&mut self.sealed, u32::try_from(number)?, random, piece);
            self.out.write_all(&self.sealed)?;
        }
        self.out.write_all(&self.known.rows.to_le_bytes())?;
        self.out.write_all(&(tail.len() as u64).to_le_bytes())?;
        Ok((self.out, self.salt_key, self.known))
    }
}

impl Making<io::BufWriter<File>> {
    /// Ends a file that was begun as [`part_of`] `path`.
    pub(super) fn finish_file(self, path: PathBuf, runs: Vec<RunId>) -> Result<Table, Bad> {
        let (out, key, known) = self.finish(runs)?;
        drop(out.into_inner()?);
        std::fs::rename(part_of(&path), &path)?;
        let place = Place::File(File::open(&path)?);
        Ok(Table { path, place, key, known })
    }
}

impl Making<Vec<u8>> {
    /// Ends one that is still in memory, and stays there if it cannot be written to `path`.
    pub(super) fn finish_small(self, path: PathBuf, runs: Vec<RunId>) -> Result<Table, Bad> {
        let (bytes, key, known) = self.finish(runs)?;
        let write = || {
            let mut file = create(&path)?;
            file.write_all(&bytes)?;
            std::fs::rename(part_of(&path), &path)?;
            File::open(&path)
        };
        let place =
            write().inspect_err(|_| discard(&path)).map_or_else(|_| Place::Memory(bytes), Place::File);
        Ok(Table { path, place, key, known })
    }
}

/// A new file that becomes `path` once it is whole. It is not synced: what a crash leaves of it does not open.
pub(super) fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(part_of(path))
}

/// Opens a file for reading; nothing else that may stand there, as a pipe would keep whoever opens it waiting.
fn open(path: &Path) -> io::Result<File> {
    match std::fs::symlink_metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Removes what was begun as `path`.
pub(super) fn discard(path: &Path) {
    let _ = std::fs::remove_file(part_of(path));
}

fn part_of(path: &Path) -> PathBuf {
    path.with_extension(format!("part{}", std::process::id()))
}

impl Known {
    fn may_have(&self, block: usize, key: u64) -> bool {
        let filter = self.filters.get(block / BLOCKS_IN_FILTER).and_then(Option::as_ref);
        filter.is_none_or(|filter| filter.contains(&key))
    }

    /// Counts, packs, runs, fences; then each filter's length, descriptor and fingerprints.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for count in [self.packs.len(), self.runs.len()] {
            bytes.extend_from_slice(&(count as u64).to_le_bytes());
        }
        self.packs.iter().for_each(|pack| bytes.extend_from_slice(pack.as_bytes()));
        self.runs.iter().for_each(|run| bytes.extend_from_slice(run.as_bytes()));
        self.fences.iter().for_each(|fence| bytes.extend_from_slice(&fence.to_le_bytes()));
        self.filters.iter().for_each(|filter| put_filter(&mut bytes, filter.as_ref()));
        bytes
    }

    fn read(file: &File, length: u64, key: &LocalKey) -> Result<Known, Bad> {
        let mut end = [0; END_BYTES];
        let end_at = length.checked_sub(END_BYTES as u64).ok_or("it is cut short")?;
        file.read_exact_at(&mut end, end_at)?;
        let [rows, tail] = end.as_chunks().0 else { return Err("it is cut short".into()) };
        let (rows, tail) = (u64::from_le_bytes(*rows), u64::from_le_bytes(*tail));
        let blocks = blocks_of(rows);
        let pieces = tail.div_ceil(PIECE_BYTES as u64);
        let sealed = tail.checked_add(pieces * LOCAL_OVERHEAD as u64).ok_or("it is cut short")?;
        let begin = blocks.checked_add(1).and_then(|n| n.checked_mul(BLOCK_BYTES as u64));
        if begin.and_then(|begin| begin.checked_add(sealed)) != Some(end_at) {
            return Err("it is not as long as it says".into());
        }
        let mut plain = Vec::with_capacity(usize::try_from(tail)?);
        let (mut at, mut piece, mut open) =
            (end_at - sealed, vec![0; PIECE_BYTES + LOCAL_OVERHEAD], Vec::new());
        for number in blocks..blocks + pieces {
            piece.truncate(usize::try_from(end_at - at)?);
            file.read_exact_at(&mut piece, at)?;
            key.open(&mut open, u32::try_from(number)?, &piece)?;
            plain.extend_from_slice(&open);
            at += piece.len() as u64;
        }
        Known::from_bytes(rows, &plain).ok_or_else(|| "its tail is not as it was written".into())
    }

    fn from_bytes(rows: u64, bytes: &[u8]) -> Option<Known> {
        let mut rest = bytes;
        let (packs, runs) = (take_count(&mut rest)?, take_count(&mut rest)?);
        let packs = take_all(&mut rest, packs, PackId)?;
        let runs = take_all(&mut rest, runs, RunId)?;
        let fences = take_all(&mut rest, usize::try_from(blocks_of(rows)).ok()?, u64::from_le_bytes)?;
        let mut filters = Vec::new();
        for _ in 0..fences.len().div_ceil(BLOCKS_IN_FILTER) {
            filters.push(take_filter(&mut rest)?);
        }
        rest.is_empty().then_some(Known { rows, packs, runs, fences, filters })
    }
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?)).ok()
}

fn take_all<const N: usize, T>(
    rest: &mut &[u8],
    count: usize,
    make: impl Fn([u8; N]) -> T,
) -> Option<Vec<T>> {
    let bytes = rest.split_off(..count.checked_mul(N)?)?;
    Some(bytes.as_chunks().0.iter().copied().map(make).collect())
}

/// Length of the fingerprints, 0 for no filter; the descriptor; the fingerprints.
fn put_filter(bytes: &mut Vec<u8>, filter: Option<&BinaryFuse8>) {
    let length = filter.map_or(0, |filter| filter.fingerprints.len());
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    let Some(BinaryFuse8 { descriptor, fingerprints }) = filter else { return };
    let &Descriptor { seed, segment_length, segment_length_mask, segment_count_length } = descriptor;
    bytes.extend_from_slice(&seed.to_le_bytes());
    bytes.extend_from_slice(
        [segment_length, segment_length_mask, segment_count_length].map(u32::to_le_bytes).as_flattened(),
    );
    bytes.extend_from_slice(fingerprints);
}

fn take_filter(rest: &mut &[u8]) -> Option<Option<BinaryFuse8>> {
    let length = take_count(rest)?;
    if length == 0 {
        return Some(None);
    }
    let seed = u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?);
    let numbers = take_all(rest, 3, u32::from_le_bytes)?;
    let &[segment_length, segment_length_mask, segment_count_length] = &numbers[..] else { return None };
    let descriptor = Descriptor { seed, segment_length, segment_length_mask, segment_count_length };
    let fingerprints = rest.split_off(..length)?.into();
    Some(Some(BinaryFuse8 { descriptor, fingerprints }))
}

#[cfg(test)]
pub(super) mod tests;
