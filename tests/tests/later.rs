//! What a later program may have put into a repository, met by this one: it goes on where it may, stops where it must, says
//! which and what helps, and deletes nothing that it does not understand.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use format::entry::{Brought, Clear, Entry, LogicalTime};
use format::fact::{Fact, Feature, NAMESPACE, RawFact};
use format::id::{DomainId, Hash, PackId, RunId, SessionId, WriterId};
use format::key::Bundle;
use format::seal::Signer;
use tests::files::below;
use tests::odd;
use tests::seawall::{Machine, Said};
use world::World;

const HINT: &str = "use the version of seawall that wrote it, or a later one";

/// A machine with two points, of which the first was forgotten, so that a sweep has something to delete.
fn machine() -> Machine {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for name in ["old", "new"] {
        fs::write(machine.at("tree/file"), odd::noise(u64::from(name == "old"), 300_000)).unwrap();
        machine.done(&["backup", "tree", "--source", "tree"]);
    }
    let first = machine.points()[0].clone();
    machine.done(&["forget", "--apply", &first]);
    machine
}

/// What the root states in one entry.
#[derive(Default)]
struct Statement {
    clear: Vec<RawFact>,
    sealed: Vec<RawFact>,
    brings: Vec<Brought>,
}

/// Puts an entry of the root into the repository, whose sealed part is under the keys of `keys`, or of the repository.
fn state(machine: &Machine, statement: Statement, keys: Option<&Bundle>) {
    let opened = machine.opened(World::real(), "later");
    let signer = Signer::from_seed(opened.bundle().root.as_ref().unwrap());
    let mut facts = statement.clear;
    facts.push(Fact::End.encode());
    let clear = Clear {
        repo: opened.id(),
        writer: WriterId::of(&signer.public()),
        session: SessionId([9; 16]),
        number: 0,
        previous: Hash::NONE,
        time: LogicalTime { time: World::real().now_ns(), counter: 0 },
        epoch: 0,
        public_key: signer.public(),
        regions: vec!["home".into()],
        brings: statement.brings,
        deps: Vec::new(),
        heads: Vec::new(),
        facts,
        local: None,
    };
    let keys = keys.unwrap_or(opened.bundle());
    let place = (keys.domain, keys.newest());
    let (hash, object) =
        Entry::create(&clear, &statement.sealed, place, &signer, &mut World::real().chance());
    put(machine, repo::layout::entry(clear.id(), hash).as_str(), object.as_bytes());
}

fn put(machine: &Machine, name: &str, bytes: &[u8]) -> PathBuf {
    let place = machine.repository().join(name);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, bytes).unwrap();
    place
}

fn fact(kind: u32, version: u32, critical: &[&str]) -> RawFact {
    let critical = critical.iter().map(|verb| (*verb).to_owned()).collect();
    RawFact { namespace: NAMESPACE.into(), kind, version, critical, bytes: vec![0x81, 0x01] }
}

fn feature(effect: u8) -> RawFact {
    Fact::Feature(Feature { name: "three-way-parity".into(), effect }).encode()
}

fn objects(machine: &Machine, folder: &str) -> Vec<PathBuf> {
    let folder = machine.repository().join(folder);
    if folder.exists() { below(&folder) } else { Vec::new() }
}

fn assert_refused(said: &Said, says: &[&str]) {
    assert_eq!(said.code, 4, "{said}");
    for part in says {
        assert!(said.err.contains(part), "{part:?} is not in: {said}");
    }
}

/// The commands, by the verb of the format that each is.
const RESTORE: &[&[&str]] =
    &[&["restore", "latest", "--into", "out"], &["verify", "--level", "L2"], &["ls", "latest"]];
const WRITE: &[&[&str]] = &[&["backup", "tree", "--source", "tree"], &["key", "renew"]];
const FORGET: &[&[&str]] = &[&["forget", "--keep-last", "1", "--apply"]];
const SWEEP: &[&[&str]] = &[&["sweep"], &["sweep", "--apply"]];

#[test]
fn a_critical_fact_that_is_not_known_refuses_the_verbs_that_it_names_and_no_others() {
    type Row<'a> = (&'a str, bool, RawFact, &'a [&'a [&'a [&'a str]]], &'a [&'a [&'a [&'a str]]]);
    let rows: &[Row<'_>] = &[
        ("seawall type 34 version 0", false, fact(34, 0, &["sweep"]), &[SWEEP], &[RESTORE, FORGET, WRITE]),
        (
            "seawall type 4711 version 0",
            true,
            fact(4711, 0, &["restore"]),
            &[RESTORE],
            &[FORGET, WRITE, SWEEP],
        ),
        (
            "seawall type 16 version 1",
            false,
            fact(16, 1, &["sweep", "forget"]),
            &[SWEEP, FORGET],
            &[RESTORE, WRITE],
        ),
        ("the feature three-way-parity", true, feature(1), &[WRITE, FORGET, SWEEP], &[RESTORE]),
        ("the feature three-way-parity", true, feature(2), &[RESTORE, WRITE, FORGET, SWEEP], &[]),
        ("the feature three-way-parity", true, feature(3), &[SWEEP], &[RESTORE, FORGET, WRITE]),
        ("the feature three-way-parity", true, feature(200), &[RESTORE, WRITE, FORGET, SWEEP], &[]),
    ];
    for (named, is_clear, raw, refused, allowed) in rows {
        let machine = machine();
        let (clear, sealed) =
            if *is_clear { (vec![raw.clone()], vec![]) } else { (vec![], vec![raw.clone()]) };
        state(&machine, Statement { clear, sealed, ..Statement::default() }, None);
        let before = objects(&machine, "packs");
        for words in refused.iter().flat_map(|words| words.iter()) {
            assert_refused(&machine.run(words), &[named, HINT]);
        }
        assert!(!machine.at("out").exists());
        assert_eq!(objects(&machine, "packs"), before, "{named}");
        for words in allowed.iter().flat_map(|words| words.iter()) {
            machine.done(words);
        }
        machine.done(&["log", "--verify"]);
    }
}

/// Facts that forbid nothing and compatible features do not stand in the way of anything, and stay.
#[test]
fn facts_that_are_not_critical_are_kept_and_stand_in_nobodys_way() {
    let machine = machine();
    let other = RawFact { namespace: "example.org".into(), ..fact(1, 3, &[]) };
    let clear = vec![fact(40, 0, &[]), feature(0), other.clone()];
    state(&machine, Statement { clear, sealed: vec![fact(39, 0, &[]), other], ..Statement::default() }, None);
    let entries = objects(&machine, "log");
    for words in [RESTORE, WRITE, FORGET, SWEEP].concat() {
        machine.done(words);
    }
    let after = objects(&machine, "log");
    assert!(entries.iter().all(|entry| after.contains(entry)));
}

/// Somebody else's sources, in the same place: their points are sealed, so what keeps their packs is not to be seen.
#[test]
fn a_sweep_that_cannot_open_all_of_the_history_deletes_nothing() {
    let machine = machine();
    let mut chance = World::real().chance();
    let domain = DomainId([7; 16]);
    let generations = vec![format::key::Generation::fresh(0, &mut chance)];
    let ours = machine.opened(World::real(), "later");
    let theirs = Bundle { domain, generations, ..ours.bundle().clone() };
    let pack = PackId::new(SessionId([9; 16]), [1; 16]);
    let name = repo::layout::pack(pack).to_string();
    let place = put(&machine, &name, &odd::noise(5, 20_000));
    let brings = vec![Brought { name, size: 20_000, hash: Hash::of(&fs::read(&place).unwrap()) }];
    let sealed = vec![fact(16, 0, &["sweep"])];
    state(&machine, Statement { sealed, brings, ..Statement::default() }, Some(&theirs));
    let before = objects(&machine, "packs");
    for words in SWEEP {
        let says = [
            "1 entries are sealed under keys that are not at hand",
            "nothing may be deleted",
            "sweep with a secret",
        ];
        assert_refused(&machine.run(words), &says);
    }
    assert_eq!(objects(&machine, "packs"), before);
    for words in [RESTORE, WRITE, FORGET].concat() {
        machine.done(words);
    }
}

#[test]
fn objects_below_reserved_and_unheard_of_prefixes_are_left_alone() {
    let machine = machine();
    let names = [
        "history/0001-ab",
        "checkpoints/x/y",
        "probes/home/1",
        "packs/readme",
        "packs/00/later",
        "packs/zz/9",
    ];
    let places: Vec<PathBuf> = names.iter().map(|name| put(&machine, name, b"seawallX\x09\0later")).collect();
    for words in [RESTORE, WRITE, FORGET, SWEEP].concat() {
        machine.done(words);
    }
    assert!(places.iter().all(|place| place.exists()));
    machine.run(&["init"]).assert_failed(4, "already holds");
}

/// The same object as a later program would write it: with a higher version behind the word and the letter of its kind.
fn of_version_9(object: &Path) -> Vec<u8> {
    let mut bytes = fs::read(object).unwrap();
    bytes[8..10].copy_from_slice(&9_u16.to_le_bytes());
    bytes
}

#[test]
fn an_entry_a_session_and_a_sweep_part_of_a_later_version_stop_whatever_rests_on_them() {
    let entry = |machine: &Machine| {
        let bytes = of_version_9(&objects(machine, "log")[0]);
        let (writer, session) = (WriterId([1; 16]), SessionId([2; 16]));
        let id = format::entry::EntryId { writer, session, number: 0 };
        (repo::layout::entry(id, Hash::of(&bytes)).to_string(), bytes)
    };
    let session = |machine: &Machine| {
        let name = repo::layout::session(WriterId([1; 16]), SessionId([2; 16]), 0).to_string();
        (name, of_version_9(&objects(machine, "sessions")[0]))
    };
    let part = |machine: &Machine| {
        let part = [&b"seawallW\x09\0"[..], &[0; 200]].concat();
        (format!("sweeps/{:08x}-{}/{:08x}", machine.points().len(), SessionId([3; 16]), 0), part)
    };
    type Make<'a> = &'a dyn Fn(&Machine) -> (String, Vec<u8>);
    type Row<'a> = (&'a str, Make<'a>, &'a [&'a [&'a [&'a str]]]);
    let rows: [Row<'_>; 3] = [
        ("a log entry has format version 9", &entry, &[RESTORE, WRITE, FORGET, SWEEP]),
        ("a session object has format version 9", &session, &[SWEEP]),
        ("a sweep part has format version 9", &part, &[&[WRITE[0]], SWEEP]),
    ];
    for (says, make, refused) in rows {
        let machine = machine();
        let (name, bytes) = make(&machine);
        let place = put(&machine, &name, &bytes);
        let before = objects(&machine, "packs");
        for words in refused.iter().flat_map(|words| words.iter()) {
            assert_refused(&machine.run(words), &[says, &name, HINT]);
        }
        assert_eq!(objects(&machine, "packs"), before, "{says}");
        fs::remove_file(place).unwrap();
        // What was refused may have left sessions open that a sweep which deletes would wait for.
        for words in [RESTORE, WRITE, FORGET, &SWEEP[..1]].concat() {
            machine.done(words);
        }
    }
}

/// A run only saves time: what a later program's lists is stored again where it is not known otherwise.
#[test]
fn a_run_of_a_later_version_is_passed_over() {
    let machine = machine();
    let bytes = b"seawallR\x09\0later".to_vec();
    let opened = machine.opened(World::real(), "later");
    let writer = WriterId::of(&opened.genesis().root_public);
    let name = repo::layout::run(writer, SessionId([9; 16]), RunId([1; 16])).to_string();
    let place = put(&machine, &name, &bytes);
    let brings = vec![Brought { name, size: bytes.len() as u64, hash: Hash::of(&bytes) }];
    state(&machine, Statement { brings, ..Statement::default() }, None);
    for words in [RESTORE, WRITE, FORGET, SWEEP].concat() {
        machine.done(words);
    }
    assert!(place.exists());
}

#[test]
fn a_key_slot_of_a_later_version_is_told_from_a_damaged_one() {
    let machine = machine();
    let ours = objects(&machine, "keys")[0].clone();
    let name = "0".repeat(32);
    let theirs = ours.with_file_name(&name);
    fs::write(&theirs, of_version_9(&ours)).unwrap();
    let said = machine.done(&["restore", "latest", "--into", "out"]);
    assert!(
        said.err.contains(&format!("{name} is not for this program: a key slot has format version 9")),
        "{said}"
    );
    machine.run(&["key", "renew"]).assert_failed(4, "is not for this program");
    fs::rename(&ours, machine.at("slot")).unwrap();
    let other = Machine::with_key_of(&machine);
    let refused = other.run(&["restore", "latest", "--into", "out"]);
    assert_refused(&refused, &["no key slot in", "that this program knows", &name, HINT]);
    assert!(!other.at("out").exists());
}
