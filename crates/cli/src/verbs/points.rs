//! `points`: what can be brought back.

use format::fact::Verified;
use repo::{PointRecord, Repo};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time};

/// List recovery points
///
/// Oldest first. A point is restorable in a region if it is wanted there and no verification has found damage since.
#[derive(clap::Args)]
pub(crate) struct Points {
    /// Only those of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

const HEADINGS: [&str; 10] =
    ["point", "as of", "source", "kind", ">files", ">logical", ">new", ">stored", "verified", "regions"];

impl Points {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let (fold, now) = (repo.fold(), context.world.now_ns());
        let points = fold.live(self.source.as_deref());
        let body = json!({ "points": points.iter().map(|p| document(&repo, p, now)).collect::<Value>() });
        context.out.result("points/1", body, |out| {
            let rows: Vec<Vec<String>> = points.iter().map(|p| row(&repo, p, now)).collect();
            show::table(out, &HEADINGS, &rows)
        })?;
        Ok(Outcome::Done)
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
        verified_text(proof(record), now),
        restorable_in(repo, record).join(","),
    ]
}

fn document(repo: &Repo, record: &PointRecord, now: i64) -> Value {
    let (point, sizes, proof) = (&record.point, &record.point.sizes, proof(record));
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
        "verification_level": proof.filter(|v| v.problems == 0).map(|v| format!("L{}", v.level)),
        "verification_age_seconds": proof.map(|v| seconds_since(v, now)),
        "verification_problems": proof.map(|v| v.problems),
        "regions": restorable_in(repo, record),
    })
}

/// The verification that says most: a clean one of the highest level since damage was last found, or that damage.
fn proof(record: &PointRecord) -> Option<&Verified> {
    let damaged = record.verified.iter().rposition(|v| v.problems > 0);
    let since = record.verified.get(damaged.map_or(0, |at| at + 1)..).unwrap_or_default();
    let best = since.iter().max_by_key(|v| (v.level, v.time));
    best.or_else(|| damaged.and_then(|at| record.verified.get(at)))
}

fn restorable_in(repo: &Repo, record: &PointRecord) -> Vec<String> {
    let region = repo.io().region_name();
    let healthy = proof(record).is_none_or(|v| v.problems == 0);
    if healthy && record.is_live_in(region) { vec![region.to_owned()] } else { Vec::new() }
}

fn verified_text(proof: Option<&Verified>, now: i64) -> String {
    match proof {
        None => "never".to_owned(),
        Some(v) if v.problems > 0 => format!("damaged, {} ago", time::age(seconds_since(v, now))),
        Some(v) => format!("L{}, {} ago", v.level, time::age(seconds_since(v, now))),
    }
}

fn seconds_since(verified: &Verified, now: i64) -> i64 {
    now.saturating_sub(verified.time).max(0) / 1_000_000_000
}
