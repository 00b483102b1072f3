//! What is checked when nobody is at work any more: every point, at every level, from hosts old and new, and what the
//! sweeps have freed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::actors::{at_work, clear, same};
use super::field::Field;
use super::host::Host;
use super::ledger::State;

/// Sweeps until one finds nothing: each may leave packs of which some has become unneeded by what it packed again.
const SWEEPS_MAX: u32 = 12;

pub(super) fn close(field: &Field, hosts: &[Host]) -> Result<(), String> {
    let founder = &field.founder;
    let unacknowledged = settle(field)?;
    field.count(|counts| counts.unacknowledged = unacknowledged.len() as u64);
    for point in &unacknowledged {
        let said = founder.says(&["verify", point, "--level", "L2"])?;
        field.count(|counts| counts.unacknowledged_damaged += u64::from(said.code != 0));
    }
    if !unacknowledged.is_empty() {
        let words = ["forget", "--apply", "--even-last"].into_iter();
        founder.done(&words.chain(unacknowledged.iter().map(String::as_str)).collect::<Vec<_>>())?;
    }
    field.count(|counts| counts.bytes_before = field.stored());
    sweep_all(field)?;
    weigh(field);
    for level in ["L1", "L2"] {
        founder.done(&["verify", "--level", level])?;
    }
    founder.done(&["log", "--verify"])?;
    restore_all(field, hosts)
}

/// Holds the ledger against what is listed; answers the points that nobody acknowledged. From here on each point is kept or
/// forgotten.
fn settle(field: &Field) -> Result<Vec<String>, String> {
    let listed = field.founder.done(&["points", "--json"])?.json();
    let points = listed["points"].as_array().expect("points are a list");
    let mut listed: BTreeSet<String> =
        points.iter().map(|point| point["id"].as_str().expect("an id is text").to_owned()).collect();
    let mut ledger = field.ledger();
    for point in ledger.of(State::Leaving) {
        ledger.set(&point, if listed.contains(&point) { State::Live } else { State::Forgotten });
    }
    for point in ledger.kept() {
        if !listed.remove(&point) {
            return Err(format!("point {point} was acknowledged, not forgotten, and is not listed"));
        }
    }
    if let Some(point) = ledger.whose(|record| record.state.is_out()).iter().find(|p| listed.contains(*p)) {
        return Err(format!("point {point} was forgotten and is listed"));
    }
    for point in ledger.of(State::Unknown) {
        ledger.set(&point, State::Forgotten);
    }
    Ok(listed.into_iter().collect())
}

/// Gives up whoever is dead, which is everybody, and sweeps until a sweep finds nothing.
fn sweep_all(field: &Field) -> Result<(), String> {
    let host = &field.founder;
    for session in at_work(host)? {
        host.done(&["session", "expire", &session])?;
    }
    for _ in 0..SWEEPS_MAX {
        let did = host.done(&["sweep", "--apply", "--json", "--repack-below", "100"])?.json();
        let did = &did["swept"];
        field.count(|counts| counts.add_swept(did));
        let found = [&did["condemned"]["packs"], &did["deleted"]["packs"], &did["moved"]["frames"]];
        if found.iter().all(|count| **count == 0) {
            return Ok(());
        }
    }
    Err(format!("{SWEEPS_MAX} sweeps were not enough, although nobody is at work"))
}

fn weigh(field: &Field) {
    let bytes = |pieces: &BTreeSet<u64>| pieces.iter().map(|piece| super::tree::length(*piece) as u64).sum();
    let (live, undone, kept, gone) = {
        let ledger = field.ledger();
        let live = ledger.pieces(|record| record.state.is_kept());
        let out = ledger.pieces(|record| record.state.is_out());
        let gone = out.difference(&live).copied().collect();
        (live, ledger.of(State::Undone).len(), ledger.kept().len(), gone)
    };
    let stored = field.stored();
    field.count(|counts| {
        (counts.live, counts.live_undone) = (kept as u64, undone as u64);
        counts.bytes_live = bytes(&live);
        counts.bytes_forgotten = bytes(&gone);
        counts.bytes_stored = stored;
    });
}

/// Restores all that is kept, by turns from a host that has seen everything and from one that never saw the repository.
fn restore_all(field: &Field, hosts: &[Host]) -> Result<(), String> {
    let fresh = field.host("newcomer");
    let points: Vec<_> = {
        let ledger = field.ledger();
        let kept = ledger.kept().into_iter();
        kept.map(|point| (Arc::clone(&ledger.points[&point].truth), point)).collect()
    };
    for (number, (truth, point)) in points.iter().enumerate() {
        let host = if number % 2 == 0 { &fresh } else { &hosts[number % hosts.len()] };
        clear(host);
        let said = host.done(&["restore", point, "--into", "out"])?;
        same(host, point, truth, &said)?;
        clear(host);
        field.count(|counts| counts.restores += 1);
    }
    Ok(())
}
