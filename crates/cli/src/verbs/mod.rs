//! One file per verb: its words, what it calls, what it says.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod cat;
pub(crate) mod catalog;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod hold;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod pin;
pub(crate) mod points;
pub(crate) mod release;
pub(crate) mod rescue;
pub(crate) mod restore;
pub(crate) mod session;
pub(crate) mod stats;
pub(crate) mod sweep;
pub(crate) mod verify;
pub(crate) mod writer;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use format::id::PointId;
use format::path::TreePath;
use repo::{Kept, PointRecord, Repo};
use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::show;

/// The word for the newest point.
const LATEST: &str = "latest";

/// The point that was asked for. `latest` of several sources could mean any of them, so then one must be named.
pub(crate) fn choose(
    context: &Context,
    repo: &Repo,
    asked: &str,
    source: Option<&str>,
) -> Result<PointRecord, Error> {
    if asked != LATEST {
        return Ok(repo.find_point(asked, source)?);
    }
    check_source(repo, source)?;
    let chosen = repo.find_point(asked, source)?;
    tell_passed_by(context, repo, &chosen, i64::MAX);
    Ok(chosen)
}

/// The newest point of a moment, in UTC nanoseconds.
pub(crate) fn choose_at(
    context: &Context,
    repo: &Repo,
    source: Option<&str>,
    at: i64,
) -> Result<PointRecord, Error> {
    check_source(repo, source)?;
    let chosen = repo.point_at(source, at)?;
    tell_passed_by(context, repo, &chosen, at);
    Ok(chosen)
}

/// Whoever asked for the newest is not given an older one without a word.
fn tell_passed_by(context: &Context, repo: &Repo, chosen: &PointRecord, at: i64) {
    if let Some(newer) = repo.passed_by(chosen, at) {
        let (newer, chosen) = (show::short(newer), show::short(chosen.point.id));
        context.out.warning(format!(
            "point {newer} is newer, but its backup was given up and parts of it are gone: {chosen} is taken instead"
        ));
    }
}

/// As [`choose`], but a point that was forgotten can be named too, by its id.
pub(crate) fn choose_any(
    context: &Context,
    repo: &Repo,
    asked: &str,
    source: Option<&str>,
) -> Result<PointRecord, Error> {
    let fold = repo.fold();
    let forgotten = fold.forgotten(source);
    let ids: Vec<PointId> = forgotten.iter().map(|record| record.point.id).collect();
    match choose(context, repo, asked, source) {
        Err(Error::Repo(repo::Error::NoPoint { .. }))
            if ids.iter().any(|id| id.to_string().starts_with(asked)) =>
        {
            let id = only_one("forgotten point", asked, &ids)?;
            Ok(fold.points[&id].clone())
        }
        chosen => chosen,
    }
}

/// Names the points that could not be kept, and gives how a verb ended that was to keep them.
pub(crate) fn tell_gone(context: &Context, kept: &Kept) -> Outcome {
    for id in &kept.gone {
        let id = show::short(id);
        context.out.warning(format!("point {id} is gone: a sweep took what it needs, or is about to"));
    }
    if kept.gone.is_empty() { Outcome::Done } else { Outcome::Incomplete }
}

/// Ids for scripts.
pub(crate) fn ids<I: std::fmt::Display>(ids: &BTreeSet<I>) -> Value {
    ids.iter().map(|id| Value::from(id.to_string())).collect()
}

/// How a verb ended that answers from the whole history: what is lost of it may be what was asked for.
pub(crate) fn of_history(repo: &Repo) -> Outcome {
    if repo.history_damage().is_empty() { Outcome::Done } else { Outcome::Damaged }
}

/// Refuses a source that has no point, which is mostly a typing mistake.
pub(crate) fn check_known(repo: &Repo, source: Option<&str>) -> Result<(), Error> {
    if source.is_some() { check_source(repo, source) } else { Ok(()) }
}

/// Refuses a source that has no point, and no source where there are several.
pub(crate) fn check_source(repo: &Repo, source: Option<&str>) -> Result<(), Error> {
    let fold = repo.fold();
    let mut sources: Vec<String> =
        fold.live(None).iter().map(|p| show::bytes(p.point.source.as_bytes())).collect();
    sources.sort_unstable();
    sources.dedup();
    match source {
        Some(named) if !sources.is_empty() && fold.live(Some(named)).is_empty() => {
            Err(Error::Request(format!(
                "there is no point of {}; there are points of {}",
                show::bytes(named.as_bytes()),
                sources.join(", ")
            )))
        }
        None if sources.len() > 1 => Err(Error::Request(format!(
            "several sources have points, so say which one with --source: {}",
            sources.join(", ")
        ))),
        _ => Ok(()),
    }
}

/// A path in a point as it was typed; a slash at its start or its end makes no difference.
pub(crate) fn tree_path(typed: &OsStr) -> Result<TreePath, Error> {
    let mut bytes = typed.as_bytes();
    while let Some(rest) = bytes.strip_prefix(b"/") {
        bytes = rest;
    }
    while let Some(rest) = bytes.strip_suffix(b"/") {
        bytes = rest;
    }
    let bad = |why| Error::Request(format!("{} is no path in a point: {why}", typed.display()));
    TreePath::new(if bytes == b"." { b"" } else { bytes }).map_err(bad)
}

/// The id that `asked` is, or is the first digits of.
pub(crate) fn only_one<I: Copy + std::fmt::Display>(what: &str, asked: &str, ids: &[I]) -> Result<I, Error> {
    let fits = |id: &&I| !asked.is_empty() && id.to_string().starts_with(asked);
    match ids.iter().filter(fits).copied().collect::<Vec<I>>()[..] {
        [one] => Ok(one),
        [] => Err(Error::Request(format!("there is no {what} {asked}"))),
        _ => Err(Error::Request(format!("{asked} could be more than one {what}: type more digits"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_point_may_be_typed_with_slashes_around_it() {
        for (typed, meant) in
            [("a/b", "a/b"), ("/a/b/", "a/b"), ("/", ""), (".", ""), ("", ""), ("a b", "a b")]
        {
            assert_eq!(tree_path(OsStr::new(typed)).unwrap().as_bytes(), meant.as_bytes(), "{typed}");
        }
        assert!(tree_path(OsStr::new("a/../b")).is_err() && tree_path(OsStr::new("a//b")).is_err());
    }

    #[test]
    fn first_digits_mean_one_thing_or_nothing() {
        let ids = ["abc1", "abd2"];
        assert_eq!(only_one("key slot", "abc", &ids).unwrap(), "abc1");
        for bad in ["ab", "", "x"] {
            assert!(only_one("key slot", bad, &ids).is_err(), "{bad}");
        }
    }
}
