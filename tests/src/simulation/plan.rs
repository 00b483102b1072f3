//! A history before it is played: who appears, when, with which wrong clock, how often it lives and where it dies, and
//! how often each fault happens. All of it follows from one seed, each choice from a stream of its own, so what is cut
//! away leaves the rest as it was.

use std::collections::BTreeSet;
use std::time::Duration;

use repo::protocol::Rule;
use storage::{Fault, Odds, Verb};
use world::Chance;

use super::place::Death;
use super::plant::Plant;
use super::stage::{Actor, happens, stream};

/// Faults that the protocol survives. A late listing breaks what is assumed of a place, and a repository is begun before
/// the faults begin.
pub const FAULTS: [Fault; 11] = [
    Fault::Before,
    Fault::After,
    Fault::Lost,
    Fault::Late,
    Fault::Torn,
    Fault::Cut,
    Fault::Short,
    Fault::Flipped,
    Fault::Denied,
    Fault::Full,
    Fault::Slow,
];

/// What an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Makes points of a source of its own.
    Writer,
    /// Brings points back.
    Restorer,
    /// Verifies points.
    Verifier,
    /// Forgets points, takes that back, pins and holds.
    Keeper,
    /// Deletes what nothing needs.
    Sweeper,
    /// Checks the history without any key.
    Auditor,
}

/// The state that a life begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// As the life before left it; of the first life, none.
    AsLeft,
    /// As it was when the life before began.
    Older,
    /// That of another host.
    CloneOf(Actor),
}

/// One life of an actor.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// What it remembers.
    pub memory: Memory,
    /// Things that it sets out to do.
    pub acts: u64,
    /// Where it ends, if it ends before them.
    pub death: Option<Death>,
    /// How long nobody is there before it begins.
    pub before: Duration,
}

/// One actor.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its number, which its streams of chance follow from.
    pub actor: Actor,
    /// What it does.
    pub part: Part,
    /// How far its wall clock is ahead, in nanoseconds.
    pub ahead_ns: i64,
    /// Its lives, one after the other.
    pub lives: Vec<Life>,
    /// It waits between acts for up to so many seconds.
    pub rest_max: u64,
    /// Whether it tries again what fails for a moment, as the command line does.
    pub is_patient: bool,
    /// Whether it goes on until the history has all that a history must have.
    pub goes_on: bool,
}

/// One history.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything follows from.
    pub seed: u64,
    /// Who appears.
    pub roles: Vec<Role>,
    /// How often each fault happens, in thousandths.
    pub odds: Odds,
    /// The same once a sweep has deleted something: what is torn stays torn, and sweeps refuse to go on until somebody has
    /// looked at it.
    pub odds_later: Odds,
    /// A fault that the first actor meets at its first call of this verb.
    pub sure: (Verb, Fault),
    /// After so many steps everybody dies.
    pub steps_max: Option<u64>,
    /// A bug that is planted.
    pub plant: Option<Plant>,
}

/// What is left out of a history, to find a shorter one that breaks the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Actors that do not appear.
    pub actors: BTreeSet<Actor>,
    /// Faults that do not happen.
    pub faults: BTreeSet<Fault>,
    /// After so many steps everybody dies.
    pub steps_max: Option<u64>,
}

impl Plan {
    /// The history of this seed.
    pub fn draw(seed: u64, plant: Option<Plant>) -> Plan {
        let mut chance = stream(seed, "cast", 0);
        let mut parts = vec![Part::Writer; 3 + usize::from(chance.below(8) == 0)];
        parts.extend([Part::Keeper, Part::Sweeper]);
        let more = [Part::Restorer, Part::Sweeper, Part::Verifier, Part::Auditor];
        let odds = [3, 3, 8, 8];
        parts.extend(
            more.into_iter().zip(odds).filter(|(_, odds)| chance.below(*odds) == 0).map(|(part, _)| part),
        );
        let roles =
            parts.into_iter().enumerate().map(|(actor, part)| Role::draw(seed, actor, part)).collect();
        let odds_later = draw_odds(seed, plant);
        let mut odds = odds_later.clone();
        odds.remove(&Fault::Torn);
        Plan { seed, roles, odds, odds_later, sure: draw_sure(seed), steps_max: None, plant }
    }

    /// The same without what is cut away.
    pub fn cut(mut self, cut: &Cut) -> Plan {
        self.roles.retain(|role| !cut.actors.contains(&role.actor));
        self.odds.retain(|fault, _| !cut.faults.contains(fault));
        self.odds_later.retain(|fault, _| !cut.faults.contains(fault));
        self.steps_max = cut.steps_max;
        if *cut != Cut::default() {
            self.roles.iter_mut().for_each(|role| role.goes_on = false);
        }
        self
    }
}

/// The faults against which a rule stands, where it is planted that it does not.
fn faults_against(plant: Option<Plant>) -> &'static [Fault] {
    match plant {
        Some(Plant::Rule(Rule::FailedListStops)) => &[Fault::Before, Fault::Denied],
        Some(Plant::Rule(Rule::ReadBackBeforeAnnounce)) => &[Fault::Lost],
        _ => &[],
    }
}

/// Every host lists and reads, so this one happens.
fn draw_sure(seed: u64) -> (Verb, Fault) {
    let mut chance = stream(seed, "sure", 0);
    let any = [Fault::Before, Fault::After, Fault::Slow, Fault::Denied];
    let of_reads = [Fault::Cut, Fault::Short, Fault::Flipped];
    match chance.below(7) {
        lot @ 0..4 => (Verb::List, any[usize::try_from(lot).expect("below 4")]),
        lot => (Verb::GetRange, of_reads[usize::try_from(lot - 4).expect("below 3")]),
    }
}

fn draw_odds(seed: u64, plant: Option<Plant>) -> Odds {
    let mut chance = stream(seed, "odds", 0);
    // Where much goes wrong, few sweeps come to their end.
    let most = if chance.below(4) == 0 { 12 } else { 3 };
    let mut odds = Odds::new();
    for fault in FAULTS {
        let one_in = if fault == Fault::Torn { 12 } else { 3 };
        let (is_there, often) = (chance.below(one_in) == 0, 1 + chance.below(most));
        if is_there {
            odds.insert(fault, u32::try_from(often).expect("a small number"));
        }
    }
    odds.extend(faults_against(plant).iter().map(|fault| (*fault, 40)));
    if odds.is_empty() {
        odds.insert(Fault::After, 10);
    }
    odds
}

impl Role {
    fn draw(seed: u64, actor: Actor, part: Part) -> Role {
        let mut chance = stream(seed, "role", actor as u64);
        let is_first = actor == 0;
        let one_in = if part == Part::Sweeper { 2 } else { 3 };
        let count = 1 + u64::from(is_first || chance.below(one_in) == 0);
        let lives = (0..count).map(|life| draw_life(&mut chance, (actor, part), life, count)).collect();
        let ahead_ns = draw_clock(&mut chance);
        let goes_on = is_first || part == Part::Sweeper;
        let is_patient = chance.below(4) > 0;
        let rest_max = [5, 30, 120][usize::try_from(chance.below(3)).expect("below 3")];
        Role { actor, part, ahead_ns, lives, rest_max, is_patient, goes_on }
    }
}

/// Every life but the last ends in the middle of a call; so does the last one now and then, but not that of somebody who
/// goes on until a history has all that it must have. Of a history's first actor the first life ends in any case.
fn draw_life(chance: &mut Chance, (actor, part): (Actor, Part), life: u64, count: u64) -> Life {
    let is_last = life + 1 == count;
    let may_die = actor > 0 && part != Part::Sweeper;
    let dies = !is_last || (may_die && chance.below(5) == 0);
    let most = if actor == 0 && life == 0 { 25 } else { 120 };
    let death = Death { call: 2 + chance.below(most), after: chance.below(2) == 0 };
    let memory = match chance.below(12) {
        0..2 if life > 0 => Memory::Older,
        2 if part == Part::Writer && actor > 0 => Memory::CloneOf(actor - 1),
        _ => Memory::AsLeft,
    };
    let acts = match part {
        Part::Writer => 1 + chance.below(2),
        Part::Auditor => 1,
        Part::Keeper => 2 + chance.below(3),
        Part::Sweeper => 2 + chance.below(2),
        _ => 1 + chance.below(2),
    };
    let most = if happens(chance, 30) { 72 * 3600 } else { 90 };
    let before = Duration::from_secs(chance.below(most));
    Life { memory, acts, death: dies.then_some(death), before }
}

/// Most clocks are right within seconds; some are days wrong, some ten years.
fn draw_clock(chance: &mut Chance) -> i64 {
    const SECOND_NS: i64 = 1_000_000_000;
    const DAY_NS: i64 = 24 * 3600 * SECOND_NS;
    let most = match chance.below(8) {
        0 => 3650 * DAY_NS,
        1 => 5 * DAY_NS,
        _ => 5 * SECOND_NS,
    };
    let drawn = i64::try_from(chance.below(most.unsigned_abs())).expect("below ten years");
    if chance.below(2) == 0 { drawn } else { -drawn }
}
