//! What was injected, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

use super::harm::{Kind, Way};
use super::trial::{Ended, Fate};

/// Counts of injections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    fates: BTreeMap<Fate, u64>,
    kinds: BTreeMap<Kind, u64>,
    ways: BTreeMap<Way, u64>,
    hosts_that_remember: u64,
    swept: u64,
    backups: u64,
}

impl Counts {
    pub(super) fn add(&mut self, ended: &Ended) {
        *self.fates.entry(ended.fate).or_default() += 1;
        for harm in &ended.harms {
            *self.kinds.entry(harm.kind).or_default() += 1;
            *self.ways.entry(harm.way).or_default() += 1;
        }
        self.hosts_that_remember += u64::from(ended.remembers);
        self.swept += u64::from(ended.swept);
        self.backups += u64::from(ended.backed_up);
    }

    /// All of them.
    pub fn injections(&self) -> u64 {
        self.fates.values().sum()
    }

    /// Kinds of objects, ways to harm them and fates that never came up.
    pub fn missing(&self) -> Vec<String> {
        let fates =
            Fate::ALL.iter().filter(|fate| !self.fates.contains_key(fate)).map(|it| format!("{it:?}"));
        let kinds = super::harm::KINDS.iter().filter(|(kind, _)| !self.kinds.contains_key(kind));
        let ways = super::harm::WAYS.iter().filter(|way| !self.ways.contains_key(way));
        fates.chain(kinds.map(|it| format!("{:?}", it.0))).chain(ways.map(|it| format!("{it:?}"))).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "injections {}: {}", self.injections(), row(&self.fates))?;
        writeln!(f, "objects: {}", row(&self.kinds))?;
        writeln!(f, "ways: {}", row(&self.ways))?;
        write!(
            f,
            "hosts that remember {}, sweeps that went through {}, full backups that succeeded and came back {}",
            self.hosts_that_remember, self.swept, self.backups
        )
    }
}

fn row<K: fmt::Debug>(counts: &BTreeMap<K, u64>) -> String {
    let cells: Vec<String> = counts.iter().map(|(what, count)| format!("{what:?} {count}")).collect();
    cells.join(", ")
}
