//! Who works on two regions: a replicator, and a writer that feeds both.

use std::collections::BTreeSet;
use std::rc::Rc;

use repo::protocol::{
    End, Fact, List, Object, Replicate, Replicated, Rules, Session, is_acknowledged, may_feed,
};

use super::actor::{Actor, Do, Kind, Move, plain};
use super::ids::{Effect, Entry, Frame, Pack, Reply, Tiny, entry_id};

/// Runs of replication, one after the other, from the first region to the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicator {
    rules: Rules,
    /// Sessions at both ends, and the points to bring.
    runs: Rc<Vec<(u8, u8, BTreeSet<u8>)>>,
    run: usize,
    copies: u8,
    work: Option<(Box<Replicate<Tiny>>, u8, Do)>,
}

impl Replicator {
    pub fn new(rules: Rules, runs: Vec<(u8, u8, BTreeSet<u8>)>) -> Self {
        Self { rules, runs: Rc::new(runs), run: 0, copies: 0, work: None }
    }

    /// The session at the source.
    pub fn session(&self) -> Option<&Session<Tiny>> {
        self.work.as_ref().map(|(replicate, _, _)| replicate.source())
    }

    pub fn moves(&self, actor: &Actor) -> Vec<Move> {
        if let Some((_, region, act)) = &self.work {
            let act = match act {
                Do::Effect(Effect::Copy { session, frames }) => {
                    Do::CopyInto { pack: Pack(*session, self.copies), frames: frames.clone(), from: 0 }
                }
                other => other.clone(),
            };
            return vec![Move { region: *region, ..actor.to(Kind::Replicator(self.clone()), act) }];
        }
        let (source, target, points) = self.runs[self.run].clone();
        let (replicate, (end, effect)) = Replicate::begin(self.rules, source, target, points);
        let act = plain(effect).expect("a replication begins with an effect");
        let begun = Self { work: Some((Box::new(replicate), number(end), act)), ..self.clone() };
        begun.moves(actor)
    }

    pub fn reply(mut self, reply: Reply, counted: &mut u64) -> Kind {
        let Some((mut replicate, _, act)) = self.work.take() else { return Kind::Over };
        self.copies += u8::from(matches!(act, Do::Effect(Effect::Copy { .. })));
        let (end, effect) = replicate.step(reply);
        match plain(effect) {
            Ok(act) => self.work = Some((replicate, number(end), act)),
            Err(outcome) => {
                if outcome == Replicated::Done {
                    *counted |= replicate.source().accepted().iter().map(|point| 1 << point).sum::<u64>();
                }
                self.run += 1;
                self.copies = 0;
                if self.run == self.runs.len() {
                    return Kind::Over;
                }
            }
        }
        Kind::Replicator(self)
    }
}

fn number(end: End) -> u8 {
    match end {
        End::Source => 0,
        End::Target => 1,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Feeding {
    Begin,
    Storing,
    Checking,
    Looking(bool),
    Writing,
    LookingAgain,
    Away,
}

/// A writer that brings each entry into both regions by itself, where it may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Feeder {
    rules: Rules,
    session: u8,
    entries: u8,
    entry: u8,
    region: u8,
    at: Feeding,
}

impl Feeder {
    pub fn new(rules: Rules, session: u8, entries: u8) -> Self {
        Self { rules, session, entries, entry: 0, region: 0, at: Feeding::Begin }
    }

    fn pack(&self) -> Pack {
        Pack(self.session, self.entry)
    }

    fn frames(&self) -> BTreeSet<Frame> {
        BTreeSet::from([Frame(self.pack(), 0)])
    }

    fn entry(&self) -> Entry {
        let commit = Fact::Commit { point: self.entry + 1, frames: self.frames() };
        Entry {
            id: entry_id(self.session, u64::from(self.entry)),
            maintainer: false,
            local: false,
            brings: BTreeSet::from([self.pack()]),
            facts: vec![commit],
            ends: false,
        }
    }

    pub fn moves(&self, actor: &Actor) -> Vec<Move> {
        let to = |at, act| Move {
            region: self.region,
            ..actor.to(Kind::Feeder(Self { at, ..self.clone() }), act)
        };
        let store = Do::PutPack { pack: self.pack(), frames: self.frames() };
        let check = Do::Effect(Effect::ReadBack { pack: self.pack(), frames: self.frames() });
        let logs = Do::Effect(Effect::List(List::logs()));
        match self.at {
            Feeding::Begin if self.region == 1 => {
                vec![to(Feeding::Storing, store), to(Feeding::Away, Do::Skip)]
            }
            Feeding::Begin => vec![to(Feeding::Storing, store)],
            Feeding::Storing => vec![to(Feeding::Checking, check)],
            Feeding::Looking(_) | Feeding::LookingAgain => vec![to(self.at, logs)],
            Feeding::Writing => {
                vec![to(Feeding::Writing, Do::Effect(Effect::Put(Object::Entry(self.entry()))))]
            }
            Feeding::Checking | Feeding::Away => Vec::new(),
        }
    }

    pub fn reply(mut self, reply: &Reply, counted: &mut [u64; 2]) -> Kind {
        let id = entry_id(self.session, u64::from(self.entry));
        match (self.at, reply) {
            (Feeding::Storing, _) => {}
            (Feeding::Checking, Reply::Held(held)) => self.at = Feeding::Looking(*held),
            (Feeding::Looking(held), Reply::Logs(logs)) if may_feed(self.rules, logs, &id, held) => {
                self.at = Feeding::Writing;
            }
            (Feeding::Writing, _) => self.at = Feeding::LookingAgain,
            (Feeding::LookingAgain, Reply::Logs(logs)) => {
                let bit = u64::from(is_acknowledged(&[logs], &id, 1));
                counted[usize::from(self.region)] |= bit << (self.entry + 1);
                return self.go_on();
            }
            _ => return self.go_on(),
        }
        Kind::Feeder(self)
    }

    fn go_on(self) -> Kind {
        let (entry, region) = if self.region == 0 { (self.entry, 1) } else { (self.entry + 1, 0) };
        if entry == self.entries {
            return Kind::Over;
        }
        Kind::Feeder(Self { entry, region, at: Feeding::Begin, ..self })
    }
}
