//! Harm that is drawn by chance, and what the program makes of it; ten thousand are `cargo run -p tests -- inject --injections 10000`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]
#![allow(clippy::print_stdout, reason = "a test says what happened in it")]

use std::fs;

use tests::files::{below, flip};
use tests::injection::{Orders, run};
use tests::listing::Listing;
use tests::odd;
use tests::seawall::Machine;

#[test]
fn whatever_is_harmed_is_found_and_no_wrong_byte_comes_back() {
    let is_full = std::env::var_os("SEAWALL_FULL").is_some();
    let injections = if is_full { 600 } else { 80 };
    let outcome = run(&Orders { seed: 1, first: 0, injections, jobs: 2 });
    println!("{}", outcome.counts);
    assert!(outcome.broken.is_empty(), "{}\nkept: {:?}", outcome.broken.join("\n"), outcome.kept);
    assert_eq!(outcome.counts.injections(), injections);
    // What is rare may not come up among a few.
    assert!(
        !is_full || outcome.counts.missing().is_empty(),
        "never happened: {:?}",
        outcome.counts.missing()
    );
}

/// A machine with a point that counts, one that was forgotten, and a sweep that has condemned and deleted.
fn swept() -> (Machine, Listing) {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/goes"), odd::noise(1, 100_000)).unwrap();
    let first = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    fs::remove_file(machine.at("tree/goes")).unwrap();
    fs::write(machine.at("tree/stays"), odd::noise(2, 100_000)).unwrap();
    machine.done(&["backup", "tree"]);
    machine.done(&["forget", "--apply", &first]);
    machine.done(&["sweep", "--apply"]);
    let truth = Listing::of(&machine.at("tree"));
    (machine, truth)
}

#[test]
fn a_damaged_key_slot_is_told_with_an_exit_code() {
    let machine = Machine::with_repository();
    fs::write(machine.at("passphrase"), "correct horse\n").unwrap();
    let added = machine.json(&["key", "add", "--new-passphrase-file", "passphrase"]);
    let id = added["added"].as_str().unwrap();
    let slot = below(&machine.repository().join("keys")).into_iter().find(|path| path.ends_with(id)).unwrap();
    flip(&slot, [100]);
    for words in [["verify", "--level=L0"], ["key", "list"]] {
        machine.run(&words).assert_failed(3, id);
    }
}

/// What the hint says is enough.
#[test]
fn a_damaged_part_of_a_sweep_stops_backups_and_sweeps_until_it_is_gone() {
    let (machine, truth) = swept();
    let part = below(&machine.repository().join("sweeps")).remove(0);
    flip(&part, [20]);
    machine.run(&["verify"]).assert_failed(3, "sweeps/");
    for words in [&["backup", "tree"][..], &["sweep", "--apply"]] {
        machine.run(words).assert_failed(3, "delete that object: the next sweep says it anew");
    }
    machine.done(&["restore", "latest", "--into", "out"]);
    assert_eq!(Listing::of(&machine.at("out")).differences(&truth), Vec::<String>::new());
    fs::remove_file(part).unwrap();
    for words in [
        &["verify"][..],
        &["backup", "tree"],
        &["sweep", "--apply"],
        &["restore", "latest", "--into", "back"],
    ] {
        machine.done(words);
    }
    assert_eq!(Listing::of(&machine.at("back")).differences(&truth), Vec::<String>::new());
}

#[test]
fn a_file_of_somebody_else_among_the_objects_stops_nobody() {
    let (machine, truth) = swept();
    for folder in ["sweeps", "sessions", "packs", "runs"] {
        for name in ["desktop.ini", ".DS_Store"] {
            fs::write(machine.repository().join(folder).join(name), b"none of ours").unwrap();
        }
    }
    for words in [&["backup", "tree"][..], &["sweep", "--apply"], &["restore", "latest", "--into", "back"]] {
        machine.done(words);
    }
    assert_eq!(Listing::of(&machine.at("back")).differences(&truth), Vec::<String>::new());
}
