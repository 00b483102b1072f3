//! What people say of points that are there: forget, take that back, pin, hold, release.
//!
//! Forgetting and releasing make no point live, so each is an entry of this host's own and nothing else. Undo, pin and hold
//! keep a point from sweeps that may be at work: each is a session whose roots are the points. A root that does not hold
//! means that part of the point was swept or is condemned; of that point nothing is said. In the end the log is read again,
//! as others may have been at work: what does not count after all is not told as done.

use std::collections::BTreeSet;

use format::fact::{Fact, Forget, Grant, Hold, Pin, Release, Undo};
use format::id::{Hash, HoldId, PointId, SessionId, WriterId};
use format::seal::Signer;
use format::session::Purpose;

use crate::error::Error;
use crate::fold::{DRIFT_NS_MAX, Fold, PointRecord};
use crate::repo::{Link, Repo, Said};
use crate::retention::{Candidate, Guard, Reason, guards};
use crate::session::Session;
use crate::verify::L3;

/// What clocks of hosts may differ by before a point of a time to come is taken for one of a clock that is ahead.
const CLOCKS_APART_NS_MAX: i64 = 15 * 60 * 1_000_000_000;

/// Points that one entry forgets: 18 bytes each, an eighth of what an entry may take.
const FORGOTTEN_MAX: usize = 100_000;

/// Roots of one session: 17 bytes each, a quarter of what its object may take.
const ROOTS_MAX: usize = 16_384;

/// How often a hold on a source looks again for points that were made meanwhile.
const ROUNDS_MAX: usize = 3;

/// What time it is by this host's clock, and what others have borne out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// This host's clock, in UTC nanoseconds.
    pub wall: i64,
    /// The newest time that another writer stated, in UTC nanoseconds, and who; without one there is nothing to compare.
    pub other: Option<(i64, WriterId)>,
}

impl Moment {
    /// The time that may be believed: this host's, but at most a day after what another writer stated last.
    pub fn believed(&self) -> i64 {
        self.other.map_or(self.wall, |(time, _)| self.wall.min(time.saturating_add(DRIFT_NS_MAX)))
    }

    /// Whether this host's clock is further ahead than others bear out.
    pub fn is_doubtful(&self) -> bool {
        self.believed() < self.wall
    }
}

/// Why a point is forgotten that nobody was told to have.
const WITHDRAWN: &str = "its backup was given up before it counted";

/// Whether the last point of a source that can be restored may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It stays, and so does the last that was proven.
    Stays,
    /// It may go, as may others that a number promised.
    MayGo,
}

/// What came of forgetting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgot {
    /// Points that are forgotten from now on; those that were before are not among them.
    pub points: BTreeSet<PointId>,
    /// Points that somebody pinned or held at the same time, so that forgetting them does not count.
    pub overruled: BTreeSet<PointId>,
}

/// What came of keeping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Points that are kept.
    pub points: BTreeSet<PointId>,
    /// Points of which part was swept or is condemned; nothing was said of them.
    pub gone: BTreeSet<PointId>,
}

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// One point.
    Point(PointId),
    /// All points of a source, those to come too.
    Source(String),
}

impl Fold {
    /// The live points as retention looks at them in a region, where it is `now` (UTC nanoseconds).
    pub fn candidates(&self, region: &str, now: i64) -> Vec<Candidate<'_>> {
        let (ahead, to_come) = (self.ahead(), now.saturating_add(CLOCKS_APART_NS_MAX));
        let is_ahead =
            |record: &PointRecord| ahead.contains(&record.point.id) || record.point.as_of > to_come;
        let live = self.live(None).into_iter();
        live.map(|record| Candidate { is_ahead: is_ahead(record), ..self.candidate(record, region) })
            .collect()
    }

    fn candidate<'f>(&self, record: &'f PointRecord, region: &str) -> Candidate<'f> {
        let (point, standing) = (&record.point, record.standing(region));
        let level = standing.best.map(|verified| verified.level);
        Candidate {
            id: point.id,
            source: &point.source,
            as_of: point.as_of,
            stored: record.stated.time.max(point.finished),
            tags: &point.tags,
            pinned_until: record.pinned_until,
            is_held: record.is_held(),
            is_damaged: standing.damaged.is_some() || !record.is_live_in(region),
            is_doubtful: self.is_doubtful(record, region),
            is_proven: level.is_some_and(|level| level >= L3),
            is_ahead: false,
        }
    }
}

impl Repo {
    /// What time it is, and what other writers that were not revoked bear out of it. The root is not asked: it speaks with
    /// the clock of whoever holds it.
    pub fn moment(&self) -> Moment {
        let own = self.known_signer().ok().flatten().map(|signer| WriterId::of(&signer.public()));
        let (log, fold) = (self.log(), self.fold());
        let is_other = |id: &WriterId| {
            let counts = fold.writers.get(id).is_some_and(|w| w.revoked.is_none() && w.grant.rights != 0);
            counts && *id != self.root() && Some(*id) != own
        };
        let times = log.entries.values().map(|entry| (entry.clear.time.time, entry.clear.writer));
        Moment { wall: self.world.now_ns(), other: times.filter(|(_, id)| is_other(id)).max() }
    }

    /// Forgets what a session made that was given up before it counted, as parts of it may be swept, and releases its holds. What
    /// it brought back stays, as somebody else may have brought it back at the same time and been told that it counts; like
    /// all where this fails it stays doubtful, and a verification tells.
    pub(crate) fn withdraw(&self, signer: &Signer, stated: &[Fact]) {
        if self.must_maintain(signer).is_err() {
            return;
        }
        let against = stated.iter().filter_map(|fact| match fact {
            Fact::Point(point) => {
                let (points, reason) = (vec![point.id], WITHDRAWN.to_owned());
                Some(Fact::Forget(Forget { points, regions: None, reason }))
            }
            Fact::Hold(hold) => Some(Fact::Release(Release { hold: hold.hold })),
            _ => None,
        });
        let against: Vec<Fact> = against.collect();
        if !against.is_empty() {
            let _ = self.state_alone(signer, vec![against]);
        }
    }

    /// The end of a pin that begins now, for what adds a length of time to a moment: never earlier than by what anybody
    /// stated, as a pin that is too long does less harm than one that is too short.
    pub fn pin_end(&self, after: impl FnOnce(i64) -> i64) -> i64 {
        after(self.logical_time().time)
    }

    /// Forgets points everywhere, unless a guard keeps one of them.
    pub fn forget(
        &self,
        points: &BTreeSet<PointId>,
        reason: &str,
        guard: Guard,
        last: Last,
    ) -> Result<Forgot, Error> {
        let signer = self.maintainer()?;
        let fold = self.refresh()?;
        self.allow("forget")?;
        self.check_guards(points, guard, last)?;
        let live = |id: &PointId| fold.points.get(id).is_some_and(PointRecord::is_live);
        let points: BTreeSet<PointId> = points.iter().copied().filter(live).collect();
        if points.is_empty() {
            return Ok(Forgot::default());
        }
        let all: Vec<PointId> = points.iter().copied().collect();
        let facts = all.chunks(FORGOTTEN_MAX).map(|some| {
            vec![Fact::Forget(Forget { points: some.to_vec(), regions: None, reason: reason.to_owned() })]
        });
        let after = self.state_alone(&signer, facts.collect())?;
        if last == Last::Stays {
            self.take_back_unless_others_are_left(&fold, &after, &points)?;
        }
        let live = |id: &PointId| after.points.get(id).is_some_and(PointRecord::is_live);
        let (overruled, points) = points.into_iter().partition(live);
        Ok(Forgot { points, overruled })
    }

    /// Refuses to forget points by name that a guard keeps.
    pub fn check_guards(&self, points: &BTreeSet<PointId>, guard: Guard, last: Last) -> Result<(), Error> {
        let fold = self.fold();
        let kept = guards(guard, &fold.candidates(self.io.region_name(), guard.now));
        for point in points {
            let reasons = kept.get(point).into_iter().flatten();
            if let Some(reason) = reasons.copied().find(|reason| stops(*reason, last)) {
                let held = fold.points.get(point).into_iter().flat_map(|record| &record.held_by);
                let holds = held.filter_map(|id| Some(fold.holds.get(id)?.hold.clone()));
                let hold = holds.max_by_key(|hold| hold.source.is_some()).map(Box::new);
                return Err(Error::Kept { point: *point, reason, hold });
            }
        }
        Ok(())
    }

    /// Two that forget at once may each rely on what the other one forgets.
    fn take_back_unless_others_are_left(
        &self,
        before: &Fold,
        after: &Fold,
        points: &BTreeSet<PointId>,
    ) -> Result<(), Error> {
        let sources = points.iter().filter_map(|id| Some(before.points.get(id)?.point.source.as_str()));
        for source in sources.collect::<BTreeSet<&str>>() {
            if !before.live(Some(source)).is_empty() && after.live(Some(source)).is_empty() {
                self.undo(points)?;
                return Err(Error::Raced(format!(
                    "somebody else forgot the other points of {source} at the same time, so these were taken back"
                )));
            }
        }
        Ok(())
    }

    /// Takes back every forgetting of these points that is known.
    pub fn undo(&self, points: &BTreeSet<PointId>) -> Result<Kept, Error> {
        self.keep(points, |fold, roots| undo_facts(fold, roots).collect())
    }

    /// Keeps points until then (UTC nanoseconds), or without end, and takes back what forgot them. A pin cannot be taken
    /// back, and of several the longest counts.
    pub fn pin(&self, points: &BTreeSet<PointId>, until: Option<i64>) -> Result<Kept, Error> {
        self.keep(points, |fold, roots| {
            let pins = roots.iter().map(|point| Fact::Pin(Pin { point: *point, until }));
            undo_facts(fold, roots).chain(pins).collect()
        })
    }

    /// Holds a point, or all of a source that are live now or come later, until the hold is released.
    pub fn hold(&self, what: &Holding, reason: &str) -> Result<Kept, Error> {
        let source = match what {
            Holding::Source(source) => source,
            Holding::Point(point) => {
                return self.keep(&BTreeSet::from([*point]), |fold, roots| {
                    undo_facts(fold, roots).chain(self.point_holds(roots, reason)).collect()
                });
            }
        };
        let mut kept = Kept::default();
        for round in 0..ROUNDS_MAX {
            let fold = self.refresh()?;
            let live = fold.live(Some(source)).into_iter().map(|record| record.point.id);
            let new: BTreeSet<PointId> =
                live.filter(|id| !kept.points.contains(id) && !kept.gone.contains(id)).collect();
            if round > 0 && new.is_empty() {
                break;
            }
            let now = self.keep_some(&new, |_, roots| {
                let all = self.held(None, Some(source.clone()), reason);
                std::iter::once(all).chain(self.point_holds(roots, reason)).collect()
            })?;
            kept.points.extend(now.points);
            kept.gone.extend(now.gone);
        }
        Ok(kept)
    }

    /// Those of these points whose root was swept, or is about to be: nothing brings them back. Of others parts may be gone all
    /// the same, which bringing them back tells.
    ///
    /// # Errors
    /// Of the region.
    pub fn swept(&self, points: &[&PointRecord]) -> Result<BTreeSet<PointId>, Error> {
        let (sweeps, fold) = (self.stated_sweeps(false)?, self.fold());
        let region = self.io.region_name();
        let is_gone = |record: &&&PointRecord| {
            let frame = record.point.root.frame();
            let moved = fold.moved.get(&(region.to_owned(), frame.pack, frame.ordinal));
            let mut places = moved.into_iter().flatten().chain([&frame.pack]);
            places.all(|pack| sweeps.is_condemned(pack))
        };
        Ok(points.iter().filter(is_gone).map(|record| record.point.id).collect())
    }

    /// Releases holds. What else keeps a point, or forgot it before, counts from then on.
    pub fn release(&self, holds: &BTreeSet<HoldId>) -> Result<(), Error> {
        let signer = self.maintainer()?;
        self.refresh()?;
        self.allow("forget")?;
        let facts = holds.iter().map(|hold| Fact::Release(Release { hold: *hold }));
        self.state_alone(&signer, vec![facts.collect()]).map(|_| ())
    }

    fn held(&self, point: Option<PointId>, source: Option<String>, reason: &str) -> Fact {
        let hold = HoldId(self.world.chance().bytes());
        Fact::Hold(Hold { hold, point, source, reason: reason.to_owned() })
    }

    fn point_holds(&self, points: &BTreeSet<PointId>, reason: &str) -> Vec<Fact> {
        points.iter().map(|point| self.held(Some(*point), None, reason)).collect()
    }

    /// As [`Repo::keep_some`], where nobody is served if all are gone.
    fn keep(
        &self,
        points: &BTreeSet<PointId>,
        facts: impl Fn(&Fold, &BTreeSet<PointId>) -> Vec<Fact>,
    ) -> Result<Kept, Error> {
        if points.is_empty() {
            return Ok(Kept::default());
        }
        let kept = self.keep_some(points, facts)?;
        if kept.points.is_empty() {
            Err(Error::PointsGone(kept.gone.into_iter().collect()))
        } else {
            Ok(kept)
        }
    }

    /// States facts of those points that are still whole, in sessions that rely on them.
    fn keep_some(
        &self,
        points: &BTreeSet<PointId>,
        facts: impl Fn(&Fold, &BTreeSet<PointId>) -> Vec<Fact>,
    ) -> Result<Kept, Error> {
        self.refresh()?;
        self.allow("write")?;
        let all: Vec<PointId> = points.iter().copied().collect();
        let batches: Vec<&[PointId]> =
            if all.is_empty() { vec![&[]] } else { all.chunks(ROOTS_MAX).collect() };
        let mut kept = Kept::default();
        for batch in batches {
            let now = self.keep_batch(batch.iter().copied().collect(), &facts)?;
            kept.points.extend(now.points);
            kept.gone.extend(now.gone);
        }
        let fold = self.fold();
        let live = |id: &PointId| fold.points.get(id).is_some_and(PointRecord::is_live);
        match kept.points.iter().find(|id| !live(id)) {
            None => Ok(kept),
            Some(id) => {
                let id = id.to_string();
                Err(Error::Raced(format!("somebody else forgot point {id:.12} at the same time")))
            }
        }
    }

    fn keep_batch(
        &self,
        roots: BTreeSet<PointId>,
        facts: &impl Fn(&Fold, &BTreeSet<PointId>) -> Vec<Fact>,
    ) -> Result<Kept, Error> {
        let signer = self.maintainer()?;
        let writer = WriterId::of(&signer.public());
        let mut session = Session::open(self, signer, Purpose::Write, roots.clone())?;
        // The session read the log again. Whoever renews the keys from now on finds it at work under the old ones.
        self.must_have_newest_keys().map_err(|error| match error {
            Error::OldKeys { .. } => Error::Raced("the keys were renewed just now".to_owned()),
            other => other,
        })?;
        let fold = self.fold();
        let holds = |id: &PointId| session.accepted().contains(id) && fold.points.contains_key(id);
        let (accepted, gone): (BTreeSet<PointId>, BTreeSet<PointId>) = roots.into_iter().partition(holds);
        let said = if accepted.is_empty() && !gone.is_empty() { Vec::new() } else { facts(&fold, &accepted) };
        session.commit(said, Vec::new(), BTreeSet::new(), true)?;
        self.check_counts(writer, session.id())?;
        Ok(Kept { points: accepted, gone })
    }

    /// This host's signer, if it may say which points are wanted.
    fn maintainer(&self) -> Result<Signer, Error> {
        self.must_read()?;
        self.must_have_newest_keys()?;
        let signer = self.enrolled_signer()?;
        let writer = WriterId::of(&signer.public());
        let rights = self.fold().writers.get(&writer).map_or(0, |known| known.grant.rights);
        match rights & Grant::MAINTAIN {
            0 if writer != self.root() => {
                Err(Error::NotAllowed { writer, act: "say which points are wanted" })
            }
            _ => Ok(signer),
        }
    }

    /// Appends a chain with these entries, and gives what the log says then.
    fn state_alone(&self, signer: &Signer, entries: Vec<Vec<Fact>>) -> Result<std::sync::Arc<Fold>, Error> {
        let mut chance = self.world.chance();
        let mut link = Link { session: SessionId(chance.bytes()), number: 0, previous: Hash::NONE };
        let last = entries.len().saturating_sub(1);
        for (number, mut facts) in entries.into_iter().enumerate() {
            if number == last {
                facts.push(Fact::End);
            }
            link.previous = self.append(signer, link, &facts, Said::default(), &mut chance)?;
            link.number += 1;
        }
        let fold = self.refresh()?;
        self.check_counts(WriterId::of(&signer.public()), link.session)?;
        Ok(fold)
    }
}

/// Whether a guard stops somebody who names the point. What rules may not take because nobody knows its time, or because
/// it is young, may be taken by name.
fn stops(reason: Reason, last: Last) -> bool {
    match reason {
        Reason::Pinned | Reason::Held => true,
        Reason::NewestRestorable | Reason::NewestProven | Reason::Least => last == Last::Stays,
        _ => false,
    }
}

/// What takes back every known forgetting of these points, if there is any.
fn undo_facts(fold: &Fold, points: &BTreeSet<PointId>) -> impl Iterator<Item = Fact> + use<> {
    let known = points.iter().filter_map(|id| Some((*id, fold.points.get(id)?.forgettings())));
    let of: Vec<_> =
        known.filter(|(_, by)| !by.is_empty()).map(|(id, by)| (id, by.into_iter().collect())).collect();
    (!of.is_empty()).then_some(Fact::Undo(Undo { points: of })).into_iter()
}
