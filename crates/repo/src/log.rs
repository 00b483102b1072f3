//! The log of a region: listed completely, read once, checked, and kept.
//!
//! A listing starts at the beginning each time, because other writers' entries may appear anywhere. Only entries that are
//! not yet known are fetched; an entry's name holds its hash, so what is known cannot have changed under its name. Bytes
//! that do not match their name, their signature or their place are findings, not entries.

use std::collections::BTreeMap;

use bytes::Bytes;
use format::entry::{Clear, Entry, EntryId};
use format::fact::RawFact;
use format::id::{Hash, RepoId};
use format::key::Bundle;

use crate::error::Error;
use crate::io::Io;
use crate::layout;

/// An entry whose signature holds and whose sealed facts were opened where the key allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The readable part.
    pub clear: Clear,
    /// BLAKE3 of the object.
    pub hash: Hash,
    /// Facts of the sealed part; empty where they were not opened.
    pub facts: Vec<RawFact>,
    /// Whether there are sealed facts that the keys at hand do not open.
    pub closed: bool,
}

/// An object under `log/` that is no entry of this repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// Its name.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
}

/// All entries of a region, and what pretends to be one.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Entries by place and hash.
    pub entries: BTreeMap<(EntryId, Hash), LogEntry>,
    /// What is no entry.
    pub bad: Vec<BadEntry>,
}

/// Keys and anchor by which entries are read.
pub(crate) struct Reading<'a> {
    pub(crate) repo: RepoId,
    /// Opens sealed facts; `None` for a check with public keys only.
    pub(crate) bundle: Option<&'a Bundle>,
}

impl Log {
    /// Brings the log up to date with the region. Entries that vanished there stay known here, and are returned.
    pub(crate) fn refresh(&mut self, io: &Io, reading: &Reading<'_>) -> Result<Refreshed, Error> {
        let listed = io.list(&layout::log())?;
        self.bad.clear();
        let mut present = std::collections::BTreeSet::new();
        let mut fresh = Vec::new();
        for object in listed {
            match layout::parse_entry(object.key.as_str()) {
                Some(place) => {
                    present.insert(place);
                    if !self.entries.contains_key(&place) {
                        fresh.push(object.key);
                    }
                }
                None => self.report_bad(object.key.to_string(), "its name is not that of an entry"),
            }
        }
        let mut added = Vec::new();
        for (key, bytes) in io.get_all(fresh) {
            let place = layout::parse_entry(key.as_str()).expect("only parsed names were asked for");
            match read(&bytes?, place, reading) {
                Ok(entry) => {
                    added.push(place);
                    self.entries.insert(place, entry);
                }
                Err(error @ format::Error::Newer { .. }) => {
                    return Err(Error::object(key, io.place())(error));
                }
                Err(error) => self.report_bad(key.to_string(), &error.to_string()),
            }
        }
        let vanished = self.entries.keys().filter(|place| !present.contains(place)).copied().collect();
        Ok(Refreshed { added, vanished })
    }

    fn report_bad(&mut self, object: String, why: &str) {
        self.bad.push(BadEntry { object, why: why.to_owned() });
    }
}

/// What a refresh changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Entries that are new here.
    pub added: Vec<(EntryId, Hash)>,
    /// Entries that are known here and no longer in the region: it lost them, or is an older copy of itself.
    pub vanished: Vec<(EntryId, Hash)>,
}

fn read(
    bytes: &Bytes,
    (id, hash): (EntryId, Hash),
    reading: &Reading<'_>,
) -> Result<LogEntry, format::Error> {
    if Hash::of(bytes) != hash {
        return Err(format::Error::Altered("a log entry (its name is the hash of other bytes)"));
    }
    let entry = Entry::decode(bytes, &reading.repo)?;
    if entry.clear.id() != id {
        return Err(format::Error::Foreign("a log entry"));
    }
    let opened = match reading.bundle {
        Some(bundle) => match entry.sealed_facts(bundle) {
            Ok(facts) => Some(facts),
            Err(format::Error::NoKey(_)) => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let closed = opened.is_none() && entry.has_sealed_facts();
    Ok(LogEntry { hash, facts: opened.unwrap_or_default(), closed, clear: entry.clear })
}
