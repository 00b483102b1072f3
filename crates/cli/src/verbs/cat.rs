//! `cat`: the content of one file, each chunk checked before it leaves.

use std::ffi::OsString;

use engine::look::Look;
use format::meta::Kind;
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
        let point = verbs::choose(context, &repo, &self.point, self.source.as_deref())?;
        let look = Look::new(&repo, point)?;
        let path = match self.path.as_deref() {
            Some(typed) => verbs::tree_path(typed)?,
            None => only_file(&look)?,
        };
        look.cat(&path, &mut std::io::stdout().lock())?;
        Ok(Outcome::Done)
    }
}

/// The file of a point that holds one file, as points of a stream or of a single file do.
fn only_file(look: &Look<'_>) -> Result<TreePath, Error> {
    let root = TreePath::root();
    let mut entries = look.entries(&root).filter(|entry| entry.as_ref().map_or(true, |e| !e.path.is_root()));
    match (entries.next().transpose()?, entries.next().transpose()?) {
        (Some(entry), None) if entry.meta.kind == Kind::File => Ok(entry.path),
        _ => Err(Error::Request(
            "the point is not one file, so say which one: `seawall cat POINT PATH`".to_owned(),
        )),
    }
}
