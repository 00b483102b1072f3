//! What happened in histories, counted and summed: a run in which something never happened has not tried it.

use std::collections::BTreeMap;
use std::fmt;

use storage::Fault;

/// How often each thing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Histories that were played.
    pub histories: u64,
    /// Calls of the store.
    pub steps: u64,
    /// Points that a writer acknowledged.
    pub commits: u64,
    /// Chunks that were found in the pack of another source.
    pub shared: u64,
    /// Points that came back byte for byte, during histories and at their ends.
    pub restores: u64,
    /// Verifications that came to a verdict.
    pub verifications: u64,
    /// Checks of the history with public keys alone.
    pub audits: u64,
    /// Catalogs that were compared with a fresh fold.
    pub catalogs: u64,
    /// Lives that ended in the middle of a call.
    pub crashes: u64,
    /// Lives that began with an older copy of their state.
    pub old_states: u64,
    /// Lives that began with a copy of the state of another host.
    pub clones: u64,
    /// Points that were forgotten.
    pub forgets: u64,
    /// Points whose forgetting was taken back.
    pub undos: u64,
    /// Points that were pinned or held.
    pub holds: u64,
    /// Sweeps that came to their end.
    pub sweeps: u64,
    /// Parts by which sweeps condemned packs.
    pub condemnations: u64,
    /// Sessions that were given up as silent.
    pub expiries: u64,
    /// Frames that were moved.
    pub moves: u64,
    /// Acts that ended with an error.
    pub failures: u64,
    /// Packs that were deleted.
    pub deletions: u64,
    /// Objects of sessions that were deleted.
    pub cleared: u64,
    /// Calls that met each fault.
    pub faults: BTreeMap<Fault, u64>,
}

impl Counts {
    /// Adds those of another history.
    pub fn add(&mut self, other: &Counts) {
        let mine = self.numbers_mut().into_iter();
        mine.zip(other.numbers()).for_each(|(sum, (_, number))| *sum += number);
        other.faults.iter().for_each(|(fault, count)| *self.faults.entry(*fault).or_default() += count);
    }

    /// What never happened of all that these histories are there for.
    pub fn missing(&self, faults: &[Fault]) -> Vec<String> {
        let never = self.numbers().into_iter().filter(|(_, count)| *count == 0);
        let never = never.map(|(name, _)| name.to_owned());
        let unmet = faults.iter().filter(|fault| self.faults.get(fault).is_none_or(|count| *count == 0));
        never.chain(unmet.map(|fault| format!("fault {fault:?}"))).collect()
    }

    /// All faults together.
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }

    fn numbers(&self) -> [(&'static str, u64); 21] {
        [
            ("histories", self.histories),
            ("steps", self.steps),
            ("commits", self.commits),
            ("shared chunks", self.shared),
            ("restores", self.restores),
            ("verifications", self.verifications),
            ("audits", self.audits),
            ("catalogs", self.catalogs),
            ("crashes", self.crashes),
            ("old states", self.old_states),
            ("clones", self.clones),
            ("forgets", self.forgets),
            ("undos", self.undos),
            ("holds", self.holds),
            ("sweeps", self.sweeps),
            ("condemnations", self.condemnations),
            ("expiries", self.expiries),
            ("moves", self.moves),
            ("failures", self.failures),
            ("deletions", self.deletions),
            ("cleared", self.cleared),
        ]
    }

    fn numbers_mut(&mut self) -> [&mut u64; 21] {
        [
            &mut self.histories,
            &mut self.steps,
            &mut self.commits,
            &mut self.shared,
            &mut self.restores,
            &mut self.verifications,
            &mut self.audits,
            &mut self.catalogs,
            &mut self.crashes,
            &mut self.old_states,
            &mut self.clones,
            &mut self.forgets,
            &mut self.undos,
            &mut self.holds,
            &mut self.sweeps,
            &mut self.condemnations,
            &mut self.expiries,
            &mut self.moves,
            &mut self.failures,
            &mut self.deletions,
            &mut self.cleared,
        ]
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.numbers().map(|(name, count)| format!("{name} {count}"));
        write!(f, "{}", numbers.join(", "))?;
        let faults: Vec<String> =
            self.faults.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
        write!(f, "\nfaults {}: {}", self.faults(), faults.join(", "))
    }
}
