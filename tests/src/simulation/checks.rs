//! What must hold when a history is over and nothing fails any more.
//!
//! A host that was never there opens the repository with the keys: every point that must be there comes back byte for
//! byte, and so does every other that the history calls live. The catalog of each host that lives is what a fresh fold
//! says. The signed history has no fault that is not the place's doing.

use std::collections::BTreeMap;
use std::sync::Arc;

use format::id::Hash;
use repo::{Error, Fold, Io, Opening, Reader, Repo, Secret, audit};
use storage::{Region, Store};
use world::{SimulatedClock, World};

use super::actor::Cast;
use super::acts::{self, Damage};
use super::place::Truth;
use super::stage::{Actor, BEGINNING_NS, stream};

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
        left.points_come_back(&repo)?;
        left.catalogs_are_folds(&repo)?;
        left.history_is_whole()
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

    fn points_come_back(&self, repo: &Repo) -> Result<(), Error> {
        let (fold, points) = (repo.fold(), self.cast.journal.points());
        for (id, _) in points.iter().filter(|(_, made)| made.must_live()) {
            match fold.points.get(id) {
                None => self.breaks(format!("point {id} was acknowledged and is not there")),
                Some(record) if !record.is_live() => {
                    self.breaks(format!("point {id} counts as forgotten, though all of that was taken back"));
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
                Err(error) => self.breaks(format!("point {id} does not come back: {error}")),
            }
        }
        Ok(())
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
        let audit = audit(&self.io(), Some(self.cast.repo()))?;
        for finding in audit.findings() {
            self.breaks(format!("the signed history shows a fault: {finding}"));
        }
        for bad in audit.bad() {
            if !self.is_torn(&bad.object) {
                self.breaks(format!("{} is no entry, and no fault made it so: {}", bad.object, bad.why));
            }
        }
        self.cast.journal.count(|counts| counts.audits += 1);
        Ok(())
    }

    /// Whether a fault left other bytes under this name than were meant.
    fn is_torn(&self, object: &str) -> bool {
        let Ok(key) = storage::ObjectKey::new(object) else { return false };
        let there = self.io().get(&key).map(|bytes| Hash::of(&bytes));
        there.is_ok_and(|there| self.cast.journal.is_torn(&key, there))
    }
}
