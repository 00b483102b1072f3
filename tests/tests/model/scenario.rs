//! A scenario: what lies in the region at first, who acts, which steps are taken together, what may fail.

use std::collections::BTreeSet;

use repo::protocol::{List, Object};

use super::actor::{Actor, Do, Kind};
use super::ids::{Effect, Entry, Fact, Frame, Pack, entry_id};
use super::store::Region;

/// Which effects of one actor are taken as one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coarse {
    /// A session lists logs and condemned parts together.
    pub reading: bool,
    /// A finishing sweep's last poll and its first list of logs are one; so are its parts and sessions.
    pub waiting: bool,
    /// Uploads and the entry or renewal that follows are one: nobody lists packs.
    pub uploading: bool,
    /// A copying session is announced, and the copy made and read back, together.
    pub copying: bool,
    /// All deletions of one sweep happen at the first of them.
    pub deleting: bool,
    /// A session that nobody may expire reads expiries together with writing its entry; bits of those that
    /// may expire.
    pub expirable: u64,
    /// Logs are listed in two pages; chains of sessions from this number on are in the other page.
    pub pages: Option<Pages>,
    /// Only lists of sweepers fail.
    pub sweepers_fail: bool,
}

/// Which chains a list of logs sees first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Sessions below this number.
    LowFirst(u8),
    /// Sessions from this number on.
    HighFirst(u8),
}

impl Pages {
    pub fn is_first(self, session: u8) -> bool {
        match self {
            Pages::LowFirst(split) => session < split,
            Pages::HighFirst(split) => session >= split,
        }
    }
}

impl Coarse {
    pub const ALL: Self = Self {
        reading: true,
        waiting: true,
        uploading: true,
        copying: true,
        deleting: true,
        expirable: 0,
        pages: None,
        sweepers_fail: true,
    };
    pub const FINE: Self = Self {
        reading: false,
        waiting: true,
        uploading: false,
        copying: false,
        deleting: false,
        expirable: u64::MAX,
        pages: None,
        sweepers_fail: true,
    };

    /// Whether `next` follows `act` at once.
    pub fn joins(self, act: &Do, next: &Do, waited: bool, waits: bool) -> bool {
        let (Do::Effect(act), next) = (act, next) else {
            return match (act, next) {
                (Do::CopyInto { .. }, Do::Effect(Effect::ReadBack { .. })) => self.copying,
                (Do::PutPack { .. }, Do::Effect(Effect::Put(_))) => self.uploading,
                _ => false,
            };
        };
        match (act, next) {
            (Effect::List(List::Logs { .. }), Do::Effect(Effect::List(List::Sweeps))) => self.reading,
            (Effect::List(List::Sweeps) | Effect::Read { .. }, Do::Effect(Effect::Read { .. })) => {
                self.reading
            }
            (Effect::Put(Object::Entry(entry)), Do::Effect(Effect::List(List::Logs { .. }))) => {
                self.expirable >> entry.id.session & 1 == 0 && entry.id.session < 30
            }
            (Effect::List(List::Sweeps), Do::Effect(Effect::List(List::Sessions))) => self.waiting,
            (Effect::List(List::Logs { .. }), Do::Effect(Effect::List(List::Sessions))) => {
                self.waiting && waited
            }
            (Effect::List(List::Sessions), Do::Effect(Effect::List(List::Logs { .. }))) => {
                self.waiting && waited && !waits
            }
            (Effect::Put(Object::Session(_)), Do::CopyInto { .. }) => self.copying,
            (Effect::Delete(_), Do::Effect(Effect::Delete(_))) => self.deleting,
            _ => false,
        }
    }

    pub fn fails(self, actor: &Actor) -> bool {
        !self.sweepers_fail || matches!(actor.kind, Kind::Sweeper(_))
    }
}

/// How often the store may do what it should not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A list fails.
    pub failed_lists: u32,
    /// There is no room for a copy, or only for a part of it.
    pub failed_copies: u32,
    /// What is to be copied does not read, though it is there.
    pub misreads: u32,
    /// A pack is stored and the answer is lost.
    pub unknown_puts: u32,
    /// A copy is answered "done" and is not there.
    pub lost_copies: u32,
    /// An upload is answered "done" and is not there.
    pub lost_puts: u32,
}

impl Faults {
    pub fn pack(self) -> u32 {
        self.failed_lists
            | self.failed_copies << 4
            | self.unknown_puts << 8
            | self.misreads << 12
            | self.lost_copies << 16
            | self.lost_puts << 24
    }

    pub fn unpack(packed: u32) -> Self {
        Self {
            failed_lists: packed & 15,
            failed_copies: packed >> 4 & 15,
            unknown_puts: packed >> 8 & 15,
            misreads: packed >> 12 & 15,
            lost_copies: packed >> 16 & 255,
            lost_puts: packed >> 24,
        }
    }
}

/// When a last sweep, alone, must be able to clean up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSweep {
    Never,
    /// Where everybody is done.
    AtRest,
    /// Everywhere: whoever was at work stops for ever and expires.
    Everywhere,
}

pub struct Scenario {
    pub name: &'static str,
    pub bounds: String,
    pub regions: Vec<Region>,
    /// Points acknowledged before the beginning in each region, as bits.
    pub acknowledged: [u64; 2],
    /// Roots of running sessions are watched as well. Where a rule is removed they are not: it must be shown
    /// that somebody comes to harm.
    pub roots_watched: bool,
    /// Every live point of every region has its closure there, acknowledged or not.
    pub closed: bool,
    pub actors: Vec<Actor>,
    pub coarse: Coarse,
    pub faults: Faults,
    pub last_sweep: LastSweep,
}

/// A frame of a pack of the session before all sessions.
pub fn old(pack: u8) -> Frame {
    Frame(Pack(0, pack), 0)
}

/// A region where session 0 committed point 0 in packs 0 to `packs - 1`, a frame in each, and ended.
pub fn region(packs: u8) -> Region {
    let mut region = Region::default();
    for pack in 0..packs {
        region.put_pack(Pack(0, pack), BTreeSet::from([old(pack)]));
    }
    let commit = Fact::Commit { point: 0, frames: (0..packs).map(old).collect() };
    let brings = (0..packs).map(|pack| Pack(0, pack)).collect();
    region.logs.insert(entry(0, 0, brings, vec![commit], false));
    region.logs.insert(entry(0, 1, BTreeSet::new(), vec![Fact::Acknowledged], true));
    region
}

pub fn entry(session: u8, sequence: u64, brings: BTreeSet<Pack>, facts: Vec<Fact>, ends: bool) -> Entry {
    Entry { id: entry_id(session, sequence), maintainer: false, local: false, brings, facts, ends }
}
