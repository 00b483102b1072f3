//! What a server is told to do wrong, and the counter that deals it out.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use world::{Chance, World};

use super::trips::Asked;
use super::wire::Counts;

/// What a server does with `If-Match` and `If-None-Match` of writes. Real ones do each of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conditions {
    /// As the protocol says.
    #[default]
    Honoured,
    /// 200, and the object is overwritten.
    Ignored,
    /// 501.
    Refused,
}

/// Faults to order. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Time before each answer begins, in milliseconds.
    pub latency_ms: u64,
    /// Bytes per second of each body, in both directions.
    pub bytes_per_second: Option<u64>,
    /// So many of the next requests are answered with 503, and nothing is done.
    pub unavailable_next: u32,
    /// So many thousandths of all requests are answered with 503, drawn from `seed`.
    pub unavailable_per_mille: u64,
    /// Reads of objects whose keys hold this are answered with 503.
    pub unreadable: Option<String>,
    /// The status of these answers instead of 503.
    pub busy_status: Option<u16>,
    /// The `Retry-After` of these answers: seconds.
    pub retry_after_s: Option<u64>,
    /// Whether these faults happen only to requests after so many others.
    pub busy_after: u64,
    /// Each access key is good for so many requests; then it has expired.
    pub key_uses: Option<u32>,
    /// Access keys that have expired.
    pub expired_keys: Vec<String>,
    /// By how many seconds the server's clock is ahead of this machine's.
    pub clock_ahead_s: i64,
    /// So many of the next writes are done and then answered with 500.
    pub fail_after_next: u32,
    /// Bodies of objects end after so many bytes, as if the line broke...
    pub cut_after: Option<u64>,
    /// ...this often; none is always.
    pub cut_next: Option<u32>,
    /// A cut body looks whole: its length is stated as what comes.
    pub cut_quietly: bool,
    /// Bodies that hold this byte of an object come with one bit of it flipped...
    pub flip_at: Option<u64>,
    /// ...so often.
    pub flip_next: u32,
    /// So many of the next uploads are answered with 200 and not stored.
    pub lose_next: u32,
    /// So many of the next uploads are answered with 507.
    pub full_next: u32,
    /// Cuts, flips, losses, 507 and late 500 only happen to keys that hold this; to all where it is not said.
    pub only: Option<String>,
    /// Every signature is refused.
    pub deny: bool,
    /// Listings omit objects that are younger than this, in milliseconds.
    pub list_behind_ms: u64,
    /// What becomes of conditions.
    pub conditions: Conditions,
    /// Seed of all chance.
    pub seed: u64,
}

impl Orders {
    fn mean(&self, key: &str) -> bool {
        self.only.as_ref().is_none_or(|part| key.contains(part))
    }
}

/// Where orders are kept and faults are dealt out.
pub(super) struct Desk {
    state: Mutex<State>,
    pub(super) world: World,
}

struct State {
    orders: Orders,
    chance: Chance,
    counts: Counts,
    asked: Vec<Asked>,
    /// How often each access key was used.
    uses: BTreeMap<String, u32>,
    /// Access keys that were given out.
    given: u32,
    /// From when on it counts who comes although it asked to be left alone, on the monotonic clock.
    quiet_from: Duration,
    /// Until when it asked to be left alone, on the monotonic clock.
    quiet_until: Duration,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("orders", &self.orders()).finish_non_exhaustive()
    }
}

fn chance_of(orders: &Orders) -> Chance {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&orders.seed.to_le_bytes());
    Chance::from_key(key)
}

impl Desk {
    pub(super) fn new(orders: Orders) -> Desk {
        let chance = chance_of(&orders);
        let state = State {
            orders,
            chance,
            counts: Counts::default(),
            asked: Vec::new(),
            uses: BTreeMap::new(),
            given: 0,
            quiet_from: Duration::ZERO,
            quiet_until: Duration::ZERO,
        };
        Desk { state: Mutex::new(state), world: World::real() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(super) fn orders(&self) -> Orders {
        self.state().orders.clone()
    }

    /// Changes the orders; a new seed begins a new stream of chance.
    pub(super) fn change(&self, change: impl FnOnce(&mut Orders)) {
        let mut state = self.state();
        let seed = state.orders.seed;
        change(&mut state.orders);
        if state.orders.seed != seed {
            state.chance = chance_of(&state.orders);
        }
    }

    /// Notes that a request came; gives its number.
    pub(super) fn begin(&self, what: String) -> usize {
        let mut state = self.state();
        state.asked.push(Asked { what, begun: self.world.monotonic(), ended: None });
        state.asked.len() - 1
    }

    /// Notes that the answer to a request is ready.
    pub(super) fn end(&self, number: usize) {
        self.state().asked[number].ended = Some(self.world.monotonic());
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.state().counts);
    }

    /// Whether this request is answered with 503. Those that come although the server asked for quiet are counted.
    pub(super) fn is_unavailable(&self) -> bool {
        let mut state = self.state();
        let now = self.world.monotonic();
        state.counts.impatient += u64::from((state.quiet_from..state.quiet_until).contains(&now));
        if state.orders.busy_after > 0 {
            state.orders.busy_after -= 1;
            return false;
        }
        let per_mille = state.orders.unavailable_per_mille;
        let busy = taken(&mut state.orders.unavailable_next)
            || (per_mille > 0 && state.chance.below(1_000) < per_mille);
        if let Some(asked) = state.orders.retry_after_s.filter(|_| busy) {
            // What was on its way when it asked is no impatience.
            let on_the_way = Duration::from_millis(200);
            if now >= state.quiet_until {
                state.quiet_from = now + on_the_way;
            }
            state.quiet_until = now + Duration::from_secs(asked);
        }
        busy
    }

    /// Whether this access key has been used too often.
    pub(super) fn has_expired(&self, key: &str) -> bool {
        let mut state = self.state();
        if state.orders.expired_keys.iter().any(|expired| expired == key) {
            return true;
        }
        let Some(most) = state.orders.key_uses else { return false };
        let uses = state.uses.entry(key.to_owned()).or_default();
        *uses = uses.saturating_add(1);
        *uses > most
    }

    /// The number of another access key.
    pub(super) fn give_key(&self) -> u32 {
        let mut state = self.state();
        state.given += 1;
        state.given
    }

    /// Whether this object cannot be read.
    pub(super) fn is_unreadable(&self, key: &str) -> bool {
        self.state().orders.unreadable.as_ref().is_some_and(|part| key.contains(part))
    }

    pub(super) fn fails_after(&self, key: &str) -> bool {
        let mut state = self.state();
        state.orders.mean(key) && taken(&mut state.orders.fail_after_next)
    }

    pub(super) fn loses(&self, key: &str) -> bool {
        let mut state = self.state();
        state.orders.mean(key) && taken(&mut state.orders.lose_next)
    }

    pub(super) fn is_full(&self, key: &str) -> bool {
        let mut state = self.state();
        state.orders.mean(key) && taken(&mut state.orders.full_next)
    }

    /// Where in a body of `len` bytes, which begins at `start` of the object, a bit is flipped.
    pub(super) fn flip(&self, key: &str, start: u64, len: u64) -> Option<usize> {
        let mut state = self.state();
        let at = state.orders.flip_at.filter(|_| state.orders.mean(key))?.checked_sub(start)?;
        let flips = at < len && taken(&mut state.orders.flip_next);
        flips.then(|| usize::try_from(at).expect("a body fits into memory"))
    }

    /// After how many bytes this body ends, if it is longer than that.
    pub(super) fn cut(&self, key: &str, len: u64) -> Option<u64> {
        let mut state = self.state();
        if !state.orders.mean(key) {
            return None;
        }
        let after = state.orders.cut_after.filter(|after| *after < len)?;
        match &mut state.orders.cut_next {
            None => Some(after),
            Some(left) => taken(left).then_some(after),
        }
    }
}

fn taken(left: &mut u32) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}
