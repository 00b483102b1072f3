//! `key`: which secrets open the repository.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use format::id::SlotId;
use format::key::Slot;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::context::{Context, host};
use crate::error::{Error, Outcome};
use crate::secret;
use crate::settings::SecretFrom;
use crate::{show, time, verbs};

/// List, add and remove key slots, and make keys that can do less
///
/// A slot holds the repository's keys, sealed for one secret: a key file or a passphrase.
#[derive(Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// List the secrets that open the repository
    List,
    #[cfg(feature = "write")]
    #[command(flatten)]
    Change(Change),
}

#[derive(Subcommand)]
enum Change {
    /// Let one more secret open the repository
    Add(Add),
    /// Make the key of a host that may add points, and neither read nor forget any
    ///
    /// The host names the file with --key-file. It finds what it stored itself and sends it only once. What it sends can be
    /// read with the repository's own keys. `seawall writer revoke` shuts it out again.
    ExportWriter(ExportWriter),
    /// Let a secret no longer open the repository
    ///
    /// Whoever opened it before may have kept the keys: what is stored already stays readable to them.
    Remove {
        /// The slot's id, or the first digits of it
        id: String,
    },
}

#[derive(Args)]
struct ExportWriter {
    /// The file to write; it must not be there
    file: PathBuf,
    /// What the writer is called, such as the name of its host
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Let it add points of this source only; may be given several times [default: of any source]
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
}

#[derive(Args)]
struct Add {
    #[command(flatten)]
    secret: New,
    /// What the slot is called
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct New {
    /// A key file; made where there is none
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
    /// A file that holds the passphrase
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// A passphrase that is asked for
    #[arg(long)]
    new_passphrase: bool,
}

impl Key {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        match self.act {
            Act::List => list(context),
            #[cfg(feature = "write")]
            Act::Change(Change::Add(add)) => add.run(context),
            #[cfg(feature = "write")]
            Act::Change(Change::ExportWriter(export)) => export.run(context),
            #[cfg(feature = "write")]
            Act::Change(Change::Remove { id }) => remove(context, &id),
        }
    }
}

fn list(context: &Context) -> Result<Outcome, Error> {
    let slots = context.open()?.slots()?;
    let body = json!({ "slots": slots.iter().map(document).collect::<Value>() });
    context.out.result("key/1", body, |out| {
        let rows: Vec<Vec<String>> = slots.iter().map(row).collect();
        show::table(out, &["slot", "secret", "made", "label"], &rows)
    })?;
    Ok(Outcome::Done)
}

impl Add {
    fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let from = match (self.secret.new_key_file, self.secret.new_passphrase_file) {
            (Some(path), _) => SecretFrom::KeyFile(path),
            (None, Some(path)) => SecretFrom::PassphraseFile(path),
            (None, None) => SecretFrom::Prompt,
        };
        let (held, made) = secret::read_or_make(&from, &context.world)?;
        let label = self.label.unwrap_or_else(|| format!("{} of {}", held.name(), host()));
        if let repo::Secret::Unlock(unlock) = held.clone().opens()
            && let Some(slot) = repo.slot_of(&unlock)?
        {
            let name = held.name();
            return Err(Error::Request(format!("this {name} opens slot {} already", show::short(slot))));
        }
        let slot = repo.add_slot(&held.locks()?, &label)?;
        if let Some(path) = &made {
            context.out.note(format!("made the key file {}; keep a copy of it elsewhere", path.display()));
        }
        let body = json!({ "added": slot.to_string(), "label": label });
        let name = held.name();
        context
            .out
            .summary("key/1", body, |out| writeln!(out, "added slot {} for a {name}", show::short(slot)))?;
        Ok(Outcome::Done)
    }
}

impl ExportWriter {
    /// The file is on the disk before the history lets its writer in, so that no writer is let in whose key is lost.
    fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let bundle = repo.write_only_bundle()?;
        let about = "# Key of a host that may add to a repository of Seawall and neither read nor forget.\n";
        let text = Zeroizing::new(format!("{about}{}", *bundle.to_text()));
        if !secret::write_new(&self.file, text.as_bytes())? {
            return Err(Error::Request(format!("{} is there already", self.file.display())));
        }
        let sources = (!self.source.is_empty()).then_some(self.source);
        let writer = match repo.let_in(&bundle, &self.name, sources.clone()) {
            Ok(writer) => writer,
            Err(error) => {
                // The key opens nothing; that it could not be removed is less than what went wrong.
                let _ = std::fs::remove_file(&self.file);
                return Err(error.into());
            }
        };
        let body = json!({ "exported": writer.to_string(), "name": self.name, "sources": sources });
        context.out.summary("key/1", body, |out| {
            let (id, file) = (show::short(writer), self.file.display());
            writeln!(
                out,
                "let in writer {id} as {}; its key is in {file}",
                show::bytes(self.name.as_bytes())
            )?;
            writeln!(
                out,
                "on its host: seawall backup PATH --key-file FILE; give it a credential that cannot delete"
            )
        })?;
        Ok(Outcome::Done)
    }
}

fn remove(context: &Context, asked: &str) -> Result<Outcome, Error> {
    let repo = context.open()?;
    let ids: Vec<SlotId> = repo.slots()?.iter().map(Slot::id).collect();
    let slot = verbs::only_one("key slot", asked, &ids)?;
    repo.remove_slot(slot)?;
    if repo.opened_by() == Some(slot) {
        context.out.warning("that was the slot of the secret in use: it no longer opens the repository");
    }
    let body = json!({ "removed": slot.to_string() });
    context.out.summary("key/1", body, |out| writeln!(out, "removed slot {}", show::short(slot)))?;
    Ok(Outcome::Done)
}

fn row(slot: &Slot) -> Vec<String> {
    let label = show::bytes(slot.label().as_bytes());
    vec![show::short(slot.id()), slot.kind().name().to_owned(), time::local(slot.created()), label]
}

fn document(slot: &Slot) -> Value {
    json!({
        "id": slot.id().to_string(),
        "secret": slot.kind().name(),
        "label": slot.label(),
        "region": slot.region(),
        "created": time::rfc3339(slot.created()),
    })
}
