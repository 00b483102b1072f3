//! How often opening a repository waits for an answer before it can ask on: counted, not timed.
//!
//! Over a network each round trip costs its latency however fast the line is, so what is known together is asked for
//! together. The server delays each answer, so that requests which leave together overlap, and the longest chain of
//! requests that follow one another is what counts.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;

use tests::odd;
use tests::s3::{Asked, Config, Server, chain};
use tests::seawall::{Machine, program};

/// Round trips of an opening, at most.
const ROUND_TRIPS_MAX: usize = 8;

/// Long enough that requests which leave together have all arrived before the first is answered, on a busy machine too.
const LATENCY_MS: u64 = 300;

/// A machine with a small tree that looks at the server's bucket.
fn machine(server: &Server) -> Machine {
    program();
    let machine = Machine::with_s3(server);
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/noise"), odd::noise(1, 50_000)).unwrap();
    machine
}

/// The same for another host of the same user.
fn further(server: &Server, first: &Machine) -> Machine {
    let machine = machine(server);
    fs::create_dir_all(machine.key_file().parent().unwrap()).unwrap();
    fs::copy(first.key_file(), machine.key_file()).unwrap();
    machine
}

/// A repository with one point, and its machine.
fn fresh(server: &Server) -> Machine {
    let machine = machine(server);
    machine.done(&["init"]);
    machine.done(&["backup", "tree"]);
    machine
}

/// A repository with 40 points by three machines, the first of which made the last.
fn grown(server: &Server) -> Machine {
    let first = fresh(server);
    let others = [further(server, &first), further(server, &first)];
    let hosts = [&others[0], &others[1], &first];
    (0..39).for_each(|number: usize| drop(hosts[number % 3].done(&["backup", "tree"])));
    assert_eq!(first.points().len(), 40);
    first
}

/// What the program asked the server for, each answer delayed.
fn asked(server: &Server, machine: &Machine, words: &[&str]) -> Vec<Asked> {
    let before = server.asked().len();
    server.order(|orders| orders.latency_ms = LATENCY_MS);
    machine.done(words);
    server.order(|orders| orders.latency_ms = 0);
    server.asked().split_off(before)
}

/// What this host remembers of a repository when it opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// What it read before.
    Kept,
    /// Nothing: it was never here.
    Lost,
}

/// Opens the repository; gives what was asked for, up to the first write.
fn opened(server: &Server, machine: &Machine, memory: Memory, words: &[&str]) -> Vec<Asked> {
    if memory == Memory::Lost {
        fs::remove_dir_all(machine.at("state")).unwrap();
    }
    let mut asked = asked(server, machine, words);
    let first_write = asked.iter().position(|one| !one.what.starts_with("GET"));
    asked.truncate(first_write.unwrap_or(asked.len()));
    asked
}

/// Asserts that a look, and a backup before it writes anything, take few round trips. Where the machine stalled for longer
/// than the latency, requests that left together did not overlap: that counts too many and never too few, so the least of
/// three counts is right.
fn assert_opens_quickly(server: &Server, machine: &Machine, memory: Memory) {
    for words in [&["points"][..], &["backup", "tree"]] {
        let mut counted = (0..3).map(|_| opened(server, machine, memory, words));
        let few = |asked: &Vec<Asked>| (1..=ROUND_TRIPS_MAX).contains(&chain(asked).len());
        let least = counted.find(few);
        assert!(least.is_some(), "{words:?}, {memory:?}: {:#?}", opened(server, machine, memory, words));
    }
}

fn entries(asked: &[Asked]) -> usize {
    asked.iter().filter(|one| one.what.contains("/log/")).count()
}

#[test]
fn a_fresh_repository_opens_within_eight_round_trips() {
    let server = Server::start(Config::default());
    assert_opens_quickly(&server, &fresh(&server), Memory::Kept);
}

#[test]
fn a_history_of_three_writers_that_is_known_opens_within_eight_round_trips() {
    let server = Server::start(Config::default());
    let machine = grown(&server);
    assert_opens_quickly(&server, &machine, Memory::Kept);
    let look = opened(&server, &machine, Memory::Kept, &["points"]);
    assert_eq!(entries(&look), 0, "what is known is not fetched again: {look:#?}");
}

#[test]
fn a_history_of_three_writers_that_is_not_known_opens_within_eight_round_trips() {
    let server = Server::start(Config::default());
    let machine = grown(&server);
    assert_opens_quickly(&server, &machine, Memory::Lost);
    let look = opened(&server, &machine, Memory::Lost, &["points"]);
    assert!(entries(&look) > 40, "the whole history is fetched: {look:#?}");
}
