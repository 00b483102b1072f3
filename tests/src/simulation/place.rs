//! The two ends of an actor's way to the objects: the gate, where it waits for its turn and where it dies, and the truth,
//! which is what the place holds whatever anybody was told. Between them lies a store that fails and lies.
//!
//! At the gate stands what was meant: nothing is meant to overwrite other bytes, nor to bear a name that was deleted. At
//! the truth stands what happened: nothing that anybody may rely on is deleted.

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use format::id::Hash;
use storage::{Act, Error, KeyPrefix, Listed, Memory, ObjectKey, Place, Store, Verb};
use world::Chance;

use super::journal::Journal;
use super::plant::{Plant, Prank};
use super::stage::{Actor, Stage};
use crate::files::copy_all;

/// When an actor dies: at which of the calls of its life, and whether that one still has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// The call, counted from 1.
    pub call: u64,
    /// Whether the call is carried out, though nobody hears of it.
    pub after: bool,
}

/// Where one life of one actor enters the place.
pub(super) struct Gate {
    below: Arc<dyn Store>,
    stage: Arc<Stage>,
    journal: Arc<Journal>,
    actor: Actor,
    state: Mutex<State>,
    /// Where the host keeps its state, and where an image of it is left at the moment of death.
    image: Option<(PathBuf, PathBuf)>,
}

struct State {
    pace: Chance,
    calls: u64,
    death: Option<Death>,
    is_dead: bool,
}

impl Gate {
    /// A gate for a life that ends as `death` says; how long each call takes is drawn from `pace`.
    pub(super) fn new(
        below: Arc<dyn Store>,
        (stage, journal): (&Arc<Stage>, &Arc<Journal>),
        actor: Actor,
        (pace, death): (Chance, Option<Death>),
    ) -> Gate {
        let state = Mutex::new(State { pace, calls: 0, death, is_dead: false });
        Gate { below, stage: stage.clone(), journal: journal.clone(), actor, state, image: None }
    }

    /// At the moment of death an image of the first folder is left in the second.
    pub(super) fn keeping_image(self, image: (PathBuf, PathBuf)) -> Gate {
        Gate { image: Some(image), ..self }
    }

    /// Whether this life is over.
    pub(super) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn gone(&self, verb: Verb, object: &str) -> Error {
        let act = Act { verb, object: object.to_owned(), place: self.below.place().clone() };
        Error::Denied { act: Box::new(act), detail: "this life is over".to_owned() }
    }

    fn note(&self, what: &str) {
        self.stage.note(self.actor, what);
    }

    /// Waits for the turn; whether the call is the last of this life.
    fn wait(&self) -> Option<Death> {
        let delay = delay(&mut self.state().pace);
        self.stage.pause(self.actor, delay);
        if self.stage.is_over() {
            return None;
        }
        let mut state = self.state();
        state.calls += 1;
        if !self.stage.step() {
            if !self.stage.is_cut() {
                self.journal.break_rule("the history does not come to an end".to_owned());
            }
            return Some(Death { call: state.calls, after: false });
        }
        state.death.filter(|death| death.call == state.calls)
    }

    fn die(&self, verb: Verb, object: &str, how: &str) -> Error {
        self.state().is_dead = true;
        if let Some((state, image)) = &self.image {
            let _ = std::fs::remove_dir_all(image);
            copy_all(state, image);
        }
        self.journal.count(|counts| counts.crashes += 1);
        self.note(&format!("dies {how}: {verb} {object}"));
        self.gone(verb, object)
    }

    async fn turn<T>(
        &self,
        verb: Verb,
        object: &str,
        told: impl FnOnce(&T) -> String + Send,
        act: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        if self.is_dead() {
            return Err(self.gone(verb, object));
        }
        let death = self.wait();
        if death.is_some_and(|death| !death.after) {
            return Err(self.die(verb, object, "before"));
        }
        let outcome = act.await;
        if death.is_some() {
            return Err(self.die(verb, object, "behind"));
        }
        let told = match &outcome {
            Ok(answer) => told(answer),
            Err(error) => error.to_string(),
        };
        self.note(&format!("{verb} {object}: {told}"));
        outcome
    }

    fn means(&self, key: &ObjectKey, bytes: &Bytes) -> String {
        let hash = Hash::of(bytes);
        if !self.is_dead() {
            self.journal.means(key, hash);
            self.journal.writes(self.actor, key, self.stage.now());
        }
        format!("{} bytes {hash:.12}", bytes.len(), hash = hash.to_string())
    }
}

/// How long a call takes: mostly milliseconds, now and then hours, rarely days.
fn delay(pace: &mut Chance) -> Duration {
    let length_ms = match pace.below(1000) {
        0 => 3 * 24 * 3600 * 1000,
        1..4 => 2 * 3600 * 1000,
        4..80 => 20_000,
        _ => 60,
    };
    Duration::from_millis(1 + pace.below(length_ms))
}

fn length(bytes: &Bytes) -> String {
    format!("{} bytes", bytes.len())
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gate({})", self.actor)
    }
}

#[async_trait]
impl Store for Gate {
    fn place(&self) -> &Place {
        self.below.place()
    }

    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        let meant = self.means(key, &bytes);
        self.turn(Verb::Put, key.as_str(), move |()| meant, self.below.put(key, bytes)).await
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        let meant = self.means(key, &bytes);
        self.turn(Verb::Create, key.as_str(), move |()| meant, self.below.create(key, bytes)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        self.turn(Verb::Get, key.as_str(), length, self.below.get(key)).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        self.turn(Verb::GetRange, key.as_str(), length, self.below.get_range(key, range)).await
    }

    async fn get_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error> {
        let told = |(bytes, size): &(Bytes, u64)| format!("{} of {size} bytes", bytes.len());
        self.turn(Verb::GetTail, key.as_str(), told, self.below.get_tail(key, bytes)).await
    }

    async fn size(&self, key: &ObjectKey) -> Result<u64, Error> {
        self.turn(Verb::Size, key.as_str(), u64::to_string, self.below.size(key)).await
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error> {
        let told = |listed: &Vec<Listed>| format!("{} objects", listed.len());
        self.turn(Verb::List, prefix.as_str(), told, self.below.list(prefix)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.turn(Verb::Delete, key.as_str(), |()| "done".to_owned(), self.below.delete(key)).await
    }
}

/// What the place holds, beneath all lies.
#[derive(Debug)]
pub(super) struct Truth {
    memory: Memory,
    journal: Arc<Journal>,
    plant: Option<Plant>,
}

impl Truth {
    /// A place that is empty, or that already holds what `memory` does.
    pub(super) fn new(memory: Memory, journal: &Arc<Journal>, plant: Option<Plant>) -> Truth {
        Truth { memory, journal: journal.clone(), plant }
    }

    /// What is there.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What a place does that breaks its promise, if such a bug is planted: not at once, or the writer would see it.
    fn spoil(&self, key: &ObjectKey, bytes: &Bytes) {
        let is =
            |prank, folder: &str| self.plant == Some(Plant::Prank(prank)) && key.as_str().starts_with(folder);
        if Hash::of(key.as_str().as_bytes()).0[0] >= SPOILED {
            return;
        }
        if is(Prank::LosesPacks, "packs/") {
            self.journal.spoil_later(key, None);
        }
        if is(Prank::AltersEntries, "log/") {
            let mut other = bytes.to_vec();
            other[bytes.len() / 2] ^= 1;
            self.journal.spoil_later(key, Some(other.into()));
        }
    }
}

/// Of 256 objects, so many are spoiled where that bug is planted.
const SPOILED: u8 = 24;

#[async_trait]
impl Store for Truth {
    fn place(&self) -> &Place {
        self.memory.place()
    }

    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        self.memory.put(key, bytes.clone()).await?;
        self.journal.stored(key, Hash::of(&bytes));
        if repo::layout::sweeps().covers(key) {
            self.journal.count(|counts| counts.condemnations += 1);
        }
        self.spoil(key, &bytes);
        Ok(())
    }

    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
        self.memory.create(key, bytes.clone()).await?;
        self.journal.stored(key, Hash::of(&bytes));
        Ok(())
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        self.memory.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        self.memory.get_range(key, range).await
    }

    async fn get_tail(&self, key: &ObjectKey, bytes: u64) -> Result<(Bytes, u64), Error> {
        self.memory.get_tail(key, bytes).await
    }

    async fn size(&self, key: &ObjectKey) -> Result<u64, Error> {
        self.memory.size(key).await
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<Listed>, Error> {
        for (key, bytes) in self.journal.spoils() {
            self.memory.tamper(&key, bytes);
        }
        self.memory.list(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        let there = self.memory.size(key).await.is_ok();
        self.memory.delete(key).await?;
        if there {
            self.journal.deleted(key, &self.memory).await;
        }
        Ok(())
    }
}
