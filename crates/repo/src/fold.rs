//! What the log says: a pure function of the set of its entries, whatever the order of arrival.
//!
//! First who may speak: the root by the trust anchor, others by grants in entries of the root, until a
//! revocation names their last entry that counts. Then what they say, each fact only if its writer may say
//! it. What does not count is kept and reported, never silently dropped. Chains are checked here too: a gap,
//! a fork or an entry that does not follow the one before it is named; what can still be used is used.

mod chains;
mod finding;
mod liveness;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use format::entry::{EntryId, Head, LogicalTime};
use format::fact::{
    DomainKeys, Fact, Feature, Grant, Moved, Point, RawFact, RegionFact, Revoke, Substitute, Verified,
};
use format::id::{DomainId, Hash, HoldId, Incarnation, PackId, PointId, RunId, SessionId, WriterId};
use format::reference::Reference;

use crate::layout;
use crate::log::LogEntry;

pub use finding::Finding;
use liveness::Forgotten;
pub use liveness::{Forgetting, HoldRecord};

/// The clock of another host may be this far ahead before its times are not believed: one day.
pub(crate) const DRIFT_NS_MAX: i64 = 24 * 3600 * 1_000_000_000;

/// A writer that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The grant that counts: the one with the most recent time.
    pub grant: Grant,
    /// Per session the last entry that counts and its hash, once it was revoked.
    pub revoked: Option<BTreeMap<SessionId, (u32, Hash)>>,
    /// Why it was revoked.
    pub reason: Option<String>,
}

/// A point and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointRecord {
    /// The point.
    pub point: Point,
    /// The entry that made it.
    pub entry: EntryId,
    /// When that entry was written, in the order of what its writer had seen.
    pub stated: LogicalTime,
    /// The entries that forgot it everywhere, and count: they were not undone, and no pin or hold overrules them.
    pub forgotten_by: BTreeSet<EntryId>,
    /// Regions that alone forgot it, each with the entries that did, and count.
    pub forgotten_in: BTreeMap<String, BTreeSet<EntryId>>,
    /// The entries that forgot it and were not undone, but are overruled by a pin or a hold.
    pub overruled: BTreeSet<EntryId>,
    /// Until when it is pinned, in UTC nanoseconds; `i64::MAX` without end.
    pub pinned_until: Option<i64>,
    /// The holds on it or on its source that were not released.
    pub held_by: BTreeSet<HoldId>,
    /// Verifications, newest last.
    pub verified: Vec<Verified>,
}

impl PointRecord {
    /// What verifications in `region` say of the point today.
    pub fn standing(&self, region: &str) -> Standing<'_> {
        Standing::of(self.verified.iter().filter(|verified| verified.region == region))
    }
}

/// What verifications say of a point, taken together. Damage that one of them found stands until a later one that looks
/// at as much finds none: hashing every byte (L1) and following every reference (L2) do not replace each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing<'v> {
    /// Damage that stands, found last.
    pub damaged: Option<&'v Verified>,
    /// The newest that hashed every byte (L1, L3) and found nothing.
    pub hashed: Option<&'v Verified>,
    /// The newest of the highest level that found nothing.
    pub best: Option<&'v Verified>,
}

impl<'v> Standing<'v> {
    pub(crate) fn of(verified: impl Iterator<Item = &'v Verified>) -> Standing<'v> {
        let (mut best, mut hashed): (Option<&Verified>, Option<&Verified>) = (None, None);
        let mut open: Vec<&Verified> = Vec::new();
        for one in verified {
            if one.problems > 0 {
                (best, hashed) = (None, None);
                open.retain(|found| found.level != one.level);
                open.push(one);
                continue;
            }
            open.retain(|found| !covers(one.level, found.level));
            if open.is_empty() {
                let higher = best.is_none_or(|best| best.level <= one.level);
                best = if higher { Some(one) } else { best };
                hashed = if covers(one.level, 1) { Some(one) } else { hashed };
            }
        }
        Standing { damaged: open.last().copied(), hashed, best }
    }
}

/// Whether a verification at `level` looks at all that one at `other` looks at.
fn covers(level: u8, other: u8) -> bool {
    level == other || level >= 3 || other == 0
}

/// A pack as the log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// Size of the object in bytes.
    pub size: u64,
    /// BLAKE3 of the object.
    pub hash: Hash,
    /// The entry that brought it.
    pub entry: EntryId,
}

/// A run as the log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Writer and session, as in its name.
    pub of: (WriterId, SessionId),
    /// Size of the object in bytes.
    pub size: u64,
    /// BLAKE3 of the object.
    pub hash: Hash,
}

/// An object that helps to restore, as the root signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RescueRecord {
    /// Size of the object in bytes.
    pub size: u64,
    /// BLAKE3 of the object.
    pub hash: Hash,
    /// The entry that brought it first.
    pub entry: EntryId,
    /// When, in UTC nanoseconds.
    pub time: i64,
}

/// The state of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// Who may write.
    pub writers: BTreeMap<WriterId, Writer>,
    /// All points, forgotten ones too.
    pub points: BTreeMap<PointId, PointRecord>,
    /// All packs that an entry brought.
    pub packs: BTreeMap<PackId, PackRecord>,
    /// All runs that an entry brought.
    pub runs: BTreeMap<RunId, RunRecord>,
    /// Objects that help to restore, by name; only the root may bring them.
    pub rescue: BTreeMap<String, RescueRecord>,
    /// Sessions that ended by themselves; each with its writer, as anybody could write a session's id into a
    /// chain.
    pub ended: BTreeSet<(WriterId, SessionId)>,
    /// Sessions that a sweeper gave up.
    pub expired: BTreeSet<(WriterId, SessionId)>,
    /// Regions and their present life, as stated last.
    pub regions: BTreeMap<String, Incarnation>,
    /// Domains and their generations, with the public keys of each.
    pub domains: BTreeMap<(DomainId, u32), DomainKeys>,
    /// Frames of a pack, and where else they are in a region's present life.
    pub moved: BTreeMap<(String, PackId, u32), BTreeSet<PackId>>,
    /// Holds that were not released.
    pub holds: BTreeMap<HoldId, HoldRecord>,
    /// Entries that forgot points.
    pub forgettings: BTreeMap<EntryId, Forgetting>,
    /// Chunks to be read elsewhere, and all places that anybody named: one of them may be lost too.
    pub substitutes: BTreeMap<Reference, BTreeSet<Reference>>,
    /// The newest entry of each chain.
    pub heads: BTreeMap<(WriterId, SessionId), Head>,
    /// Entries that count and that no other chain vouches for: those after the last one of their chain that
    /// an entry which counts has named. If they were taken away, nobody could tell from the log.
    pub unnamed: BTreeSet<EntryId>,
    /// Facts of types that are not known here or do not decode, and the verbs they forbid.
    pub unknown: Vec<RawFact>,
    /// Entries that count and whose sealed part does not open with the keys at hand: what they say is not here.
    pub closed: BTreeSet<EntryId>,
    /// What is wrong with the log.
    pub findings: BTreeSet<Finding>,
    releases: BTreeSet<HoldId>,
    region_stated: BTreeMap<String, (LogicalTime, EntryId)>,
    moves: Vec<Moved>,
    forgets: BTreeMap<PointId, BTreeSet<Forgotten>>,
    /// Forgettings that were taken back, and by which sessions.
    undone: BTreeMap<(PointId, EntryId), BTreeSet<(WriterId, SessionId)>>,
    /// Sessions that pinned or held a point.
    keepers: BTreeMap<PointId, BTreeSet<(WriterId, SessionId)>>,
    pins: BTreeMap<PointId, i64>,
    verifications: BTreeMap<PointId, Vec<Verified>>,
    /// Entries of revoked writers that count all the same.
    kept: BTreeSet<Hash>,
}

impl Fold {
    /// Folds `entries`, whose signatures were checked, under the root that the trust anchor names.
    pub fn of<'e>(entries: impl IntoIterator<Item = &'e LogEntry>, root: WriterId) -> Fold {
        let mut places: BTreeMap<EntryId, Vec<&LogEntry>> = BTreeMap::new();
        for entry in entries {
            let here = places.entry(entry.clear.id()).or_default();
            match here.iter_mut().find(|other| other.hash == entry.hash) {
                Some(twin) if twin.closed => *twin = entry,
                Some(_) => {}
                None => here.push(entry),
            }
        }
        places.values_mut().for_each(|here| here.sort_by_key(|entry| entry.hash));
        let mut fold = Fold::default();
        for entry in places.values().flatten().filter(|entry| entry.clear.writer == root) {
            fold.take_authority(entry);
        }
        let kept = fold.kept_of_revoked(&places);
        fold.check_chains(&places, |fold, entry| {
            fold.rights(&entry.clear.id(), entry.hash, root, &kept).is_some()
        });
        for entry in places.values().flatten() {
            fold.take_entry(entry, root, &kept);
        }
        fold.settle();
        fold.kept = kept;
        fold
    }

    /// Whether the writer may forget, sweep and repair.
    pub(crate) fn may_maintain(&self, writer: WriterId, root: WriterId) -> bool {
        let granted = self.writers.get(&writer).filter(|writer| writer.revoked.is_none());
        writer == root || granted.is_some_and(|writer| writer.grant.rights & Grant::MAINTAIN != 0)
    }

    /// Whether a session ended, or was given up.
    pub fn is_over(&self, session: &(WriterId, SessionId)) -> bool {
        self.ended.contains(session) || self.expired.contains(session)
    }

    /// The facts of an entry that count; none at all if the entry does not.
    pub(crate) fn counted(&self, entry: &LogEntry, root: WriterId) -> Option<Vec<Fact>> {
        let id = entry.clear.id();
        let rights = self.rights(&id, entry.hash, root, &self.kept)?;
        let read =
            |raw: &RawFact, clear| Fact::decode(raw.clone()).ok().filter(|fact| fact.is_clear() == clear);
        let open = entry.clear.facts.iter().filter_map(|raw| read(raw, true));
        let sealed = entry.facts.iter().filter_map(|raw| read(raw, false));
        let counts = |fact: &Fact| self.refusal(fact, rights, &id, root).is_none();
        Some(open.chain(sealed).filter(counts).collect())
    }

    fn take_authority(&mut self, entry: &LogEntry) {
        for fact in self.clear_facts(entry) {
            match fact {
                Fact::Grant(grant) => self.take_grant(grant),
                Fact::Revoke(revoke) => self.take_revocation(revoke),
                _ => {}
            }
        }
    }

    /// Of several grants the most recent counts, of those of one moment the lesser; a revocation stays
    /// whatever is granted, as nobody should come back by an old entry.
    fn take_grant(&mut self, grant: Grant) {
        let rank = |grant: &Grant| (grant.time, Reverse(grant.rights));
        let id = WriterId::of(&grant.public_key);
        match self.writers.get_mut(&id) {
            Some(writer) if rank(&writer.grant) < rank(&grant) => writer.grant = grant,
            Some(_) => {}
            None => {
                self.writers.insert(id, Writer { grant, revoked: None, reason: None });
            }
        }
    }

    /// Of several revocations all count: what is left is what each of them leaves.
    fn take_revocation(&mut self, revoke: Revoke) {
        let mut counts: BTreeMap<SessionId, (u32, Hash)> = BTreeMap::new();
        for (session, last, hash) in revoke.counts {
            let least = counts.entry(session).or_insert((last, hash));
            *least = (*least).min((last, hash));
        }
        let unknown = || Writer { grant: unknown_grant(), revoked: None, reason: None };
        let writer = self.writers.entry(revoke.writer).or_insert_with(unknown);
        writer.revoked = Some(match writer.revoked.take() {
            None => counts,
            Some(before) => {
                let both = before.into_iter().filter_map(|(s, last)| Some((s, last.min(*counts.get(&s)?))));
                both.collect()
            }
        });
        writer.reason.get_or_insert(revoke.reason);
    }

    fn clear_facts(&mut self, entry: &LogEntry) -> Vec<Fact> {
        self.decode_facts(entry, &entry.clear.facts, true)
    }

    /// The facts of one part that read and belong there: otherwise holders of different keys would see
    /// different states.
    fn decode_facts(&mut self, entry: &LogEntry, raw: &[RawFact], clear: bool) -> Vec<Fact> {
        let mut facts = Vec::with_capacity(raw.len());
        for fact in raw {
            let why = match Fact::decode(fact.clone()) {
                Ok(fact) if fact.is_clear() == clear || matches!(fact, Fact::Unknown(_)) => {
                    facts.push(fact);
                    continue;
                }
                Ok(_) => "it lies in the wrong part".to_owned(),
                Err(error) => error.to_string(),
            };
            self.findings.insert(Finding::Malformed { entry: entry.clear.id(), why });
            if !fact.critical.is_empty() {
                facts.push(Fact::Unknown(fact.clone()));
            }
        }
        facts
    }

    /// What still counts of revoked writers: the entries that a revocation names, and those before them.
    fn kept_of_revoked(&self, places: &BTreeMap<EntryId, Vec<&LogEntry>>) -> BTreeSet<Hash> {
        let mut kept = BTreeSet::new();
        for (writer, counts) in self.writers.iter().filter_map(|(id, w)| Some((*id, w.revoked.as_ref()?))) {
            for (session, (last, hash)) in counts {
                let mut wanted = *hash;
                for number in (0..=*last).rev() {
                    let id = EntryId { writer, session: *session, number };
                    let Some(entry) = places.get(&id).and_then(|here| here.iter().find(|e| e.hash == wanted))
                    else {
                        break;
                    };
                    kept.insert(wanted);
                    wanted = entry.clear.previous;
                }
            }
        }
        kept
    }

    fn take_entry(&mut self, entry: &LogEntry, root: WriterId, kept: &BTreeSet<Hash>) {
        let id = entry.clear.id();
        let Some(rights) = self.rights(&id, entry.hash, root, kept) else {
            let known = self.writers.contains_key(&id.writer);
            self.findings.insert(if known { Finding::NotGranted(id) } else { Finding::Stranger(id) });
            return;
        };
        let clear = self.clear_facts(entry);
        let sealed = self.decode_facts(entry, &entry.facts, false);
        self.take_objects(entry, &id, root);
        if entry.closed {
            self.closed.insert(id);
        }
        for fact in clear.into_iter().chain(sealed) {
            match self.refusal(&fact, rights, &id, root) {
                Some(what) => {
                    self.findings.insert(Finding::NotAllowed { entry: id, what });
                }
                None => self.take_fact(fact, entry, &id),
            }
        }
    }

    /// What the writer of this entry may do; `None` if the entry does not count.
    fn rights(&self, id: &EntryId, hash: Hash, root: WriterId, kept: &BTreeSet<Hash>) -> Option<u32> {
        if id.writer == root {
            return Some(Grant::ADD | Grant::MAINTAIN | Grant::ADMINISTER);
        }
        let writer = self.writers.get(&id.writer)?;
        match &writer.revoked {
            Some(_) if !kept.contains(&hash) => None,
            _ => Some(writer.grant.rights).filter(|&rights| rights != 0),
        }
    }

    fn refusal(&self, fact: &Fact, rights: u32, id: &EntryId, root: WriterId) -> Option<&'static str> {
        let without = |right: u32, what| (rights & right == 0).then_some(what);
        match fact {
            Fact::Grant(_) => (id.writer != root).then_some("grant"),
            Fact::Revoke(_) => (id.writer != root).then_some("revocation"),
            Fact::Domain(_) => (id.writer != root).then_some("generation of keys"),
            Fact::Substitute(substitute) if !is_faithful(substitute) => Some("substitute with other content"),
            Fact::Region(_) | Fact::Feature(_) => without(Grant::ADMINISTER, "region or feature"),
            Fact::Point(point) if !self.may_add(id, &point.source, root) => Some("point of this source"),
            Fact::Point(_) => without(Grant::ADD, "point"),
            Fact::Expired(_) | Fact::Moved(_) => without(Grant::MAINTAIN, "act of a sweep"),
            Fact::Forget(_) | Fact::Undo(_) | Fact::Pin(_) => without(Grant::MAINTAIN, "act of retention"),
            Fact::Hold(_) | Fact::Release(_) => without(Grant::MAINTAIN, "hold"),
            Fact::End | Fact::Acknowledged | Fact::Verified(_) | Fact::Substitute(_) | Fact::Unknown(_) => {
                None
            }
        }
    }

    fn may_add(&self, id: &EntryId, source: &str, root: WriterId) -> bool {
        let sources = self.writers.get(&id.writer).and_then(|w| w.grant.sources.as_ref());
        id.writer == root || sources.is_none_or(|sources| sources.iter().any(|s| s == source))
    }

    fn take_objects(&mut self, entry: &LogEntry, id: &EntryId, root: WriterId) {
        for object in &entry.clear.brings {
            let (size, hash) = (object.size, object.hash);
            if let Some(pack) = layout::parse_pack(&object.name) {
                let first = self.packs.entry(pack).or_insert(PackRecord { size, hash, entry: *id });
                let agrees = (first.size, first.hash) == (size, hash);
                self.contradicted_unless(agrees, id, "pack");
            } else if let Some((writer, session, run)) = layout::parse_run(&object.name) {
                let record = RunRecord { of: (writer, session), size, hash };
                let agrees = writer == id.writer && *self.runs.entry(run).or_insert(record) == record;
                self.contradicted_unless(agrees, id, "run");
            } else if let Some(named) = layout::parse_rescue(&object.name) {
                let record = RescueRecord { size, hash, entry: *id, time: entry.clear.time.time };
                match id.writer == root {
                    true => self.take_rescue(&object.name, record, named),
                    false => {
                        let what = "object that helps to restore";
                        self.findings.insert(Finding::NotAllowed { entry: *id, what });
                    }
                }
            }
        }
    }

    /// The one that was brought first counts; a name holds the hash, so others differ only where the root says so.
    fn take_rescue(&mut self, name: &str, record: RescueRecord, named: Hash) {
        let first = self.rescue.get(name).copied().unwrap_or(record);
        let agrees = named == record.hash && (first.size, first.hash) == (record.size, record.hash);
        self.contradicted_unless(agrees, &record.entry, "rescue object");
        if agrees {
            self.rescue.insert(name.to_owned(), first);
        }
    }

    fn contradicted_unless(&mut self, agrees: bool, entry: &EntryId, what: &'static str) {
        if !agrees {
            self.findings.insert(Finding::Contradicted { entry: *entry, what });
        }
    }

    fn take_fact(&mut self, fact: Fact, entry: &LogEntry, id: &EntryId) {
        match fact {
            Fact::End => {
                self.ended.insert((id.writer, id.session));
            }
            Fact::Expired(expired) => {
                self.expired.insert((expired.writer, expired.session));
            }
            Fact::Region(region) => self.take_region(region, (entry.clear.time, *id)),
            Fact::Domain(domain) => {
                let place = (domain.domain, domain.generation);
                let agrees = *self.domains.entry(place).or_insert_with(|| domain.clone()) == domain;
                self.contradicted_unless(agrees, id, "generation of keys");
            }
            Fact::Moved(moved) => self.moves.push(moved),
            Fact::Point(point) => self.take_point(*point, id, entry.clear.time),
            Fact::Forget(forget) => self.take_forget(forget, *id, entry.clear.time),
            Fact::Undo(undo) => {
                let pairs = undo.points.into_iter().flat_map(|(p, by)| by.into_iter().map(move |e| (p, e)));
                for pair in pairs {
                    self.undone.entry(pair).or_default().insert((id.writer, id.session));
                }
            }
            Fact::Pin(pin) => {
                self.take_keeper(pin.point, id);
                let until = pin.until.unwrap_or(i64::MAX);
                let longest = self.pins.entry(pin.point).or_insert(until);
                *longest = (*longest).max(until);
            }
            Fact::Hold(hold) => {
                hold.point.into_iter().for_each(|point| self.take_keeper(point, id));
                self.take_hold(hold, id, entry.clear.time);
            }
            Fact::Release(release) => {
                self.releases.insert(release.hold);
            }
            Fact::Verified(verified) => self.verifications.entry(verified.point).or_default().push(verified),
            Fact::Substitute(substitute) => {
                for (lost, instead) in substitute.chunks {
                    self.substitutes.entry(lost).or_default().insert(instead);
                }
            }
            Fact::Unknown(raw) => self.unknown.push(raw),
            Fact::Feature(feature) => self.unknown.extend(forbidden_by(&feature)),
            Fact::Grant(_) | Fact::Revoke(_) | Fact::Acknowledged => {}
        }
    }

    fn take_region(&mut self, region: RegionFact, stated: (LogicalTime, EntryId)) {
        if self.region_stated.get(&region.name).is_none_or(|before| *before < stated) {
            self.region_stated.insert(region.name.clone(), stated);
            self.regions.insert(region.name, region.incarnation);
        }
    }

    fn take_point(&mut self, point: Point, id: &EntryId, stated: LogicalTime) {
        let record = PointRecord {
            entry: *id,
            stated,
            forgotten_by: BTreeSet::new(),
            forgotten_in: BTreeMap::new(),
            overruled: BTreeSet::new(),
            pinned_until: None,
            held_by: BTreeSet::new(),
            verified: Vec::new(),
            point,
        };
        let agrees =
            self.points.entry(record.point.id).or_insert_with(|| record.clone()).point == record.point;
        self.contradicted_unless(agrees, id, "point");
    }

    /// Brings together what may have been said in any order.
    fn settle(&mut self) {
        self.settle_points();
        self.settle_moves();
        self.unknown.sort_by(|a, b| (&a.namespace, a.kind, &a.bytes).cmp(&(&b.namespace, b.kind, &b.bytes)));
    }

    /// A region that came back to another life holds none of the places that were announced in the one
    /// before.
    fn settle_moves(&mut self) {
        for moved in std::mem::take(&mut self.moves) {
            if self.regions.get(&moved.region) != Some(&moved.incarnation) {
                continue;
            }
            for (pack, ordinals, to) in moved.frames {
                for ordinal in ordinals {
                    self.moved.entry((moved.region.clone(), pack, ordinal)).or_default().insert(to);
                }
            }
        }
    }

    /// The newest generation of a domain's keys; `None` before any was stated.
    pub fn newest_keys(&self, domain: DomainId) -> Option<&DomainKeys> {
        self.domains.range((domain, 0)..=(domain, u32::MAX)).next_back().map(|(_, keys)| keys)
    }

    /// The first unknown fact that forbids `verb`.
    pub fn forbids(&self, verb: &str) -> Option<&RawFact> {
        self.unknown.iter().find(|fact| fact.critical.iter().any(|v| v == verb))
    }

    /// The newest live point of `source`, or of all, that is not after `latest` (UTC nanoseconds), whose clock was not ahead,
    /// and that is none of `but`.
    pub fn newest(&self, source: Option<&str>, latest: i64, but: &BTreeSet<PointId>) -> Option<&PointRecord> {
        let live = self.live(source);
        let mut believable =
            live.iter().rev().filter(|p| p.point.as_of <= latest && !but.contains(&p.point.id));
        believable.find(|p| !is_ahead(p, &live)).copied()
    }

    /// Live points whose clock was ahead: of the same source another one was stated after it and was finished, by its own
    /// clock, before the first began.
    pub fn ahead(&self) -> BTreeSet<PointId> {
        let mut sources: BTreeMap<&str, Vec<&PointRecord>> = BTreeMap::new();
        for record in self.live(None) {
            sources.entry(&record.point.source).or_default().push(record);
        }
        sources.into_values().flat_map(ahead_of).collect()
    }

    /// Live points of `source`, or all, oldest `as_of` first.
    pub fn live(&self, source: Option<&str>) -> Vec<&PointRecord> {
        let of = |p: &&PointRecord| p.is_live() && source.is_none_or(|s| p.point.source == s);
        let mut points: Vec<&PointRecord> = self.points.values().filter(of).collect();
        points.sort_by_key(|p| (p.point.as_of, p.point.id));
        points
    }
}

fn is_ahead(p: &PointRecord, others: &[&PointRecord]) -> bool {
    let before = |other: &&PointRecord| {
        let same = other.point.source == p.point.source;
        same && other.stated > p.stated && other.point.finished < p.point.as_of
    };
    others.iter().any(before)
}

/// As [`is_ahead`] says of each of these points of one source, without comparing each with each.
fn ahead_of(mut points: Vec<&PointRecord>) -> Vec<PointId> {
    points.sort_by_key(|p| Reverse(p.stated));
    let (mut ahead, mut earliest) = (Vec::new(), i64::MAX);
    for together in points.chunk_by(|a, b| a.stated == b.stated) {
        ahead.extend(together.iter().filter(|p| earliest < p.point.as_of).map(|p| p.point.id));
        earliest = together.iter().map(|p| p.point.finished).fold(earliest, i64::min);
    }
    ahead
}

/// Whether each chunk is replaced by one of the same content; a reader checks what it gets against the id
/// that it asks for, so nothing else may take its place.
fn is_faithful(substitute: &Substitute) -> bool {
    substitute.chunks.iter().all(|(lost, by)| (lost.chunk, lost.length) == (by.chunk, by.length))
}

/// The verbs of section 9 of `docs/format.md` that a feature forbids to whoever does not know it. None is known
/// here.
fn forbidden_by(feature: &Feature) -> Option<RawFact> {
    let verbs: &[&str] = match feature.effect {
        0 => return None,
        1 => &["write", "forget", "sweep", "promote"],
        3 => &["sweep"],
        _ => &["restore", "write", "forget", "sweep", "promote"],
    };
    let critical = verbs.iter().map(|&verb| verb.to_owned()).collect();
    Some(RawFact { critical, ..Fact::Feature(feature.clone()).encode() })
}

fn unknown_grant() -> Grant {
    Grant { public_key: [0; 32], name: String::new(), rights: 0, sources: None, time: i64::MIN }
}

#[cfg(test)]
pub(crate) mod made;
#[cfg(test)]
mod tests;
