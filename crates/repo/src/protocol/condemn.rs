//! The first half of a sweep: condemning packs.
//!
//! Packs are listed before the fold, so that what is stored meanwhile is not looked at. Condemned is what no
//! needed frame lies in and what an entry brought, or whose uploading session is over; and whatever the policy
//! wants repacked. Nothing here can lose data: the second half copies what turns out to be needed. Condemning
//! is final; nothing is ever released.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fold::{Fold, Folded, Folding, Scope};
use super::object::{Effect, Ids, List, Object, Reply};
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
    Writing,
}

/// One act of condemning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condemn<I: Ids> {
    rules: Rules,
    part: I::Part,
    repack: BTreeSet<I::Pack>,
    listed: BTreeSet<I::Pack>,
    chosen: BTreeSet<I::Pack>,
    phase: Phase<I>,
}

impl<I: Ids> Condemn<I> {
    /// Condemns under this name; `repack` are packs to be condemned although some of their frames are needed.
    pub fn begin(rules: Rules, part: I::Part, repack: BTreeSet<I::Pack>) -> (Self, Effect<I, Condemned<I>>) {
        let listed = BTreeSet::new();
        let condemn = Self { rules, part, repack, listed, chosen: BTreeSet::new(), phase: Phase::Packs };
        (condemn, Effect::List(List::Packs))
    }

    /// Takes the reply to the outstanding effect.
    pub fn step(&mut self, reply: Reply<I>) -> Effect<I, Condemned<I>> {
        match (self.phase.clone(), reply) {
            (Phase::Packs, Reply::Packs(packs)) => {
                self.listed = (*packs).clone();
                let (fold, next) = Fold::begin(self.rules, Scope { condemned: None, objects: false }, None);
                self.fold(fold, next)
            }
            (Phase::Folding(mut fold), reply) => {
                let next = fold.step(reply);
                self.fold(fold, next)
            }
            (Phase::Sweeps(folded), Reply::Sweeps(sweeps)) => self.choose(&folded, &sweeps),
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

    fn choose(&mut self, folded: &Folded<I>, sweeps: &Sweeps<I>) -> Effect<I, Condemned<I>> {
        self.listed.retain(|pack| !sweeps.is_condemned(pack));
        let kept: BTreeSet<I::Pack> =
            folded.needed.iter().filter_map(|frame| self.keeper(folded, frame)).collect();
        let unneeded = self.listed.iter().filter(|pack| !kept.contains(*pack) && self.is_ripe(folded, pack));
        let repacked = self.repack.intersection(&self.listed);
        self.chosen = unneeded.chain(repacked).cloned().collect();
        if self.chosen.is_empty() {
            return Effect::Done(Condemned::Packs(BTreeSet::new()));
        }
        self.phase = Phase::Writing;
        Effect::Put(Object::Part { part: self.part.clone(), packs: self.chosen.clone() })
    }

    /// The one place of the frame that stays.
    fn keeper(&self, folded: &Folded<I>, frame: &I::Frame) -> Option<I::Pack> {
        let places = folded.logs.places(frame);
        let logs = &folded.logs;
        places
            .into_iter()
            .find(|p| self.listed.contains(p) && !logs.is_hearsay(frame, p) && !logs.is_absent(p))
    }

    fn is_ripe(&self, folded: &Folded<I>, pack: &I::Pack) -> bool {
        folded.logs.is_brought(pack)
            || folded.logs.is_over(&I::uploader(pack))
            || !self.rules.keep(Rule::OrphansOfEndedSessions)
    }
}
