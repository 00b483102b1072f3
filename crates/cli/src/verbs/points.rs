//! `points`: what can be brought back.

use format::fact::Verified;
use repo::{PointRecord, Repo, Standing};
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
}

/// What clocks of hosts may differ by before it is worth a word.
const CLOCKS_APART_NS_MAX: i64 = 15 * 60 * 1_000_000_000;

const HEADINGS: [&str; 10] =
    ["point", "as of", "source", "kind", ">files", ">logical", ">new", ">stored", "verified", "regions"];

impl Points {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        repo.must_read()?;
        verbs::check_known(&repo, self.source.as_deref())?;
        let (fold, now) = (repo.fold(), context.world.now_ns());
        let points = fold.live(self.source.as_deref());
        let behind = fold.ahead();
        let to_come = now.saturating_add(CLOCKS_APART_NS_MAX);
        let ahead = |p: &PointRecord| behind.contains(&p.point.id) || p.point.as_of > to_come;
        let document = |p: &&PointRecord| {
            let mut document = document(&repo, p, now);
            document["clock_ahead"] = ahead(p).into();
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
            let rows: Vec<Vec<String>> = points.iter().map(|p| row(&repo, p, now)).collect();
            show::table(out, &HEADINGS, &rows)
        })?;
        Ok(verbs::of_history(&repo))
    }
}

fn row(repo: &Repo, record: &PointRecord, now: i64) -> Vec<String> {
    let (point, sizes) = (&record.point, &record.point.sizes);
    vec![
        show::short(point.id),
        time::local(point.as_of),
        show::bytes(point.source.as_bytes()),
        point.kind.name().to_owned(),
        sizes.files.to_string(),
        show::size(sizes.bytes_logical),
        show::size(sizes.bytes_new),
        show::size(sizes.bytes_stored),
        verified_text(&record.standing(repo.io().region_name()), now),
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
    })
}

fn restorable_in(repo: &Repo, record: &PointRecord) -> Vec<String> {
    let region = repo.io().region_name();
    let healthy = record.standing(region).damaged.is_none();
    if healthy && record.is_live_in(region) { vec![region.to_owned()] } else { Vec::new() }
}

fn verified_text(standing: &Standing<'_>, now: i64) -> String {
    let ago = |v: &Verified| time::age(seconds_since(v, now));
    match (standing.damaged, standing.best, standing.hashed) {
        (Some(found), ..) => format!("damaged, {} ago", ago(found)),
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
