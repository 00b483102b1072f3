//! Which chunks are stored, and where: the runs of the log, merged into a few sorted tables of the local state.
//!
//! A look-up asks the filters of the tables, which answer most questions about new chunks, and reads one block of a
//! table that has the chunk. So memory is 1.3 MB for a million chunks, however many a session adds: once a run lists
//! new chunks, their rows lie in a table too. A run is compared with the hash in the log when it is fetched, and a table
//! is sealed block by block; so a bad local disk can slow a backup down but never leads it to a wrong place. A host that
//! may add and cannot open runs has tables of what it stored itself. Only the first half of a chunk id is kept; whoever
//! follows a reference compares all of it.
//!
//! Several processes of one host share the folder. A table appears whole, never changes, and is removed by whoever made
//! another one of its rows; what that takes from under somebody who is just opening it is fetched again.

mod merge;
mod row;
mod table;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

use format::id::{ChunkId, Hash, PackId, RunId, SessionId, WriterId};
use format::limit::RUN_BYTES_MAX;
use format::reference::Reference;
use format::run::{Run, RunBuilder, RunEntry, RunHead};
use storage::ObjectKey;
use world::Chance;

use crate::error::Error;
use crate::fold::{Fold, RunRecord};
use crate::layout;
use crate::repo::Repo;
use row::Row;
use table::{Keys, Making, Table};

/// Folder of the local state.
const FOLDER: &str = "chunks";

/// Rows that become one table when many runs are fetched.
const GATHERED_ROWS_MAX: usize = 1 << 19;

/// Bytes of runs that are fetched at once.
const FETCH_BYTES: u64 = 32 << 20;

/// A table is merged with the next smaller one unless it has this many times its rows; so there are few tables, and a
/// row is written again as often as its table grows by this factor.
const GROWTH: u64 = 4;

/// All known chunks.
pub(crate) struct Index {
    keys: Keys,
    folder: PathBuf,
    /// The largest first.
    tables: RwLock<Vec<Arc<Table>>>,
    /// Held by whoever adds a table.
    adding: Mutex<()>,
    damaged: Mutex<Vec<String>>,
}

impl Index {
    /// Opens what is there, and fetches the runs of `fold` whose rows are not there yet, if the keys at hand open them.
    pub(crate) fn load(repo: &Repo, fold: &Fold) -> Result<Index, Error> {
        let folder = repo.state.path(FOLDER);
        // Where no folder can be made, tables stay in memory.
        let _ = fs::create_dir_all(&folder);
        let (generation, world) = (repo.bundle.newest().clone(), repo.world.clone());
        let keys = Keys { repo: repo.genesis.id, domain: repo.bundle.domain, generation, world };
        let index = Index::open(keys, folder);
        if repo.bundle.newest().index.is_some() {
            index.fetch(repo, &index.missing(fold))?;
        }
        index.settle();
        Ok(index)
    }

    fn open(keys: Keys, folder: PathBuf) -> Index {
        let tables = RwLock::new(opened(&keys, &folder));
        Index { keys, tables, adding: Mutex::default(), damaged: Mutex::default(), folder }
    }

    /// Where `chunk` is stored, as far as half of its id tells; usually one place or none.
    pub(crate) fn places(&self, chunk: &ChunkId) -> Vec<Reference> {
        let mut found = Vec::new();
        let mut bad = Vec::new();
        for table in self.tables().iter() {
            if let Err(error) = table.places(chunk, &mut found) {
                bad.push((table.clone(), error));
            }
        }
        bad.into_iter().for_each(|(table, error)| self.give_up(&table, &error));
        // Two processes may each have made a table of the same rows.
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Parts that could not be used, in sentences: what they list is stored again.
    pub(crate) fn damaged(&self) -> Vec<String> {
        lock(&self.damaged).clone()
    }

    /// Adds what was just stored, listed in `run` unless this host makes none; whether it is found here from now on.
    pub(crate) fn add(&self, chunks: &[Reference], run: Option<RunId>) -> bool {
        let mut gathered = Gathered::default();
        chunks.iter().for_each(|reference| gathered.push(&RunEntry::from(reference)));
        gathered.runs.extend(run);
        let kept = self.keep(gathered);
        self.settle();
        kept
    }

    fn tables(&self) -> RwLockReadGuard<'_, Vec<Arc<Table>>> {
        self.tables.read().expect("no holder of this lock panics")
    }

    fn missing(&self, fold: &Fold) -> Vec<(RunId, RunRecord)> {
        let tables = self.tables();
        let here: BTreeSet<&RunId> = tables.iter().flat_map(|table| table.runs()).collect();
        fold.runs.iter().filter(|(id, _)| !here.contains(id)).map(|(id, record)| (*id, *record)).collect()
    }

    fn fetch(&self, repo: &Repo, missing: &[(RunId, RunRecord)]) -> Result<(), Error> {
        let mut ranges = Vec::new();
        for (id, record) in missing {
            let key = layout::run(record.of.0, record.of.1, *id);
            if record.size > RUN_BYTES_MAX {
                let why = format!("the log says that it has {} bytes, and no run has", record.size);
                lock(&self.damaged).push(repo.io.damaged(&key, why).to_string());
            } else {
                ranges.push(((*id, *record, key.clone()), key, 0..record.size));
            }
        }
        let (mut gathered, mut failed) = (Gathered::default(), None);
        repo.io.get_ranges(ranges, FETCH_BYTES, |(id, record, key), bytes| {
            let bytes = bytes.map_err(|error| repo.io.missing(error, &key));
            match bytes.and_then(|bytes| checked(repo, &key, &record, &bytes).map(|()| bytes)) {
                Ok(bytes) => self.gather(repo, id, &bytes, &mut gathered),
                // A run only saves time and space: without it chunks are stored again.
                Err(error) if error.is_about_object() => lock(&self.damaged).push(error.to_string()),
                Err(error) => drop(failed.get_or_insert(error)),
            }
            if gathered.rows.len() >= GATHERED_ROWS_MAX {
                let _ = self.keep(std::mem::take(&mut gathered));
            }
        });
        let _ = self.keep(gathered);
        failed.map_or(Ok(()), Err)
    }

    fn gather(&self, repo: &Repo, id: RunId, bytes: &[u8], gathered: &mut Gathered) {
        // What older keys named is found by none of the names that are looked for.
        let newest = repo.bundle.newest().number;
        if Run::head_of(bytes).is_ok_and(|head| head.generation != newest) {
            return gathered.runs.push(id);
        }
        match Run::open(bytes, &repo.bundle) {
            Ok(run) => {
                run.entries().for_each(|entry| gathered.push(&entry));
                gathered.runs.push(id);
            }
            Err(format::Error::NoKey(_)) => gathered.runs.push(id),
            // What it lists is stored again.
            Err(error) if error.is_of_later_program() => gathered.runs.push(id),
            Err(error) => lock(&self.damaged).push(format!("run {id}: {error}")),
        }
    }

    /// Makes a table; if that fails it is said, and what it should have listed is stored again.
    fn keep(&self, gathered: Gathered) -> bool {
        if gathered.runs.is_empty() && gathered.rows.is_empty() {
            return true;
        }
        let table = gathered.into_table(&self.keys, self.fresh_path());
        let table = table.map_err(|error| lock(&self.damaged).push(format!("list chunks: {error}")));
        table.map(|table| self.change(|tables| tables.push(Arc::new(table)))).is_ok()
    }

    fn fresh_path(&self) -> PathBuf {
        self.folder.join(RunId(self.keys.world.chance().bytes()).to_string())
    }

    /// Merges tables until each is much larger than the next.
    fn settle(&self) {
        let _adding = lock(&self.adding);
        loop {
            let tables = self.tables().clone();
            let small =
                tables.windows(2).position(|pair| pair[0].len() < (pair[1].len() + 1).saturating_mul(GROWTH));
            let Some(small) = small else { return };
            let together: Vec<&Table> = tables[small..].iter().map(|table| &**table).collect();
            // What cannot be merged, for want of room or because one is damaged, stays as it is: look-ups tell.
            let Ok(table) = merge::merged(&self.keys, &together, self.fresh_path()) else { return };
            self.change(|all| {
                all.retain(|table| !together.iter().any(|old| old.path == table.path));
                all.push(Arc::new(table));
            });
            together.iter().for_each(|old| drop(fs::remove_file(&old.path)));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Table>>)) {
        let mut tables = self.tables.write().expect("no holder of this lock panics");
        change(&mut tables);
        tables.sort_by_key(|table| std::cmp::Reverse(table.len()));
    }

    /// Does without a table that does not read as it was written; the next backup makes it anew from the region.
    fn give_up(&self, table: &Table, error: &table::Bad) {
        let said = format!("{} does not read as it was written: {error}", table.path.display());
        self.change(|tables| {
            if tables.iter().any(|other| other.path == table.path) {
                lock(&self.damaged).push(said);
            }
            tables.retain(|other| other.path != table.path);
        });
        let _ = fs::remove_file(&table.path);
    }
}

/// The tables in a folder; what opens with none of the newest keys is removed.
fn opened(keys: &Keys, folder: &Path) -> Vec<Arc<Table>> {
    let mut tables = Vec::new();
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = file.path();
        match Table::open(keys, path.clone()) {
            Ok(table) => tables.push(Arc::new(table)),
            Err(_) if !is_ours(&path) || is_being_made(&path) => {}
            Err(_) => drop(fs::remove_file(&path)),
        }
    }
    tables.sort_by_key(|table| std::cmp::Reverse(table.len()));
    tables
}

/// Whether a file has a name as tables have.
fn is_ours(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| RunId::parse(stem).is_ok())
}

/// Whether a process that still runs has begun this file.
fn is_being_made(path: &Path) -> bool {
    let process = path.extension().and_then(|part| part.to_str()?.strip_prefix("part"));
    process.is_some_and(|id| Path::new("/proc").join(id).exists())
}

/// Rows on their way into a table.
#[derive(Default)]
struct Gathered {
    packs: HashMap<PackId, u32>,
    rows: Vec<Row>,
    runs: Vec<RunId>,
}

impl Gathered {
    fn push(&mut self, entry: &RunEntry) {
        let new = u32::try_from(self.packs.len()).expect("fewer than 2^32 packs");
        let number = *self.packs.entry(entry.frame.pack).or_insert(new);
        self.rows.push(Row::of(entry, number));
    }

    fn into_table(mut self, keys: &Keys, path: PathBuf) -> Result<Table, table::Bad> {
        let mut packs: Vec<(PackId, u32)> = self.packs.into_iter().collect();
        packs.sort_unstable();
        let mut numbers = vec![0; packs.len()];
        for ((_, old), new) in packs.iter().zip(0..) {
            numbers[*old as usize] = new;
        }
        self.rows.iter_mut().for_each(|row| row.pack = numbers[row.pack as usize]);
        self.rows.sort_unstable();
        self.rows.dedup();
        let mut making = Making::begin(keys, Vec::new(), packs.into_iter().map(|(pack, _)| pack).collect())?;
        self.rows.iter().try_for_each(|row| making.push(row))?;
        making.finish_small(path, self.runs)
    }
}

/// Refuses bytes of a run that are not what the log says.
fn checked(repo: &Repo, key: &ObjectKey, record: &RunRecord, bytes: &[u8]) -> Result<(), Error> {
    if Hash::of(bytes) == record.hash {
        Ok(())
    } else {
        Err(repo.io.damaged(key, "it does not hash to what the log says"))
    }
}

/// The object of a run that lists these chunks.
pub(crate) fn seal_run(
    repo: &Repo,
    (writer, session): (WriterId, SessionId),
    run: RunId,
    chunks: &[Reference],
    chance: &mut Chance,
) -> Result<Vec<u8>, Error> {
    let keys = repo.bundle.newest();
    let mut builder = RunBuilder::new(RunHead {
        repo: repo.genesis.id,
        domain: repo.bundle.domain,
        generation: keys.number,
        writer,
        session,
        run,
        cutter: repo.genesis.chunks.generation,
    });
    for reference in chunks {
        builder.push(&RunEntry::from(reference)).map_err(Error::Keys)?;
    }
    Ok(builder.finish(keys, chance).map_err(Error::Keys)?.into_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests;
