//! Which points are wanted: hold beats pin beats forget, by nothing but the entries and the times that they state.
//!
//! A forgetting counts unless an undo names its entry, or a hold or a pin overrules it. A hold on the point does so
//! whenever it was stated; one on its source if the forgetting was stated within a day after it, as what was forgotten
//! before may be swept by now; a pin if the forgetting was stated before the pin's end. So no clock is asked, and everybody
//! who has the same entries wants the same points. A hold that was released is as if it had never been.

use std::collections::{BTreeMap, BTreeSet};

use format::entry::{EntryId, LogicalTime};
use format::fact::{Forget, Hold};
use format::id::{HoldId, PointId};

use super::{DRIFT_NS_MAX, Fold, PointRecord};
use crate::verify::Level;

/// A hold and who stated it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    /// The hold.
    pub hold: Hold,
    /// The entry that stated it.
    pub entry: EntryId,
    /// When it was stated first, in the order of what its writer had seen.
    pub stated: LogicalTime,
}

/// An entry that forgot points, whether or not that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgetting {
    /// When, in the order of what its writer had seen.
    pub stated: LogicalTime,
    /// Why, for people.
    pub reasons: BTreeSet<String>,
}

/// One forgetting of one point: where, by which entry, and when that was stated.
pub(super) type Forgotten = (Option<String>, EntryId, LogicalTime);

impl PointRecord {
    /// Whether the point is wanted, in whichever region.
    pub fn is_live(&self) -> bool {
        self.forgotten_by.is_empty()
    }

    /// Whether the point is wanted in this region.
    pub fn is_live_in(&self, region: &str) -> bool {
        self.is_live() && !self.forgotten_in.contains_key(region)
    }

    /// Whether a hold that was not released covers the point.
    pub fn is_held(&self) -> bool {
        !self.held_by.is_empty()
    }

    /// Every entry that forgot the point and was not undone, whether or not it counts.
    pub fn forgettings(&self) -> BTreeSet<EntryId> {
        let in_regions = self.forgotten_in.values().flatten();
        self.forgotten_by.iter().chain(in_regions).chain(&self.overruled).copied().collect()
    }
}

impl Fold {
    pub(super) fn take_forget(&mut self, forget: Forget, id: EntryId, stated: LogicalTime) {
        let names = |regions: Vec<String>| regions.into_iter().map(Some).collect();
        let regions: Vec<Option<String>> = forget.regions.map_or(vec![None], names);
        for point in forget.points {
            let places = regions.iter().map(|region| (region.clone(), id, stated));
            self.forgets.entry(point).or_default().extend(places);
        }
        let told = Forgetting { stated, reasons: BTreeSet::new() };
        let told = self.forgettings.entry(id).or_insert(told);
        told.stated = told.stated.min(stated);
        told.reasons.insert(forget.reason);
    }

    pub(super) fn take_hold(&mut self, hold: Hold, id: &EntryId, stated: LogicalTime) {
        let record = HoldRecord { hold, entry: *id, stated };
        let first = self.holds.entry(record.hold.hold).or_insert_with(|| record.clone());
        let agrees = first.hold == record.hold;
        if agrees {
            first.stated = first.stated.min(stated);
        }
        self.contradicted_unless(agrees, id, "hold");
    }

    /// Says of each point whether it is wanted, once all is known.
    pub(super) fn settle_points(&mut self) {
        self.holds.retain(|id, _| !self.releases.contains(id));
        let holds = Holds::of(&self.holds);
        for (id, record) in &mut self.points {
            record.pinned_until = self.pins.get(id).copied();
            record.held_by = holds.over(record);
            let forgets = self.forgets.get(id).into_iter().flatten();
            for (region, entry, stated) in forgets.filter(|f| !self.undone.contains_key(&(*id, f.1))) {
                let pinned =
                    record.pinned_until.is_some_and(|until| stated.time < until || until == i64::MAX);
                match region {
                    _ if pinned || holds.overrule(record, *stated) => record.overruled.insert(*entry),
                    None => record.forgotten_by.insert(*entry),
                    Some(region) => record.forgotten_in.entry(region.clone()).or_default().insert(*entry),
                };
            }
            record.verified = self.verifications.get(id).cloned().unwrap_or_default();
            record.verified.sort_by_key(|v| (v.time, v.level));
        }
    }

    /// The holds that are released together with this one: those that its entry stated, if it is of a source, for the
    /// points that were wanted then.
    pub fn hold_group(&self, hold: HoldId) -> BTreeSet<HoldId> {
        let Some(record) = self.holds.get(&hold) else { return BTreeSet::new() };
        if record.hold.source.is_none() {
            return BTreeSet::from([hold]);
        }
        let same = |(_, other): &(&HoldId, &HoldRecord)| other.entry == record.entry;
        self.holds.iter().filter(same).map(|(id, _)| *id).collect()
    }

    pub(super) fn take_keeper(&mut self, point: PointId, id: &EntryId) {
        self.keepers.entry(point).or_default().insert((id.writer, id.session));
    }

    /// Whether parts of a live point may have been swept: the session that made it was given up, or all those that brought it
    /// back from one of its forgettings were. Most such points are whole, as their sessions were acknowledged before; nobody
    /// can tell that by the log.
    pub(crate) fn may_lack(&self, record: &PointRecord) -> bool {
        let id = record.point.id;
        let keepers = || self.keepers.get(&id).into_iter().flatten();
        let was_in_vain = |(_, entry, _): &Forgotten| {
            let mut saviours =
                self.undone.get(&(id, *entry)).into_iter().flatten().chain(keepers()).peekable();
            saviours.peek().is_some() && saviours.all(|session| self.expired.contains(session))
        };
        self.expired.contains(&(record.entry.writer, record.entry.session))
            || self.forgets.get(&id).into_iter().flatten().any(was_in_vain)
    }

    /// Whether anybody ever forgot the point, whatever became of that.
    pub(crate) fn was_ever_forgotten(&self, point: &PointId) -> bool {
        self.forgets.get(point).is_some_and(|forgettings| !forgettings.is_empty())
    }

    /// Whether parts of a live point may have been swept, and nobody has read its tree in this region since.
    pub fn is_doubtful(&self, record: &PointRecord, region: &str) -> bool {
        self.may_lack(record)
            && record.standing(region).best.is_none_or(|verified| verified.level < Level::L2.number())
    }

    /// Points that were forgotten and that nothing keeps, oldest `as_of` first.
    pub fn forgotten(&self, source: Option<&str>) -> Vec<&PointRecord> {
        let of = |p: &&PointRecord| !p.is_live() && source.is_none_or(|s| p.point.source == s);
        let mut points: Vec<&PointRecord> = self.points.values().filter(of).collect();
        points.sort_by_key(|p| (p.point.as_of, p.point.id));
        points
    }
}

/// Holds by what they cover.
struct Holds<'f> {
    of_points: BTreeMap<PointId, BTreeSet<HoldId>>,
    /// And when they were stated.
    of_sources: BTreeMap<&'f str, BTreeMap<HoldId, LogicalTime>>,
}

impl<'f> Holds<'f> {
    fn of(holds: &'f BTreeMap<HoldId, HoldRecord>) -> Holds<'f> {
        let mut sorted = Holds { of_points: BTreeMap::new(), of_sources: BTreeMap::new() };
        for (id, record) in holds {
            if let Some(point) = record.hold.point {
                sorted.of_points.entry(point).or_default().insert(*id);
            }
            if let Some(source) = &record.hold.source {
                sorted.of_sources.entry(source).or_default().insert(*id, record.stated);
            }
        }
        sorted
    }

    fn over(&self, record: &PointRecord) -> BTreeSet<HoldId> {
        let of_point = self.of_points.get(&record.point.id).into_iter().flatten();
        let of_source =
            self.of_sources.get(record.point.source.as_str()).into_iter().flat_map(BTreeMap::keys);
        of_point.chain(of_source).copied().collect()
    }

    fn overrule(&self, record: &PointRecord, forgotten: LogicalTime) -> bool {
        let of_source =
            self.of_sources.get(record.point.source.as_str()).into_iter().flat_map(BTreeMap::values);
        self.of_points.contains_key(&record.point.id)
            || of_source.into_iter().any(|held| is_concurrent(*held, forgotten))
    }
}

/// Whether a forgetting stated then may have been written by somebody who did not see a hold on the source. Whoever sees one
/// forgets nothing of it, so this is about moments. A later time is that of a clock that is ahead: such a forgetting may have
/// come first, and its point may be swept already.
fn is_concurrent(held: LogicalTime, forgotten: LogicalTime) -> bool {
    held <= forgotten && forgotten.time <= held.time.saturating_add(DRIFT_NS_MAX)
}
