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

    /// How the cores of the machine spent their time; `None` where nobody says.
    fn cores(&self) -> Option<Cores>;
}

/// Time of all cores since the machine started, in ticks of an unknown length; only shares of a difference mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Had nothing to do, or waited for a disk.
    pub idle: u64,
    /// All of it.
    pub all: u64,
}

impl Cores {
    /// The share of the time between `before` and now that was idle, 0 to 1; 0 if no time passed.
    pub fn idle_since(&self, before: &Cores) -> f64 {
        let (idle, all) = (self.idle.saturating_sub(before.idle), self.all.saturating_sub(before.all));
        if all == 0 { 0.0 } else { idle.min(all) as f64 / all as f64 }
    }

    /// The first line of `/proc/stat`: user, nice, system, idle, waiting for disks, interrupts of two kinds, and what a
    /// hypervisor took; guests are part of user.
    fn parse(stat: &str) -> Option<Cores> {
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let ticks: Vec<u64> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[_, _, _, idle, waiting, ..] = &ticks[..] else { return None };
        Some(Cores { idle: idle.saturating_add(waiting), all: ticks.iter().sum() })
    }
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

    fn cores(&self) -> Option<Cores> {
        Cores::parse(&std::fs::read_to_string("/proc/stat").ok()?)
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

    /// There is no machine.
    fn cores(&self) -> Option<Cores> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_its_cores_becomes_a_share() {
        let before = Cores::parse("cpu  100 10 50 800 40 1 2 3 7 7\ncpu0 1 2").unwrap();
        assert_eq!(before, Cores { idle: 840, all: 1006 });
        let now = Cores { idle: 865, all: 1106 };
        assert_eq!((now.idle_since(&before), before.idle_since(&before)), (0.25, 0.0));
        for bad in ["", "cpu", "cpu  1 2 3", "cpu  1 2 x 4 5", "intr 1 2 3 4 5 6 7 8"] {
            assert_eq!(Cores::parse(bad), None, "{bad}");
        }
        let machine = MachineClock::start().cores();
        assert!(machine.is_some_and(|cores| cores.idle <= cores.all && cores.all > 0));
    }
}
