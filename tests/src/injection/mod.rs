//! Injections: a repository with every kind of object is copied and harmed at a place and in a way drawn by chance, and then the
//! real program says what it makes of that.
//!
//! Of each one these hold, or it broke. Nothing panics, and no file comes back otherwise than it was. What is lost is found by a
//! verification, with an exit code that says so; what was changed is found or does no harm. A sweep beside damage takes nothing
//! from a point that came back before. A full backup that succeeds on what is left comes back. All follows from a seed.

mod command;
mod counts;
mod harm;
mod original;
mod trial;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub use command::{INJECTION_USAGE, inject};
pub use counts::Counts;

use original::Original;

/// What is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orders {
    /// What all choices are drawn from.
    pub seed: u64,
    /// The number of the first one; each can be repeated by its number.
    pub first: u64,
    /// How many there are.
    pub injections: u64,
    /// How many run at once.
    pub jobs: usize,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was injected, and what became of it.
    pub counts: Counts,
    /// What must not have happened, with the number of its injection.
    pub broken: Vec<String>,
    /// Where the machines of those are kept.
    pub kept: Vec<PathBuf>,
}

/// As many broken ones are kept, and told.
const BROKEN_MAX: usize = 12;

/// Runs them all, or until too many broke.
///
/// # Panics
///
/// If the machine has no room or no processes for it.
pub fn run(orders: &Orders) -> Outcome {
    let original = Original::new();
    let (next, outcome) = (AtomicU64::new(0), Mutex::new(Outcome::default()));
    std::thread::scope(|threads| {
        for _ in 0..orders.jobs {
            threads.spawn(|| {
                while let Some(number) = take(&next, orders)
                    && outcome.lock().unwrap_or_else(PoisonError::into_inner).broken.len() < BROKEN_MAX
                {
                    let ended = trial::run(&original, orders.seed, number);
                    outcome.lock().unwrap_or_else(PoisonError::into_inner).take(number, ended);
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn take(next: &AtomicU64, orders: &Orders) -> Option<u64> {
    let taken = next.fetch_add(1, Ordering::Relaxed);
    (taken < orders.injections).then_some(orders.first + taken)
}

impl Outcome {
    fn take(&mut self, number: u64, ended: trial::Ended) {
        self.counts.add(&ended);
        if let Some(machine) = ended.machine {
            self.broken.push(format!("injection {number}: {}\n{}", ended.broken.join("\n"), ended.told));
            self.kept.push(machine.keep());
        }
    }
}
