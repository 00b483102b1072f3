//! A tree that changes while it is walked and read.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use format::meta::FileTime;
use world::{Remedied, Remedy, SimulatedClock};

use super::*;
use crate::Error;

fn named(item: Option<Item>, wanted: &[u8]) -> Found {
    match item {
        Some(Item::Entry(found)) if found.path.as_bytes() == wanted => found,
        other => panic!("{other:?} instead of {}", wanted.escape_ascii()),
    }
}

#[test]
fn a_name_that_goes_before_its_turn_is_told_and_takes_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let mut scan = scan_of(&[dir.path()]);
    named(scan.next(), b"");
    named(scan.next(), b"a");
    fs::remove_file(dir.path().join("b")).unwrap();
    let vanished = Skipped { path: path(b"b"), reason: Reason::Vanished };
    assert!(matches!(scan.next(), Some(Item::Skipped(skipped)) if skipped == vanished));
    named(scan.next(), b"c");
    assert!(scan.next().is_none());
}

#[test]
fn a_directory_that_cannot_be_listed_is_a_problem_and_the_walk_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(dir.path().join("z"), "").unwrap();
    let mut scan = scan_of(&[dir.path()]);
    named(scan.next(), b"");
    named(scan.next(), b"secret");
    if is_root() {
        fs::remove_dir(&secret).unwrap();
    } else {
        fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    }
    let Some(Item::Problem(problem)) = scan.next() else { panic!("a directory that cannot be listed") };
    assert_eq!((problem.path, problem.error.remedy()), (path(b"secret"), Remedy::Report));
    assert!(
        problem.error.to_string().starts_with(&format!("list {}: ", secret.display())),
        "{}",
        problem.error
    );
    named(scan.next(), b"z");
    assert!(scan.next().is_none());
}

#[test]
fn a_file_that_cannot_be_read_says_why_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "s").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let found = entries(scan_of(&[dir.path()]));
    let opened = entry(&found, b"secret").open();
    if is_root() {
        assert!(opened.is_ok(), "root reads everything");
    } else {
        assert!(matches!(opened, Err(Error::System { act: "open", .. })));
    }
}

#[test]
fn only_the_file_that_was_listed_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let names = ["gone", "moved-over", "now-a-directory", "now-a-link", "now-a-pipe"];
    names.iter().for_each(|name| fs::write(place(name), "as listed").unwrap());
    let found = entries(scan_of(&[dir.path()]));
    // Made while the old one is there, as an editor does: a freed inode number may be given out again at once.
    fs::write(place("new"), "as listed").unwrap();
    names.iter().for_each(|name| fs::remove_file(place(name)).unwrap());
    fs::rename(place("new"), place("moved-over")).unwrap();
    fs::create_dir(place("now-a-directory")).unwrap();
    symlink("moved-over", place("now-a-link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place("now-a-pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert!(matches!(entry(&found, b"gone").open(), Err(Error::Vanished { .. })));
    for name in &names[1..] {
        let opened = entry(&found, name.as_bytes()).open();
        assert!(matches!(opened, Err(Error::Replaced { .. })), "{name}: {:?}", opened.err());
    }
}

#[test]
fn a_file_that_changes_under_the_reader_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for (name, change) in [("grows", "longer than before"), ("shrinks", ""), ("stays-long", "BEFORE")] {
        let file = dir.path().join(name);
        fs::write(&file, "before").unwrap();
        let found = entries(scan_of(&[dir.path()]));
        let reader = entry(&found, name.as_bytes()).open().unwrap();
        assert!(!reader.changed().unwrap(), "{name}");
        fs::write(&file, change).unwrap();
        let now = World::real().now_ns() + 1_000_000_000;
        fs::File::options().write(true).open(&file).unwrap().set_modified(system_time(now)).unwrap();
        assert!(reader.changed().unwrap(), "{name}");
    }
}

fn system_time(ns: i64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_nanos(ns.unsigned_abs())
}

#[test]
fn a_reader_fills_what_it_is_given_and_knows_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(dir.path().join("f"), &bytes).unwrap();
    let found = entries(scan_of(&[dir.path()]));
    let reader = entry(&found, b"f").open().unwrap();
    let mut buf = vec![0; 60_000];
    assert_eq!(reader.read_at(50_000, &mut buf).unwrap(), 50_000);
    assert_eq!(buf[..50_000], bytes[50_000..]);
    assert_eq!(reader.read_at(100_000, &mut buf).unwrap(), 0);
    for (limit, whole) in [(100_000, true), (99_999, false), (200_000, true), (0, false)] {
        let mut into = b"before".to_vec();
        assert_eq!(reader.read_all_small(limit, &mut into).unwrap(), whole, "{limit}");
        assert_eq!(into[6..], bytes[..limit.min(bytes.len())], "{limit}");
    }
    fs::write(dir.path().join("f"), [&bytes[..], &bytes[..]].concat()).unwrap();
    let mut into = Vec::new();
    assert!(reader.read_all_small(200_000, &mut into).unwrap(), "it may have grown since it was listed");
    assert_eq!(into.len(), 200_000);
}

#[test]
fn a_file_of_no_listed_length_is_read_to_its_end() {
    let found = entries(scan_of(&[Path::new("/proc/self/status")]));
    assert_eq!(found[0].meta.size, 0, "the kernel does not know the length before");
    assert!(content(&found[0]).starts_with(b"Name:"));
}

#[test]
fn a_file_that_changed_is_read_again_as_it_is_now() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    fs::write(&file, "before").unwrap();
    let found = entries(scan_of(&[dir.path()]));
    let mut meta = entry(&found, b"f").meta.clone();
    let reader = entry(&found, b"f").open().unwrap();
    fs::write(&file, "longer than before").unwrap();
    assert!(reader.changed().unwrap());
    let again = reader.again(&mut meta).unwrap();
    let mut bytes = Vec::new();
    assert!(again.read_all_small(100, &mut bytes).unwrap());
    assert_eq!((&bytes[..], meta.size), (&b"longer than before"[..], 18));
    assert!(!again.changed().unwrap() && reader.changed().unwrap());
}

#[test]
fn names_of_a_file_that_changes_between_them_are_not_one_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "old").unwrap();
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    let mut scan = scan_of(&[dir.path()]);
    named(scan.next(), b"");
    let first = named(scan.next(), b"a");
    // Coarse clocks could give both writes one time; the length tells them apart all the same.
    fs::write(dir.path().join("b"), "newer").unwrap();
    let second = named(scan.next(), b"b");
    assert!(first.meta.link.is_some() && second.meta.link.is_some());
    assert_ne!(first.meta.link, second.meta.link, "what was read as a is not what b holds");
}

#[test]
fn a_directory_moved_away_after_it_was_closed_is_noticed() {
    let dir = Deep(tempfile::tempdir().unwrap());
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 300).collect();
    fs::create_dir_all(dir.0.path().join(&deep)).unwrap();
    fs::write(dir.0.path().join("d/d/f"), "here").unwrap();
    let mut scan = scan_of(&[dir.0.path()]);
    let early = scan.by_ref().take(250).count();
    assert_eq!(early, 250, "the window has closed the first of them");
    fs::rename(dir.0.path().join("d/d"), dir.0.path().join("d/moved")).unwrap();
    fs::create_dir(dir.0.path().join("d/d")).unwrap();
    fs::write(dir.0.path().join("d/d/f"), "another").unwrap();
    let rest: Vec<Item> = scan.collect();
    let problems: Vec<&Problem> = rest
        .iter()
        .filter_map(|item| if let Item::Problem(problem) = item { Some(problem) } else { None })
        .collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(matches!(&problems[0].error, Error::Replaced { .. }), "{problems:?}");
    assert_eq!(problems[0].path, path(b"d/d"));
    let names =
        rest.iter().filter(|item| matches!(item, Item::Entry(found) if found.path.as_bytes() == b"d/d/f"));
    assert_eq!(names.count(), 0, "nothing of the directory that took its place");
}

#[test]
fn a_file_is_settled_only_when_a_later_change_must_show() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "").unwrap();
    let ctime = entries(scan_of(&[dir.path()]))[1].identity.ctime;
    let written = ctime.seconds * 1_000_000_000 + i64::from(ctime.nanos);
    for (later, settled) in [(-1_000, false), (0, false), (50_000_000, false), (50_000_001, true)] {
        let clock = Arc::new(SimulatedClock::at(written + later));
        let mut scan = scan(&selection(&[dir.path()]), &World::simulated(1, clock)).unwrap();
        let start = scan.start();
        let file = scan.nth(1);
        assert!(matches!(&file, Some(Item::Entry(found)) if found.settled(start) == settled), "{later}");
    }
    let whole = |seconds| FileTime { seconds, nanos: 0 };
    let mut coarse = entries(scan_of(&[dir.path()])).remove(1);
    (coarse.meta.mtime, coarse.identity.ctime) = (whole(100), whole(100));
    for (seconds, nanos, settled) in
        [(101, 999_999_999, false), (102, 50_000_000, false), (102, 50_000_001, true)]
    {
        let start = FileTime { seconds, nanos };
        assert_eq!(coarse.settled(start), settled, "a file system of whole seconds, {start:?}");
    }
    let mut found = entries(scan_of(&[dir.path()])).remove(1);
    found.meta.mtime = FileTime { seconds: 1_000, nanos: 0 };
    assert!(!found.settled(ctime), "a time put back does not hide a change just made");
    assert!(found.settled(FileTime { seconds: ctime.seconds + 5, nanos: 0 }));
    found.meta.mtime = FileTime { seconds: ctime.seconds + 10, nanos: 0 };
    assert!(!found.settled(FileTime { seconds: ctime.seconds + 5, nanos: 0 }), "a time ahead of the clock");
}
