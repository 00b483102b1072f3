//! The world of one scenario: regions and actors as numbers, what each move does to them, and what must hold.
//!
//! Whatever a step computes depends on few numbers, so it is computed once and remembered: the step functions
//! themselves run some ten thousand times while the explorer takes some ten million steps.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use repo::protocol::{List, Name, SessionObject};

use super::actor::{Actor, Do, When, is_list};
use super::ids::{Effect, Entry, Frame, Logs, Object, Pack, Reply, Tiny, entry_id};
use super::scenario::{Coarse, Faults, Pages, Scenario};
use super::store::{FastMap, Interner, Packs, Region, live, lost};

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

    fn perform(&mut self, state: &State, choice: &Choice, out: &mut Vec<(State, u32, Option<Broken>)>) {
        let (at, act) = (at(choice.region), choice.act);
        let what = self.acts.value(act);
        let faults = Faults::unpack(state[FAULTS]);
        match &*what {
            Do::Effect(Effect::List(list)) => {
                out.push((*state, self.list(state, at, list), None));
                if faults.failed_lists > 0 && self.coarse.fails(&self.actors.value(choice.actor)) {
                    let left = Faults { failed_lists: faults.failed_lists - 1, ..faults };
                    self.push_failed(state, left, out);
                }
            }
            Do::Effect(Effect::Put(object)) => {
                let mut after = *state;
                let broken = self.put(&mut after, at, act, object);
                out.push((after, self.done, broken));
            }
            Do::PutPack { pack, frames } => self.put_pack(state, at, act, *pack, frames, out),
            Do::CopyInto { pack, frames, from } => self.copy(state, at, act, (*pack, frames, *from), out),
            Do::Effect(Effect::Mirror { pack }) => self.mirror(state, at, *pack, out),
            Do::Effect(Effect::Read { frame, pack }) => {
                let held = self.holds(state, at, *pack, [*frame].iter());
                out.push((*state, self.held[usize::from(held)], None));
            }
            Do::Effect(Effect::ReadBack { pack, frames }) => {
                let held = self.holds(state, at, *pack, frames.iter());
                out.push((*state, self.held[usize::from(held)], None));
            }
            Do::Effect(Effect::Delete(name)) => {
                let mut after = *state;
                self.delete(&mut after, at, act, name);
                out.push((after, self.done, None));
            }
            Do::ExpireAny { by, among } => self.expire_any(state, at, act, (*by, among), out),
            Do::CondemnThese { part, packs } => self.condemn_these(state, at, (*part, packs), out),
            Do::Skip => out.push((*state, self.done, None)),
            Do::Effect(other) => unreachable!("an actor does not ask its store for {other:?}"),
        }
    }

    fn condemn_these(
        &mut self,
        state: &State,
        at: usize,
        (part, packs): (u8, &BTreeSet<Pack>),
        out: &mut Vec<(State, u32, Option<Broken>)>,
    ) {
        let there = self.packs.value(state[at + PACKS]);
        let packs: BTreeSet<Pack> =
            packs.iter().filter(|pack| there.present.contains_key(pack)).copied().collect();
        let mut after = *state;
        if !packs.is_empty() {
            after[at + SWEEPS] = self.with_part(state[at + SWEEPS], part, packs);
        }
        out.push((after, self.done, None));
    }

    /// Copies a whole pack from the first region under its name.
    fn mirror(&mut self, state: &State, at: usize, pack: Pack, out: &mut Vec<(State, u32, Option<Broken>)>) {
        let there = self.packs.value(state[at + PACKS]);
        let source = self.packs.value(state[self::at(0) + PACKS]);
        let frames = there.present.get(&pack).or(source.present.get(&pack));
        let Some(frames) = frames.cloned() else {
            let reply = self.replies.number(Reply::Copied { pack: None, frames: BTreeSet::new() });
            return out.push((*state, reply, None));
        };
        let reply = self.replies.number(Reply::Copied { pack: Some(pack), frames: frames.clone() });
        if there.present.contains_key(&pack) {
            return out.push((*state, reply, None));
        }
        let act = self.acts.number(Do::PutPack { pack, frames: frames.clone() });
        self.store_copy(state, at, act, (pack, &frames), reply, out);
    }

    fn push_failed(&mut self, state: &State, left: Faults, out: &mut Vec<(State, u32, Option<Broken>)>) {
        let mut after = *state;
        after[FAULTS] = left.pack();
        out.push((after, self.failed, None));
    }

    fn list(&mut self, state: &State, at: usize, list: &List<Tiny>) -> u32 {
        let (kind, number) = match list {
            List::Logs { after: Some(after) } => {
                let all = self.logs.value(state[at + LOGS]);
                let fold = Logs::of(all.iter().filter(|entry| entry.id > *after));
                return self.replies.number(Reply::Logs(Arc::new(fold)));
            }
            List::Logs { after: None } => (0, state[at + LOGS]),
            List::Sessions => (1, state[at + SESSIONS]),
            List::Sweeps => (2, state[at + SWEEPS]),
            List::Packs => (3, state[at + PACKS]),
            List::Entries => (4, state[at + LOGS]),
        };
        if let Some(reply) = self.listed[kind].get(&number) {
            return *reply;
        }
        let reply = match kind {
            0 => Reply::Logs(self.log_facts[number as usize].fold.clone()),
            1 => Reply::Sessions(Arc::new(repo::protocol::Sessions::of(&*self.sessions.value(number)))),
            2 => Reply::Sweeps(Arc::new(repo::protocol::Sweeps::of((*self.sweeps.value(number)).clone()))),
            4 => Reply::Entries(Arc::new((*self.logs.value(number)).clone())),
            _ => Reply::Packs(Arc::new(self.packs.value(number).present.keys().copied().collect())),
        };
        let reply = self.replies.number(reply);
        self.listed[kind].insert(number, reply);
        reply
    }

    fn holds<'a>(
        &self,
        state: &State,
        at: usize,
        pack: Pack,
        mut frames: impl Iterator<Item = &'a Frame>,
    ) -> bool {
        let packs = self.packs.value(state[at + PACKS]);
        packs.present.get(&pack).is_some_and(|held| frames.all(|frame| held.contains(frame)))
    }

    fn put(&mut self, state: &mut State, at: usize, act: u32, object: &Object) -> Option<Broken> {
        let kind = match object {
            Object::Entry(_) => at + LOGS,
            Object::Session(_) => at + SESSIONS,
            Object::Part { .. } => at + SWEEPS,
        };
        let broken = self.judge_part(state, at, object);
        if let Some(number) = self.written.get(&(state[kind], act)) {
            state[kind] = *number;
            return broken;
        }
        let before = state[kind];
        state[kind] = match object.clone() {
            Object::Entry(entry) => {
                let mut logs = (*self.logs.value(before)).clone();
                logs.insert(entry);
                self.logs_number(logs)
            }
            Object::Session(session) => {
                let mut sessions = (*self.sessions.value(before)).clone();
                sessions.insert(session);
                self.sessions.number(sessions)
            }
            Object::Part { part, packs } => self.with_part(before, part, packs),
        };
        self.written.insert((before, act), state[kind]);
        broken
    }

    fn with_part(&mut self, sweeps: u32, part: u8, packs: BTreeSet<Pack>) -> u32 {
        let mut sweeps = (*self.sweeps.value(sweeps)).clone();
        sweeps.insert(part, packs);
        self.sweeps_number(sweeps)
    }

    fn judge_part(&self, state: &State, at: usize, object: &Object) -> Option<Broken> {
        let Object::Part { packs, .. } = object else { return None };
        let logs = &self.log_facts[state[at + LOGS] as usize].fold;
        let wasted = packs.iter().any(|pack| !logs.is_brought(pack) && !logs.is_over(&pack.0));
        wasted.then_some(Broken::UploadCondemned)
    }

    fn put_pack(
        &mut self,
        state: &State,
        at: usize,
        act: u32,
        pack: Pack,
        frames: &BTreeSet<Frame>,
        out: &mut Vec<(State, u32, Option<Broken>)>,
    ) {
        let (packs, broken) = self.with_pack(state[at + PACKS], act, pack, frames);
        let mut after = *state;
        after[at + PACKS] = packs;
        out.push((after, self.done, broken));
        let faults = Faults::unpack(state[FAULTS]);
        if faults.unknown_puts > 0 {
            self.push_failed(&after, Faults { unknown_puts: faults.unknown_puts - 1, ..faults }, out);
        }
        if faults.lost_puts > 0 {
            let mut lost = *state;
            lost[FAULTS] = Faults { lost_puts: faults.lost_puts - 1, ..faults }.pack();
            out.push((lost, self.done, None));
        }
    }

    fn with_pack(
        &mut self,
        packs: u32,
        act: u32,
        pack: Pack,
        frames: &BTreeSet<Frame>,
    ) -> (u32, Option<Broken>) {
        let before = self.packs.value(packs);
        let again = before.ever.contains(&pack).then_some(Broken::NameWrittenAgain);
        if let Some(number) = self.written.get(&(packs, act)) {
            return (*number, again);
        }
        let mut region = Region { packs: (*before).clone(), ..Region::default() };
        region.put_pack(pack, frames.clone());
        let number = self.packs.number(region.packs);
        self.written.insert((packs, act), number);
        (number, again)
    }

    /// What a copy finds: the act that stores it, if there is any, and the reply.
    fn copy_now(
        &mut self,
        act: u32,
        packs: u32,
        pack: Pack,
        wanted: &BTreeMap<Frame, BTreeSet<Pack>>,
    ) -> (u32, u32) {
        let there = self.packs.value(packs);
        let is_there = |frame: &Frame, places: &BTreeSet<Pack>| {
            places.iter().any(|place| there.present.get(place).is_some_and(|held| held.contains(frame)))
        };
        let found: BTreeSet<Frame> = wanted
            .iter()
            .filter(|(frame, places)| is_there(frame, places))
            .map(|(frame, _)| *frame)
            .collect();
        let written = (!found.is_empty()).then_some(pack);
        let put =
            written.map_or(u32::MAX, |pack| self.acts.number(Do::PutPack { pack, frames: found.clone() }));
        let reply = self.replies.number(Reply::Copied { pack: written, frames: found });
        self.copied.insert((act, packs), (put, reply));
        (put, reply)
    }

    fn copy(
        &mut self,
        state: &State,
        at: usize,
        act: u32,
        (pack, wanted, from): (Pack, &BTreeMap<Frame, BTreeSet<Pack>>, u8),
        out: &mut Vec<(State, u32, Option<Broken>)>,
    ) {
        let source = state[self::at(from) + PACKS];
        let (act, reply) = match self.copied.get(&(act, source)) {
            Some(copied) => *copied,
            None => self.copy_now(act, source, pack, wanted),
        };
        if act == u32::MAX {
            return out.push((*state, reply, None));
        }
        let what = self.acts.value(act);
        let Do::PutPack { frames, .. } = &*what else { unreachable!("a copy is put as a pack") };
        self.store_copy(state, at, act, (pack, frames), reply, out);
    }

    fn store_copy(
        &mut self,
        state: &State,
        at: usize,
        act: u32,
        (pack, frames): (Pack, &BTreeSet<Frame>),
        reply: u32,
        out: &mut Vec<(State, u32, Option<Broken>)>,
    ) {
        let (number, broken) = self.with_pack(state[at + PACKS], act, pack, frames);
        let mut after = *state;
        after[at + PACKS] = number;
        out.push((after, reply, broken));
        let faults = Faults::unpack(state[FAULTS]);
        if faults.lost_copies > 0 {
            let mut lost = *state;
            lost[FAULTS] = Faults { lost_copies: faults.lost_copies - 1, ..faults }.pack();
            out.push((lost, reply, None));
        }
    }

    fn delete(&mut self, state: &mut State, at: usize, act: u32, name: &Name<Tiny>) {
        let kind = at + if matches!(name, Name::Pack(_)) { PACKS } else { SESSIONS };
        if let Some(number) = self.written.get(&(state[kind], act)) {
            state[kind] = *number;
            return;
        }
        let before = state[kind];
        state[kind] = match name {
            Name::Pack(pack) => {
                let mut packs = (*self.packs.value(before)).clone();
                packs.present.remove(pack);
                self.packs.number(packs)
            }
            Name::Session(session) => {
                let mut sessions = (*self.sessions.value(before)).clone();
                sessions.retain(|object| object.session != *session);
                self.sessions.number(sessions)
            }
        };
        self.written.insert((before, act), state[kind]);
    }

    fn expire_any(
        &mut self,
        state: &State,
        at: usize,
        act: u32,
        (by, among): (u8, &BTreeSet<u8>),
        out: &mut Vec<(State, u32, Option<Broken>)>,
    ) {
        let (sessions, logs) = (state[at + SESSIONS], state[at + LOGS]);
        let after = match self.expired.get(&(act, sessions, logs)) {
            Some(after) => after.clone(),
            None => {
                let after = Rc::new(self.expire_now(sessions, logs, by, among));
                self.expired.insert((act, sessions, logs), after.clone());
                after
            }
        };
        for logs in after.iter() {
            let mut after = *state;
            after[at + LOGS] = *logs;
            out.push((after, self.done, None));
        }
    }

    fn expire_now(&mut self, sessions: u32, logs: u32, by: u8, among: &BTreeSet<u8>) -> Vec<u32> {
        let there = self.sessions.value(sessions);
        let fold = self.log_facts[logs as usize].fold.clone();
        let running: BTreeSet<u8> =
            there.iter().map(|object| object.session).filter(|s| !fold.is_over(s)).collect();
        let mut after = Vec::new();
        for session in running.intersection(among) {
            let mut entries = (*self.logs.value(logs)).clone();
            entries.insert(repo::protocol::expire(entry_id(by, 0), *session));
            after.push(self.logs_number(entries));
        }
        after
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
