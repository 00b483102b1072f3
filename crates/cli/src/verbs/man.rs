//! `man`: manual pages, one for each verb.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::args::Cli;
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Write the manual pages into a directory
#[derive(clap::Args)]
pub(crate) struct Man {
    /// The directory; made where there is none
    dir: PathBuf,
}

impl Man {
    pub(crate) fn run(self, _: &Context) -> Result<Outcome, Error> {
        std::fs::create_dir_all(&self.dir).map_err(Error::local("make the folder", &self.dir))?;
        let written = clap_mangen::generate_to(Cli::command(), &self.dir);
        written.map_err(Error::local("write manual pages into", &self.dir))?;
        Ok(Outcome::Done)
    }
}
