//! Which chunks are stored, and where: the runs of the log, merged in memory.
//!
//! A look-up first asks a filter (binary fuse, 9 bits for a chunk; Graf and Lemire, 2022), which answers most questions
//! about new chunks without touching the table, then searches the sorted rows. Runs are kept in the local state as they
//! are stored, sealed, and compared with the hash in the log each time they are read, so a bad local disk can slow a
//! backup down but never leads it to a wrong place. Only the first half of a chunk id is kept; whoever follows a
//! reference compares all of it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use format::id::{ChunkId, Hash, PackId, RunId, SessionId, WriterId};
use format::limit::RUN_BYTES_MAX;
use format::reference::Reference;
use format::run::{Run, RunBuilder, RunEntry, RunHead};
use storage::ObjectKey;
use world::Chance;
use xorf::{BinaryFuse8, Filter};

use crate::error::Error;
use crate::fold::{Fold, RunRecord};
use crate::layout;
use crate::own;
use crate::repo::Repo;
use crate::state::write_whole;

/// Folder of the state for [`own`].
pub(crate) const OWN: &str = "own";

/// One chunk's place; 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    chunk: [u8; 16],
    pack: u32,
    ordinal: u32,
    offset: u32,
    length: u32,
}

/// All known chunks.
#[derive(Default)]
pub(crate) struct Index {
    packs: Vec<PackId>,
    rows: Vec<Row>,
    damaged: Vec<String>,
    filter: Option<BinaryFuse8>,
}

impl Index {
    /// Loads the runs of `fold`; where the keys at hand do not open them, what this host stored itself.
    pub(crate) fn load(repo: &Repo, fold: &Fold) -> Result<Index, Error> {
        if repo.bundle.newest().index.is_none() {
            return Ok(Index::of_own(repo));
        }
        let cache = repo.state.path("runs");
        let mut index = Index::default();
        let mut numbers = HashMap::new();
        let mut missing = Vec::new();
        for (id, record) in &fold.runs {
            match read_cached(&cache, *id, record) {
                Some(bytes) => index.add(repo, *id, &bytes, &mut numbers),
                None => missing.push((*id, *record)),
            }
        }
        index.fetch(repo, &cache, &missing, &mut numbers)?;
        drop_others(&cache, fold);
        index.settle();
        Ok(index)
    }

    fn of_own(repo: &Repo) -> Index {
        let (mut index, mut numbers) = (Index::default(), HashMap::new());
        let name = RunId(repo.world.chance().bytes()).to_string();
        for reference in own::all(&repo.state.path(OWN), &name) {
            index.push(&RunEntry::from(&reference), &mut numbers);
        }
        index.settle();
        index
    }

    /// Where `chunk` is stored, as far as half of its id tells; usually one place or none.
    pub(crate) fn places(&self, chunk: &ChunkId) -> impl Iterator<Item = Reference> {
        let half: [u8; 16] = *chunk.0.first_chunk().expect("a chunk id is longer than its half");
        let known = self.filter.as_ref().is_none_or(|filter| filter.contains(&key(&half)));
        let at = if known { self.rows.partition_point(|row| row.chunk < half) } else { self.rows.len() };
        let chunk = *chunk;
        let rows = self.rows.iter().skip(at).take_while(move |row| row.chunk == half);
        rows.filter_map(move |row| {
            let (pack, Row { ordinal, offset, length, .. }) = (*self.packs.get(row.pack as usize)?, *row);
            Some(Reference { pack, ordinal, offset, length, chunk })
        })
    }

    fn fetch(
        &mut self,
        repo: &Repo,
        cache: &std::path::Path,
        missing: &[(RunId, RunRecord)],
        numbers: &mut HashMap<PackId, u32>,
    ) -> Result<(), Error> {
        let named: HashMap<ObjectKey, (RunId, RunRecord)> =
            missing.iter().map(|(id, r)| (layout::run(r.of.0, r.of.1, *id), (*id, *r))).collect();
        let objects = named.iter().map(|(key, (_, record))| (key.clone(), record.size)).collect();
        let mut failed = None;
        repo.io.get_each(objects, RUN_BYTES_MAX, |key, bytes| {
            let (id, record) = named[&key];
            match bytes
                .map_err(|e| repo.io.missing(e, &key))
                .and_then(|bytes| checked(repo, &key, &record, bytes))
            {
                Ok(bytes) => {
                    // A copy that cannot be kept is fetched again next time.
                    let _ =
                        fs::create_dir_all(cache).map(|()| write_whole(&cache.join(id.to_string()), &bytes));
                    self.add(repo, id, &bytes, numbers);
                }
                // A run only saves time and space: without it chunks are stored again.
                Err(error) if error.is_about_object() => self.damaged.push(error.to_string()),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// Runs that could not be used, in sentences: what they list is stored again.
    pub(crate) fn damaged(&self) -> &[String] {
        &self.damaged
    }

    fn add(&mut self, repo: &Repo, id: RunId, bytes: &Bytes, numbers: &mut HashMap<PackId, u32>) {
        // What older keys named is found by none of the names that are looked for.
        let newest = repo.bundle.newest().number;
        if Run::head_of(bytes).is_ok_and(|head| head.generation != newest) {
            return;
        }
        let run = match Run::open(bytes, &repo.bundle) {
            Ok(run) => run,
            Err(format::Error::NoKey(_)) => return,
            Err(error) => return self.damaged.push(format!("run {id}: {error}")),
        };
        run.entries().for_each(|entry| self.push(&entry, numbers));
    }

    fn push(&mut self, entry: &RunEntry, numbers: &mut HashMap<PackId, u32>) {
        let packs = &mut self.packs;
        let number = *numbers.entry(entry.frame.pack).or_insert_with(|| {
            packs.push(entry.frame.pack);
            u32::try_from(packs.len() - 1).expect("fewer than 2^32 packs")
        });
        let (ordinal, offset, length) = (entry.frame.ordinal, entry.offset, entry.length);
        self.rows.push(Row { chunk: entry.chunk, pack: number, ordinal, offset, length });
    }

    fn settle(&mut self) {
        self.rows.sort_unstable();
        let mut keys: Vec<u64> = self.rows.iter().map(|row| key(&row.chunk)).collect();
        keys.dedup();
        self.filter = (keys.len() > 64).then(|| BinaryFuse8::try_from(&keys[..]).ok()).flatten();
    }
}

/// The first half of the id is random already; eight bytes of it tell chunks apart well enough for a filter.
fn key(half: &[u8; 16]) -> u64 {
    u64::from_be_bytes(*half.first_chunk().expect("16 bytes hold 8"))
}

/// The bytes of a run, if they are what the log says.
pub(crate) fn checked(
    repo: &Repo,
    key: &ObjectKey,
    record: &RunRecord,
    bytes: Bytes,
) -> Result<Bytes, Error> {
    if Hash::of(&bytes) == record.hash {
        Ok(bytes)
    } else {
        Err(repo.io.damaged(key, "it does not hash to what the log says"))
    }
}

fn read_cached(cache: &std::path::Path, id: RunId, record: &RunRecord) -> Option<Bytes> {
    let bytes = fs::read(cache.join(id.to_string())).ok()?;
    (Hash::of(&bytes) == record.hash).then(|| bytes.into())
}

/// Removes local copies of runs that no entry names any more.
fn drop_others(cache: &std::path::Path, fold: &Fold) {
    let known: BTreeSet<PathBuf> = fold.runs.keys().map(|id| cache.join(id.to_string())).collect();
    for file in fs::read_dir(cache).into_iter().flatten().flatten() {
        if !known.contains(&file.path()) {
            let _ = fs::remove_file(file.path());
        }
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
