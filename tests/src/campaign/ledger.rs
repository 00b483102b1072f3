//! What was acknowledged: which points there must be, which must be gone, which may be either, and what each brings back.
//!
//! A point that is about to be forgotten is doubtful from before the program is started until it says what it did. What is
//! surely kept must restore at every moment; each change of state is counted, so that a restore knows whether its point
//! was surely kept all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::campaign::tree::Truth;

/// What is known of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Acknowledged, and nobody has begun to forget it.
    Kept,
    /// Somebody who was killed or raced may have forgotten it, or taken that back.
    Doubtful,
    /// Its forgetting was acknowledged.
    Forgotten,
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
        self.points.insert(point, Record { source, truth, state: State::Kept, changes: 0 });
    }

    pub(super) fn set(&mut self, point: &str, state: State) {
        let record = self.points.get_mut(point).expect("only what was acknowledged is looked at");
        record.state = state;
        record.changes += 1;
    }

    /// Points of this state, oldest first.
    pub(super) fn of(&self, state: State) -> Vec<&str> {
        self.order.iter().map(String::as_str).filter(|point| self.points[*point].state == state).collect()
    }

    /// Points that are surely kept of a source, oldest first.
    pub(super) fn kept_of(&self, source: usize) -> Vec<&str> {
        let mut kept = self.of(State::Kept);
        kept.retain(|point| self.points[*point].source == source);
        kept
    }

    /// The pieces of content that points of this state hold.
    pub(super) fn pieces(&self, state: State) -> BTreeSet<u64> {
        let records = self.points.values().filter(|record| record.state == state);
        records.flat_map(|record| record.truth.pieces.iter().copied()).collect()
    }
}
