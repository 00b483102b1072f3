//! Real trees on a real file system, through the doors that the engine uses.

mod apply;
mod changes;
mod hostile;
mod metadata;
mod roots;
mod scan;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use format::path::TreePath;
use world::World;

use super::apply::open_root;
use super::beneath::Way;
use super::*;

fn path(bytes: &[u8]) -> TreePath {
    TreePath::new(bytes).expect("a path")
}

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn selection(roots: &[&Path]) -> Selection {
    Selection::of(roots.iter().map(PathBuf::from).collect())
}

/// A walk of `roots` with nothing left out.
fn scan_of(roots: &[&Path]) -> Scan {
    scan(&selection(roots), &World::real()).expect("the roots are there")
}

/// The entries of a walk that must meet nothing else.
fn entries(scan: Scan) -> Vec<Found> {
    let entry = |item| match item {
        Item::Entry(found) => found,
        other => panic!("{other:?}"),
    };
    scan.map(entry).collect()
}

/// The entries of a walk that must meet nothing else but what was to be left out.
fn kept(scan: Scan) -> Vec<Found> {
    let entry = |item| match item {
        Item::Entry(found) => Some(found),
        Item::Skipped(skipped) if skipped.reason.is_asked_for() => None,
        other => panic!("{other:?}"),
    };
    scan.filter_map(entry).collect()
}

fn paths(found: &[Found]) -> Vec<&[u8]> {
    found.iter().map(|found| found.path.as_bytes()).collect()
}

/// The one entry at `wanted`.
fn entry<'a>(found: &'a [Found], wanted: &[u8]) -> &'a Found {
    found.iter().find(|found| found.path.as_bytes() == wanted).expect("the entry is there")
}

fn content(found: &Found) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(found.open().unwrap().read_all_small(1 << 20, &mut bytes).unwrap(), "the file is small");
    bytes
}

/// The ways down that this machine has; the plain one is always there.
fn ways() -> Vec<Way> {
    let root = open_root(Path::new("/")).expect("the root is there");
    let mut ways = vec![Way::Steps, Way::of_this_machine(root)];
    ways.dedup();
    ways
}

fn target(dir: &Path, way: Way, existing: Existing) -> Target {
    let root = open_root(dir).expect("a directory");
    Target::open_by(way, dir, root, existing, Ownership::ByName).expect("a target")
}

/// A directory whose name a failed test shows, removed even when deeper than the standard library can go.
struct Deep(tempfile::TempDir);

impl Drop for Deep {
    fn drop(&mut self) {
        let status = std::process::Command::new("rm").arg("-rf").arg(self.0.path()).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}
