//! What goes wrong around a backup: it is killed, two run at once, the catalog is gone, files cannot be read.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::listing::Listing;
use tests::odd;
use tests::seawall::{Machine, Said, program};

use crate::{assert_same, restored};

#[test]
fn two_backups_at_once_both_succeed() {
    let machine = Machine::with_repository();
    odd::make(&machine.at("tree"));
    let words = ["backup", "tree", "--json"];
    let running: Vec<_> = (0..3).map(|_| machine.start(&words)).collect();
    for child in running {
        let said = Said::of(&words, child.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{said}");
    }
    let truth = Listing::of(&machine.at("tree"));
    let points = machine.points();
    assert_eq!(points.len(), 3);
    points.iter().for_each(|point| assert_same(point, &truth, &restored(&machine, point)));
}

/// Keeps a tree while it is killed at a moment of its own each time, from its start to after its end.
#[test]
fn a_killed_backup_harms_nothing_and_the_next_one_succeeds() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for number in 0..40 {
        fs::write(machine.at(&format!("tree/{number}")), odd::noise(number, 300_000)).unwrap();
    }
    machine.done(&["backup", "tree"]);
    let begin = Instant::now();
    machine.done(&["backup", "tree", "--kind", "full"]);
    let usual = begin.elapsed();
    for number in 0..8u32 {
        let name = format!("tree/{}", number + 3);
        fs::write(machine.at(&name), odd::noise(1000 + u64::from(number), 2_000_000)).unwrap();
        let mut child = machine.start(&["backup", "tree"]);
        std::thread::sleep(usual * (number * 37 % 80) / 80);
        child.kill().unwrap();
        child.wait().unwrap();
        if number % 2 == 0 {
            continue;
        }
        machine.done(&["backup", "tree"]);
        assert_same("after a kill", &Listing::of(&machine.at("tree")), &restored(&machine, "latest"));
    }
    for point in machine.points() {
        restored(&machine, &point);
    }
    machine.done(&["catalog", "check"]);
}

/// More than a backup stores before it brings what is stored so far, killed as soon as it has.
#[test]
fn what_a_killed_backup_had_stored_is_used_by_the_next() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    // More than twice what is brought at a time: the next backup refers to old packs first and brings new ones then.
    for number in 0..150 {
        fs::write(machine.at(&format!("tree/{number}")), odd::noise(number + 1, 8 << 20)).unwrap();
    }
    let before = log_entries(&machine.repository());
    let mut child = machine.start(&["backup", "tree"]);
    let begin = Instant::now();
    while log_entries(&machine.repository()) == before && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(240), "nothing is brought after four minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(machine.points().is_empty(), "it was killed before its end");
    let next = machine.json(&["backup", "tree"]);
    let (all, new) = (next["bytes_logical"].as_u64().unwrap(), next["bytes_new"].as_u64().unwrap());
    assert!(new < all - (400 << 20), "{new} of {all} bytes were stored again");
    assert_same("after a kill", &Listing::of(&machine.at("tree")), &restored(&machine, "latest"));
}

/// Whole entries: the folder of a chain is there before its first entry, and a part of one before the whole.
fn log_entries(repository: &Path) -> usize {
    let is_entry = |name: &&Vec<u8>| {
        repo::layout::parse_entry(&format!("log/{}", String::from_utf8_lossy(name))).is_some()
    };
    Listing::of(&repository.join("log")).0.keys().filter(is_entry).count()
}

#[test]
fn a_catalog_that_is_gone_or_garbage_is_made_anew() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), odd::noise(3, 100_000)).unwrap();
    machine.done(&["backup", "tree"]);
    for damage in [None, Some("this is no database"), Some("")] {
        let points = machine.points();
        let catalog = catalog(&machine);
        match damage {
            None => fs::remove_file(catalog).unwrap(),
            Some(garbage) => fs::write(catalog, garbage).unwrap(),
        }
        assert_eq!(machine.points(), points, "{damage:?}");
        machine.done(&["catalog", "check"]);
        machine.done(&["backup", "tree"]);
        assert_same("with a new catalog", &Listing::of(&machine.at("tree")), &restored(&machine, "latest"));
        assert_eq!(machine.points().len(), points.len() + 1);
    }
    let points = machine.points();
    fs::remove_dir_all(machine.at("state")).unwrap();
    assert_eq!(machine.points(), points, "without any state");
}

fn catalog(machine: &Machine) -> PathBuf {
    let folders = fs::read_dir(machine.at("state")).unwrap();
    let catalogs = folders.map(|folder| folder.unwrap().path().join("catalog.sqlite"));
    catalogs.into_iter().find(|catalog| catalog.exists()).unwrap()
}

/// Makes all below `path` belong to a user who may not read everything; for root, who may.
fn give_away(path: &Path) {
    const NOBODY: u32 = 65_534;
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

#[test]
fn what_cannot_be_read_is_named_and_all_else_is_kept() {
    let machine = Machine::with_repository();
    for name in ["tree/closed", "tree/open"] {
        fs::create_dir_all(machine.at(name)).unwrap();
        fs::write(machine.at(name).join("file"), name).unwrap();
    }
    fs::write(machine.at("tree/secret"), "secret").unwrap();
    let copy = machine.at("program");
    fs::copy(program(), &copy).unwrap();
    if rustix::process::geteuid().is_root() {
        give_away(&machine.at(""));
    }
    for name in ["tree/closed", "tree/secret"] {
        fs::set_permissions(machine.at(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let run = |words: &[&str]| {
        let ours = machine.command(words);
        let mut command = Command::new(&copy);
        command.args(words).current_dir(machine.at("")).env_clear();
        ours.get_envs().for_each(|(name, value)| {
            command.env(name, value.unwrap());
        });
        if rustix::process::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        Said::of(words, command.output().unwrap())
    };
    let said = run(&["backup", "tree", "--json"]);
    fs::set_permissions(machine.at("tree/closed"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(said.code, 2, "{said}");
    assert!(said.err.contains("closed") && said.err.contains("secret"), "{said}");
    assert_eq!(said.json()["problems"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(run(&["restore", "latest", "--into", "out"]).code, 0);
    assert_eq!(fs::read_to_string(machine.at("out/open/file")).unwrap(), "tree/open");
    assert!(!machine.at("out/secret").exists() && !machine.at("out/closed/file").exists());
}
