//! What a piece of work tells the person who watches it; never needed for a result.

/// Something that happened, said as it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A new part of the work begins.
    Phase(&'a str),
    /// This much more is to be done in this phase.
    Expect {
        /// Files, packs, or what else the phase counts.
        items: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// This much more is done in this phase.
    Done {
        /// Files, packs, or what else the phase counts.
        items: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// A thing that a person should see now, though the work goes on.
    Notice(&'a str),
}

/// Whoever watches.
pub trait Progress: Send + Sync {
    /// Takes note of `step`; must not block for long.
    fn report(&self, step: Step<'_>);
}

/// Nobody watches.
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Step<'_>) {}
}
