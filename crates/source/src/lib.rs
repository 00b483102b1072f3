//! How each protected system is read, followed and written back; nothing outside this crate knows.
//!
//! Three verbs for every kind of source, each kind a folder with a file per verb: *scan* reads a state,
//! *follow* reads changes, *apply* writes a state back. [`directory`] scans and applies file trees,
//! [`stream`] scans standard input and the output of a command, [`hook`] runs commands before and after. What is read arrives in the words of `format`
//! (paths, metadata); how it is cut, sealed and kept is not known here.
//!
//! One thing that cannot be read or set is told and the rest goes on; only what makes the whole wrong is an
//! error of the verb.

mod accounts;
pub mod directory;
mod error;
pub mod hook;
pub mod stream;
mod time;

pub use error::Error;
