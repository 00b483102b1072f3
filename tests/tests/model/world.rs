//! The world of one scenario: regions and actors as numbers, what each move does to them, and what must hold.
//!
//! Whatever a step computes depends on few numbers, so it is computed once and remembered: the step functions
//! themselves run some ten thousand times while the explorer takes some ten million steps.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use repo::protocol::{List, SessionObject};

use super::actor::{Actor, Do, When, is_list};
use super::ids::{Entry, Logs, Pack, Reply, Tiny, entry_id};
use super::scenario::{Coarse, Pages, Scenario};
use super::store::{FastMap, Interner, Packs, Region, live, lost};

#[path = "perform.rs"]
mod perform;

/// First comes what may still fail, then four numbers for each region, then the actors.
pub const FAULTS: usize = 0;
/// Numbers of a region.
pub const LOGS: usize = 0;
pub const SESSIONS: usize = 1;
pub const SWEEPS: usize = 2;
pub const PACKS: usize = 3;

/// Where the numbers of a region begin.
pub fn at(region: u8) -> usize {
    1 + 4 * usize::from(region)
}

/// A state of the world.
pub type State = [u32; 14];

/// What is wrong with a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// An acknowledged point cannot be restored.
    PointLost,
    /// An undo or hold was acknowledged and the point cannot be restored.
    RevivedPointLost,
    /// Something under an accepted root of a running session is gone.
    RootLost,
    /// A restore in a running session found a frame nowhere.
    RestoreDamaged,
    /// A region holds an entry without the one before it.
    HoleInChain,
    /// A region holds a live point without its closure.
    ClosureMissing,
    /// A pack was written under a name that was used before.
    NameWrittenAgain,
    /// An upload of a running session was condemned: its work is lost, again and again.
    UploadCondemned,
    /// Nobody can do anything, and somebody is not done.
    Stuck,
    /// A last sweep, alone, leaves something that nothing needs.
    NotFreed,
    /// A last sweep, alone, does not come to its end or loses something.
    LastSweepFails,
}

/// What a step came to.
pub struct Stepped {
    pub state: State,
    pub broken: Option<Broken>,
}

struct Known {
    region: u8,
    acknowledged: [u64; 2],
    revived: u64,
    rooted: Option<(u8, u64)>,
    damage: Option<u8>,
    may_rest: bool,
    is_waiting: bool,
}

struct LogFacts {
    fold: Arc<Logs>,
    unforgotten: u64,
    live: u64,
    over: u64,
    expired: u64,
    hole: bool,
}

struct Choice {
    actor: u32,
    region: u8,
    act: u32,
    when: When,
}

/// One scenario, with everything remembered about it.
pub struct World {
    pub coarse: Coarse,
    regions: u8,
    closed: bool,
    roots_watched: bool,
    initially: [u64; 2],
    actors: Interner<Actor>,
    acts: Interner<Do>,
    replies: Interner<Reply>,
    logs: Interner<BTreeSet<Entry>>,
    sessions: Interner<BTreeSet<SessionObject<Tiny>>>,
    sweeps: Interner<BTreeMap<u8, BTreeSet<Pack>>>,
    packs: Interner<Packs>,
    known: Vec<Known>,
    log_facts: Vec<LogFacts>,
    choices: Vec<Option<Rc<Vec<Choice>>>>,
    replied: FastMap<(u32, u32), u32>,
    listed: [FastMap<u32, u32>; 5],
    written: FastMap<(u32, u32), u32>,
    losses: FastMap<(u32, u32), u64>,
    condemned: Vec<u64>,
    copied: FastMap<(u32, u32), (u32, u32)>,
    expired: FastMap<(u32, u32, u32), Rc<Vec<u32>>>,
    done: u32,
    failed: u32,
    held: [u32; 2],
}

impl World {
    pub fn new(scenario: &Scenario) -> (Self, State) {
        let mut world = Self {
            coarse: scenario.coarse,
            regions: u8::try_from(scenario.regions.len()).expect("one or two regions"),
            closed: scenario.closed,
            roots_watched: scenario.roots_watched,
            initially: scenario.acknowledged,
            actors: Interner::new(),
            acts: Interner::new(),
            replies: Interner::new(),
            logs: Interner::new(),
            sessions: Interner::new(),
            sweeps: Interner::new(),
            packs: Interner::new(),
            known: Vec::new(),
            log_facts: Vec::new(),
            choices: Vec::new(),
            replied: FastMap::default(),
            listed: Default::default(),
            written: FastMap::default(),
            losses: FastMap::default(),
            condemned: Vec::new(),
            copied: FastMap::default(),
            expired: FastMap::default(),
            done: 0,
            failed: 0,
            held: [0; 2],
        };
        world.done = world.replies.number(Reply::Done);
        world.failed = world.replies.number(Reply::Failed);
        world.held = [world.replies.number(Reply::Held(false)), world.replies.number(Reply::Held(true))];
        let state = world.first(scenario);
        (world, state)
    }

    fn first(&mut self, scenario: &Scenario) -> State {
        let mut state = [u32::MAX; 14];
        state[FAULTS] = scenario.faults.pack();
        for (n, region) in scenario.regions.iter().enumerate() {
            let at = at(u8::try_from(n).expect("one or two regions"));
            state[at + LOGS] = self.logs_number(region.logs.clone());
            state[at + SESSIONS] = self.sessions.number(region.sessions.clone());
            state[at + SWEEPS] = self.sweeps_number(region.sweeps.clone());
            state[at + PACKS] = self.packs.number(region.packs.clone());
        }
        for (n, actor) in scenario.actors.iter().enumerate() {
            state[self.actors_at() + n] = self.actor_number(actor.clone());
        }
        state
    }

    /// Where the numbers of the actors begin.
    pub fn actors_at(&self) -> usize {
        at(self.regions)
    }

    pub fn sizes(&self) -> String {
        format!("{} actor states, {} logs, {} packs", self.actors.len(), self.logs.len(), self.packs.len())
    }

    fn actor_number(&mut self, actor: Actor) -> u32 {
        let known = Known {
            region: actor.region,
            acknowledged: actor.acknowledged,
            revived: actor.revived,
            rooted: actor.rooted(),
            damage: actor.damage,
            may_rest: actor.may_rest(),
            is_waiting: actor.is_waiting(),
        };
        let number = self.actors.number(actor);
        if number as usize == self.known.len() {
            self.known.push(known);
            self.choices.push(None);
        }
        number
    }

    fn logs_number(&mut self, entries: BTreeSet<Entry>) -> u32 {
        let fold = Logs::of(&entries);
        let number = self.logs.number(entries);
        if number as usize == self.log_facts.len() {
            let forgotten = fold.points().filter(|(point, _)| {
                let all = self.logs.value(number);
                all.iter()
                    .flat_map(|e| &e.facts)
                    .any(|f| matches!(f, super::ids::Fact::Forget { point: p } if p == *point))
            });
            let forgotten: u64 = forgotten.map(|(point, _)| 1 << point).sum();
            let expired = (0..64_u8).filter(|s| fold.is_expired(s)).map(|s| 1 << s).sum();
            let over = (0..64_u8).filter(|s| fold.is_over(s)).map(|s| 1 << s).sum();
            let live = live(&fold);
            let hole = has_hole(&self.logs.value(number));
            self.log_facts.push(LogFacts {
                hole,
                unforgotten: live & !forgotten,
                live,
                over,
                expired,
                fold: Arc::new(fold),
            });
        }
        number
    }

    fn sweeps_number(&mut self, sweeps: BTreeMap<u8, BTreeSet<Pack>>) -> u32 {
        let parts = sweeps.keys().map(|part| 1 << part).sum();
        let number = self.sweeps.number(sweeps);
        if number as usize == self.condemned.len() {
            self.condemned.push(parts);
        }
        number
    }

    fn choices(&mut self, actor: u32) -> Rc<Vec<Choice>> {
        if let Some(choices) = &self.choices[actor as usize] {
            return choices.clone();
        }
        let moves = self.actors.value(actor).moves();
        let choices: Vec<Choice> = moves
            .into_iter()
            .map(|m| Choice {
                actor: self.actor_number(m.actor),
                region: m.region,
                act: self.acts.number(m.act),
                when: m.when,
            })
            .collect();
        let choices = Rc::new(choices);
        self.choices[actor as usize] = Some(choices.clone());
        choices
    }

    fn reply(&mut self, actor: u32, reply: u32) -> u32 {
        if let Some(next) = self.replied.get(&(actor, reply)) {
            return *next;
        }
        let next = (*self.actors.value(actor)).clone().reply((*self.replies.value(reply)).clone());
        let next = self.actor_number(next);
        self.replied.insert((actor, reply), next);
        next
    }

    /// Everything that actor `n` may do in this state.
    pub fn steps(&mut self, state: &State, n: usize, out: &mut Vec<Stepped>) {
        let choices = self.choices(state[self.actors_at() + n]);
        for choice in choices.iter() {
            if self.makes_sense(state, choice) {
                self.act(state, n, choice, out);
            }
        }
    }

    fn makes_sense(&self, state: &State, choice: &Choice) -> bool {
        match &choice.when {
            When::Always => true,
            When::Uncovered(covers) => {
                let covered: u64 = covers.iter().map(|part| 1 << part).sum();
                self.condemned[state[at(choice.region) + SWEEPS] as usize] & !covered != 0
            }
        }
    }

    /// Does one thing, and what follows it at once.
    fn act(&mut self, state: &State, n: usize, choice: &Choice, out: &mut Vec<Stepped>) {
        if let Some(pages) = self.coarse.pages
            && is_list(&self.acts.value(choice.act), &List::logs())
        {
            return self.page(state, n, choice, pages, out);
        }
        let mut outcomes = Vec::with_capacity(2);
        self.perform(state, choice, &mut outcomes);
        for (mut after, reply, broken) in outcomes {
            let next = self.reply(choice.actor, reply);
            after[self.actors_at() + n] = next;
            let choices = self.choices(next);
            match &choices[..] {
                [only] if broken.is_none() && self.glued(choice.actor, choice.act, next, only.act) => {
                    self.act(&after, n, only, out);
                }
                _ => out.push(Stepped { state: after, broken }),
            }
        }
    }

    /// Lists one page of the logs; the reply comes with the second.
    fn page(&mut self, state: &State, n: usize, choice: &Choice, pages: Pages, out: &mut Vec<Stepped>) {
        let all = self.logs.value(state[at(choice.region) + LOGS]);
        let mut actor = (*self.actors.value(choice.actor)).clone();
        let mut after = *state;
        let first = actor.page.take();
        let is_second = first.is_some();
        let mut seen = first.map(|page| (*page).clone()).unwrap_or_default();
        seen.extend(all.iter().filter(|entry| pages.is_first(entry.id.session) != is_second).cloned());
        if is_second {
            actor = actor.reply(Reply::Logs(Arc::new(Logs::of(&seen))));
        } else {
            actor.page = Some(Rc::new(seen));
        }
        after[self.actors_at() + n] = self.actor_number(actor);
        out.push(Stepped { state: after, broken: None });
    }

    fn glued(&self, before: u32, act: u32, after: u32, next: u32) -> bool {
        let (act, next) = (self.acts.value(act), self.acts.value(next));
        let waits = |actor: u32| self.known[actor as usize].is_waiting;
        self.coarse.joins(&act, &next, waits(before), waits(after))
    }

    fn losses(&mut self, logs: u32, packs: u32) -> u64 {
        if let Some(losses) = self.losses.get(&(logs, packs)) {
            return *losses;
        }
        let losses = lost(&self.log_facts[logs as usize].fold, &self.packs.value(packs));
        self.losses.insert((logs, packs), losses);
        losses
    }

    /// What is wrong with the state, if anything.
    pub fn judge(&mut self, state: &State, actors: usize) -> Option<Broken> {
        (0..self.regions).find_map(|region| self.judge_region(state, actors, region))
    }

    fn judge_region(&mut self, state: &State, actors: usize, region: u8) -> Option<Broken> {
        let (logs, packs) = (state[at(region) + LOGS], state[at(region) + PACKS]);
        let lost = self.losses(logs, packs);
        let facts = &self.log_facts[logs as usize];
        if facts.hole {
            return Some(Broken::HoleInChain);
        }
        if self.closed && facts.live & lost != 0 {
            return Some(Broken::ClosureMissing);
        }
        let mut acknowledged = self.initially[usize::from(region)];
        for actor in &state[self.actors_at()..self.actors_at() + actors] {
            let known = &self.known[*actor as usize];
            acknowledged |= known.acknowledged[usize::from(region)];
            if known.region != region {
                continue;
            }
            if known.damage.is_some_and(|session| facts.expired & 1 << session == 0) {
                return Some(Broken::RestoreDamaged);
            }
            if known.revived & facts.live & lost != 0 {
                return Some(Broken::RevivedPointLost);
            }
            let rooted = known.rooted.filter(|_| self.roots_watched);
            if rooted.is_some_and(|(session, roots)| facts.over & 1 << session == 0 && roots & lost != 0) {
                return Some(Broken::RootLost);
            }
        }
        (acknowledged & facts.unforgotten & lost != 0).then_some(Broken::PointLost)
    }

    /// Whether everybody may stay where they are for ever.
    pub fn is_at_rest(&self, state: &State, actors: usize) -> bool {
        state[self.actors_at()..self.actors_at() + actors]
            .iter()
            .all(|actor| self.known[*actor as usize].may_rest)
    }

    /// The numbers of a region, and the region in full.
    pub fn region(&self, state: &State, region: u8) -> ([u32; 4], impl FnOnce() -> Region) {
        let at = at(region);
        let numbers = [state[at], state[at + 1], state[at + 2], state[at + 3]];
        let make = move || Region {
            logs: (*self.logs.value(numbers[LOGS])).clone(),
            sessions: (*self.sessions.value(numbers[SESSIONS])).clone(),
            sweeps: (*self.sweeps.value(numbers[SWEEPS])).clone(),
            packs: (*self.packs.value(numbers[PACKS])).clone(),
        };
        (numbers, make)
    }

    /// What an actor could do in a state, for people.
    pub fn describe(&self, state: &State, n: usize) -> String {
        let moves = self.actors.value(state[self.actors_at() + n]).moves();
        let acts: Vec<String> = moves.iter().map(|m| format!("region {}: {:?}", m.region, m.act)).collect();
        format!("actor {n}, {}", acts.join(" | "))
    }
}

/// Whether a replicated chain lacks an entry below one that is there.
fn has_hole(entries: &BTreeSet<Entry>) -> bool {
    let is_there = |session, sequence| entries.iter().any(|entry| entry.id == entry_id(session, sequence));
    entries.iter().any(|entry| {
        !entry.local && entry.id.sequence > 0 && !is_there(entry.id.session, entry.id.sequence - 1)
    })
}
