//! How fast a backup or a restore could be if nothing cost anything but its stages.
//!
//! Pure: from what the stages cost to two bounds. The cores allow what their number divided by the seconds that one core
//! needs for a byte allows, all stages together, each as often as it runs: what is known already is not compressed, and
//! what was compressed is less to be sealed. The place allows what its own stage reached with as many requests in flight
//! as there are in earnest. Nothing is counted for walking, for the tree, for copying and for waiting: those are what the
//! share that is reached is short of.

use super::stages::Stage;

/// What ends a backup's or a restore's growth in speed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The cores.
    Cores,
    /// The place that stores and gives back.
    Place,
}

/// The two bounds, in bytes of the source a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// What the cores allow.
    pub cores: f64,
    /// What the place allows.
    pub place: f64,
}

impl Limit {
    /// The limit for `source_bytes` that went through these stages, on so many cores. The stage that `is_place` is the one
    /// that waits for the place.
    pub fn of(stages: &[Stage], source_bytes: u64, cores: usize, is_place: impl Fn(&Stage) -> bool) -> Limit {
        let spent: f64 = stages.iter().map(Stage::core_seconds).sum();
        let waited: f64 =
            stages.iter().filter(|stage| is_place(stage)).map(|s| s.bytes as f64 / s.rate()).sum();
        Limit { cores: cores as f64 * source_bytes as f64 / spent, place: source_bytes as f64 / waited }
    }

    /// The lower of the two, in bytes a second.
    pub fn rate(&self) -> f64 {
        self.cores.min(self.place)
    }

    /// Which of the two is the lower.
    pub fn bound(&self) -> Bound {
        if self.place < self.cores { Bound::Place } else { Bound::Cores }
    }
}
