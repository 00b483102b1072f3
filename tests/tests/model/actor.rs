//! Drivers of the step functions, as the model runs them: who asks for what, in which order, and where they
//! may choose. An actor does one thing to the store at a time and may stop for ever before any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use repo::protocol::{List, Object, Restore, Restored, Rules};

use super::ids::{Effect, Entry, Frame, Pack, Reply, Tiny};
use super::keeper::{Errand, Keeper};
use super::regions::{Feeder, Replicator};
use super::sweeper::{Sweeper, Task};
use super::writer::{Job, Writer};

/// One thing done to the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Do {
    Effect(Effect),
    PutPack {
        pack: Pack,
        frames: BTreeSet<Frame>,
    },
    /// Copies as `Effect::Copy`, into this pack.
    CopyInto {
        pack: Pack,
        frames: BTreeMap<Frame, BTreeSet<Pack>>,
        from: u8,
    },
    /// Nothing.
    Skip,
    /// Expires some running session; every one is tried.
    ExpireAny {
        by: u8,
        among: Rc<BTreeSet<u8>>,
    },
    /// Condemns these packs; only what is there.
    CondemnThese {
        part: u8,
        packs: BTreeSet<Pack>,
    },
}

/// When a move makes sense at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    Always,
    /// A sweep waits for a renewal that covers more than this.
    Uncovered(BTreeSet<u8>),
}

/// One thing that an actor may do next.
#[derive(Clone, Debug)]
pub struct Move {
    pub actor: Actor,
    pub region: u8,
    pub act: Do,
    pub when: When,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Writer(Writer),
    Sweeper(Sweeper),
    Keeper(Keeper),
    Restorer(Rules, u8, u8, Option<(Box<Restore<Tiny>>, Do)>),
    Expirer { by: u8, left: u8, among: Rc<BTreeSet<u8>> },
    Announcer(Option<Entry>),
    Replicator(Replicator),
    Feeder(Feeder),
    Over,
}

/// One actor and what the world knows of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    pub kind: Kind,
    /// Where it works.
    pub region: u8,
    /// Points whose commit it acknowledged in each region, as bits.
    pub acknowledged: [u64; 2],
    /// Points whose undo or hold it acknowledged, as bits.
    pub revived: u64,
    /// A restore found a frame nowhere.
    pub damage: Option<u8>,
    /// The first page of a list of logs, while the second is outstanding.
    pub page: Option<Rc<BTreeSet<Entry>>>,
}

/// What is to be done, or what a machine arrived at.
pub fn plain<Outcome>(effect: repo::protocol::Effect<Tiny, Outcome>) -> Result<Do, Outcome> {
    let mut outcome = None;
    let effect = effect.map(|done| outcome = Some(done));
    outcome.map_or(Ok(Do::Effect(effect)), Err)
}

impl Actor {
    fn of(kind: Kind) -> Self {
        Self { kind, region: 0, acknowledged: [0; 2], revived: 0, damage: None, page: None }
    }

    pub fn writer(rules: Rules, jobs: Vec<Job>) -> Self {
        Self::of(Kind::Writer(Writer::new(rules, Rc::new(jobs), 0)))
    }

    pub fn sweeper(rules: Rules, tasks: Vec<Task>, sessions: Vec<u8>) -> Self {
        Self::of(Kind::Sweeper(Sweeper::new(rules, tasks, sessions)))
    }

    pub fn keeper(rules: Rules, errands: Vec<Errand>) -> Self {
        Self::of(Kind::Keeper(Keeper::new(rules, errands)))
    }

    pub fn restorer(rules: Rules, session: u8, point: u8) -> Self {
        Self::of(Kind::Restorer(rules, session, point, None))
    }

    pub fn expirer(by: u8, times: u8, among: &[u8]) -> Self {
        Self::of(Kind::Expirer { by, left: times, among: Rc::new(among.iter().copied().collect()) })
    }

    pub fn announcer(entry: Entry) -> Self {
        Self::of(Kind::Announcer(Some(entry)))
    }

    pub fn in_region(self, region: u8) -> Self {
        Self { region, ..self }
    }

    pub fn replicator(rules: Rules, runs: Vec<(u8, u8, BTreeSet<u8>)>) -> Self {
        Self::of(Kind::Replicator(Replicator::new(rules, runs)))
    }

    pub fn feeder(rules: Rules, session: u8, entries: u8) -> Self {
        Self::of(Kind::Feeder(Feeder::new(rules, session, entries)))
    }

    /// May stay where it is for ever without being stuck.
    pub fn may_rest(&self) -> bool {
        matches!(self.kind, Kind::Over | Kind::Expirer { .. })
    }

    pub fn is_waiting(&self) -> bool {
        matches!(&self.kind, Kind::Sweeper(sweeper) if sweeper.is_waiting())
    }

    /// The session that is open, and the roots it relies on, as bits.
    pub fn rooted(&self) -> Option<(u8, u64)> {
        let session = match &self.kind {
            Kind::Writer(writer) => writer.session()?,
            Kind::Keeper(keeper) => keeper.session()?,
            Kind::Restorer(_, _, _, Some((restore, _))) => restore.session(),
            Kind::Replicator(replicator) => replicator.session()?,
            _ => return None,
        };
        Some((*session.id(), session.accepted().iter().map(|point| 1 << point).sum()))
    }

    /// What it may do next.
    pub fn moves(&self) -> Vec<Move> {
        match &self.kind {
            Kind::Writer(writer) => writer.moves(self),
            Kind::Sweeper(sweeper) => sweeper.moves(self),
            Kind::Keeper(keeper) => keeper.moves(self),
            Kind::Restorer(rules, session, point, None) => {
                let (restore, effect) = Restore::begin(*rules, *session, *point);
                let act = plain(effect).expect("a restore begins with an effect");
                let begun = Kind::Restorer(*rules, *session, *point, Some((Box::new(restore), act.clone())));
                vec![self.to(begun, act)]
            }
            Kind::Restorer(_, _, _, Some((_, act))) => vec![self.to(self.kind.clone(), act.clone())],
            Kind::Expirer { left: 0, .. } | Kind::Over | Kind::Announcer(None) => Vec::new(),
            Kind::Expirer { by, left, among } => {
                let act = Do::ExpireAny { by: *by, among: among.clone() };
                vec![self.to(Kind::Expirer { by: by + 1, left: left - 1, among: among.clone() }, act)]
            }
            Kind::Replicator(replicator) => replicator.moves(self),
            Kind::Feeder(feeder) => feeder.moves(self),
            Kind::Announcer(Some(entry)) => {
                let act = Do::Effect(Effect::Put(Object::Entry(entry.clone())));
                vec![self.to(Kind::Announcer(None), act)]
            }
        }
    }

    pub fn to(&self, kind: Kind, act: Do) -> Move {
        Move { actor: Self { kind, ..self.clone() }, region: self.region, act, when: When::Always }
    }

    /// Goes on with what came of its move.
    pub fn reply(mut self, reply: Reply) -> Self {
        let kind = std::mem::replace(&mut self.kind, Kind::Over);
        self.kind = match kind {
            Kind::Writer(writer) => writer.reply(reply, &mut self.acknowledged[0]),
            Kind::Sweeper(sweeper) => sweeper.reply(reply),
            Kind::Keeper(keeper) => keeper.reply(reply, &mut self.revived),
            Kind::Restorer(rules, session, point, Some((mut restore, _))) => match plain(restore.step(reply))
            {
                Ok(act) => Kind::Restorer(rules, session, point, Some((restore, act))),
                Err(Restored::Finished { damaged }) => {
                    self.damage = (!damaged.is_empty()).then_some(session);
                    Kind::Over
                }
                Err(_) => Kind::Over,
            },
            Kind::Announcer(_) => Kind::Over,
            Kind::Replicator(replicator) => replicator.reply(reply, &mut self.acknowledged[1]),
            Kind::Feeder(feeder) => feeder.reply(&reply, &mut self.acknowledged),
            other => other,
        };
        self
    }
}

/// Whether the act is this list.
pub fn is_list(act: &Do, which: &List<Tiny>) -> bool {
    matches!(act, Do::Effect(Effect::List(list)) if list == which)
}
