//! `writer`: who may add to the history.

use clap::{Args, Subcommand};
use format::fact::Grant;
use format::id::WriterId;
use repo::{Fold, Repo};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, verbs};

/// List and revoke writers
#[derive(Args)]
pub(crate) struct Writer {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// List who may write
    List,
    /// Let nothing count that a writer adds from now on
    ///
    /// What it added before stays.
    Revoke {
        /// The writer's id, or the first digits of it
        id: String,
        /// Why, for those who read the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Writer {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        match self.act {
            Act::List => list(context),
            Act::Revoke { id, reason } => revoke(context, &id, &reason),
        }
    }
}

fn list(context: &Context) -> Result<Outcome, Error> {
    let repo = context.open()?;
    let (fold, own) = (repo.fold(), own_id(&repo)?);
    let body =
        json!({ "writers": fold.writers.keys().map(|id| document(&fold, *id, own)).collect::<Value>() });
    context.out.result("writer/1", body, |out| {
        let rows: Vec<Vec<String>> = fold.writers.keys().map(|id| row(&fold, *id, own)).collect();
        show::table(out, &["writer", "name", "may", "sources", ">points", "state"], &rows)
    })?;
    Ok(Outcome::Done)
}

fn revoke(context: &Context, asked: &str, reason: &str) -> Result<Outcome, Error> {
    let repo = context.open()?;
    let ids: Vec<WriterId> = repo.fold().writers.keys().copied().collect();
    let writer = verbs::only_one("writer", asked, &ids)?;
    repo.revoke(writer, reason)?;
    let body = json!({ "revoked": writer.to_string(), "reason": reason });
    context
        .out
        .summary("writer/1", body, |out| writeln!(out, "revoked {}: {reason}", show::short(writer)))?;
    Ok(Outcome::Done)
}

/// The writer that this host is, if it is one.
fn own_id(repo: &Repo) -> Result<Option<WriterId>, Error> {
    Ok(repo.state().known_signer()?.map(|signer| WriterId::of(&signer.public())))
}

fn row(fold: &Fold, id: WriterId, own: Option<WriterId>) -> Vec<String> {
    let writer = &fold.writers[&id];
    let sources = writer.grant.sources.as_ref().map_or("all".to_owned(), |sources| sources.join(", "));
    let state = match &writer.reason {
        Some(reason) => format!("revoked: {}", show::bytes(reason.as_bytes())),
        None if own == Some(id) => "this host".to_owned(),
        None => String::new(),
    };
    let name = show::bytes(writer.grant.name.as_bytes());
    let rights = rights(writer.grant.rights).join(", ");
    vec![
        show::short(id),
        name,
        rights,
        show::bytes(sources.as_bytes()),
        points_of(fold, id).to_string(),
        state,
    ]
}

fn document(fold: &Fold, id: WriterId, own: Option<WriterId>) -> Value {
    let writer = &fold.writers[&id];
    json!({
        "id": id.to_string(),
        "name": writer.grant.name,
        "rights": rights(writer.grant.rights),
        "sources": writer.grant.sources,
        "points": points_of(fold, id),
        "this_host": own == Some(id),
        "revoked": writer.revoked.is_some(),
        "reason": writer.reason,
    })
}

fn rights(sum: u32) -> Vec<&'static str> {
    let all = [(Grant::ADD, "add"), (Grant::MAINTAIN, "maintain"), (Grant::ADMINISTER, "administer")];
    all.into_iter().filter(|(right, _)| sum & right != 0).map(|(_, name)| name).collect()
}

fn points_of(fold: &Fold, writer: WriterId) -> usize {
    fold.points.values().filter(|record| record.entry.writer == writer).count()
}
