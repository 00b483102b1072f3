//! Real trees on a real file system, through the doors that the engine uses.

mod scan;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use format::path::TreePath;
use world::World;

use super::*;

pub(super) fn path(bytes: &[u8]) -> TreePath {
    TreePath::new(bytes).expect("a path")
}

pub(super) fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// A walk of `roots` with nothing left out.
pub(super) fn scan_of(roots: &[&Path]) -> Scan {
    let roots = roots.iter().map(PathBuf::from).collect();
    let selection = Selection { roots, excludes: Excludes::default(), one_file_system: false };
    scan(&selection, &World::real()).expect("the roots are there")
}

/// The entries of a walk that must meet nothing else.
pub(super) fn entries(scan: Scan) -> Vec<Found> {
    let entry = |item| match item {
        Item::Entry(found) => found,
        other => panic!("{other:?}"),
    };
    scan.map(entry).collect()
}

/// The one entry at `wanted`.
pub(super) fn entry<'a>(found: &'a [Found], wanted: &[u8]) -> &'a Found {
    found.iter().find(|found| found.path.as_bytes() == wanted).expect("the entry is there")
}

pub(super) fn content(found: &Found) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(found.open().unwrap().read_all_small(1 << 20, &mut bytes).unwrap(), "the file is small");
    bytes
}
