//! Looking for names in many points: what a leaf of the trees holds is looked at once, however many points share it, and
//! by all cores.
//!
//! A leaf is known again by its chunk id, and equal leaves hold equal entries with equal paths. What was found in a leaf
//! that was read whole is remembered with it; that nothing was found there costs one id. Damaged nodes are not
//! remembered, so each point tells of its own.

use std::collections::HashMap;
use std::sync::Arc;

use format::Malformed;
use format::id::ChunkId;
use format::reference::Reference;
use format::tree::{Entry, Next, Walk, decode_leaf_where};
use rayon::prelude::*;
use repo::{PointRecord, Reader, Repo};

use crate::budget::{FOUND_ENTRIES_MAX, LEAVES_AT_ONCE};
use crate::error::Error;
use crate::restore::Nodes;

/// A search under way.
pub struct Search<'r, M> {
    eyes: Eyes<'r, M>,
    known: Known,
}

/// What looks at leaves.
struct Eyes<'r, M> {
    reader: Reader<'r>,
    pool: rayon::ThreadPool,
    matches: M,
}

/// What was found in leaves that were read.
#[derive(Default)]
struct Known {
    leaves: HashMap<ChunkId, Arc<[Entry]>>,
    /// Entries in them.
    count: usize,
}

impl<'r, M: Fn(&[u8]) -> bool + Sync> Search<'r, M> {
    /// A search for entries whose paths match, by so many threads.
    pub fn new(repo: &'r Repo, matches: M, cores: usize) -> Result<Search<'r, M>, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.max(1))
            .build()
            .map_err(|error| Error::Request(format!("cannot start threads: {error}")))?;
        Ok(Search { eyes: Eyes { reader: Reader::new(repo)?, pool, matches }, known: Known::default() })
    }

    /// Hands every match in `point` to `tell`, in path order, and what of the tree could not be read. Ends with the
    /// first error that `tell` answers.
    pub fn point<E>(
        &mut self,
        point: &PointRecord,
        mut tell: impl FnMut(Result<&Entry, Error>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Search { eyes, known } = self;
        let mut walk = Walk::new(Nodes(&eyes.reader), point.point.root);
        let mut leaves = Vec::new();
        loop {
            let damage = match walk.peek() {
                Some(Next::Node { reference, level: 0, .. }) => {
                    leaves.push(*reference);
                    walk.pass_over();
                    None
                }
                Some(Next::Node { .. }) => walk.open().err(),
                // The whole tree is one leaf.
                Some(Next::Entry(entry)) => {
                    if (eyes.matches)(entry.path.as_bytes()) {
                        tell(Ok(entry))?;
                    }
                    walk.pass_over();
                    None
                }
                None => return known.look(eyes, &leaves, &mut tell),
            };
            if leaves.len() >= LEAVES_AT_ONCE || damage.is_some() {
                known.look(eyes, &std::mem::take(&mut leaves), &mut tell)?;
            }
            damage.map_or(Ok(()), |error| tell(Err(error)))?;
        }
    }
}

impl Known {
    /// Looks at leaves that lie behind each other, all at once, and tells what is in them in their order.
    fn look<M: Fn(&[u8]) -> bool + Sync, E>(
        &mut self,
        eyes: &Eyes<'_, M>,
        leaves: &[Reference],
        tell: &mut impl FnMut(Result<&Entry, Error>) -> Result<(), E>,
    ) -> Result<(), E> {
        let one = |leaf: &Reference| {
            self.leaves.get(&leaf.chunk).map_or_else(|| eyes.look(leaf), |found| (found.clone(), None))
        };
        let found: Vec<(Arc<[Entry]>, Option<Error>)> =
            eyes.pool.install(|| leaves.par_iter().map(one).collect());
        for (leaf, (entries, damage)) in leaves.iter().zip(found) {
            entries.iter().try_for_each(|entry| tell(Ok(entry)))?;
            match damage {
                Some(error) => tell(Err(error))?,
                None => self.remember(leaf.chunk, entries),
            }
        }
        Ok(())
    }

    fn remember(&mut self, leaf: ChunkId, found: Arc<[Entry]>) {
        let count = self.count.saturating_add(found.len());
        if count <= FOUND_ENTRIES_MAX && self.leaves.insert(leaf, found).is_none() {
            self.count = count;
        }
    }
}

impl<M: Fn(&[u8]) -> bool> Eyes<'_, M> {
    /// What matches in a leaf, and why it could not be looked at.
    fn look(&self, leaf: &Reference) -> (Arc<[Entry]>, Option<Error>) {
        let read = self.reader.chunk(leaf).map_err(Error::from).and_then(|bytes| {
            let found = decode_leaf_where(&bytes, &self.matches)?;
            Ok(found.ok_or_else(|| Malformed::new("tree node", "a leaf was promised"))?)
        });
        match read {
            Ok(found) => (found.into(), None),
            Err(error) => (Arc::default(), Some(error)),
        }
    }
}
