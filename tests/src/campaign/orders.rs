//! What a campaign is to be: where, from which seed, and for how long.

use std::time::Duration;

/// Where the repository lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A local directory.
    Local,
    /// A bucket of the S3 server of the tests.
    S3,
}

/// What must have happened before a campaign may end, beside each kind of event once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Goal {
    /// Backups that ended with 0.
    pub points: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Sweeps among them that had begun to delete.
    pub kills_deleting: u64,
}

/// One campaign.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// All choices follow from it.
    pub seed: u64,
    /// Where the repository lies.
    pub place: Place,
    /// How long it lasts even if the goal is reached earlier.
    pub at_least: Duration,
    /// When it ends even if the goal is not reached; what is checked at the end comes on top.
    pub at_most: Duration,
    /// What it waits for.
    pub goal: Goal,
}
