//! What this machine and a place can do: each stage of a backup and of a restore alone, both of them whole, and how much
//! of what the stages allow the whole reaches.
//!
//! The data is a copy that nobody else changes, so that what comes back can be compared with it. Stages run with the code
//! and the limits that backups and restores run with, one after the other on pieces of the size that those work on, so
//! that each finds its input where it would find it. Who calls this makes the repository, which holds nothing else, and
//! removes it afterwards.

mod data;
mod limit;
mod stages;
mod whole;

pub use data::{Data, Source, prepare};
pub use limit::{Bound, Limit};
pub use stages::{Rates, Stage, Stages, probe, stages};
pub use whole::{Run, Whole, whole};

use std::path::Path;

use crate::error::Error;

/// What could not be done with a file of the measurement itself.
fn local<'p>(act: &'p str, path: &'p Path) -> impl FnOnce(std::io::Error) -> Error + 'p {
    move |error| Error::Output(format!("{act} {}: {error}", path.display()), error.kind())
}

#[cfg(test)]
mod tests;
