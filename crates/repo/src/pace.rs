//! How hard a worker compresses, by what is short: the cores, or the way to the region.
//!
//! A worker that fills packs faster than they leave waits for room at the end of each. While it would wait for a quarter of
//! its time, and cores have nothing else to do meanwhile, it compresses harder, step by step, so that less has to leave; as
//! soon as it hardly waits, or somebody else wants the cores, it goes back.

use std::time::Duration;

use format::compress::PATIENCE_MAX;
use world::{Cores, World};

/// Shares of time above which there is time to compress harder, and below which there is none.
const IDLE: f64 = 0.25;
const BUSY: f64 = 0.05;

/// What a worker knows of its own time and that of the cores.
pub(crate) struct Pace {
    since: Duration,
    cores: Option<Cores>,
    /// The share of its time that could be spent on compressing, half of which is the last pack's.
    free: f64,
    patience: usize,
}

impl Pace {
    /// A worker that begins now.
    pub(crate) fn new(world: &World) -> Pace {
        Pace { since: world.monotonic(), cores: world.cores(), free: 0.0, patience: 0 }
    }

    /// How much patience there is after a pack for whose upload the worker waited so long.
    pub(crate) fn after(&mut self, world: &World, waited: Duration) -> usize {
        let (now, cores) = (world.monotonic(), world.cores());
        let passed = now.saturating_sub(std::mem::replace(&mut self.since, now));
        let before = std::mem::replace(&mut self.cores, cores);
        let idle = cores.zip(before).map_or(0.0, |(now, before)| now.idle_since(&before));
        self.note(passed, waited, idle)
    }

    fn note(&mut self, passed: Duration, waited: Duration, idle: f64) -> usize {
        let waits = if passed.is_zero() { 0.0 } else { waited.as_secs_f64() / passed.as_secs_f64() };
        self.free = f64::midpoint(self.free, waits.min(idle));
        self.patience = match self.free {
            free if free > IDLE => (self.patience + 1).min(PATIENCE_MAX),
            free if free < BUSY => self.patience.saturating_sub(1),
            _ => self.patience,
        };
        self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace { since: Duration::ZERO, cores: None, free: 0.0, patience: 0 }
    }

    /// What comes of it where a pack takes so many seconds to leave, and to fill at each patience; others use a share of the
    /// cores.
    fn patience(leave: f64, fill: [f64; PATIENCE_MAX + 1], others: f64, packs: usize) -> Vec<usize> {
        let (mut now, mut left, mut pace, mut patience) = (0.0_f64, 0.0_f64, pace(), 0);
        let mut all = Vec::new();
        for _ in 0..packs {
            let begun = now;
            now += fill[patience];
            // Two packs may wait to leave.
            let begins = now.max(left - 2.0 * leave);
            left = left.max(begins) + leave;
            let (passed, waited) = (begins - begun, begins - now);
            now = begins;
            let second = Duration::from_secs_f64;
            patience = pace.note(second(passed), second(waited), (waited / passed - others).max(0.0));
            all.push(patience);
        }
        all
    }

    const FILL: [f64; PATIENCE_MAX + 1] = [1.0, 2.0, 3.0, 4.0, 8.0];

    #[test]
    fn cores_that_are_short_do_what_the_effort_says() {
        assert!(patience(0.9, FILL, 0.0, 50).iter().all(|patience| *patience == 0));
    }

    #[test]
    fn a_slow_way_out_is_met_with_all_patience() {
        let all = patience(30.0, FILL, 0.0, 12);
        assert!(all[..3].contains(&0) && all[11] == PATIENCE_MAX, "{all:?}");
    }

    #[test]
    fn a_slow_way_out_changes_nothing_while_others_want_the_cores() {
        assert!(patience(30.0, FILL, 0.9, 50).iter().all(|patience| *patience == 0));
    }

    #[test]
    fn in_between_it_settles_where_the_cores_keep_up() {
        let all = patience(3.2, FILL, 0.0, 60);
        assert!(all[20..].iter().all(|patience| (2..=3).contains(patience)), "{all:?}");
    }

    #[test]
    fn one_wait_alone_changes_little_and_is_forgotten() {
        let mut pace = pace();
        let second = Duration::from_secs;
        assert_eq!(pace.note(second(10), second(4), 1.0), 0);
        assert_eq!(pace.note(second(10), second(6), 1.0), 1);
        let later: Vec<usize> = (0..6).map(|_| pace.note(second(10), second(0), 0.0)).collect();
        assert_eq!(later.last(), Some(&0), "{later:?}");
    }
}
