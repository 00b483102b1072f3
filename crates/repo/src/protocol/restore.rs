//! Restoring one point: a session whose root is the point, then every frame from any of its places.
//!
//! A frame that is in none of the places known so far is not damaged yet: a sweep may have moved it. The
//! restore lists the logs again and tries every place that it has not tried since; only when a list shows no
//! new place is the frame reported.

use std::collections::BTreeSet;

use super::object::{Effect, Ids, List, Reply};
use super::rules::{Rule, Rules};
use super::session::{Arrived, Session};
use super::view::Logs;

/// How a restore went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Restored<I: Ids> {
    /// Every frame was read, but for those given here, which are in no place.
    Finished {
        /// Frames that are nowhere.
        damaged: BTreeSet<I::Frame>,
    },
    /// The point is not there, was forgotten and swept, or never counted.
    NoPoint,
    /// A list or a write failed.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase<I: Ids> {
    Opening,
    Reading { frame: I::Frame, untried: BTreeSet<I::Pack> },
    LookingAgain { frame: I::Frame },
    Ending(Restored<I>),
}

/// One restore.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Restore<I: Ids> {
    rules: Rules,
    session: Session<I>,
    point: I::Point,
    left: BTreeSet<I::Frame>,
    tried: BTreeSet<I::Pack>,
    damaged: BTreeSet<I::Frame>,
    logs: Option<std::sync::Arc<Logs<I>>>,
    phase: Phase<I>,
}

impl<I: Ids> Restore<I> {
    /// A restore of the point in a session of this id, and its first effect.
    pub fn begin(rules: Rules, id: I::Session, point: I::Point) -> (Self, Effect<I, Restored<I>>) {
        let (session, effect) = Session::open(rules, id, BTreeSet::from([point.clone()]), true);
        let restore = Self {
            rules,
            session,
            point,
            left: BTreeSet::new(),
            tried: BTreeSet::new(),
            damaged: BTreeSet::new(),
            logs: None,
            phase: Phase::Opening,
        };
        (restore, pass(effect))
    }

    /// The session that protects the restore.
    pub fn session(&self) -> &Session<I> {
        &self.session
    }

    /// Takes the reply to the outstanding effect.
    pub fn step(&mut self, reply: Reply<I>) -> Effect<I, Restored<I>> {
        match (self.phase.clone(), reply) {
            (Phase::Reading { .. }, Reply::Held(true)) => self.begin_frame(),
            (Phase::Reading { frame, untried }, Reply::Held(false)) => self.try_place(frame, untried),
            (Phase::LookingAgain { frame }, Reply::Logs(logs)) => self.look(frame, logs),
            (Phase::Opening | Phase::Ending(_), reply) => self.step_session(reply),
            _ => Effect::Done(Restored::Failed),
        }
    }

    fn step_session(&mut self, reply: Reply<I>) -> Effect<I, Restored<I>> {
        match (self.session.step(reply), self.phase.clone()) {
            (Effect::Done(Arrived::Open(known)), _) => self.opened(known.logs),
            (Effect::Done(Arrived::Failed), _) => Effect::Done(Restored::Failed),
            (Effect::Done(_), Phase::Ending(outcome)) => Effect::Done(outcome),
            (effect, _) => pass(effect),
        }
    }

    fn opened(&mut self, logs: std::sync::Arc<Logs<I>>) -> Effect<I, Restored<I>> {
        let accepted = self.session.accepted().contains(&self.point);
        match logs.point(&self.point).filter(|_| accepted) {
            None => self.end(Restored::NoPoint),
            Some(committed) => {
                self.left = committed.frames.clone();
                self.logs = Some(logs);
                self.begin_frame()
            }
        }
    }

    fn begin_frame(&mut self) -> Effect<I, Restored<I>> {
        self.tried.clear();
        match (self.left.pop_first(), self.logs.clone()) {
            (Some(frame), Some(logs)) => {
                let places = logs.places(&frame);
                self.try_place(frame, places)
            }
            _ => {
                self.logs = None;
                let damaged = self.damaged.clone();
                self.end(Restored::Finished { damaged })
            }
        }
    }

    fn try_place(&mut self, frame: I::Frame, mut untried: BTreeSet<I::Pack>) -> Effect<I, Restored<I>> {
        match untried.pop_first() {
            Some(pack) => {
                self.tried.insert(pack.clone());
                self.phase = Phase::Reading { frame: frame.clone(), untried };
                Effect::Read { frame, pack }
            }
            None if self.rules.keep(Rule::RestoreLooksAgain) => {
                self.phase = Phase::LookingAgain { frame };
                Effect::List(List::logs())
            }
            None => self.report(frame),
        }
    }

    fn report(&mut self, frame: I::Frame) -> Effect<I, Restored<I>> {
        self.damaged.insert(frame);
        self.begin_frame()
    }

    fn look(&mut self, frame: I::Frame, logs: std::sync::Arc<Logs<I>>) -> Effect<I, Restored<I>> {
        let new: BTreeSet<_> = logs.places(&frame).difference(&self.tried).cloned().collect();
        self.logs = Some(logs);
        if new.is_empty() { self.report(frame) } else { self.try_place(frame, new) }
    }

    fn end(&mut self, outcome: Restored<I>) -> Effect<I, Restored<I>> {
        self.phase = Phase::Ending(outcome);
        match self.session.end() {
            Ok(effect) => pass(effect),
            Err(_) => Effect::Done(Restored::Failed),
        }
    }
}

fn pass<I: Ids>(effect: Effect<I, Arrived<I>>) -> Effect<I, Restored<I>> {
    effect.map(|_| Restored::Failed)
}
