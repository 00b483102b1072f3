//! What is wrong with a log, told so that a person knows which entry to look at. Nothing that is named here
//! was dropped: the entry is kept, and what still can be used of it is used.

use format::entry::EntryId;

/// Something about the log that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Entries of a chain are missing before this one.
    Missing {
        /// The first entry after the gap.
        before: EntryId,
        /// How many are missing.
        count: u32,
    },
    /// Two entries claim the same place.
    Forked(EntryId),
    /// An entry does not name the hash of the one before it.
    Reordered(EntryId),
    /// Somebody saw an entry that is not here.
    Unseen {
        /// The entry that is not here.
        entry: EntryId,
        /// Who names it.
        named_by: EntryId,
    },
    /// Somebody saw another entry in this place.
    Changed {
        /// The place.
        entry: EntryId,
        /// Who saw another one.
        named_by: EntryId,
    },
    /// The writer was let in once, and no more.
    NotGranted(EntryId),
    /// Nobody let the writer in; or the entry that did is lost.
    Stranger(EntryId),
    /// The writer was let in, but not for this.
    NotAllowed {
        /// The entry.
        entry: EntryId,
        /// What it says.
        what: &'static str,
    },
    /// It says again, and otherwise, what another entry said; the other one counts.
    Contradicted {
        /// The entry that does not count for this.
        entry: EntryId,
        /// What both speak of.
        what: &'static str,
    },
    /// A fact of our own namespace that does not decode, or lies in the wrong part of its entry.
    Malformed {
        /// The entry.
        entry: EntryId,
        /// What is wrong with it.
        why: String,
    },
}

impl Finding {
    /// Whether something is lost, may be, or does not fit together; the rest was said by somebody who may not say it.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Finding::NotGranted(_) | Finding::NotAllowed { .. })
    }

    /// The entry, as messages name it.
    pub(crate) fn place(entry: &EntryId) -> String {
        let EntryId { writer, session, number } = entry;
        format!("entry {:.8}/{:.8}/{number}", writer.to_string(), session.to_string())
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = Finding::place;
        match self {
            Finding::Missing { before, count } => {
                write!(f, "{count} entries are missing before {}", shown(before))
            }
            Finding::Forked(entry) => write!(f, "two claim to be {}", shown(entry)),
            Finding::Reordered(entry) => {
                write!(f, "{} does not follow the one before it", shown(entry))
            }
            Finding::Unseen { entry, named_by } => {
                write!(f, "{} is missing: {} names it", shown(entry), shown(named_by))
            }
            Finding::Changed { entry, named_by } => {
                write!(f, "{} is not the one that {} names", shown(entry), shown(named_by))
            }
            Finding::NotGranted(entry) => {
                write!(f, "{} is by a writer that was shut out before", shown(entry))
            }
            Finding::Stranger(entry) => {
                let entry = shown(entry);
                write!(f, "{entry} is by a writer that nobody let in, or the entry that let it in is missing")
            }
            Finding::NotAllowed { entry, what } => {
                write!(f, "{} holds what its writer may not state: {what}", shown(entry))
            }
            Finding::Contradicted { entry, what } => {
                write!(f, "{} does not agree with another one about a {what}", shown(entry))
            }
            Finding::Malformed { entry, why } => {
                write!(f, "{} holds a fact that does not read: {why}", shown(entry))
            }
        }
    }
}
