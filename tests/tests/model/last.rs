//! The last sweep: everybody else has stopped for ever. Whoever still holds a session expires; then condemning
//! and finishing, twice, must come to an end, keep every live point that could be restored, and leave nothing
//! that no live point needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use repo::protocol::{
    Condemn, Condemned, Effect, Finish, Finished, List, Name, Object, Reply, Rules, Sessions, Sweeps, Tidy,
    expire,
};

use super::ids::{Frame, Logs, Pack, Tiny, entry_id};
use super::store::{Region, live, lost};
use super::world::Broken;

const PART: u8 = 50;
const SESSION: u8 = 50;

/// What is wrong with the region once a last sweep went over it.
pub fn last_sweep(mut region: Region) -> Option<Broken> {
    let logs = Logs::of(&region.logs);
    let kept = live(&logs) & !lost(&logs, &region.packs);
    let silent: BTreeSet<u8> =
        region.sessions.iter().map(|o| o.session).filter(|s| !logs.is_over(s)).collect();
    for (by, session) in silent.into_iter().enumerate() {
        let by = SESSION + 4 + u8::try_from(by).expect("few sessions");
        region.logs.insert(expire(entry_id(by, 0), session));
    }
    for round in 0..2 {
        if !sweep(&mut region, round) {
            return Some(Broken::LastSweepFails);
        }
    }
    let logs = Logs::of(&region.logs);
    if kept & lost(&logs, &region.packs) != 0 {
        return Some(Broken::LastSweepFails);
    }
    let needed: BTreeSet<Frame> = logs
        .points()
        .filter(|(point, _)| logs.is_live(point))
        .flat_map(|(_, committed)| committed.frames.iter().copied())
        .collect();
    let clean = region.packs.present.values().all(|held| !held.is_disjoint(&needed));
    (!clean || !region.sessions.is_empty()).then_some(Broken::NotFreed)
}

fn sweep(region: &mut Region, round: u8) -> bool {
    let (mut condemn, effect) = Condemn::begin(Rules::all(), PART + round, BTreeSet::new(), usize::MAX);
    let condemned = run(region, round, effect, |reply| condemn.step(reply));
    let (mut finish, effect) = Finish::begin(Rules::all(), Tidy::PacksAndSessions);
    let finished = run(region, round, effect, |reply| finish.step(reply));
    !matches!(condemned, None | Some(Condemned::Failed)) && matches!(finished, Some(Finished::Swept { .. }))
}

fn run<Outcome>(
    region: &mut Region,
    round: u8,
    mut effect: Effect<Tiny, Outcome>,
    mut step: impl FnMut(Reply<Tiny>) -> Effect<Tiny, Outcome>,
) -> Option<Outcome> {
    for _ in 0..200 {
        match effect {
            Effect::Done(outcome) => return Some(outcome),
            other => effect = step(perform(region, round, other.map(|_| ()))),
        }
    }
    None
}

fn perform(region: &mut Region, round: u8, effect: Effect<Tiny, ()>) -> Reply<Tiny> {
    match effect {
        Effect::List(List::Logs { .. }) => Reply::Logs(Arc::new(Logs::of(&region.logs))),
        Effect::List(List::Sessions) => Reply::Sessions(Arc::new(Sessions::of(&region.sessions))),
        Effect::List(List::Sweeps) => Reply::Sweeps(Arc::new(Sweeps::of(region.sweeps.clone()))),
        Effect::List(List::Packs) => Reply::Packs(Arc::new(region.packs.present.keys().copied().collect())),
        Effect::Put(Object::Session(object)) => done(region.sessions.insert(object)),
        Effect::Put(Object::Entry(entry)) => done(region.logs.insert(entry)),
        Effect::Put(Object::Part { part, packs }) => done(region.sweeps.insert(part, packs).is_none()),
        Effect::Delete(Name::Pack(pack)) => done(region.packs.present.remove(&pack).is_some()),
        Effect::Delete(Name::Session(session)) => {
            region.sessions.retain(|object| object.session != session);
            Reply::Done
        }
        Effect::NewSession => Reply::Session(SESSION + round * 2),
        Effect::Mark(mark) => Reply::Marked(Arc::new(mark.spelled_out())),
        Effect::ReadBack { pack, frames } => {
            Reply::Held(region.packs.present.get(&pack).is_some_and(|held| frames.is_subset(held)))
        }
        Effect::Copy { session, frames } => copy(region, session, &frames),
        _ => Reply::Failed,
    }
}

fn done(_new: bool) -> Reply<Tiny> {
    Reply::Done
}

fn copy(
    region: &mut Region,
    session: u8,
    wanted: &std::collections::BTreeMap<Frame, BTreeSet<Pack>>,
) -> Reply<Tiny> {
    let present = &region.packs.present;
    let is_there = |frame: &Frame, places: &BTreeSet<Pack>| {
        places.iter().any(|place| present.get(place).is_some_and(|held| held.contains(frame)))
    };
    let found: BTreeSet<Frame> =
        wanted.iter().filter(|(f, places)| is_there(f, places)).map(|(f, _)| *f).collect();
    let vanished = wanted.keys().filter(|frame| !found.contains(frame)).copied().collect();
    if found.is_empty() {
        return Reply::Copied { pack: None, frames: found, vanished };
    }
    let pack = Pack(session, 0);
    region.put_pack(pack, found.clone());
    Reply::Copied { pack: Some(pack), frames: found, vanished }
}
