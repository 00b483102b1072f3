//! Commands before and after a backup: first the one, then the backup, then the other whatever came of it.
//!
//! What the first made, the second must remove, so once the first has succeeded the second runs: when the backup fails and
//! when somebody ends it too. Only a kill leaves it out.

use std::ffi::OsString;

use repo::Repo;
use source::hook;

use super::Report;
use crate::error::Error;

/// Commands to be run around a backup, each by `sh -c`.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Before anything is read; if it fails there is no point.
    pub before: Option<OsString>,
    /// After the point is there, or will not be.
    pub after: Option<OsString>,
}

const SOURCE: &str = "SEAWALL_SOURCE";
const POINT: &str = "SEAWALL_POINT";
const OUTCOME: &str = "SEAWALL_OUTCOME";

impl Hooks {
    /// Runs `make` between the two. It is told the moment at which the first had returned, if there is one.
    pub(super) fn around(
        &self,
        repo: &Repo,
        source: &str,
        make: impl FnOnce(Option<i64>) -> Result<Report, Error>,
    ) -> Result<Report, Error> {
        let begun = self.before.as_ref().map(|command| {
            let variables = [(SOURCE, Some(source)), (POINT, None), (OUTCOME, None)];
            hook::run("before", command, &variables)?;
            Ok::<i64, Error>(repo.world().now_ns())
        });
        let begun = match begun.transpose() {
            // Whoever ends us from a terminal ends the command too.
            Err(_) if repo.world().is_stopped() => return Err(Error::Stopped),
            begun => begun?,
        };
        let made = make(begun);
        let Some(command) = &self.after else { return made };
        let point = made.as_ref().ok().map(|report| report.point.to_string());
        let variables = [(SOURCE, Some(source)), (POINT, point.as_deref()), (OUTCOME, Some(outcome(&made)))];
        match (made, hook::run("after", command, &variables)) {
            (made, Ok(())) => made,
            (Ok(report), Err(failed)) => Ok(Report { after: Some(failed), ..report }),
            (Err(error), Err(after)) => Err(Error::AfterToo { error: Box::new(error), after }),
        }
    }
}

fn outcome(made: &Result<Report, Error>) -> &'static str {
    match made {
        Ok(report) if report.problems.is_empty() => "done",
        Ok(_) => "incomplete",
        Err(Error::Stopped) => "interrupted",
        Err(_) => "failed",
    }
}
