//! Servers that ask for fewer requests.

use std::time::{Duration, Instant};

use tests::s3::{Orders, Server};
use tests::seawall::Machine;

use crate::{assert_restores, assert_told, order, plant, server};

fn machine(server: &Server) -> Machine {
    let machine = Machine::with_s3(server);
    machine.done(&["init"]);
    plant(&machine, 1, 200_000);
    machine
}

/// How many requests this makes where all is well; what it restored is gone again.
fn requests(server: &Server, machine: &Machine, words: &[&str]) -> u64 {
    order(server, Orders::default());
    let _ = std::fs::remove_dir_all(machine.at("out"));
    let before = server.counts().requests;
    machine.done(words);
    let _ = std::fs::remove_dir_all(machine.at("out"));
    server.counts().requests - before
}

#[test]
fn a_burst_of_refusals_costs_time_and_nothing_else() {
    let server = server();
    let machine = machine(&server);
    for (number, status) in [503, 429].into_iter().enumerate() {
        plant(&machine, 10 + number as u64, 200_000);
        order(&server, Orders { unavailable_next: 3, busy_status: Some(status), ..Orders::default() });
        machine.done(&["backup", "tree"]);
        // Also in the middle.
        for words in [&["restore", "latest", "--into", "out"][..], &["verify", "--level", "L1"]] {
            let busy_after = requests(&server, &machine, words) - 3;
            let busy =
                Orders { unavailable_next: 3, busy_status: Some(status), busy_after, ..Orders::default() };
            order(&server, busy);
            machine.done(words);
        }
    }
    assert_eq!(server.counts().spoiled, 18, "each order was carried out");
    order(&server, Orders::default());
    assert_restores(&machine, &["--existing", "replace"]);
    machine.done(&["verify", "--level", "L1"]);
}

#[test]
fn a_server_that_says_how_long_to_wait_is_left_alone_for_so_long() {
    let server = server();
    let machine = machine(&server);
    plant(&machine, 2, 8_000_000);
    for words in [
        &["backup", "tree"][..],
        &["points"],
        &["restore", "latest", "--into", "out"],
        &["verify", "--level", "L1"],
    ] {
        let busy_after = if words[0] == "backup" { 10 } else { requests(&server, &machine, words) - 3 };
        let busy = Orders { unavailable_next: 2, retry_after_s: Some(1), busy_after, ..Orders::default() };
        order(&server, busy);
        let before = server.counts();
        let begin = Instant::now();
        machine.done(words);
        let (counts, took) = (server.counts(), begin.elapsed());
        assert_eq!(counts.spoiled - before.spoiled, 2, "{words:?}");
        assert_eq!(counts.impatient, 0, "{words:?}: nobody came before it was time");
        assert!(took >= Duration::from_secs(1), "{words:?} {took:?}");
        if words[0] == "restore" {
            crate::assert_same(&machine);
        }
    }
}

/// Many requests at once, of which each could come back by itself.
#[test]
fn a_server_that_stays_busy_is_not_hammered_and_then_given_up() {
    let server = server();
    let machine = machine(&server);
    machine.done(&["backup", "tree"]);
    plant(&machine, 3, 24_000_000);
    let always = Orders { unavailable_per_mille: 1_000, ..Orders::default() };
    for (words, status, retry_after_s) in [
        (&["points"][..], 503, None),
        (&["backup", "tree"], 503, None),
        (&["restore", "latest", "--into", "out"], 503, None),
        (&["verify", "--level", "L1"], 429, None),
        (&["points"], 503, Some(3_600)),
    ] {
        let busy_after = match words[0] {
            "backup" => 12,
            // With the last ones a restore says that it is over.
            "restore" => requests(&server, &machine, words) - 6,
            _ => requests(&server, &machine, words) - 1,
        };
        order(&server, Orders { busy_after, busy_status: Some(status), retry_after_s, ..always.clone() });
        let before = server.counts().spoiled;
        let begin = Instant::now();
        let said = machine.run(&[words, &["--retry-for", "2s"]].concat());
        assert_told(&said, 6, &["the place is too busy", &status.to_string(), "tried", "--retry-for 1h"]);
        let (asked, took) = (server.counts().spoiled - before, begin.elapsed());
        assert!(asked < 60, "{asked} requests: {said}");
        // A busy machine may stop the program for longer than it waits.
        assert!(took < Duration::from_secs(60), "{took:?}: {said}");
    }
    order(&server, Orders::default());
    machine.done(&["backup", "tree"]);
    assert_restores(&machine, &["--existing", "replace"]);
    assert_eq!(machine.points().len(), 2, "nothing half-made counts");
}

#[test]
fn a_large_upload_that_is_throttled_now_and_then_is_finished() {
    let server = server();
    let machine = machine(&server);
    plant(&machine, 4, 36_000_000);
    order(
        &server,
        Orders { unavailable_per_mille: 250, seed: 3, busy_status: Some(429), ..Orders::default() },
    );
    machine.done(&["backup", "tree"]);
    assert!(server.counts().spoiled > 3, "{:?}", server.counts());
    assert_restores(&machine, &[]);
}
