//! What an error asks of its caller. Retries, exit codes and hints all come from this one answer.

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remedy {
    /// The same call may succeed in a moment: a store that is busy or out of reach.
    Retry,
    /// Look at the repository again, then do it again: somebody else was faster.
    Refresh,
    /// What was asked for is wrong: a name, a key, a permission, a target.
    Correct,
    /// Stored data is damaged; another copy or a repair can help.
    Repair,
    /// Nothing helps here: stop.
    Stop,
    /// One item failed; name it and go on.
    Report,
}

/// An error that answers what it asks of its caller.
pub trait Remedied: std::error::Error {
    /// What helps against this error.
    fn remedy(&self) -> Remedy;
}
