//! Sources that cannot be read, that have odd names, that change or vanish while they are read; targets that take
//! nothing.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::process::{Pid, Signal, kill_process};
use tests::listing::Listing;
use tests::odd;
use tests::seawall::{Machine, Said};

use crate::{House, as_nobody, assert_restores, assert_told, give_away};

fn longest() -> Vec<u8> {
    vec![b'n'; 255]
}

#[test]
fn names_of_every_kind_are_told_on_one_line_and_kept_when_they_can_be_read() {
    let house = House::local();
    let machine = &house.machine;
    let longest = longest();
    let names: [&[u8]; 4] = [b"line\nend", b"\xff\xfe no UTF-8", &longest, b"\x1b[31mred"];
    let paths = names.map(|name| machine.at("tree").join(OsStr::from_bytes(name)));
    for path in &paths {
        fs::write(path, odd::noise(9, 1000)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    if rustix::process::geteuid().is_root() {
        give_away(&machine.at(""));
    }
    let said = as_nobody(machine, &["backup", "tree"]);
    assert_eq!(said.code, 2, "{said}");
    assert_eq!(said.err.matches("Permission denied").count(), names.len(), "{said}");
    let told: Vec<&str> = said.err.lines().filter(|line| line.contains("not kept:")).collect();
    assert_eq!(told.len(), names.len(), "{said}");
    for part in ["line\\nend", "\\xff\\xfe no UTF-8", "nnnnnnnn", "[31mred"] {
        assert!(told.iter().any(|line| line.contains(part)), "{part} {said}");
    }
    assert!(!said.err.contains('\u{1b}'), "a name does not speak to the terminal: {said}");
    paths.iter().for_each(|path| fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap());
    let kept = as_nobody(machine, &["backup", "tree", "--json"]);
    assert_eq!(kept.code, 0, "{kept}");
    assert_restores(machine, kept.json()["point"].as_str().unwrap(), &house.truth());
}

/// Folders of 200 bytes each until the whole path is longer than the kernel takes at once; then a file.
fn make_deep(top: &Path, levels: usize, content: &[u8]) {
    let mut at: OwnedFd = File::open(top).unwrap().into();
    let name = "d".repeat(200);
    for _ in 0..levels {
        mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = open(&at, &name, OFlags::DIRECTORY);
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    File::from(openat(&at, "bottom", flags, Mode::RUSR | Mode::WUSR).unwrap()).write_all(content).unwrap();
}

fn open(at: &OwnedFd, name: &str, flags: OFlags) -> OwnedFd {
    openat(at, name, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// What the file at the bottom holds, and its time.
fn bottom(top: &Path, levels: usize) -> (Vec<u8>, i64, u64) {
    let mut at = openat(CWD, top, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    for _ in 0..levels {
        at = open(&at, &"d".repeat(200), OFlags::DIRECTORY);
    }
    let mut file = File::from(open(&at, "bottom", OFlags::empty()));
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut content).unwrap();
    let stat = rustix::fs::fstat(&file).unwrap();
    (content, stat.st_mtime, stat.st_mtime_nsec)
}

#[test]
fn paths_that_are_longer_than_the_kernel_takes_come_back() {
    const LEVELS: usize = 40;
    let house = House::local();
    let machine = &house.machine;
    fs::create_dir(machine.at("deep")).unwrap();
    let content = odd::noise(3, 150_000);
    make_deep(&machine.at("deep"), LEVELS, &content);
    let kept = machine.json(&["backup", "deep"]);
    assert_eq!((&kept["files"], &kept["directories"]), (&1.into(), &(LEVELS + 1).into()));
    let point = kept["point"].as_str().unwrap();
    machine.done(&["verify", point, "--level", "L2"]);
    machine.done(&["restore", point, "--into", "out"]);
    let before = bottom(&machine.at("deep"), LEVELS);
    assert!(before.0 == content && bottom(&machine.at("out"), LEVELS) == before);
    machine.done(&["restore", point, "--into", "out", "--existing", "replace"]);
    assert!(bottom(&machine.at("out"), LEVELS) == before);
    let path = format!("{}bottom", format!("{}/", "d".repeat(200)).repeat(LEVELS));
    assert!(machine.done(&["cat", point, &path]).out == content);
}

#[test]
fn a_source_that_is_not_there_is_a_wrong_request_and_makes_no_point() {
    let mut house = House::local();
    for words in [&["backup", "gone"][..], &["backup", "tree", "gone"], &["backup", "tree/note/below"]] {
        assert_told(&house.machine.run(words), 4, &["open ", "correct the path"]);
    }
    house.is_whole();
}

/// Starts a backup, holds it still as soon as it has opened something below `source`, does something to that, and lets
/// it go on.
fn disturbed(machine: &Machine, words: &[&str], source: &Path, disturb: impl FnOnce()) -> Said {
    let child = machine.start(words);
    let pid = Pid::from_child(&child);
    let open = format!("/proc/{}/fd", child.id());
    let begin = Instant::now();
    while !leads_below(&open, source) {
        assert!(begin.elapsed() < Duration::from_secs(30), "nothing was read");
    }
    kill_process(pid, Signal::STOP).unwrap();
    disturb();
    kill_process(pid, Signal::CONT).unwrap();
    Said::of(words, child.wait_with_output().unwrap())
}

fn leads_below(links: &str, top: &Path) -> bool {
    let links = fs::read_dir(links).into_iter().flatten().flatten();
    links.filter_map(|link| fs::read_link(link.path()).ok()).any(|target| target.starts_with(top))
}

/// Which of the files were read in time is chance; that the rest is named is not.
#[test]
fn a_source_that_disappears_while_it_is_read_is_named_and_the_rest_is_kept() {
    let mut house = House::local();
    let machine = &house.machine;
    for folder in 0..20 {
        fs::create_dir_all(machine.at(&format!("many/{folder}"))).unwrap();
        for file in 0..60 {
            let content = odd::noise(folder * 100 + file, 5_000);
            fs::write(machine.at(&format!("many/{folder}/{file}")), content).unwrap();
        }
    }
    let truth = Listing::of(&machine.at("many"));
    let said = disturbed(machine, &["backup", "many", "--json"], &machine.at("many"), || {
        fs::remove_dir_all(machine.at("many")).unwrap();
    });
    assert!(matches!(said.code, 0 | 2), "{said}");
    let kept = said.json();
    assert_eq!(kept["problems"].as_array().unwrap().is_empty(), said.code == 0, "{said}");
    machine.done(&["restore", kept["point"].as_str().unwrap(), "--into", "out"]);
    for (path, there) in Listing::of(&machine.at("out")).0 {
        assert_eq!(there.content, truth.0[&path].content, "{}", path.escape_ascii());
    }
    assert_told(&machine.run(&["backup", "many"]), 4, &["many", "correct the path"]);
    let point = kept["point"].as_str().unwrap().to_owned();
    house.points.push((point, Listing::of(&house.machine.at("out"))));
    house.is_whole();
}

#[test]
fn a_file_that_grows_and_shrinks_while_it_is_read_is_kept_as_read_and_said_to_have_changed() {
    let mut house = House::local();
    let machine = &house.machine;
    let path = machine.at("tree/large");
    fs::write(&path, odd::noise(4, 30 << 20)).unwrap();
    let (over, file) = (AtomicBool::new(false), OpenOptions::new().append(true).open(&path).unwrap());
    let words = ["backup", "tree", "--strict", "--json"];
    let said = std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0.. {
                let length = if round % 2 == 0 { 9 << 20 } else { 30 << 20 };
                file.set_len(length).unwrap();
                (&file).write_all(b"more").unwrap();
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let said = Said::of(&words, machine.start(&words).wait_with_output().unwrap());
        over.store(true, Ordering::Relaxed);
        said
    });
    assert_eq!(said.code, 2, "{said}");
    let kept = said.json();
    assert!(said.err.contains("changed while it was read: large"), "{said}");
    let point = kept["point"].as_str().unwrap().to_owned();
    machine.done(&["verify", &point, "--level", "L2"]);
    machine.done(&["restore", &point, "--into", "out"]);
    let restored = Listing::of(&machine.at("out"));
    let differences = restored.differences(&house.truth());
    assert!(differences.iter().all(|line| line.starts_with("large:")), "{differences:?}");
    house.points.push((point, restored));
    house.is_whole();
}

#[test]
fn a_target_that_takes_nothing_is_told_and_left_as_it_is() {
    let mut house = House::local();
    let machine = &house.machine;
    fs::create_dir(machine.at("full")).unwrap();
    fs::write(machine.at("full/mine"), "mine").unwrap();
    fs::write(machine.at("file"), "mine").unwrap();
    let rows = [
        ("full", "it is not empty"),
        ("file", "open the target file"),
        ("file/below", "open the target file/below"),
        ("/proc/seawall", "open the target /proc/seawall"),
    ];
    for (into, says) in rows {
        assert_told(&machine.run(&["restore", "latest", "--into", into]), 4, &[says]);
    }
    assert_eq!(fs::read(machine.at("full/mine")).unwrap(), b"mine");
    assert_eq!(fs::read(machine.at("file")).unwrap(), b"mine");
    house.is_whole();
}

#[test]
fn a_target_that_may_not_be_written_is_told_as_that() {
    let house = House::local();
    let machine = &house.machine;
    if rustix::process::geteuid().is_root() {
        give_away(&machine.at(""));
    }
    fs::create_dir(machine.at("closed")).unwrap();
    fs::set_permissions(machine.at("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let below = as_nobody(machine, &["restore", "latest", "--into", "closed/out"]);
    assert_told(&below, 4, &["open the target closed/out", "Permission denied", "write into"]);
    let said = as_nobody(machine, &["restore", "latest", "--into", "closed"]);
    assert_eq!(said.code, 2, "{said}");
    assert!(said.err.contains("closed/large: Permission denied"), "{said}");
    assert_eq!(fs::read_dir(machine.at("closed")).unwrap().count(), 0);
}
