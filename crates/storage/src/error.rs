//! What can go wrong between us and a place, told so that a caller knows what to do and a person knows what
//! happened.
//!
//! Every variant that comes from a store begins with the act: what was done to which object where, as in
//! `read packs/7f/7f3a in s3://backups/prod`. Variants differ where a caller or a person would act
//! differently.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use world::{Remedied, Remedy};

/// The eight things that can be done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// [`Store::put`](crate::Store::put)
    Put,
    /// [`Store::create`](crate::Store::create)
    Create,
    /// [`Store::get`](crate::Store::get)
    Get,
    /// [`Store::get_range`](crate::Store::get_range)
    GetRange,
    /// [`Store::get_tail`](crate::Store::get_tail)
    GetTail,
    /// [`Store::size`](crate::Store::size)
    Size,
    /// [`Store::list`](crate::Store::list)
    List,
    /// [`Store::delete`](crate::Store::delete)
    Delete,
}

impl Verb {
    /// All verbs, in order.
    pub const ALL: [Verb; 8] = [
        Verb::Put,
        Verb::Create,
        Verb::Get,
        Verb::GetRange,
        Verb::GetTail,
        Verb::Size,
        Verb::List,
        Verb::Delete,
    ];

    /// Whether the verb changes what is stored.
    pub fn writes(self) -> bool {
        matches!(self, Verb::Put | Verb::Create | Verb::Delete)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Put => "store",
            Verb::Create => "create",
            Verb::Get => "read",
            Verb::GetRange => "read part of",
            Verb::GetTail => "read the end of",
            Verb::Size => "look at",
            Verb::List => "list",
            Verb::Delete => "delete",
        })
    }
}

/// A place as a person knows it: a directory or a URL, without secrets. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(Arc<str>);

impl Place {
    /// Names a place; `shown` ends up in messages, so it holds no secret.
    pub fn new(shown: &str) -> Place {
        Place(shown.into())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was being done when an error arose: verb, object (or prefix), place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// What was asked for.
    pub verb: Verb,
    /// The object's key, or for a listing the prefix.
    pub object: String,
    /// Where.
    pub place: Place,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.verb, self.object, self.place)
    }
}

/// What can lie between us and a place, each with something else to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Obstacle {
    /// The server's certificate is of an authority that nobody here knows.
    UnknownAuthority,
    /// The server's certificate is for another host name.
    OtherHost,
    /// The server's certificate is no longer valid, or not yet.
    CertificateTime,
    /// The server's certificate cannot be used, for another reason.
    BadCertificate,
    /// What answers does not speak TLS.
    NoTls,
    /// The proxy is away, or opens no way to the place.
    Proxy,
    /// The proxy wants credentials, or others.
    ProxyLogin,
    /// The clocks of this machine and of the server differ too much.
    Clock,
    /// The credentials were good once.
    Expired,
    /// There is no host of this name.
    UnknownHost,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Obstacle::UnknownAuthority => {
                "the server's certificate comes from an authority that is not trusted"
            }
            Obstacle::OtherHost => "the server's certificate is for another host name",
            Obstacle::CertificateTime => "the server's certificate is not valid now",
            Obstacle::BadCertificate => "the server's certificate is not accepted",
            Obstacle::NoTls => "the server does not speak TLS",
            Obstacle::Proxy => "the proxy does not lead there",
            Obstacle::ProxyLogin => "the proxy wants other credentials",
            Obstacle::Clock => "the clock of this machine and that of the server differ too much",
            Obstacle::Expired => "the credentials have expired",
            Obstacle::UnknownHost => "there is no host of this name",
        })
    }
}

impl Obstacle {
    fn remedy(self) -> Remedy {
        match self {
            // A resolver or a proxy that is away says the same as one that was never there.
            Obstacle::Proxy | Obstacle::UnknownHost => Remedy::Retry,
            _ => Remedy::Correct,
        }
    }
}

/// Why an object did not reach its place, or did not come back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No object of this name is there; the place itself answers.
    #[error("{act}: there is no such object")]
    NotFound {
        /// What was being done.
        act: Box<Act>,
    },
    /// Something else lies under the name that was to be created.
    #[error("{act}: something else is stored under this name")]
    Exists {
        /// What was being done.
        act: Box<Act>,
    },
    /// The directory, bucket or container itself is not there. Where a store does not tell (S3's answer to
    /// `size`), this is [`Error::NotFound`].
    #[error("{act}: the place itself does not exist ({detail})")]
    NoPlace {
        /// What was being done.
        act: Box<Act>,
        /// What showed it.
        detail: String,
    },
    /// Credentials or permissions were refused, or none were found.
    #[error("{act}: access is denied ({detail})")]
    Denied {
        /// What was being done.
        act: Box<Act>,
        /// What the store or the system said.
        detail: String,
    },
    /// The place is busy or out of reach; later may be better.
    #[error("{act}: the place does not answer as it should ({detail})")]
    Unavailable {
        /// What was being done.
        act: Box<Act>,
        /// What happened instead.
        detail: String,
    },
    /// The place is there and asks for fewer requests, or is overloaded.
    #[error("{act}: the place is too busy ({detail})")]
    Busy {
        /// What was being done.
        act: Box<Act>,
        /// How long it asks to wait, if it says so.
        wait: Option<Duration>,
        /// What it said.
        detail: String,
    },
    /// Something on the way to the place or about this machine, which has a remedy of its own.
    #[error("{act}: {obstacle} ({detail})")]
    Obstructed {
        /// What was being done.
        act: Box<Act>,
        /// What is in the way.
        obstacle: Obstacle,
        /// What showed it.
        detail: String,
    },
    /// No room, or a quota is used up.
    #[error("{act}: there is no room left ({detail})")]
    Full {
        /// What was being done.
        act: Box<Act>,
        /// What the store or the system said.
        detail: String,
    },
    /// Fewer bytes came than the store had promised.
    #[error("{act}: only {got} of {promised} bytes came ({detail})")]
    CutShort {
        /// What was being done.
        act: Box<Act>,
        /// Bytes promised.
        promised: u64,
        /// Bytes that came.
        got: u64,
        /// How it ended.
        detail: String,
    },
    /// The asked range does not lie within the object.
    #[error("{act}: bytes {} to {} were asked for, but the object has {size}", asked.start, asked.end)]
    OutOfRange {
        /// What was being done.
        act: Box<Act>,
        /// The range that was asked for.
        asked: Range<u64>,
        /// The size of the object in bytes.
        size: u64,
    },
    /// The store understood and will not do it.
    #[error("{act}: the store refuses the request ({detail})")]
    Refused {
        /// What was being done.
        act: Box<Act>,
        /// What the store said.
        detail: String,
    },
    /// The local system failed, in a way that no other variant names.
    #[error("{act}: {}: {source}", path.display())]
    Local {
        /// What was being done.
        act: Box<Act>,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Retries did not help.
    #[error("{source}; tried {tries} times in {seconds} s")]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// For how long, in seconds.
        seconds: u64,
        /// What the last try said.
        source: Box<Error>,
    },
    /// This is not the name of an object.
    #[error("bad object name {key:?}: {why}")]
    BadKey {
        /// The name, perhaps shortened.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// This is not the name of a place, or it cannot be opened as configured.
    #[error("bad location {location}: {why}")]
    BadLocation {
        /// The location without secrets.
        location: String,
        /// What is wrong, and what is accepted.
        why: String,
    },
}

impl Error {
    /// Whether something on the way to the place is wrong, so that every other object would meet it too.
    pub fn is_obstacle(&self) -> bool {
        match self {
            Error::Obstructed { .. } => true,
            Error::GaveUp { source, .. } => source.is_obstacle(),
            _ => false,
        }
    }

    /// Whether the place answered that it has no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }
}

impl Remedied for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Error::Unavailable { .. } | Error::Busy { .. } | Error::CutShort { .. } => Remedy::Retry,
            Error::Obstructed { obstacle, .. } => obstacle.remedy(),
            Error::GaveUp { source, .. } => match **source {
                Error::CutShort { .. } => Remedy::Repair,
                ref last => last.remedy(),
            },
            Error::NoPlace { .. }
            | Error::Denied { .. }
            | Error::Refused { .. }
            | Error::BadKey { .. }
            | Error::BadLocation { .. }
            | Error::Exists { .. } => Remedy::Correct,
            Error::NotFound { .. } | Error::OutOfRange { .. } => Remedy::Repair,
            Error::Full { .. } => Remedy::Stop,
            Error::Local { act, .. } if act.verb.writes() => Remedy::Stop,
            Error::Local { .. } => Remedy::Repair,
        }
    }
}
