//! What can go wrong with a whole run, and with one item of it.

use format::path::TreePath;
use world::{Remedied, Remedy};

/// Why a run ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository.
    #[error(transparent)]
    Repo(#[from] repo::Error),
    /// The source or the target.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// A tree that contradicts itself.
    #[error("the tree of the point is damaged: {0}")]
    Tree(#[from] format::Malformed),
    /// Something that the format cannot keep.
    #[error(transparent)]
    Refused(#[from] format::tree::Refused),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Request(String),
    /// What was read cannot be written out.
    #[error("write the content: {0}")]
    Output(String, std::io::ErrorKind),
    /// A run failed, and then the command that was to be run after it.
    #[error("{error}; and {after}")]
    AfterToo {
        /// Why the run failed.
        error: Box<Error>,
        /// Why the command did.
        after: source::Error,
    },
    /// Somebody asked for an end.
    #[error("interrupted")]
    Stopped,
    /// A line of a map of changed ranges.
    #[error("line {line} of the map: {why}")]
    Map {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// There is no image that a map of changed ranges could be relative to.
    #[error("the map of changed ranges is of no use: {0}")]
    MapBasis(String),
    /// More or less than the one file that can be written onto a device or a file.
    #[error("only one file can be written onto a device or file: {0}")]
    OneFile(String),
    /// Nothing under this path.
    #[error("the point holds nothing at {0}")]
    NoPath(String),
}

impl Remedied for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Error::Repo(error) => error.remedy(),
            Error::Source(error) => error.remedy(),
            Error::AfterToo { error, .. } => error.remedy(),
            Error::Tree(_) => Remedy::Repair,
            Error::Refused(_) | Error::Output(..) | Error::Stopped => Remedy::Stop,
            Error::Request(_)
            | Error::NoPath(_)
            | Error::Map { .. }
            | Error::MapBasis(_)
            | Error::OneFile(_) => Remedy::Correct,
        }
    }
}

/// One item that could not be done while the run went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The item.
    pub path: TreePath,
    /// What happened, for a person.
    pub what: String,
    /// Whether stored data is damaged.
    pub damaged: bool,
}

impl Problem {
    pub(crate) fn new(path: &TreePath, what: impl ToString) -> Problem {
        Problem { path: path.clone(), what: what.to_string(), damaged: false }
    }
}
