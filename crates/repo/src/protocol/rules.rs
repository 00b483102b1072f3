//! The ordering rules of the protocols, each with a name.
//!
//! Production can only make [`Rules::all`]. The model takes single rules away and demands that an explorer
//! then finds a history that loses data, hangs or writes a name twice; a rule whose removal changes nothing
//! is not a rule. The doc comment of each variant is the rule.

/// One ordering rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rule {
    /// A session object is written before its session reads the region.
    SessionBeforeReading,
    /// A root counts only if it is live in a fold read after the session object was written, or if its whole
    /// closure has uncondemned places there; otherwise the session gives it up.
    RootsAreChecked,
    /// A live root is taken unchecked only if its writer is known to have acknowledged it, or if the session reads expiries
    /// in its place.
    RootsAreAcknowledged,
    /// Reading expiries in a writer's place takes two lists: one that showed its entry before this session began, and that of
    /// the session, which shows no expiry.
    WitnessReadsTwice,
    /// What is reused without a check lies under a root that the session object names.
    BasisIsRoot,
    /// Any other reference needs a place that the fold shows.
    ReferencesAreChecked,
    /// A condemned place is no place, whoever condemned it.
    CondemnedIsNoPlace,
    /// Packs are stored before the entry that brings them.
    DataBeforeEntry,
    /// A renewal is written after all uncommitted references were checked again.
    RecheckBeforeRenewal,
    /// No reference and no commit passes between the check and the renewal.
    NothingDuringRenewal,
    /// A renewal covers the condemned parts that it states and no other.
    CoversAreStated,
    /// A commit is acknowledged after expiries were read behind its entry, and only if none names its session.
    AcknowledgeAfterExpiries,
    /// An expiry lets sweeps stop waiting and voids nothing.
    ExpiryVoidsNothing,
    /// Undo and hold happen inside a session whose root is the point.
    ReviveInSession,
    /// A root that was ever forgotten is checked: what brought it back may not count, and parts of it be gone.
    RevivedIsChecked,
    /// A fold lists logs first and session objects after them.
    LogsBeforeSessions,
    /// A fold lists logs once more after the session objects, and what either list needs is needed.
    LogsAfterSessions,
    /// Roots of running sessions are needed.
    RootsAreNeeded,
    /// Logs are listed completely, never from an offset.
    CompleteListing,
    /// A list that failed stops the sweep; it is not an empty list.
    FailedListStops,
    /// A pack that no entry brings is condemned only when its uploading session ended or expired.
    OrphansOfEndedSessions,
    /// Finishing waits for every session that it listed.
    FinishWaits,
    /// Finishing folds after it waited.
    FinishFoldsAfterWaiting,
    /// No session is held while waiting; the one that copies is opened behind the wait and covers the parts.
    NoSessionWhileWaiting,
    /// Needed frames without an uncondemned place are copied before a pack is deleted that they lie in.
    CopyBeforeDelete,
    /// What is deleted before a copy was brought by an entry: whatever else lies in a pack may be announced any moment, and
    /// be the last place of a frame.
    FreesOnlyBrought,
    /// A copy is read back before it is announced.
    ReadBackBeforeAnnounce,
    /// A copy is announced before its source is deleted.
    AnnounceBeforeDelete,
    /// When the source of a copy had vanished, the sweep folds again before it deletes.
    FoldAgainWhenVanished,
    /// What could not be copied is not deleted either: it may be there all the same.
    NotCopiedIsNotDeleted,
    /// A moved place counts only if a maintainer announced it or this sweep read it.
    MovedIsTrustedOrChecked,
    /// A session object is deleted only when its end or expiry was in the fold.
    SessionObjectsUntilEnd,
    /// A restore that finds a frame in no place lists the logs again and tries new places before it reports.
    RestoreLooksAgain,
    /// A pack whose upload has an unknown outcome is uploaded again under a new name.
    NamesOnce,
    /// Replication holds a session at both ends, with the replicated points as roots.
    ReplicateInSessions,
    /// Replication stores the closure in the target before the entry that needs it.
    ClosureBeforeEntry,
    /// A replica says which packs of an entry it did not store, before it holds the entry.
    AbsentIsAnnounced,
    /// Replication copies a chain's entries in the order of the chain.
    EntriesInOrder,
    /// What was stored for another region is read back before the entry that needs it is written there.
    ReadBackBeforeCounting,
    /// A writer writes into a region only if the region holds the writer's previous entry.
    PreviousEntryBeforeCounting,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 40] = [
        Rule::SessionBeforeReading,
        Rule::RootsAreChecked,
        Rule::RootsAreAcknowledged,
        Rule::WitnessReadsTwice,
        Rule::BasisIsRoot,
        Rule::ReferencesAreChecked,
        Rule::CondemnedIsNoPlace,
        Rule::DataBeforeEntry,
        Rule::RecheckBeforeRenewal,
        Rule::NothingDuringRenewal,
        Rule::CoversAreStated,
        Rule::AcknowledgeAfterExpiries,
        Rule::ExpiryVoidsNothing,
        Rule::ReviveInSession,
        Rule::RevivedIsChecked,
        Rule::LogsBeforeSessions,
        Rule::LogsAfterSessions,
        Rule::RootsAreNeeded,
        Rule::CompleteListing,
        Rule::FailedListStops,
        Rule::OrphansOfEndedSessions,
        Rule::FinishWaits,
        Rule::FinishFoldsAfterWaiting,
        Rule::NoSessionWhileWaiting,
        Rule::CopyBeforeDelete,
        Rule::FreesOnlyBrought,
        Rule::ReadBackBeforeAnnounce,
        Rule::AnnounceBeforeDelete,
        Rule::FoldAgainWhenVanished,
        Rule::NotCopiedIsNotDeleted,
        Rule::MovedIsTrustedOrChecked,
        Rule::SessionObjectsUntilEnd,
        Rule::RestoreLooksAgain,
        Rule::NamesOnce,
        Rule::ReplicateInSessions,
        Rule::ClosureBeforeEntry,
        Rule::AbsentIsAnnounced,
        Rule::EntriesInOrder,
        Rule::ReadBackBeforeCounting,
        Rule::PreviousEntryBeforeCounting,
    ];
}

/// The rules that a step function keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules {
    removed: u64,
}

impl Rules {
    /// Every rule holds: the only value that production uses.
    pub const fn all() -> Self {
        Self { removed: 0 }
    }

    /// The rules less one. Only the model may call this; what runs on it loses data.
    #[doc(hidden)]
    pub const fn without(self, rule: Rule) -> Self {
        Self { removed: self.removed | 1 << rule as u8 }
    }

    pub(crate) const fn keep(self, rule: Rule) -> bool {
        self.removed & (1 << rule as u8) == 0
    }
}
