//! Expiry: a sweeper stops waiting for sessions that it saw silent for long enough.
//!
//! Silence is what this process itself observed, without a break, on its own monotonic clock: no time that
//! another machine wrote counts. An expiry lets sweeps stop waiting and voids nothing; the writer learns of it
//! behind its next commit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::object::{Entry, EntryId, Fact, Ids};
use super::view::{Logs, Sessions};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seen {
    renewal: u32,
    since: Duration,
}

/// Sessions under observation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Silence<I: Ids> {
    limit: Duration,
    seen: BTreeMap<I::Session, Seen>,
}

impl<I: Ids> Silence<I> {
    /// Nothing observed yet; a session is silent when nothing changed for `limit`.
    pub fn new(limit: Duration) -> Self {
        Self { limit, seen: BTreeMap::new() }
    }

    /// Takes a list of logs and the session objects listed after it, at a moment of the observer's monotonic
    /// clock, and returns the sessions that have been silent for the limit.
    pub fn observe(&mut self, now: Duration, logs: &Logs<I>, sessions: &Sessions<I>) -> BTreeSet<I::Session> {
        let mut seen = BTreeMap::new();
        let mut silent = BTreeSet::new();
        for (session, standing) in sessions.iter().filter(|(session, _)| !logs.is_over(session)) {
            let before = self.seen.get(session).filter(|seen| seen.renewal == standing.renewal);
            let since = before.map_or(now, |seen| seen.since);
            if now.saturating_sub(since) >= self.limit {
                silent.insert(session.clone());
            }
            seen.insert(session.clone(), Seen { renewal: standing.renewal, since });
        }
        self.seen = seen;
        silent
    }
}

/// The entry that lets the session expire; `id` is the next place in the sweeper's chain.
pub fn expire<I: Ids>(id: EntryId<I>, session: I::Session) -> Entry<I> {
    Entry {
        id,
        maintainer: true,
        local: true,
        brings: BTreeSet::new(),
        facts: vec![Fact::Expired { session }],
        ends: true,
    }
}
