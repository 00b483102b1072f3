//! One file per verb: its words, what it calls, what it says.

pub(crate) mod backup;
pub(crate) mod cat;
pub(crate) mod catalog;
pub(crate) mod completions;
pub(crate) mod find;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod points;
pub(crate) mod restore;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use format::path::TreePath;
use repo::{PointRecord, Repo};

use crate::error::Error;

/// The word for the newest point.
const LATEST: &str = "latest";

/// The point that was asked for. `latest` of several sources could mean any of them, so then one must be named.
pub(crate) fn choose(repo: &Repo, asked: &str, source: Option<&str>) -> Result<PointRecord, Error> {
    if asked == LATEST {
        check_source(repo, source)?;
    }
    Ok(repo.find_point(asked, source)?)
}

/// Refuses a source that has no point, and no source where there are several.
pub(crate) fn check_source(repo: &Repo, source: Option<&str>) -> Result<(), Error> {
    let fold = repo.fold();
    let mut sources: Vec<&str> = fold.live(None).iter().map(|p| p.point.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    match source {
        Some(named) if !sources.is_empty() && !sources.contains(&named) => Err(Error::Request(format!(
            "there is no point of {named}; there are points of {}",
            sources.join(", ")
        ))),
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
