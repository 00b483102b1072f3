//! `pin`: keeps points, whatever rules say.

use std::collections::BTreeSet;

use format::id::PointId;
use jiff::tz::TimeZone;
use repo::retention::Distance;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time, verbs};

/// Keep points for a stated time, whatever rules say
///
/// A point that was forgotten is there again, if nothing of it was swept. Of several pins the longest counts, and none can
/// be taken back: where the end is not known yet, `hold` is the better word.
#[derive(clap::Args)]
pub(crate) struct Pin {
    /// Ids, the first digits of them, or `latest`
    #[arg(value_name = "POINT", required = true)]
    points: Vec<String>,
    /// For how long from now on, such as 12h, 30d, 2w, 3mo or 1y [default: for ever, and nobody can take that back]
    #[arg(long = "for", value_name = "D")]
    length: Option<Distance>,
    /// The source that `latest` is of
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl Pin {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let mut points: BTreeSet<PointId> = BTreeSet::new();
        for asked in &self.points {
            points.insert(verbs::choose_any(context, &repo, asked, self.source.as_deref())?.point.id);
        }
        let zone = TimeZone::system();
        let until = self.length.map(|length| repo.pin_end(|now| length.after(now, &zone)));
        let kept = repo.pin(&points, until)?;
        let (gone, fold) = (verbs::tell_gone(context, &kept), repo.fold());
        let end = |id: &PointId| fold.points[id].pinned_until.filter(|until| *until != i64::MAX);
        let pinned = kept
            .points
            .iter()
            .map(|id| json!({ "point": id.to_string(), "until": end(id).map(time::rfc3339) }));
        let body = json!({ "pinned": pinned.collect::<Value>(), "gone": verbs::ids(&kept.gone) });
        context.out.summary("pin/1", body, |out| {
            kept.points.iter().try_for_each(|id| {
                let until = end(id).map_or("for ever, which nobody can take back".to_owned(), |until| {
                    format!("until {}", time::local(until))
                });
                writeln!(out, "pinned {} {until}", show::short(id))
            })
        })?;
        Ok(verbs::of_history(&repo).and(gone))
    }
}
