//! `release`: ends holds.

use std::collections::BTreeSet;

use format::id::{HoldId, PointId};
use repo::{Fold, PointRecord};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, verbs};

/// End holds
///
/// Of a point, of a source with all its points, or one hold by its id. What was forgotten at the same time as it was held is
/// forgotten from then on, and named.
#[derive(clap::Args)]
pub(crate) struct Release {
    /// The name of a source, a point or a hold: an id or the first digits of one
    #[arg(value_name = "POINT|SOURCE|HOLD")]
    what: String,
}

impl Release {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        repo.must_read()?;
        let before = repo.fold();
        let holds = self.meant(&before)?;
        repo.release(&holds)?;
        let after = repo.fold();
        let changed =
            |id: &PointId, was: fn(&PointRecord) -> bool| was(&before.points[id]) && !was(&after.points[id]);
        let known = || before.live(None).into_iter().map(|record| record.point.id);
        let free: BTreeSet<PointId> = known().filter(|id| changed(id, PointRecord::is_held)).collect();
        let forgotten: BTreeSet<PointId> = known().filter(|id| changed(id, PointRecord::is_live)).collect();
        for id in &forgotten {
            let (id, flags) = (show::short(id), context.shown_flags());
            context.out.warning(format!("point {id} was forgotten while it was held, and is so from now on"));
            context.out.hint(&format!("`seawall forget --undo {id}{flags}` takes that back"));
        }
        let body = json!({
            "released": verbs::ids(&holds),
            "points": verbs::ids(&free),
            "forgotten": verbs::ids(&forgotten),
        });
        context.out.summary("release/1", body, |out| {
            let (holds, points) = (holds.len() as u64, free.len() as u64);
            writeln!(
                out,
                "released {}; {} no longer held",
                show::count(holds, "hold"),
                if points == 1 { "1 point is".to_owned() } else { format!("{points} points are") }
            )
        })?;
        Ok(verbs::of_history(&repo))
    }

    /// A source goes before a point, a point before a hold of the same digits; ids are drawn by chance.
    fn meant(&self, fold: &Fold) -> Result<BTreeSet<HoldId>, Error> {
        let of_source = fold.holds.values().filter(|held| held.hold.source.as_ref() == Some(&self.what));
        let of_source: BTreeSet<HoldId> =
            of_source.flat_map(|held| fold.hold_group(held.hold.hold)).collect();
        if !of_source.is_empty() {
            return Ok(of_source);
        }
        let held: Vec<PointId> =
            fold.points.values().filter(|record| record.is_held()).map(|record| record.point.id).collect();
        if held.iter().any(|id| id.to_string().starts_with(&self.what)) && !self.what.is_empty() {
            return of_point(fold, verbs::only_one("held point", &self.what, &held)?);
        }
        let ids: Vec<HoldId> = fold.holds.keys().copied().collect();
        let hold = verbs::only_one("held point, held source or hold", &self.what, &ids)?;
        Ok(fold.hold_group(hold))
    }
}

/// The holds on this very point, if its source is not held as a whole.
fn of_point(fold: &Fold, point: PointId) -> Result<BTreeSet<HoldId>, Error> {
    let record = &fold.points[&point];
    let source = &record.point.source;
    let with_source = record.held_by.iter().any(|id| fold.holds[id].hold.source.is_some());
    if with_source {
        return Err(Error::Request(format!(
            "point {} is held with its whole source: `seawall release {}` ends that",
            show::short(point),
            show::shell_word(source.as_ref())
        )));
    }
    Ok(record.held_by.clone())
}
