//! The way between a host and its repository, through the whole program: certificates, proxies, busy servers, credentials
//! that expire, limits, clocks, and names that lead nowhere.
//!
//! What is asked of each: the promised exit code; a message that says what is in the way, and a hint that says what to
//! do; no half minute of silence; nothing half-made that counts; and once it is out of the way, the run goes on.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

#[path = "network/busy.rs"]
mod busy;
#[path = "network/certificates.rs"]
mod certificates;
#[path = "network/clocks.rs"]
mod clocks;
#[path = "network/credentials.rs"]
mod credentials;
#[path = "network/limits.rs"]
mod limits;
#[path = "network/proxies.rs"]
mod proxies;
#[path = "network/silence.rs"]
mod silence;

use std::time::{Duration, Instant};

use tests::listing::Listing;
use tests::odd;
use tests::s3::{Config, Orders, Server};
use tests::seawall::{Machine, Said, program};

fn server() -> Server {
    Server::start(Config::default())
}

/// Orders these faults alone.
fn order(server: &Server, orders: Orders) {
    server.order(|now| *now = orders);
}

/// Makes a tree of this many bytes that nothing makes smaller.
fn plant(machine: &Machine, seed: u64, bytes: usize) {
    std::fs::create_dir_all(machine.at("tree")).unwrap();
    std::fs::write(machine.at("tree/noise"), odd::noise(seed, bytes)).unwrap();
    std::fs::write(machine.at("tree/note"), "a note\n").unwrap();
}

/// Restores the newest point, and compares.
fn assert_restores(machine: &Machine, more: &[&str]) {
    let said = machine.run(&[&["restore", "latest", "--into", "out"], more].concat());
    assert_eq!(said.code, 0, "{said}");
    assert_same(machine);
    std::fs::remove_dir_all(machine.at("out")).unwrap();
}

fn assert_same(machine: &Machine) {
    let differences = Listing::of(&machine.at("out")).differences(&Listing::of(&machine.at("tree")));
    assert_eq!(differences, Vec::<String>::new());
}

/// Asserts the exit code, and that one error with one hint was told in which each of these is said.
fn assert_told(said: &Said, code: i32, says: &[&str]) {
    assert_eq!(said.code, code, "{said}");
    for head in ["error:", "hint:"] {
        assert_eq!(said.err.lines().filter(|line| line.starts_with(head)).count(), 1, "{head} {said}");
    }
    says.iter().for_each(|part| assert!(said.err.contains(part), "{part:?} is not in: {said}"));
}

/// Runs it, which may not take longer than a person waits.
fn quickly(machine: &Machine, words: &[&str]) -> Said {
    program();
    let begin = Instant::now();
    let said = machine.run(words);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}: {said}", begin.elapsed());
    said
}
