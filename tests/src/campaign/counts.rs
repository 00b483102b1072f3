//! What happened in a campaign, and how often.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// What sweeps say that they did, if they come to their end, as those at the end do.
const AT_THE_END: [&str; 2] = ["deleted packs", "moved frames"];

/// Who was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kill {
    Backup,
    Restore,
    Forget,
    Undo,
    Sweep,
    SweepDeleting,
}

/// Counters of a campaign. Bytes are those of content, which cannot be made smaller, or of packs where it says so.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Backups that ended with 0.
    pub points: u64,
    /// Killed backups.
    pub killed_backups: u64,
    /// Killed restores.
    pub killed_restores: u64,
    /// Killed `forget --apply` and `forget --undo`.
    pub killed_forgets: u64,
    /// Killed sweeps of which nobody saw them delete.
    pub killed_sweeps: u64,
    /// Killed sweeps that had deleted packs and were not done.
    pub killed_deleting: u64,
    /// Those among them that left condemned packs behind.
    pub killed_midway: u64,
    /// Restores that ended with 0 and were compared.
    pub restores: u64,
    /// Restores of points that were forgotten meanwhile, and that did not find all of them.
    pub restores_too_late: u64,
    /// Points whose forgetting was acknowledged.
    pub forgotten: u64,
    /// Points of which a forgetting was taken back.
    pub undone: u64,
    /// Points of which a sweep was faster than whoever took that back.
    pub undone_too_late: u64,
    /// Sweeps that ended with 0.
    pub sweeps: u64,
    /// Sweeps that ended with 5: somebody was at work.
    pub sweeps_waiting: u64,
    /// Packs that sweeps which came to their end say they deleted.
    pub packs_deleted: u64,
    /// Frames that such sweeps packed again.
    pub frames_moved: u64,
    /// Sessions that sweeps or people gave up.
    pub expired: u64,
    /// Commands but sweeps that ended with 5 and were run again.
    pub raced: u64,
    /// Points that nobody acknowledged, made or brought back by who was killed or raced.
    pub unacknowledged: u64,
    /// Those among them that `verify` finds damaged.
    pub unacknowledged_damaged: u64,
    /// Points that must be there at the end, and restore.
    pub live: u64,
    /// Those among them that were forgotten once.
    pub live_undone: u64,
    /// Content that only points hold which were acknowledged and are forgotten at the end.
    pub bytes_forgotten: u64,
    /// Content that live points hold, each piece once.
    pub bytes_live: u64,
    /// Bytes of all packs when the killing ended.
    pub bytes_before: u64,
    /// Bytes of all packs after the last sweep.
    pub bytes_stored: u64,
    /// Time of the campaign itself.
    pub time: Duration,
    /// Time with all that is checked at the end.
    pub time_all: Duration,
}

impl Counts {
    /// All processes that were killed.
    pub fn kills(&self) -> u64 {
        self.killed_backups
            + self.killed_restores
            + self.killed_forgets
            + self.killed_sweeps
            + self.killed_deleting
    }

    /// Forgotten content that is surely gone. All that packs hold at the end beyond the content of live points counts as not
    /// freed: directories, trees and runs, what nobody acknowledged, and forgotten content in frames that are needed.
    pub fn bytes_freed(&self) -> u64 {
        self.bytes_forgotten.saturating_sub(self.bytes_stored.saturating_sub(self.bytes_live))
    }

    /// Whether at least half of what was forgotten is gone.
    pub fn freed_half(&self) -> bool {
        self.bytes_freed() * 2 >= self.bytes_forgotten
    }

    /// What never happened of all that a campaign is there for.
    pub fn missing(&self) -> Vec<&'static str> {
        let kinds = [
            ("points", self.points),
            ("killed backups", self.killed_backups),
            ("killed restores", self.killed_restores),
            ("killed forgets", self.killed_forgets),
            ("killed sweeps", self.killed_sweeps),
            ("sweeps killed while they deleted", self.killed_deleting),
            ("restores", self.restores),
            ("forgotten points", self.forgotten),
            ("points that were taken back", self.undone),
            ("sweeps", self.sweeps),
            (AT_THE_END[0], self.packs_deleted),
            (AT_THE_END[1], self.frames_moved),
            ("sessions that were given up", self.expired),
        ];
        kinds.into_iter().filter(|(_, count)| *count == 0).map(|(kind, _)| kind).collect()
    }

    /// Whether something never happened that cannot happen any more when the killing is over.
    pub(super) fn is_missing(&self) -> bool {
        self.missing().iter().any(|kind| !AT_THE_END.contains(kind))
    }

    /// Adds what a sweep says that it did.
    pub(super) fn add_swept(&mut self, did: &Value) {
        self.packs_deleted += did["deleted"]["packs"].as_u64().unwrap_or_default();
        self.frames_moved += did["moved"]["frames"].as_u64().unwrap_or_default();
        self.expired += did["expired"].as_array().map_or(0, Vec::len) as u64;
    }

    pub(super) fn kill(&mut self, who: Kill) {
        match who {
            Kill::Backup => self.killed_backups += 1,
            Kill::Restore => self.killed_restores += 1,
            Kill::Forget | Kill::Undo => self.killed_forgets += 1,
            Kill::Sweep => self.killed_sweeps += 1,
            Kill::SweepDeleting => self.killed_deleting += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (undone, late, live) = (self.undone, self.undone_too_late, self.live);
        writeln!(
            f,
            "points {}, forgotten {}, taken back {undone} (too late {late}), live at the end {live}, {} of them taken back; \
             not acknowledged {}, damaged of those {}",
            self.points, self.forgotten, self.live_undone, self.unacknowledged, self.unacknowledged_damaged
        )?;
        writeln!(
            f,
            "kills {}: backups {}, restores {}, forgets {}, sweeps {}, and {} while they deleted ({} left condemned packs)",
            self.kills(),
            self.killed_backups,
            self.killed_restores,
            self.killed_forgets,
            self.killed_sweeps,
            self.killed_deleting,
            self.killed_midway
        )?;
        writeln!(
            f,
            "restores {}, too late {}; sweeps done {}, waiting {}; packs deleted {}, frames moved {}, sessions given up {}; \
             raced {}",
            self.restores,
            self.restores_too_late,
            self.sweeps,
            self.sweeps_waiting,
            self.packs_deleted,
            self.frames_moved,
            self.expired,
            self.raced
        )?;
        write!(
            f,
            "bytes forgotten {}, freed {} ({} %), live {}, in packs {} and after the last sweep {}; time {:.0} s, with the \
             checks at the end {:.0} s",
            self.bytes_forgotten,
            self.bytes_freed(),
            (self.bytes_freed() * 100).checked_div(self.bytes_forgotten).unwrap_or_default(),
            self.bytes_live,
            self.bytes_before,
            self.bytes_stored,
            self.time.as_secs_f64(),
            self.time_all.as_secs_f64()
        )
    }
}
