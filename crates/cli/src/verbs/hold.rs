//! `hold`: keeps points until somebody releases them.

use repo::{Holding, Repo};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, verbs};

/// Hold a point, or all points of a source, until they are released
///
/// A hold is above rules and pins. One on a source is for the points that it has and for those to come. A point that was
/// forgotten is there again when it is held by its id, if nothing of it was swept; not by a hold on its source.
#[derive(clap::Args)]
pub(crate) struct Hold {
    /// The name of a source, or a point: an id or the first digits of one
    #[arg(value_name = "POINT|SOURCE")]
    what: String,
    /// Why, for those who read the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Hold {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        repo.must_read()?;
        let what = self.meant(context, &repo)?;
        let kept = repo.hold(&what, &self.reason)?;
        let gone = verbs::tell_gone(context, &kept);
        let source = if let Holding::Source(source) = &what { Some(source) } else { None };
        let forgotten = source.map_or(0, |source| repo.fold().forgotten(Some(source)).len() as u64);
        if forgotten > 0 {
            context.out.note(format!(
                "{} of it stay forgotten; `seawall points --forgotten{}` lists them",
                show::count(forgotten, "point"),
                context.shown_flags()
            ));
        }
        let body = json!({
            "source": source,
            "points": verbs::ids(&kept.points),
            "gone": verbs::ids(&kept.gone),
            "reason": self.reason,
        });
        context.out.summary("hold/1", body, |out| match source {
            Some(source) => {
                let count = show::count(kept.points.len() as u64, "point");
                writeln!(out, "holding {}: {count} and all to come", show::bytes(source.as_bytes()))
            }
            None => kept.points.iter().try_for_each(|id| writeln!(out, "holding {}", show::short(id))),
        })?;
        Ok(verbs::of_history(&repo).and(gone))
    }

    fn meant(&self, context: &Context, repo: &Repo) -> Result<Holding, Error> {
        if repo.fold().points.values().any(|record| record.point.source == self.what) {
            return Ok(Holding::Source(self.what.clone()));
        }
        match verbs::choose_any(context, repo, &self.what, None) {
            Ok(record) => Ok(Holding::Point(record.point.id)),
            Err(Error::Repo(repo::Error::NoPoint { .. })) => Err(Error::Request(format!(
                "there is no point and no source {}",
                show::bytes(self.what.as_bytes())
            ))),
            Err(error) => Err(error),
        }
    }
}
