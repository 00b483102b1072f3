//! Real processes of many hosts on one repository, killed at any moment: what was acknowledged and not forgotten restores.
#![allow(clippy::print_stdout, reason = "a test says what happened in it")]

use std::time::Duration;

use tests::campaign::{Goal, Orders, Outcome, Place, run};

fn is_full() -> bool {
    std::env::var_os("SEAWALL_FULL").is_some()
}

/// A campaign that had to reach its goal with each kind of event in it, and in which nothing may have broken.
fn assert_won(orders: &Orders) {
    let Outcome { counts, broken, kept } = run(orders);
    println!("{:?}, seed {}\n{counts}", orders.place, orders.seed);
    assert!(broken.is_empty(), "seed {}: {}\nkept: {kept:?}\n{counts}", orders.seed, broken.join("\n"));
    let (goal, missing) = (orders.goal, counts.missing());
    assert!(missing.is_empty(), "never happened: {missing:?}\n{counts}");
    assert!(counts.points >= goal.points && counts.kills() >= goal.kills, "{counts}");
    assert!(counts.killed_deleting >= goal.kills_deleting, "{counts}");
    assert!(counts.live > 0 && counts.restores >= counts.live, "{counts}");
    assert!(counts.freed_half(), "{counts}");
}

fn seconds(least: u64, most: u64) -> (Duration, Duration) {
    (Duration::from_secs(least), Duration::from_secs(most))
}

#[test]
fn what_was_acknowledged_in_a_directory_restores_whoever_is_killed() {
    let (goal, (at_least, at_most)) = match is_full() {
        true => (Goal { points: 60, kills: 30, kills_deleting: 5 }, seconds(140, 400)),
        false => (Goal { points: 16, kills: 8, kills_deleting: 1 }, seconds(20, 240)),
    };
    assert_won(&Orders { seed: 5, place: Place::Local, at_least, at_most, goal });
}

#[test]
fn what_was_acknowledged_on_a_server_restores_whoever_is_killed() {
    if !is_full() {
        return tests::skipped(
            "what_was_acknowledged_on_a_server_restores_whoever_is_killed: SEAWALL_FULL is not set",
        );
    }
    let (goal, (at_least, at_most)) = (Goal { points: 60, kills: 30, kills_deleting: 5 }, seconds(140, 400));
    assert_won(&Orders { seed: 6, place: Place::S3, at_least, at_most, goal });
}
