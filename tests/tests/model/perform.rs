//! What each act does to a region, and what comes back. Whatever was computed once is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use repo::protocol::{List, Name};

use super::{Broken, Choice, FAULTS, LOGS, PACKS, SESSIONS, SWEEPS, State, World, at};
use crate::actor::Do;
use crate::ids::{Effect, Frame, Logs, Object, Pack, Reply, Tiny, entry_id};
use crate::scenario::Faults;
use crate::store::Region;

impl World {
    pub(super) fn perform(
        &mut self,
        state: &State,
        choice: &Choice,
        out: &mut Vec<(State, u32, Option<Broken>)>,
    ) {
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
            let reply = self.replies.number(copied(None, &BTreeSet::new(), BTreeSet::new()));
            return out.push((*state, reply, None));
        };
        let reply = self.replies.number(copied(Some(pack), &frames, BTreeSet::new()));
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
        let vanished = wanted.keys().filter(|frame| !found.contains(frame)).copied().collect();
        let reply = self.replies.number(copied(written, &found, vanished));
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
        self.copy_less(state, at, (pack, wanted), out);
        self.misread(state, wanted, out);
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

    /// A disk has no room for the copy, or only for its first frame.
    fn copy_less(
        &mut self,
        state: &State,
        at: usize,
        (pack, wanted): (Pack, &BTreeMap<Frame, BTreeSet<Pack>>),
        out: &mut Vec<(State, u32, Option<Broken>)>,
    ) {
        let faults = Faults::unpack(state[FAULTS]);
        if faults.failed_copies == 0 {
            return;
        }
        let left = Faults { failed_copies: faults.failed_copies - 1, ..faults };
        self.push_failed(state, left, out);
        let first: BTreeMap<_, _> = wanted.iter().take(1).map(|(f, p)| (*f, p.clone())).collect();
        if wanted.len() > first.len() {
            let mut fewer = *state;
            fewer[FAULTS] = left.pack();
            let act = self.acts.number(Do::CopyInto { pack, frames: first.clone(), from: 0 });
            let (act, reply) = self.copy_now(act, state[at + PACKS], pack, &first);
            match act {
                u32::MAX => out.push((fewer, reply, None)),
                act => self.store_copy(&fewer, at, act, (pack, &first.into_keys().collect()), reply, out),
            }
        }
    }

    /// Nothing of what is to be copied reads, wherever it lies.
    fn misread(
        &mut self,
        state: &State,
        wanted: &BTreeMap<Frame, BTreeSet<Pack>>,
        out: &mut Vec<(State, u32, Option<Broken>)>,
    ) {
        let faults = Faults::unpack(state[FAULTS]);
        if faults.misreads > 0 {
            let mut after = *state;
            after[FAULTS] = Faults { misreads: faults.misreads - 1, ..faults }.pack();
            let vanished = wanted.keys().copied().collect();
            let reply = self.replies.number(copied(None, &BTreeSet::new(), vanished));
            out.push((after, reply, None));
        }
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
}

fn copied(pack: Option<Pack>, frames: &BTreeSet<Frame>, vanished: BTreeSet<Frame>) -> Reply {
    Reply::Copied { pack, frames: frames.clone(), vanished }
}
