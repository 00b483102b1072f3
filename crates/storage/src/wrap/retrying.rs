//! Tries again what may succeed in a moment, and nothing else.
//!
//! Only [`Remedy::Retry`] is tried again. Waits grow twofold up to a limit and are drawn evenly from nothing
//! to that (many hosts that failed together do not come back together). The number of tries and their total
//! time are limited; the last error says how often it was tried. This is the only place that retries: stores
//! beneath do not. A place that asks for fewer requests gets none at all for as long as it says, from all callers
//! together. Two things are not worth the whole patience: a place that has never answered is rather misspelt than
//! busy, and a body that ends at the same byte again and again is not cut by chance. Whoever watches is told when it
//! takes longer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use world::{Chance, Remedied, Remedy, Step, World};

use super::{Answer, Call, Layer};
use crate::{Error, Obstacle, Store};

/// A person wants to know after this long why nothing happens.
const TOLD_AFTER: Duration = Duration::from_secs(2);
/// And not again before this.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// Whoever asked to stop waits no longer than this for what is still to be said to the place.
const STOPPED_MAX: Duration = Duration::from_secs(5);

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
    /// No new try begins after this long while the place has not answered anything yet.
    pub stranger_max: Duration,
    /// Tries of a body that ends at the same byte each time.
    pub same_cuts_max: u32,
    /// The longest wait that a place may ask for.
    pub asked_max: Duration,
}

impl Patience {
    /// For whoever would rather wait than fail: tries for this long, and a place that has never answered as well.
    pub fn lasting(total_max: Duration) -> Patience {
        Patience { tries_max: u32::MAX, total_max, stranger_max: total_max, ..Patience::default() }
    }
}

impl Default for Patience {
    /// Ten tries within five minutes: rides out the restart of a store, and ends while a person still waits. Who
    /// mistyped an endpoint hears of it within seconds.
    fn default() -> Patience {
        Patience {
            tries_max: 10,
            total_max: Duration::from_secs(300),
            wait_first: Duration::from_millis(200),
            wait_max: Duration::from_secs(20),
            stranger_max: Duration::from_secs(5),
            same_cuts_max: 4,
            asked_max: Duration::from_secs(60),
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
    /// Whether the place has answered anything yet.
    known: AtomicBool,
    calm: Mutex<Calm>,
}

/// What all callers together keep to, on the monotonic clock.
#[derive(Debug, Default)]
struct Calm {
    /// No request begins before this, as the place asked.
    quiet_until: Duration,
    /// When somebody was last told about trouble.
    told_at: Option<Duration>,
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
        let (known, calm) = (AtomicBool::new(false), Mutex::default());
        Retrying { inner, patience, world: world.clone(), jitter, known, calm }
    }

    /// How long to wait after `tries` failures, of which this is the last.
    fn wait(&self, tries: u32, failed: &Error) -> Duration {
        let doublings = tries.saturating_sub(1).min(20);
        let longest = self.patience.wait_first.saturating_mul(1 << doublings).min(self.patience.wait_max);
        let drawn = self.drawn(longest);
        match failed {
            Error::Busy { wait: Some(asked), .. } => drawn + (*asked).min(self.patience.asked_max),
            _ => drawn,
        }
    }

    /// A time below `longest`.
    fn drawn(&self, longest: Duration) -> Duration {
        let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        let mut chance = self.jitter.0.lock().expect("no holder of this lock panics");
        Duration::from_micros(chance.below(longest_us.saturating_add(1)))
    }

    /// No new try begins after this long.
    fn time_max(&self) -> Duration {
        let Patience { total_max, stranger_max, .. } = self.patience;
        match self.known.load(Ordering::Relaxed) {
            _ if self.world.is_stopped() => total_max.min(STOPPED_MAX),
            true => total_max,
            false => total_max.min(stranger_max),
        }
    }

    fn calm(&self) -> MutexGuard<'_, Calm> {
        self.calm.lock().expect("no holder of this lock panics")
    }

    /// Waits while the place wants to be left alone; those who waited do not come back together.
    async fn keep_quiet(&self) {
        let quiet = self.calm().quiet_until.saturating_sub(self.world.monotonic());
        if !quiet.is_zero() {
            self.world.sleep(quiet + self.drawn(self.patience.wait_first)).await;
        }
    }

    /// Notes for all callers what this failure asks of them.
    fn heed(&self, failed: &Error, wait: Duration) {
        if matches!(failed, Error::Busy { .. }) {
            // Somebody is there: it is no stranger.
            self.known.store(true, Ordering::Relaxed);
            let mut calm = self.calm();
            calm.quiet_until = calm.quiet_until.max(self.world.monotonic() + wait);
        }
    }

    /// Tells once in a while that it is being tried again: a stranger's trouble at once, since it may be misspelt.
    fn tell(&self, failed: &Error, spent: Duration) {
        if self.known.load(Ordering::Relaxed) && spent < TOLD_AFTER {
            return;
        }
        let now = self.world.monotonic();
        let mut calm = self.calm();
        if calm.told_at.is_none_or(|at| now.saturating_sub(at) >= TOLD_AGAIN) {
            calm.told_at = Some(now);
            let seconds = self.time_max().as_secs();
            self.world.report(Step::Notice(&format!(
                "{failed}; it is tried again for up to {seconds} s, Ctrl-C ends it"
            )));
        }
    }

    /// Whether trying again is no use, although the same later may be.
    fn is_hopeless(&self, failed: &Error) -> bool {
        let unknown_host = matches!(failed, Error::Obstructed { obstacle: Obstacle::UnknownHost, .. });
        unknown_host
            && self.patience.stranger_max < self.patience.total_max
            && !self.known.load(Ordering::Relaxed)
    }
}

/// Whether the place said how long it wants to be left alone.
fn asks(failed: &Error) -> bool {
    matches!(failed, Error::Busy { wait: Some(_), .. })
}

#[async_trait]
impl Layer for Retrying {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let start = self.world.monotonic();
        let (mut tries, mut cuts) = (0, Cuts::default());
        loop {
            tries += 1;
            self.keep_quiet().await;
            let answer = call.clone().perform(&*self.inner).await;
            let failed = match answer {
                Err(failed) if failed.remedy() == Remedy::Retry => failed,
                answer => {
                    self.known.store(true, Ordering::Relaxed);
                    return answer;
                }
            };
            if matches!(failed, Error::GaveUp { .. }) || self.is_hopeless(&failed) {
                return Err(failed);
            }
            let wait = self.wait(tries, &failed);
            self.heed(&failed, wait);
            let spent = self.world.monotonic().saturating_sub(start);
            let left = self.time_max().saturating_sub(spent);
            // The last try begins when the time is over, unless the place wants to be left alone for longer.
            let tired = tries >= self.patience.tries_max || left.is_zero() || (wait > left && asks(&failed));
            let wait = wait.min(left);
            if tired || cuts.in_a_row(&failed) >= self.patience.same_cuts_max {
                return Err(Error::GaveUp { tries, seconds: spent.as_secs(), source: Box::new(failed) });
            }
            self.tell(&failed, spent + wait);
            self.world.sleep(wait).await;
        }
    }
}

/// Where bodies ended.
#[derive(Default)]
struct Cuts {
    last: Option<(u64, u64)>,
    count: u32,
}

impl Cuts {
    /// How often in a row a body ended at the very same byte, this time included. Where nothing came at all, the line
    /// is as likely a reason.
    fn in_a_row(&mut self, failed: &Error) -> u32 {
        let cut = match failed {
            Error::CutShort { promised, got, .. } if *got > 0 => Some((*promised, *got)),
            _ => None,
        };
        self.count = match cut {
            None => 0,
            Some(_) if cut == self.last => self.count.saturating_add(1),
            Some(_) => 1,
        };
        self.last = cut;
        self.count
    }
}
