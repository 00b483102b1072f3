//! `points`: what can be brought back.

use format::entry::EntryId;
use format::fact::Verified;
use repo::{Fold, Forgetting, PointRecord, Repo, Standing};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time, verbs};

/// List recovery points
///
/// Oldest first. A point is restorable in a region if it is wanted there and no damage that was found there still stands.
/// Verified says the highest level that found nothing, and when all stored bytes were hashed last (L1). Exits with 3 if
/// some of the history is lost, as points may be lost with it.
#[derive(clap::Args)]
pub(crate) struct Points {
    /// Only those of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Those that were forgotten, when, by whom and why; `forget --undo` brings them back while no sweep took what they need,
    /// and those that it took are marked as gone
    #[arg(long)]
    forgotten: bool,
}

/// What clocks of hosts may differ by before it is worth a word.
const CLOCKS_APART_NS_MAX: i64 = 15 * 60 * 1_000_000_000;

const HEADINGS: [&str; 10] =
    ["point", "as of", "source", "kind", ">files", ">logical", ">new", ">stored", "verified", "regions"];

impl Points {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        repo.must_read()?;
        if self.forgotten {
            return self.list_forgotten(context, &repo);
        }
        verbs::check_known(&repo, self.source.as_deref())?;
        let (fold, now) = (repo.fold(), context.world.now_ns());
        let points = fold.live(self.source.as_deref());
        let behind = fold.ahead();
        let to_come = now.saturating_add(CLOCKS_APART_NS_MAX);
        let ahead = |p: &PointRecord| behind.contains(&p.point.id) || p.point.as_of > to_come;
        let document = |p: &&PointRecord| {
            let mut document = document(&repo, p, now);
            document["clock_ahead"] = ahead(p).into();
            document["doubtful"] = fold.is_doubtful(p, repo.io().region_name()).into();
            document
        };
        let body = json!({ "points": points.iter().map(document).collect::<Value>() });
        points.iter().filter(|p| ahead(p)).for_each(|p| {
            context.out.note(format!(
                "point {} was made by a clock that was ahead: it counts as the newest only until there is another",
                show::short(p.point.id)
            ));
        });
        context.out.result("points/1", body, |out| {
            let rows = points.iter().map(|p| row(&repo, p, now));
            let kept: Vec<String> = points.iter().map(|p| kept(p, now)).collect();
            if kept.iter().all(String::is_empty) {
                return show::table(out, &HEADINGS, &rows.collect::<Vec<_>>());
            }
            let rows: Vec<_> = rows.zip(kept).map(|(row, kept)| [row, vec![kept]].concat()).collect();
            show::table(out, &[&HEADINGS[..], &["kept"]].concat(), &rows)
        })?;
        Ok(verbs::of_history(&repo))
    }

    fn list_forgotten(&self, context: &Context, repo: &Repo) -> Result<Outcome, Error> {
        let (fold, now) = (repo.fold(), context.world.now_ns());
        let points = fold.forgotten(self.source.as_deref());
        let gone = repo.swept(&points)?;
        let documents = points.iter().map(|p| {
            let mut document = document(repo, p, now);
            document["gone"] = gone.contains(&p.point.id).into();
            document["forgotten"] =
                forgettings(&fold, p).map(|(id, told)| forgetting(&fold, id, told)).collect();
            document
        });
        context.out.result("points/1", json!({ "points": documents.collect::<Value>() }), |out| {
            let rows: Vec<Vec<String>> =
                points.iter().map(|p| forgotten_row(&fold, p, gone.contains(&p.point.id))).collect();
            show::table(
                out,
                &["point", "as of", "source", ">logical", "forgotten", "by", "why", "state"],
                &rows,
            )
        })?;
        if points.len() > gone.len() && !context.out.quiet {
            let flags = context.shown_flags();
            context.out.hint(&format!(
                "`seawall forget --undo{flags}` brings back what was forgotten last, `seawall forget --undo POINT{flags}` one \
                 of them"
            ));
        }
        Ok(verbs::of_history(repo))
    }
}

/// The entries that a point is forgotten by, oldest first.
fn forgettings<'f>(
    fold: &'f Fold,
    record: &PointRecord,
) -> impl Iterator<Item = (EntryId, &'f Forgetting)> + use<'f> {
    let told = record.forgotten_by.iter().filter_map(|id| Some((*id, fold.forgettings.get(id)?)));
    let mut told: Vec<(EntryId, &Forgetting)> = told.collect();
    told.sort_by_key(|(id, told)| (told.stated, *id));
    told.into_iter()
}

fn forgetting(fold: &Fold, id: EntryId, told: &Forgetting) -> Value {
    json!({
        "at": time::rfc3339(told.stated.time),
        "by": id.writer.to_string(),
        "host": fold.writers.get(&id.writer).map(|writer| &writer.grant.name),
        "reasons": told.reasons,
    })
}

fn forgotten_row(fold: &Fold, record: &PointRecord, is_gone: bool) -> Vec<String> {
    let point = &record.point;
    let (id, last) = forgettings(fold, record).last().expect("a forgotten point was forgotten by some entry");
    let by = fold.writers.get(&id.writer).map_or("root".to_owned(), |writer| writer.grant.name.clone());
    let why: Vec<&str> = last.reasons.iter().map(String::as_str).collect();
    vec![
        show::short(point.id),
        time::local(point.as_of),
        show::bytes(point.source.as_bytes()),
        show::size(point.sizes.bytes_logical),
        time::local(last.stated.time),
        show::bytes(by.as_bytes()),
        show::bytes(why.join("; ").as_bytes()),
        if is_gone { "gone: swept" } else { "can come back" }.to_owned(),
    ]
}

/// What keeps a point whatever rules say.
fn kept(record: &PointRecord, now: i64) -> String {
    let pinned = record.pinned_until.filter(|until| *until > now).map(|until| match until {
        i64::MAX => "pinned for ever".to_owned(),
        until => format!("pinned until {}", time::local(until)),
    });
    let held = record.is_held().then(|| "held".to_owned());
    held.into_iter().chain(pinned).collect::<Vec<_>>().join(", ")
}

fn row(repo: &Repo, record: &PointRecord, now: i64) -> Vec<String> {
    let (point, sizes, region) = (&record.point, &record.point.sizes, repo.io().region_name());
    vec![
        show::short(point.id),
        time::local(point.as_of),
        show::bytes(point.source.as_bytes()),
        point.kind.name().to_owned(),
        sizes.files.to_string(),
        show::size(sizes.bytes_logical),
        show::size(sizes.bytes_new),
        show::size(sizes.bytes_stored),
        verified_text(&record.standing(region), now, repo.fold().is_doubtful(record, region)),
        restorable_in(repo, record).join(","),
    ]
}

fn document(repo: &Repo, record: &PointRecord, now: i64) -> Value {
    let (point, sizes) = (&record.point, &record.point.sizes);
    let standing = record.standing(repo.io().region_name());
    let told = standing.damaged.or(standing.best);
    json!({
        "id": point.id.to_string(),
        "source": point.source,
        "host": point.host,
        "kind": point.kind.name(),
        "basis": point.basis.map(|basis| basis.to_string()),
        "as_of": time::rfc3339(point.as_of),
        "files": sizes.files,
        "directories": sizes.directories,
        "bytes_logical": sizes.bytes_logical,
        "bytes_new": sizes.bytes_new,
        "bytes_stored": sizes.bytes_stored,
        "problems": point.problems,
        "tags": point.tags.iter().cloned().map(|(k, v)| (k, Value::from(v))).collect::<serde_json::Map<_, _>>(),
        "verification_level": standing.best.map(|v| format!("L{}", v.level)),
        "verification_age_seconds": told.map(|v| seconds_since(v, now)),
        "verification_problems": told.map(|v| v.problems),
        "hashed_age_seconds": standing.hashed.map(|v| seconds_since(v, now)),
        "regions": restorable_in(repo, record),
        "pinned": record.pinned_until.is_some_and(|until| until > now),
        "pinned_until": record.pinned_until.filter(|until| *until != i64::MAX).map(time::rfc3339),
        "holds": holds(repo, record),
    })
}

fn holds(repo: &Repo, record: &PointRecord) -> Value {
    let fold = repo.fold();
    let held = record.held_by.iter().filter_map(|id| Some((id, &fold.holds.get(id)?.hold)));
    held.map(|(id, hold)| json!({ "hold": id.to_string(), "source": hold.source, "reason": hold.reason }))
        .collect()
}

fn restorable_in(repo: &Repo, record: &PointRecord) -> Vec<String> {
    let region = repo.io().region_name();
    let healthy = record.standing(region).damaged.is_none();
    if healthy && record.is_live_in(region) { vec![region.to_owned()] } else { Vec::new() }
}

fn verified_text(standing: &Standing<'_>, now: i64, is_doubtful: bool) -> String {
    let ago = |v: &Verified| time::age(seconds_since(v, now));
    match (standing.damaged, standing.best, standing.hashed) {
        (Some(found), ..) => format!("damaged, {} ago", ago(found)),
        (None, ..) if is_doubtful => "doubtful; verify it".to_owned(),
        (None, None, _) => "never".to_owned(),
        (None, Some(best), None) => format!("L{}, {} ago; not hashed", best.level, ago(best)),
        (None, Some(best), Some(hashed)) if best == hashed => format!("L{}, {} ago", best.level, ago(best)),
        (None, Some(best), Some(hashed)) => {
            format!("L{}, {} ago; hashed {} ago", best.level, ago(best), ago(hashed))
        }
    }
}

fn seconds_since(verified: &Verified, now: i64) -> i64 {
    now.saturating_sub(verified.time).max(0) / 1_000_000_000
}
