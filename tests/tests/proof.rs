//! `verify --level L3`: a point is proven by bringing it back, and what is not as it was is never called proven.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use engine::prove::compare;
use serde_json::Value;
use source::directory::Ownership;
use tests::files::{flip, largest_pack};
use tests::odd;
use tests::seawall::{Machine, Said};
use world::World;

/// Brings it back under a folder that is empty before and after.
fn prove(machine: &Machine, words: &[&str]) -> Said {
    let scratch = machine.at("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let said = machine.run(&[&["verify", "--level", "L3", "--scratch", "scratch"], words].concat());
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "nothing stays: {said}");
    said
}

/// Levels of all points as `points` tells them, oldest first.
fn levels(machine: &Machine) -> Vec<Value> {
    let points = machine.json(&["points"])["points"].as_array().unwrap().clone();
    points.iter().map(|point| point["verification_level"].clone()).collect()
}

#[test]
fn every_kind_of_point_is_proven_by_bringing_it_back() {
    let machine = Machine::with_repository();
    odd::make(&machine.at("tree"));
    fs::create_dir(machine.at("second")).unwrap();
    fs::write(machine.at("second/file"), odd::noise(7, 100_000)).unwrap();
    machine.done(&["backup", "tree", "--source", "odd"]);
    machine.done(&["backup", "tree/links", "second", "--source", "two"]);
    machine.done(&["backup", "second/file", "--source", "one"]);
    let fed = machine.fed(&["backup", "--stdin", "dump.sql", "--source", "fed"], b"insert into t;\n");
    assert_eq!(fed.code, 0, "{fed}");
    let said = prove(&machine, &[]);
    assert_eq!(said.code, 0, "{said}");
    assert!(said.out_text().contains("4 points whole at L3"), "{said}");
    assert_eq!(levels(&machine), ["L3"; 4]);
}

#[test]
fn damage_that_a_restore_meets_is_named_and_heals() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/small"), "whole").unwrap();
    fs::write(machine.at("tree/large"), odd::noise(3, 600_000)).unwrap();
    machine.done(&["backup", "tree"]);
    assert_eq!(prove(&machine, &["latest"]).code, 0);
    flip(&largest_pack(&machine.repository()), [200_000]);
    let said = prove(&machine, &["latest"]);
    said.assert_failed(3, "large");
    assert!(!said.err.contains("small"), "{said}");
    let json = machine.run(&["verify", "--level", "L3", "--json", "latest"]).json();
    assert_eq!((&json["damaged"], &json["unproven"]), (&Value::from(1), &Value::from(0)));
    // The next backup reads everything, as a proof failed, and stores again what is lost.
    machine.done(&["backup", "tree"]);
    let said = prove(&machine, &[]);
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(levels(&machine), ["L3"; 2]);
}

#[test]
fn a_scratch_place_is_not_filled_up_unasked() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    let sparse = fs::File::create(machine.at("tree/sparse")).unwrap();
    sparse.set_len(1 << 43).unwrap();
    fs::create_dir(machine.at("room")).unwrap();
    machine.done(&["backup", "tree"]);
    let mut command = machine.command(&["verify", "--level", "L3"]);
    let output = command.env("TMPDIR", machine.at("room")).output().unwrap();
    let said = Said::of(&["verify", "--level", "L3"], output);
    said.assert_failed(4, "--scratch");
    assert_eq!(fs::read_dir(machine.at("room")).unwrap().count(), 0, "nothing stays: {said}");
    machine.run(&["verify", "--level", "L2", "--scratch", "room"]).assert_failed(4, "--level L3");
    machine.run(&["verify", "--level", "L3", "--scratch", "missing"]).assert_failed(4, "missing");
}

/// All that a restore could do wrong, done by hand to what it brought.
#[test]
fn whatever_is_not_as_it_was_is_seen() {
    let machine = Machine::with_repository();
    let tree = machine.at("tree");
    fs::create_dir_all(tree.join("folder")).unwrap();
    for name in ["content", "mode", "time", "gone", "kind", "folder/deep"] {
        fs::write(tree.join(name), name).unwrap();
    }
    fs::hard_link(tree.join("content"), tree.join("link")).unwrap();
    symlink("content", tree.join("target")).unwrap();
    machine.done(&["backup", "tree"]);
    let repo = machine.opened(World::real(), "other-state");
    let point = repo.fold().live(None)[0].clone();
    let against = |folder: &Path| -> Vec<String> {
        let found = compare(&repo, &point, folder, Ownership::ByNumber).unwrap();
        found.iter().map(|problem| format!("{}: {}", problem.path, problem.what)).collect()
    };
    type Harm = fn(&Path);
    let harms: [(&str, &str, Harm); 9] = [
        ("content", "another length", |top| fs::write(top.join("content"), "longer content").unwrap()),
        ("mode", "another mode", |top| {
            fs::set_permissions(top.join("mode"), fs::Permissions::from_mode(0o640)).unwrap()
        }),
        ("time", "another time", |top| odd::set_time(&top.join("time"), 1, 1)),
        ("gone", "it is not there", |top| fs::remove_file(top.join("gone")).unwrap()),
        ("kind", "another kind", |top| {
            fs::remove_file(top.join("kind")).unwrap();
            fs::create_dir(top.join("kind")).unwrap();
        }),
        ("folder/deep", "it is not there", |top| fs::remove_file(top.join("folder/deep")).unwrap()),
        ("link", "other hard links", |top| {
            fs::remove_file(top.join("link")).unwrap();
            fs::copy(top.join("content"), top.join("link")).unwrap();
        }),
        ("target", "another target", |top| {
            fs::remove_file(top.join("target")).unwrap();
            symlink("elsewhere", top.join("target")).unwrap();
        }),
        ("more", "the point does not hold it", |top| fs::write(top.join("more"), "more").unwrap()),
    ];
    for (number, (path, says, harm)) in harms.iter().enumerate() {
        let out = format!("out{number}");
        machine.done(&["restore", "latest", "--into", &out, "--numeric-ids"]);
        assert_eq!(against(&machine.at(&out)), Vec::<String>::new());
        harm(&machine.at(&out));
        let found = against(&machine.at(&out));
        let is_told = |told: &String| told.starts_with(&format!("{path}: ")) && told.contains(says);
        assert!(found.iter().any(is_told), "{path}, {says}: {found:?}");
    }
}
