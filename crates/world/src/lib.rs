//! Where time, chance and progress come from, and what an error asks of its caller.
//!
//! Nothing else in Seawall reads a clock, waits, draws randomness or speaks to a watcher, so a whole run can be
//! repeated from one seed: [`World::real`] is the machine, [`World::simulated`] is a clock that moves only when
//! told to and randomness that follows from a seed. A value never reads a clock; it is handed the time.

mod chance;
mod clock;
mod progress;
mod remedy;

pub use chance::Chance;
pub use clock::{Clock, Cores, SimulatedClock};
pub use progress::{Progress, Silent, Step};
pub use remedy::{Remedied, Remedy};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time, chance and progress for one piece of work; cheap to clone, and clones share all three.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    chance: chance::Spring,
    progress: Arc<dyn Progress>,
    stop: Arc<AtomicBool>,
}

impl World {
    /// The machine's clocks and randomness; progress goes nowhere until [`World::watched_by`].
    pub fn real() -> World {
        World {
            clock: Arc::new(clock::MachineClock::start()),
            chance: chance::Spring::machine(),
            progress: Arc::new(Silent),
            stop: Arc::default(),
        }
    }

    /// A world that repeats: all chance follows from `seed`, and time is that of `clock`, as a [`SimulatedClock`] tells it.
    pub fn simulated(seed: u64, clock: Arc<dyn Clock>) -> World {
        let chance = chance::Spring::seeded(seed);
        World { clock, chance, progress: Arc::new(Silent), stop: Arc::default() }
    }

    /// The same world, watched by `progress`.
    pub fn watched_by(mut self, progress: Arc<dyn Progress>) -> World {
        self.progress = progress;
        self
    }

    /// Asks whoever works in this world to come to an end: what is done stays done.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to come to an end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Wall-clock time in UTC nanoseconds since 1970; may jump.
    pub fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    /// Time since an arbitrary start; never goes back.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Time that the cores spent on this process so far, all its threads together.
    pub fn cpu(&self) -> Duration {
        self.clock.cpu()
    }

    /// Waits without blocking a thread.
    pub fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.clock.sleep(time)
    }

    /// How the cores of the machine spent their time; `None` where nobody says.
    pub fn cores(&self) -> Option<Cores> {
        self.clock.cores()
    }

    /// A fresh, independent stream of randomness, fit for keys in a real world.
    pub fn chance(&self) -> Chance {
        self.chance.fork()
    }

    /// Tells the watcher what just happened.
    pub fn report(&self, step: Step<'_>) {
        self.progress.report(step);
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

#[cfg(test)]
mod tests;
