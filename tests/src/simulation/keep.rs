//! What people say of points: forget, take that back, pin, hold, release.
//!
//! The journal hears of each act before it begins and behind it. In between, and after an act that failed, nobody knows
//! whether it counts: a point that may be forgotten need not be there, and one that may be kept need not be gone.

use std::collections::BTreeSet;

use format::id::PointId;
use repo::retention::Guard;
use repo::{Error, Holding, Kept, Last};
use world::Chance;

use super::actor::{Acting, Host, some_point};
use super::plant::Prank;

/// Forgets points mostly, and keeps some.
#[derive(Default)]
pub(super) struct Keeper {
    forgotten: Vec<PointId>,
}

impl Acting for Keeper {
    fn act(&mut self, host: &Host<'_>, chance: &mut Chance) -> Result<(), Error> {
        let lot = chance.below(20);
        if lot < 3
            && let Some(point) = self.forgotten.pop()
        {
            return undo(host, point);
        }
        let Some(record) = some_point(host, chance)? else { return Ok(()) };
        let point = record.point.id;
        match lot {
            16 => keep(host, point, || host.repo.pin(&BTreeSet::from([point]), None), false),
            17 | 18 => keep(host, point, || host.repo.hold(&Holding::Point(point), "simulated"), true),
            19 => release(host, point),
            _ => {
                self.forgotten.push(point);
                forget(host, point)
            }
        }
    }
}

/// Forgets a point everywhere.
pub(super) fn forget(host: &Host<'_>, point: PointId) -> Result<(), Error> {
    let journal = host.journal();
    let act = (!host.plays(Prank::ForgetsInSecret)).then(|| journal.begins_to_forget(point));
    let guard = Guard { now: host.repo.moment().believed(), least: 0, young_since: i64::MAX };
    let meant = if host.plays(Prank::ForgetsNeighbours) { neighbour(host, point) } else { point };
    let forgot = host.repo.forget(&BTreeSet::from([meant]), "simulated", guard, Last::MayGo)?;
    if forgot.points.contains(&point) {
        act.into_iter().for_each(|act| journal.forgot(point, act));
        journal.count(|counts| counts.forgets += 1);
    }
    Ok(())
}

/// A planted bug: the live point whose id comes next.
fn neighbour(host: &Host<'_>, point: PointId) -> PointId {
    let fold = host.repo.fold();
    let later = fold.live(None).into_iter().map(|record| record.point.id).filter(|id| *id > point);
    later.min().unwrap_or(point)
}

/// Takes back every forgetting of the point that this host has seen.
fn undo(host: &Host<'_>, point: PointId) -> Result<(), Error> {
    let journal = host.journal();
    let known = journal.begins_to_undo(point);
    let undone = host.repo.undo(&BTreeSet::from([point]));
    journal.ends_undoing(point);
    if undone?.points.contains(&point) {
        journal.undid(point, &known);
        journal.count(|counts| counts.undos += 1);
    }
    Ok(())
}

/// Keeps a point whatever is said of it, and takes back what forgot it.
fn keep(
    host: &Host<'_>,
    point: PointId,
    act: impl FnOnce() -> Result<Kept, Error>,
    can_end: bool,
) -> Result<(), Error> {
    let journal = host.journal();
    let (known, keeping) = (journal.begins_to_undo(point), journal.begins_to_keep(point, can_end));
    let kept = act();
    journal.ends_undoing(point);
    if kept?.points.contains(&point) {
        journal.undid(point, &known);
        journal.keeps(point, keeping);
        journal.count(|counts| counts.holds += 1);
    }
    Ok(())
}

/// Releases all holds of a point that this host has seen.
fn release(host: &Host<'_>, point: PointId) -> Result<(), Error> {
    let fold = host.repo.refresh()?;
    let holds = fold.holds.iter().filter(|(_, record)| record.hold.point == Some(point));
    let holds: BTreeSet<_> = holds.map(|(id, _)| *id).collect();
    if holds.is_empty() {
        return Ok(());
    }
    host.journal().may_release(point);
    host.repo.release(&holds)
}
