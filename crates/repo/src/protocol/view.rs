//! Folds: what a set of log entries, of session objects and of condemned parts says, whatever the order in
//! which they arrived.
//!
//! [`Logs`], [`Sessions`] and [`Sweeps`] are one list each. [`View`] joins a list of logs and a list of sweeps
//! into the answer that references need. Folds are pure: adding an entry twice, or in another order, gives the
//! same value.

use std::collections::{BTreeMap, BTreeSet};

use super::object::{Entry, EntryId, Fact, Ids, SessionObject};
use super::rules::{Rule, Rules};

/// A point as its entry describes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Committed<I: Ids> {
    /// The entry that made it.
    pub entry: EntryId<I>,
    /// Its closure.
    pub frames: BTreeSet<I::Frame>,
}

/// The fold of a set of log entries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Logs<I: Ids> {
    entries: BTreeSet<EntryId<I>>,
    points: BTreeMap<I::Point, Committed<I>>,
    acknowledged: BTreeMap<I::Session, u64>,
    forgets: BTreeSet<(I::Point, EntryId<I>)>,
    undone: BTreeSet<(I::Point, EntryId<I>)>,
    holds: BTreeSet<(I::Point, EntryId<I>)>,
    released: BTreeSet<EntryId<I>>,
    brought: BTreeSet<I::Pack>,
    absent: BTreeSet<I::Pack>,
    moved: BTreeMap<I::Frame, BTreeMap<I::Pack, bool>>,
    ended: BTreeSet<I::Session>,
    expired: BTreeSet<I::Session>,
}

impl<I: Ids> Default for Logs<I> {
    fn default() -> Self {
        Self {
            entries: BTreeSet::new(),
            points: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            forgets: BTreeSet::new(),
            undone: BTreeSet::new(),
            holds: BTreeSet::new(),
            released: BTreeSet::new(),
            brought: BTreeSet::new(),
            absent: BTreeSet::new(),
            moved: BTreeMap::new(),
            ended: BTreeSet::new(),
            expired: BTreeSet::new(),
        }
    }
}

impl<I: Ids> Logs<I> {
    /// The fold of these entries.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry<I>>) -> Self
    where
        I: 'a,
    {
        let mut logs = Self::default();
        entries.into_iter().for_each(|entry| logs.add(entry));
        logs
    }

    /// Adds one entry.
    pub fn add(&mut self, entry: &Entry<I>) {
        self.entries.insert(entry.id.clone());
        self.brought.extend(entry.brings.iter().cloned());
        if entry.ends {
            self.ended.insert(entry.id.session.clone());
        }
        entry.facts.iter().for_each(|fact| self.add_fact(entry, fact));
    }

    fn add_fact(&mut self, entry: &Entry<I>, fact: &Fact<I>) {
        let id = entry.id.clone();
        match fact.clone() {
            Fact::Commit { point, frames } => {
                self.points.insert(point, Committed { entry: id, frames });
            }
            Fact::Acknowledged => {
                let behind = self.acknowledged.entry(id.session).or_default();
                *behind = id.sequence.max(*behind);
            }
            Fact::Forget { point } => {
                self.forgets.insert((point, id));
            }
            Fact::Undo { point, forgets } => {
                self.undone.extend(forgets.into_iter().map(|forget| (point.clone(), forget)));
            }
            Fact::Hold { point } => {
                self.holds.insert((point, id));
            }
            Fact::Release { hold } => {
                self.released.insert(hold);
            }
            Fact::Moved { frame, pack } => {
                let trusted = self.moved.entry(frame).or_default().entry(pack).or_default();
                *trusted |= entry.maintainer;
            }
            Fact::Absent { packs } => self.absent.extend(packs),
            Fact::Expired { session } => {
                self.expired.insert(session);
            }
        }
    }

    /// Adds everything that another fold knows.
    pub fn merge(&mut self, other: &Self) {
        self.entries.extend(other.entries.iter().cloned());
        self.points.extend(other.points.clone());
        for (session, sequence) in &other.acknowledged {
            let behind = self.acknowledged.entry(session.clone()).or_default();
            *behind = (*sequence).max(*behind);
        }
        self.forgets.extend(other.forgets.iter().cloned());
        self.undone.extend(other.undone.iter().cloned());
        self.holds.extend(other.holds.iter().cloned());
        self.released.extend(other.released.iter().cloned());
        self.brought.extend(other.brought.iter().cloned());
        self.absent.extend(other.absent.iter().cloned());
        for (frame, places) in &other.moved {
            for (pack, trusted) in places {
                *self.moved.entry(frame.clone()).or_default().entry(pack.clone()).or_default() |= trusted;
            }
        }
        self.ended.extend(other.ended.iter().cloned());
        self.expired.extend(other.expired.iter().cloned());
    }

    /// The greatest name among the entries.
    pub fn last(&self) -> Option<&EntryId<I>> {
        self.entries.last()
    }

    /// Whether the entry is in the fold.
    pub fn contains(&self, entry: &EntryId<I>) -> bool {
        self.entries.contains(entry)
    }

    /// The point, if an entry made it.
    pub fn point(&self, point: &I::Point) -> Option<&Committed<I>> {
        self.points.get(point)
    }

    /// Says what the point needs, where its entry did not.
    pub fn spell_out(&mut self, point: &I::Point, frames: BTreeSet<I::Frame>) {
        if let Some(committed) = self.points.get_mut(point) {
            committed.frames = frames;
        }
    }

    /// Every point that an entry made, forgotten or not.
    pub fn points(&self) -> impl Iterator<Item = (&I::Point, &Committed<I>)> {
        self.points.iter()
    }

    /// Whether the point is to be kept: committed, and held or not forgotten.
    pub fn is_live(&self, point: &I::Point) -> bool {
        self.points.contains_key(point) && (self.is_held(point) || self.forgets_of(point).is_empty())
    }

    /// Whether anybody ever forgot the point, whatever became of that.
    pub fn was_ever_forgotten(&self, point: &I::Point) -> bool {
        self.forgets.iter().any(|(forgotten, _)| forgotten == point)
    }

    fn is_held(&self, point: &I::Point) -> bool {
        self.holds.iter().any(|(held, entry)| held == point && !self.released.contains(entry))
    }

    /// The acts of forgetting that count against the point.
    pub fn forgets_of(&self, point: &I::Point) -> BTreeSet<EntryId<I>> {
        let counts = |forget: &&(I::Point, EntryId<I>)| forget.0 == *point && !self.undone.contains(*forget);
        self.forgets.iter().filter(counts).map(|(_, entry)| entry.clone()).collect()
    }

    /// Whether the writer of the point is known to have acknowledged it. What is not acknowledged may have
    /// been committed by an expired session, whose references no sweep waited for.
    pub fn is_acknowledged(&self, point: &I::Point) -> bool {
        let Some(committed) = self.points.get(point) else { return false };
        self.acknowledged.get(&committed.entry.session).is_some_and(|at| committed.entry.sequence < *at)
    }

    /// Whether the region never stored the pack that an entry brings, as far as it knows.
    pub fn is_absent(&self, pack: &I::Pack) -> bool {
        self.absent.contains(pack)
    }

    /// Every pack that the frame may lie in: its origin and the places it was moved to.
    pub fn places(&self, frame: &I::Frame) -> BTreeSet<I::Pack> {
        let origin = Some(I::origin(frame)).filter(|pack| self.brought.contains(pack));
        origin.into_iter().chain(self.moved.get(frame).into_iter().flat_map(|m| m.keys().cloned())).collect()
    }

    /// Whether the place rests on the word of somebody who is no maintainer.
    pub fn is_hearsay(&self, frame: &I::Frame, pack: &I::Pack) -> bool {
        I::origin(frame) != *pack && !self.moved.get(frame).and_then(|m| m.get(pack)).copied().unwrap_or(true)
    }

    /// Whether an entry brought the pack.
    pub fn is_brought(&self, pack: &I::Pack) -> bool {
        self.brought.contains(pack)
    }

    /// Whether the session ended by its own entry.
    pub fn is_ended(&self, session: &I::Session) -> bool {
        self.ended.contains(session)
    }

    /// Whether a sweeper let the session expire.
    pub fn is_expired(&self, session: &I::Session) -> bool {
        self.expired.contains(session)
    }

    /// Every session that sweeps need not wait for any more.
    pub fn sessions_over(&self) -> impl Iterator<Item = I::Session> {
        self.ended.iter().chain(&self.expired).cloned()
    }

    /// As whom the sessions uploaded that sweeps need not wait for any more.
    pub fn uploaders_over(&self) -> BTreeSet<I::Uploader> {
        self.ended.iter().chain(&self.expired).map(I::uploads_as).collect()
    }

    /// Whether sweeps need not wait for the session any more.
    pub fn is_over(&self, session: &I::Session) -> bool {
        self.is_ended(session) || self.is_expired(session)
    }
}

/// What the objects of one session say together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Standing<I: Ids> {
    /// Points it relies on, in any renewal.
    pub roots: BTreeSet<I::Point>,
    /// Parts that any renewal covers.
    pub covers: BTreeSet<I::Part>,
    /// The newest renewal.
    pub renewal: u32,
}

/// The fold of a list of session objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sessions<I: Ids> {
    standing: BTreeMap<I::Session, Standing<I>>,
}

impl<I: Ids> Default for Sessions<I> {
    fn default() -> Self {
        Self { standing: BTreeMap::new() }
    }
}

impl<I: Ids> Sessions<I> {
    /// The fold of these objects.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a SessionObject<I>>) -> Self
    where
        I: 'a,
    {
        let mut sessions = Self::default();
        for object in objects {
            let standing = sessions.standing.entry(object.session.clone()).or_insert_with(|| Standing {
                roots: BTreeSet::new(),
                covers: BTreeSet::new(),
                renewal: 0,
            });
            standing.roots.extend(object.roots.iter().cloned());
            standing.covers.extend(object.covers.iter().cloned());
            standing.renewal = standing.renewal.max(object.renewal);
        }
        sessions
    }

    /// Sessions with an object, ended or not.
    pub fn iter(&self) -> impl Iterator<Item = (&I::Session, &Standing<I>)> {
        self.standing.iter()
    }

    /// What the session says.
    pub fn get(&self, session: &I::Session) -> Option<&Standing<I>> {
        self.standing.get(session)
    }
}

/// The fold of a list of condemned parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sweeps<I: Ids> {
    parts: BTreeSet<I::Part>,
    packs: BTreeSet<I::Pack>,
}

impl<I: Ids> Default for Sweeps<I> {
    fn default() -> Self {
        Self { parts: BTreeSet::new(), packs: BTreeSet::new() }
    }
}

impl<I: Ids> Sweeps<I> {
    /// The fold of these parts.
    pub fn of(parts: impl IntoIterator<Item = (I::Part, BTreeSet<I::Pack>)>) -> Self {
        let mut sweeps = Self::default();
        for (part, packs) in parts {
            sweeps.parts.insert(part);
            sweeps.packs.extend(packs);
        }
        sweeps
    }

    /// Whether any sweep condemned the pack.
    pub fn is_condemned(&self, pack: &I::Pack) -> bool {
        self.packs.contains(pack)
    }

    /// The names of all parts.
    pub fn parts(&self) -> BTreeSet<I::Part> {
        self.parts.clone()
    }

    /// All condemned packs.
    pub fn packs(&self) -> BTreeSet<I::Pack> {
        self.packs.clone()
    }
}

/// What a session may refer to: logs, and the sweeps listed with them.
pub(crate) struct View<'a, I: Ids> {
    pub(crate) rules: Rules,
    pub(crate) logs: &'a Logs<I>,
    pub(crate) sweeps: &'a Sweeps<I>,
}

impl<I: Ids> View<'_, I> {
    /// Whether the frame has a place that no sweep condemned.
    pub(crate) fn has_place(&self, frame: &I::Frame) -> bool {
        self.logs.places(frame).iter().any(|pack| self.counts(pack) && !self.logs.is_absent(pack))
    }

    fn counts(&self, pack: &I::Pack) -> bool {
        !self.rules.keep(Rule::CondemnedIsNoPlace) || !self.sweeps.is_condemned(pack)
    }

    /// Whether everything under the point may be reused unchecked from now on. `seen`: an earlier list showed it already, so
    /// this one holds every expiry that its writer would have had to read.
    pub(crate) fn accepts_root(&self, point: &I::Point, seen: bool) -> bool {
        let Some(committed) = self.logs.point(point) else { return false };
        is_sure(self.rules, self.logs, point, seen)
            || committed.frames.iter().all(|frame| self.has_place(frame))
    }
}

/// Whether the point is live and counts, and always was, so that its closure need not be looked at.
pub(crate) fn is_sure<I: Ids>(rules: Rules, logs: &Logs<I>, point: &I::Point, seen: bool) -> bool {
    let Some(committed) = logs.point(point) else { return false };
    let seen = seen || !rules.keep(Rule::WitnessReadsTwice);
    let witnessed = seen && !logs.is_expired(&committed.entry.session);
    let acknowledged = logs.is_acknowledged(point) || witnessed || !rules.keep(Rule::RootsAreAcknowledged);
    let revived = logs.was_ever_forgotten(point) && rules.keep(Rule::RevivedIsChecked);
    acknowledged && logs.is_live(point) && !revived
}
