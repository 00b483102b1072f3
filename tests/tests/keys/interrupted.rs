//! Renewals that are killed, renewals at once, and a backup under way meanwhile: whatever happens, all of the repository
//! opens for whoever it opened for before, nothing is sealed under keys that somebody lacks, and a further renewal ends it.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::s3::{Config, Server};
use tests::seawall::Said;

use super::*;

/// A machine that has a point in a bucket, a key file in the usual place and a recipient's beside it.
fn in_bucket(server: &Server) -> Machine {
    let machine = Machine::with_s3(server);
    machine.done(&["init"]);
    machine.done(&["key", "add", "--recipient", &recipient(&machine, "safe.key")]);
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), odd::noise(1, 2_000_000)).unwrap();
    machine.done(&["backup", "tree"]);
    machine
}

fn wait_until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never came to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn assert_all_there(machine: &Machine, when: &str) {
    let truth = Listing::of(&machine.at("tree"));
    for (number, key) in [machine.key_file(), machine.at("safe.key")].iter().enumerate() {
        let into = format!("out{number}");
        let said = machine.run(&["restore", "latest", "--into", &into, "--key-file", key.to_str().unwrap()]);
        assert_eq!(said.code, 0, "{when}: {said}");
        assert_eq!(Listing::of(&machine.at(&into)).differences(&truth), Vec::<String>::new(), "{when}");
        fs::remove_dir_all(machine.at(&into)).unwrap();
    }
}

/// Backs up with every secret; answers how many were refused as the renewal was not ended.
fn back_up_with_each(machine: &Machine, when: &str) -> usize {
    let mut refused = 0;
    for key in [machine.key_file(), machine.at("safe.key")] {
        let said = machine.run(&["backup", "tree", "--key-file", key.to_str().unwrap()]);
        let unfinished = said.code == 5 && said.err.contains("`seawall key renew");
        assert!(said.code == 0 || unfinished, "{when}: {said}");
        refused += usize::from(unfinished);
    }
    refused
}

/// The writes are two slots and the entry, the deletions two slots; each request takes 60 ms.
#[test]
fn a_renewal_that_is_killed_anywhere_loses_nothing_and_can_be_run_again() {
    let (mut unfinished, mut ended) = (0, 0);
    for (writes, deletes) in [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2)] {
        let when = format!("killed after {writes} writes and {deletes} deletions");
        let server = Server::start(Config::default());
        let machine = in_bucket(&server);
        server.order(|orders| orders.latency_ms = 60);
        let (began, mut child) = (server.counts(), machine.start(&["key", "renew"]));
        wait_until(|| {
            let now = server.counts();
            now.writes - began.writes >= writes && now.deletes - began.deletes >= deletes
        });
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
        server.order(|orders| orders.latency_ms = 0);
        assert_all_there(&machine, &when);
        match back_up_with_each(&machine, &when) {
            0 => ended += 1,
            _ => unfinished += 1,
        }
        assert_all_there(&machine, &when);
        machine.done(&["key", "renew"]);
        fs::write(machine.at("tree/more"), odd::noise(2, 100_000)).unwrap();
        assert_eq!(back_up_with_each(&machine, &when), 0, "{when}");
        assert_all_there(&machine, &when);
        let slots = slots(&machine);
        assert!(slots.len() == 2 && slots.iter().all(|slot| slot["newest"] == true), "{when}: {slots:?}");
        machine.done(&["verify", "--level", "L2"]);
        machine.done(&["log", "--verify"]);
    }
    assert!(unfinished > 0 && ended > 0, "it was killed on one side of the entry only");
}

#[test]
fn two_renewals_at_once_shut_nobody_out() {
    let server = Server::start(Config::default());
    let machine = in_bucket(&server);
    let mut other = Machine::with_s3(&server);
    other.set("SEAWALL_KEY_FILE", machine.key_file().to_str().unwrap());
    other.done(&["points"]);
    server.order(|orders| orders.latency_ms = 30);
    let renewing = [machine.start(&["key", "renew"]), other.start(&["key", "renew"])];
    let ended = renewing.map(|child| Said::of(&["key", "renew"], child.wait_with_output().unwrap()));
    server.order(|orders| orders.latency_ms = 0);
    for said in &ended {
        assert!(matches!(said.code, 0 | 5), "{said}");
    }
    assert_all_there(&machine, "after two at once");
    assert_eq!(back_up_with_each(&machine, "after two at once"), 0);
    other.done(&["key", "renew"]);
    assert_all_there(&machine, "after a third");
    assert_eq!(back_up_with_each(&machine, "after a third"), 0);
    assert_eq!(slots(&machine).iter().filter(|slot| slot["newest"] == true).count(), 2);
    machine.done(&["verify", "--level", "L2"]);
}

#[test]
fn a_backup_during_a_renewal_ends_under_the_keys_that_it_began_with_and_says_so() {
    let server = Server::start(Config::default());
    let machine = in_bucket(&server);
    let mut other = Machine::with_s3(&server);
    other.set("SEAWALL_KEY_FILE", machine.key_file().to_str().unwrap());
    fs::write(machine.at("tree/more"), odd::noise(3, 40_000_000)).unwrap();
    let before = server.counts().writes;
    let child = machine.start(&["backup", "tree"]);
    // The session is announced, and a pack is on its way.
    wait_until(|| server.counts().writes > before + 1);
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    let renewed = other.run(&["key", "renew"]);
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    let said = Said::of(&["backup", "tree"], child.wait_with_output().unwrap());
    assert_eq!(renewed.code, 0, "{renewed}");
    assert_eq!(said.code, 0, "{said}");
    assert!(said.err.contains("keys were renewed meanwhile"), "{said}");
    assert_all_there(&machine, "after both");
    machine.done(&["backup", "tree"]);
    machine.done(&["verify", "--level", "L1"]);
    machine.done(&["verify", "--level", "L2"]);
}
