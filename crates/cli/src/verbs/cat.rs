//! `cat`: the content of one file, each chunk checked before it leaves.

use std::ffi::OsString;

use engine::look::Look;
use format::path::TreePath;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::verbs;

/// Print the content of a file
#[derive(clap::Args)]
pub(crate) struct Cat {
    /// An id, the first digits of one, or `latest`
    point: String,
    /// The file; may be left out where the point is one file
    path: Option<OsString>,
    /// The source, for `latest`
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl Cat {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        if context.out.json {
            return Err(Error::Request("the content of a file is not JSON; leave out --json".to_owned()));
        }
        let repo = context.open()?;
        let point = verbs::choose(&repo, &self.point, self.source.as_deref())?;
        let path = self.path.as_deref().map_or(Ok(TreePath::root()), verbs::tree_path)?;
        Look::new(&repo, point)?.cat(&path, &mut std::io::stdout().lock())?;
        Ok(Outcome::Done)
    }
}
