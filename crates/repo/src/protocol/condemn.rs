//! The first half of a sweep: condemning packs.
//!
//! Packs are listed before the fold, so that what is stored meanwhile is not looked at. Condemned is what no
//! needed frame lies in and what an entry brought, or whose uploading session is over; and whatever the policy
//! wants repacked. Nothing here can lose data: the second half copies what turns out to be needed. Condemning
//! is final; nothing is ever released.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fold::{Fold, Folded, Folding};
use super::object::{Effect, Ids, List, Mark, Needed, Object, Reply};
use super::rules::{Rule, Rules};
use super::view::Sweeps;

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condemned<I: Ids> {
    /// These packs are condemned from now on, by everybody; may be none.
    Packs(BTreeSet<I::Pack>),
    /// A list or the write failed; nothing changed, or the part was written after all.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase<I: Ids> {
    Packs,
    Folding(Fold<I>),
    Sweeps(Arc<Folded<I>>),
    Marking(Mark<I>),
    Writing,
}

/// One act of condemning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condemn<I: Ids> {
    rules: Rules,
    part: I::Part,
    repack: BTreeSet<I::Pack>,
    most: usize,
    listed: Arc<BTreeSet<I::Pack>>,
    chosen: BTreeSet<I::Pack>,
    phase: Phase<I>,
}

impl<I: Ids> Condemn<I> {
    /// Condemns under this name; `repack` are packs to be condemned although some of their frames are needed.
    pub fn begin(
        rules: Rules,
        part: I::Part,
        repack: BTreeSet<I::Pack>,
        most: usize,
    ) -> (Self, Effect<I, Condemned<I>>) {
        let listed = Arc::default();
        let condemn =
            Self { rules, part, repack, most, listed, chosen: BTreeSet::new(), phase: Phase::Packs };
        (condemn, Effect::List(List::Packs))
    }

    /// Takes the reply to the outstanding effect.
    pub fn step(&mut self, reply: Reply<I>) -> Effect<I, Condemned<I>> {
        match (self.phase.clone(), reply) {
            (Phase::Packs, Reply::Packs(packs)) => {
                self.listed = packs;
                let (fold, next) = Fold::begin(self.rules, false, None);
                self.fold(fold, next)
            }
            (Phase::Folding(mut fold), reply) => {
                let next = fold.step(reply);
                self.fold(fold, next)
            }
            (Phase::Sweeps(folded), Reply::Sweeps(sweeps)) => self.mark(&folded, sweeps),
            (Phase::Marking(mark), Reply::Marked(needed)) => self.choose(&mark, &needed),
            (Phase::Writing, Reply::Done) => Effect::Done(Condemned::Packs(self.chosen.clone())),
            _ => Effect::Done(Condemned::Failed),
        }
    }

    fn fold(&mut self, fold: Fold<I>, next: Folding<I>) -> Effect<I, Condemned<I>> {
        self.phase = Phase::Folding(fold);
        next.effect(|folded| match folded {
            Some(folded) => {
                self.phase = Phase::Sweeps(Arc::new(folded));
                Effect::List(List::Sweeps)
            }
            None => Effect::Done(Condemned::Failed),
        })
    }

    fn mark(&mut self, folded: &Folded<I>, sweeps: Arc<Sweeps<I>>) -> Effect<I, Condemned<I>> {
        let left = self.listed.iter().filter(|pack| !sweeps.is_condemned(pack)).cloned().collect();
        self.listed = Arc::new(left);
        let (points, logs) = (folded.points.clone(), folded.logs.clone());
        let mark = Mark { points, logs, sweeps, listed: Some(self.listed.clone()) };
        self.phase = Phase::Marking(mark.clone());
        Effect::Mark(mark)
    }

    fn choose(&mut self, mark: &Mark<I>, needed: &Needed<I>) -> Effect<I, Condemned<I>> {
        let over = mark.logs.uploaders_over();
        let elsewhere = needed.others.iter().filter_map(|frame| mark.keeper(frame));
        let kept: BTreeSet<I::Pack> = needed.staying.iter().cloned().chain(elsewhere).collect();
        let is_ripe = |pack: &I::Pack| {
            mark.logs.is_brought(pack)
                || over.contains(&I::uploader(pack))
                || !self.rules.keep(Rule::OrphansOfEndedSessions)
        };
        let unneeded = self.listed.iter().filter(|pack| !kept.contains(*pack) && is_ripe(pack));
        let repacked = self.repack.intersection(&self.listed);
        self.chosen = unneeded.chain(repacked).take(self.most).cloned().collect();
        if self.chosen.is_empty() {
            return Effect::Done(Condemned::Packs(BTreeSet::new()));
        }
        self.phase = Phase::Writing;
        Effect::Put(Object::Part { part: self.part.clone(), packs: self.chosen.clone() })
    }
}
