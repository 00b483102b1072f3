//! Tries again what may succeed in a moment, and nothing else.
//!
//! Only [`Remedy::Retry`] is tried again. Waits grow twofold up to a limit and are drawn evenly from nothing
//! to that (many hosts that failed together do not come back together). The number of tries and their total
//! time are limited; the last error says how often it was tried. This is the only place that retries: stores
//! beneath do not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use world::{Chance, Remedied, Remedy, World};

use super::{Answer, Call, Layer};
use crate::{Error, Store};

/// How long to go on trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Tries of one call, the first included.
    pub tries_max: u32,
    /// No new try begins after this long.
    pub total_max: Duration,
    /// The longest wait after the first failure.
    pub wait_first: Duration,
    /// The longest wait after any failure.
    pub wait_max: Duration,
}

impl Default for Patience {
    /// Ten tries within five minutes: rides out the restart of a store, and ends while a person still waits.
    fn default() -> Patience {
        Patience {
            tries_max: 10,
            total_max: Duration::from_secs(300),
            wait_first: Duration::from_millis(200),
            wait_max: Duration::from_secs(20),
        }
    }
}

/// Tries again what a store could not do at that moment.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn Store>,
    patience: Patience,
    world: World,
    jitter: Jitter,
}

struct Jitter(Mutex<Chance>);

impl std::fmt::Debug for Jitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jitter")
    }
}

impl Retrying {
    /// Puts patience around `inner`.
    pub fn new(inner: Arc<dyn Store>, patience: Patience, world: &World) -> Retrying {
        let jitter = Jitter(Mutex::new(world.chance()));
        Retrying { inner, patience, world: world.clone(), jitter }
    }

    /// How long to wait after `tries` failures.
    fn wait(&self, tries: u32) -> Duration {
        let doublings = tries.saturating_sub(1).min(20);
        let longest = self.patience.wait_first.saturating_mul(1 << doublings).min(self.patience.wait_max);
        let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        let mut chance = self.jitter.0.lock().expect("no holder of this lock panics");
        Duration::from_micros(chance.below(longest_us.saturating_add(1)))
    }
}

#[async_trait]
impl Layer for Retrying {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let start = self.world.monotonic();
        let mut tries = 0;
        loop {
            tries += 1;
            let failed = match call.clone().perform(&*self.inner).await {
                Ok(answer) => return Ok(answer),
                Err(failed) if failed.remedy() != Remedy::Retry => return Err(failed),
                Err(failed @ Error::GaveUp { .. }) => return Err(failed),
                Err(failed) => failed,
            };
            let wait = self.wait(tries);
            let spent = self.world.monotonic().saturating_sub(start);
            if tries >= self.patience.tries_max || spent + wait > self.patience.total_max {
                return Err(Error::GaveUp { tries, seconds: spent.as_secs(), source: Box::new(failed) });
            }
            self.world.sleep(wait).await;
        }
    }
}
