//! Sweeps on full disks, by the real program: when room is made by sweeping, a sweep must not need what it has to make.
//!
//! What can be deleted without storing anything before is deleted on a disk without a free byte. Where something has to be
//! stored first, the message says what, where, and how much room is missing. Nothing that is needed is lost, and once there
//! is room, the next sweep goes on, ends and frees.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;
use tests::disk::Small;
use tests::files::below;
use tests::listing::Listing;
use tests::odd;
use tests::seawall::{Machine, Said};

const MIB: u64 = 1 << 20;

/// A machine whose repository is on a small disk, with points of the folder `tree`.
struct House {
    machine: Machine,
    disk: Small,
    /// Points that live, and what each must bring back.
    points: Vec<(String, Listing)>,
}

impl House {
    /// None, and a word about it, where nothing can be mounted.
    fn new(test: &str, mib: u64) -> Option<House> {
        let Some(disk) = Small::mounted(mib * MIB) else {
            tests::skipped(&format!("{test}: nothing can be mounted"));
            return None;
        };
        let mut machine = Machine::new();
        machine.set("SEAWALL_REPO", disk.at("repository").to_str().unwrap());
        machine.done(&["init"]);
        fs::create_dir(machine.at("tree")).unwrap();
        Some(House { machine, disk, points: Vec::new() })
    }

    /// Files of these names and sizes, which cannot be made smaller, and a point of them all. On one core all of them go into
    /// one pack.
    fn keep(&mut self, files: &[(&str, u64)]) {
        for (name, bytes) in files {
            let seed = name.bytes().fold(*bytes, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
            fs::write(self.machine.at("tree").join(name), odd::noise(seed, *bytes as usize)).unwrap();
        }
        let kept = on_one_core(|| self.machine.json(&["backup", "tree"]));
        self.points.push((kept["point"].as_str().unwrap().to_owned(), Listing::of(&self.machine.at("tree"))));
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.machine.at("tree").join(name)).unwrap();
    }

    /// A pack of which half is needed by the next point, and a point that needs all of it.
    fn keep_half(&mut self, name: &str, mib: u64) {
        let (stays, goes) = (format!("{name}-0"), format!("{name}-1"));
        self.keep(&[(&stays, mib * MIB / 2), (&goes, mib * MIB / 2)]);
        self.remove(&goes);
    }

    fn forget(&mut self, at: usize) {
        let (point, _) = self.points.remove(at);
        self.machine.done(&["forget", "--apply", &point]);
    }

    fn packs(&self) -> Vec<PathBuf> {
        below(&self.disk.at("repository/packs"))
    }

    fn stored(&self) -> u64 {
        self.packs().iter().map(|pack| fs::metadata(pack).unwrap().len()).sum()
    }

    fn sweep(&self) -> Said {
        self.machine.run(&["sweep", "--apply", "--json", "--wait", "0", "--repack-below", "80"])
    }

    /// Every point that lives restores, also while the disk is full. Then a restore may not be able to say that it is over,
    /// and tells what ends it for sweeps.
    fn assert_whole(&self) {
        for (point, truth) in &self.points {
            let said = self.machine.run(&["restore", point, "--into", "out"]);
            assert_eq!(said.code, 0, "{said}");
            let differences = Listing::of(&self.machine.at("out")).differences(truth);
            assert_eq!(differences, Vec::<String>::new(), "{said}");
            fs::remove_dir_all(self.machine.at("out")).unwrap();
        }
    }

    /// Gives up whoever is at work by what the repository says.
    fn expire_all(&self) -> usize {
        let listed = self.machine.json(&["session", "list"]);
        let at_work = listed["sessions"].as_array().unwrap().iter().filter(|one| one["state"] == "at work");
        let at_work: Vec<&str> = at_work.map(|one| one["session"].as_str().unwrap()).collect();
        at_work.iter().for_each(|session| drop(self.machine.done(&["session", "expire", session])));
        at_work.len()
    }

    /// Makes space; then one sweep ends, and frees what nothing needs, but for what lies in these many frames with what is
    /// needed.
    fn assert_ends(&self, frames: u64) {
        self.disk.clear();
        self.expire_all();
        let said = self.sweep();
        assert_eq!(said.code, 0, "{said}");
        let files = below(&self.machine.at("tree"));
        let live: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        let stored = self.stored();
        assert!(stored < live + frames * MIB + MIB / 2, "{stored} bytes are left for {live}: {said}");
        ["L1", "L2"].iter().for_each(|level| drop(self.machine.done(&["verify", "--level", level])));
        self.assert_whole();
    }
}

/// Runs it with processes that have one core.
fn on_one_core<T>(run: impl FnOnce() -> T) -> T {
    let all = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|core| all.is_set(*core)).unwrap());
    sched_setaffinity(None, &one).unwrap();
    let ran = run();
    sched_setaffinity(None, &all).unwrap();
    ran
}

/// One error with one hint, which say this.
fn assert_told(said: &Said, says: &[&str]) {
    assert_eq!(said.code, 1, "{said}");
    for head in ["error:", "hint:"] {
        assert_eq!(said.err.lines().filter(|line| line.starts_with(head)).count(), 1, "{head} {said}");
    }
    says.iter().for_each(|part| assert!(said.err.contains(part), "{part:?} is not in: {said}"));
}

/// The bytes that a message says are missing.
fn missing(said: &Said) -> u64 {
    let before = said.err.split(" KiB").next().unwrap();
    let digits = before.rsplit(' ').next().unwrap();
    digits.parse::<u64>().unwrap_or_else(|_| panic!("no number of KiB: {said}")) * 1024
}

#[test]
fn without_room_to_condemn_it_says_how_much_and_loses_nothing() {
    let test = "without_room_to_condemn_it_says_how_much_and_loses_nothing";
    let Some(mut house) = House::new(test, 32) else { return };
    house.keep(&[("both", 3 * MIB)]);
    house.keep(&[("old", 5 * MIB)]);
    house.remove("old");
    house.keep(&[("new", MIB)]);
    house.forget(1);
    house.disk.leave(0);
    let before = house.packs();
    let said = house.sweep();
    assert_told(&said, &["store sweeps/", "repository", "no room left", "make that much space"]);
    assert!((1..=16 * 1024).contains(&missing(&said)), "{said}");
    assert_eq!(house.packs(), before);
    // What it asked for is enough.
    house.disk.leave(missing(&said));
    let said = house.sweep();
    assert_eq!(said.code, 0, "{said}");
    house.disk.leave(0);
    house.assert_whole();
    house.assert_ends(0);
}

/// Lets a backup die that is at work, after `during` was done; sweeps do not wait for it any more then.
fn beside_a_backup(house: &House, during: impl FnOnce()) {
    fs::create_dir(house.machine.at("other")).unwrap();
    fs::write(house.machine.at("other/large"), odd::noise(77, 40 << 20)).unwrap();
    let mut backup = house.machine.start(&["backup", "other", "--limit-upload", "64K"]);
    let since = Instant::now();
    let session = loop {
        let listed = house.machine.json(&["session", "list"]);
        let at_work = listed["sessions"].as_array().unwrap().iter().rfind(|s| s["state"] == "at work");
        if let Some(session) = at_work {
            break session["session"].as_str().unwrap().to_owned();
        }
        assert!(since.elapsed() < Duration::from_secs(60), "nobody is at work: {listed}");
    };
    during();
    kill_process(Pid::from_child(&backup), Signal::KILL).unwrap();
    backup.wait().unwrap();
    house.machine.done(&["session", "expire", &session]);
}

#[test]
fn what_was_condemned_before_is_deleted_without_a_free_byte() {
    let test = "what_was_condemned_before_is_deleted_without_a_free_byte";
    let Some(mut house) = House::new(test, 32) else { return };
    house.keep(&[("first", 4 * MIB)]);
    house.remove("first");
    house.keep(&[("second", 4 * MIB)]);
    house.remove("second");
    house.keep(&[("third", MIB)]);
    house.forget(0);
    beside_a_backup(&house, || assert_eq!(house.sweep().code, 5, "it condemns, and waits"));
    // This is not condemned yet, and condemning it takes room.
    house.forget(0);
    house.disk.leave(0);
    let before = house.stored();
    let said = house.sweep();
    assert_eq!(said.code, 0, "{said}");
    let did = said.json()["swept"].clone();
    assert!(house.stored() + 8 * MIB <= before, "both are gone: {} of {before}, {did}", house.stored());
    house.assert_whole();
    house.assert_ends(0);
}

#[test]
fn what_needs_no_copy_goes_first_and_makes_room_for_copies() {
    let Some(mut house) = House::new("what_needs_no_copy_goes_first_and_makes_room_for_copies", 32) else {
        return;
    };
    house.keep_half("first", 6);
    house.keep(&[("goes", 4 * MIB)]);
    house.remove("goes");
    house.keep(&[("stays", MIB)]);
    house.forget(0);
    house.forget(0);
    // Enough for the list of what is condemned, and for nothing else.
    house.disk.leave(4096);
    let said = house.sweep();
    assert_eq!(said.code, 0, "{said}");
    assert!(said.json()["swept"]["moved"]["frames"].as_u64().unwrap() > 0, "{said}");
    house.assert_whole();
    house.assert_ends(1);
}

/// A house with packs of which half is needed, and nothing large that can be deleted before they are packed again.
fn with_sparse_packs(test: &str, packs: u64, mib: u64) -> Option<House> {
    let mut house = House::new(test, 2 * packs * mib + 32)?;
    (0..packs).for_each(|number| house.keep_half(&number.to_string(), mib));
    house.keep(&[("last", 1000)]);
    (0..packs).for_each(|_| house.forget(0));
    Some(house)
}

#[test]
fn without_room_to_copy_it_says_how_much_and_the_next_sweep_goes_on() {
    let test = "without_room_to_copy_it_says_how_much_and_the_next_sweep_goes_on";
    let Some(house) = with_sparse_packs(test, 2, 6) else { return };
    house.disk.leave(16 * 1024);
    let before = house.stored();
    let said = house.sweep();
    assert_told(&said, &["store packs/", "repository", "no room left", "make that much space"]);
    assert!((6 * MIB..9 * MIB).contains(&missing(&said)), "{said}");
    assert!(house.stored() + MIB > before, "only lists were deleted: {said}");
    house.disk.leave(64 * 1024);
    assert_eq!(house.expire_all(), 0, "nobody has to wait for a sweep that gave up");
    house.assert_whole();
    house.assert_ends(2);
}

#[test]
fn room_for_one_copy_is_enough_for_all() {
    // What is needed of them is too much for one pack.
    let Some(house) = with_sparse_packs("room_for_one_copy_is_enough_for_all", 4, 24) else { return };
    house.disk.leave(16 * 1024);
    let said = house.sweep();
    let room = missing(&said);
    assert!(room < 33 * MIB, "{said}");
    house.disk.leave(room + 64 * 1024);
    let said = house.sweep();
    assert_eq!(said.code, 0, "{said}");
    let moved = said.json()["swept"]["moved"]["bytes"].as_u64().unwrap();
    assert!(moved > room + 8 * MIB, "{moved} bytes were moved, with room for {room}: {said}");
    house.assert_ends(4);
}

/// Whatever the room that is missing is for, of all that a sweep stores: its list, its session, a copy, the entry behind it.
#[test]
fn whichever_of_its_objects_finds_no_room_nothing_is_lost_and_the_next_sweep_ends() {
    let test = "whichever_of_its_objects_finds_no_room_nothing_is_lost_and_the_next_sweep_ends";
    let Some(house) = with_sparse_packs(test, 2, 6) else { return };
    let mut said = Vec::new();
    // A disk that has no names left is as full as one that has no bytes left, and names can be counted: with one more each
    // time, the next of its objects comes last.
    for names in 0..24 {
        house.disk.leave_names(names);
        said.push(house.sweep());
        if said.last().is_some_and(|said| said.code == 0) {
            break;
        }
    }
    house.disk.leave_names(0);
    house.assert_whole();
    let mut missed: Vec<&str> = Vec::new();
    for object in ["store sweeps/", "store sessions/", "store packs/", "store log/"] {
        let told = said.iter().find(|said| said.err.contains(object));
        match told {
            Some(told) => assert_told(told, &["no room left", "make that much space"]),
            None => missed.push(object),
        }
    }
    let told: Vec<&str> = said.iter().map(|said| said.err.as_str()).collect();
    assert_eq!(missed, Vec::<&str>::new(), "{told:#?}");
    house.assert_ends(2);
}

#[test]
fn a_host_whose_state_is_full_sweeps_all_the_same() {
    let Some(disk) = Small::mounted(4 * MIB) else {
        return tests::skipped("a_host_whose_state_is_full_sweeps_all_the_same: nothing can be mounted");
    };
    let Some(mut house) = House::new("a_host_whose_state_is_full_sweeps_all_the_same", 32) else { return };
    house.keep(&[("both", MIB), ("old", 5 * MIB)]);
    house.remove("old");
    house.keep(&[("new", MIB)]);
    house.forget(0);
    // A state of its own that knows its key and has no room for anything new.
    house.machine.set("SEAWALL_STATE", disk.at("state").to_str().unwrap());
    house.machine.done(&["points"]);
    house.machine.done(&["hold", &house.points[0].0, "--reason", "it writes, so it has a key"]);
    disk.leave(0);
    let before = house.stored();
    let said = house.sweep();
    assert_eq!(said.code, 0, "{said}");
    assert!(house.stored() + 5 * MIB <= before, "{} of {before}: {said}", house.stored());
    house.assert_whole();
    disk.clear();
    house.assert_ends(0);
    let swept: Value = house.sweep().json();
    assert_eq!(swept["swept"]["deleted"]["packs"], 0, "{swept}");
}
