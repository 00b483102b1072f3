//! What ends a verb, and the exit code that it ends with.
//!
//! Errors of the crates below are passed on as they are; the few made here are about what was typed and about files that
//! only the command line knows.

use std::io;
use std::path::PathBuf;

use world::{Remedied, Remedy};

/// Why a verb did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The repository.
    #[error(transparent)]
    Repo(#[from] repo::Error),
    /// Backup, restore, or a look into a point.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// What is to be protected.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The place of the repository.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// What was typed makes no sense.
    #[error("{0}")]
    Request(String),
    /// A setting has no value, and the system gave none either.
    #[error("HOME is not set, so there is no usual place for the {what}")]
    NoHome {
        /// Which setting.
        what: &'static str,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The key file is not there.
    #[error("there is no key file {}", .0.display())]
    NoKeyFile(PathBuf),
    /// A key or bundle file that does not read.
    #[error("the key file {}: {why}", path.display())]
    BadKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: format::Error,
    },
    /// A public key where something that opens was asked for.
    #[error("{} holds a recipient's public key: keys can be sealed for it, but it opens nothing", .0.display())]
    PublicKey(PathBuf),
    /// A recipient's public line that does not read.
    #[error("the public key{}: {why}", in_file(file))]
    BadPublicKey {
        /// The file, if it was not typed.
        file: Option<PathBuf>,
        /// What is wrong with it.
        why: format::Error,
    },
    /// A file that is to be kept for a restore, and is not the program for it.
    #[error("{}: {why}", path.display())]
    NotForRescue {
        /// The file.
        path: PathBuf,
        /// Why it is of no use.
        why: &'static str,
    },
    /// A passphrase was asked for where nobody can type it.
    #[error("nobody can be asked for the passphrase: standard input or standard error is no terminal")]
    NoTerminal,
    /// Ctrl-C while something was asked.
    #[error("interrupted")]
    Interrupted,
    /// Ctrl-C where nothing was to stay, and nothing did.
    #[error("interrupted; nothing was left behind")]
    Cleared,
    /// A local file.
    #[error("{act} {}: {source}", path.display())]
    Local {
        /// What was done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output.
    #[error("write to standard output: {0}")]
    Output(io::Error),
}

fn in_file(file: &Option<PathBuf>) -> String {
    file.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default()
}

impl Error {
    /// Names the act and the file for an error of the system.
    pub(crate) fn local(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Local { act, path, source }
    }

    /// Whether whoever reads our output has had enough of it.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        match self {
            Error::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Error::Engine(engine::Error::Output(_, kind)) => *kind == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// The exit code of this error.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Interrupted | Error::Cleared => INTERRUPTED,
            Error::Engine(error) if is_stopped(error) => INTERRUPTED,
            _ => exit_code(self.remedy()),
        }
    }

    /// The error and what is behind it, as one line.
    pub(crate) fn sentence(&self) -> String {
        let mut text = self.to_string();
        let mut behind = std::error::Error::source(self);
        while let Some(cause) = behind {
            let said = cause.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            behind = cause.source();
        }
        text
    }
}

impl Remedied for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Error::Repo(error) => error.remedy(),
            Error::Engine(error) => error.remedy(),
            Error::Source(error) => error.remedy(),
            Error::Storage(error) => error.remedy(),
            Error::Request(_) | Error::NoHome { .. } | Error::NoTerminal => Remedy::Correct,
            Error::NoKeyFile(_) | Error::BadKeyFile { .. } | Error::NotForRescue { .. } => Remedy::Correct,
            Error::PublicKey(_) | Error::BadPublicKey { .. } => Remedy::Correct,
            Error::Interrupted | Error::Cleared => Remedy::Stop,
            Error::Local { .. } | Error::Output(_) => Remedy::Stop,
        }
    }
}

fn is_stopped(error: &engine::Error) -> bool {
    match error {
        engine::Error::AfterToo { error, .. } => is_stopped(error),
        error => matches!(error, engine::Error::Stopped),
    }
}

/// The exit code of a run that somebody ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// What a script is told by each answer.
pub(crate) fn exit_code(remedy: Remedy) -> u8 {
    match remedy {
        Remedy::Stop | Remedy::Report => 1,
        Remedy::Repair => 3,
        Remedy::Correct => 4,
        Remedy::Refresh => 5,
        Remedy::Retry => 6,
    }
}

/// How a verb ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it is done.
    Done,
    /// Something that is only a cache is not as it should be, or what should be gone is still there.
    Failed,
    /// Done, but some items are missing.
    Incomplete,
    /// Stored data is damaged.
    Damaged,
    /// What was only to be tried would be refused.
    Refused,
    /// Others are at work, and the rest can be done once they are not.
    Waiting,
}

impl Outcome {
    /// Both of them: what a script must act on first counts.
    pub(crate) fn and(self, other: Outcome) -> Outcome {
        if other.exit_code() > self.exit_code() { other } else { self }
    }

    /// The exit code of this outcome.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Incomplete => 2,
            Outcome::Damaged => 3,
            Outcome::Refused => 4,
            Outcome::Waiting => 5,
        }
    }
}
