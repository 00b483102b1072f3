//! Sweeps: what nothing needs is condemned and deleted, beside everybody else.
//!
//! Some wait and give up those who are silent for a short while, some wait for their end, some hardly wait; many repack all
//! that they can. Whether a deletion
//! was right is for the checkers to say, at the moment when it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use repo::sweep::{Options, Sweep};
use repo::{Error, layout};
use storage::ObjectKey;
use world::Chance;

use super::actor::{Acting, Host};
use super::plant::Prank;

/// Sweeps again and again.
pub(super) struct Sweeper;

impl Acting for Sweeper {
    fn act(&mut self, host: &Host<'_>, chance: &mut Chance) -> Result<(), Error> {
        let before = if host.plays(Prank::WritesAgain) { all_packs(host)? } else { BTreeMap::new() };
        if host.plays(Prank::ExpiresByClock) {
            expire_by_clock(host)?;
        }
        let mut sweep = Sweep::new(host.repo, options(chance))?;
        let plan = sweep.plan()?;
        if chance.below(12) == 0 {
            return Ok(());
        }
        let swept = sweep.apply(&plan)?;
        host.cast.stage.note(host.actor, &format!("{swept:?} by {plan:?}"));
        host.journal().count(|counts| counts.sweeps += 1);
        for (key, bytes) in before {
            if host.repo.io().size(&key).is_err() {
                host.repo.io().put_seen(&key, bytes)?;
            }
        }
        Ok(())
    }
}

/// For a planted bug: every pack with its bytes.
fn all_packs(host: &Host<'_>) -> Result<BTreeMap<ObjectKey, Bytes>, Error> {
    let io = host.repo.io();
    let listed = io.list(&layout::packs())?;
    listed.into_iter().map(|object| Ok((object.key.clone(), io.get(&object.key)?))).collect()
}

/// A planted bug: whoever began some seconds ago by this host's clock is given up.
fn expire_by_clock(host: &Host<'_>) -> Result<(), Error> {
    let now = host.repo.world().now_ns();
    host.repo.refresh()?;
    let running = host.repo.at_work()?.into_iter().filter(|one| !one.is_over);
    for old in running.filter(|one| now.saturating_sub(one.renewed) > SILENCE_NS) {
        host.repo.expire_session(&old.session.to_string())?;
    }
    Ok(())
}

/// The shortest silence for which anybody gives up a session, in nanoseconds.
pub(super) const SILENCE_NS: i64 = 5_000_000_000;

/// A sweep looks every five seconds whether those at work are done, so that it waits for long is rare.
fn options(chance: &mut Chance) -> Options {
    let (wait, expire_after) = match chance.below(8) {
        0..3 => (30, 5 + chance.below(15)),
        3 => (150, 100 + chance.below(40)),
        4..7 => (40, 25 * 3600),
        _ => (chance.below(10), 25 * 3600),
    };
    Options {
        repack_below: [0, 50, 100, 100][usize::try_from(chance.below(4)).expect("below 4")],
        repack_bytes_max: 1 << 30,
        wait: Duration::from_secs(wait),
        expire_after: Duration::from_secs(expire_after),
    }
}
