//! `verify`: proves that points can be brought back, and writes the verdict down.

mod proof;

use std::path::PathBuf;

use clap::ValueEnum;
use repo::verify::{L3, Level, Verdict, Verifier, verify_index, verify_log, verify_rest};
use repo::{PointRecord, Repo};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time, verbs};

use proof::Scratch;

/// Prove that points can be brought back
///
/// One point, or all, and then the chunk index, the key slots and what sweeps and sessions left too. The verdict is written into
/// the history. L2 follows every reference but reads no content, L1 hashes every stored byte: run both from time to time. L3 is
/// the proof: the point is restored under a scratch directory, read there again, compared, and removed. Exits with 3 if anything
/// is damaged, and with 2 where a point did not come back here as it was though nothing of it is lost.
#[derive(clap::Args)]
pub(crate) struct Verify {
    /// An id, the first digits of one, or `latest` [default: all points]
    point: Option<String>,
    /// Only points of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// How much is proved
    #[arg(long, value_enum, default_value = "L2", ignore_case = true)]
    level: Wanted,
    /// With L3: points are restored under this directory, one after the other, and removed again [default: TMPDIR, or /var/tmp]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

const LOG_DAMAGED: &str = "entries of the history are damaged: this host remembers what they say, and a new one could not restore by \
                           them; put them back from a copy of the repository";

const REST_DAMAGED: &str = "objects are damaged that no point needs, and whoever opens the repository, adds to it or sweeps it does: put them \
                            back from a copy of the repository";

const INDEX_DAMAGED: &str =
    "the chunk index is damaged: restores do not need it; backups store again what they do not find";

#[derive(Clone, Copy, ValueEnum)]
enum Wanted {
    /// Every object that is needed is there, with the right size
    #[value(name = "L0")]
    L0,
    /// Every byte of them is as the log says
    #[value(name = "L1")]
    L1,
    /// The tree is whole, and every reference leads to what is there
    #[value(name = "L2")]
    L2,
    /// It comes back: restored into a scratch directory, read there again, and compared
    #[value(name = "L3")]
    L3,
}

impl Wanted {
    /// The level at which objects are looked at that no point is restored from.
    fn below_l3(self) -> Level {
        match self {
            Wanted::L0 => Level::L0,
            Wanted::L1 => Level::L1,
            Wanted::L2 | Wanted::L3 => Level::L2,
        }
    }

    fn name(self) -> String {
        let number = if let Wanted::L3 = self { L3 } else { self.below_l3().number() };
        format!("L{number}")
    }
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        repo.must_read()?;
        let (level, source) = (self.level, self.source.as_deref());
        let scratch = self.scratch()?;
        let points: Vec<PointRecord> = match &self.point {
            Some(asked) => vec![verbs::choose(context, &repo, asked, source)?],
            None => {
                verbs::check_known(&repo, source)?;
                repo.fold().live(source).into_iter().cloned().collect()
            }
        };
        let mut looks = Vec::with_capacity(points.len());
        let mut verifier = Verifier::new(&repo)?;
        let (mut stands, mut unwritten) = (false, None);
        for point in points {
            let (verdict, different) = match &scratch {
                Some(scratch) => scratch.verify(context, &repo, &mut verifier, &point)?,
                None => (verifier.verify(&point, level.below_l3())?, Vec::new()),
            };
            let id = show::short(point.point.id);
            let told = verdict.problems.iter().chain(&verdict.notes).chain(&different);
            told.for_each(|what| context.out.warning(format!("{id}: {what}")));
            unwritten = unwritten.or_else(|| verdict.unwritten.clone());
            stands |= verdict.problems.is_empty() && tell_standing(context, &repo, &point);
            looks.push(Look { point, verdict, different });
        }
        let (index, log, rest) = match (&self.point, source) {
            (None, None) => {
                let level = level.below_l3();
                (verify_index(&repo, level)?, verify_log(&repo, level)?, verify_rest(&repo)?)
            }
            _ => Default::default(),
        };
        rest.problems.iter().for_each(|problem| context.out.warning(problem));
        index.problems.iter().for_each(|problem| context.out.warning(format!("chunk index: {problem}")));
        log.problems.iter().for_each(|problem| context.out.warning(format!("history: {problem}")));
        context.finish();
        let damaged = looks.iter().filter(|look| look.is_damaged()).count();
        let unproven = looks.iter().filter(|look| look.is_unproven()).count();
        let looked_at = looks.iter().filter(|look| !look.verdict.is_forgotten).count();
        let documents: Value = looks.iter().map(|look| look.document(level)).collect();
        let body = json!({ "level": level.name(), "damaged": damaged, "unproven": unproven,
            "index_problems": index.problems, "log_problems": log.problems, "other_problems": rest.problems,
            "points": documents });
        context.out.summary("verify/1", body, |out| {
            looks.iter().try_for_each(|look| writeln!(out, "{}", look.line(level)))?;
            let all = show::count(looked_at as u64, "point");
            match (looked_at, damaged, unproven) {
                (0, ..) => writeln!(out, "there is no point to verify"),
                (_, 0, 0) => writeln!(out, "{all} whole at {}", level.name()),
                (_, 0, unproven) => writeln!(out, "{unproven} of {all} not proven here, none damaged"),
                (_, damaged, _) => writeln!(out, "{damaged} of {all} damaged"),
            }?;
            if !log.problems.is_empty() {
                writeln!(out, "{LOG_DAMAGED}")?;
            }
            if !rest.problems.is_empty() {
                writeln!(out, "{REST_DAMAGED}")?;
            }
            if index.problems.is_empty() { Ok(()) } else { writeln!(out, "{INDEX_DAMAGED}") }
        })?;
        tell_what_helps(context, unwritten.as_deref(), damaged);
        let apart = [&index, &log, &rest].iter().all(|verdict| verdict.problems.is_empty());
        let whole = damaged == 0 && apart && !stands;
        let proven = if unproven == 0 { Outcome::Done } else { Outcome::Incomplete };
        Ok(if whole { verbs::of_history(&repo).and(proven) } else { Outcome::Damaged })
    }

    /// Where points are brought back to, if they are.
    fn scratch(&self) -> Result<Option<Scratch>, Error> {
        match (self.level, &self.scratch) {
            (Wanted::L3, named) => Ok(Some(Scratch::of(named.clone()))),
            (_, None) => Ok(None),
            _ => Err(Error::Request("--scratch is for --level L3: no other restores anything".to_owned())),
        }
    }
}

/// What was found of a point.
struct Look {
    point: PointRecord,
    verdict: Verdict,
    /// What did not come back as it was, though nothing of it is lost.
    different: Vec<String>,
}

/// Says how what was found is healed, or why no backup knows of it.
fn tell_what_helps(context: &Context, unwritten: Option<&str>, damaged: usize) {
    let flags = context.shown_flags();
    if let Some(why) = unwritten {
        context.out.warning(format!(
            "what was found could not be written into the history ({why}): backups do not know of it and may rely on \
             what is lost"
        ));
        context.out.hint(&format!(
            "run `seawall verify{flags}` again where it can write there, or with an administrator's key file; then the next \
             backup heals what it can"
        ));
    } else if damaged > 0 {
        context.out.hint(&format!(
            "while a source still has what is lost, its next `seawall backup{flags}` reads everything and heals older \
             points; `seawall restore{flags}` brings back the rest and names each file that it cannot"
        ));
    }
}

/// Says what was found before by a level that looks at something else, and whether there is such a thing.
fn tell_standing(context: &Context, repo: &Repo, point: &PointRecord) -> bool {
    let fold = repo.fold();
    let record = fold.points.get(&point.point.id);
    let Some(found) = record.and_then(|record| record.standing(repo.io().region_name()).damaged) else {
        return false;
    };
    let (id, level) = (show::short(point.point.id), found.level);
    context.out.warning(format!(
        "{id}: L{level} found damage at {}, and only `verify --level L{level}` can say that it is healed",
        time::local(found.time)
    ));
    true
}

impl Look {
    fn is_damaged(&self) -> bool {
        !self.verdict.problems.is_empty()
    }

    fn is_unproven(&self) -> bool {
        !self.is_damaged() && !self.different.is_empty()
    }

    fn line(&self, level: Wanted) -> String {
        let (point, verdict) = (&self.point.point, &self.verdict);
        let state = match verdict.problems.len() as u64 {
            _ if verdict.is_forgotten => {
                "forgotten while it was looked at, so nothing is said of it".to_owned()
            }
            0 if self.is_unproven() => "nothing of it is lost, and it did not come back as it was".to_owned(),
            0 => format!("whole at {}", level.name()),
            problems => format!("damaged: {}", show::count(problems, "problem")),
        };
        let (objects, bytes) = (show::count(verdict.objects, "object"), show::size(verdict.bytes));
        let (id, when, source) =
            (show::short(point.id), time::local(point.as_of), show::bytes(point.source.as_bytes()));
        format!("{id} of {source} as of {when}: {state}; {objects}, {bytes} read")
    }

    fn document(&self, level: Wanted) -> Value {
        let (point, verdict) = (&self.point.point, &self.verdict);
        json!({
            "point": point.id.to_string(),
            "source": point.source,
            "as_of": time::rfc3339(point.as_of),
            "level": level.name(),
            "objects": verdict.objects,
            "bytes": verdict.bytes,
            "problems": verdict.problems,
            "notes": verdict.notes,
            "different": self.different,
            "forgotten": verdict.is_forgotten,
            "unwritten": verdict.unwritten,
        })
    }
}
