//! Counts what a store was asked for and how long it took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use world::World;

use super::{Answer, Call, Layer};
use crate::{Error, Store, Verb};

/// What was measured of one verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that succeeded.
    pub done: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Bytes sent by calls that succeeded.
    pub bytes_up: u64,
    /// Bytes that came back.
    pub bytes_down: u64,
    /// The shortest call that succeeded.
    pub shortest: Duration,
    /// The longest call that succeeded.
    pub longest: Duration,
    /// All calls that succeeded, together.
    pub total: Duration,
}

impl Tally {
    /// The mean time of a call that succeeded, if there was one.
    pub fn mean(&self) -> Option<Duration> {
        let total_ns = u64::try_from(self.total.as_nanos()).unwrap_or(u64::MAX);
        total_ns.checked_div(self.done).map(Duration::from_nanos)
    }

    fn add(&mut self, took: Duration, bytes_up: u64, bytes_down: u64) {
        self.shortest = if self.done == 0 { took } else { self.shortest.min(took) };
        self.longest = self.longest.max(took);
        self.total += took;
        self.done += 1;
        self.bytes_up += bytes_up;
        self.bytes_down += bytes_down;
    }
}

/// What was measured of each verb that was used.
pub type Measures = BTreeMap<Verb, Tally>;

/// A store that keeps count.
#[derive(Debug)]
pub struct Measured {
    inner: Arc<dyn Store>,
    world: World,
    measures: Mutex<Measures>,
}

impl Measured {
    /// Puts a counter around `inner`.
    pub fn new(inner: Arc<dyn Store>, world: &World) -> Measured {
        Measured { inner, world: world.clone(), measures: Mutex::default() }
    }

    /// The counts so far.
    pub fn snapshot(&self) -> Measures {
        self.measures.lock().expect("no holder of this lock panics").clone()
    }
}

#[async_trait]
impl Layer for Measured {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let (verb, bytes_up) = (call.verb(), call.bytes_up());
        let start = self.world.monotonic();
        let answer = call.perform(&*self.inner).await;
        let took = self.world.monotonic().saturating_sub(start);
        let mut measures = self.measures.lock().expect("no holder of this lock panics");
        let tally = measures.entry(verb).or_default();
        match &answer {
            Ok(answer) => tally.add(took, bytes_up, answer.bytes_down()),
            Err(_) => tally.failed += 1,
        }
        answer
    }
}
