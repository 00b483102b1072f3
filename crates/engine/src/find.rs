//! Looking for names in many points: what a node holds is looked at once, however many points share it.
//!
//! A node is known again by its chunk id, and equal nodes hold equal entries with equal paths. What was found below a
//! node that was read whole is remembered with it; that nothing was found there costs one id. Damaged nodes are not
//! remembered, so each point tells of its own.

use std::collections::HashMap;
use std::rc::Rc;

use format::id::ChunkId;
use format::tree::{Entry, Next, Walk};
use repo::{PointRecord, Reader, Repo};

use crate::budget::FOUND_ENTRIES_MAX;
use crate::error::Error;
use crate::restore::Nodes;

/// A search under way.
pub struct Search<'r, M> {
    reader: Reader<'r>,
    matches: M,
    known: HashMap<ChunkId, Rc<[Rc<Entry>]>>,
    /// Entries that `known` holds, counted each time.
    remembered: usize,
}

/// A node that is being read.
struct Open {
    node: ChunkId,
    level: u8,
    /// How many entries had been found before it.
    before: usize,
    whole: bool,
}

impl<'r, M: Fn(&Entry) -> bool> Search<'r, M> {
    /// A search for entries that match.
    pub fn new(repo: &'r Repo, matches: M) -> Result<Search<'r, M>, Error> {
        Ok(Search { reader: Reader::new(repo)?, matches, known: HashMap::new(), remembered: 0 })
    }

    /// Hands every match in `point` to `tell`, in path order, and what of the tree could not be read. Ends with the
    /// first error that `tell` answers.
    pub fn point<E>(
        &mut self,
        point: &PointRecord,
        mut tell: impl FnMut(Result<&Entry, Error>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut walk = Walk::new(Nodes(&self.reader), point.point.root);
        let mut open: Vec<Open> = Vec::new();
        let mut found: Vec<Rc<Entry>> = Vec::new();
        loop {
            let next = walk.peek();
            let level = match &next {
                Some(Next::Entry(_)) => None,
                Some(Next::Node { level, .. }) => Some(*level),
                None => Some(u8::MAX),
            };
            while level.is_some_and(|level| open.last().is_some_and(|last| last.level <= level)) {
                let Some(done) = open.pop() else { break };
                remember(&mut self.known, &mut self.remembered, &done, &found);
                if open.is_empty() {
                    found.clear();
                }
            }
            match next {
                None => return Ok(()),
                Some(Next::Entry(entry)) => {
                    if (self.matches)(entry) {
                        tell(Ok(entry))?;
                        match found.len() < FOUND_ENTRIES_MAX {
                            true => found.push(Rc::new(entry.clone())),
                            false => open.iter_mut().for_each(|node| node.whole = false),
                        }
                    }
                    walk.pass_over();
                }
                Some(Next::Node { reference, level, .. }) => {
                    let node = reference.chunk;
                    if let Some(known) = self.known.get(&node) {
                        known.iter().try_for_each(|entry| tell(Ok(entry)))?;
                        found.extend(known.iter().cloned());
                        walk.pass_over();
                        continue;
                    }
                    open.push(Open { node, level, before: found.len(), whole: true });
                    if let Err(error) = walk.open() {
                        open.iter_mut().for_each(|node| node.whole = false);
                        tell(Err(error))?;
                    }
                }
            }
        }
    }
}

/// Keeps what was found below a node that was read to its end.
fn remember(
    known: &mut HashMap<ChunkId, Rc<[Rc<Entry>]>>,
    remembered: &mut usize,
    done: &Open,
    found: &[Rc<Entry>],
) {
    let below = found.get(done.before..).unwrap_or_default();
    if done.whole && remembered.saturating_add(below.len()) <= FOUND_ENTRIES_MAX {
        *remembered += below.len();
        known.insert(done.node, below.into());
    }
}
