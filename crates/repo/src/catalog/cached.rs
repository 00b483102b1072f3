//! Cached entries: what was read, checked and opened once is not fetched and opened again. The bytes are kept
//! beside a few columns for people; what is read back must match its hash, its columns and its repository, or
//! nothing of the file is believed.

use std::collections::BTreeMap;

use format::entry::{Clear, EntryId};
use format::fact::RawFact;
use format::id::{Hash, RepoId};
use rusqlite::{Connection, Transaction};

use super::cell::{Cell, Row};
use super::mirror::{self, row_of};
use super::tables::ENTRIES;
use super::trouble::Trouble;
use crate::log::LogEntry;

/// The row of an entry, in the columns of [`ENTRIES`].
pub(super) fn row(entry: &LogEntry) -> Row {
    let clear = &entry.clear;
    let record = minicbor::to_vec((clear, entry.hash, &entry.facts, entry.closed));
    let record = record.expect("records encode into memory without error");
    vec![
        Cell::text(clear.writer),
        Cell::text(clear.session),
        clear.number.into(),
        Cell::text(entry.hash),
        clear.time.time.into(),
        Cell::size(clear.brings.len()),
        Cell::size(clear.facts.len() + entry.facts.len()),
        Cell::flag(entry.closed),
        Cell::text(Hash::of(&record)),
        Cell::Blob(record),
    ]
}

/// Each entry once, in the order of the table's key; of two copies the one whose facts were opened.
pub(super) fn sorted(entries: &[LogEntry]) -> Vec<&LogEntry> {
    let mut sorted: BTreeMap<(EntryId, Hash), &LogEntry> = BTreeMap::new();
    for entry in entries {
        let kept = sorted.entry((entry.clear.id(), entry.hash)).or_insert(entry);
        if kept.closed {
            *kept = entry;
        }
    }
    sorted.into_values().collect()
}

/// All cached entries, and the serial number of the newest.
pub(super) fn read(connection: &mut Connection, repo: RepoId) -> Result<(Vec<LogEntry>, i64), Trouble> {
    let moment = connection.transaction()?;
    let mut statement = moment.prepare(&mirror::select(&ENTRIES))?;
    let mut rows = statement.query([])?;
    let mut entries = Vec::new();
    while let Some(found) = rows.next()? {
        entries.push(read_row(&row_of(&ENTRIES, found)?, repo)?);
    }
    let seen = newest(&moment)?;
    Ok((entries, seen))
}

fn read_row(found: &Row, repo: RepoId) -> Result<LogEntry, Trouble> {
    let garbage = || {
        Trouble::Garbage(format!(
            "its copy of entry {} is not as it was written",
            mirror::key_text(&ENTRIES, found)
        ))
    };
    let Some(Cell::Blob(record)) = found.last() else { return Err(garbage()) };
    let decoded: Result<(Clear, Hash, Vec<RawFact>, bool), _> = minicbor::decode(record);
    let (clear, hash, facts, closed) = decoded.map_err(|_| garbage())?;
    let entry = LogEntry { clear, hash, facts, closed };
    if entry.clear.repo != repo || row(&entry) != *found {
        return Err(garbage());
    }
    Ok(entry)
}

/// Takes out what other processes cached since `seen`: what follows is the fold of a log without it.
pub(super) fn drop_after(transaction: &Transaction<'_>, seen: i64) -> Result<(), Trouble> {
    transaction.execute("DELETE FROM entries WHERE serial > ?1", [seen])?;
    Ok(())
}

/// Caches entries; a copy with opened facts is not replaced by one without.
pub(super) fn write(
    transaction: &Transaction<'_>,
    entries: impl Iterator<Item = Row>,
) -> Result<(), Trouble> {
    let mut statement = transaction.prepare(&format!(
        "{} ON CONFLICT (writer, session, number, hash) DO UPDATE \
         SET time = excluded.time, brings = excluded.brings, facts = excluded.facts, \
         closed = excluded.closed, digest = excluded.digest, record = excluded.record \
         WHERE entries.closed OR NOT excluded.closed",
        mirror::insert(&ENTRIES)
    ))?;
    for row in entries {
        statement.execute(rusqlite::params_from_iter(&row))?;
    }
    Ok(())
}

/// The newest serial number; 0 if nothing is cached.
pub(super) fn newest(connection: &Connection) -> Result<i64, Trouble> {
    Ok(connection.query_row("SELECT ifnull(max(serial), 0) FROM entries", [], |row| row.get(0))?)
}
