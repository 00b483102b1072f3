//! A campaign: hosts that share one repository, all of it by processes of the real program, which die by `kill -9` at
//! moments that nobody chose.
//!
//! Writers change what they protect and back it up; others restore, forget, take that back, sweep, and give up sessions,
//! dead or alive. A ledger keeps what each acknowledged point must bring back. While all this runs, and once more at the
//! end, every point that was acknowledged and not forgotten has to restore byte for byte, and nothing may end with an exit
//! code that does not fit. The choices follow from a seed; which process wins a race does not.

mod actors;
mod closing;
mod command;
mod counts;
mod field;
mod host;
mod ledger;
mod orders;
mod tree;

pub use command::{CAMPAIGN_USAGE, campaign};
pub use counts::Counts;
pub use orders::{Goal, Orders, Place};

use std::path::PathBuf;

use field::Field;

/// What came of a campaign.
#[derive(Debug)]
pub struct Outcome {
    /// What happened, and how often.
    pub counts: Counts,
    /// What must not have happened.
    pub broken: Vec<String>,
    /// Where the repository and all hosts are kept, if anything broke.
    pub kept: Vec<PathBuf>,
}

/// Runs one campaign to its end.
///
/// # Panics
///
/// If the machine has no room or no processes for it.
pub fn run(orders: &Orders) -> Outcome {
    let field = Field::new(orders);
    let hosts = actors::play(&field);
    if !field.is_broken() {
        field.note(closing::close(&field, &hosts));
    }
    hosts.into_iter().for_each(|host| field.leave(host));
    field.finish()
}
