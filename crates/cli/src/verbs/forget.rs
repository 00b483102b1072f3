//! `forget`: ends the life of points by rules or by name, and takes that back.
//!
//! Nothing happens without `--apply`: what is shown before it is the plan that it carries out.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use clap::Args;
use format::entry::EntryId;
use format::id::PointId;
use jiff::tz::TimeZone;
use repo::retention::{Candidate, Distance, Guard, Reasons, plan};
use repo::{Fold, Forgot, Last, PointRecord, Repo};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time, verbs};
use rules::Rules;

/// Forget points
///
/// By rules, each source by itself, or by name. Shows the plan, with the reason for each point that is kept, and carries it
/// out with --apply. A rule keeps the newest point of each of so many hours, days and so on that have one, by the time of
/// the data, and a point stays if one rule keeps it. No rule forgets points that are pinned or held, the newest that can
/// be restored, the newest that was proven, or points of a clock that was ahead. Forgetting frees no space by itself, and
/// can be taken back with --undo.
#[derive(Args)]
pub(crate) struct Forget {
    /// Points to forget: ids, or the first digits of them
    #[arg(value_name = "POINT", conflicts_with = "rules")]
    points: Vec<String>,
    /// Only points of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    rules: Rules,
    /// Whatever the rules say, keep so many points of each source that can be restored
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    least: u32,
    /// Whatever the rules say, keep points that were stored less than this ago, such as 12h, 30d, 2w, 3mo or 1y
    #[arg(long, value_name = "D", conflicts_with = "points")]
    min_age: Option<Distance>,
    /// Whose days, weeks and months count, such as Europe/Paris or UTC [default: the time zone of this machine]
    #[arg(long, value_name = "NAME")]
    time_zone: Option<String>,
    /// Forget named points even if no point of their source is left that can be restored
    #[arg(long, requires = "points", conflicts_with = "rules")]
    even_last: bool,
    /// Believe this machine's clock, though no other host has stated a time near it
    #[arg(long)]
    trust_clock: bool,
    /// Why, for those who read the history [default: the rules]
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Carry the plan out
    #[arg(long)]
    apply: bool,
    /// Take back that the named points were forgotten, or else all that was forgotten last; at once, without --apply
    #[arg(long, conflicts_with_all = ["apply", "rules", "even_last", "reason", "min_age"])]
    undo: bool,
}

/// What is to be done, with the reasons.
struct Plan<'f> {
    points: Vec<Candidate<'f>>,
    /// Those that go.
    goes: BTreeSet<PointId>,
    /// Why others stay, where rules say so.
    reasons: Reasons,
    /// What a person should know of the clock.
    notes: Vec<String>,
    zone: TimeZone,
}

impl Plan<'_> {
    fn goes(&self, point: &Candidate<'_>) -> bool {
        self.goes.contains(&point.id)
    }

    fn sources(&self) -> BTreeMap<&str, Vec<&Candidate<'_>>> {
        let mut sources: BTreeMap<&str, Vec<&Candidate<'_>>> = BTreeMap::new();
        self.points.iter().for_each(|point| sources.entry(point.source).or_default().push(point));
        sources
    }
}

impl Forget {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        repo.must_read()?;
        if self.undo {
            return self.undo(context, &repo);
        }
        repo.allow("forget")?;
        verbs::check_known(&repo, self.source.as_deref())?;
        let (fold, zone) = (repo.fold(), self.zone()?);
        let (guard, mut notes) = self.guard(&repo, &zone);
        notes.extend(shared(&fold, self.source.as_deref()));
        notes.iter().for_each(|note| context.out.note(note));
        let points = fold.candidates(repo.io().region_name(), guard.now);
        let points: Vec<Candidate<'_>> =
            points.into_iter().filter(|p| self.source.as_ref().is_none_or(|s| p.source == s)).collect();
        let last = if self.even_last { Last::MayGo } else { Last::Stays };
        let (goes, reasons) = match self.points.is_empty() {
            true => self.by_rules(guard, &points, &zone)?,
            false => (self.by_name(context, &repo, guard, last)?, Reasons::new()),
        };
        let plan = Plan { points, goes, reasons, notes, zone };
        if !self.apply {
            self.show(context, &plan)?;
            return Ok(verbs::of_history(&repo));
        }
        let forgot = repo.forget(&plan.goes, &self.why(), guard, last)?;
        self.tell(context, &plan, &forgot)?;
        let missing = if forgot.overruled.is_empty() { Outcome::Done } else { Outcome::Incomplete };
        Ok(verbs::of_history(&repo).and(missing))
    }

    fn zone(&self) -> Result<TimeZone, Error> {
        let Some(name) = &self.time_zone else { return Ok(TimeZone::system()) };
        TimeZone::get(name).map_err(|error| Error::Request(format!("{name} is no time zone: {error}")))
    }

    /// The guards, and what is to be said of the clock that they go by.
    fn guard(&self, repo: &Repo, zone: &TimeZone) -> (Guard, Vec<String>) {
        let moment = repo.moment();
        let doubtful = moment.is_doubtful() && !self.trust_clock;
        let now = if doubtful { moment.believed() } else { moment.wall };
        let young_since = self.min_age.map_or(i64::MAX, |age| age.before(now, zone));
        let note = moment.other.filter(|_| doubtful).map(|(time, writer)| {
            format!(
                "this machine's clock says {}, but no other host has stated a time after {} (writer {}): whatever is of \
                 later than a day after that stays, unless --trust-clock says that the clock is right",
                time::local(moment.wall),
                time::local(time),
                show::short(writer)
            )
        });
        (Guard { now, least: self.least, young_since }, note.into_iter().collect())
    }

    fn by_rules(
        &self,
        guard: Guard,
        points: &[Candidate<'_>],
        zone: &TimeZone,
    ) -> Result<(BTreeSet<PointId>, Reasons), Error> {
        let reasons = plan(&self.rules.meant(), guard, points, zone);
        let reasons = reasons.map_err(|refused| Error::Request(refused.to_string()))?;
        let goes = reasons.iter().filter(|(_, why)| why.is_empty()).map(|(id, _)| *id).collect();
        Ok((goes, reasons))
    }

    fn by_name(
        &self,
        context: &Context,
        repo: &Repo,
        guard: Guard,
        last: Last,
    ) -> Result<BTreeSet<PointId>, Error> {
        let named = self
            .points
            .iter()
            .map(|asked| Ok(verbs::choose(context, repo, asked, self.source.as_deref())?.point.id));
        let named = named.collect::<Result<BTreeSet<PointId>, Error>>()?;
        repo.check_guards(&named, guard, last)?;
        Ok(named)
    }

    fn why(&self) -> String {
        let rules = self.rules.words().join(" ");
        self.reason.clone().unwrap_or(if rules.is_empty() { "by name".to_owned() } else { rules })
    }

    /// The command that carries the plan out.
    fn command(&self, context: &Context) -> String {
        let mut words = vec!["seawall".to_owned(), "forget".to_owned()];
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                words.extend([flag.to_owned(), show::shell_word(value.as_ref())]);
            }
        };
        add("--source", self.source.clone());
        add("--least", (self.least > 1).then(|| self.least.to_string()));
        add("--min-age", self.min_age.map(|age| age.to_string()));
        add("--time-zone", self.time_zone.clone());
        add("--reason", self.reason.clone());
        words.extend(self.rules.words());
        words.extend(self.points.iter().map(|point| show::shell_word(point.as_ref())));
        let flags = [(self.even_last, "--even-last"), (self.trust_clock, "--trust-clock"), (true, "--apply")];
        words.extend(flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.to_owned()));
        format!("{}{}", words.join(" "), context.shown_flags())
    }

    fn show(&self, context: &Context, plan: &Plan<'_>) -> Result<(), Error> {
        let goes = plan.goes.len() as u64;
        context.out.result("forget/1", document(plan, None), |out| {
            let by_name = !self.points.is_empty();
            plan.sources()
                .into_iter()
                .try_for_each(|(source, points)| table(out, plan, source, &points, by_name))?;
            match goes {
                0 if plan.points.is_empty() => writeln!(out, "there is no point to forget"),
                0 => writeln!(out, "there is nothing to forget: all points are kept"),
                _ => writeln!(out, "nothing is forgotten yet: {} would be", show::count(goes, "point")),
            }
        })?;
        if goes > 0 && !context.out.quiet {
            context.out.hint(&format!(
                "`{}` forgets {}",
                self.command(context),
                if goes == 1 { "it" } else { "them" }
            ));
        }
        Ok(())
    }

    fn tell(&self, context: &Context, plan: &Plan<'_>, forgot: &Forgot) -> Result<(), Error> {
        for point in &forgot.overruled {
            let id = show::short(point);
            context.out.warning(format!("point {id} was pinned or held at the same time, so it is kept"));
        }
        context.out.summary("forget/1", document(plan, Some(forgot)), |out| {
            let (gone, left) = (forgot.points.len(), plan.points.len() - forgot.points.len());
            for point in plan.points.iter().filter(|point| forgot.points.contains(&point.id)) {
                let source = show::bytes(point.source.as_bytes());
                writeln!(
                    out,
                    "forgot {} of {source} as of {}",
                    show::short(point.id),
                    time::local(point.as_of)
                )?;
            }
            writeln!(out, "{} forgotten, {left} kept", show::count(gone as u64, "point"))
        })?;
        if !forgot.points.is_empty() && !context.out.quiet {
            context.out.hint(&format!("`seawall forget --undo{}` takes it back", context.shown_flags()));
        }
        Ok(())
    }

    fn undo(&self, context: &Context, repo: &Repo) -> Result<Outcome, Error> {
        let fold = repo.fold();
        let forgotten = fold.forgotten(self.source.as_deref());
        let ids: Vec<PointId> = forgotten.iter().map(|record| record.point.id).collect();
        let points: BTreeSet<PointId> = match self.points.is_empty() {
            true => forgotten_last(&fold, &forgotten),
            false => {
                let named = self.points.iter().map(|asked| verbs::only_one("forgotten point", asked, &ids));
                named.collect::<Result<_, Error>>()?
            }
        };
        let kept = repo.undo(&points)?;
        let gone = verbs::tell_gone(context, &kept);
        let body =
            json!({ "applied": true, "undone": verbs::ids(&kept.points), "gone": verbs::ids(&kept.gone) });
        context.out.summary("forget/1", body, |out| {
            for record in forgotten.iter().filter(|record| kept.points.contains(&record.point.id)) {
                let (id, source) =
                    (show::short(record.point.id), show::bytes(record.point.source.as_bytes()));
                writeln!(out, "{id} of {source} as of {} is there again", time::local(record.point.as_of))?;
            }
            if points.is_empty() { writeln!(out, "there is nothing to take back") } else { Ok(()) }
        })?;
        Ok(verbs::of_history(repo).and(gone))
    }
}

/// What to know of sources that several hosts back up under one name: rules count their points together.
fn shared(fold: &Fold, source: Option<&str>) -> Vec<String> {
    let mut hosts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in fold.live(source) {
        hosts.entry(&record.point.source).or_default().insert(&record.point.host);
    }
    let shared = hosts.into_iter().filter(|(_, hosts)| hosts.len() > 1).map(|(source, hosts)| {
        let hosts: Vec<String> = hosts.into_iter().map(|host| show::bytes(host.as_bytes())).collect();
        format!(
            "points of {} are of several hosts ({}), and rules count them together: name the source of each host otherwise \
             with --source, unless it is the same data",
            show::bytes(source.as_bytes()),
            hosts.join(", ")
        )
    });
    shared.collect()
}

/// What the last entry that forgot any of these forgot of them.
fn forgotten_last(fold: &Fold, forgotten: &[&PointRecord]) -> BTreeSet<PointId> {
    let when = |entry: &EntryId| (fold.forgettings.get(entry).map(|told| told.stated), *entry);
    let last = forgotten.iter().flat_map(|record| record.forgotten_by.iter().map(when)).max();
    let by = |record: &&&PointRecord| last.is_some_and(|(_, entry)| record.forgotten_by.contains(&entry));
    forgotten.iter().filter(by).map(|record| record.point.id).collect()
}

fn table(
    out: &mut dyn Write,
    plan: &Plan<'_>,
    source: &str,
    points: &[&Candidate<'_>],
    by_name: bool,
) -> std::io::Result<()> {
    let goes = points.iter().filter(|point| plan.goes(point)).count();
    let kept = show::count((points.len() - goes) as u64, "point");
    writeln!(out, "{}: {kept} kept, {goes} to be forgotten", show::bytes(source.as_bytes()))?;
    let shown = points.iter().filter(|point| !by_name || plan.goes(point));
    let row = |point: &&Candidate<'_>| {
        let reasons: Vec<String> = reasons(plan, point).iter().map(|name| name.replace('_', " ")).collect();
        let what =
            if plan.goes(point) { "forget".to_owned() } else { format!("keep: {}", reasons.join(", ")) };
        let at = time::local_in(point.as_of, &plan.zone);
        vec![show::short(point.id), at, what]
    };
    let rows: Vec<Vec<String>> = shown.copied().map(|point| row(&point)).collect();
    show::table(out, &["point", "as of", "plan"], &rows)?;
    writeln!(out)
}

fn reasons(plan: &Plan<'_>, point: &Candidate<'_>) -> Vec<&'static str> {
    plan.reasons.get(&point.id).into_iter().flatten().map(|reason| reason.name()).collect()
}

/// The plan, and what came of it if it was carried out.
fn document(plan: &Plan<'_>, forgot: Option<&Forgot>) -> Value {
    let point = |p: &Candidate<'_>| json!({ "point": p.id.to_string(), "as_of": time::rfc3339(p.as_of) });
    let source = |(source, points): (&str, Vec<&Candidate<'_>>)| {
        let (goes, kept): (Vec<&Candidate<'_>>, Vec<&Candidate<'_>>) =
            points.into_iter().partition(|point| plan.goes(point));
        let kept = kept.into_iter().map(|p| {
            let mut document = point(p);
            document["reasons"] = reasons(plan, p).into();
            document
        });
        json!({
            "source": source,
            "kept": kept.collect::<Value>(),
            "forgotten": goes.into_iter().map(point).collect::<Value>(),
        })
    };
    let overruled = forgot.map(|forgot| verbs::ids(&forgot.overruled));
    json!({
        "applied": forgot.is_some(),
        "sources": plan.sources().into_iter().map(source).collect::<Value>(),
        "overruled": overruled.unwrap_or_default(),
        "time_zone": plan.zone.iana_name(),
        "notes": plan.notes,
    })
}
