//! `stats`: what is stored, and what keeping each piece once and compressing it saves.

use std::collections::BTreeMap;

use engine::stats::{Stats as Counted, Tally, count};
use repo::{PointRecord, Repo};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, verbs};

/// Say what is stored, and what that saves
///
/// Counted from the trees of all points and the directories of the packs; content is not read. Logical: the sizes of all
/// files, each point by itself. Unique: the chunks of content and trees that they refer to, each once, before
/// compression. Only here: those of them that no other source (or, with POINT, no other point) refers to. Stored: the
/// frames that hold them, compressed and sealed. Deduplicated is logical by unique, compressed is what the frames hold by
/// stored. The packs hold also what nothing refers to, directories and padding. Takes up to 48 bytes of memory for each
/// chunk. Exits with 3 if something is damaged; the sums are too low then.
#[derive(clap::Args)]
pub(crate) struct Stats {
    /// Of this point alone: an id, the first digits of one, or `latest`
    point: Option<String>,
    /// The source, for `latest`
    #[arg(long, value_name = "NAME", requires = "point")]
    source: Option<String>,
}

const HEADINGS: [&str; 8] =
    ["source", ">points", ">logical", ">unique", ">only here", ">stored", ">deduplicated", ">compressed"];

/// The column that says nothing of everything together.
const ONLY_HERE: usize = 4;

impl Stats {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        repo.must_read()?;
        let counted = match &self.point {
            Some(asked) => {
                of_point(context, &repo, verbs::choose(context, &repo, asked, self.source.as_deref())?)?
            }
            None => of_all(context, &repo)?,
        };
        Ok(if counted.problems.is_empty() { verbs::of_history(&repo) } else { Outcome::Damaged })
    }
}

fn of_all(context: &Context, repo: &Repo) -> Result<Counted, Error> {
    let fold = repo.fold();
    let mut sources: BTreeMap<&str, Vec<&PointRecord>> = BTreeMap::new();
    for point in fold.live(None) {
        sources.entry(&point.point.source).or_default().push(point);
    }
    let groups: Vec<Vec<&PointRecord>> = sources.values().cloned().collect();
    let counted = count(repo, &groups)?;
    context.finish();
    tell_problems(context, &counted);
    let packs: u64 = fold.packs.values().map(|pack| pack.size).sum();
    let saving = (packs > 0).then(|| counted.all.bytes_logical as f64 / packs as f64);
    let named: Vec<(&str, &Tally)> = sources.into_keys().zip(&counted.groups).collect();
    let body = json!({
        "all": document(&counted.all),
        "sources": named.iter().map(|(source, tally)| of_source(source, tally)).collect::<Value>(),
        "packs": fold.packs.len(),
        "bytes_packs": packs,
        "saving": saving,
        "chunks": counted.chunks,
        "problems": show::problems(&counted.problems),
    });
    context.out.result("stats/1", body, |out| {
        let mut rows: Vec<Vec<String>> = named.iter().map(|(source, tally)| row(source, tally)).collect();
        rows.push(row("all", &counted.all));
        if let Some(only) = rows.last_mut().and_then(|row| row.get_mut(ONLY_HERE)) {
            "-".clone_into(only);
        }
        show::table(out, &HEADINGS, &rows)?;
        let (number, bytes) = (show::count(fold.packs.len() as u64, "pack"), show::size(packs));
        writeln!(out, "{number}, {bytes}; all files together are {} as much", factor(saving))
    })?;
    Ok(counted)
}

fn of_point(context: &Context, repo: &Repo, point: PointRecord) -> Result<Counted, Error> {
    let fold = repo.fold();
    let id = point.point.id;
    let others = fold.live(None).into_iter().filter(|other| other.point.id != id).collect();
    let counted = count(repo, &[vec![&point], others])?;
    context.finish();
    tell_problems(context, &counted);
    let tally = counted.groups.first().copied().unwrap_or_default();
    let mut body = of_source(&point.point.source, &tally);
    body["point"] = id.to_string().into();
    body["problems"] = show::problems(&counted.problems);
    context.out.result("stats/1", body, |out| {
        let row = row(&point.point.source, &tally);
        show::table(out, &HEADINGS, &[row])?;
        let (plain, stored) = (show::size(tally.bytes_only), show::size(tally.frames_stored_only));
        writeln!(out, "in no other point: {plain}; frames that only it needs: {stored} stored")
    })?;
    Ok(counted)
}

fn tell_problems(context: &Context, counted: &Counted) {
    for problem in &counted.problems {
        let path = show::path(&problem.path);
        context.out.warning(format!("not counted, so that sums are too low: {path}: {}", problem.what));
    }
}

fn document(tally: &Tally) -> Value {
    json!({
        "points": tally.points,
        "bytes_logical": tally.bytes_logical,
        "bytes_unique": tally.bytes_unique(),
        "bytes_content": tally.bytes_content,
        "bytes_tree": tally.bytes_tree,
        "bytes_stored": tally.frames_stored,
        "deduplication": tally.deduplication(),
        "compression": tally.compression(),
    })
}

fn of_source(source: &str, tally: &Tally) -> Value {
    let mut body = document(tally);
    body["source"] = source.into();
    body["bytes_only"] = tally.bytes_only.into();
    body["bytes_stored_only"] = tally.frames_stored_only.into();
    body
}

fn row(source: &str, tally: &Tally) -> Vec<String> {
    vec![
        show::bytes(source.as_bytes()),
        tally.points.to_string(),
        show::size(tally.bytes_logical),
        show::size(tally.bytes_unique()),
        show::size(tally.bytes_only),
        show::size(tally.frames_stored),
        factor(tally.deduplication()),
        factor(tally.compression()),
    ]
}

/// `2.5 times`, or a dash where there is nothing to compare.
fn factor(factor: Option<f64>) -> String {
    factor.map_or_else(|| "-".to_owned(), |factor| format!("{factor:.2} times"))
}
