//! Forgetting a point, and taking it back: facts written as entries of this host.
//!
//! The journal hears of an entry before it is written, and of an undo behind it: a forgetting whose outcome nobody knows
//! may count from any later moment on.

use format::entry::{Clear, Entry, EntryId, LogicalTime};
use format::fact::{Fact, Forget, Undo};
use format::id::{Hash, PointId, SessionId, WriterId};
use repo::{Error, layout};

use super::actor::Host;
use super::journal::Forgetting;
use super::plant::Prank;

/// Forgets a point everywhere.
pub(super) fn forget(host: &Host<'_>, point: PointId) -> Result<(), Error> {
    let forget = Forget { points: vec![point], regions: None, reason: "simulated".to_owned() };
    let is_secret = host.plays(Prank::ForgetsInSecret);
    let tell = |by| {
        if !is_secret {
            host.journal().forgetting(point, by, |_| ());
        }
    };
    let by = state(host, Fact::Forget(forget), tell)?;
    if !is_secret {
        host.journal().forgetting(point, by, |forgetting| forgetting.counts = true);
    }
    host.journal().count(|counts| counts.forgets += 1);
    Ok(())
}

/// Takes back every forgetting of the point that this host has seen.
pub(super) fn undo(host: &Host<'_>, point: PointId) -> Result<(), Error> {
    let fold = host.repo.refresh()?;
    let seen = fold.points.get(&point).map(|record| record.forgotten_by.clone()).unwrap_or_default();
    let seen: Vec<EntryId> = seen.into_iter().collect();
    let all = |change: fn(&mut Forgetting)| {
        seen.iter().for_each(|by| host.journal().forgetting(point, *by, change));
    };
    let undo = Fact::Undo(Undo { points: vec![(point, seen.clone())] });
    state(host, undo, |_| all(|forgetting| forgetting.is_being_undone = true))?;
    all(|forgetting| forgetting.is_undone = true);
    host.journal().count(|counts| counts.undos += 1);
    Ok(())
}

/// Writes a chain of one entry that says this.
fn state(host: &Host<'_>, fact: Fact, before: impl FnOnce(EntryId)) -> Result<EntryId, Error> {
    let repo = host.repo;
    repo.may_add("anything")?;
    let signer = repo.state().signer(repo.world())?;
    let mut chance = repo.world().chance();
    let clear = Clear {
        repo: repo.id(),
        writer: WriterId::of(&signer.public()),
        session: SessionId(chance.bytes()),
        number: 0,
        previous: Hash::NONE,
        time: LogicalTime { time: repo.world().now_ns(), counter: 0 },
        epoch: 0,
        public_key: signer.public(),
        regions: vec![repo.io().region_name().to_owned()],
        brings: Vec::new(),
        deps: Vec::new(),
        heads: Vec::new(),
        facts: vec![Fact::End.encode()],
        local: None,
    };
    let keys = (repo.bundle().domain, repo.bundle().newest());
    let (hash, object) = Entry::create(&clear, &[fact.encode()], keys, &signer, &mut chance);
    before(clear.id());
    repo.io().put_seen(&layout::entry(clear.id(), hash), object.into_bytes().into())?;
    Ok(clear.id())
}
