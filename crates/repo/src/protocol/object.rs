//! The values that protocols speak of: ids, entries with their facts, session objects, condemned parts, and
//! the effects and replies by which a step function and its driver talk.
//!
//! Nothing here knows bytes, keys or stores. The id types are open: production uses ids of 16 and 32 bytes,
//! the model uses numbers below a hundred.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use super::view::{Logs, Sessions, Sweeps};

/// What an id must be able to do.
pub trait Id: Clone + Debug + Ord + Hash {}
impl<T: Clone + Debug + Ord + Hash> Id for T {}

/// The family of ids that one instance of the protocols uses.
pub trait Ids: Clone + Debug + Ord + Hash {
    /// Names a recovery point.
    type Point: Id;
    /// Names a session, and with it its chain of log entries.
    type Session: Id;
    /// Names a pack.
    type Pack: Id;
    /// Names a frame by its origin: the pack it was sealed into and its ordinal there.
    type Frame: Id;
    /// Names one part of a sweep: one set of packs that were condemned together.
    type Part: Id;
    /// What a pack's name says of the session that uploads it.
    type Uploader: Id;

    /// Who uploads the pack.
    fn uploader(pack: &Self::Pack) -> Self::Uploader;
    /// As whom the session uploads.
    fn uploads_as(session: &Self::Session) -> Self::Uploader;
    /// The pack that the frame was sealed into.
    fn origin(frame: &Self::Frame) -> Self::Pack;
}

/// Where an entry stands: in the chain of its session, at its sequence number from zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId<I: Ids> {
    /// The session whose chain it is.
    pub session: I::Session,
    /// Position in the chain, from zero, without gaps.
    pub sequence: u64,
}

/// One log entry, as far as protocols look at it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry<I: Ids> {
    /// Chain and position.
    pub id: EntryId<I>,
    /// The signer holds the maintainer's grant.
    pub maintainer: bool,
    /// Speaks of objects of the region it lies in (moved, expired, the sessions of sweeps and restores) and
    /// is therefore never replicated.
    pub local: bool,
    /// Packs that this entry brings.
    pub brings: BTreeSet<I::Pack>,
    /// What it says.
    pub facts: Vec<Fact<I>>,
    /// The session ends with this entry.
    pub ends: bool,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact<I: Ids> {
    /// A point exists; these are the frames that restoring it needs.
    Commit {
        /// The point.
        point: I::Point,
        /// Its closure.
        frames: BTreeSet<I::Frame>,
    },
    /// The writer read expiries behind all entries before this one and was not expired.
    Acknowledged,
    /// The point need not be kept.
    Forget {
        /// The point.
        point: I::Point,
    },
    /// These acts of forgetting do not count.
    Undo {
        /// The point.
        point: I::Point,
        /// Every forgetting that the undoing session saw.
        forgets: BTreeSet<EntryId<I>>,
    },
    /// The point is kept whatever is forgotten.
    Hold {
        /// The point.
        point: I::Point,
    },
    /// The hold does not count any longer.
    Release {
        /// The entry that held.
        hold: EntryId<I>,
    },
    /// The frame is also in this pack, in this region.
    Moved {
        /// The frame, by its origin.
        frame: I::Frame,
        /// Where a copy lies.
        pack: I::Pack,
    },
    /// These packs, which an entry of another region's chain brings, are not counted on here.
    Absent {
        /// The packs.
        packs: BTreeSet<I::Pack>,
    },
    /// A sweeper saw nothing of the session for too long.
    Expired {
        /// The silent session.
        session: I::Session,
    },
}

/// A session object: renewal zero announces the session, later ones say what was checked again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionObject<I: Ids> {
    /// Whose.
    pub session: I::Session,
    /// Number of the renewal; each is an object of its own.
    pub renewal: u32,
    /// Points whose closures the session relies on.
    pub roots: BTreeSet<I::Point>,
    /// Condemned parts that no uncommitted reference of the session touches.
    pub covers: BTreeSet<I::Part>,
}

/// An object to be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object<I: Ids> {
    /// A session object.
    Session(SessionObject<I>),
    /// A log entry.
    Entry(Entry<I>),
    /// Packs condemned together; final.
    Part {
        /// Its name.
        part: I::Part,
        /// What it condemns.
        packs: BTreeSet<I::Pack>,
    },
}

/// An object to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name<I: Ids> {
    /// A pack.
    Pack(I::Pack),
    /// All objects of a session.
    Session(I::Session),
}

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List<I: Ids> {
    /// All log entries, folded. `after` is `None` in production: a list from an offset misses what other
    /// chains wrote below it.
    Logs {
        /// Only entries with greater names.
        after: Option<EntryId<I>>,
    },
    /// All log entries as they are, for replication.
    Entries,
    /// All session objects.
    Sessions,
    /// All condemned parts.
    Sweeps,
    /// The names of all packs.
    Packs,
}

impl<I: Ids> List<I> {
    /// All logs from the beginning.
    pub fn logs() -> Self {
        List::Logs { after: None }
    }
}

/// What a step function asks of its driver. One effect is outstanding per machine; the driver carries it out
/// and hands the reply to `step`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect<I: Ids, Outcome> {
    /// List objects of the region.
    List(List<I>),
    /// Write one object.
    Put(Object<I>),
    /// Read one frame in one pack.
    Read {
        /// The frame.
        frame: I::Frame,
        /// Where to look.
        pack: I::Pack,
    },
    /// Find every frame that these points need.
    Mark(Mark<I>),
    /// Store the content of these frames again, in packs of this session (the tree changes accordingly).
    StoreAgain(BTreeSet<I::Frame>),
    /// Copy frames, each from any of the packs given for it, into one new pack of this session: as many as belong into one.
    Copy {
        /// The session that uploads.
        session: I::Session,
        /// Frames and where they may be found.
        frames: BTreeMap<I::Frame, BTreeSet<I::Pack>>,
    },
    /// Copy the pack from the source of a replication, under its name; nothing is written if it is there.
    Mirror {
        /// The pack.
        pack: I::Pack,
    },
    /// Read these frames in the pack through a different connection and compare.
    ReadBack {
        /// The pack.
        pack: I::Pack,
        /// What it must hold.
        frames: BTreeSet<I::Frame>,
    },
    /// Delete one object; its absence is success.
    Delete(Name<I>),
    /// Draw a new session id.
    NewSession,
    /// Nothing is outstanding; the machine arrived.
    Done(Outcome),
}

/// A question for everything that points need. Closures are large, so the answer need not spell out what lies where it
/// was first stored and stays there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark<I: Ids> {
    /// The points.
    pub points: Arc<BTreeSet<I::Point>>,
    /// The logs that say where frames are.
    pub logs: Arc<Logs<I>>,
    /// What was condemned.
    pub sweeps: Arc<Sweeps<I>>,
    /// The packs that are there, if they were listed.
    pub listed: Option<Arc<BTreeSet<I::Pack>>>,
}

impl<I: Ids> Mark<I> {
    /// Whether a frame that was sealed into this pack has its place there, now and after the sweep.
    pub fn stays(&self, pack: &I::Pack) -> bool {
        let there = self.listed.as_ref().is_none_or(|listed| listed.contains(pack));
        there && self.logs.is_brought(pack) && !self.logs.is_absent(pack) && !self.sweeps.is_condemned(pack)
    }

    /// The one place of the frame that stays: where it was sealed, if that does.
    pub fn keeper(&self, frame: &I::Frame) -> Option<I::Pack> {
        let origin = I::origin(frame);
        if self.stays(&origin) {
            return Some(origin);
        }
        let is_there = |pack: &I::Pack| {
            let listed = self.listed.as_ref().is_some_and(|listed| listed.contains(pack));
            listed && !self.logs.is_hearsay(frame, pack) && !self.logs.is_absent(pack)
        };
        self.logs.places(frame).into_iter().find(is_there)
    }

    /// The answer, where the logs spell out all closures.
    pub fn spelled_out(&self) -> Needed<I> {
        let committed = self.points.iter().filter_map(|point| self.logs.point(point));
        let others = committed.flat_map(|committed| committed.frames.iter().cloned()).collect();
        Needed { staying: BTreeSet::new(), others }
    }
}

/// What points need; each frame is in one of both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Needed<I: Ids> {
    /// Packs that stay ([`Mark::stays`]) and in which needed frames were sealed.
    pub staying: BTreeSet<I::Pack>,
    /// All other needed frames; perhaps some of those too.
    pub others: BTreeSet<I::Frame>,
}

impl<I: Ids, Outcome> Effect<I, Outcome> {
    /// The same effect for a caller with other outcomes.
    pub fn map<Other>(self, with: impl FnOnce(Outcome) -> Other) -> Effect<I, Other> {
        match self {
            Effect::List(list) => Effect::List(list),
            Effect::Put(object) => Effect::Put(object),
            Effect::Read { frame, pack } => Effect::Read { frame, pack },
            Effect::Mark(mark) => Effect::Mark(mark),
            Effect::StoreAgain(frames) => Effect::StoreAgain(frames),
            Effect::Copy { session, frames } => Effect::Copy { session, frames },
            Effect::Mirror { pack } => Effect::Mirror { pack },
            Effect::ReadBack { pack, frames } => Effect::ReadBack { pack, frames },
            Effect::Delete(name) => Effect::Delete(name),
            Effect::NewSession => Effect::NewSession,
            Effect::Done(outcome) => Effect::Done(with(outcome)),
        }
    }
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reply<I: Ids> {
    /// To `List::Logs`.
    Logs(Arc<Logs<I>>),
    /// To `List::Entries`.
    Entries(Arc<BTreeSet<Entry<I>>>),
    /// To `List::Sessions`.
    Sessions(Arc<Sessions<I>>),
    /// To `List::Sweeps`.
    Sweeps(Arc<Sweeps<I>>),
    /// To `List::Packs`.
    Packs(Arc<BTreeSet<I::Pack>>),
    /// To `Put` and `Delete`.
    Done,
    /// To `Read` and `ReadBack`: whether the bytes were there and right.
    Held(bool),
    /// To `StoreAgain`: the frames that now carry the content.
    Stored(BTreeMap<I::Frame, I::Frame>),
    /// To `Mark`.
    Marked(Arc<Needed<I>>),
    /// To `Copy` and `Mirror`: the pack (none if nothing was found) and the frames in it.
    Copied {
        /// The pack that holds them.
        pack: Option<I::Pack>,
        /// The frames that it holds.
        frames: BTreeSet<I::Frame>,
        /// Frames that were in none of the packs given for them. What is in neither set had no room, and is asked for again.
        vanished: BTreeSet<I::Frame>,
    },
    /// To `NewSession`.
    Session(I::Session),
    /// The effect failed, or nobody knows whether it did.
    Failed,
}
