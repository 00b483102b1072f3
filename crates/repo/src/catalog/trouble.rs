//! What goes wrong with a catalog, in two kinds: a file that is not what was written, which is replaced, and
//! everything else (no space, another process that does not let go), which replacing does not help.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::Error;

#[derive(Debug)]
pub(super) enum Trouble {
    /// The file is not what was written.
    Garbage(String),
    /// SQLite could not do it.
    Failed(String),
    /// The system could not do it.
    Local(Error),
}

impl Trouble {
    /// The error that callers see.
    pub(super) fn of(self, path: &Path) -> Error {
        match self {
            Trouble::Garbage(why) | Trouble::Failed(why) => Error::Catalog { path: path.to_owned(), why },
            Trouble::Local(error) => error,
        }
    }

    pub(super) fn local(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Trouble {
        move |source| Trouble::Local(Error::Local { act, path: path.to_owned(), source })
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        let why = error.to_string();
        let code = error.sqlite_error().map(|e| (e.code, e.extended_code));
        match code {
            // Our own statements are right, so an unknown table or a broken constraint is somebody else's
            // work.
            None | Some((ErrorCode::Unknown | ErrorCode::ConstraintViolation, _)) => Trouble::Garbage(why),
            Some((ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch, _)) => {
                Trouble::Garbage(why)
            }
            // A file whose header says that a later version wrote it is read-only; a folder that is says so
            // again when the file is replaced.
            Some((ErrorCode::ReadOnly, _) | (_, rusqlite::ffi::SQLITE_IOERR_SHORT_READ)) => {
                Trouble::Garbage(why)
            }
            Some(_) => Trouble::Failed(why),
        }
    }
}
