//! Several processes at work in one repository at once: everything may run beside everything.

use std::fs;
use std::process::Child;

use tests::listing::Listing;
use tests::odd;
use tests::s3::{Config, Server};
use tests::seawall::{Machine, Said};

use crate::{House, assert_restores};

/// Runs all of these at once, on one machine.
fn at_once(machine: &Machine, all: &[Vec<&str>]) -> Vec<Said> {
    let children: Vec<Child> = all.iter().map(|words| machine.start(words)).collect();
    let done = children.into_iter().zip(all);
    done.map(|(child, words)| Said::of(words, child.wait_with_output().unwrap())).collect()
}

fn assert_all_done(said: &[Said]) {
    said.iter().for_each(|said| assert_eq!(said.code, 0, "{said}"));
}

fn make_tree(machine: &Machine, name: &str, seed: u64) {
    fs::create_dir(machine.at(name)).unwrap();
    for number in 0..20 {
        // A third of it is the same in all trees.
        let seed = if number % 3 == 0 { number } else { seed * 1000 + number };
        fs::write(machine.at(&format!("{name}/{number}")), odd::noise(seed + 1, 150_000)).unwrap();
    }
}

/// Two rounds of backups of different and of the same sources, a restore and a verification beside them.
fn all_sorts(mut house: House) {
    make_tree(&house.machine, "one", 1);
    make_tree(&house.machine, "two", 2);
    let machine = &house.machine;
    let first = house.points[0].0.clone();
    for (round, out) in ["out-a", "out-b"].into_iter().enumerate() {
        let backup = |tree| vec!["backup", tree, "--json"];
        let mut all = vec![backup("one"), backup("two"), backup("one"), backup("tree")];
        all.push(vec!["restore", &first, "--into", out]);
        all.push(vec!["verify", "--level", if round == 0 { "L1" } else { "L2" }]);
        all.push(vec!["points", "--json"]);
        let said = at_once(machine, &all);
        assert_all_done(&said);
        assert_eq!(Listing::of(&machine.at(out)).differences(&house.points[0].1), Vec::<String>::new());
        for (said, tree) in said.iter().zip(["one", "two", "one", "tree"]) {
            let point = said.json()["point"].as_str().unwrap().to_owned();
            assert_restores(machine, &point, &Listing::of(&machine.at(tree)));
        }
    }
    assert_eq!(machine.points().len(), 9);
    machine.done(&["log", "--verify"]);
    machine.done(&["catalog", "check"]);
    house.points = machine.points().into_iter().map(|point| (point, Listing::default())).collect();
    house.change();
    house.keep();
    let (point, truth) = house.points.last().unwrap();
    assert_restores(&house.machine, point, truth);
}

#[test]
fn four_backups_a_restore_and_a_verification_run_beside_each_other_in_a_folder() {
    all_sorts(House::local());
}

#[test]
fn four_backups_a_restore_and_a_verification_run_beside_each_other_in_a_bucket() {
    let server = Server::start(Config::default());
    all_sorts(House::remote(&server));
}

/// Each machine has its own state; they share the key and the repository.
#[test]
fn two_machines_share_a_repository_and_its_chunks() {
    let server = Server::start(Config::default());
    let house = House::remote(&server);
    let other = Machine::with_s3(&server);
    fs::create_dir_all(other.key_file().parent().unwrap()).unwrap();
    fs::copy(house.machine.key_file(), other.key_file()).unwrap();
    for machine in [&house.machine, &other] {
        make_tree(machine, "shared", 5);
    }
    let words = ["backup", "shared", "--json"];
    let both = [house.machine.start(&words), other.start(&words)];
    let said = both.map(|child| Said::of(&words, child.wait_with_output().unwrap()));
    assert_all_done(&said);
    let points = said.each_ref().map(|said| said.json()["point"].as_str().unwrap().to_owned());
    let truths = [&house.machine, &other].map(|machine| Listing::of(&machine.at("shared")));
    for (point, truth) in points.iter().zip(&truths) {
        assert_restores(&house.machine, point, truth);
        assert_restores(&other, point, truth);
    }
    let again = other.json(&["backup", "shared", "--source", "once more"]);
    assert_eq!(again["bytes_new"].as_u64().unwrap() / 100_000, 0, "all of it is known: {again}");
}
