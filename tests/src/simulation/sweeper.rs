//! Sweeps: what nothing needs is condemned and deleted, beside everybody else.
//!
//! Some wait long and give up those who are silent for a short while, some hardly wait; some repack much. Whether a deletion
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
        if chance.below(8) == 0 {
            return Ok(());
        }
        sweep.apply(&plan)?;
        host.journal().count(|counts| counts.sweeps += 1);
        Ok(())
    }
}

/// A sweep looks every five seconds whether those at work are done, so what it waits for is a minute or little more.
fn options(chance: &mut Chance) -> Options {
    let is_impatient = chance.below(3) > 0;
    let expire_after = if is_impatient { 5 + chance.below(50) } else { 25 * 3600 };
    let wait = if is_impatient { 70 } else { chance.below(20) };
    Options {
        repack_below: [0, 50, 100][usize::try_from(chance.below(3)).expect("below 3")],
        repack_bytes_max: 1 << 30,
        wait: Duration::from_secs(wait),
        expire_after: Duration::from_secs(expire_after),
    }
}
