//! `rescue`: keeps the means to restore beside what is to be restored, and tells whether they are still the ones.

mod readme;

use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand};
use format::id::{Hash, sha256_hex};
use format::limit::RESCUE_BYTES_MAX;
use repo::{Fold, Io, Lying, RescueItem, State, layout};
use serde_json::{Value, json};
use storage::ObjectKey;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::program::Program;
use crate::{show, time};

/// The format that this program reads and writes.
const FORMAT: &str = include_str!("../../../../docs/format.md");

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Keep a program that restores beside the backups
///
/// It lies there in the clear, with the description of the format and instructions, so that a browser and a key file are
/// enough to restore on a machine with nothing installed. Whoever can write there can put another program in its place, so
/// note what `store` prints, beside the key file.
#[derive(Args)]
pub(crate) struct Rescue {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Store a program, the format and instructions beside the repository; needs an administrator's key
    Store {
        /// A static program of Seawall, such as ./build-rescue makes [default: this program, if it is static]
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// List what lies there; needs no key
    List,
    /// Compare every byte of it with what was signed; needs no key. Exits with 3 if anything is wrong
    Check,
}

impl Rescue {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        match self.act {
            Act::Store { program } => store(context, program),
            Act::List => look(context, repo::rescue_items),
            Act::Check => look(context, repo::rescue_items_read),
        }
    }
}

/// One object that is to be stored.
struct Part {
    what: &'static str,
    key: ObjectKey,
    bytes: Bytes,
}

impl Part {
    fn new(what: &'static str, name: &str, extension: &str, bytes: Bytes) -> Result<Part, Error> {
        let key = layout::rescue(name, Hash::of(&bytes), extension)?;
        Ok(Part { what, key, bytes })
    }

    fn document(&self) -> Value {
        json!({
            "what": self.what,
            "name": self.key.as_str(),
            "size": self.bytes.len(),
            "blake3": Hash::of(&self.bytes).to_string(),
            "sha256": sha256_hex(&self.bytes),
        })
    }
}

fn store(context: &Context, program: Option<PathBuf>) -> Result<Outcome, Error> {
    let (program, about) = read_program(program)?;
    let name = format!("seawall-{}-{}", about.version, about.processor);
    let program = Part::new("program", &name, "", program)?;
    let format = Part::new("format", &format!("format-{VERSION}"), ".md", FORMAT.into())?;
    let repo = context.open()?;
    let place = repo.io().place();
    let text = readme::text(&readme::About {
        repository: repo.id().to_string(),
        place: place.clone(),
        version: about.version,
        processor: about.processor,
        program: program.key.to_string(),
        sha256: sha256_hex(&program.bytes),
        size: program.bytes.len(),
        format: format.key.to_string(),
    });
    let readme = Part::new("instructions", &format!("readme-{VERSION}"), ".md", text.into())?;
    let parts = [program, format, readme];
    let objects: Vec<(ObjectKey, Bytes)> = parts.iter().map(|p| (p.key.clone(), p.bytes.clone())).collect();
    repo.store_rescue(&objects)?;
    let stored: Value = parts.iter().map(Part::document).collect();
    let body = json!({ "fingerprint": repo.id().to_string(), "repository": place, "stored": stored });
    context.out.summary("rescue/1", body, |out| {
        for part in &parts {
            writeln!(out, "stored       {} ({})", part.key, part.what)?;
        }
        let [program, ..] = &parts;
        writeln!(out, "size         {} bytes", program.bytes.len())?;
        writeln!(out, "SHA-256      {}", sha256_hex(&program.bytes))?;
        writeln!(out, "BLAKE3       {}", Hash::of(&program.bytes))?;
        writeln!(out, "fingerprint  {}", repo.id())?;
        writeln!(
            out,
            "             note the last three beside the key file: they tell this program from another"
        )
    })?;
    Ok(Outcome::Done)
}

/// The file that is to be stored, looked at before anything is sent.
fn read_program(named: Option<PathBuf>) -> Result<(Bytes, Program), Error> {
    let path = match named {
        Some(path) => path,
        None => std::env::current_exe().map_err(Error::local("find", "this program"))?,
    };
    let size = std::fs::metadata(&path).map_err(Error::local("read", &path))?.len();
    let refused = |why| Error::NotForRescue { path: path.clone(), why };
    if size > RESCUE_BYTES_MAX {
        return Err(refused("it is larger than 256 MiB"));
    }
    let bytes = std::fs::read(&path).map_err(Error::local("read", &path))?;
    let about = Program::read(&bytes).map_err(refused)?;
    Ok((bytes.into(), about))
}

/// Names what is not as the owner signed it; public keys are enough for that.
fn look(
    context: &Context,
    items: impl FnOnce(&Io, &Fold) -> Result<Vec<RescueItem>, repo::Error>,
) -> Result<Outcome, Error> {
    let io = context.io()?;
    let known = context.state().ok().and_then(|state| State::known_at(&state, &io.place()));
    let trusted = context.trust()?.or(known);
    let audit = repo::audit(&io, trusted)?;
    if trusted.is_none() {
        let id = audit.genesis.id;
        context.out.warning(format!("nothing proves that {id} is your repository: compare it with --trust"));
    }
    let items = items(&io, &audit.fold)?;
    let body = json!({
        "fingerprint": audit.genesis.id.to_string(),
        "objects": items.iter().map(document).collect::<Value>(),
    });
    context.out.result("rescue/1", body, |out| {
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        show::table(out, &["stored", ">size", "state", "object", "SHA-256"], &rows)
    })?;
    if items.is_empty() {
        context.out.note(format!(
            "nothing is kept here for a restore; `seawall rescue store{}` does it",
            context.shown_flags()
        ));
    }
    let wrong: Vec<&RescueItem> = items.iter().filter(|item| item.lying != Lying::AsSigned).collect();
    for item in &wrong {
        context.out.warning(format!("{}: {}", show::bytes(item.name.as_bytes()), sentence(item.lying)));
    }
    Ok(if wrong.is_empty() { Outcome::Done } else { Outcome::Damaged })
}

fn sentence(lying: Lying) -> &'static str {
    match lying {
        Lying::AsSigned => "it is as it was signed",
        Lying::Missing => {
            "it was stored and is gone; `seawall rescue store` with the same program puts it back"
        }
        Lying::Altered => "other bytes lie there than were signed: do not run it",
        Lying::Unsigned => "nobody who may signed for it: do not run it",
    }
}

fn state(lying: Lying) -> &'static str {
    match lying {
        Lying::AsSigned => "signed",
        Lying::Missing => "missing",
        Lying::Altered => "altered",
        Lying::Unsigned => "unsigned",
    }
}

fn row(item: &RescueItem) -> Vec<String> {
    let stored = item.signed.map_or_else(String::new, |signed| time::local(signed.time));
    let sha256 = item.bytes.as_deref().map_or_else(String::new, sha256_hex);
    let name = show::bytes(item.name.as_bytes());
    vec![stored, item.size.to_string(), state(item.lying).to_owned(), name, sha256]
}

fn document(item: &RescueItem) -> Value {
    json!({
        "name": item.name,
        "size": item.size,
        "state": state(item.lying),
        "stored": item.signed.map(|signed| time::rfc3339(signed.time)),
        "blake3": item.signed.map(|signed| signed.hash.to_string()),
        "sha256": item.bytes.as_deref().map(sha256_hex),
    })
}
