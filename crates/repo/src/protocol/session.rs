//! A session: the one way to rely on objects of a region while a sweep may delete there.
//!
//! Order: the session object, naming its roots, is written; then logs and condemned parts are listed; then
//! roots that do not hold are given up. After that a frame under an accepted root may be used unchecked, any
//! other needs a place that no listed sweep condemned. A renewal lists again, has condemned references stored
//! again, and only then states which parts it covers; meanwhile nothing else passes. Behind each commit entry
//! the logs are read once more: an expired session does not acknowledge, its work is committed again by a new
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::object::{Effect, Entry, EntryId, Fact, Ids, List, Object, Reply, SessionObject};
use super::rules::{Rule, Rules};
use super::view::{Logs, Sweeps, View, is_sure};

/// Where a session arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arrived<I: Ids> {
    /// The region was read; references may be asked for until the next renewal.
    Open(Known<I>),
    /// A renewal was written; what was known before it must not be asked again.
    Renewed(Known<I>),
    /// Everything committed so far counts, and the session goes on.
    Acknowledged,
    /// Everything committed so far counts, and the session is over.
    Ended,
    /// The session expired before its commit was seen to count: commit again in a new session.
    CommitAgain,
    /// A list or an entry failed. The driver may repeat the request; nothing was acknowledged.
    Failed,
}

/// What a session read of its region, good for references until the session renews.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Known<I: Ids> {
    /// The logs.
    pub logs: Arc<Logs<I>>,
    /// The condemned parts.
    pub sweeps: Arc<Sweeps<I>>,
    renewal: u32,
}

/// Whether a frame may be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// It may; the session remembers it where it must.
    Use,
    /// It has no place that counts: store the content again.
    Store,
    /// What the caller knows is from before a renewal, or the session is renewing: look again, then ask.
    Outdated,
}

/// Why a request was turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Another effect of this session is outstanding.
    Busy,
    /// The point needs a frame that is neither under an accepted root nor referred to in this session.
    Unreferenced,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase<I: Ids> {
    Announcing,
    ListingLogs,
    ListingSweeps(Arc<Logs<I>>),
    StoringAgain(Known<I>, BTreeSet<I::Frame>),
    Renewing(Known<I>),
    Idle,
    Committing(Entry<I>),
    ReadingExpiries,
    Over,
}

/// One session of a writer, a restore, an undo, a hold, or one end of a replication.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session<I: Ids> {
    rules: Rules,
    id: I::Session,
    local: bool,
    roots: BTreeSet<I::Point>,
    seen: BTreeSet<I::Point>,
    accepted: BTreeSet<I::Point>,
    under: BTreeSet<I::Frame>,
    uncommitted: BTreeSet<I::Frame>,
    uploading: BTreeMap<I::Pack, BTreeSet<I::Frame>>,
    unbrought: BTreeSet<I::Pack>,
    covers: BTreeSet<I::Part>,
    early: Option<Known<I>>,
    renewal: u32,
    sequence: u64,
    last: bool,
    late: Option<Entry<I>>,
    phase: Phase<I>,
}

impl<I: Ids> Session<I> {
    /// A session that relies on these roots, and its first effect. `local`: its chain speaks only of objects
    /// of this region and is never replicated.
    pub fn open(
        rules: Rules,
        id: I::Session,
        roots: BTreeSet<I::Point>,
        local: bool,
    ) -> (Self, Effect<I, Arrived<I>>) {
        let phase =
            if rules.keep(Rule::SessionBeforeReading) { Phase::Announcing } else { Phase::ListingLogs };
        let session = Self {
            rules,
            id,
            local,
            roots,
            seen: BTreeSet::new(),
            accepted: BTreeSet::new(),
            under: BTreeSet::new(),
            uncommitted: BTreeSet::new(),
            uploading: BTreeMap::new(),
            unbrought: BTreeSet::new(),
            covers: BTreeSet::new(),
            early: None,
            renewal: 0,
            sequence: 0,
            last: false,
            late: None,
            phase,
        };
        let effect = session.again();
        (session, effect)
    }

    /// Its roots that a list of logs showed which was complete before the session was opened.
    #[must_use]
    pub fn having_seen(mut self, points: BTreeSet<I::Point>) -> Self {
        self.seen = points;
        self
    }

    /// Its id.
    pub fn id(&self) -> &I::Session {
        &self.id
    }

    /// Roots that hold. Nothing under them is deleted while the session runs.
    pub fn accepted(&self) -> &BTreeSet<I::Point> {
        &self.accepted
    }

    /// Roots that hold only if everything under them has a place: their closures have to be spelled out in the logs that the
    /// session is opened with.
    pub fn unsure<'a>(&'a self, logs: &'a Logs<I>) -> impl Iterator<Item = &'a I::Point> {
        let unsure = |root: &&I::Point| !is_sure(self.rules, logs, root, self.seen.contains(*root));
        self.roots.iter().filter(unsure)
    }

    /// Parts that the session's objects cover.
    pub fn covers(&self) -> &BTreeSet<I::Part> {
        &self.covers
    }

    /// Whether a request would be taken.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Asks whether a frame may be referred to, and remembers it if so.
    pub fn refer(&mut self, known: &Known<I>, frame: &I::Frame) -> Reference {
        if known.renewal != self.renewal || !self.is_idle() {
            return Reference::Outdated;
        }
        if self.under.contains(frame) {
            return Reference::Use;
        }
        if self.rules.keep(Rule::ReferencesAreChecked)
            && !self.view(&known.logs, &known.sweeps).has_place(frame)
        {
            return Reference::Store;
        }
        self.uncommitted.insert(frame.clone());
        Reference::Use
    }

    /// Remembers an upload that begins, and its frames. No entry needs them before the upload is stored.
    pub fn uploading(&mut self, pack: I::Pack, frames: impl IntoIterator<Item = I::Frame>) {
        self.uploading.insert(pack, frames.into_iter().collect());
    }

    /// Remembers that the upload is in the region.
    pub fn stored(&mut self, pack: &I::Pack) {
        if let Some(frames) = self.uploading.remove(pack) {
            self.uncommitted.extend(frames);
            self.unbrought.insert(pack.clone());
        }
    }

    /// The name under which an upload is repeated whose outcome is unknown: never the same, for it may have
    /// been written and deleted meanwhile.
    pub fn rename(&mut self, unknown: I::Pack, fresh: I::Pack) -> I::Pack {
        let name = if self.rules.keep(Rule::NamesOnce) { fresh } else { unknown.clone() };
        if let Some(frames) = self.uploading.remove(&unknown) {
            self.uploading.insert(name.clone(), frames);
        }
        name
    }

    /// Asks for a renewal.
    ///
    /// # Errors
    /// [`Refusal::Busy`] while an effect is outstanding.
    pub fn renew(&mut self) -> Result<Effect<I, Arrived<I>>, Refusal> {
        self.idle()?;
        self.renewal += 1;
        self.phase = Phase::ListingLogs;
        Ok(Effect::List(List::logs()))
    }

    /// In the place of storing again: the renewal states what earlier ones did and nothing more, and `known`, which is from
    /// before it, stays good. Sweeps that condemned what this session refers to wait for its end, and then find it needed.
    ///
    /// # Errors
    /// [`Refusal::Busy`] unless the outstanding effect is to store again.
    pub fn renew_as_it_was(&mut self, known: &Known<I>) -> Result<Effect<I, Arrived<I>>, Refusal> {
        match self.phase {
            Phase::StoringAgain(..) => {
                let known = Known { renewal: self.renewal, ..known.clone() };
                Ok(self.enter(Phase::Renewing(known)))
            }
            _ => Err(Refusal::Busy),
        }
    }

    /// Asks for an entry with these facts; with `last`, the entry also ends the session.
    ///
    /// # Errors
    /// [`Refusal::Busy`] while an effect is outstanding; [`Refusal::Unreferenced`] when a fact makes a point
    /// live that rests on something the session does not vouch for.
    pub fn commit(&mut self, facts: Vec<Fact<I>>, last: bool) -> Result<Effect<I, Arrived<I>>, Refusal> {
        let renewing = matches!(self.phase, Phase::StoringAgain(..) | Phase::Renewing(_));
        if renewing && !self.rules.keep(Rule::NothingDuringRenewal) {
            self.late = Some(self.entry(facts, last));
            return Err(Refusal::Busy);
        }
        self.idle()?;
        if !facts.iter().all(|fact| self.vouches_for(fact)) {
            return Err(Refusal::Unreferenced);
        }
        let entry = self.entry(facts, last);
        Ok(self.enter(Phase::Committing(entry)))
    }

    /// Asks for an entry of another chain to be written into this region. Its caller vouches for what the
    /// entry makes live.
    ///
    /// # Errors
    /// [`Refusal::Busy`] while an effect is outstanding.
    pub fn adopt(&mut self, entry: Entry<I>) -> Result<Effect<I, Arrived<I>>, Refusal> {
        self.idle()?;
        Ok(self.enter(Phase::Committing(entry)))
    }

    /// Asks for the end of the session. The entry also says that all earlier ones were acknowledged.
    ///
    /// # Errors
    /// [`Refusal::Busy`] while an effect is outstanding.
    pub fn end(&mut self) -> Result<Effect<I, Arrived<I>>, Refusal> {
        self.commit(vec![Fact::Acknowledged], true)
    }

    /// The outstanding effect once more, after it failed. A repeated entry is the same entry.
    pub fn again(&self) -> Effect<I, Arrived<I>> {
        match &self.phase {
            Phase::Announcing | Phase::Renewing(_) => Effect::Put(Object::Session(self.object())),
            Phase::ListingLogs | Phase::ReadingExpiries => Effect::List(List::logs()),
            Phase::ListingSweeps(_) => Effect::List(List::Sweeps),
            Phase::StoringAgain(_, lost) => Effect::StoreAgain(lost.clone()),
            Phase::Committing(entry) => Effect::Put(Object::Entry(entry.clone())),
            Phase::Idle => Effect::Done(Arrived::Acknowledged),
            Phase::Over => Effect::Done(Arrived::Ended),
        }
    }

    /// Takes the reply to the outstanding effect. A reply that does not fit counts as a failure.
    pub fn step(&mut self, reply: Reply<I>) -> Effect<I, Arrived<I>> {
        match (self.phase.clone(), reply) {
            (Phase::Announcing, Reply::Done) => self.read_or_open(),
            (Phase::ListingLogs, Reply::Logs(logs)) => self.enter(Phase::ListingSweeps(logs)),
            (Phase::ListingSweeps(logs), Reply::Sweeps(sweeps)) => {
                self.take_view(Known { logs, sweeps, renewal: self.renewal })
            }
            (Phase::StoringAgain(known, _), Reply::Stored(by)) => self.replace(known, &by),
            (Phase::Renewing(known), Reply::Done) => self.renewed(known),
            (Phase::Committing(entry), Reply::Done) => {
                let pointed = entry.facts.iter().any(|fact| matches!(fact, Fact::Commit { .. }));
                self.committed(pointed, entry.ends && entry.id.session == self.id)
            }
            (Phase::ReadingExpiries, Reply::Logs(logs)) => self.read_expiries(&logs),
            _ => Effect::Done(Arrived::Failed),
        }
    }

    fn enter(&mut self, phase: Phase<I>) -> Effect<I, Arrived<I>> {
        self.phase = phase;
        self.again()
    }

    fn idle(&self) -> Result<(), Refusal> {
        if self.is_idle() { Ok(()) } else { Err(Refusal::Busy) }
    }

    fn view<'a>(&self, logs: &'a Logs<I>, sweeps: &'a Sweeps<I>) -> View<'a, I> {
        View { rules: self.rules, logs, sweeps }
    }

    fn arrive(&mut self, phase: Phase<I>, arrived: Arrived<I>) -> Effect<I, Arrived<I>> {
        self.phase = phase;
        Effect::Done(arrived)
    }

    fn object(&self) -> SessionObject<I> {
        let roots = if self.rules.keep(Rule::BasisIsRoot) { self.roots.clone() } else { BTreeSet::new() };
        SessionObject { session: self.id.clone(), renewal: self.renewal, roots, covers: self.covers.clone() }
    }

    fn read_or_open(&mut self) -> Effect<I, Arrived<I>> {
        match self.early.take() {
            Some(known) => self.arrive(Phase::Idle, Arrived::Open(known)),
            None => self.enter(Phase::ListingLogs),
        }
    }

    fn take_view(&mut self, known: Known<I>) -> Effect<I, Arrived<I>> {
        if self.renewal > 0 {
            return self.check_again(known);
        }
        self.accept_roots(&known);
        if self.rules.keep(Rule::SessionBeforeReading) {
            return self.arrive(Phase::Idle, Arrived::Open(known));
        }
        self.early = Some(known);
        self.enter(Phase::Announcing)
    }

    fn accept_roots(&mut self, known: &Known<I>) {
        let view = View { rules: self.rules, logs: &known.logs, sweeps: &known.sweeps };
        let unchecked = !self.rules.keep(Rule::RootsAreChecked);
        for root in &self.roots {
            if unchecked || view.accepts_root(root, self.seen.contains(root)) {
                self.accepted.insert(root.clone());
                self.under.extend(known.logs.point(root).into_iter().flat_map(|c| c.frames.iter().cloned()));
            }
        }
    }

    fn check_again(&mut self, known: Known<I>) -> Effect<I, Arrived<I>> {
        if self.rules.keep(Rule::RecheckBeforeRenewal) {
            let view = self.view(&known.logs, &known.sweeps);
            let lost: BTreeSet<_> =
                self.uncommitted.iter().filter(|frame| !self.has_good_place(&view, frame)).cloned().collect();
            if !lost.is_empty() {
                return self.enter(Phase::StoringAgain(known, lost));
            }
        }
        self.write_renewal(known)
    }

    /// A frame of a pack that no entry brings yet lies where this session put it.
    fn has_good_place(&self, view: &View<'_, I>, frame: &I::Frame) -> bool {
        let origin = I::origin(frame);
        let own = self.unbrought.contains(&origin) && !view.sweeps.is_condemned(&origin);
        own || view.has_place(frame)
    }

    fn replace(&mut self, known: Known<I>, by: &BTreeMap<I::Frame, I::Frame>) -> Effect<I, Arrived<I>> {
        for (old, new) in by {
            self.uncommitted.remove(old);
            self.uncommitted.insert(new.clone());
            self.unbrought.insert(I::origin(new));
        }
        self.write_renewal(known)
    }

    fn write_renewal(&mut self, known: Known<I>) -> Effect<I, Arrived<I>> {
        self.covers = known.sweeps.parts();
        self.enter(Phase::Renewing(known))
    }

    fn renewed(&mut self, known: Known<I>) -> Effect<I, Arrived<I>> {
        match self.late.take() {
            Some(entry) => self.enter(Phase::Committing(entry)),
            None => self.arrive(Phase::Idle, Arrived::Renewed(known)),
        }
    }

    fn vouches_for(&self, fact: &Fact<I>) -> bool {
        match fact {
            Fact::Commit { frames, .. } => frames.iter().all(|frame| self.may_commit(frame)),
            Fact::Undo { point, .. } | Fact::Hold { point } => self.accepted.contains(point),
            _ => true,
        }
    }

    fn may_commit(&self, frame: &I::Frame) -> bool {
        let uploading = !self.rules.keep(Rule::DataBeforeEntry)
            && self.uploading.values().any(|frames| frames.contains(frame));
        uploading || self.under.contains(frame) || self.uncommitted.contains(frame)
    }

    fn entry(&mut self, facts: Vec<Fact<I>>, last: bool) -> Entry<I> {
        let id = EntryId { session: self.id.clone(), sequence: self.sequence };
        self.sequence += 1;
        let mut brings = self.unbrought.clone();
        if !self.rules.keep(Rule::DataBeforeEntry) {
            brings.extend(self.uploading.keys().cloned());
        }
        Entry { id, maintainer: false, local: self.local, brings, facts, ends: last }
    }

    /// References wait for their point: an entry that only brings packs leaves them as they are, to be checked again at
    /// each renewal, for what it brought may be condemned from now on.
    fn committed(&mut self, pointed: bool, last: bool) -> Effect<I, Arrived<I>> {
        if pointed {
            self.uncommitted.clear();
        }
        self.unbrought.clear();
        self.last = last;
        if self.rules.keep(Rule::AcknowledgeAfterExpiries) {
            self.enter(Phase::ReadingExpiries)
        } else {
            self.acknowledge()
        }
    }

    fn read_expiries(&mut self, logs: &Logs<I>) -> Effect<I, Arrived<I>> {
        if logs.is_expired(&self.id) {
            return self.arrive(Phase::Over, Arrived::CommitAgain);
        }
        self.acknowledge()
    }

    fn acknowledge(&mut self) -> Effect<I, Arrived<I>> {
        if self.last {
            self.arrive(Phase::Over, Arrived::Ended)
        } else {
            self.arrive(Phase::Idle, Arrived::Acknowledged)
        }
    }
}
