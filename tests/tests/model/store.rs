//! What a region holds, in the model: four collections, each interned, so that a state of the world is a few
//! numbers and what a step does to a collection is computed once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

use repo::protocol::SessionObject;

use super::ids::{Entry, Frame, Logs, Pack, Tiny};

/// A fast hash for small keys; collisions cost time only.
#[derive(Default, Clone, Copy)]
pub struct Fast(u64);

impl Hasher for Fast {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ (mixed >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(26) ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}

pub type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Fast>>;

/// Gives equal values equal numbers.
pub struct Interner<T> {
    values: Vec<Rc<T>>,
    numbers: HashMap<Rc<T>, u32>,
}

impl<T: Eq + Hash> Interner<T> {
    pub fn new() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new() }
    }

    pub fn number(&mut self, value: T) -> u32 {
        let value = Rc::new(value);
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).expect("fewer than 2^32 values fit in memory");
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }

    pub fn value(&self, number: u32) -> Rc<T> {
        self.values[number as usize].clone()
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }
}

/// Packs that are there, and every name that ever was.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packs {
    pub present: BTreeMap<Pack, BTreeSet<Frame>>,
    pub ever: BTreeSet<Pack>,
}

/// A region in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Region {
    pub logs: BTreeSet<Entry>,
    pub sessions: BTreeSet<SessionObject<Tiny>>,
    pub sweeps: BTreeMap<u8, BTreeSet<Pack>>,
    pub packs: Packs,
}

impl Region {
    pub fn put_pack(&mut self, pack: Pack, frames: BTreeSet<Frame>) {
        self.packs.present.insert(pack, frames);
        self.packs.ever.insert(pack);
    }
}

/// Whether some place of the frame holds it.
pub fn is_found(logs: &Logs, packs: &Packs, frame: &Frame) -> bool {
    logs.places(frame).iter().any(|place| packs.present.get(place).is_some_and(|held| held.contains(frame)))
}

/// Points, as bits, that have a frame that no place holds.
pub fn lost(logs: &Logs, packs: &Packs) -> u64 {
    let lost =
        logs.points().filter(|(_, committed)| !committed.frames.iter().all(|f| is_found(logs, packs, f)));
    lost.map(|(point, _)| 1 << point).sum()
}

/// Points, as bits, that are to be kept.
pub fn live(logs: &Logs) -> u64 {
    logs.points().filter(|(point, _)| logs.is_live(point)).map(|(point, _)| 1 << point).sum()
}
