//! Writing onto a device or a file: what must hold before the first byte of it is changed.

use format::meta::Kind;
use format::tree::{Entry, Walk};
use repo::Reader;
use source::directory::Onto;

use super::{Include, Nodes, Request};
use crate::error::Error;

/// Refuses all but one file that there is room for.
pub(super) fn check(
    reader: &Reader<'_>,
    request: &Request,
    include: &Include,
    onto: &Onto,
) -> Result<(), Error> {
    if request.remove_others {
        return Err(Error::Request("only a directory can hold others to be removed".into()));
    }
    let mut wanted: Option<Entry> = None;
    for entry in Walk::new(Nodes(reader), request.point.point.root) {
        let entry = entry?;
        if entry.meta.kind == Kind::Directory || !include.matches(&entry.path) {
            continue;
        }
        if entry.meta.kind != Kind::File {
            return Err(Error::OneFile(format!("{} is no regular file", entry.path)));
        }
        if let Some(first) = wanted.replace(entry) {
            return Err(Error::OneFile(format!("there is {first} and more", first = first.path)));
        }
    }
    match wanted {
        None if request.include.is_empty() => Err(Error::OneFile("the point holds none".into())),
        None => Err(super::nothing_matches(request)),
        Some(file) => Ok(onto.check_room(file.meta.size)?),
    }
}
