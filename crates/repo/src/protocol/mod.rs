//! The protocols by which sessions, sweeps, retention and replication share a region without locks.
//!
//! Each role is a small machine: it is begun, gives an [`Effect`], and goes on when its driver hands the
//! [`Reply`] to `step`, until the effect is `Done`. Machines do no I/O, read no clock and draw no chance; what
//! they decide depends on the replies alone. The exhaustive model drives the same machines over a store of a
//! few bits, through every interleaving, and production drives them over objects.
//!
//! A driver carries out one effect of a machine at a time, starts it only after the machine asked for it, and
//! answers only once it is durable; a list is complete and begins after it was asked for. It hands
//! [`Reply::Failed`] on when it does not know, and may stop for ever, or go on after any pause, at any point.

mod condemn;
mod expiry;
mod finish;
mod fold;
mod object;
mod replicate;
mod restore;
mod retention;
mod rules;
mod session;
#[cfg(test)]
mod tests;
mod view;

pub use condemn::{Condemn, Condemned};
pub use expiry::{Silence, expire};
pub use finish::{Finish, Finished, Tidy};
pub use object::{
    Effect, Entry, EntryId, Fact, Id, Ids, List, Mark, Name, Needed, Object, Reply, SessionObject,
};
pub use replicate::{Asked, End, Replicate, Replicated, is_acknowledged, may_feed};
pub use restore::{Restore, Restored};
pub use retention::{Act, Revive, Revived, forget};
pub use rules::{Rule, Rules};
pub use session::{Arrived, Known, Reference, Refusal, Session};
pub use view::{Committed, Logs, Sessions, Standing, Sweeps};
