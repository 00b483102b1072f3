//! Restores whose windows are so small that every file goes over many: what comes back is the same, damage in the middle
//! takes one file and names it, and what was interrupted goes on.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::restore::{Limits, Report, Request, restore_within};
use repo::Repo;
use source::directory::{Existing, Ownership};
use tests::listing::Listing;
use tests::odd;
use tests::seawall::Machine;
use world::{Progress, Step, World};

/// Three pieces a window, two parts at a time, one directory remembered.
fn tiny() -> Limits {
    Limits { window_bytes: 300, parts_at_once: 2, directories: 1 }
}

fn newest(repo: &Repo, into: &Path, existing: Existing) -> Request {
    let points = repo.fold().points.clone();
    let point = points.values().max_by_key(|point| point.point.as_of).unwrap().clone();
    let whole = Request::of(point, into.to_owned(), Ownership::ByName, 2);
    Request { existing, resume: existing == Existing::Differences, ..whole }
}

fn restored(machine: &Machine, into: &str, existing: Existing) -> Report {
    let repo = machine.opened(World::real(), "library");
    restore_within(&repo, &newest(&repo, &machine.at(into), existing), tiny()).unwrap()
}

fn assert_same(machine: &Machine, original: &str, copy: &str) {
    let (original, copy) = (Listing::of(&machine.at(original)), Listing::of(&machine.at(copy)));
    assert_eq!(copy.differences(&original), Vec::<String>::new());
}

/// Two long files of many chunks, holes in one of them, and small ones in folders.
fn with_tree(machine: &Machine) {
    fs::create_dir_all(machine.at("tree/a/b/c")).unwrap();
    fs::write(machine.at("tree/long"), odd::noise(1, 12 << 20)).unwrap();
    let sparse = fs::File::create(machine.at("tree/sparse")).unwrap();
    for part in 0..8_u64 {
        // Nothing of it is in the long one.
        sparse.write_all_at(&odd::noise(100 + part, 700_000), part * (3 << 20)).unwrap();
    }
    sparse.set_len(40 << 20).unwrap();
    for number in 0..60 {
        let folder = ["", "a/", "a/b/", "a/b/c/"][number as usize % 4];
        fs::write(machine.at(&format!("tree/{folder}{number}")), odd::noise(number, 30_000)).unwrap();
    }
    for name in ["tree/a/b/c", "tree/a/b", "tree/a", "tree"] {
        odd::set_time(&machine.at(name), 1_000_000_000 + name.len() as i64, 5);
    }
    machine.done(&["backup", "tree"]);
}

#[test]
fn files_over_many_windows_come_back_with_their_holes_and_times() {
    let machine = Machine::with_repository();
    with_tree(&machine);
    let report = restored(&machine, "out", Existing::Refuse);
    assert_eq!((report.problems, report.files), (Vec::new(), 62));
    assert_same(&machine, "tree", "out");
    let blocks = fs::metadata(machine.at("out/sparse")).unwrap().blocks();
    assert!(blocks * 512 < 8 << 20, "{blocks} blocks: zeros were written");
}

#[test]
fn a_device_or_file_takes_one_file_over_many_windows_and_only_what_differs() {
    let machine = Machine::with_repository();
    fs::write(machine.at("image"), odd::noise(1, 9 << 20)).unwrap();
    machine.done(&["backup", "--image", "image"]);
    fs::write(machine.at("onto"), odd::noise(1, 9 << 20)).unwrap();
    let onto = fs::File::options().write(true).open(machine.at("onto")).unwrap();
    onto.write_all_at(&[7; 5_000], 3 << 20).unwrap();
    onto.write_all_at(&[7; 5_000], 6 << 20).unwrap();
    let report = restored(&machine, "onto", Existing::Differences);
    assert_eq!(fs::read(machine.at("onto")).unwrap(), fs::read(machine.at("image")).unwrap());
    assert!((10_000..40_000).contains(&report.written_bytes), "{} bytes were written", report.written_bytes);
}

/// The pack in which most of the content lies.
fn longest_pack(machine: &Machine) -> std::path::PathBuf {
    let mut packs: Vec<_> = Vec::new();
    for folder in fs::read_dir(machine.repository().join("packs")).unwrap() {
        packs.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    packs.into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn damage_in_the_middle_of_a_file_takes_that_file_alone_and_names_it_once() {
    let machine = Machine::with_repository();
    with_tree(&machine);
    // The long file is the only content that lies this far inside.
    let pack = longest_pack(&machine);
    let damaged = fs::File::options().write(true).open(&pack).unwrap();
    damaged.write_all_at(&[0; 64], fs::metadata(&pack).unwrap().len() / 2).unwrap();
    let report = restored(&machine, "out", Existing::Refuse);
    let named: Vec<String> = report.problems.iter().map(|problem| problem.path.to_string()).collect();
    assert_eq!(named.len(), 1, "{:?}", report.problems);
    assert!(report.problems[0].damaged);
    assert!(!machine.at("out").join(&named[0]).exists(), "a part of {} was left behind", named[0]);
    assert!(["long", "sparse"].contains(&named[0].as_str()), "{named:?}");
    assert_eq!(report.files, 61);
    fs::remove_file(machine.at("tree").join(&named[0])).unwrap();
    odd::set_time(&machine.at("tree"), 1_000_000_004, 5);
    assert_same(&machine, "tree", "out");
}

/// Stops its world when so many bytes are written.
struct StopAfter {
    world: Mutex<Option<World>>,
    left: AtomicU64,
}

impl Progress for StopAfter {
    fn report(&self, step: Step<'_>) {
        let Step::Done { bytes, .. } = step else { return };
        let before =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| Some(l.saturating_sub(bytes)));
        if before.unwrap() <= bytes {
            self.world.lock().unwrap().iter().for_each(World::stop);
        }
    }
}

#[test]
fn what_was_interrupted_within_a_file_goes_on_and_writes_no_more_than_is_missing() {
    let machine = Machine::with_repository();
    with_tree(&machine);
    restored(&machine, "out", Existing::Refuse);
    let spoilt = fs::File::options().write(true).open(machine.at("out/long")).unwrap();
    spoilt.write_all_at(&vec![9; 10 << 20], 1 << 20).unwrap();
    let stop = std::sync::Arc::new(StopAfter { world: Mutex::default(), left: AtomicU64::new(3 << 20) });
    let world = World::real().watched_by(stop.clone());
    *stop.world.lock().unwrap() = Some(world.clone());
    let repo = machine.opened(world, "library");
    let stopped = restore_within(&repo, &newest(&repo, &machine.at("out"), Existing::Differences), tiny());
    assert!(matches!(stopped, Err(engine::Error::Stopped)), "{stopped:?}");
    let report = restored(&machine, "out", Existing::Differences);
    assert_same(&machine, "tree", "out");
    assert!((1..8 << 20).contains(&report.written_bytes), "{} bytes were written", report.written_bytes);
}

#[test]
fn an_interrupted_restore_leaves_no_part_of_a_new_file_that_looks_whole() {
    let machine = Machine::with_repository();
    with_tree(&machine);
    let stop = std::sync::Arc::new(StopAfter { world: Mutex::default(), left: AtomicU64::new(2 << 20) });
    let world = World::real().watched_by(stop.clone());
    *stop.world.lock().unwrap() = Some(world.clone());
    let repo = machine.opened(world, "library");
    let request = newest(&repo, &machine.at("out"), Existing::Refuse);
    assert!(matches!(restore_within(&repo, &request, tiny()), Err(engine::Error::Stopped)));
    let (copy, original) = (Listing::of(&machine.at("out")), Listing::of(&machine.at("tree")));
    let is_file = |path: &[u8]| machine.at("out").join(OsStr::from_bytes(path)).is_file();
    for (path, entry) in copy.0.iter().filter(|(path, _)| is_file(path)) {
        assert_eq!(entry.content, original.0[path].content, "{path:?}");
    }
    restored(&machine, "out", Existing::Differences);
    assert_same(&machine, "tree", "out");
}
