//! What can go wrong with a repository, told so that each variant is acted on differently.

use std::path::PathBuf;

use format::fact::Hold;
use format::id::{PointId, RepoId, WriterId};
use world::{Remedied, Remedy};

use crate::retention::Reason;

/// Why the repository could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// An object that does not read as it should.
    #[error("read {object} in {place}: {source}")]
    Object {
        /// Its name.
        object: String,
        /// Where it lies.
        place: String,
        /// What is wrong with it.
        source: format::Error,
    },
    /// An object that must be there and is not, or not as the log says.
    #[error("{object} in {place} is damaged: {why}")]
    Damaged {
        /// Its name.
        object: String,
        /// Where it should lie.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// Something that points need cannot be looked into, so nobody knows what else they need.
    #[error(
        "{object} in {place} is needed and cannot be looked into ({why}): what lies under it is unknown, so nothing may \
         be deleted"
    )]
    Unmarked {
        /// Its name.
        object: String,
        /// Where it should lie.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The store acknowledged an object that it then did not show as it was.
    #[error("{place} acknowledged {object} and does not have it: {why}")]
    NotStored {
        /// Its name.
        object: String,
        /// Where it should lie.
        place: String,
        /// What was seen.
        why: String,
    },
    /// Bytes that make no sense, found while a tree was walked.
    #[error(transparent)]
    Malformed(#[from] format::Malformed),
    /// Something that the format cannot keep.
    #[error(transparent)]
    Refused(#[from] format::tree::Refused),
    /// Nothing that looks like a repository.
    #[error("there is no repository in {0}")]
    NoRepository(String),
    /// This host knows which repository was there.
    #[error("repository {repo} was in {place}, and it is not there any more")]
    Gone {
        /// The place.
        place: String,
        /// The fingerprint of the repository.
        repo: String,
    },
    /// Something is there already.
    #[error("{0} already holds a repository or other files")]
    Occupied(String),
    /// None of the slots opens.
    #[error("the {secret} opens none of the {slots} key slots in {place}")]
    WrongKey {
        /// What was tried.
        secret: &'static str,
        /// How many slots there are.
        slots: usize,
        /// Where.
        place: String,
    },
    /// None of the slots opens, and some of them are damaged: the secret may be the right one.
    #[error("the {secret} opens no key slot in {place}: {damage}")]
    NoSlotOpens {
        /// What was tried.
        secret: &'static str,
        /// Where.
        place: String,
        /// What is wrong with the slots.
        damage: String,
    },
    /// None of the slots that are known here opens, and others are of a later program: the secret may be for them.
    #[error("the {secret} opens no key slot in {place} that this program knows: {others}")]
    NoKnownSlotOpens {
        /// What was tried.
        secret: &'static str,
        /// Where.
        place: String,
        /// What is not known of the others.
        others: String,
    },
    /// It is another repository than the one that was trusted.
    #[error("{place} holds repository {found}, but {expected} is the one that was trusted")]
    NotTrusted {
        /// Where.
        place: String,
        /// What was trusted, in hexadecimal.
        expected: String,
        /// What is there, in hexadecimal.
        found: String,
    },
    /// This writer may not do that.
    #[error("writer {writer} may not {act}")]
    NotAllowed {
        /// Who.
        writer: WriterId,
        /// What.
        act: &'static str,
    },
    /// The keys at hand do not allow it.
    #[error(transparent)]
    Keys(format::Error),
    /// The keys were renewed, and the secret at hand has only those from before.
    #[error("the keys of {place} were renewed, and the secret at hand has only those from before")]
    OldKeys {
        /// Where.
        place: String,
        /// Whether it is the key of a host that may add and nothing else.
        write_only: bool,
    },
    /// New keys lie in slots, and the history does not state them.
    #[error("the keys of {0} are being renewed, or were not renewed to the end")]
    HalfRenewed(String),
    /// New keys would shut somebody out.
    #[error("new keys cannot be sealed for {}, so their holders would be shut out", .0.join(", "))]
    WouldShutOut(Vec<String>),
    /// The only key slot is not removed.
    #[error(
        "key slot {0} is the only one that has the newest keys: without it nobody could open all of the repository"
    )]
    LastSlot(String),
    /// No slot of that name.
    #[error("no key slot {0}")]
    NoSlot(String),
    /// No point of that name.
    #[error("no point {asked}")]
    NoPoint {
        /// What was asked for, as a person would say it.
        asked: String,
    },
    /// No point of that name, in a history of which some is lost.
    #[error("no point {asked}, but the history shows faults ({faults}), and the point may be lost with them")]
    LostPoint {
        /// What was asked for, as a person would say it.
        asked: String,
        /// How much is wrong with the history.
        faults: usize,
    },
    /// No session of that name is at work, or several are.
    #[error("{}", no_session(asked, *meant))]
    NoSession {
        /// What was asked for.
        asked: String,
        /// How many it could mean.
        meant: usize,
    },
    /// The history shows faults, so what it keeps is not known.
    #[error("the history in {place} shows {faults} faults, so nothing may be deleted by it: {first}")]
    FaultyHistory {
        /// Where.
        place: String,
        /// One of them.
        first: String,
        /// How many there are.
        faults: usize,
    },
    /// A sweep has to store something first, and there is no room for it.
    #[error(
        "{source}; before more can be deleted, the sweep has to store that, about {} KiB{}",
        bytes.div_ceil(1024),
        if *deleted == 0 { String::new() } else { format!("; it deleted {deleted} packs before") }
    )]
    NoRoom {
        /// What it did, and what the store said.
        source: storage::Error,
        /// Bytes that it was to store.
        bytes: u64,
        /// Packs that it had deleted before.
        deleted: u64,
    },
    /// Part of the history is sealed under keys that are not at hand.
    #[error(
        "of the history in {place}, {entries} entries are sealed under keys that are not at hand, as {first}: what they \
         keep is unknown, so nothing may be deleted"
    )]
    ClosedHistory {
        /// Where.
        place: String,
        /// One of them.
        first: String,
        /// How many there are.
        entries: usize,
    },
    /// A guard keeps the point.
    #[error("point {:.12} is not forgotten: {}{}", point.to_string(), why(*reason), held(hold.as_deref()))]
    Kept {
        /// The point.
        point: PointId,
        /// Which guard.
        reason: Reason,
        /// What holds it, if it is held: a hold of its whole source if there is one.
        hold: Option<Box<Hold>>,
    },
    /// Part of each of these points is gone, so nothing keeps them.
    #[error("{} gone: a sweep took part of what is needed, or is about to", are(.0))]
    PointsGone(Vec<PointId>),
    /// Several points of that name.
    #[error("{asked} could be any of {}", list(candidates))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// What it could mean.
        candidates: Vec<PointId>,
    },
    /// Uploads were given up because somebody asked for an end, so nothing that needs them is committed.
    #[error("uploads were given up as asked, so no point is made")]
    GivenUp,
    /// Somebody else was at work, and what this session relied on is gone; nothing is lost, it can be run again.
    #[error("{0}")]
    Raced(String),
    /// Fewer regions than promised hold the point.
    #[error("{0}")]
    TooFewRegions(String),
    /// Local files: state, key files, caches.
    #[error("{act} {}: {source}", path.display())]
    Local {
        /// What was done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The catalog, which is only a cache.
    #[error("the catalog {}: {why}", path.display())]
    Catalog {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// A fact that this program does not know forbids the verb.
    #[error(
        "this repository holds something that this version does not know and that forbids to {verb}: {fact}"
    )]
    UnknownFact {
        /// What was to be done.
        verb: &'static str,
        /// Which fact.
        fact: String,
    },
}

fn no_session(asked: &str, meant: usize) -> String {
    match meant {
        0 => format!("no session {asked} is at work"),
        _ => format!("{asked} could be any of {meant} sessions at work"),
    }
}

fn list(points: &[PointId]) -> String {
    let shown: Vec<String> = points.iter().take(5).map(|p| format!("{p:.12}", p = p.to_string())).collect();
    format!("{}{}", shown.join(", "), if points.len() > 5 { ", ..." } else { "" })
}

fn are(points: &[PointId]) -> String {
    format!(
        "{} {} {}",
        if points.len() == 1 { "point" } else { "points" },
        list(points),
        if points.len() == 1 { "is" } else { "are" }
    )
}

fn held(hold: Option<&Hold>) -> String {
    hold.map(|hold| format!(" ({:?})", hold.reason)).unwrap_or_default()
}

/// What a guard says of a point that it keeps.
fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Pinned => "it is pinned",
        Reason::Held => "it is under a legal hold",
        Reason::NewestRestorable => "it is the newest of its source that can be restored",
        Reason::NewestProven => "it is the newest of its source that was proven by restoring it",
        Reason::Least => "fewer of its source would be left than are to stay",
        _ => "a rule keeps it",
    }
}

impl Error {
    /// Whether whatever else is asked of the place would meet the same: it does not answer, or something is in the way.
    pub fn is_about_place(&self) -> bool {
        self.remedy() == Remedy::Retry || matches!(self, Error::Storage(error) if error.is_obstacle())
    }

    /// Whether one object is gone, cut or too long, so that going on with the others makes sense.
    pub(crate) fn is_about_object(&self) -> bool {
        match self {
            Error::Storage(storage::Error::OutOfRange { .. }) => true,
            Error::Storage(error) => error.is_not_found(),
            Error::Object { .. } | Error::Damaged { .. } => true,
            _ => false,
        }
    }

    /// Names the object that a decoder complained about.
    pub(crate) fn object(object: impl ToString, place: impl ToString) -> impl FnOnce(format::Error) -> Error {
        let (object, place) = (object.to_string(), place.to_string());
        move |source| match source {
            format::Error::NoKey(_) => Error::Keys(source),
            source => Error::Object { object, place, source },
        }
    }

    /// A place that holds another repository than the trusted one.
    pub(crate) fn not_trusted(place: impl ToString, expected: RepoId, found: RepoId) -> Error {
        Error::NotTrusted {
            place: place.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

impl Remedied for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Error::Storage(source) => source.remedy(),
            Error::Object { source, .. } if source.is_of_later_program() => Remedy::Correct,
            Error::Object { source: format::Error::Draft(_), .. } => Remedy::Correct,
            Error::ClosedHistory { .. } | Error::NoKnownSlotOpens { .. } => Remedy::Correct,
            Error::Object { .. } | Error::Damaged { .. } | Error::Malformed(_) => Remedy::Repair,
            Error::Unmarked { .. } | Error::FaultyHistory { .. } => Remedy::Repair,
            Error::NoSession { .. } => Remedy::Correct,
            Error::NotStored { .. } | Error::NoSlotOpens { .. } | Error::LostPoint { .. } => Remedy::Repair,
            Error::Refused(_) => Remedy::Report,
            Error::NoRepository(_) | Error::Occupied(_) | Error::WrongKey { .. } => Remedy::Correct,
            Error::NotTrusted { .. } | Error::NotAllowed { .. } | Error::Keys(_) => Remedy::Correct,
            Error::LastSlot(_) | Error::NoSlot(_) => Remedy::Correct,
            Error::OldKeys { .. } | Error::WouldShutOut(_) => Remedy::Correct,
            Error::HalfRenewed(_) => Remedy::Refresh,
            Error::NoPoint { .. } | Error::Ambiguous { .. } | Error::UnknownFact { .. } => Remedy::Correct,
            Error::Kept { .. } | Error::PointsGone(_) => Remedy::Correct,
            Error::Raced(_) => Remedy::Refresh,
            Error::TooFewRegions(_) | Error::Gone { .. } => Remedy::Retry,
            Error::GivenUp | Error::Local { .. } | Error::Catalog { .. } => Remedy::Stop,
            Error::NoRoom { .. } => Remedy::Stop,
        }
    }
}
