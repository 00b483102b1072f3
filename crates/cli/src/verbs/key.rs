//! `key`: which secrets open the repository.

mod renew;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use format::id::SlotId;
use format::key::{Lock, Slot};
use format::seal::KemPublic;
use repo::Repo;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::context::{Context, host};
use crate::error::{Error, Outcome};
use crate::secret;
use crate::settings::SecretFrom;
use crate::{show, time, verbs};

/// List, add and remove key slots, and make keys that can do less
///
/// A slot holds the repository's keys, sealed for one secret: a key file, a passphrase, or the private key of a
/// recipient, whose public line is enough to seal for it.
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
    ///
    /// With --recipient only the public line of it is needed here: its private file never has to be where backups are
    /// made, and opens the repository with --key-file where they are restored.
    Add(Add),
    /// Make a recipient's private key, and print the public line of it
    ///
    /// Whoever has the public line can let the private file open a repository: `seawall key add --recipient LINE`. If the
    /// file is there already, its public line is printed again. Needs no repository.
    Recipient {
        /// The file for the private key; it is readable by its owner only
        file: PathBuf,
    },
    /// Make the key of a host that may add points, and neither read nor forget any
    ///
    /// The host names the file with --key-file. What it stored before is not sent again: files that
    /// did not change, but not files that moved to another source, nor anything in a full backup. What it sends can be read with the repository's own keys. `seawall writer revoke` shuts it out again.
    ExportWriter(ExportWriter),
    /// Make new keys for all that is stored from now on
    ///
    /// Whoever has only the keys from before, such as the holder of a secret that was removed, cannot read what is stored
    /// after it; what was stored before stays readable to them. The secret in use, those given with --also-... and all
    /// recipients open the new keys, and all from before. They themselves stay as they are: a key file that got out must
    /// be replaced first, by `seawall key add`, and shut out with --remove-others. Look at `seawall key list` before: a
    /// recipient that you do not know would open the new keys too.
    ///
    /// The next backup takes over files that did not change; what changed, and the first full one, is stored anew, as nothing
    /// is found under the names that the old keys gave it. Keys of `seawall key export-writer` must be made anew.
    Renew(renew::Renew),
    /// Let a secret no longer open the repository
    ///
    /// Whoever opened it before may have kept the keys: what is stored with them stays readable, also later, until `seawall
    /// key renew`.
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
    /// The public line of a recipient, or a file that holds it
    #[arg(long, value_name = "LINE|@FILE")]
    recipient: Option<String>,
}

impl Key {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        match self.act {
            Act::List => list(context),
            #[cfg(feature = "write")]
            Act::Change(Change::Add(add)) => add.run(context),
            #[cfg(feature = "write")]
            Act::Change(Change::Recipient { file }) => recipient(context, &file),
            #[cfg(feature = "write")]
            Act::Change(Change::ExportWriter(export)) => export.run(context),
            #[cfg(feature = "write")]
            Act::Change(Change::Renew(renew)) => renew.run(context),
            #[cfg(feature = "write")]
            Act::Change(Change::Remove { id }) => remove(context, &id),
        }
    }
}

fn list(context: &Context) -> Result<Outcome, Error> {
    let repo = context.open()?;
    let slots = repo.slots()?;
    let body = json!({ "slots": slots.iter().map(|slot| document(slot, &repo)).collect::<Value>() });
    context.out.result("key/1", body, |out| {
        let rows: Vec<Vec<String>> = slots.iter().map(row).collect();
        show::table(out, &["slot", "secret", "made", "label"], &rows)
    })?;
    for slot in slots.iter().filter(|slot| !repo.is_whole(slot)) {
        let slot = show::short(slot.id());
        context.out.warning(format!("slot {slot} has only keys from before the last renewal"));
    }
    let damaged = repo.damaged_slots()?;
    if damaged.is_empty() {
        return Ok(Outcome::Done);
    }
    // Each of them was named when the repository was opened.
    let (them, flags) = (show::count(damaged.len() as u64, "slot"), context.shown_flags());
    context.out.warning(format!(
        "{them} cannot be listed, and the secrets for which they were sealed may open nothing"
    ));
    context
        .out
        .hint(&format!("let them in again: `seawall key add{flags}`; then delete the damaged objects"));
    Ok(Outcome::Damaged)
}

/// What a new slot is sealed for, and how to speak of it.
struct Wanted {
    lock: Lock,
    name: String,
    label: String,
    /// A slot that it opens already.
    known: Option<SlotId>,
    /// The key file that was made.
    made: Option<PathBuf>,
}

impl New {
    fn read(self, context: &Context, repo: &Repo) -> Result<Wanted, Error> {
        let from = match (self.new_key_file, self.new_passphrase_file, self.recipient) {
            (_, _, Some(typed)) => return for_recipient(repo, &typed),
            (Some(path), _, _) => SecretFrom::KeyFile(path),
            (None, Some(path), _) => SecretFrom::PassphraseFile(path),
            (None, None, None) => SecretFrom::Prompt,
        };
        let (held, made) = secret::read_or_make(&from, &context.world)?;
        let known = match held.clone().opens() {
            repo::Secret::Unlock(unlock) => repo.slot_of(&unlock)?,
            repo::Secret::Bundle(_) => None,
        };
        let name = held.name().to_owned();
        Ok(Wanted { lock: held.locks()?, label: format!("{name} of {}", host()), name, known, made })
    }
}

fn for_recipient(repo: &Repo, typed: &str) -> Result<Wanted, Error> {
    let public = secret::read_public(typed)?;
    let is = |slot: &&Slot| repo.is_whole(slot) && slot.recipient() == Some(&public);
    let known = repo.slots()?.iter().find(is).map(Slot::id);
    let name = format!("recipient {}", fingerprint(&public));
    Ok(Wanted { lock: Lock::Recipient(public), label: name.clone(), name, known, made: None })
}

fn fingerprint(public: &KemPublic) -> String {
    show::short(public.fingerprint())
}

impl Add {
    fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let Wanted { lock, name, label, known, made } = self.secret.read(context, &repo)?;
        if let Some(slot) = known {
            return Err(Error::Request(format!("this {name} opens slot {} already", show::short(slot))));
        }
        let label = self.label.unwrap_or(label);
        let slot = repo.add_slot(&lock, &label)?;
        if let Some(path) = &made {
            context.out.note(format!("made the key file {}; keep a copy of it elsewhere", path.display()));
        }
        let body = json!({ "added": slot.to_string(), "label": label });
        context
            .out
            .summary("key/1", body, |out| writeln!(out, "added slot {} for a {name}", show::short(slot)))?;
        Ok(Outcome::Done)
    }
}

fn recipient(context: &Context, file: &std::path::Path) -> Result<Outcome, Error> {
    let (private, made) = secret::read_or_make_recipient(file, &context.world)?;
    let public = private.public();
    let line = public.to_text();
    if made {
        context.out.note(format!(
            "made the private key {}: keep it, and a copy of it, where backups are to be restored. The line below is its \
             public half: `seawall key add --recipient LINE` lets it open a repository",
            file.display()
        ));
    }
    let body =
        json!({ "recipient": line.trim(), "fingerprint": public.fingerprint().to_string(), "made": made });
    context.out.result("key/1", body, |out| write!(out, "{line}"))?;
    Ok(Outcome::Done)
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
    vec![show::short(slot.id()), secret_name(slot), time::local(slot.created()), label]
}

fn secret_name(slot: &Slot) -> String {
    match slot.recipient() {
        Some(public) => format!("recipient {}", fingerprint(public)),
        None => slot.kind().name().to_owned(),
    }
}

fn document(slot: &Slot, repo: &Repo) -> Value {
    json!({
        "id": slot.id().to_string(),
        "secret": slot.kind().name(),
        "fingerprint": slot.recipient().map(|public| public.fingerprint().to_string()),
        "label": slot.label(),
        "region": slot.region(),
        "created": time::rfc3339(slot.created()),
        "generation": slot.generation(),
        "newest": repo.is_whole(slot),
    })
}
