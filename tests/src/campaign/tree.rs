//! What a host protects: some tens of files of pieces that cannot be made smaller, each piece named by a number from
//! which its bytes follow.
//!
//! Some pieces come from what other hosts hold, or held: a backup that finds them in the repository relies on packs that
//! somebody may be forgetting and sweeping at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use format::id::Hash;
use world::Chance;

use crate::listing::Listing;
use crate::odd;

/// Files of a tree, at most.
const FILES: u64 = 32;

/// Pieces of a file, at most.
const PIECES: usize = 6;

/// Pieces that other hosts may take up; older ones are mostly forgotten.
const POOL: usize = 400;

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

/// Bytes of a piece: 4 to 160 KiB, small ones more often.
pub(super) fn length(piece: u64) -> usize {
    let unit = (piece >> 8) % 157;
    4096 + (unit * unit / 157) as usize * 1024
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

    /// Changes some of it: 0.2 to 1.5 MB become new, or come back.
    pub(super) fn change(&mut self, pool: &Pool, chance: &mut Chance) {
        let changes = if self.files.is_empty() { FILES } else { 5 + chance.below(12) };
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
        let piece = known.unwrap_or_else(|| u64::from_le_bytes(chance.bytes()));
        pool.put(piece);
        let pieces = self.files.entry(name.clone()).or_default();
        if chance.below(5) > 0 || pieces.len() >= PIECES {
            pieces.clear();
        }
        pieces.push(piece);
        let content: Vec<u8> = pieces.iter().flat_map(|piece| odd::noise(*piece, length(*piece))).collect();
        fs::write(self.top.join(name), content).expect("there is room for a file");
    }

    pub(super) fn truth(&self) -> Truth {
        Truth { listing: listed(&self.top), pieces: self.files.values().flatten().copied().collect() }
    }
}
