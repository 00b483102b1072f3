//! Three kinds of time: the wall clock, which people read and which may jump, a monotonic one for durations, and what the
//! cores spent on this process.
//!
//! This is the only file that may ask the machine for any of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Wall-clock time in UTC nanoseconds since 1970; may jump.
    fn now_ns(&self) -> i64;

    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;

    /// Time that the cores spent on this process so far, all its threads together.
    fn cpu(&self) -> Duration;

    /// Waits without blocking a thread.
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

pub(crate) struct MachineClock {
    start: std::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "the one door to the machine's clocks")]
impl MachineClock {
    pub(crate) fn start() -> MachineClock {
        MachineClock { start: std::time::Instant::now() }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one door to the machine's clocks")]
impl Clock for MachineClock {
    fn now_ns(&self) -> i64 {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn cpu(&self) -> Duration {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::try_from(spent).expect("a process never spent less than nothing")
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// A clock that moves only when told to; a sleeper moves it by the time it wanted to sleep.
pub struct SimulatedClock {
    state: Mutex<(i64, Duration)>,
}

impl SimulatedClock {
    /// A clock that stands at `now_ns` (UTC nanoseconds since 1970).
    pub fn at(now_ns: i64) -> SimulatedClock {
        SimulatedClock { state: Mutex::new((now_ns, Duration::ZERO)) }
    }

    /// Lets `time` pass on both clocks.
    pub fn pass(&self, time: Duration) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        state.0 = state.0.saturating_add(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        state.1 = state.1.saturating_add(time);
    }

    /// Puts the wall clock to `now_ns`, as a wrong or repaired clock would; the monotonic one goes on.
    pub fn set(&self, now_ns: i64) {
        self.state.lock().expect("no holder of this lock panics").0 = now_ns;
    }
}

impl Clock for SimulatedClock {
    fn now_ns(&self) -> i64 {
        self.state.lock().expect("no holder of this lock panics").0
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().expect("no holder of this lock panics").1
    }

    /// As if one core were busy all the time.
    fn cpu(&self) -> Duration {
        self.monotonic()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.pass(time);
        Box::pin(std::future::ready(()))
    }
}
