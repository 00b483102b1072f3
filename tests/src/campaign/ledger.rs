//! What was acknowledged: which points there must be, which must be gone, which may be either, and what each brings back.
//!
//! A point that is about to be forgotten is leaving from before the program is started until it says what it did; one that
//! is to come back is promised to nobody until the program says that it is there again, as a sweep may have taken some of
//! it. What is kept must restore at every moment; each change of state is counted, so that a restore knows whether its
//! point was kept all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::campaign::tree::Truth;

/// What is known of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Acknowledged, and nobody has begun to forget it.
    Live,
    /// Forgotten, and that this was taken back was acknowledged: as good as live.
    Undone,
    /// Somebody who was killed or raced may have forgotten it. If it is still listed, it is whole.
    Leaving,
    /// Its forgetting was acknowledged.
    Forgotten,
    /// Somebody who was killed or raced may have taken its forgetting back: it may be listed, and a sweep may have some of
    /// it.
    Unknown,
    /// A sweep has some of it, as whoever wanted it back was told.
    Gone,
}

impl State {
    /// Whether the point must be listed and restore.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, State::Live | State::Undone)
    }

    /// Whether the point must not be listed.
    pub(super) fn is_out(self) -> bool {
        matches!(self, State::Forgotten | State::Gone)
    }
}

pub(super) struct Record {
    pub(super) source: usize,
    pub(super) truth: Arc<Truth>,
    pub(super) state: State,
    /// How often the state changed.
    pub(super) changes: u64,
}

/// All acknowledged points, in the order in which they were acknowledged.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) points: BTreeMap<String, Record>,
    order: Vec<String>,
}

impl Ledger {
    pub(super) fn add(&mut self, point: String, source: usize, truth: Arc<Truth>) {
        self.order.push(point.clone());
        self.points.insert(point, Record { source, truth, state: State::Live, changes: 0 });
    }

    pub(super) fn set(&mut self, point: &str, state: State) {
        let record = self.points.get_mut(point).expect("only what was acknowledged is looked at");
        record.state = state;
        record.changes += 1;
    }

    /// Points of which this is true, oldest first.
    pub(super) fn whose(&self, is: impl Fn(&Record) -> bool) -> Vec<String> {
        self.order.iter().filter(|point| is(&self.points[*point])).cloned().collect()
    }

    /// Points of this state, oldest first.
    pub(super) fn of(&self, state: State) -> Vec<String> {
        self.whose(|record| record.state == state)
    }

    /// Points that must be there, oldest first.
    pub(super) fn kept(&self) -> Vec<String> {
        self.whose(|record| record.state.is_kept())
    }

    /// The pieces of content that points hold of which this is true.
    pub(super) fn pieces(&self, is: impl Fn(&Record) -> bool) -> BTreeSet<u64> {
        let records = self.points.values().filter(|record| is(record));
        records.flat_map(|record| record.truth.pieces.iter().copied()).collect()
    }
}
