//! Real processes of many hosts on one repository, killed at any moment: what was acknowledged and not forgotten restores.
#![allow(clippy::print_stdout, reason = "a test says what happened in it")]

use std::time::Duration;

use tests::campaign::{Goal, Orders, Outcome, Place, run};

fn is_full() -> bool {
    std::env::var_os("SEAWALL_FULL").is_some()
}

/// A campaign that had to reach its goal, and in which nothing may have broken.
fn assert_won(orders: &Orders) {
    let Outcome { counts, broken, kept } = run(orders);
    println!("{:?}, seed {}\n{counts}", orders.place, orders.seed);
    assert!(broken.is_empty(), "seed {}: {}\nkept: {kept:?}\n{counts}", orders.seed, broken.join("\n"));
    let goal = orders.goal;
    assert!(counts.points >= goal.points, "{counts}");
    assert!(counts.kills() >= goal.kills && counts.killed_deleting >= goal.kills_deleting, "{counts}");
    assert!(counts.restores >= counts.live && counts.live > 0 && counts.forgotten > 0, "{counts}");
    assert!(counts.bytes_freed() * 2 >= counts.bytes_forgotten, "{counts}");
}

#[test]
fn what_was_acknowledged_in_a_directory_restores_whoever_is_killed() {
    let seconds = |plain, full| Duration::from_secs(if is_full() { full } else { plain });
    let goal = match is_full() {
        true => Goal { points: 200, kills: 100, kills_deleting: 20 },
        false => Goal { points: 12, kills: 6, kills_deleting: 1 },
    };
    let (at_least, at_most) = (seconds(15, 600), seconds(180, 660));
    assert_won(&Orders { seed: 5, place: Place::Local, at_least, at_most, goal });
}

#[test]
fn what_was_acknowledged_on_a_server_restores_whoever_is_killed() {
    if !is_full() {
        return tests::skipped(
            "what_was_acknowledged_on_a_server_restores_whoever_is_killed: SEAWALL_FULL is not set",
        );
    }
    let goal = Goal { points: 30, kills: 15, kills_deleting: 2 };
    let (at_least, at_most) = (Duration::from_secs(120), Duration::from_secs(180));
    assert_won(&Orders { seed: 6, place: Place::S3, at_least, at_most, goal });
}
