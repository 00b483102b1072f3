//! Many histories, several at once, from seeds that go up from the first one.
//!
//! The first that breaks ends the run: of those that were under way the one with the lowest seed is told, so that the
//! same seeds give the same answer.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use world::World;

use super::actor::STEPS_MIN;
use super::counts::Counts;
use super::history::{Outcome, play};
use super::plan::Plan;
use super::plant::Plant;

/// Histories between two words of how far a run is.
const TOLD_EVERY: u64 = 1_000;

/// What to play.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// The seed of the first history.
    pub seed: u64,
    /// How many at most.
    pub histories: u64,
    /// No history begins after this long.
    pub time_max: Duration,
    /// How many at once.
    pub jobs: usize,
    /// A bug that is planted in all of them.
    pub plant: Option<Plant>,
}

/// What came of it.
#[derive(Debug)]
pub struct Run {
    /// What happened in all of them together.
    pub counts: Counts,
    /// Histories without the steps, the death, the fault or the deletion that each must have, by seed.
    pub thin: Vec<u64>,
    /// The seed that broke something, and what came of it.
    pub broken: Option<(u64, Outcome)>,
    /// How long it took.
    pub time: Duration,
}

impl Run {
    /// Plays them; `told` hears of every thousandth what happened until then, as a long run may be killed before its end.
    pub fn of(orders: &Orders, told: &(dyn Fn(&Counts, Duration) + Sync)) -> Run {
        let world = World::real();
        let (begun, room) = (world.monotonic(), room());
        let passed = || world.monotonic().saturating_sub(begun);
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let run = Run { counts: Counts::default(), thin: Vec::new(), broken: None, time: Duration::ZERO };
        let run = Mutex::new(run);
        let work = || {
            while !stop.load(Ordering::Relaxed) && passed() < orders.time_max {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= orders.histories {
                    break;
                }
                let seed = orders.seed.saturating_add(number);
                let outcome = play(&Plan::draw(seed, orders.plant), &room, false);
                stop.fetch_or(!outcome.broken.is_empty(), Ordering::Relaxed);
                let mut run = run.lock().expect("no holder of this lock panics");
                run.take(seed, outcome);
                if run.counts.histories.is_multiple_of(TOLD_EVERY) {
                    told(&run.counts, passed());
                }
            }
        };
        std::thread::scope(|scope| (0..orders.jobs).for_each(|_| drop(scope.spawn(work))));
        let run = run.into_inner().expect("no holder of this lock panics");
        Run { time: passed(), ..run }
    }

    fn take(&mut self, seed: u64, outcome: Outcome) {
        let counts = &outcome.counts;
        if counts.steps < STEPS_MIN || counts.crashes == 0 || counts.faults() == 0 || counts.deletions == 0 {
            self.thin.push(seed);
        }
        self.counts.add(counts);
        let is_first = self.broken.as_ref().is_none_or(|(other, _)| seed < *other);
        if !outcome.broken.is_empty() && is_first {
            self.broken = Some((seed, outcome));
        }
    }
}

/// Where states of hosts are cheap to keep.
pub fn room() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
