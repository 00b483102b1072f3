//! The table of mutations: each row takes one rule away and names the scenario that then loses data, hangs,
//! writes a name twice or wastes work.

use repo::protocol::{Rule, Rules};

use super::scenario::Scenario;
use super::scenarios as s;
use super::world::Broken::{
    self, ClosureMissing, HoleInChain, NameWrittenAgain, PointLost, RestoreDamaged, RevivedPointLost, Stuck,
    UploadCondemned,
};

/// One rule removed.
pub struct Row {
    pub mutation: &'static str,
    pub rule: Rule,
    pub scenario: fn(Rules) -> Scenario,
    pub broken: Broken,
}

const fn row(mutation: &'static str, rule: Rule, scenario: fn(Rules) -> Scenario, broken: Broken) -> Row {
    Row { mutation, rule, scenario, broken }
}

pub const ROWS: &[Row] = &[
    row("session object written after reading", Rule::SessionBeforeReading, s::renewing, PointLost),
    row("session object written after reading", Rule::SessionBeforeReading, s::undoing, RevivedPointLost),
    row("roots not checked", Rule::RootsAreChecked, s::two_folds, PointLost),
    row("root that nobody acknowledged", Rule::RootsAreAcknowledged, s::sharing, PointLost),
    row("root witnessed in one list", Rule::WitnessReadsTwice, s::witnessing_high, PointLost),
    row("basis that is not a root", Rule::BasisIsRoot, s::two_folds, PointLost),
    row("references not checked", Rule::ReferencesAreChecked, s::renewing, PointLost),
    row("condemned places counted", Rule::CondemnedIsNoPlace, s::moving, PointLost),
    row("entry before its packs", Rule::DataBeforeEntry, s::expiry, PointLost),
    row("renewal without re-check", Rule::RecheckBeforeRenewal, s::renewing, PointLost),
    row("commit between check and renewal", Rule::NothingDuringRenewal, s::renewing, PointLost),
    row("renewal covers what it does not state", Rule::CoversAreStated, s::renewing, PointLost),
    row("acknowledging without reading expiries", Rule::AcknowledgeAfterExpiries, s::expiry, PointLost),
    row(
        "acknowledging without reading expiries",
        Rule::AcknowledgeAfterExpiries,
        s::undoing,
        RevivedPointLost,
    ),
    row("expiry that voids", Rule::ExpiryVoidsNothing, s::basis, PointLost),
    row("undo outside a session", Rule::ReviveInSession, s::undoing, RevivedPointLost),
    row("revived points taken unchecked", Rule::RevivedIsChecked, s::reviving_again, RevivedPointLost),
    row("sessions listed before logs", Rule::LogsBeforeSessions, s::two_folds, PointLost),
    row("logs not listed again behind sessions", Rule::LogsAfterSessions, s::two_folds, PointLost),
    row("roots ignored in the second fold", Rule::RootsAreNeeded, s::two_folds, PointLost),
    row("roots ignored in the second fold", Rule::RootsAreNeeded, s::restoring, RestoreDamaged),
    row("offset listing", Rule::CompleteListing, s::moving, PointLost),
    row("list error taken for empty", Rule::FailedListStops, s::faults, PointLost),
    row("uploads of running sessions condemned", Rule::OrphansOfEndedSessions, s::expiry, UploadCondemned),
    row("finishing without waiting", Rule::FinishWaits, s::renewing, PointLost),
    row("deleting without folding again", Rule::FinishFoldsAfterWaiting, s::renewing, PointLost),
    row("session held while waiting", Rule::NoSessionWhileWaiting, s::two_folds, Stuck),
    row("deleting without copying", Rule::CopyBeforeDelete, s::moving, PointLost),
    row("deleting what another sweep may announce", Rule::FreesOnlyBrought, s::moving, PointLost),
    row("announced without read-back", Rule::ReadBackBeforeAnnounce, s::faults, PointLost),
    row("deleting before announcing", Rule::AnnounceBeforeDelete, s::moving, PointLost),
    row("no second fold when a source vanished", Rule::FoldAgainWhenVanished, s::moving, PointLost),
    row("deleting what did not read", Rule::NotCopiedIsNotDeleted, s::misreading, PointLost),
    row("moved counted unchecked, from anybody", Rule::MovedIsTrustedOrChecked, s::hearsay, PointLost),
    row("session object deleted before its end", Rule::SessionObjectsUntilEnd, s::two_folds, PointLost),
    row("restore that does not look again", Rule::RestoreLooksAgain, s::moving, RestoreDamaged),
    row("a name written again", Rule::NamesOnce, s::faults, NameWrittenAgain),
    row("replication outside a session", Rule::ReplicateInSessions, s::replication, ClosureMissing),
    row("replication: entry before closure", Rule::ClosureBeforeEntry, s::replication, ClosureMissing),
    row("replication: absent packs not announced", Rule::AbsentIsAnnounced, s::replication, ClosureMissing),
    row("replication: entries out of order", Rule::EntriesInOrder, s::replication, HoleInChain),
    row("replication without read-back", Rule::ReadBackBeforeCounting, s::interrupted, PointLost),
    row("region counts without read-back", Rule::ReadBackBeforeCounting, s::counting, ClosureMissing),
    row("region lacks the previous entry", Rule::PreviousEntryBeforeCounting, s::counting, HoleInChain),
];
