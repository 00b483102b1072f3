//! Why bytes could not be read: each variant is something a caller or a person would act on differently.

use crate::cbor::Malformed;

/// An object that cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no such thing: damaged or hostile.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The key at hand is not the one that sealed this.
    #[error("{0} was sealed with another key")]
    WrongKey(&'static str),
    /// No key for this is at hand: the holder may add, but not read.
    #[error("{0} needs a key that is not in this bundle")]
    NoKey(&'static str),
    /// The right key refuses the bytes: they were changed after they were sealed.
    #[error("{0} was changed after it was sealed")]
    Altered(&'static str),
    /// The signature does not hold.
    #[error("the signature of {0} does not hold")]
    BadSignature(&'static str),
    /// A later version of the format.
    #[error("{what} has format version {found}, and this program reads up to {known}")]
    Newer {
        /// The kind of object.
        what: &'static str,
        /// The version it has.
        found: u16,
        /// The highest version known here.
        known: u16,
    },
    /// The version before the first that was promised.
    #[error("{0} is of format version 0, a draft that this program does not read")]
    Draft(&'static str),
    /// Something in it has a number that was not given out when this program was made.
    #[error("{what} has {which}, which this program does not know")]
    Unknown {
        /// The kind of object.
        what: &'static str,
        /// What it has.
        which: String,
    },
    /// An object of another repository, or at a place that is not its own.
    #[error("{0} belongs elsewhere: it was moved or copied here")]
    Foreign(&'static str),
}

impl Error {
    /// Whether a later program would read it: it is neither damaged nor hostile.
    pub fn is_of_later_program(&self) -> bool {
        matches!(self, Error::Newer { .. } | Error::Unknown { .. })
    }
}
