//! A tiny source that changes: a few files, each of a few blocks of some hundred bytes, drawn from a pool that all sources
//! of a history share, so that what one of them stored another one finds.

use std::collections::BTreeMap;

use format::tree::{Content, INLINE_BYTES_MAX};
use world::Chance;

use super::journal::Files;
use super::stage::{Actor, stream};
use format::id::PointId;

/// Blocks that all sources of one history draw from.
const POOL_BLOCKS: u64 = 24;
/// Names that a source has files under.
const NAMES: u64 = 8;
/// Blocks of the longest file.
const BLOCKS_MAX: u64 = 4;
/// Writes with which a source begins: several files in one pack, of which some die later.
const FILES_FIRST: u64 = 6;

/// One file: whenever it is written it gets a version that it never had before.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Counts all writes of its source; in the place of times and inode.
    pub version: u64,
    /// What is in it.
    pub blocks: Vec<Vec<u8>>,
}

impl File {
    /// Its content.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.blocks.concat()
    }

    /// Whether its content is kept in its entry.
    pub(super) fn is_tiny(&self) -> bool {
        self.blocks.iter().map(Vec::len).sum::<usize>() <= INLINE_BYTES_MAX
    }
}

/// What a backup remembers of the point that it made last.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    /// The point.
    pub point: PointId,
    /// Versions and contents by path.
    pub files: BTreeMap<String, (u64, Content)>,
}

/// What one writer protects.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Its name in the repository.
    pub name: String,
    /// Its files by path.
    pub files: BTreeMap<String, File>,
    /// What its last backup remembered on this host.
    pub remembered: Option<Remembered>,
    /// What files held before they were written again; some of it comes back.
    past: Vec<Vec<Vec<u8>>>,
    versions: u64,
    seed: u64,
}

impl Source {
    /// The source of a writer, with a few files.
    pub(super) fn of(seed: u64, writer: Actor) -> Source {
        let mut chance = stream(seed, "source", writer as u64);
        let mut source = Source {
            name: format!("source-{writer}"),
            files: BTreeMap::new(),
            remembered: None,
            past: Vec::new(),
            versions: 0,
            seed,
        };
        (0..FILES_FIRST).for_each(|_| source.write(&mut chance));
        source
    }

    /// Some files are written, one is removed, and one is again what some file was before.
    pub(super) fn change(&mut self, chance: &mut Chance) {
        (0..1 + chance.below(3)).for_each(|_| self.write(chance));
        if chance.below(4) == 0 {
            let removed = self.files.remove(&name(chance));
            self.past.extend(removed.map(|file| file.blocks));
        }
        if chance.below(2) == 0 {
            self.bring_back(chance);
        }
    }

    /// All of it, as a restore must bring it back.
    pub(super) fn all(&self) -> Files {
        self.files.iter().map(|(path, file)| (path.clone(), file.bytes())).collect()
    }

    /// A file is new, or one block of it is.
    fn write(&mut self, chance: &mut Chance) {
        self.versions += 1;
        let path = name(chance);
        let mut blocks = self.files.get(&path).map(|file| file.blocks.clone()).unwrap_or_default();
        let block = self.block(chance);
        if blocks.is_empty() || chance.below(3) == 0 {
            blocks = (0..chance.below(BLOCKS_MAX)).map(|_| self.block(chance)).chain([block]).collect();
        } else {
            let at = usize::try_from(chance.below(blocks.len() as u64)).expect("a file has few blocks");
            blocks[at] = block;
        }
        let before = self.files.insert(path, File { version: self.versions, blocks });
        self.past.extend(before.map(|file| file.blocks));
    }

    fn bring_back(&mut self, chance: &mut Chance) {
        let lot = usize::try_from(chance.below(self.past.len() as u64)).expect("a source has a short past");
        if let Some(blocks) = self.past.get(lot).cloned() {
            self.versions += 1;
            self.files.insert(name(chance), File { version: self.versions, blocks });
        }
    }

    /// Mostly a block of the pool, often one of its own, sometimes a tiny one.
    fn block(&self, chance: &mut Chance) -> Vec<u8> {
        let (purpose, number) = match chance.below(8) {
            0 | 2 => ("own block", chance.below(u64::MAX)),
            1 => ("tiny block", chance.below(POOL_BLOCKS)),
            _ => ("block", chance.below(POOL_BLOCKS)),
        };
        let mut bytes = stream(self.seed, purpose, number);
        let most = if purpose == "tiny block" { 20 } else { 500 };
        let length = if most == 20 { 1 + bytes.below(most) } else { 100 + bytes.below(most) };
        (0..length).map(|_| bytes.bytes::<1>()[0]).collect()
    }
}

fn name(chance: &mut Chance) -> String {
    match chance.below(NAMES) {
        number @ 0..5 => format!("file-{number}"),
        number => format!("folder/file-{number}"),
    }
}
