//! What must hold when a history is over and nothing fails any more.
//!
//! The catalog of each host that lives is what a fresh fold says. The signed history has no fault that is not the place's
//! doing. Then a host that was never there forgets some points and sweeps until nothing is left to sweep: what nothing needs
//! is gone after a few rounds. In the end it restores: every point that must be there comes back byte for byte, and so does
//! every other that the history calls live, unless its writer was given up before it was told that it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use format::id::{Hash, PackId};
use format::reference::FrameId;
use futures::FutureExt;
use repo::sweep::{Options, Sweep};
use repo::{Error, Fold, Io, Opening, PointRecord, Reader, Repo, Secret, audit, layout};
use storage::{Region, Store};
use world::{SimulatedClock, World};

use super::actor::{Cast, Host};
use super::acts::{self, Damage};
use super::keep;
use super::place::Truth;
use super::stage::{Actor, BEGINNING_NS, stream};

/// Sweeps after which nothing may be left that nothing needs: one that gives up the dead and condemns, one for what that
/// one's own copies left over, one that finds nothing.
const ROUNDS_MAX: u32 = 3;

/// A number that no actor has.
const FRESH: Actor = Actor::MAX;

/// A history that is over.
pub(super) struct Left<'l> {
    /// Who played it.
    pub cast: &'l Cast,
    /// What the place holds.
    pub truth: &'l Arc<Truth>,
    /// Those who live, with what they have open.
    pub living: &'l BTreeMap<Actor, Repo>,
}

/// All checks; what does not hold goes into the journal.
pub(super) fn all(left: &Left<'_>) {
    let outcome = left.fresh_host().and_then(|repo| {
        left.catalogs_are_folds(&repo)?;
        left.history_is_whole()?;
        left.what_is_forgotten_goes(&repo)?;
        left.points_come_back(&repo)
    });
    if let Err(error) = outcome {
        left.breaks(format!("a fresh host is stopped when all faults are over: {error}"));
    }
}

impl Left<'_> {
    fn breaks(&self, what: String) {
        self.cast.journal.break_rule(what);
    }

    fn io(&self) -> Io {
        let store: Arc<dyn Store> = self.truth.clone();
        Io::on_one_thread(Region::new("home", store))
    }

    fn fresh_host(&self) -> Result<Repo, Error> {
        let clock = SimulatedClock::at(BEGINNING_NS);
        clock.pass(self.cast.stage.now());
        let mut seeds = stream(self.cast.plan.seed, "fresh host", 0);
        Repo::open(Opening {
            world: World::simulated(seeds.below(u64::MAX), Arc::new(clock)),
            io: self.io(),
            state: &self.cast.states.join("fresh"),
            secret: Secret::Bundle(Box::new(self.cast.bundle.clone())),
            trust: Some(self.cast.repo()),
            host: "fresh".to_owned(),
        })
    }

    /// The catalog of each host that lives is the fold of what it has read; one of them reads all, and has what a fresh
    /// host has.
    fn catalogs_are_folds(&self, fresh: &Repo) -> Result<(), Error> {
        let mut chance = stream(self.cast.plan.seed, "reads all", 0);
        let lot = chance.below(self.living.len() as u64);
        for ((actor, repo), number) in self.living.iter().zip(0..) {
            if number == lot {
                repo.refresh()?;
            }
            let known = if number == lot { fresh.log() } else { repo.log() };
            let fold = Fold::of(known.entries.values(), repo.root());
            if *repo.fold() != fold {
                self.breaks(format!("what actor {actor} folded is not what it has read"));
            }
            let entries: Vec<_> = known.entries.into_values().collect();
            for wrong in repo.catalog().check(&entries, &fold)? {
                self.breaks(format!("the catalog of actor {actor} is not what the history says: {wrong}"));
            }
            self.cast.journal.count(|counts| counts.catalogs += 1);
        }
        Ok(())
    }

    fn history_is_whole(&self) -> Result<(), Error> {
        let learnt = self.cast.journal.learn_of_ends(self.truth.memory()).now_or_never();
        learnt.expect("memory answers at once");
        let audit = audit(&self.io(), Some(self.cast.repo()))?;
        for finding in audit.findings() {
            self.breaks(format!("the signed history shows a fault: {finding}"));
        }
        for bad in audit.bad() {
            if !self.is_torn(&bad.object) {
                self.breaks(format!("{} is no entry, and no fault made it so: {}", bad.object, bad.why));
            }
        }
        self.cast.journal.count(|counts| {
            counts.audits += 1;
            counts.expiries += audit.fold.expired.len() as u64;
            counts.moves += audit.fold.moved.len() as u64;
        });
        Ok(())
    }

    /// Whether a fault left other bytes under this name than were meant.
    fn is_torn(&self, object: &str) -> bool {
        let Ok(key) = storage::ObjectKey::new(object) else { return false };
        let there = self.io().get(&key).map(|bytes| Hash::of(&bytes));
        there.is_ok_and(|there| self.cast.journal.is_torn(&key, there))
    }

    /// Whether a fault left anything torn for which sweeps refuse to go on.
    fn is_anything_torn(&self) -> Result<bool, Error> {
        let all = self.io().list(&storage::KeyPrefix::all())?;
        Ok(all.iter().any(|object| self.is_torn(object.key.as_str())))
    }

    /// Every other point is forgotten; then sweeps free all that nothing needs.
    fn what_is_forgotten_goes(&self, repo: &Repo) -> Result<(), Error> {
        let fold = repo.refresh()?;
        if self.is_anything_torn()? || fold.live(None).iter().any(|record| self.may_be_damaged(&fold, record))
        {
            return Ok(());
        }
        repo.may_add("anything")?;
        let is_free = |record: &&PointRecord| !record.is_held() && record.pinned_until.is_none();
        let host = Host { cast: self.cast, actor: FRESH, repo, plant: None };
        for record in fold.live(None).into_iter().filter(is_free).step_by(2) {
            keep::forget(&host, record.point.id)?;
        }
        for _ in 0..ROUNDS_MAX {
            let mut sweep = Sweep::new(repo, OPTIONS)?;
            let plan = sweep.plan()?;
            let swept = sweep.apply(&plan)?;
            self.cast.stage.note(FRESH, &format!("{swept:?} by {plan:?}"));
            self.cast.journal.count(|counts| counts.sweeps += 1);
        }
        let fold = repo.refresh()?;
        self.nothing_is_left_over(&fold)
    }

    fn nothing_is_left_over(&self, fold: &Fold) -> Result<(), Error> {
        let points = self.cast.journal.points();
        let live = fold.live(None).into_iter().filter_map(|record| points.get(&record.point.id));
        let mut needed: BTreeSet<FrameId> = live.flat_map(|made| made.frames.iter().copied()).collect();
        // What was stored again in the place of a needed frame is needed with all that lies under it; which that is, the
        // points know that have it.
        let substitutes = fold.substitutes.iter();
        let substitutes: Vec<_> =
            substitutes.flat_map(|(lost, all)| all.iter().map(move |instead| (lost, instead))).collect();
        // What lies under one may have been lost and stored again itself.
        let mut before = 0;
        while std::mem::replace(&mut before, needed.len()) < needed.len() {
            for (lost, instead) in &substitutes {
                if needed.contains(&lost.frame()) {
                    let having = points.values().filter(|made| made.frames.contains(&instead.frame()));
                    needed.extend(having.flat_map(|made| made.frames.iter().copied()));
                    needed.insert(instead.frame());
                }
            }
        }
        let listed = self.io().list(&layout::packs())?;
        let packs: Vec<PackId> =
            listed.iter().filter_map(|object| layout::parse_pack(object.key.as_str())).collect();
        for pack in packs {
            let holds = self.cast.journal.holds_one_of(pack, &needed, self.truth.memory());
            if !holds.now_or_never().expect("memory answers at once") {
                self.breaks(format!(
                    "pack {pack} is still there after {ROUNDS_MAX} sweeps, and nothing needs it"
                ));
            }
        }
        for object in self.io().list(&layout::sessions())? {
            let over = |(writer, session, _)| {
                fold.ended.contains(&(writer, session)) || fold.expired.contains(&(writer, session))
            };
            if layout::parse_session(object.key.as_str()).is_some_and(over) {
                self.breaks(format!("{} is still there, and its session is over", object.key));
            }
        }
        Ok(())
    }

    /// Whether the writer of a point was given up and never told that the point counts.
    fn may_be_damaged(&self, fold: &Fold, record: &PointRecord) -> bool {
        let made = self.cast.journal.point(&record.point.id);
        let told = made.as_ref().is_some_and(|made| made.acknowledged);
        // Somebody who was given up may have brought back what was swept, and was never told that it counts.
        let brought_back = made.is_some_and(|made| made.was_forgotten()) && !fold.expired.is_empty();
        brought_back || !told && fold.expired.contains(&(record.entry.writer, record.entry.session))
    }

    fn points_come_back(&self, repo: &Repo) -> Result<(), Error> {
        let (fold, points) = (repo.refresh()?, self.cast.journal.points());
        for (id, _) in points.iter().filter(|(_, made)| made.must_live()) {
            match fold.points.get(id) {
                None => self.breaks(format!("point {id} was acknowledged and is not there")),
                Some(record) if !record.is_live() => {
                    self.breaks(format!(
                        "point {id} counts as forgotten, though nobody may have forgotten it"
                    ));
                }
                Some(_) => {}
            }
        }
        let reader = Reader::new(repo)?;
        for record in fold.live(None) {
            let id = record.point.id;
            let Some(made) = points.get(&id) else {
                self.breaks(format!("point {id} was never made"));
                continue;
            };
            if made.must_be_forgotten() {
                self.breaks(format!("point {id} was forgotten and counts as live"));
            }
            match acts::restore(&reader, record.point.root, Damage::Told) {
                Ok(files) if files == *made.files => {
                    self.cast.journal.count(|counts| counts.restores += 1);
                }
                Ok(_) => self.breaks(format!("point {id} comes back otherwise than it was")),
                Err(_) if !made.must_live() && self.may_be_damaged(&fold, record) => {}
                Err(error) => self.breaks(format!("point {id} does not come back: {error}")),
            }
        }
        Ok(())
    }
}

/// Whoever did not end is dead by now.
const OPTIONS: Options = Options {
    repack_below: 100,
    repack_bytes_max: 1 << 30,
    wait: Duration::from_secs(600),
    expire_after: Duration::from_secs(15),
};
