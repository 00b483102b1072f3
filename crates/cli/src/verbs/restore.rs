//! `restore`: brings a point back, or says what that would take.

use std::path::PathBuf;

use clap::ValueEnum;
use engine::restore::{Plan, Report, Request, plan, restore};
use repo::{PointRecord, Repo};
use serde_json::{Value, json};
use source::directory::{Existing, Ownership, PART_PREFIX};
use world::{Remedied, Remedy};

use crate::context::{Context, cores};
use crate::error::{Error, Outcome};
use crate::{show, time, verbs};

/// Bring a point back
///
/// A point of one path restores its content into DIR; a point of several restores each as DIR/absolute/path. Nothing is
/// written outside DIR. Of a point that holds one file, or with --include of that one file, DIR may be a block device or a
/// file: then the content is written onto it. What cannot be brought back is named, the rest is, and the exit code is 2, or 3 if stored data is
/// damaged.
#[derive(clap::Args)]
pub(crate) struct Restore {
    /// An id, the first digits of one, or `latest`
    point: String,
    /// The directory to write into, or with --existing a block device or file to write onto
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// With `latest`: the newest point not after this time, such as 2026-11-21T09:30:00Z or '2 hours ago'
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The source, for `latest`
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only what matches, and what lies below it; the pattern is for the whole path in the point, as `ls` shows it: for a
    /// name anywhere write '**/NAME'
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Restore what matches before all else; may be given several times, the first one first
    #[arg(long, value_name = "GLOB")]
    first: Vec<String>,
    /// What may happen to what is there already
    #[arg(long, value_enum, default_value = "refuse")]
    existing: There,
    /// Go on with a restore that was interrupted: what is there and right is kept (as --existing differences)
    #[arg(long, conflicts_with = "existing")]
    resume: bool,
    /// Remove what DIR holds and the point does not; needs --existing differences or replace
    #[arg(long, conflicts_with = "include")]
    remove_others: bool,
    /// Read everything that was written again from the disk, and compare
    #[arg(long)]
    read_back: bool,
    /// Give files to owners by number, not by name
    #[arg(long)]
    numeric_ids: bool,
    /// Leave owners and groups alone: everything belongs to whoever restores
    #[arg(long, conflicts_with = "numeric_ids")]
    no_owner: bool,
    /// Only say what would be fetched and how long it would take
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum There {
    /// DIR must be an empty directory
    Refuse,
    /// Files are compared with the point, chunk by chunk, and only what differs is fetched and written; everything else stays
    Differences,
    /// What is restored takes the place of what has its name; everything else stays
    Replace,
}

impl Restore {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let at = self.moment(context.world.now_ns())?;
        let repo = context.open()?;
        let point = self.chosen(context, &repo, at)?;
        // The newest point that is there may not be the newest that there was.
        let chosen = if self.point == verbs::LATEST { verbs::of_history(&repo) } else { Outcome::Done };
        let existing = match self.existing {
            There::Refuse if self.resume => Existing::Differences,
            There::Refuse => Existing::Refuse,
            There::Differences => Existing::Differences,
            There::Replace => Existing::Replace,
        };
        if self.remove_others && existing == Existing::Refuse {
            let why = "--remove-others is for a directory that holds something: add --existing differences";
            return Err(Error::Request(why.to_owned()));
        }
        let ownership = match (self.numeric_ids, self.no_owner) {
            (true, _) => Ownership::ByNumber,
            (_, true) => Ownership::Mine,
            _ => Ownership::ByName,
        };
        let Restore { into, include, first, remove_others, read_back, resume, .. } = self;
        let cores = cores();
        let request = Request {
            point,
            into,
            include,
            first,
            remove_others,
            read_back,
            existing,
            resume,
            ownership,
            cores,
        };
        if self.dry_run {
            let plan = plan(&repo, &request)?;
            context.finish();
            return Ok(tell_plan(context, &request, &plan)?.and(chosen));
        }
        context.stops_in_order();
        let report =
            restore(&repo, &request).inspect_err(|error| tell_how_to_go_on(context, &request, error))?;
        context.finish();
        Ok(tell(context, &request, &report)?.and(chosen))
    }

    /// The time that was typed, in UTC nanoseconds.
    fn moment(&self, now_ns: i64) -> Result<Option<i64>, Error> {
        if self.at.is_some() && self.point != verbs::LATEST {
            let why = "--at chooses the point, so write `latest` instead of an id";
            return Err(Error::Request(why.to_owned()));
        }
        self.at.as_deref().map(|typed| time::parse(typed, now_ns)).transpose()
    }

    fn chosen(&self, context: &Context, repo: &Repo, at: Option<i64>) -> Result<PointRecord, Error> {
        let source = self.source.as_deref();
        let Some(at) = at else { return verbs::choose(context, repo, &self.point, source) };
        verbs::choose_at(context, repo, source, at)
    }
}

fn outcome(problems: &[engine::Problem], shortfalls: &[engine::Problem]) -> Outcome {
    match (problems, shortfalls) {
        (problems, _) if problems.iter().any(|p| p.damaged) => Outcome::Damaged,
        ([], []) => Outcome::Done,
        _ => Outcome::Incomplete,
    }
}

/// `latest` may be another point by then, and parts of large files are those of this one. What was refused as it was asked for
/// has begun nothing, and may be a directory that nobody wants written over.
fn tell_how_to_go_on(context: &Context, request: &Request, error: &engine::Error) {
    if request.into.is_dir() && error.remedy() != Remedy::Correct {
        let (id, into, flags) = (request.point.point.id, request.into.display(), context.shown_flags());
        context.out.note(format!(
            "to go on: `seawall restore {} --into {into} --resume{flags}`, with the same patterns; what there is of files of 64 \
             MiB and more stands under names that begin with {PART_PREFIX}",
            show::short(id)
        ));
    }
}

fn tell(context: &Context, request: &Request, report: &Report) -> Result<Outcome, Error> {
    warn(context, request, report);
    let seconds = report.time.as_secs_f64();
    let mut body = head(request);
    body["files"] = report.files.into();
    body["bytes"] = report.bytes.into();
    body["fetched_bytes"] = report.fetched_bytes.into();
    body["requests"] = report.requests.into();
    body["written_bytes"] = report.written_bytes.into();
    body["removed"] = report.removed.into();
    body["not_removed"] = show::problems(&report.not_removed);
    body["unmatched"] = report.unmatched.clone().into();
    body["read_back"] = request.read_back.into();
    body["seconds"] = seconds.into();
    body["problems"] = show::problems(&report.problems);
    body["shortfalls"] = show::problems(&report.shortfalls);
    body["unprotected"] = report.unprotected.clone().into();
    body["unended"] = report.unended.clone().into();
    context.out.summary("restore/1", body, |out| {
        let point = &request.point.point;
        let source = show::bytes(point.source.as_bytes());
        let (id, when) = (show::short(point.id), time::local(point.as_of));
        writeln!(out, "restored {id} of {source} as of {when} into {}", request.into.display())?;
        let (files, size) = (show::count(report.files, "file"), show::size(report.bytes));
        writeln!(
            out,
            "{files}, {size}, each chunk checked; fetched {}, wrote {}; {}",
            show::size(report.fetched_bytes),
            show::size(report.written_bytes),
            time::duration(seconds)
        )?;
        if report.removed > 0 {
            writeln!(out, "{} removed that the point does not hold", show::count(report.removed, "name"))?;
        }
        match report.problems.len() as u64 {
            0 => Ok(()),
            problems => writeln!(out, "{} not restored, named above", show::count(problems, "item")),
        }
    })?;
    let done = report.unmatched.is_empty() && report.not_removed.is_empty();
    let rest = if done { Outcome::Done } else { Outcome::Incomplete };
    Ok(outcome(&report.problems, &report.shortfalls).and(rest))
}

/// Names what is missing or not as it was.
fn warn(context: &Context, request: &Request, report: &Report) {
    let lost = report.problems.iter().any(|problem| problem.damaged);
    for pattern in &report.unmatched {
        if lost {
            context.out.warning(format!(
                "nothing that could be read matches {pattern}; part of the point could not"
            ));
            continue;
        }
        context.out.warning(format!(
            "nothing in the point matches {pattern}; patterns are for whole paths: '**/NAME' is a name anywhere"
        ));
    }
    for problem in &report.problems {
        context.out.warning(format!("not restored: {}: {}", show::path(&problem.path), problem.what));
    }
    for stays in &report.not_removed {
        let (path, what) = (show::path(&stays.path), &stays.what);
        context.out.warning(format!("not removed, nor are the directories that it lies in: {path}: {what}"));
    }
    for shortfall in &report.shortfalls {
        context.out.warning(format!(
            "restored, but not as it was: {}: {}",
            show::path(&shortfall.path),
            shortfall.what
        ));
    }
    if lost {
        let flags = context.shown_flags();
        context.out.hint(&format!(
            "another point may have what is lost: `seawall find NAME{flags}`. While its source has it, `seawall verify --level \
             L1{flags}` and then `seawall backup{flags}` heal this point too"
        ));
    }
    if let Some(why) = &report.unended {
        context.out.note(format!(
            "nobody could be told that this restore is over ({why}): sweeps wait for it until `seawall session expire ID{}`",
            context.shown_flags()
        ));
    }
    if let Some(why) = &report.unprotected {
        context.out.note(format!("no sweep could see that this point was being read: {why}"));
    }
    if !report.shortfalls.is_empty()
        && request.ownership != Ownership::Mine
        && !rustix::process::geteuid().is_root()
    {
        context.out.warning("only root can give files to others: with --no-owner all of them are yours");
    }
}

fn tell_plan(context: &Context, request: &Request, plan: &Plan) -> Result<Outcome, Error> {
    for problem in &plan.problems {
        context.out.warning(format!(
            "would not be restored: {}: {}",
            show::path(&problem.path),
            problem.what
        ));
    }
    let mut body = head(request);
    body["dry_run"] = true.into();
    body["compared"] = false.into();
    body["files"] = plan.files.into();
    body["bytes"] = plan.bytes.into();
    body["fetch_bytes"] = plan.fetch_bytes.into();
    body["requests"] = plan.requests.into();
    body["expected_seconds"] = plan.seconds.into();
    body["problems"] = show::problems(&plan.problems);
    context.out.result("restore/1", body, |out| {
        let point = &request.point.point;
        let source = show::bytes(point.source.as_bytes());
        let (id, when) = (show::short(point.id), time::local(point.as_of));
        writeln!(out, "{id} of {source} as of {when} would be restored into {}", request.into.display())?;
        let (files, size) = (show::count(plan.files, "file"), show::size(plan.bytes));
        let (fetch, requests) = (show::size(plan.fetch_bytes), show::count(plan.requests, "request"));
        writeln!(out, "{files}, {size}; {fetch} to fetch in {requests}")?;
        if request.existing == Existing::Differences {
            writeln!(
                out,
                "as into an empty directory: a dry run does not compare what is there, and removes nothing"
            )?;
        }
        match plan.seconds {
            Some(seconds) => {
                writeln!(out, "fetching would take about {}, by a sample just now", time::duration(seconds))?;
            }
            None => writeln!(out, "how long fetching would take is unknown: no sample was fetched")?,
        }
        writeln!(out, "writing comes on top: it depends on the disk, and on the number of files")
    })?;
    Ok(outcome(&plan.problems, &[]))
}

fn head(request: &Request) -> Value {
    let point = &request.point.point;
    let mut body = json!({
        "point": point.id.to_string(),
        "source": point.source,
        "as_of": time::rfc3339(point.as_of),
    });
    if let Some(fields) = body.as_object_mut() {
        fields.extend(show::text_fields("into", request.into.as_os_str().as_encoded_bytes()));
    }
    body
}
