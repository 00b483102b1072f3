//! Entries in, nodes out, one pass and one open node per level: a tree of any size is built in bounded memory.
//!
//! A leaf is saved before the inner node that names it, so the root exists only when all is stored.

use zeroize::Zeroizing;

use super::encode::{Draft, Item};
use super::{Child, Entry, Nodes, Refused, Totals};
use crate::limit::TREE_DEPTH_MAX;
use crate::path::TreePath;
use crate::reference::Reference;

/// Where nodes of one kind may end: long enough, and at one item in `odds`.
struct CutRule {
    length_min: usize,
    count_min: u64,
    odds: u32,
}

/// About 300 entries of a usual source, 40 KiB before compression: a change costs one of these.
const LEAF: CutRule = CutRule { length_min: 16 << 10, count_min: 1, odds: 256 };

/// At least four children, so that sixteen levels hold more leaves than there can be.
const INNER: CutRule = CutRule { length_min: 4 << 10, count_min: 4, odds: 64 };

/// Makes the tree of a point from its entries in path order.
pub struct Builder<N> {
    chunk_key: Zeroizing<[u8; 32]>,
    nodes: N,
    levels: Vec<Level>,
    last: Option<TreePath>,
}

#[derive(Default)]
struct Level {
    draft: Draft,
    saved: u64,
    newest: Option<(Reference, Totals)>,
}

impl<N: Nodes> Builder<N> {
    /// A builder of one tree under the domain's chunk key, which decides where nodes end.
    pub fn new(chunk_key: &[u8; 32], nodes: N) -> Builder<N> {
        Builder { chunk_key: Zeroizing::new(*chunk_key), nodes, levels: vec![Level::default()], last: None }
    }

    /// Where the nodes go; content nodes go there too.
    pub fn nodes(&mut self) -> &mut N {
        &mut self.nodes
    }

    /// Adds the next entry. After a [`Refused`] the builder is as it was before; after an error of `N` it is of no use.
    pub fn push(&mut self, entry: &Entry) -> Result<(), N::Error> {
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(Refused::OutOfOrder(entry.path.clone()).into());
        }
        entry.check().map_err(|why| Refused::Contradiction { path: entry.path.clone(), why })?;
        self.place(0, entry)?;
        self.last = Some(entry.path.clone());
        Ok(())
    }

    /// Saves what is still open and gives back the root, the sums over all entries, and the place of the nodes.
    pub fn finish(mut self) -> Result<(Reference, Totals, N), N::Error> {
        for number in 0..TREE_DEPTH_MAX {
            let level = self.level(number)?;
            if level.draft.count() > 0 || level.saved == 0 {
                self.close(number)?;
            }
            let level = self.level(number)?;
            if let (1, Some((root, totals))) = (level.saved, level.newest) {
                return Ok((root, totals, self.nodes));
            }
        }
        Err(Refused::TooDeep.into())
    }

    fn level(&mut self, number: u8) -> Result<&mut Level, Refused> {
        if usize::from(number) == self.levels.len() && number < TREE_DEPTH_MAX {
            self.levels.push(Level::default());
        }
        self.levels.get_mut(usize::from(number)).ok_or(Refused::TooDeep)
    }

    /// Puts `item` into the open node of a level, and saves nodes that end before or after it.
    fn place(&mut self, number: u8, item: &impl Item) -> Result<(), N::Error> {
        if !self.level(number)?.draft.add(item) {
            let mut next = Draft::default();
            if !next.add(item) {
                return Err(Refused::TooLong(item.path().clone()).into());
            }
            self.close(number)?;
            self.level(number)?.draft = next;
        }
        if self.ends_after(number, item.path())? {
            self.close(number)?;
        }
        Ok(())
    }

    /// Saves the open node of a level and names it in the level above; the recursion ends at the last level.
    fn close(&mut self, number: u8) -> Result<(), N::Error> {
        let draft = std::mem::take(&mut self.level(number)?.draft);
        let reference = self.nodes.save(&draft.bytes(number), draft.frames())?;
        let child: Child = draft.child(reference);
        let level = self.level(number)?;
        level.saved = level.saved.saturating_add(1);
        level.newest = Some((reference, child.totals));
        self.place(number.saturating_add(1), &child)
    }

    fn ends_after(&mut self, number: u8, path: &TreePath) -> Result<bool, Refused> {
        let rule = if number == 0 { LEAF } else { INNER };
        let draft = &self.level(number)?.draft;
        let may = draft.length() >= rule.length_min && draft.count() >= rule.count_min;
        Ok(may && self.lot(number, path).is_multiple_of(rule.odds))
    }

    /// 32 bits drawn from the chunk key, the level and the path.
    fn lot(&self, number: u8, path: &TreePath) -> u32 {
        let text = [b"node", &[number][..], path.as_bytes()].concat();
        let hash = blake3::keyed_hash(&self.chunk_key, &text);
        u32::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash is longer than 4 bytes"))
    }
}
