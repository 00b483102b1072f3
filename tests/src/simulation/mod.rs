//! A deterministic simulation: real repositories over one place in memory that fails and lies, used by many hosts whose
//! steps are interleaved from one seed, with wrong clocks, pauses of days, deaths in the middle of a call, older copies of
//! a host's state, and clones.
//!
//! The same seed gives the same history, step for step. At the end of each, and during it where that is cheap, checkers
//! that share nothing with the code under test ask whether what was acknowledged is there, whether what is needed was
//! deleted, and whether catalogs and the signed history are as they should be.

mod actor;
mod acts;
mod checks;
mod command;
mod counts;
mod history;
mod journal;
mod keep;
mod place;
mod plan;
mod plant;
mod prelude;
mod run;
mod shrink;
mod source;
mod stage;
mod sweeper;

pub use command::{USAGE, simulate};
pub use counts::Counts;
pub use history::{Outcome, play};
pub use plan::{Cut, FAULTS, Plan};
pub use plant::{Plant, Prank};
pub use run::{Orders, Run, room};
pub use shrink::{Shrunk, shrink};
