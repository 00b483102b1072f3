//! `log`: the signed history.

use format::fact::{Fact, RawFact};
use repo::{Fold, LogEntry};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time};

/// List the signed history
#[derive(clap::Args)]
pub(crate) struct Log {}

const HEADINGS: [&str; 5] = ["time", "writer", "session", ">number", "says"];

impl Log {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let (log, fold, root) = (repo.log(), repo.fold(), repo.root());
        let mut entries: Vec<&LogEntry> = log.entries.values().collect();
        entries.sort_by_key(|entry| (entry.clear.time, entry.clear.id()));
        let name = |entry: &LogEntry| writer_name(&fold, entry, root);
        let body = json!({ "entries": entries.iter().map(|e| document(e, name(e))).collect::<Value>() });
        context.out.result("log/1", body, |out| {
            let rows: Vec<Vec<String>> = entries.iter().map(|e| row(e, name(e))).collect();
            show::table(out, &HEADINGS, &rows)
        })?;
        Ok(Outcome::Done)
    }
}

fn writer_name(fold: &Fold, entry: &LogEntry, root: format::id::WriterId) -> String {
    let id = entry.clear.writer;
    match fold.writers.get(&id) {
        _ if id == root => "root".to_owned(),
        Some(writer) if !writer.grant.name.is_empty() => show::bytes(writer.grant.name.as_bytes()),
        _ => show::short(id),
    }
}

fn row(entry: &LogEntry, writer: String) -> Vec<String> {
    let session = show::short(entry.clear.session);
    vec![
        time::local(entry.clear.time.time),
        writer,
        session,
        entry.clear.number.to_string(),
        said(entry).join(", "),
    ]
}

fn document(entry: &LogEntry, writer: String) -> Value {
    let clear = &entry.clear;
    json!({
        "time": time::rfc3339(clear.time.time),
        "writer": clear.writer.to_string(),
        "writer_name": writer,
        "session": clear.session.to_string(),
        "number": clear.number,
        "hash": entry.hash.to_string(),
        "brings": clear.brings.len(),
        "facts": said(entry),
        "closed": entry.closed,
    })
}

/// What an entry says, in words.
fn said(entry: &LogEntry) -> Vec<String> {
    let mut said: Vec<String> = entry.clear.facts.iter().chain(&entry.facts).map(fact_name).collect();
    if !entry.clear.brings.is_empty() {
        said.insert(0, format!("brings {}", show::count(entry.clear.brings.len() as u64, "object")));
    }
    if entry.closed {
        said.push("sealed facts".to_owned());
    }
    said
}

fn fact_name(raw: &RawFact) -> String {
    match Fact::decode(raw.clone()) {
        Ok(Fact::Grant(grant)) => format!("lets in {}", show::bytes(grant.name.as_bytes())),
        Ok(Fact::Revoke(revoke)) => format!("revokes {}", show::short(revoke.writer)),
        Ok(Fact::Domain(domain)) => format!("domain {}", show::short(domain.domain)),
        Ok(Fact::Expired(expired)) => format!("expires session {}", show::short(expired.session)),
        Ok(Fact::Moved(_)) => "moved frames".to_owned(),
        Ok(Fact::Feature(feature)) => format!("feature {}", show::bytes(feature.name.as_bytes())),
        Ok(Fact::Region(region)) => format!("region {}", show::bytes(region.name.as_bytes())),
        Ok(Fact::Point(point)) => format!("point {}", show::short(point.id)),
        Ok(Fact::Forget(forget)) => format!("forgets {}", show::count(forget.points.len() as u64, "point")),
        Ok(Fact::Undo(undo)) => {
            format!("undoes forgetting {}", show::count(undo.points.len() as u64, "point"))
        }
        Ok(Fact::Pin(pin)) => format!("pins {}", show::short(pin.point)),
        Ok(Fact::Hold(hold)) => format!("hold {}", show::short(hold.hold)),
        Ok(Fact::Release(release)) => format!("releases hold {}", show::short(release.hold)),
        Ok(Fact::Verified(v)) => format!("verified {} at L{}", show::short(v.point), v.level),
        Ok(Fact::Substitute(_)) => "stored damaged chunks again".to_owned(),
        Ok(Fact::End) => "end of session".to_owned(),
        Ok(Fact::Acknowledged) => "acknowledged".to_owned(),
        Ok(Fact::Unknown(_)) | Err(_) => {
            format!("{} type {}", show::bytes(raw.namespace.as_bytes()), raw.kind)
        }
    }
}
