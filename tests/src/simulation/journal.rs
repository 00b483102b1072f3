//! What the checkers know by themselves: what each point must hold and lean on, told by the actor that made it; what was
//! meant to be written; what is gone.
//!
//! Nothing here is asked of the code under test. A point must be there once its writer acknowledged it, unless somebody
//! may have forgotten it; whether a deletion was right is decided from frames that writers reported and from directories
//! that are opened here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use format::entry::Entry;
use format::fact::Fact;
use format::id::{Hash, PackId, PointId, SessionId};
use format::key::Bundle;
use format::pack::{TAIL_BYTES, Tail};
use format::reference::FrameId;
use repo::layout;
use storage::{KeyPrefix, Memory, ObjectKey, Store};

use super::counts::Counts;
use super::stage::Actor;
use super::sweeper::SILENCE_NS;

/// Files by path, with their bytes.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A point as its writer knows it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// What it protects.
    pub source: String,
    /// All that it must hold.
    pub files: Arc<Files>,
    /// The frames that it leans on.
    pub frames: BTreeSet<FrameId>,
    /// Whether its writer was told that it counts.
    pub acknowledged: bool,
    /// Acts that were to forget it.
    pub forgettings: BTreeMap<Act, Forgetting>,
    /// Acts that were to keep it whatever is said of it.
    pub keepings: BTreeMap<Act, Keeping>,
    /// Acts under way that take back whatever forgot it.
    pub undoings: u32,
}

/// An act, counted.
pub(super) type Act = u64;

/// What is known of a forgetting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forgetting {
    /// Whoever forgot was told that it counts; otherwise it may.
    counts: bool,
    /// Somebody set out to take it back, and may have.
    may_be_undone: bool,
    /// Whoever took it back was told that this counts.
    is_undone: bool,
}

/// What is known of a pin or a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keeping {
    /// Whoever kept it was told that it counts; otherwise it may.
    counts: bool,
    /// Whether it can be released.
    can_end: bool,
    /// Somebody set out to release it, and may have.
    may_be_over: bool,
}

impl Made {
    /// What a writer is about to commit.
    pub(super) fn new(source: &str, files: Files, frames: BTreeSet<FrameId>) -> Made {
        Made {
            source: source.to_owned(),
            files: Arc::new(files),
            frames,
            acknowledged: false,
            forgettings: BTreeMap::new(),
            keepings: BTreeMap::new(),
            undoings: 0,
        }
    }

    /// Whether it must be there.
    pub(super) fn must_live(&self) -> bool {
        let is_kept = self.keepings.values().any(|keeping| keeping.counts && !keeping.may_be_over);
        self.acknowledged && (is_kept || self.forgettings.values().all(|forgetting| forgetting.is_undone))
    }

    /// Whether anybody forgot it, whatever became of that.
    pub(super) fn was_forgotten(&self) -> bool {
        !self.forgettings.is_empty()
    }

    /// Whether it must count as forgotten.
    pub(super) fn must_be_forgotten(&self) -> bool {
        let counts = |forgetting: &Forgetting| forgetting.counts && !forgetting.may_be_undone;
        self.keepings.is_empty() && self.forgettings.values().any(counts)
    }
}

#[derive(Default)]
struct Known {
    points: BTreeMap<PointId, Made>,
    acts: Act,
    /// The session that an actor announced last.
    sessions: BTreeMap<Actor, SessionId>,
    /// Sessions that ended or that somebody gave up, as entries say that were looked at.
    over: BTreeSet<SessionId>,
    looked_at: BTreeSet<ObjectKey>,
    /// When each session was announced.
    announced: BTreeMap<SessionId, Duration>,
    /// When somebody set out to write each entry.
    written: BTreeMap<ObjectKey, Duration>,
    /// Roots that a running session was granted, by actor.
    relied: BTreeMap<Actor, (SessionId, BTreeSet<PointId>)>,
    meant: BTreeMap<ObjectKey, Hash>,
    stored: BTreeMap<ObjectKey, Hash>,
    deleted: BTreeSet<ObjectKey>,
    spoils: Vec<(ObjectKey, Option<Bytes>)>,
    /// Frames that a pack holds for others.
    moved_here: BTreeMap<PackId, BTreeSet<FrameId>>,
    broken: Vec<String>,
    counts: Counts,
}

/// The checkers' own memory of one history.
#[derive(Default)]
pub(super) struct Journal {
    bundle: Mutex<Option<Bundle>>,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journal")
    }
}

impl Journal {
    /// The keys with which directories are opened here.
    pub(super) fn hand_keys(&self, bundle: &Bundle) {
        *self.bundle.lock().expect("no holder of this lock panics") = Some(bundle.clone());
    }

    /// Something does not hold that must.
    pub(super) fn break_rule(&self, what: String) {
        self.known().broken.push(what);
    }

    /// What does not hold, in the order in which it was found.
    pub(super) fn broken(&self) -> Vec<String> {
        self.known().broken.clone()
    }

    /// Changes the counts.
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.known().counts);
    }

    /// The counts so far.
    pub(super) fn counts(&self) -> Counts {
        self.known().counts.clone()
    }

    /// A point is about to be committed.
    pub(super) fn making(&self, point: PointId, made: Made) {
        self.known().points.insert(point, made);
    }

    /// Its writer was told that it counts.
    pub(super) fn acknowledged(&self, point: PointId) {
        let mut known = self.known();
        known.counts.commits += 1;
        if let Some(made) = known.points.get_mut(&point) {
            made.acknowledged = true;
        }
    }

    /// Somebody sets out to forget the point.
    pub(super) fn begins_to_forget(&self, point: PointId) -> Act {
        self.act(point, |made, act| {
            let may_be_undone = made.undoings > 0;
            made.forgettings.insert(act, Forgetting { may_be_undone, ..Forgetting::default() });
        })
    }

    /// That counts.
    pub(super) fn forgot(&self, point: PointId, act: Act) {
        self.change(point, |made| made.forgettings.entry(act).or_default().counts = true);
    }

    /// Somebody sets out to take back what forgot the point; of these acts it will have heard.
    pub(super) fn begins_to_undo(&self, point: PointId) -> BTreeSet<Act> {
        let mut heard = BTreeSet::new();
        self.change(point, |made| {
            made.undoings += 1;
            made.forgettings.values_mut().for_each(|forgetting| forgetting.may_be_undone = true);
            let counting = made.forgettings.iter().filter(|(_, forgetting)| forgetting.counts);
            heard = counting.map(|(act, _)| *act).collect();
        });
        heard
    }

    /// That is over, however it went.
    pub(super) fn ends_undoing(&self, point: PointId) {
        self.change(point, |made| made.undoings -= 1);
    }

    /// Those acts were taken back.
    pub(super) fn undid(&self, point: PointId, acts: &BTreeSet<Act>) {
        self.change(point, |made| {
            for act in acts {
                made.forgettings.entry(*act).or_default().is_undone = true;
            }
        });
    }

    /// Somebody sets out to keep the point whatever is said of it.
    pub(super) fn begins_to_keep(&self, point: PointId, can_end: bool) -> Act {
        self.act(point, |made, act| {
            made.keepings.insert(act, Keeping { can_end, ..Keeping::default() });
        })
    }

    /// That counts.
    pub(super) fn keeps(&self, point: PointId, act: Act) {
        self.change(point, |made| made.keepings.entry(act).or_default().counts = true);
    }

    /// Somebody sets out to release what holds the point.
    pub(super) fn may_release(&self, point: PointId) {
        self.change(point, |made| {
            let held = made.keepings.values_mut().filter(|keeping| keeping.can_end);
            held.for_each(|keeping| keeping.may_be_over = true);
        });
    }

    fn change(&self, point: PointId, change: impl FnOnce(&mut Made)) {
        if let Some(made) = self.known().points.get_mut(&point) {
            change(made);
        }
    }

    fn act(&self, point: PointId, change: impl FnOnce(&mut Made, Act)) -> Act {
        let act = {
            let mut known = self.known();
            known.acts += 1;
            known.acts
        };
        self.change(point, |made| change(made, act));
        act
    }

    /// An object of this actor is about to be written; a session object announces a session or renews it.
    pub(super) fn writes(&self, actor: Actor, key: &ObjectKey, now: Duration) {
        let mut known = self.known();
        if let Some((_, session, _)) = layout::parse_session(key.as_str()) {
            known.sessions.insert(actor, session);
            known.announced.entry(session).or_insert(now);
        }
        if layout::log().covers(key) {
            known.written.entry(key.clone()).or_insert(now);
        }
    }

    /// The session that this actor announced last was granted these roots.
    pub(super) fn relies(&self, actor: Actor, roots: BTreeSet<PointId>) {
        let mut known = self.known();
        if let Some(session) = known.sessions.get(&actor).copied() {
            known.relied.insert(actor, (session, roots));
        }
    }

    /// That session is over.
    pub(super) fn released(&self, actor: Actor) {
        self.known().relied.remove(&actor);
    }

    /// The point as its writer told it.
    pub(super) fn point(&self, point: &PointId) -> Option<Made> {
        self.known().points.get(point).cloned()
    }

    /// Whether a pack that is there holds one of these frames, its own or one that was moved there.
    pub(super) async fn holds_one_of(&self, pack: PackId, frames: &BTreeSet<FrameId>, left: &Memory) -> bool {
        self.open_directories(left).await;
        let moved = self.known().moved_here.get(&pack).cloned().unwrap_or_default();
        frames.iter().any(|frame| frame.pack == pack || moved.contains(frame))
    }

    /// All points.
    pub(super) fn points(&self) -> BTreeMap<PointId, Made> {
        self.known().points.clone()
    }

    /// Somebody means to write these bytes under this name.
    pub(super) fn means(&self, key: &ObjectKey, hash: Hash) {
        let mut known = self.known();
        if known.deleted.contains(key) {
            known.broken.push(format!("{key} is written again after it was deleted"));
        }
        match known.meant.insert(key.clone(), hash) {
            Some(before) if before != hash => {
                known.broken.push(format!("{key} is overwritten with other bytes"));
            }
            _ => {}
        }
    }

    /// These bytes were put there, whatever was meant.
    pub(super) fn stored(&self, key: &ObjectKey, hash: Hash) {
        self.known().stored.insert(key.clone(), hash);
    }

    /// Whether a fault put these bytes there, in the place of others that were meant.
    pub(super) fn is_torn(&self, key: &ObjectKey, there: Hash) -> bool {
        let known = self.known();
        known.stored.get(key) == Some(&there) && known.meant.get(key).is_some_and(|meant| *meant != there)
    }

    /// A planted bug: these bytes will lie there, or nothing, once somebody lists.
    pub(super) fn spoil_later(&self, key: &ObjectKey, bytes: Option<Bytes>) {
        self.known().spoils.push((key.clone(), bytes));
    }

    /// What planted bugs are to do now.
    pub(super) fn spoils(&self) -> Vec<(ObjectKey, Option<Bytes>)> {
        std::mem::take(&mut self.known().spoils)
    }

    /// An object is gone. If it was a pack, nothing that must be there, and no root of a session at work, may have leaned on
    /// it alone; the history is never deleted.
    pub(super) async fn deleted(&self, key: &ObjectKey, left: &Memory) {
        if let Some(pack) = layout::parse_pack(key.as_str()) {
            self.open_directories(left).await;
            self.learn_of_ends(left).await;
            let present = packs(left).await;
            let mut known = self.known();
            let lost = known.lost_with(pack, &present);
            known.broken.extend(lost);
        }
        let mut known = self.known();
        if layout::log().covers(key) || layout::sweeps().covers(key) {
            known.broken.push(format!("{key} is deleted, and the history needs it"));
        }
        let is_pack = layout::packs().covers(key);
        known.counts.deletions += u64::from(is_pack);
        known.counts.cleared += u64::from(!is_pack);
        known.deleted.insert(key.clone());
    }

    /// Reads entries that were not read before, for sessions that they end or give up.
    pub(super) async fn learn_of_ends(&self, left: &Memory) {
        let bundle = self.bundle.lock().expect("no holder of this lock panics").clone();
        let Some(bundle) = bundle else { return };
        for object in left.list(&layout::log()).await.unwrap_or_default() {
            if !self.known().looked_at.insert(object.key.clone()) {
                continue;
            }
            let Ok(bytes) = left.get(&object.key).await else { continue };
            let Ok(entry) = Entry::decode(&bytes, &bundle.repo) else { continue };
            let facts = entry.clear.facts.into_iter().filter_map(|raw| Fact::decode(raw).ok());
            let (own, writer, mut known) = (entry.clear.session, entry.clear.writer, self.known());
            for fact in facts {
                match fact {
                    Fact::Expired(expired) if expired.writer == writer => {
                        known.over.insert(expired.session);
                    }
                    Fact::Expired(expired) => known.expires(expired.session, &object.key),
                    Fact::End => drop(known.over.insert(own)),
                    _ => {}
                }
            }
        }
    }

    /// Learns what frames of others each pack holds.
    async fn open_directories(&self, left: &Memory) {
        let bundle = self.bundle.lock().expect("no holder of this lock panics").clone();
        let Some(bundle) = bundle else { return };
        for pack in packs(left).await {
            if self.known().moved_here.contains_key(&pack) {
                continue;
            }
            let Ok(bytes) = left.get(&layout::pack(pack)).await else { continue };
            let moved = foreign_frames(&bytes, pack, &bundle).unwrap_or_default();
            self.known().moved_here.insert(pack, moved);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }
}

impl Known {
    /// Somebody gave the session up by this entry. Nobody may who did not see it silent for a while, but its own host, which
    /// knows that its process died.
    fn expires(&mut self, session: SessionId, entry: &ObjectKey) {
        self.over.insert(session);
        let (Some(written), Some(begun)) = (self.written.get(entry), self.announced.get(&session)) else {
            return;
        };
        let seen = written.saturating_sub(*begun);
        if seen.as_nanos() < SILENCE_NS.unsigned_abs().into() {
            self.broken.push(format!("session {session} is given up {seen:?} after it was announced"));
        }
    }

    /// What is needed and has no other place than `pack`, in sentences.
    fn lost_with(&self, pack: PackId, present: &BTreeSet<PackId>) -> Vec<String> {
        let lay_here = |frame: &&FrameId| {
            frame.pack == pack || self.moved_here.get(&pack).is_some_and(|moved| moved.contains(frame))
        };
        let is_elsewhere = |frame: &FrameId| {
            present.iter().any(|other| {
                frame.pack == *other || self.moved_here.get(other).is_some_and(|moved| moved.contains(frame))
            })
        };
        let running = self.relied.values().filter(|(session, _)| !self.over.contains(session));
        let relied: BTreeSet<&PointId> = running.flat_map(|(_, roots)| roots).collect();
        let needed = self.points.iter().filter(|(id, made)| made.must_live() || relied.contains(id));
        let lost = needed.filter_map(|(id, made)| {
            let frame = made.frames.iter().filter(lay_here).find(|frame| !is_elsewhere(frame))?;
            let (source, ordinal) = (&made.source, frame.ordinal);
            Some(format!("pack {pack} is deleted, and point {id} of {source} needs frame {ordinal} of it"))
        });
        lost.collect()
    }
}

async fn packs(left: &Memory) -> BTreeSet<PackId> {
    let listed = left.list(&prefix()).await.unwrap_or_default();
    listed.iter().filter_map(|object| layout::parse_pack(object.key.as_str())).collect()
}

fn prefix() -> KeyPrefix {
    layout::packs()
}

/// The frames in a pack that were first written to another one.
fn foreign_frames(bytes: &[u8], pack: PackId, bundle: &Bundle) -> Option<BTreeSet<FrameId>> {
    let size = bytes.len() as u64;
    let tail = Tail::decode(bytes.get(bytes.len().checked_sub(TAIL_BYTES)?..)?).ok()?;
    let range = tail.directory_range(size).ok()?;
    let sealed = bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?;
    let directory = tail.open_directory(pack, bundle, size, sealed).ok()?;
    let frames = directory
        .frames
        .iter()
        .filter_map(|frame| Some(FrameId { pack: directory.origin(frame)?.pack, ordinal: frame.ordinal }));
    Some(frames.filter(|frame| frame.pack != pack).collect())
}
