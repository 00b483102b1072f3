//! The signed history as an outsider checks it: with public keys alone, on a machine that has never seen it.
//!
//! Whatever is cut, changed, moved or forked is named, but for the newest entries that nobody else has seen; those are
//! reported as unproven, and a host that has seen them misses them.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use format::entry::{Clear, Entry};
use format::id::Hash;
use format::key::Generation;
use format::seal::Signer;
use repo::layout::parse_entry;
use serde_json::Value;
use tests::files::below;
use tests::seawall::{Machine, Said};
use world::World;

/// A repository with three points.
fn grown() -> Machine {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for number in 0..3 {
        fs::write(machine.at("tree/file"), format!("state {number}")).unwrap();
        machine.done(&["backup", "tree"]);
    }
    machine
}

/// The entries of a repository: name below it, bytes.
fn entries(machine: &Machine) -> BTreeMap<String, Vec<u8>> {
    let top = machine.repository();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap())
    };
    below(&top.join("log")).into_iter().map(named).collect()
}

fn place(machine: &Machine, name: &str) -> PathBuf {
    machine.repository().join(name)
}

/// What `log --verify` says to somebody who has neither a key nor a memory.
fn outsider(machine: &Machine, more: &[&str]) -> (Said, Value) {
    let stranger = Machine::new();
    let repository = machine.repository();
    let words = [&["log", "--verify", "--json", "--repo", repository.to_str().unwrap()], more].concat();
    let said = stranger.run(&words);
    let document = if said.out.is_empty() { Value::Null } else { said.json() };
    (said, document)
}

fn assert_found(what: &str, machine: &Machine) {
    let (said, document) = outsider(machine, &[]);
    assert_eq!(said.code, 3, "{what}: {said}");
    assert!(!document["findings"].as_array().unwrap().is_empty(), "{what}");
    assert_eq!(document["freshness"], "unproven", "{what}");
}

fn decoded(name: &str, bytes: &[u8], machine: &Machine) -> Clear {
    let genesis = format::genesis::Genesis::decode(&fs::read(place(machine, "format")).unwrap()).unwrap();
    Entry::decode(bytes, &genesis.id).unwrap_or_else(|why| panic!("{name}: {why}")).clear
}

#[test]
fn a_whole_history_is_verified_without_keys_and_says_how_fresh_it_is() {
    let machine = grown();
    let (said, document) = outsider(&machine, &[]);
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(
        (document["anchor"].as_str(), document["unproven_chains"].as_u64()),
        (Some("unproven"), Some(1))
    );
    let fingerprint = document["fingerprint"].as_str().unwrap();
    let (said, document) = outsider(&machine, &["--trust", fingerprint]);
    assert_eq!((said.code, document["anchor"].as_str()), (0, Some("given")));
    let (said, _) = outsider(&machine, &["--trust", &fingerprint.replace(|c: char| c.is_ascii_digit(), "a")]);
    said.assert_failed(4, "trusted");
}

#[test]
fn an_entry_that_is_gone_is_missed_unless_nobody_else_has_seen_it() {
    let machine = grown();
    let newest = machine.json(&["log"])["entries"].as_array().unwrap().last().unwrap().clone();
    let all = entries(&machine);
    for (name, bytes) in &all {
        fs::remove_file(place(&machine, name)).unwrap();
        let is_newest = name.contains(newest["session"].as_str().unwrap());
        if is_newest {
            let (said, document) = outsider(&machine, &[]);
            assert_eq!((said.code, document["freshness"].as_str()), (0, Some("unproven")), "{said}");
        } else {
            assert_found(name, &machine);
        }
        // Nobody takes a history of which something is missing for one without points.
        let points = Machine::with_key_of(&machine).run(&["points"]);
        assert_eq!(points.code, if is_newest { 0 } else { 3 }, "{points}");
        // This host has seen all of them.
        machine.run(&["log", "--verify"]).assert_failed(3, if is_newest { "is gone" } else { "missing" });
        fs::write(place(&machine, name), bytes).unwrap();
    }
    assert_eq!(all.len(), 4, "one of the root, one of each backup");
    assert_eq!(outsider(&machine, &[]).0.code, 0);
}

#[test]
fn an_entry_that_is_changed_or_stands_elsewhere_is_found() {
    let machine = grown();
    let all = entries(&machine);
    for (name, bytes) in &all {
        let mut changed = bytes.clone();
        let middle = changed.len() / 3;
        changed[middle] ^= 1;
        fs::write(place(&machine, name), &changed).unwrap();
        assert_found(&format!("{name} changed"), &machine);
        // Under a name that fits the changed bytes, only the signature can tell.
        fs::remove_file(place(&machine, name)).unwrap();
        let (stem, _) = name.rsplit_once('-').unwrap();
        let fitting = format!("{stem}-{}", Hash::of(&changed));
        fs::write(place(&machine, &fitting), &changed).unwrap();
        assert_found(&format!("{name} changed and named anew"), &machine);
        fs::remove_file(place(&machine, &fitting)).unwrap();
        fs::write(place(&machine, name), bytes).unwrap();
    }
    let names: Vec<&String> = all.keys().collect();
    for pair in names.windows(2) {
        fs::write(place(&machine, pair[0]), &all[pair[1]]).unwrap();
        fs::write(place(&machine, pair[1]), &all[pair[0]]).unwrap();
        assert_found("two entries that were exchanged", &machine);
        pair.iter().for_each(|name| fs::write(place(&machine, name), &all[*name]).unwrap());
    }
    assert_eq!(outsider(&machine, &[]).0.code, 0);
}

#[test]
fn rebuilding_the_catalog_forgets_nothing_that_the_region_lost() {
    let machine = grown();
    let newest = machine.json(&["log"])["entries"].as_array().unwrap().last().unwrap().clone();
    let session = newest["session"].as_str().unwrap();
    let lost: Vec<String> = entries(&machine).into_keys().filter(|name| name.contains(session)).collect();
    assert_eq!(lost.len(), 1);
    fs::remove_file(place(&machine, &lost[0])).unwrap();
    machine.run(&["log", "--verify"]).assert_failed(3, "is gone");
    machine.run(&["catalog", "rebuild"]);
    machine.run(&["log", "--verify"]).assert_failed(3, "is gone");
    machine.run(&["points"]).assert_failed(3, "gone");
}

/// The writer's own key made two histories: a copy of the machine, or a thief.
#[test]
fn a_fork_is_found_whichever_place_it_takes() {
    let machine = grown();
    let signer = signer_of(&machine);
    for (name, bytes) in &entries(&machine) {
        let clear = decoded(name, bytes, &machine);
        if clear.public_key != signer.public() {
            continue;
        }
        let other = Clear {
            time: format::entry::LogicalTime { counter: clear.time.counter + 1, ..clear.time },
            ..clear
        };
        let generation = Generation::fresh(0, &mut World::real().chance());
        let keys = (format::id::DomainId([0; 16]), &generation);
        let (hash, object) = Entry::create(&other, &[], keys, &signer, &mut World::real().chance());
        let fork = repo::layout::entry(other.id(), hash);
        fs::write(place(&machine, fork.as_str()), object.as_bytes()).unwrap();
        let (said, document) = outsider(&machine, &[]);
        assert_eq!(said.code, 3, "{name}: {said}");
        assert!(document["findings"].to_string().contains("two claim to be entry"), "{document}");
        fs::remove_file(place(&machine, fork.as_str())).unwrap();
        assert!(parse_entry(name).is_some());
    }
}

fn signer_of(machine: &Machine) -> Signer {
    let folders = fs::read_dir(machine.at("state")).unwrap().map(|entry| entry.unwrap().path());
    let key = folders.map(|folder| folder.join("writer.key")).find(|key| key.exists()).unwrap();
    let text = fs::read_to_string(key).unwrap();
    let seed = format::id::from_hex(text.trim().rsplit(' ').next().unwrap()).unwrap();
    Signer::from_seed(&zeroize::Zeroizing::new(seed.try_into().unwrap()))
}

/// Whoever has read an entry keeps it, so only reading it again shows that the region lost it.
#[test]
fn an_entry_that_is_lost_where_its_host_remembers_it_is_found_by_a_verification() {
    let machine = grown();
    machine.done(&["verify"]);
    for (name, bytes) in entries(&machine) {
        fs::write(place(&machine, &name), &bytes[..bytes.len() / 2]).unwrap();
        for level in ["L1", "L2"] {
            let verify = machine.run(&["verify", "--level", level]);
            assert!(
                verify.code == 3 && verify.out_text().contains("entries of the history are damaged"),
                "{verify}"
            );
            assert!(verify.err.contains(&name), "{name}: {verify}");
        }
        fs::write(place(&machine, &name), &bytes).unwrap();
    }
    machine.done(&["verify"]);
}
