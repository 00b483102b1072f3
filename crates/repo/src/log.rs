//! The log of a region: listed completely, read once, checked, and kept.
//!
//! A listing starts at the beginning each time, because other writers' entries may appear anywhere. Only entries that are
//! not yet known are fetched; an entry's name holds its hash, so what is known cannot have changed under its name. Bytes
//! that do not match their name, their signature or their place are findings, not entries, once they were read twice: what
//! was flipped or cut on its way is as it should be the next time.

use std::collections::BTreeMap;

use bytes::Bytes;
use format::entry::{Clear, Entry, EntryId};
use format::fact::RawFact;
use format::id::{Hash, RepoId};
use format::key::Bundle;
use format::limit::ENTRY_BYTES_MAX;
use storage::ObjectKey;

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
                        fresh.push((object.key, object.size));
                    }
                }
                None => self.report_bad(object.key.to_string(), "its name is not that of an entry"),
            }
        }
        let sizes: BTreeMap<ObjectKey, u64> = fresh.iter().cloned().collect();
        let (mut added, mut again, mut failed) = (Vec::<(EntryId, Hash)>::new(), Vec::new(), None);
        io.get_each(fresh, ENTRY_BYTES_MAX as u64, |key, bytes| match self.take(&key, bytes, reading, io) {
            Ok(Taken::Entry(place)) => added.push(place),
            Ok(Taken::Bad(_)) => {
                let size = sizes.get(&key).copied().unwrap_or_default();
                again.push((key, size));
            }
            Err(error) => drop(failed.get_or_insert(error)),
        });
        io.get_each(again, ENTRY_BYTES_MAX as u64, |key, bytes| match self.take(&key, bytes, reading, io) {
            Ok(Taken::Entry(place)) => added.push(place),
            Ok(Taken::Bad(why)) => self.report_bad(key.to_string(), &why),
            Err(error) => drop(failed.get_or_insert(error)),
        });
        if let Some(error) = failed {
            // Nobody hears of what was read before that, so whoever asks again is to hear of it as new.
            added.iter().for_each(|place| drop(self.entries.remove(place)));
            return Err(error);
        }
        let vanished = self.entries.keys().filter(|place| !present.contains(place)).copied().collect();
        Ok(Refreshed { added, vanished })
    }

    /// Keeps what is an entry.
    fn take(
        &mut self,
        key: &ObjectKey,
        bytes: Result<Bytes, Error>,
        reading: &Reading<'_>,
        io: &Io,
    ) -> Result<Taken, Error> {
        let place = layout::parse_entry(key.as_str()).expect("only parsed names were asked for");
        Ok(Taken::Bad(match bytes.map(|bytes| read(&bytes, place, reading)) {
            Ok(Ok(entry)) => {
                self.entries.insert(place, entry);
                return Ok(Taken::Entry(place));
            }
            Ok(Err(error)) if error.is_of_later_program() => {
                return Err(Error::object(key, io.place())(error));
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) if error.is_about_object() => error.to_string(),
            Err(error) => return Err(error),
        }))
    }

    fn report_bad(&mut self, object: String, why: &str) {
        self.bad.push(BadEntry { object, why: why.to_owned() });
    }
}

/// What was found under the name of an entry.
enum Taken {
    Entry((EntryId, Hash)),
    /// No entry, and why.
    Bad(String),
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
