//! The second reader, written from the format document alone, reads what this program writes. What it reads of kept
//! repositories is in `formats.rs`.
//!
//! Where there is no Python with what the reader stands on, its tests say so and count as skipped.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use tests::listing::Listing;
use tests::odd;
use tests::seawall::Machine;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Python that has what the reader needs.
fn python(test: &str) -> Option<String> {
    let python = std::env::var("SEAWALL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let modules = "import argon2, blake3, cbor2, cryptography, kyber_py, zstandard";
    let asked = Command::new(&python).args(["-c", modules]).output();
    if asked.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    tests::skipped(&format!("{test}: {python} lacks modules of tests/second-reader/requirements.txt"));
    None
}

fn script(python: &str, name: &str, words: &[&str]) -> Output {
    let mut command = Command::new(python);
    command.arg(package().join("second-reader").join(name)).args(words);
    command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
}

/// Runs the reader, which must find nothing wrong.
fn read(python: &str, repository: &Path, key: &Path, words: &[&str]) -> String {
    let place = [repository.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let done = script(python, "read.py", &[&place, words].concat());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "read.py {words:?}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn assert_same(what: &str, truth: &Listing, copy: &Listing) {
    assert_eq!(copy.differences(truth), Vec::<String>::new(), "{what}");
}

/// A little of everything.
fn small_tree(top: &Path) {
    fs::create_dir_all(top.join("folder")).unwrap();
    fs::write(top.join("hello.txt"), "Hello, world.\n").unwrap();
    fs::write(top.join("empty"), "").unwrap();
    fs::write(top.join("noise"), odd::noise(1, 90_000)).unwrap();
    fs::write(top.join("text"), "The same line many times.\n".repeat(9000)).unwrap();
    fs::write(top.join("folder/zeros"), vec![0; 300_000]).unwrap();
    fs::hard_link(top.join("hello.txt"), top.join("folder/again")).unwrap();
    symlink("../hello.txt", top.join("folder/link")).unwrap();
    let modes =
        [("hello.txt", 0o644), ("empty", 0o600), ("noise", 0o640), ("text", 0o444), ("folder/zeros", 0o755)];
    for (name, mode) in modes {
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).unwrap();
        odd::set_time(&top.join(name), 1_700_000_000, i64::from(mode));
    }
    odd::set_time(&top.join("folder/link"), -1, 1);
    for folder in ["folder", ""] {
        fs::set_permissions(top.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
        odd::set_time(&top.join(folder), 1_600_000_000, 5);
    }
}

/// Two points of the small tree: as it is, and before that with less in it.
fn back_up_small_tree(machine: &Machine) {
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/hello.txt"), "Hello?\n").unwrap();
    machine.done(&["backup", "tree", "--source", "small"]);
    fs::remove_dir_all(machine.at("tree")).unwrap();
    small_tree(&machine.at("tree"));
    machine.done(&["backup", "tree", "--source", "small"]);
}

#[test]
fn the_second_reader_restores_what_this_program_wrote() {
    let Some(python) = python("the_second_reader_restores_what_this_program_wrote") else { return };
    let machine = Machine::with_repository();
    back_up_small_tree(&machine);
    // More content than one node of a file names, and more names than one node of a tree.
    fs::write(machine.at("tree/large"), odd::noise(9, 12 << 20)).unwrap();
    for number in 0..3000 {
        fs::write(machine.at(&format!("tree/folder/file-{number}")), number.to_string()).unwrap();
    }
    machine.done(&["backup", "tree", "--source", "small", "--kind", "differential"]);
    let (repository, key, out) = (machine.repository(), machine.key_file(), machine.at("read"));
    read(&python, &repository, &key, &["restore", "latest", out.to_str().unwrap()]);
    assert_same("by the second reader", &Listing::of(&machine.at("tree")), &Listing::of(&out));
    assert_eq!(read(&python, &repository, &key, &["list"]).lines().count(), 3);
    read(&python, &repository, &key, &["check"]);
    read(&python, &repository, &key, &["runs"]);
}

#[test]
fn the_second_reader_opens_with_a_recipients_file() {
    let Some(python) = python("the_second_reader_opens_with_a_recipients_file") else { return };
    let machine = Machine::with_repository();
    small_tree(&machine.at("tree"));
    let made = machine.json(&["key", "recipient", "safe.key"]);
    machine.done(&["key", "add", "--recipient", made["recipient"].as_str().unwrap()]);
    machine.done(&["backup", "tree", "--source", "small"]);
    let (repository, key, out) = (machine.repository(), machine.at("safe.key"), machine.at("read"));
    read(&python, &repository, &key, &["restore", "latest", out.to_str().unwrap()]);
    assert_same("for a recipient", &Listing::of(&machine.at("tree")), &Listing::of(&out));
}

#[test]
fn the_second_reader_reads_two_generations_of_keys() {
    let Some(python) = python("the_second_reader_reads_two_generations_of_keys") else { return };
    let machine = Machine::with_repository();
    back_up_small_tree(&machine);
    fs::write(machine.at("tree/before"), odd::noise(7, 200_000)).unwrap();
    machine.done(&["backup", "tree", "--source", "small"]);
    machine.done(&["key", "renew"]);
    fs::write(machine.at("tree/after"), odd::noise(8, 200_000)).unwrap();
    machine.done(&["backup", "tree", "--source", "small"]);
    let (repository, key, out) = (machine.repository(), machine.key_file(), machine.at("read"));
    read(&python, &repository, &key, &["restore", "latest", out.to_str().unwrap()]);
    assert_same("of two generations", &Listing::of(&machine.at("tree")), &Listing::of(&out));
    assert_eq!(read(&python, &repository, &key, &["list"]).lines().count(), 4);
    read(&python, &repository, &key, &["check"]);
    read(&python, &repository, &key, &["runs"]);
}

#[test]
fn the_second_reader_passes_its_own_tests() {
    let Some(python) = python("the_second_reader_passes_its_own_tests") else { return };
    let done = script(&python, "selftest.py", &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("checks hold"));
}
