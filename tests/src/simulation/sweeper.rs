//! Sweeps: what nothing needs is condemned and deleted, beside everybody else.
//!
//! Some wait and give up those who are silent for a short while, some wait for their end, some hardly wait; many repack all
//! that they can. Whether a deletion
//! was right is for the checkers to say, at the moment when it happens.

use std::time::Duration;

use repo::Error;
use repo::sweep::{Options, Sweep};
use world::Chance;

use super::actor::{Acting, Host};

/// Sweeps again and again.
pub(super) struct Sweeper;

impl Acting for Sweeper {
    fn act(&mut self, host: &Host<'_>, chance: &mut Chance) -> Result<(), Error> {
        let mut sweep = Sweep::new(host.repo, options(chance))?;
        let plan = sweep.plan()?;
        if chance.below(12) == 0 {
            return Ok(());
        }
        let swept = sweep.apply(&plan)?;
        host.cast.stage.note(host.actor, &format!("{swept:?} by {plan:?}"));
        host.journal().count(|counts| counts.sweeps += 1);
        Ok(())
    }
}

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
