//! How data flows fast inside fixed limits: backup and restore.
//!
//! Both are run to completion per core: one piece of work is read, cut, named, looked up, compressed and sealed by one
//! thread while it is in that core's cache; only the order of the tree is restored at the end by one collector. Every
//! limit has its name and reason in `budget`.

pub mod backup;
mod basis;
pub mod bench;
mod budget;
pub mod diff;
mod error;
pub mod find;
pub mod look;
pub mod prove;
pub mod restore;
pub mod stats;

pub use error::{Error, Problem};
