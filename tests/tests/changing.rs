//! Files that change while they are read, and files that changed without a trace.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::odd;
use tests::seawall::{Machine, Said};

/// Bytes that a process has read so far.
fn has_read(process: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// So that who waits for that may be held up for seconds, and it still reads: a reader is not far ahead of what is stored.
const SLOWLY: &str = "--limit-upload=16M";

/// Waits until a process is in the middle of a large file.
fn wait_until_it_reads(process: u32) {
    let begin = Instant::now();
    while has_read(process) < 30 << 20 {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never read as much");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again() {
    const LENGTH: usize = 96 << 20;
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    let path = machine.at("tree/file");
    let mut content = odd::noise(1, LENGTH);
    fs::write(&path, &content).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    let child = machine.start(&["backup", "tree", "--json", "--strict", SLOWLY]);
    wait_until_it_reads(child.id());
    // What was read already and what is still to come, so that what was read at first never was.
    for at in [0, LENGTH - 1] {
        content[at] ^= 1;
        file.write_all_at(&content[at..=at], at as u64).unwrap();
    }
    let said = Said::of(&["backup"], child.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "it held still the second time: {said}");
    assert_eq!(said.json()["changed"].as_array().unwrap().len(), 0);
    machine.done(&["restore", "latest", "--into", "out"]);
    assert!(fs::read(machine.at("out/file")).unwrap() == content);
    // Whatever its times say, it is not believed unchanged.
    machine.json(&["backup", "tree"]);
    machine.done(&["verify", "--level", "L2"]);
}

fn paths_of(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect()
}

#[test]
fn files_that_never_hold_still_are_kept_and_listed() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/still"), "still").unwrap();
    let paths: [PathBuf; 2] = ["tree/small", "tree/large"].map(|name| machine.at(name));
    for (path, length) in paths.iter().zip([2 << 20, 20 << 20]) {
        fs::write(path, odd::noise(2, length)).unwrap();
    }
    let done = AtomicBool::new(false);
    let kept = std::thread::scope(|threads| {
        for path in &paths {
            let done = &done;
            threads.spawn(move || {
                let file = fs::File::options().write(true).open(path).unwrap();
                let mut turn = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    file.write_all_at(&turn.to_le_bytes(), 4096).unwrap();
                    turn += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let kept = machine.run(&["backup", "tree", "--json"]);
        done.store(true, Ordering::Relaxed);
        kept
    });
    assert_eq!(kept.code, 0, "{kept}");
    let document = kept.json();
    // The small one may hold still for the millisecond that a second reading takes.
    assert!(paths_of(&document["changed"]).contains(&"large"), "{kept}");
    assert!(kept.err.contains("changed while it was read: large"), "{kept}");
    machine.done(&["restore", "latest", "--into", "out"]);
    for (name, length) in [("small", 2 << 20), ("large", 20 << 20)] {
        let mut content = odd::noise(2, length);
        let mut back = fs::read(machine.at("out").join(name)).unwrap();
        assert_eq!(back.len(), content.len());
        content[4096..4104].fill(0);
        back[4096..4104].fill(0);
        assert!(back == content, "{name}: all but what changed is right");
    }
}

/// A file system in a file, mounted; taken off again when dropped.
struct Disk {
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    fn mount(&self) {
        let done = Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.place).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn take_off(&self) -> bool {
        Command::new("umount").arg(&self.place).output().is_ok_and(|done| done.status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.take_off();
    }
}

fn disk(machine: &Machine, name: &str) -> Option<Disk> {
    let disk = Disk { image: machine.at("image"), place: machine.at("disk") };
    fs::create_dir(&disk.place).unwrap();
    fs::File::create(&disk.image).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-O", "^metadata_csum"]).arg(&disk.image).output();
    if !rustix::process::geteuid().is_root() || !made.is_ok_and(|done| done.status.success()) {
        tests::skipped(&format!("{name}: it needs root and mkfs.ext4"));
        return None;
    }
    let probe = Command::new("mount").args(["-o", "loop"]).arg(&disk.image).arg(&disk.place).output();
    if !probe.is_ok_and(|done| done.status.success()) {
        tests::skipped(&format!("{name}: no loop device can be mounted here"));
        return None;
    }
    Some(disk)
}

fn flip_on_disk(image: &Path, content: &[u8]) {
    let mut bytes = fs::read(image).unwrap();
    let at = bytes.windows(32).position(|window| window == &content[..32]).expect("the disk holds the file");
    bytes[at] ^= 0x40;
    fs::write(image, bytes).unwrap();
}

#[test]
fn content_that_rots_on_the_disk_is_found_by_reading_a_share_again() {
    let machine = Machine::with_repository();
    let Some(disk) = disk(&machine, "content_that_rots_on_the_disk_is_found_by_reading_a_share_again") else {
        return;
    };
    let contents: Vec<(String, Vec<u8>)> = [("small", 40), ("chunk", 100_000), ("large", 20 << 20)]
        .map(|(name, length)| (name.to_owned(), odd::noise(length as u64, length)))
        .into();
    for (name, content) in &contents {
        fs::write(disk.place.join(name), content).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    let before = machine.json(&["backup", "disk", "--read-again", "100"]);
    assert_eq!(before["changed_unseen"].as_array().unwrap().len(), 0, "{before}");
    let quiet = machine.json(&["backup", "disk", "--read-again", "100"]);
    assert_eq!((&quiet["bytes_new"], quiet["changed_unseen"].as_array().unwrap().len()), (&0.into(), 0));
    assert!(disk.take_off());
    contents.iter().for_each(|(_, content)| flip_on_disk(&disk.image, content));
    disk.mount();
    let blind = machine.json(&["backup", "disk", "--read-again", "0"]);
    assert_eq!((&blind["bytes_new"], blind["changed_unseen"].as_array().unwrap().len()), (&0.into(), 0));
    let said = machine.run(&["backup", "disk", "--read-again", "100", "--json"]);
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(paths_of(&said.json()["changed_unseen"]), ["chunk", "large", "small"], "{said}");
    assert!(said.err.contains("--kind full"), "{said}");
    machine.done(&["restore", "latest", "--into", "out"]);
    for (name, _) in &contents {
        assert!(fs::read(machine.at("out").join(name)).unwrap() == fs::read(disk.place.join(name)).unwrap());
    }
    let usual = machine.json(&["backup", "disk", "--read-again", "100"]);
    assert_eq!(usual["changed_unseen"].as_array().unwrap().len(), 0, "it is told once: {usual}");
}

/// New keys give the same content another name, which is no change of the content.
#[test]
fn files_that_are_read_again_under_new_keys_have_not_changed() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for (name, length) in [("small", 40), ("chunk", 100_000), ("large", 20 << 20)] {
        fs::write(machine.at("tree").join(name), odd::noise(length as u64, length)).unwrap();
    }
    fs::write(machine.at("disk"), odd::noise(5, 4 << 20)).unwrap();
    fs::write(machine.at("map"), "0 65536\n").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    machine.done(&["backup", "tree"]);
    machine.done(&["backup", "disk", "--image"]);
    machine.done(&["key", "renew"]);
    let again = machine.json(&["backup", "tree", "--read-again", "100"]);
    assert_eq!(again["changed_unseen"].as_array().unwrap().len(), 0, "{again}");
    let mapped = machine.json(&["backup", "disk", "--image", "--map", "map"]);
    assert!(mapped["map"]["wrong_at"].is_null() && mapped["map"]["blocks_compared"] != 0, "{mapped}");
    for (source, out) in [("tree", "out"), ("disk", "disk-out")] {
        let name = format!(
            "{}:{}",
            again["source"].as_str().unwrap().split_once(':').unwrap().0,
            machine.at(source).display()
        );
        machine.done(&["restore", "latest", "--source", &name, "--into", out]);
    }
    assert!(fs::read(machine.at("out/large")).unwrap() == odd::noise(20 << 20, 20 << 20));
    assert!(fs::read(machine.at("disk-out/disk")).unwrap() == odd::noise(5, 4 << 20));
}

/// What is written after a file was closed to others must not come back open to them.
#[test]
fn a_file_that_is_read_again_has_the_metadata_of_then() {
    const LENGTH: usize = 96 << 20;
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    let path = machine.at("tree/file");
    fs::write(&path, odd::noise(1, LENGTH)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let child = machine.start(&["backup", "tree", "--json", SLOWLY]);
    wait_until_it_reads(child.id());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Written before it is cut, so that it is at no moment empty.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"a secret", 0).unwrap();
    file.set_len(8).unwrap();
    let said = Said::of(&["backup"], child.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said}");
    machine.done(&["restore", "latest", "--into", "out"]);
    assert_eq!(fs::read(machine.at("out/file")).unwrap(), b"a secret", "{said}");
    assert_eq!(fs::metadata(machine.at("out/file")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Sparse and enormous all of a sudden: not read to an end that takes days.
#[test]
fn a_file_that_becomes_enormous_is_kept_as_it_was_read_and_listed() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    let path = machine.at("tree/file");
    fs::write(&path, odd::noise(1, 96 << 20)).unwrap();
    let child = machine.start(&["backup", "tree", "--json", SLOWLY]);
    wait_until_it_reads(child.id());
    fs::File::options().write(true).open(&path).unwrap().set_len(200 << 30).unwrap();
    let said = Said::of(&["backup"], child.wait_with_output().unwrap());
    assert_eq!((said.code, paths_of(&said.json()["changed"])), (0, vec!["file"]), "{said}");
}

/// The same bytes are cut in another way by now.
#[test]
fn what_is_cut_in_another_way_has_not_changed() {
    let machine = Machine::with_repository();
    fs::write(machine.at("disk"), odd::noise(5, 20 << 20)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    machine.done(&["backup", "disk", "--image"]);
    let cut = machine.json(&["backup", "disk", "--read-again", "100"]);
    assert_eq!(cut["changed_unseen"].as_array().unwrap().len(), 0, "{cut}");
    let (admin, host) = (Machine::with_repository(), Machine::new());
    std::os::unix::fs::symlink(admin.repository(), host.repository()).unwrap();
    let key = host.at("host.key");
    admin.done(&["key", "export-writer", key.to_str().unwrap(), "--name", "web"]);
    fs::create_dir(host.at("tree")).unwrap();
    fs::write(host.at("tree/big"), odd::noise(6, 40 << 20)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    host.done(&["backup", "tree", "--key-file", "host.key"]);
    host.done(&["backup", "tree", "--kind", "full", "--key-file", "host.key"]);
    let again = host.json(&["backup", "tree", "--read-again", "100", "--key-file", "host.key"]);
    assert_eq!(again["changed_unseen"].as_array().unwrap().len(), 0, "{again}");
}
