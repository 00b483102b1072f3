//! Who can open a repository, and with what: recipients, whose public line is enough to let them in, and new keys, which
//! shut out whoever has only the old ones.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

#[path = "keys/closed.rs"]
mod closed;
#[path = "keys/interrupted.rs"]
mod interrupted;
#[path = "keys/renewed.rs"]
mod renewed;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tests::listing::Listing;
use tests::odd;
use tests::seawall::Machine;

/// A machine with a repository and one point of a tree of odd things.
fn with_point() -> Machine {
    let machine = Machine::with_repository();
    odd::make(&machine.at("tree"));
    machine.done(&["backup", "tree", "--source", "tree"]);
    machine
}

/// Makes a recipient's key and answers its public line.
fn recipient(machine: &Machine, file: &str) -> String {
    machine.json(&["key", "recipient", file])["recipient"].as_str().unwrap().to_owned()
}

fn slots(machine: &Machine) -> Vec<Value> {
    machine.json(&["key", "list"])["slots"].as_array().unwrap().clone()
}

/// Restores a point with a key and compares.
fn assert_restores(machine: &Machine, key: &str, point: &str, truth: &Listing) {
    let into = format!("out-{point}-{key}");
    machine.done(&["restore", point, "--into", &into, "--key-file", key]);
    assert_eq!(Listing::of(&machine.at(&into)).differences(truth), Vec::<String>::new(), "{point} {key}");
    fs::remove_dir_all(machine.at(&into)).unwrap();
}

fn id_of(slot: &Value) -> String {
    slot["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_recipient_is_let_in_by_its_public_line_and_opens_by_its_private_file() {
    let (admin, safe) = (with_point(), Machine::new());
    let line = recipient(&safe, "safe.key");
    let private = safe.at("safe.key");
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(recipient(&safe, "safe.key"), line, "a private key is never overwritten");
    let printed = safe.done(&["key", "recipient", "safe.key"]).out;
    assert_eq!(String::from_utf8(printed).unwrap().trim(), line);

    admin.done(&["key", "add", "--recipient", &line, "--label", "in the safe"]);
    let slot = slots(&admin)[1].clone();
    assert_eq!((slot["secret"].as_str(), slot["label"].as_str()), (Some("recipient"), Some("in the safe")));
    let shown = String::from_utf8(admin.done(&["key", "list"]).out).unwrap();
    let fingerprint = slot["fingerprint"].as_str().unwrap();
    assert!(shown.contains(&format!("recipient {}", &fingerprint[..12])), "{shown}");

    std::os::unix::fs::symlink(admin.repository(), safe.repository()).unwrap();
    safe.done(&["restore", "latest", "--into", "out", "--key-file", "safe.key"]);
    let truth = Listing::of(&admin.at("tree"));
    assert_eq!(Listing::of(&safe.at("out")).differences(&truth), Vec::<String>::new());
    let mut by_variable = safe.command(&["points", "--json"]);
    assert!(by_variable.env("SEAWALL_KEY_FILE", "safe.key").output().unwrap().status.success());
    safe.done(&["verify", "--level", "L2", "--key-file", "safe.key"]);
}

#[test]
fn a_public_line_may_lie_in_a_file_and_is_taken_once() {
    let machine = Machine::with_repository();
    let line = recipient(&machine, "safe.key");
    fs::write(machine.at("safe.pub"), format!("# of the safe\n{line}\n")).unwrap();
    machine.done(&["key", "add", "--recipient", "@safe.pub"]);
    machine.run(&["key", "add", "--recipient", &line]).assert_failed(4, "already");
    machine.run(&["key", "add", "--new-key-file", "safe.key"]).assert_failed(4, "already");
    machine.run(&["key", "add", "--recipient", "@none.pub"]).assert_failed(4, "none.pub");
    assert_eq!(slots(&machine).len(), 2);
}

#[test]
fn a_recipients_slot_is_removed_and_the_last_slot_is_not() {
    let machine = with_point();
    let line = recipient(&machine, "safe.key");
    machine.done(&["key", "add", "--recipient", &line]);
    let (file, safe) = (id_of(&slots(&machine)[0]), id_of(&slots(&machine)[1]));
    machine.done(&["key", "remove", &safe]);
    let said = machine.run(&["points", "--key-file", "safe.key"]);
    said.assert_failed(4, "recipient's key opens none");
    machine.run(&["key", "remove", &file]).assert_failed(4, "the only one");

    machine.done(&["key", "add", "--recipient", &line]);
    machine.done(&["key", "remove", &file, "--key-file", "safe.key"]);
    machine.run(&["points"]).assert_failed(4, "key file opens none");
    let safe = id_of(&slots_with(&machine, "safe.key")[0]);
    machine.run(&["key", "remove", &safe, "--key-file", "safe.key"]).assert_failed(4, "the only one");
    machine.done(&["backup", "tree", "--source", "tree", "--key-file", "safe.key"]);
}

fn slots_with(machine: &Machine, key: &str) -> Vec<Value> {
    machine.json(&["key", "list", "--key-file", key])["slots"].as_array().unwrap().clone()
}

#[test]
fn the_wrong_file_and_the_wrong_half_are_told_with_what_helps() {
    let machine = with_point();
    let line = recipient(&machine, "safe.key");
    recipient(&machine, "other.key");
    machine.done(&["key", "add", "--recipient", &line]);
    fs::write(machine.at("safe.pub"), &line).unwrap();
    let mut damaged = line.clone();
    let at = damaged.len() / 2;
    let letter = if damaged.as_bytes()[at] == b'0' { "1" } else { "0" };
    damaged.replace_range(at..=at, letter);
    for (words, says) in [
        (&["points", "--key-file", "other.key"][..], "the recipient's key opens none of the 2 key slots"),
        (&["points", "--key-file", "safe.pub"], "public key"),
        (&["key", "add", "--recipient", &damaged], "typing error"),
        (&["key", "add", "--recipient", "seawall-public-1"], "three words"),
    ] {
        let said = machine.run(words);
        said.assert_failed(4, says);
        assert!(said.err.contains("hint"), "{said}");
    }
    machine.run(&["key", "add", "--recipient", "@safe.key"]).assert_failed(4, "private half");
    let key = machine.key_file();
    machine.run(&["key", "recipient", key.to_str().unwrap()]).assert_failed(4, "another kind of key");
    assert_eq!(slots(&machine).len(), 2);
}

#[test]
fn a_repository_can_be_made_for_a_recipient_alone() {
    let machine = Machine::new();
    recipient(&machine, "safe.key");
    machine.done(&["init", "--key-file", "safe.key"]);
    let slots = slots_with(&machine, "safe.key");
    assert_eq!((slots.len(), slots[0]["secret"].as_str()), (1, Some("recipient")));
}

#[test]
fn a_secret_that_others_may_read_is_told_and_used() {
    let machine = Machine::with_repository();
    assert!(!machine.done(&["points"]).err.contains("chmod"));
    fs::set_permissions(machine.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let said = machine.done(&["points"]);
    assert!(said.err.contains("mode 644") && said.err.contains("chmod 600"), "{said}");
}
