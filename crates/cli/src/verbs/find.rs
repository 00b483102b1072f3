//! `find`: which points hold a name.

use std::io::Write;

use engine::find::Search;
use format::id::PointId;
use format::tree::Entry;
use globset::{Candidate, GlobBuilder, GlobMatcher};
use serde_json::{Value, json};
use world::{Remedied, Remedy};

use super::ls;
use crate::context::{Context, cores};
use crate::error::{Error, Outcome};
use crate::{show, verbs};

/// Find names in all points
///
/// A pattern without a slash is for names at any depth; one with a slash is for whole paths, where `*` stops at slashes
/// and `**` does not.
#[derive(clap::Args)]
pub(crate) struct Find {
    /// What to look for, such as '*.sql' or 'etc/**/hosts'
    glob: String,
    /// Only in points of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl Find {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let pattern = Pattern::new(&self.glob)?;
        let repo = context.open()?;
        repo.must_read()?;
        verbs::check_known(&repo, self.source.as_deref())?;
        let fold = repo.fold();
        let (mut found, mut outcome) = (Vec::new(), verbs::of_history(&repo));
        let mut search = Search::new(&repo, |path: &[u8]| pattern.matches(path), cores())?;
        for point in fold.live(self.source.as_deref()) {
            let id = point.point.id;
            search.point(point, |entry| match entry {
                Ok(entry) => {
                    found.extend(tell(context, id, entry)?);
                    Ok(())
                }
                Err(error) if error.remedy() == Remedy::Repair => {
                    let point = show::short(id);
                    context.out.warning(format!("{point}: part of it was not searched: {error}"));
                    outcome = Outcome::Damaged;
                    Ok(())
                }
                Err(error) => Err(Error::from(error)),
            })?;
        }
        if context.out.json {
            context.out.result("find/1", json!({ "found": found }), |_| Ok(()))?;
        }
        Ok(outcome)
    }
}

/// Prints a find at once, or gives what the document will hold of it.
fn tell(context: &Context, point: PointId, entry: &Entry) -> Result<Option<Value>, Error> {
    if context.out.json {
        return Ok(Some(document(point, entry)));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}  {}", show::short(point), show::path(&entry.path)).map_err(Error::Output)?;
    Ok(None)
}

struct Pattern {
    glob: GlobMatcher,
    whole: bool,
}

impl Pattern {
    fn new(typed: &str) -> Result<Pattern, Error> {
        let whole = typed.contains('/');
        let glob = GlobBuilder::new(typed.trim_matches('/')).literal_separator(true).build();
        let glob = glob.map_err(|error| Error::Request(format!("the pattern: {error}")))?;
        Ok(Pattern { glob: glob.compile_matcher(), whole })
    }

    fn matches(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let bytes = if self.whole { path } else { name };
        !bytes.is_empty() && self.glob.is_match_candidate(&Candidate::from_bytes(bytes))
    }
}

fn document(point: PointId, entry: &Entry) -> Value {
    let mut fields = ls::document(entry);
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("point".to_owned(), point.to_string().into());
    }
    fields
}
