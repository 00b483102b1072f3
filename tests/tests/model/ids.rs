//! Ids of the model: numbers below a hundred.

use std::collections::BTreeSet;

use repo::protocol::{EntryId, Ids};

/// The model's family of ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tiny;

/// A pack: the session that uploads it, and which of its packs it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pack(pub u8, pub u8);

/// A frame: its origin, and its ordinal there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(pub Pack, pub u8);

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p{}.{}", self.0, self.1)
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "f{}.{}.{}", self.0.0, self.0.1, self.1)
    }
}

impl Ids for Tiny {
    type Point = u8;
    type Session = u8;
    type Pack = Pack;
    type Frame = Frame;
    type Part = u8;
    type Uploader = u8;

    fn uploader(pack: &Pack) -> u8 {
        pack.0
    }

    fn uploads_as(session: &u8) -> u8 {
        *session
    }

    fn origin(frame: &Frame) -> Pack {
        frame.0
    }
}

pub type Entry = repo::protocol::Entry<Tiny>;
pub type Fact = repo::protocol::Fact<Tiny>;
pub type Effect = repo::protocol::Effect<Tiny, ()>;
pub type Reply = repo::protocol::Reply<Tiny>;
pub type Object = repo::protocol::Object<Tiny>;
pub type Logs = repo::protocol::Logs<Tiny>;

pub fn entry_id(session: u8, sequence: u64) -> EntryId<Tiny> {
    EntryId { session, sequence }
}

pub fn set<T: Ord + Clone>(of: &[T]) -> BTreeSet<T> {
    of.iter().cloned().collect()
}
