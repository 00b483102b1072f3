//! Keeps requests in flight and bytes per second under a limit.
//!
//! Bytes are paid for at a steady rate, per object: an upload waits before it starts, a download after it
//! came, so the mean over a few objects is the rate, while a single object still moves as fast as the place
//! takes it. That is enough for a disk. A place behind HTTP has its limit of bytes on the line itself.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use world::World;

use super::{Answer, Call, Layer};
use crate::meter::{Meter, Meters};
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
    meters: Meters,
    world: World,
}

impl Limited {
    /// Puts limits around `inner`. Zero requests or bytes are taken for one, since nothing could move.
    pub fn new(inner: Arc<dyn Store>, limits: Limits, world: &World) -> Limited {
        let places = Semaphore::new(limits.in_flight.clamp(1, Semaphore::MAX_PERMITS));
        Limited { inner, places, meters: Meters::of(&limits), world: world.clone() }
    }

    async fn pay(&self, meter: &Option<Arc<Meter>>, bytes: u64) {
        let Some(meter) = meter else { return };
        // In steps, so that who gives up in the middle leaves no debt for those behind.
        let mut left = bytes;
        while left > 0 {
            let step = left.min(meter.step());
            meter.pay(&self.world, step).await;
            left -= step;
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
        self.pay(&self.meters.up, call.bytes_up()).await;
        let answer = call.perform(&*self.inner).await?;
        self.pay(&self.meters.down, answer.bytes_down()).await;
        Ok(answer)
    }
}
