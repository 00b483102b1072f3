//! The second half of a sweep: deleting what was condemned, by any maintainer, at any later time.
//!
//! Order: list the condemned parts; list sessions once; wait until each has ended, expired, or renewed
//! covering these parts; fold; copy what is needed and has no uncondemned place, in a session that is opened
//! only now; read the copy back; announce it and end the session in one entry; fold again if a source had
//! vanished; delete the packs, and the objects of sessions that the fold showed to be over. A session that
//! could still refer to a condemned pack was either waited for, or read the parts before it referred to
//! anything, or relies on a root, which is needed. Starting again after a crash is running it again.
//!
//! Where something is to be copied, packs that hold none of it go first: a full disk has no room for a copy
//! before. If copying fails all the same, what was copied until then is announced, and frees its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fold::{Fold, Folded, Folding};
use super::object::{
    Effect, Entry, EntryId, Fact, Ids, List, Mark, Name, Needed, Object, Reply, SessionObject,
};
use super::rules::{Rule, Rules};
use super::view::{Logs, Sessions, Standing, Sweeps};

/// What a finishing sweep may delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tidy {
    /// Condemned packs.
    Packs,
    /// Condemned packs, and the objects of sessions that are over.
    PacksAndSessions,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finished<I: Ids> {
    /// Everything that was condemned when it began is gone.
    Swept {
        /// Needed frames that were in none of their places; they were lost before.
        damaged: BTreeSet<I::Frame>,
    },
    /// Something failed; run it again later.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase<I: Ids> {
    Sweeps,
    NewSession,
    Opening,
    Sessions,
    WaitingLogs,
    WaitingSessions(Arc<Logs<I>>),
    Folding(Fold<I>),
    Marking(Arc<Folded<I>>),
    Checking { pack: I::Pack, frames: BTreeSet<I::Frame> },
    Freeing,
    Copying,
    ReadingBack { pack: I::Pack, frames: BTreeSet<I::Frame> },
    Announcing,
    Deleting,
}

/// What a fold asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Plan<I: Ids> {
    check: BTreeMap<I::Pack, BTreeSet<I::Frame>>,
    copy: BTreeMap<I::Frame, BTreeSet<I::Pack>>,
    delete: BTreeSet<Name<I>>,
    /// Condemned packs that an entry brought: all that is known to be in them has no other name.
    brought: BTreeSet<I::Pack>,
    /// What is deleted before anything more is copied.
    free: BTreeSet<Name<I>>,
    moved: BTreeMap<I::Frame, I::Pack>,
    fold_again: bool,
}

/// One finishing sweep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finish<I: Ids> {
    rules: Rules,
    tidy: Tidy,
    sweeps: Arc<Sweeps<I>>,
    waiting: BTreeSet<I::Session>,
    held: Option<I::Session>,
    early: Option<Arc<Folded<I>>>,
    seen: Option<Arc<Logs<I>>>,
    tried: BTreeMap<I::Frame, BTreeSet<I::Pack>>,
    damaged: BTreeSet<I::Frame>,
    plan: Option<Plan<I>>,
    gives_up: bool,
    phase: Phase<I>,
}

impl<I: Ids> Finish<I> {
    /// Finishes everything condemned so far; also the first effect.
    pub fn begin(rules: Rules, tidy: Tidy) -> (Self, Effect<I, Finished<I>>) {
        let mut finish = Self {
            rules,
            tidy,
            sweeps: Arc::default(),
            waiting: BTreeSet::new(),
            held: None,
            early: None,
            seen: None,
            tried: BTreeMap::new(),
            damaged: BTreeSet::new(),
            plan: None,
            gives_up: false,
            phase: Phase::Sweeps,
        };
        if rules.keep(Rule::NoSessionWhileWaiting) {
            return (finish, Effect::List(List::Sweeps));
        }
        finish.phase = Phase::NewSession;
        (finish, Effect::NewSession)
    }

    /// Sessions that it waits for; the driver may look for silence among them meanwhile.
    pub fn waiting(&self) -> &BTreeSet<I::Session> {
        &self.waiting
    }

    /// The session in which it copies, while it is open.
    pub fn held(&self) -> Option<&I::Session> {
        self.held.as_ref()
    }

    /// Whether the outstanding list belongs to the wait: it may be repeated after a pause.
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::WaitingLogs | Phase::WaitingSessions(_))
    }

    /// Takes the reply to the outstanding effect.
    pub fn step(&mut self, reply: Reply<I>) -> Effect<I, Finished<I>> {
        match (self.phase.clone(), self.or_empty(reply)) {
            (Phase::Sweeps, Reply::Sweeps(sweeps)) => self.take_sweeps(sweeps),
            (Phase::NewSession, Reply::Session(session)) => self.open(session),
            (Phase::Opening, Reply::Done) => self.opened(),
            (Phase::Sessions, Reply::Sessions(sessions)) => self.take_sessions(&sessions),
            (Phase::WaitingLogs, Reply::Logs(logs)) => {
                self.enter(Phase::WaitingSessions(logs), List::Sessions)
            }
            (Phase::WaitingSessions(logs), Reply::Sessions(sessions)) => self.poll(&logs, &sessions),
            (Phase::Folding(mut fold), reply) => {
                let next = fold.step(reply);
                self.fold(fold, next)
            }
            (Phase::Marking(folded), Reply::Marked(needed)) => self.decide(&folded, &needed),
            (Phase::Checking { frames, .. }, Reply::Held(held)) => self.checked(&frames, held),
            (Phase::Freeing, Reply::Done) => self.free_next(),
            (Phase::Copying, Reply::Copied { pack, frames, vanished }) => {
                self.copied(pack, frames, &vanished)
            }
            (Phase::Copying | Phase::ReadingBack { .. }, Reply::Failed) => self.give_up(),
            (Phase::ReadingBack { pack, frames }, Reply::Held(held)) => self.read_back(pack, frames, held),
            (Phase::Announcing, Reply::Done) => self.announced(),
            (Phase::Deleting, Reply::Done) => self.delete_next(),
            _ => Effect::Done(Finished::Failed),
        }
    }

    fn or_empty(&self, reply: Reply<I>) -> Reply<I> {
        if reply != Reply::Failed || self.rules.keep(Rule::FailedListStops) {
            return reply;
        }
        match self.phase {
            Phase::Sessions | Phase::WaitingSessions(_) => Reply::Sessions(Arc::default()),
            Phase::WaitingLogs => Reply::Logs(Arc::default()),
            Phase::Sweeps => Reply::Sweeps(Arc::default()),
            _ => reply,
        }
    }

    fn enter(&mut self, phase: Phase<I>, list: List<I>) -> Effect<I, Finished<I>> {
        self.phase = phase;
        Effect::List(list)
    }

    fn take_sweeps(&mut self, sweeps: Arc<Sweeps<I>>) -> Effect<I, Finished<I>> {
        self.sweeps = sweeps;
        self.enter(Phase::Sessions, List::Sessions)
    }

    fn take_sessions(&mut self, sessions: &Sessions<I>) -> Effect<I, Finished<I>> {
        let others =
            sessions.iter().filter(|(s, standing)| Some(*s) != self.held.as_ref() && !self.covered(standing));
        self.waiting = others.map(|(session, _)| session.clone()).collect();
        if !self.rules.keep(Rule::FinishFoldsAfterWaiting) {
            return self.begin_fold();
        }
        self.wait()
    }

    fn covered(&self, standing: &Standing<I>) -> bool {
        let stated = self.rules.keep(Rule::CoversAreStated);
        if stated { self.sweeps.parts().is_subset(&standing.covers) } else { standing.renewal > 0 }
    }

    fn wait(&mut self) -> Effect<I, Finished<I>> {
        let nothing = self.waiting.is_empty() || !self.rules.keep(Rule::FinishWaits);
        if !nothing {
            return self.enter(Phase::WaitingLogs, List::logs());
        }
        match self.early.take() {
            Some(folded) => self.mark(folded),
            None => self.begin_fold(),
        }
    }

    fn poll(&mut self, logs: &Arc<Logs<I>>, sessions: &Sessions<I>) -> Effect<I, Finished<I>> {
        let done = |session: &I::Session| {
            logs.is_over(session) || sessions.get(session).is_some_and(|standing| self.covered(standing))
        };
        let waiting = self.waiting.iter().filter(|session| !done(session)).cloned().collect();
        self.waiting = waiting;
        if !self.waiting.is_empty() {
            return self.enter(Phase::WaitingLogs, List::logs());
        }
        if !self.rules.keep(Rule::CompleteListing) {
            self.seen = Some(logs.clone());
        }
        self.wait()
    }

    fn begin_fold(&mut self) -> Effect<I, Finished<I>> {
        let objects = self.tidy == Tidy::PacksAndSessions;
        let (fold, next) = Fold::begin(self.rules, objects, self.seen.clone());
        self.fold(fold, next)
    }

    fn fold(&mut self, fold: Fold<I>, next: Folding<I>) -> Effect<I, Finished<I>> {
        self.phase = Phase::Folding(fold);
        next.effect(|folded| match folded {
            None => Effect::Done(Finished::Failed),
            Some(folded) if !self.rules.keep(Rule::FinishFoldsAfterWaiting) && self.early.is_none() => {
                self.early = Some(Arc::new(folded));
                self.wait()
            }
            Some(folded) => self.mark(Arc::new(folded)),
        })
    }

    fn mark(&mut self, folded: Arc<Folded<I>>) -> Effect<I, Finished<I>> {
        let mark = Mark {
            points: folded.points.clone(),
            logs: folded.logs.clone(),
            sweeps: self.sweeps.clone(),
            listed: None,
        };
        self.phase = Phase::Marking(folded);
        Effect::Mark(mark)
    }

    fn wants_place(&self, logs: &Logs<I>, frame: &I::Frame) -> bool {
        let counts = |pack: &I::Pack| {
            let condemned = self.sweeps.is_condemned(pack) && self.rules.keep(Rule::CondemnedIsNoPlace);
            let trusted = !logs.is_hearsay(frame, pack) || !self.rules.keep(Rule::MovedIsTrustedOrChecked);
            !condemned && trusted && !logs.is_absent(pack)
        };
        !logs.places(frame).iter().any(counts)
    }

    fn decide(&mut self, folded: &Folded<I>, needed: &Needed<I>) -> Effect<I, Finished<I>> {
        let packs = self.sweeps.packs();
        let sessions = folded.objects_over.iter().cloned().map(Name::Session);
        let delete = packs.iter().cloned().map(Name::Pack).chain(sessions).collect();
        let any = !self.rules.keep(Rule::FreesOnlyBrought);
        let brought = packs.into_iter().filter(|pack| any || folded.logs.is_brought(pack)).collect();
        let mut plan = Plan {
            check: BTreeMap::new(),
            copy: BTreeMap::new(),
            delete,
            brought,
            free: BTreeSet::new(),
            moved: BTreeMap::new(),
            fold_again: false,
        };
        for frame in needed
            .others
            .iter()
            .filter(|frame| self.wants_place(&folded.logs, frame))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.provide(folded, &frame, &mut plan);
        }
        self.plan = Some(plan);
        self.check_next()
    }

    /// Plans what keeps one needed frame that has no place that counts: places by hearsay are checked, and
    /// unless one of them holds the frame, it is copied. What was in none of its places when it was to be copied
    /// may be there all the same: these are not deleted.
    fn provide(&mut self, folded: &Folded<I>, frame: &I::Frame, plan: &mut Plan<I>) {
        let places = folded.logs.places(frame);
        let may_count = |pack: &&I::Pack| !self.sweeps.is_condemned(pack) && !folded.logs.is_absent(pack);
        for pack in places.iter().filter(may_count) {
            plan.check.entry(pack.clone()).or_default().insert(frame.clone());
        }
        if self.tried.get(frame).is_some_and(|tried| places.is_subset(tried)) {
            self.damaged.insert(frame.clone());
            if self.rules.keep(Rule::NotCopiedIsNotDeleted) {
                plan.delete.retain(|name| !matches!(name, Name::Pack(pack) if places.contains(pack)));
            }
        } else if self.rules.keep(Rule::CopyBeforeDelete) {
            plan.copy.insert(frame.clone(), places);
        }
    }

    fn plan(&mut self) -> &mut Plan<I> {
        self.plan.as_mut().expect("a fold was decided upon before anything is checked, copied or deleted")
    }

    fn check_next(&mut self) -> Effect<I, Finished<I>> {
        match self.plan().check.pop_first() {
            Some((pack, frames)) => {
                self.phase = Phase::Checking { pack: pack.clone(), frames: frames.clone() };
                Effect::ReadBack { pack, frames }
            }
            None => self.free(),
        }
    }

    fn checked(&mut self, frames: &BTreeSet<I::Frame>, held: bool) -> Effect<I, Finished<I>> {
        if held {
            self.plan().copy.retain(|frame, _| !frames.contains(frame));
        }
        self.check_next()
    }

    /// Deletes what holds nothing that is still to be copied, if anything is.
    fn free(&mut self) -> Effect<I, Finished<I>> {
        let plan = self.plan();
        if !plan.copy.is_empty() {
            let sources: BTreeSet<&I::Pack> = plan.copy.values().flatten().collect();
            let free = plan.brought.iter().filter(|pack| !sources.contains(pack));
            plan.free = free.cloned().map(Name::Pack).filter(|name| plan.delete.remove(name)).collect();
        }
        self.free_next()
    }

    fn free_next(&mut self) -> Effect<I, Finished<I>> {
        match self.plan().free.pop_first() {
            Some(name) => {
                self.phase = Phase::Freeing;
                Effect::Delete(name)
            }
            None if self.gives_up => Effect::Done(Finished::Failed),
            None => self.copy(),
        }
    }

    fn copy(&mut self) -> Effect<I, Finished<I>> {
        let frames = self.plan().copy.clone();
        match self.held.clone() {
            _ if frames.is_empty() => self.delete(),
            Some(session) => {
                self.phase = Phase::Copying;
                Effect::Copy { session, frames }
            }
            None => {
                self.phase = Phase::NewSession;
                Effect::NewSession
            }
        }
    }

    /// The session states the parts that it finishes, so other sweeps need not wait for it.
    fn open(&mut self, session: I::Session) -> Effect<I, Finished<I>> {
        self.held = Some(session.clone());
        self.phase = Phase::Opening;
        let covers = self.sweeps.parts();
        Effect::Put(Object::Session(SessionObject { session, renewal: 0, roots: BTreeSet::new(), covers }))
    }

    fn opened(&mut self) -> Effect<I, Finished<I>> {
        match self.plan {
            Some(_) => self.copy(),
            None => self.enter(Phase::Sweeps, List::Sweeps),
        }
    }

    fn copied(
        &mut self,
        pack: Option<I::Pack>,
        frames: BTreeSet<I::Frame>,
        vanished: &BTreeSet<I::Frame>,
    ) -> Effect<I, Finished<I>> {
        let again = self.rules.keep(Rule::FoldAgainWhenVanished);
        let plan = self.plan();
        plan.fold_again |= !vanished.is_empty() && again;
        let gone: Vec<_> = vanished.iter().filter_map(|frame| plan.copy.remove_entry(frame)).collect();
        self.tried.extend(gone);
        match pack {
            Some(pack) if self.rules.keep(Rule::ReadBackBeforeAnnounce) => {
                self.phase = Phase::ReadingBack { pack: pack.clone(), frames: frames.clone() };
                Effect::ReadBack { pack, frames }
            }
            Some(pack) => self.read_back(pack, frames, true),
            None => self.copied_all(),
        }
    }

    fn read_back(&mut self, pack: I::Pack, frames: BTreeSet<I::Frame>, held: bool) -> Effect<I, Finished<I>> {
        if !held {
            return self.copy();
        }
        let plan = self.plan();
        plan.copy.retain(|frame, _| !frames.contains(frame));
        plan.moved.extend(frames.into_iter().map(|frame| (frame, pack.clone())));
        if !plan.copy.is_empty() {
            return self.copy();
        }
        self.copied_all()
    }

    fn copied_all(&mut self) -> Effect<I, Finished<I>> {
        let nothing = self.plan().moved.is_empty();
        if self.rules.keep(Rule::AnnounceBeforeDelete) || nothing { self.announce() } else { self.delete() }
    }

    /// One entry announces the copies and ends the session.
    fn announce(&mut self) -> Effect<I, Finished<I>> {
        let session = self.held.take().expect("copies are made in a session");
        let moved = std::mem::take(&mut self.plan().moved);
        self.phase = Phase::Announcing;
        Effect::Put(Object::Entry(Entry {
            id: EntryId { session, sequence: 0 },
            maintainer: true,
            local: true,
            brings: moved.values().cloned().collect(),
            facts: moved.into_iter().map(|(frame, pack)| Fact::Moved { frame, pack }).collect(),
            ends: true,
        }))
    }

    /// No more can be copied, as on a full disk. What was copied counts, and nobody has to wait for this session.
    fn give_up(&mut self) -> Effect<I, Finished<I>> {
        self.gives_up = true;
        self.announce()
    }

    fn announced(&mut self) -> Effect<I, Finished<I>> {
        if self.gives_up {
            let knows_all = !self.plan().fold_again;
            return if knows_all { self.free() } else { Effect::Done(Finished::Failed) };
        }
        if self.plan().fold_again {
            self.plan = None;
            return self.begin_fold();
        }
        self.delete()
    }

    /// Names that may be deleted beside the one asked for, in any order, with one answer for all.
    pub fn take_deletions(&mut self) -> BTreeSet<Name<I>> {
        let frees = self.phase == Phase::Freeing;
        let names = self.plan.as_mut().map(|plan| if frees { &mut plan.free } else { &mut plan.delete });
        names.map(std::mem::take).unwrap_or_default()
    }

    fn delete(&mut self) -> Effect<I, Finished<I>> {
        self.phase = Phase::Deleting;
        self.delete_next()
    }

    fn delete_next(&mut self) -> Effect<I, Finished<I>> {
        match self.plan().delete.pop_first() {
            Some(name) => Effect::Delete(name),
            None if self.held.is_some() => self.announce(),
            None => Effect::Done(Finished::Swept { damaged: self.damaged.clone() }),
        }
    }
}
