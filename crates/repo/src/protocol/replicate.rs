//! Replication: bringing the entries of one region into another, with what they make live.
//!
//! Order: a session at the source whose roots are the points to be copied; a session at the target; then entry
//! by entry, in the order of each chain, first those that make nothing live: every frame that the entry makes
//! live is stored in the target and read back, then the entry is written, then expiries are read as behind any
//! commit. So a target holds a prefix of each chain, and all that the points alive there need, at every moment.
//! A pack keeps its name, unless the target condemned that name or the source has the frames only elsewhere;
//! then they go into a pack of this session, announced as moved before the entry. What an entry brings and the
//! target did not store is announced as absent before the entry, for a target cannot tell otherwise. A run that expired may have
//! written an entry whose frames were swept meanwhile; it did not count, and the next run stores them again.

use std::collections::BTreeSet;

use super::object::{Effect, Entry, EntryId, Fact, Ids, List, Object, Reply};
use super::rules::{Rule, Rules};
use super::session::{Arrived, Known, Reference, Session};
use super::view::Logs;

/// Which region an effect is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// Where entries come from.
    Source,
    /// Where they go. Copies read from the source.
    Target,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Replicated {
    /// Everything that was there and could be brought is in the target and counts.
    Done,
    /// Something vanished, expired or failed: run it again. What was written is right as it is.
    Again,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase<I: Ids> {
    OpeningSource,
    OpeningTarget,
    Entries,
    Mirroring(I::Pack),
    Copying,
    ReadingBack(I::Pack, BTreeSet<I::Frame>),
    Announcing,
    Adopting,
    EndingTarget(Replicated),
    EndingSource(Replicated),
}

/// One run of replication.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicate<I: Ids> {
    rules: Rules,
    source: Session<I>,
    target: Session<I>,
    second: Option<(I::Session, BTreeSet<I::Point>)>,
    from: Option<Known<I>>,
    to: Option<Known<I>>,
    held: Logs<I>,
    left: BTreeSet<Entry<I>>,
    entry: Option<Entry<I>>,
    wanted: BTreeSet<I::Frame>,
    stored: BTreeSet<I::Frame>,
    mirrored: BTreeSet<I::Pack>,
    phase: Phase<I>,
}

/// What a replication asks for, and where.
pub type Asked<I> = (End, Effect<I, Replicated>);

impl<I: Ids> Replicate<I> {
    /// Replicates these points, and whatever needs none; also the first effect.
    pub fn begin(
        rules: Rules,
        source: I::Session,
        target: I::Session,
        points: BTreeSet<I::Point>,
    ) -> (Self, Asked<I>) {
        let (session, effect) = Session::open(rules, source, points.clone(), true);
        let (idle, _) = Session::open(rules, target.clone(), points.clone(), true);
        let mut replicate = Self {
            rules,
            source: session,
            target: idle,
            second: Some((target, points)),
            from: None,
            to: None,
            held: Logs::default(),
            left: BTreeSet::new(),
            entry: None,
            wanted: BTreeSet::new(),
            stored: BTreeSet::new(),
            mirrored: BTreeSet::new(),
            phase: Phase::OpeningSource,
        };
        let asked = replicate.pass(End::Source, effect);
        (replicate, asked)
    }

    /// The session at the source.
    pub fn source(&self) -> &Session<I> {
        &self.source
    }

    /// Takes the reply to the outstanding effect.
    pub fn step(&mut self, reply: Reply<I>) -> Asked<I> {
        match (self.phase.clone(), reply) {
            (Phase::OpeningSource | Phase::EndingSource(_), reply) => {
                let effect = self.source.step(reply);
                self.pass(End::Source, effect)
            }
            (Phase::OpeningTarget | Phase::Announcing | Phase::Adopting | Phase::EndingTarget(_), reply) => {
                let effect = self.target.step(reply);
                self.pass(End::Target, effect)
            }
            (Phase::Entries, Reply::Entries(entries)) => self.take_entries(&entries),
            (Phase::Mirroring(name), Reply::Copied { pack, frames, .. }) => {
                self.mirrored(&name, pack, frames)
            }
            (Phase::Copying, Reply::Copied { pack: Some(pack), frames, .. }) => self.copied(pack, frames),
            (Phase::ReadingBack(pack, frames), Reply::Held(true)) => self.stored(&pack, &frames),
            _ => self.end(Replicated::Again),
        }
    }

    fn pass(&mut self, end: End, effect: Effect<I, Arrived<I>>) -> Asked<I> {
        match effect {
            Effect::Put(Object::Session(_)) if !self.rules.keep(Rule::ReplicateInSessions) => {
                self.step(Reply::Done)
            }
            Effect::Done(arrived) => self.arrived(arrived),
            other => (end, other.map(|_| Replicated::Again)),
        }
    }

    fn arrived(&mut self, arrived: Arrived<I>) -> Asked<I> {
        match (self.phase.clone(), arrived) {
            (Phase::OpeningSource, Arrived::Open(known)) => self.open_target(known),
            (Phase::OpeningTarget, Arrived::Open(known)) => {
                self.held = (*known.logs).clone();
                self.to = Some(known);
                self.phase = Phase::Entries;
                (End::Source, Effect::List(List::Entries))
            }
            (Phase::Announcing, Arrived::Acknowledged) => self.copy(),
            (Phase::Adopting, Arrived::Acknowledged) => self.adopted(),
            (Phase::EndingTarget(outcome), Arrived::Ended) => self.end_source(outcome),
            (Phase::EndingSource(outcome), Arrived::Ended | Arrived::CommitAgain) => {
                (End::Source, Effect::Done(outcome))
            }
            (Phase::EndingSource(_), _) => (End::Source, Effect::Done(Replicated::Again)),
            (_, Arrived::CommitAgain) => self.end_source(Replicated::Again),
            _ => self.end(Replicated::Again),
        }
    }

    fn open_target(&mut self, known: Known<I>) -> Asked<I> {
        self.from = Some(known);
        self.phase = Phase::OpeningTarget;
        let (id, points) = self.second.take().expect("the target is opened once");
        let (session, effect) = Session::open(self.rules, id, points, true);
        self.target = session;
        self.pass(End::Target, effect)
    }

    fn source_logs(&self) -> &Logs<I> {
        &self.from.as_ref().expect("the source was read before the target").logs
    }

    fn take_entries(&mut self, entries: &BTreeSet<Entry<I>>) -> Asked<I> {
        let known = self.source_logs();
        let new =
            |entry: &&Entry<I>| !entry.local && known.contains(&entry.id) && !self.held.contains(&entry.id);
        self.left = entries.iter().filter(new).cloned().collect();
        let there = self.source.accepted().iter().filter(|point| self.held.is_live(point));
        self.wanted = self.closure(there);
        self.copy()
    }

    fn closure<'a>(&self, points: impl Iterator<Item = &'a I::Point>) -> BTreeSet<I::Frame>
    where
        I: 'a,
    {
        let logs = self.source_logs();
        points.filter_map(|point| logs.point(point)).flat_map(|c| c.frames.iter().cloned()).collect()
    }

    fn next(&mut self) -> Asked<I> {
        let quiet = self.left.iter().find(|entry| self.follows(entry) && self.makes_live(entry).is_empty());
        let next =
            quiet.or_else(|| self.left.iter().find(|entry| self.follows(entry) && self.may_bring(entry)));
        let Some(entry) = next.cloned() else { return self.end(Replicated::Done) };
        self.left.remove(&entry);
        self.wanted = self.closure(self.makes_live(&entry).iter());
        self.entry = Some(entry);
        if self.rules.keep(Rule::ClosureBeforeEntry) { self.copy() } else { self.adopt() }
    }

    fn follows(&self, entry: &Entry<I>) -> bool {
        let EntryId { session, sequence } = entry.id.clone();
        let first = sequence == 0 || !self.rules.keep(Rule::EntriesInOrder);
        first || self.held.contains(&EntryId { session, sequence: sequence - 1 })
    }

    /// Points that the target would have to keep once it holds the entry.
    fn makes_live(&self, entry: &Entry<I>) -> BTreeSet<I::Point> {
        let mut after = self.held.clone();
        after.add(entry);
        let named = entry.facts.iter().filter_map(|fact| match fact {
            Fact::Commit { point, .. } | Fact::Undo { point, .. } | Fact::Hold { point } => {
                Some(point.clone())
            }
            _ => None,
        });
        named.filter(|point| after.is_live(point)).collect()
    }

    fn may_bring(&self, entry: &Entry<I>) -> bool {
        self.makes_live(entry).is_subset(self.source.accepted())
    }

    /// Stores the next frames that the entry wants, then writes the entry.
    fn copy(&mut self) -> Asked<I> {
        let to = self.to.clone().expect("the target was read before anything is copied");
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted
            .retain(|frame| !self.stored.contains(frame) && self.target.refer(&to, frame) != Reference::Use);
        self.wanted = wanted;
        let Some(frame) = self.wanted.first().cloned() else { return self.wanted_are_stored() };
        let origin = I::origin(&frame);
        if !to.sweeps.is_condemned(&origin) {
            self.phase = Phase::Mirroring(origin.clone());
            return (End::Target, Effect::Mirror { pack: origin });
        }
        self.repack()
    }

    fn wanted_are_stored(&mut self) -> Asked<I> {
        let Some(entry) = &self.entry else { return self.next() };
        let packs: BTreeSet<_> = entry.brings.difference(&self.mirrored).cloned().collect();
        if packs.is_empty() || !self.rules.keep(Rule::AbsentIsAnnounced) {
            return self.adopt();
        }
        self.mirrored.extend(packs.iter().cloned());
        self.phase = Phase::Announcing;
        self.request(|target| target.commit(vec![Fact::Absent { packs }], false))
    }

    fn repack(&mut self) -> Asked<I> {
        let logs = self.source_logs();
        let frames = self.wanted.iter().map(|frame| (frame.clone(), logs.places(frame))).collect();
        self.phase = Phase::Copying;
        (End::Target, Effect::Copy { session: self.target.id().clone(), frames })
    }

    fn mirrored(&mut self, name: &I::Pack, pack: Option<I::Pack>, frames: BTreeSet<I::Frame>) -> Asked<I> {
        match pack {
            None => self.repack(),
            Some(_) => self.read_back(name.clone(), frames),
        }
    }

    fn copied(&mut self, pack: I::Pack, frames: BTreeSet<I::Frame>) -> Asked<I> {
        self.target.uploading(pack.clone(), BTreeSet::new());
        self.target.stored(&pack);
        self.read_back(pack, frames)
    }

    fn read_back(&mut self, pack: I::Pack, frames: BTreeSet<I::Frame>) -> Asked<I> {
        let frames: BTreeSet<_> = frames.intersection(&self.wanted).cloned().collect();
        if !self.rules.keep(Rule::ReadBackBeforeCounting) {
            return self.stored(&pack, &frames);
        }
        self.phase = Phase::ReadingBack(pack.clone(), frames.clone());
        (End::Target, Effect::ReadBack { pack, frames })
    }

    fn stored(&mut self, pack: &I::Pack, frames: &BTreeSet<I::Frame>) -> Asked<I> {
        self.stored.extend(frames.iter().cloned());
        self.mirrored.insert(pack.clone());
        if frames.iter().all(|frame| I::origin(frame) == *pack) {
            return self.copy();
        }
        let facts =
            frames.iter().map(|frame| Fact::Moved { frame: frame.clone(), pack: pack.clone() }).collect();
        self.phase = Phase::Announcing;
        self.request(|target| target.commit(facts, false))
    }

    fn adopt(&mut self) -> Asked<I> {
        let entry = self.entry.take().expect("an entry is chosen before its frames are");
        self.held.add(&entry);
        self.phase = Phase::Adopting;
        self.request(|target| target.adopt(entry))
    }

    fn adopted(&mut self) -> Asked<I> {
        if self.rules.keep(Rule::ClosureBeforeEntry) { self.next() } else { self.copy() }
    }

    fn end(&mut self, outcome: Replicated) -> Asked<I> {
        if outcome == Replicated::Again && !self.target.is_idle() {
            return self.end_source(outcome);
        }
        self.phase = Phase::EndingTarget(outcome);
        self.request(Session::end)
    }

    fn end_source(&mut self, outcome: Replicated) -> Asked<I> {
        self.phase = Phase::EndingSource(outcome);
        match self.source.end() {
            Ok(effect) => self.pass(End::Source, effect),
            Err(_) => (End::Source, Effect::Done(Replicated::Again)),
        }
    }

    fn request(
        &mut self,
        ask: impl FnOnce(&mut Session<I>) -> Result<Effect<I, Arrived<I>>, super::session::Refusal>,
    ) -> Asked<I> {
        match ask(&mut self.target) {
            Ok(effect) => self.pass(End::Target, effect),
            Err(_) => self.end_source(Replicated::Again),
        }
    }
}

/// Whether a writer may bring its entry into a region itself: a different connection saw every pack of the
/// closure there, and the region holds the writer's previous entry. A region that does not is fed by
/// replication alone, or its chain would have a hole.
pub fn may_feed<I: Ids>(rules: Rules, logs: &Logs<I>, entry: &EntryId<I>, packs_held: bool) -> bool {
    let EntryId { session, sequence } = entry.clone();
    let follows = sequence == 0 || logs.contains(&EntryId { session, sequence: sequence.saturating_sub(1) });
    (packs_held || !rules.keep(Rule::ReadBackBeforeCounting))
        && (follows || !rules.keep(Rule::PreviousEntryBeforeCounting))
}

/// Whether so many regions hold the commit, each seen through a different connection, that it counts.
pub fn is_acknowledged<I: Ids>(seen: &[&Logs<I>], entry: &EntryId<I>, wanted: usize) -> bool {
    seen.iter().filter(|logs| logs.contains(entry)).count() >= wanted
}
