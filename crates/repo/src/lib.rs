//! How data is found once, kept, proven and safely deleted.
//!
//! A repository is sealed write-once objects; its history is one signed log per session; everything else is a fold of
//! those logs. [`Repo`] opens one and reads; [`Writer`] is the only way to add; [`sweep::Sweep`] is the only one to delete a
//! pack.

mod admin;
mod alive;
mod at_work;
mod catalog;
mod choose;
mod error;
mod fold;
mod fresh;
mod guard;
mod index;
mod io;
mod keep;
pub mod layout;
mod log;
mod mark;
mod pace;
pub mod protocol;
mod reader;
mod renew;
mod repo;
mod rescue;
pub mod retention;
mod session;
mod state;
mod stated;
pub mod sweep;
#[cfg(test)]
mod trial;
mod unlock;
pub mod verify;
mod writer;

pub use admin::{Audit, audit};
pub use at_work::AtWork;
pub use catalog::{Catalog, Opened};
pub use error::Error;
pub use fold::{
    Finding, Fold, Forgetting, HoldRecord, PackRecord, PointRecord, RescueRecord, RunRecord, Standing,
};
pub use guard::Guard;
pub use io::{Feed, Held, Io, Ranges, Uploads, Wanted, ranges};
pub use keep::{Forgot, Holding, Kept, Last, Moment};
pub use log::{BadEntry, Log, LogEntry, Refreshed};
pub use reader::{GRID, OpenPack, PackOpener, Reader, Scratch, widen};
pub use renew::{AtHand, Others, Renewal, Renewed};
pub use repo::{Opening, Repo, Secret};
pub use rescue::{Lying, RescueItem, rescue_items, rescue_items_read};
pub use state::State;
pub use writer::{Found, Reuse, Style, Worker, Writer};
