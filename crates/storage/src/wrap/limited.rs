//! Keeps requests in flight and bytes per second under a limit.
//!
//! Bytes are paid for at a steady rate, per object: an upload waits before it starts, a download after it
//! came, so the mean over a few objects is the rate, while a single object still moves as fast as the network
//! carries it. What was not used in the last second may be used at once; more is not saved up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use world::World;

use super::{Answer, Call, Layer};
use crate::{Error, Store};

/// Limits of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests at the same moment.
    pub in_flight: usize,
    /// Bytes per second to the place; none is no limit.
    pub upload: Option<u64>,
    /// Bytes per second from the place; none is no limit.
    pub download: Option<u64>,
}

impl Default for Limits {
    /// 32 requests: about one per 90 MB/s is what large object stores ask for, and few stores like more from
    /// one host.
    fn default() -> Limits {
        Limits { in_flight: 32, upload: None, download: None }
    }
}

/// A store that is asked for no more than its limits.
#[derive(Debug)]
pub struct Limited {
    inner: Arc<dyn Store>,
    places: Semaphore,
    up: Option<Meter>,
    down: Option<Meter>,
    world: World,
}

impl Limited {
    /// Puts limits around `inner`. Zero requests or bytes are taken for one, since nothing could move.
    pub fn new(inner: Arc<dyn Store>, limits: Limits, world: &World) -> Limited {
        let places = Semaphore::new(limits.in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let meter = |rate: Option<u64>| rate.map(Meter::new);
        Limited {
            inner,
            places,
            up: meter(limits.upload),
            down: meter(limits.download),
            world: world.clone(),
        }
    }

    async fn pay(&self, meter: &Option<Meter>, bytes: u64) {
        if let Some(meter) = meter {
            let wait = meter.pay(self.world.monotonic(), bytes);
            if !wait.is_zero() {
                self.world.sleep(wait).await;
            }
        }
    }
}

#[async_trait]
impl Layer for Limited {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        self.pay(&self.up, call.bytes_up()).await;
        let answer = call.perform(&*self.inner).await?;
        self.pay(&self.down, answer.bytes_down()).await;
        Ok(answer)
    }
}

/// Bytes at a steady rate.
#[derive(Debug)]
struct Meter {
    bytes_per_second: u64,
    /// When all that was paid for so far has passed, on the monotonic clock.
    passed_at: Mutex<Duration>,
}

impl Meter {
    const SAVED_MAX: Duration = Duration::from_secs(1);

    fn new(bytes_per_second: u64) -> Meter {
        Meter { bytes_per_second: bytes_per_second.max(1), passed_at: Mutex::default() }
    }

    /// How long to wait, from `now`, until `bytes` more have passed.
    fn pay(&self, now: Duration, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut passed_at = self.passed_at.lock().expect("no holder of this lock panics");
        let start = (*passed_at).max(now.saturating_sub(Self::SAVED_MAX));
        *passed_at = start.saturating_add(cost);
        passed_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_keeps_the_rate_and_saves_one_second_at_most() {
        let meter = Meter::new(1_000);
        let (start, ms) = (Duration::from_secs(100), Duration::from_millis);
        assert_eq!(meter.pay(start, 1_000), ms(0), "one second was saved");
        assert_eq!(meter.pay(start, 500), ms(500));
        assert_eq!(meter.pay(start, 500), ms(1_000));
        assert_eq!(meter.pay(start + ms(400), 1_000), ms(1_600));
        assert_eq!(meter.pay(start + ms(60_000), 3_000), ms(2_000), "an idle minute saves one second");
    }
}
