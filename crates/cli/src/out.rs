//! The only place that writes to a person or a script: results to standard output, all else to standard error.
//!
//! With `--json` standard output holds one document and nothing else, also when a verb fails. With `-q` a verb that
//! succeeds says nothing that was not asked for; problems are always told.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// How to speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// No summaries and notes.
    pub(crate) quiet: bool,
    /// More of them.
    pub(crate) verbose: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'a str,
    #[serde(flatten)]
    body: Map<String, Value>,
}

impl Out {
    /// Speaks JSON.
    pub(crate) fn for_scripts() -> Out {
        Out { json: true, quiet: false, verbose: false }
    }

    /// The result of a verb: `body`, which is an object, as a document of `schema`, or else `text`.
    pub(crate) fn result(
        &self,
        schema: &str,
        body: Value,
        text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        if self.json {
            return self.document(schema, body).map_err(Error::Output);
        }
        let mut out = std::io::BufWriter::new(stdout().lock());
        text(&mut out).and_then(|()| out.flush()).map_err(Error::Output)
    }

    /// As [`Out::result`], for verbs whose text is a summary of what they did.
    pub(crate) fn summary(
        &self,
        schema: &str,
        body: Value,
        text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        if self.quiet && !self.json { Ok(()) } else { self.result(schema, body, text) }
    }

    fn document(&self, schema: &str, body: Value) -> std::io::Result<()> {
        let body = match body {
            Value::Object(body) => body,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        let mut out = std::io::BufWriter::new(stdout().lock());
        serde_json::to_writer(&mut out, &Document { schema, body })?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            tell(&format!("note:  {text}"));
        }
    }

    /// Something worth knowing for those who asked to hear more.
    pub(crate) fn detail(&self, text: impl Display) {
        if self.verbose {
            tell(&format!("note:  {text}"));
        }
    }

    /// Something that must not be overlooked.
    pub(crate) fn warning(&self, text: impl Display) {
        tell(&format!("\x1b[1;33mwarning:\x1b[0m {text}"));
    }

    /// What helps.
    pub(crate) fn hint(&self, text: &str) {
        tell(&format!("\x1b[1;36mhint:\x1b[0m  {text}"));
    }

    /// An error, with what helps against it.
    pub(crate) fn error(&self, error: &Error, hint: Option<&str>) {
        let sentence = error.sentence();
        tell(&format!("\x1b[1;31merror:\x1b[0m {sentence}"));
        if let Some(hint) = hint {
            self.hint(hint);
        }
        if self.json {
            let body = json!({ "error": sentence, "hint": hint, "exit": error.exit_code() });
            // Nobody is left to be told that standard output is gone; the exit code still says what happened.
            let _ = self.document("error/1", body);
        }
    }
}

/// A line for a person. Colours vanish where they cannot be shown; a closed terminal is no reason to stop working.
fn tell(text: &str) {
    let _ = writeln!(anstream::AutoStream::auto(stderr()), "{text}");
}
