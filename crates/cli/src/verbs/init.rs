//! `init`: makes a repository, and says by what it is known from then on.

use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Outcome};

/// Make the repository
///
/// Makes it where there is none yet, and a key file where there is none yet. Prints the repository's id, which is also
/// the fingerprint that anchors its history: whoever knows it can check everything else.
#[derive(clap::Args)]
pub(crate) struct Init {}

impl Init {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let made = context.make()?;
        let (id, place) = (made.repo.id().to_string(), made.repo.io().place());
        let body = json!({
            "id": id,
            "fingerprint": id,
            "repository": place,
            "key_file_made": made.key_file.as_ref().map(|path| path.to_string_lossy()),
        });
        context.out.summary("init/1", body, |out| {
            writeln!(out, "made         {place}")?;
            writeln!(out, "repository   {id}")?;
            writeln!(out, "fingerprint  {id}")?;
            writeln!(out, "             (the same: note it, and give it to --trust on other hosts)")
        })?;
        Ok(Outcome::Done)
    }
}
