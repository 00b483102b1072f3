//! The model of the protocols: the step functions that production runs, driven through every interleaving of
//! small worlds. In every state what was acknowledged can be restored, what a running session relies on is
//! there, no name is written twice; nobody is ever stuck; and a last sweep frees what nothing needs.
//!
//! An actor may stop for ever, or go on after any pause, at every step; that is what the interleavings are.
//! Then each ordering rule is taken away, and the explorer must find the harm.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test says what it explored and how long"
)]
#![allow(unreachable_pub, missing_docs, reason = "modules of a test have no other readers")]

#[path = "model/actor.rs"]
mod actor;
#[path = "model/explorer.rs"]
mod explorer;
#[path = "model/ids.rs"]
mod ids;
#[path = "model/keeper.rs"]
mod keeper;
#[path = "model/last.rs"]
mod last;
#[path = "model/mutations.rs"]
mod mutations;
#[path = "model/regions.rs"]
mod regions;
#[path = "model/scenario.rs"]
mod scenario;
#[path = "model/scenarios.rs"]
mod scenarios;
#[path = "model/store.rs"]
mod store;
#[path = "model/sweeper.rs"]
mod sweeper;
#[path = "model/world.rs"]
mod world;
#[path = "model/writer.rs"]
mod writer;

use repo::protocol::{Rule, Rules};

use explorer::explore;
use mutations::ROWS;
use scenario::Scenario;

/// More states than any scenario of the plain run has; a bound on memory, not on what is explored.
const STATES_MAX: usize = 90_000_000;

fn holds(scenario: &Scenario) {
    let report = explore(scenario, STATES_MAX);
    println!(
        "model {}: {} states, {} transitions, depth {}, {:.1} s, {}\n  bounds: {}",
        scenario.name,
        report.states,
        report.transitions,
        report.depth,
        report.seconds,
        report.sizes,
        scenario.bounds
    );
    if let Some((broken, steps, path)) = report.broken {
        panic!("{}: {broken:?} after {steps} steps:\n{}", scenario.name, path.join("\n"));
    }
    assert!(report.complete, "{} has more than {STATES_MAX} states", scenario.name);
}

#[test]
fn a_basis_survives_forgetting_and_repacking() {
    holds(&scenarios::basis(Rules::all()));
}

#[test]
fn shared_frames_survive_sweeps_renewal_and_expiry() {
    holds(&scenarios::sharing(Rules::all()));
}

#[test]
fn each_renewal_covers_what_it_states() {
    holds(&scenarios::renewing(Rules::all()));
}

#[test]
fn a_renewal_that_covers_nothing_more_keeps_sweeps_waiting() {
    holds(&scenarios::insisting(Rules::all()));
}

#[test]
fn what_is_brought_before_its_point_may_be_condemned_and_harms_nothing() {
    holds(&scenarios::bringing(Rules::all()));
}

#[test]
fn lists_need_not_be_of_one_moment() {
    holds(&scenarios::paged_low(Rules::all()));
    holds(&scenarios::paged_high(Rules::all()));
}

#[test]
fn whoever_saw_a_point_twice_may_rely_on_it() {
    holds(&scenarios::witnessing_at_once(Rules::all()));
    holds(&scenarios::witnessing_low(Rules::all()));
    holds(&scenarios::witnessing_high(Rules::all()));
}

#[test]
fn what_is_acknowledged_survives_any_expiry() {
    holds(&scenarios::expiry(Rules::all()));
}

#[test]
fn undo_and_hold_keep_what_they_acknowledge() {
    holds(&scenarios::undoing(Rules::all()));
}

#[test]
fn what_was_brought_back_in_vain_is_looked_at_when_it_is_brought_back_again() {
    holds(&scenarios::reviving_again(Rules::all()));
}

#[test]
fn a_restore_follows_what_moves() {
    holds(&scenarios::moving(Rules::all()));
}

#[test]
fn a_restore_is_not_swept_away() {
    holds(&scenarios::restoring(Rules::all()));
}

#[test]
fn a_session_object_deleted_between_two_lists_hides_nothing() {
    holds(&scenarios::two_folds(Rules::all()));
}

#[test]
fn a_failing_store_costs_no_data() {
    holds(&scenarios::faults(Rules::all()));
}

#[test]
fn a_full_disk_costs_no_data() {
    holds(&scenarios::full(Rules::all()));
}

#[test]
fn what_does_not_read_for_a_while_costs_no_data() {
    holds(&scenarios::misreading(Rules::all()));
}

#[test]
fn hearsay_is_no_place() {
    holds(&scenarios::hearsay(Rules::all()));
}

#[test]
fn a_replica_is_always_a_prefix_with_its_closure() {
    holds(&scenarios::replication(Rules::all()));
}

#[test]
fn an_interrupted_replication_is_repaired_by_the_next() {
    holds(&scenarios::interrupted(Rules::all()));
}

#[test]
fn a_region_that_was_away_is_fed_by_replication() {
    holds(&scenarios::counting(Rules::all()));
}

#[test]
fn all_roles_may_run_together() {
    holds(&scenarios::together_with(Rules::all(), std::env::var_os("SEAWALL_FULL").is_some()));
}

#[test]
fn every_removed_rule_is_caught() {
    let mut missed = Vec::new();
    for row in ROWS {
        let scenario = (row.scenario)(Rules::all().without(row.rule));
        let scenario = Scenario { roots_watched: false, ..scenario };
        let report = explore(&scenario, 5_000_000);
        let found = report.broken.map(|(broken, steps, _)| (broken, steps));
        let text =
            found.map_or("not caught".to_owned(), |(broken, steps)| format!("{broken:?} in {steps} steps"));
        println!(
            "model without {:?} ({}): {}: {text}, {} states",
            row.rule, row.mutation, scenario.name, report.states
        );
        if found.map(|(broken, _)| broken) != Some(row.broken) {
            missed.push(format!("{} in {}: {text}, not {:?}", row.mutation, scenario.name, row.broken));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn every_rule_has_a_row() {
    let without: Vec<Rule> =
        Rule::ALL.into_iter().filter(|rule| !ROWS.iter().any(|row| row.rule == *rule)).collect();
    assert!(without.is_empty(), "rules that no row removes: {without:?}");
}
