//! Every frozen version of the format, opened for ever: the kept repositories of `fixtures/formats`, each a copy, with every secret.
//! They restore to the plain truth that lies beside them, are checked, go on being used, and are read by the second reader.
//!
//! Whatever these tests need to be changed for breaks a promise of `docs/format.md`, section 16.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use format::id::Hash;
use serde_json::Value;
use tests::files::{below, copy_all};
use tests::seawall::{Machine, Said};
use tests::truth;

/// BLAKE3 of what [`of_all`] says of the folder. Never change it: a later version gets a folder of its own.
const V1: &str = "28a0017c828b3f0435be51de4e2346f7676cfac22e2d3860910b8eccbc259843";

/// The kept repository of version 1.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fixtures/formats/v1")
}

/// The draft from before version 1.
fn draft() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fixtures/v0/small")
}

/// Names and hashes of all files, hashed.
fn of_all(folder: &Path) -> String {
    let line = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        format!("{name} {}\n", Hash::of(&fs::read(&path).unwrap()))
    };
    Hash::of(below(folder).into_iter().map(line).collect::<String>().as_bytes()).to_string()
}

/// A machine with a copy of the kept repository, and of the secrets beside it.
fn machine(of: &Path) -> Machine {
    let machine = Machine::new();
    copy_all(&of.join("repository"), &machine.repository());
    for secret in below(of).iter().filter(|path| path.parent() == Some(of)) {
        let copy = machine.at(secret.file_name().unwrap().to_str().unwrap());
        fs::copy(secret, &copy).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
    }
    machine
}

const SECRETS: [[&str; 2]; 3] =
    [["--key-file", "key"], ["--passphrase-file", "passphrase"], ["--key-file", "recipient"]];

/// Each live point, and the lines of what it restores to.
fn truths() -> BTreeMap<String, String> {
    let files = below(&kept().join("truth"));
    let of = |path: &PathBuf| {
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
    };
    files.iter().map(of).collect()
}

fn said_then(name: &str) -> Value {
    serde_json::from_slice(&fs::read(kept().join(name)).unwrap()).unwrap()
}

/// Whether all that was said then is said today; a later program may say more.
fn is_said(then: &Value, now: &Value, at: &str) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (key, value) in then {
                is_said(value, &now[key], &format!("{at}.{key}"));
            }
        }
        (Value::Array(then), Value::Array(now)) => {
            assert_eq!(then.len(), now.len(), "{at}");
            then.iter().zip(now).for_each(|(then, now)| is_said(then, now, at));
        }
        _ => assert_eq!(then, now, "{at}"),
    }
}

/// Whoever is not root cannot give files to the owner that they had, and is told so.
fn assert_restored(said: &Said) {
    assert!(said.code == 0 || (said.code == 2 && !rustix::process::geteuid().is_root()), "{said}");
}

#[test]
fn no_file_of_a_frozen_version_was_edited() {
    assert_eq!(of_all(&kept()), V1, "a fixture is never edited: take it back, or keep another beside it");
}

#[test]
fn every_secret_opens_version_1_and_every_point_comes_back_to_the_byte() {
    let truths = truths();
    let (then, forgotten) = (said_then("points.json"), said_then("forgotten.json"));
    for secret in SECRETS {
        let machine = machine(&kept());
        is_said(&forgotten, &machine.json(&[&["points", "--forgotten"][..], &secret].concat()), "forgotten");
        let live = machine.json(&[&["points"][..], &secret].concat());
        is_said(&then, &live, "points");
        let live: Vec<&str> =
            live["points"].as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap()).collect();
        assert_eq!(live.len(), truths.len());
        for point in live {
            let out = format!("out-{point}");
            assert_restored(&machine.run(&[&["restore", point, "--into", &out][..], &secret].concat()));
            assert_eq!(truth::lines(&machine.at(&out)), truths[point], "{point} by {secret:?}");
        }
    }
}

#[test]
fn version_1_is_checked_swept_and_used_further() {
    let machine = machine(&kept());
    let key = ["--key-file", "key"];
    let run = |words: &[&str]| machine.run(&[words, &key].concat());
    let history = run(&["log", "--verify"]);
    assert_eq!(history.code, 0, "{history}");
    let whole = run(&["verify", "--level", "L2"]);
    assert_eq!(whole.code, 0, "{whole}");
    // The pack that was damaged on purpose lies there still; what it lost has a substitute.
    let bytes = run(&["verify", "--level", "L1"]);
    assert_eq!(bytes.code, 0, "{bytes}");
    assert_eq!(bytes.err.matches("does not hash to what the log says").count(), 1, "{bytes}");
    is_said(&said_then("sweep.json"), &machine.json(&[&["sweep"][..], &key].concat()), "sweep");

    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/today"), "Still here.\n").unwrap();
    for source in ["files", "today"] {
        let said = run(&["backup", "tree", "--source", source]);
        assert!([0, 3].contains(&said.code), "{said}");
        assert_restored(&run(&["restore", "latest", "--source", source, "--into", source]));
        assert_eq!(fs::read(machine.at(source).join("today")).unwrap(), b"Still here.\n");
    }
    let swept = machine.json(&[&["sweep", "--apply", "--repack-below", "99"][..], &key].concat());
    assert!(swept["swept"]["deleted"]["packs"].as_u64() > Some(0), "{swept}");
    for (point, lines) in truths() {
        let out = format!("out-{point}");
        assert_restored(&run(&["restore", &point, "--into", &out]));
        assert_eq!(truth::lines(&machine.at(&out)), lines, "{point} after a sweep");
    }
    let renewed = run(&["key", "renew", "--also-passphrase-file", "passphrase"]);
    assert_eq!(renewed.code, 0, "{renewed}");
    assert_eq!(run(&["verify"]).code, 0);
}

/// The key of a host that was shut out opens what it always did: nothing that can be read.
#[test]
fn the_bundle_of_a_host_that_could_only_add_is_still_read_and_opens_nothing() {
    let machine = machine(&kept());
    machine.run(&["restore", "latest", "--into", "out", "--key-file", "writer"]).assert_failed(4, "key");
    fs::create_dir(machine.at("tree")).unwrap();
    let words = ["backup", "tree", "--source", "web", "--key-file", "writer"];
    machine.run(&words).assert_failed(4, "the keys of");
}

/// Version 0 was a draft. It is named, nothing of it is changed, and where to turn is said.
#[test]
fn the_draft_before_version_1_is_refused_by_name_and_left_as_it_is() {
    const SAYS: &str = "is of format version 0, a draft that this program does not read";
    let (machine, known) = (machine(&draft()), Machine::with_repository());
    let before = of_all(&machine.repository());
    let key = known.key_file();
    fs::create_dir(machine.at("tree")).unwrap();
    for secret in [["--key-file", "key"], ["--key-file", key.to_str().unwrap()]] {
        for words in [
            &["points"][..],
            &["restore", "latest", "--into", "out"],
            &["verify"],
            &["log"],
            &["backup", "tree"],
            &["sweep", "--apply"],
        ] {
            let said = machine.run(&[words, &secret].concat());
            said.assert_failed(4, SAYS);
            for part in ["the last program that reads version 0", "docs/format.md, \"Versions and upgrades\""]
            {
                assert!(said.err.contains(part), "{said}");
            }
        }
    }
    assert_eq!(of_all(&machine.repository()), before);
    assert!(!machine.at("out").exists());
}

/// A Python that has what the second reader needs.
fn python(test: &str) -> Option<String> {
    let python = std::env::var("SEAWALL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let modules = "import argon2, blake3, cbor2, cryptography, kyber_py, zstandard";
    if Command::new(&python).args(["-c", modules]).output().is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    tests::skipped(&format!("{test}: {python} lacks modules of tests/second-reader/requirements.txt"));
    None
}

fn second_reader(python: &str, words: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("second-reader/read.py");
    Command::new(python).arg(script).args(words).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
}

#[test]
fn the_second_reader_restores_every_point_of_version_1() {
    let test = "the_second_reader_restores_every_point_of_version_1";
    let Some(python) = python(test) else { return };
    let room = tempfile::tempdir().unwrap();
    let (repository, key) = (kept().join("repository"), kept().join("key"));
    let (repository, key) = (repository.to_str().unwrap(), key.to_str().unwrap());
    let passphrase = kept().join("passphrase");
    for secret in [["--key", key], ["--passphrase", passphrase.to_str().unwrap()]] {
        let listed = second_reader(&python, &[&[repository][..], &secret, &["list"]].concat());
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    }
    for (point, lines) in truths() {
        let out = room.path().join(&point);
        let done =
            second_reader(&python, &[repository, "--key", key, "restore", &point, out.to_str().unwrap()]);
        assert!(done.status.success(), "{point}: {}", String::from_utf8_lossy(&done.stderr));
        // It sets no attributes, which stand in the last column.
        let plain = |lines: &str| -> Vec<String> {
            lines.lines().map(|line| line.rsplit_once('\t').unwrap().0.to_owned()).collect()
        };
        assert_eq!(plain(&truth::lines(&out)), plain(&lines), "{point}");
    }
    let refused =
        second_reader(&python, &[draft().join("repository").to_str().unwrap(), "--key", key, "list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("version 1, not 0"));
}
