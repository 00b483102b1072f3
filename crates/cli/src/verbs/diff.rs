//! `diff`: what changed between two points.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;

use engine::diff::{Aspect, Change, Diff};
use format::path::TreePath;
use serde_json::{Value, json};

use super::ls;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, verbs};

/// Compare two points
///
/// Prints a line for each name that differs: `+` only the second point has it, `-` only the first has it, `M` its content
/// differs, `m` only its metadata does, `T` it is another kind of thing; -v adds what differs of it. Parts that are the
/// same in both are not read. Exits with 0 whether or not anything differs, and with 3 if something is damaged and could
/// not be compared.
#[derive(clap::Args)]
pub(crate) struct Compare {
    /// The older point: an id, the first digits of one, or `latest`
    #[arg(value_name = "POINT")]
    old: String,
    /// The newer point, likewise
    #[arg(value_name = "POINT")]
    new: String,
    /// Only this path and what lies below it
    path: Option<OsString>,
    /// The source, for `latest`
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// How many names there are of each sort.
#[derive(Default)]
struct Counts {
    added: u64,
    removed: u64,
    content: u64,
    metadata: u64,
    kind: u64,
    unknown: u64,
}

impl Compare {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let choose = |asked: &str| verbs::choose(context, &repo, asked, self.source.as_deref());
        let (old, new) = (choose(&self.old)?, choose(&self.new)?);
        let under = self.path.as_deref().map_or(Ok(TreePath::root()), verbs::tree_path)?;
        let diff = Diff::new(&repo, &old, &new)?;
        if !under.is_root() {
            diff.must_hold(&under)?;
        }
        let mut counts = Counts::default();
        let mut lists = [Vec::new(), Vec::new(), Vec::new()];
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for change in diff.changes(&under) {
            let change = change?;
            if let Change::Unknown(problem) = &change {
                let path = show::path(&problem.path);
                context.out.warning(format!("not compared: {path}: {}", problem.what));
            }
            counts.add(&change);
            match context.out.json {
                true => list(&mut lists, &change),
                false => line(&mut out, &change, context.out.verbose).map_err(Error::Output)?,
            }
        }
        out.flush().map_err(Error::Output)?;
        drop(out);
        if context.out.json {
            let [added, removed, changed] = lists;
            let body = json!({ "from": old.point.id.to_string(), "to": new.point.id.to_string(),
                "added": added, "removed": removed, "changed": changed, "counts": counts.document() });
            context.out.result("diff/1", body, |_| Ok(()))?;
        }
        Ok(if counts.unknown == 0 { Outcome::Done } else { Outcome::Damaged })
    }
}

impl Counts {
    fn add(&mut self, change: &Change) {
        let count = match change {
            Change::Added(_) => &mut self.added,
            Change::Removed(_) => &mut self.removed,
            Change::Unknown(_) => &mut self.unknown,
            Change::Changed(_, aspects) => match letter(aspects) {
                'T' => &mut self.kind,
                'M' => &mut self.content,
                _ => &mut self.metadata,
            },
        };
        *count += 1;
    }

    fn document(&self) -> Value {
        json!({ "added": self.added, "removed": self.removed, "content": self.content,
            "metadata": self.metadata, "type": self.kind, "unknown": self.unknown })
    }
}

fn letter(aspects: &BTreeSet<Aspect>) -> char {
    match aspects {
        all if all.contains(&Aspect::Type) => 'T',
        all if all.contains(&Aspect::Content) => 'M',
        _ => 'm',
    }
}

fn names(aspects: &BTreeSet<Aspect>) -> Vec<&'static str> {
    aspects.iter().map(|aspect| aspect.name()).collect()
}

fn line(out: &mut dyn Write, change: &Change, verbose: bool) -> std::io::Result<()> {
    match change {
        Change::Added(entry) => writeln!(out, "+ {}", show::path(&entry.path)),
        Change::Removed(entry) => writeln!(out, "- {}", show::path(&entry.path)),
        Change::Changed(entry, aspects) => {
            let what = if verbose { format!("  ({})", names(aspects).join(", ")) } else { String::new() };
            writeln!(out, "{} {}{what}", letter(aspects), show::path(&entry.path))
        }
        Change::Unknown(_) => Ok(()),
    }
}

fn list([added, removed, changed]: &mut [Vec<Value>; 3], change: &Change) {
    match change {
        Change::Added(entry) => added.push(ls::document(entry)),
        Change::Removed(entry) => removed.push(ls::document(entry)),
        Change::Changed(entry, aspects) => {
            let mut fields = show::path_fields(entry.path.as_bytes());
            fields.insert("what".to_owned(), names(aspects).into());
            changed.push(Value::Object(fields));
        }
        Change::Unknown(_) => {}
    }
}
