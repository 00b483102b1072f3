//! What is checked when nobody is at work any more: every point, at every level, from hosts old and new, and what the
//! sweeps have freed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::actors::{clear, same};
use super::field::Field;
use super::host::Host;
use super::ledger::State;

/// Sweeps until one says that all is done.
const SWEEPS_MAX: u32 = 6;

pub(super) fn close(field: &Field, hosts: &[Host]) -> Result<(), String> {
    let founder = &field.founder;
    let unknown = settle(field)?;
    field.count(|counts| counts.unacknowledged = unknown.len() as u64);
    for point in &unknown {
        let said = founder.says(&["verify", point, "--level", "L2"])?;
        field.count(|counts| counts.unacknowledged_damaged += u64::from(said.code != 0));
    }
    if !unknown.is_empty() {
        let words = ["forget", "--apply", "--even-last"].into_iter();
        founder.done(&words.chain(unknown.iter().map(String::as_str)).collect::<Vec<_>>())?;
    }
    sweep_all(founder, "60")?;
    sweep_all(founder, "100")?;
    weigh(field);
    for level in ["L1", "L2"] {
        founder.done(&["verify", "--level", level])?;
    }
    founder.done(&["log", "--verify"])?;
    restore_all(field, hosts)
}

/// Holds the ledger against what is listed; answers the points that nobody acknowledged. From here on nothing is doubtful.
fn settle(field: &Field) -> Result<Vec<String>, String> {
    let listed = field.founder.done(&["points", "--json"])?.json();
    let points = listed["points"].as_array().expect("points are a list");
    let mut listed: BTreeSet<String> =
        points.iter().map(|point| point["id"].as_str().expect("an id is text").to_owned()).collect();
    let mut ledger = field.ledger();
    let doubtful: Vec<String> = ledger.of(State::Doubtful).into_iter().map(str::to_owned).collect();
    for point in doubtful {
        ledger.set(&point, if listed.contains(&point) { State::Kept } else { State::Forgotten });
    }
    for point in ledger.of(State::Kept) {
        if !listed.remove(point) {
            return Err(format!("point {point} was acknowledged, not forgotten, and is not listed"));
        }
    }
    match ledger.of(State::Forgotten).into_iter().find(|point| listed.contains(*point)) {
        Some(point) => Err(format!("point {point} was forgotten and is listed")),
        None => Ok(listed.into_iter().collect()),
    }
}

/// Gives up whoever is dead, and sweeps until all is done.
fn sweep_all(host: &Host, repack_below: &str) -> Result<(), String> {
    let words = ["sweep", "--apply", "--repack-below", repack_below, "--wait", "60s", "--expire-after", "3s"];
    for _ in 0..SWEEPS_MAX {
        let said = host.says(&words)?;
        match said.code {
            0 => return Ok(()),
            5 => {}
            _ => return Err(host.wrong(&said)),
        }
    }
    Err(format!("{SWEEPS_MAX} sweeps were not enough, although nobody is at work"))
}

fn weigh(field: &Field) {
    let bytes = |pieces: &BTreeSet<u64>| pieces.iter().map(|piece| super::tree::length(*piece) as u64).sum();
    let (live, points, gone) = {
        let ledger = field.ledger();
        let live = ledger.pieces(State::Kept);
        let gone = ledger.pieces(State::Forgotten).difference(&live).copied().collect();
        (live, ledger.of(State::Kept).len() as u64, gone)
    };
    let stored = field.stored();
    field.count(|counts| {
        counts.live = points;
        counts.bytes_live = bytes(&live);
        counts.bytes_forgotten = bytes(&gone);
        counts.bytes_stored = stored;
    });
}

/// Restores all that lives, by turns from a host that has seen everything and from one that never saw the repository.
fn restore_all(field: &Field, hosts: &[Host]) -> Result<(), String> {
    let fresh = field.host("newcomer");
    let points: Vec<_> = {
        let ledger = field.ledger();
        let kept = ledger.of(State::Kept);
        kept.iter().map(|point| ((*point).to_owned(), Arc::clone(&ledger.points[*point].truth))).collect()
    };
    for (number, (point, truth)) in points.iter().enumerate() {
        let host = if number % 2 == 0 { &fresh } else { &hosts[number % hosts.len()] };
        clear(host);
        let said = host.done(&["restore", point, "--into", "out"])?;
        same(host, point, truth, &said)?;
        clear(host);
        field.count(|counts| counts.restores += 1);
    }
    Ok(())
}
