//! `catalog`: the SQLite file that says what the log says; only a cache.

use clap::Subcommand;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::show;

/// Make the catalog anew, or compare it with the repository
///
/// The catalog is an SQLite file in the state directory. It may be deleted at any time: the next command makes it anew.
#[derive(clap::Args)]
pub(crate) struct Catalog {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Make it anew from the repository alone
    Rebuild,
    /// Compare it with the repository; each difference is a line
    Check,
}

impl Catalog {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        match self.act {
            Act::Rebuild => rebuild(context),
            Act::Check => check(context),
        }
    }
}

fn rebuild(context: &Context) -> Result<Outcome, Error> {
    let repo = context.open()?;
    let fold = repo.rebuild_catalog()?;
    let path = repo.state().path("catalog.sqlite");
    let (points, packs, entries) = (fold.points.len(), fold.packs.len(), repo.log().entries.len());
    let body = json!({
        "act": "rebuild",
        "file": path.to_string_lossy(),
        "entries": entries,
        "points": points,
        "packs": packs,
    });
    context.out.summary("catalog/1", body, |out| {
        let entries = show::count(entries as u64, "log entry");
        let (points, packs) = (show::count(points as u64, "point"), show::count(packs as u64, "pack"));
        writeln!(out, "made {} anew from {entries}: {points}, {packs}", path.display())
    })?;
    Ok(Outcome::Done)
}

fn check(context: &Context) -> Result<Outcome, Error> {
    let repo = context.open()?;
    let differences = repo.check_catalog()?;
    let path = repo.state().path("catalog.sqlite");
    let body = json!({ "act": "check", "file": path.to_string_lossy(), "differences": differences });
    let same = differences.is_empty();
    context.out.result("catalog/1", body, |out| {
        differences.iter().try_for_each(|difference| writeln!(out, "{difference}"))?;
        if same { writeln!(out, "{} says what the repository says", path.display()) } else { Ok(()) }
    })?;
    if same {
        return Ok(Outcome::Done);
    }
    context.out.hint(&format!("run `seawall catalog rebuild{}`", context.shown_flags()));
    Ok(Outcome::Failed)
}
