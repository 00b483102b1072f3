//! `log`: the signed history, listed, or checked by public keys alone.

use std::collections::BTreeSet;

use format::fact::{Fact, RawFact};
use format::id::WriterId;
use repo::{Audit, Fold, LogEntry, State, audit};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time, verbs};

/// List the signed history, or check it
#[derive(clap::Args)]
pub(crate) struct Log {
    /// Check signatures, chains and rights; needs no key. Exits with 3 if anything is wrong
    #[arg(long)]
    verify: bool,
}

const HEADINGS: [&str; 5] = ["time", "writer", "session", ">number", "says"];

impl Log {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        if self.verify { check(context) } else { list(context) }
    }
}

fn list(context: &Context) -> Result<Outcome, Error> {
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
    Ok(verbs::of_history(&repo))
}

/// What a check with public keys says.
struct Checked {
    audit: Audit,
    /// By whom the repository is known to be the right one.
    anchor: Anchor,
    /// What is wrong, in sentences.
    findings: Vec<String>,
    /// Entries that this host has seen and that are gone; `None` if it cannot tell.
    gone: Option<usize>,
}

#[derive(Clone, Copy)]
enum Anchor {
    Given,
    Known,
    Unproven,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Anchor::Given => "given",
            Anchor::Known => "known",
            Anchor::Unproven => "unproven",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Anchor::Given => "the one that was given",
            Anchor::Known => "the one that this host has known here",
            Anchor::Unproven => "unproven: give the fingerprint that you noted with --trust",
        }
    }
}

fn check(context: &Context) -> Result<Outcome, Error> {
    let checked = examine(context)?;
    checked.findings.iter().for_each(|finding| context.out.warning(finding));
    context.out.result("log/1", checked.document(), |out| checked.write(out))?;
    Ok(if checked.findings.is_empty() { Outcome::Done } else { Outcome::Damaged })
}

fn examine(context: &Context) -> Result<Checked, Error> {
    let io = context.io()?;
    let given = context.trust()?;
    let known = context.state().ok().and_then(|state| State::known_at(&state, &io.place()));
    let anchor = match (given, known) {
        (Some(_), _) => Anchor::Given,
        (None, Some(_)) => Anchor::Known,
        (None, None) => Anchor::Unproven,
    };
    let audit = audit(&io, given.or(known))?;
    let mut findings: Vec<String> = audit.findings().map(ToString::to_string).collect();
    findings.extend(audit.bad().iter().map(|bad| format!("{} is no entry: {}", bad.object, bad.why)));
    let gone = remembered_and_gone(context);
    findings.extend(gone.iter().flatten().cloned());
    Ok(Checked { audit, anchor, findings, gone: gone.map(|gone| gone.len()) })
}

/// What this host has seen before is known only to its catalog, and only a key opens that.
fn remembered_and_gone(context: &Context) -> Option<Vec<String>> {
    match context.open_silently() {
        Ok(repo) => {
            let gone = repo.vanished();
            let sentence = |id: &format::entry::EntryId| {
                let (writer, session) = (show::short(id.writer), show::short(id.session));
                format!("entry {writer}/{session}/{} was here before and is gone", id.number)
            };
            Some(gone.iter().map(|(id, _)| sentence(id)).collect())
        }
        Err(error) => {
            context.out.detail(format!("entries that this host has seen before were not compared: {error}"));
            None
        }
    }
}

impl Checked {
    /// Chains whose newest entries nobody else has seen, and the time from which that is so.
    fn unproven(&self) -> (usize, Option<i64>) {
        let unnamed = &self.audit.fold.unnamed;
        let chains: BTreeSet<_> = unnamed.iter().map(|id| (id.writer, id.session)).collect();
        let times = self.audit.log.entries.values().filter(|entry| unnamed.contains(&entry.clear.id()));
        (chains.len(), times.map(|entry| entry.clear.time.time).min())
    }

    fn document(&self) -> Value {
        let (chains, since) = self.unproven();
        json!({
            "fingerprint": self.audit.genesis.id.to_string(),
            "anchor": self.anchor.name(),
            "entries": self.audit.log.entries.len(),
            "chains": self.audit.fold.heads.len(),
            "findings": self.findings,
            "freshness": if chains == 0 && self.findings.is_empty() { "proven" } else { "unproven" },
            "unproven_chains": chains,
            "unproven_since": since.map(time::rfc3339),
            "gone": self.gone,
        })
    }

    fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let entries = show::count(self.audit.log.entries.len() as u64, "entry");
        let chains = show::count(self.audit.fold.heads.len() as u64, "chain");
        let findings = match self.findings.len() as u64 {
            0 => "nothing is wrong".to_owned(),
            found => show::count(found, "finding"),
        };
        writeln!(out, "history:    {entries} in {chains}; {findings}")?;
        writeln!(out, "anchor:     {}", self.audit.genesis.id)?;
        writeln!(out, "            {}", self.anchor.sentence())?;
        match self.unproven() {
            _ if !self.findings.is_empty() => {
                writeln!(out, "freshness:  unproven: something is wrong, see above")
            }
            (0, _) => writeln!(out, "freshness:  proven: every entry has been seen by another chain"),
            (chains, since) => {
                let chains = show::count(chains as u64, "chain");
                let until =
                    since.map_or_else(String::new, |since| format!("proven up to {}; ", time::local(since)));
                writeln!(
                    out,
                    "freshness:  {until}unproven: the newest entries of {chains} have been seen by nobody else"
                )
            }
        }
    }
}

fn writer_name(fold: &Fold, entry: &LogEntry, root: WriterId) -> String {
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
        Ok(Fact::Domain(domain)) if domain.generation > 0 => {
            format!("new keys for domain {}", show::short(domain.domain))
        }
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
