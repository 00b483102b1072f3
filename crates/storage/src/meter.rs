//! Bytes at a steady rate.
//!
//! Whoever moves bytes pays for them and waits until they would have passed. What was not used in the last quarter of a
//! second may be used at once; more is not saved up, so the mean over a few seconds is the rate. All that move bytes in
//! one direction share one meter, and are served in the order in which they pay.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use world::World;

use crate::Limits;

/// The meters of one place, as its limits say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    pub(crate) up: Option<Arc<Meter>>,
    pub(crate) down: Option<Arc<Meter>>,
}

impl Meters {
    pub(crate) fn of(limits: &Limits) -> Meters {
        let meter = |rate: Option<u64>| rate.map(|rate| Arc::new(Meter::new(rate)));
        Meters { up: meter(limits.upload), down: meter(limits.download) }
    }
}

#[derive(Debug)]
pub(crate) struct Meter {
    bytes_per_second: u64,
    /// When all that was paid for so far has passed, on the monotonic clock.
    passed_at: Mutex<Duration>,
}

impl Meter {
    const SAVED_MAX: Duration = Duration::from_millis(250);

    /// Zero bytes per second are taken for one, since nothing could move.
    pub(crate) fn new(bytes_per_second: u64) -> Meter {
        Meter { bytes_per_second: bytes_per_second.max(1), passed_at: Mutex::default() }
    }

    /// Waits until `bytes` more have passed.
    pub(crate) async fn pay(&self, world: &World, bytes: u64) {
        let wait = self.wait(world.monotonic(), bytes);
        if !wait.is_zero() {
            world.sleep(wait).await;
        }
    }

    /// What passes in a twentieth of a second.
    pub(crate) fn step(&self) -> u64 {
        (self.bytes_per_second / 20).max(1)
    }

    /// How long `bytes` take.
    pub(crate) fn cost(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long to wait, from `now`, until `bytes` more have passed.
    fn wait(&self, now: Duration, bytes: u64) -> Duration {
        let mut passed_at = self.passed_at.lock().expect("no holder of this lock panics");
        let start = (*passed_at).max(now.saturating_sub(Self::SAVED_MAX));
        *passed_at = start.saturating_add(self.cost(bytes));
        passed_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_keeps_the_rate_and_saves_a_quarter_of_a_second_at_most() {
        let meter = Meter::new(1_000);
        let (start, ms) = (Duration::from_secs(100), Duration::from_millis);
        assert_eq!(meter.wait(start, 250), ms(0), "a quarter of a second was saved");
        assert_eq!(meter.wait(start, 500), ms(500));
        assert_eq!(meter.wait(start, 500), ms(1_000));
        assert_eq!(meter.wait(start + ms(400), 1_000), ms(1_600));
        assert_eq!(meter.wait(start + ms(60_000), 3_000), ms(2_750), "an idle minute saves no more");
    }
}
