//! What a host protects: some tens of files of pieces that cannot be made smaller, each piece named by a number from
//! which its bytes follow.
//!
//! Each change makes one large piece anew that no other point ever holds, as a database dump would, and now and then some of
//! the small files beside it, of which most stay. Some of the small pieces come from what other hosts hold, or held: a backup that finds
//! them in the repository relies on packs that somebody may be forgetting and sweeping at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use format::id::Hash;
use world::Chance;

use crate::listing::Listing;
use crate::odd;

/// Small files of a tree, at most.
const FILES: u64 = 16;

/// Pieces of a small file, at most.
const PIECES: usize = 4;

/// Pieces that other hosts may take up; older ones are mostly forgotten.
const POOL: usize = 400;

/// The file that each change makes anew. It comes first in the order of paths.
const OWN: &str = "a-dump";

/// Set in the number of a large piece.
const LARGE: u64 = 1 << 63;

/// Pieces that somebody holds or held.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<u64>>);

impl Pool {
    fn put(&self, piece: u64) {
        let mut pieces = self.0.lock().expect("no holder of this lock panics");
        pieces.push(piece);
        if pieces.len() > POOL {
            pieces.remove(0);
        }
    }

    fn any(&self, chance: &mut Chance) -> Option<u64> {
        let pieces = self.0.lock().expect("no holder of this lock panics");
        pieces.get(chance.below(pieces.len() as u64) as usize).copied()
    }
}

/// Bytes of a piece: 1 to 2.5 MiB of a large one, so that it fills frames of its own; 4 to 48 KiB of the others, small ones
/// more often.
pub(super) fn length(piece: u64) -> usize {
    let unit = |least: u64| (piece >> 8) % least;
    let kib = if piece & LARGE == 0 { 4 + unit(45) * unit(45) / 45 } else { 1024 + unit(1537) };
    kib as usize * 1024
}

/// What a restore has to bring back.
pub(super) struct Truth {
    /// Every name with its attributes, and the hash of its content.
    pub(super) listing: Listing,
    /// The pieces that the files are made of.
    pub(super) pieces: BTreeSet<u64>,
}

/// What a folder holds now, content by its hash.
pub(super) fn listed(top: &Path) -> Listing {
    let mut listing = Listing::of(top);
    for entry in listing.0.values_mut() {
        entry.content = Hash::of(&entry.content).0.to_vec();
    }
    listing
}

/// The tree of one host.
pub(super) struct Tree {
    top: PathBuf,
    files: BTreeMap<String, Vec<u64>>,
}

impl Tree {
    pub(super) fn new(top: PathBuf) -> Tree {
        fs::create_dir(&top).expect("a new host has room");
        (0..4)
            .for_each(|dir| fs::create_dir(top.join(format!("d{dir}"))).expect("a new folder takes folders"));
        Tree { top, files: BTreeMap::new() }
    }

    /// Changes some of it: the large file, and some of the small ones.
    pub(super) fn change(&mut self, pool: &Pool, chance: &mut Chance) {
        self.write(OWN.to_owned(), vec![u64::from_le_bytes(chance.bytes()) | LARGE]);
        let changes = match self.files.len() {
            1 => FILES,
            // What is sealed together with something that stays long stays as long: mostly only the large file changes.
            _ if chance.below(2) == 0 => 0,
            _ => 2 + chance.below(6),
        };
        for _ in 0..changes {
            let number = chance.below(FILES);
            self.change_one(format!("d{}/f{number}", number % 4), pool, chance);
        }
    }

    fn change_one(&mut self, name: String, pool: &Pool, chance: &mut Chance) {
        if chance.below(8) == 0 && self.files.len() > 8 {
            if self.files.remove(&name).is_some() {
                fs::remove_file(self.top.join(&name)).expect("the driver made it");
            }
            return;
        }
        let known = if chance.below(4) == 0 { pool.any(chance) } else { None };
        let piece = known.unwrap_or_else(|| u64::from_le_bytes(chance.bytes()) & !LARGE);
        pool.put(piece);
        let mut pieces = self.files.get(&name).cloned().unwrap_or_default();
        if chance.below(5) > 0 || pieces.len() >= PIECES {
            pieces.clear();
        }
        pieces.push(piece);
        self.write(name, pieces);
    }

    fn write(&mut self, name: String, pieces: Vec<u64>) {
        let content: Vec<u8> = pieces.iter().flat_map(|piece| odd::noise(*piece, length(*piece))).collect();
        fs::write(self.top.join(&name), content).expect("there is room for a file");
        self.files.insert(name, pieces);
    }

    pub(super) fn truth(&self) -> Truth {
        Truth { listing: listed(&self.top), pieces: self.files.values().flatten().copied().collect() }
    }
}
