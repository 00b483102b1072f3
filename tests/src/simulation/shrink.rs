//! A shorter history that breaks the same: actors are left out one by one, then faults, then the end.
//!
//! Each choice of a history comes from a stream of its own, so what stays goes its way as before, as far as nobody met
//! those who are gone.

use std::path::Path;

use super::history::{Outcome, play};
use super::plan::{Cut, Plan};
use super::plant::Plant;

/// What is left of a history.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What was cut away.
    pub cut: Cut,
    /// What came of the rest, with its trace.
    pub outcome: Outcome,
}

/// Cuts away from the history of `seed`, which breaks, as long as the same is broken.
pub fn shrink(seed: u64, plant: Option<Plant>, room: &Path) -> Shrunk {
    let whole = Plan::draw(seed, plant);
    let first = play(&whole, room, false);
    let sort = first.broken.first().map(|what| sort_of(what)).unwrap_or_default();
    let breaks = |cut: &Cut| {
        let outcome = play(&whole.clone().cut(cut), room, false);
        outcome.broken.iter().any(|what| sort_of(what) == sort).then_some(outcome)
    };
    let mut cut = Cut::default();
    for role in whole.roles.iter().rev() {
        let mut less = cut.clone();
        less.actors.insert(role.actor);
        cut = breaks(&less).map_or(cut, |_| less);
    }
    for fault in whole.odds_later.keys() {
        let mut less = cut.clone();
        less.faults.insert(*fault);
        cut = breaks(&less).map_or(cut, |_| less);
    }
    shorten(&mut cut, &breaks);
    let outcome = play(&whole.clone().cut(&cut), room, true);
    Shrunk { cut, outcome }
}

/// Ends the history earlier, by halves.
fn shorten(cut: &mut Cut, breaks: &dyn Fn(&Cut) -> Option<Outcome>) {
    let Some(outcome) = breaks(cut) else { return };
    let (mut too_few, mut enough) = (0, outcome.counts.steps);
    while too_few + 1 < enough {
        let steps_max = (too_few + enough) / 2;
        let less = Cut { steps_max: Some(steps_max), ..cut.clone() };
        match breaks(&less) {
            Some(_) => (enough, *cut) = (steps_max, less),
            None => too_few = steps_max,
        }
    }
}

/// The words of a sentence without its ids and numbers.
fn sort_of(what: &str) -> String {
    let plain = |word: &&str| !word.chars().any(|c| c.is_ascii_digit());
    what.split(' ').filter(plain).collect::<Vec<_>>().join(" ")
}
