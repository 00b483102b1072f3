//! Forgetting, and taking it back.
//!
//! Forgetting makes nothing live and needs no session: it is one entry. Undo and hold make a point live, so
//! they are sessions whose root is the point: either it is live and acknowledged, or its whole closure still
//! has uncondemned places. What was condemned meanwhile is gone for an undo, whatever still lies there.

use std::collections::BTreeSet;

use super::object::{Effect, Entry, EntryId, Fact, Ids, Object, Reply};
use super::rules::{Rule, Rules};
use super::session::{Arrived, Session};
use super::view::Logs;

/// The entry that forgets a point; `id` is the next place in the chain of whoever forgets.
pub fn forget<I: Ids>(id: EntryId<I>, point: I::Point) -> Entry<I> {
    Entry {
        id,
        maintainer: false,
        local: false,
        brings: BTreeSet::new(),
        facts: vec![Fact::Forget { point }],
        ends: true,
    }
}

/// What makes the point live again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Take back every forgetting seen.
    Undo,
    /// Keep it, whatever is forgotten.
    Hold,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revived {
    /// The point is live, and was restorable when this became true.
    Yes,
    /// Part of the point is condemned or was never there.
    Gone,
    /// The session expired before the act counted: do it again.
    Again,
    /// A list or a write failed.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    Opening,
    Acting,
    GivingUp,
}

/// One undo or hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revive<I: Ids> {
    rules: Rules,
    session: Session<I>,
    act: Act,
    point: I::Point,
    phase: Phase,
}

impl<I: Ids> Revive<I> {
    /// The act upon the point in a session of this id, and its first effect.
    pub fn begin(rules: Rules, id: I::Session, act: Act, point: I::Point) -> (Self, Effect<I, Revived>) {
        let (session, effect) = Session::open(rules, id, BTreeSet::from([point.clone()]), false);
        let mut revive = Self { rules, session, act, point, phase: Phase::Opening };
        let effect = revive.pass(effect);
        (revive, effect)
    }

    /// The session that protects the point meanwhile.
    pub fn session(&self) -> &Session<I> {
        &self.session
    }

    /// Takes the reply to the outstanding effect.
    pub fn step(&mut self, reply: Reply<I>) -> Effect<I, Revived> {
        let effect = self.session.step(reply);
        self.pass(effect)
    }

    fn pass(&mut self, effect: Effect<I, Arrived<I>>) -> Effect<I, Revived> {
        match effect {
            Effect::Put(Object::Session(_)) if !self.rules.keep(Rule::ReviveInSession) => {
                self.step(Reply::Done)
            }
            Effect::Done(arrived) => self.arrived(arrived),
            other => other.map(|_| Revived::Failed),
        }
    }

    fn arrived(&mut self, arrived: Arrived<I>) -> Effect<I, Revived> {
        match (self.phase, arrived) {
            (Phase::Opening, Arrived::Open(known)) => self.act(&known.logs),
            (Phase::Acting, Arrived::Ended) => Effect::Done(Revived::Yes),
            (Phase::GivingUp, Arrived::Ended) => Effect::Done(Revived::Gone),
            (_, Arrived::CommitAgain) => Effect::Done(Revived::Again),
            _ => Effect::Done(Revived::Failed),
        }
    }

    fn act(&mut self, logs: &Logs<I>) -> Effect<I, Revived> {
        let request = if self.session.accepted().contains(&self.point) {
            self.phase = Phase::Acting;
            self.session.commit(vec![self.fact(logs)], true)
        } else {
            self.phase = Phase::GivingUp;
            self.session.end()
        };
        request.map_or(Effect::Done(Revived::Failed), |effect| self.pass(effect))
    }

    fn fact(&self, logs: &Logs<I>) -> Fact<I> {
        let point = self.point.clone();
        match self.act {
            Act::Undo => Fact::Undo { forgets: logs.forgets_of(&point), point },
            Act::Hold => Fact::Hold { point },
        }
    }
}
