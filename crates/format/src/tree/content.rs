//! The content of one file: parts in order become an [`Entry`]'s content, and back.
//!
//! Both ways hold a few nodes at a time, so a file of any length passes in bounded memory. Content nodes end where a
//! chunk id says so: what was changed in the middle of a long file changes a node per level.

use super::encode::content_node;
use super::{
    CONTENT_PARTS_MAX, Content, ENTRY_PARTS_MAX, Entry, Load, Nodes, Part, Refused, decode_content, frames_of,
};
use crate::cbor::Malformed;
use crate::limit::TREE_DEPTH_MAX;
use crate::reference::Reference;

/// Parts below which no content node ends early.
const CONTENT_PARTS_MIN: usize = 64;

/// A content node ends at one part in so many.
const CONTENT_ODDS: u32 = 256;

/// Gathers the parts of one file.
#[derive(Default)]
pub struct ContentBuilder {
    size: u64,
    /// Zero bytes at the end that are not yet a part, because more may follow.
    zeros: u64,
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    open: Vec<Part>,
    saved: bool,
}

impl ContentBuilder {
    /// A file without content so far.
    pub fn new() -> ContentBuilder {
        ContentBuilder::default()
    }

    /// Adds a chunk. Content nodes that are complete go to `nodes`.
    pub fn chunk<N: Nodes>(&mut self, reference: Reference, nodes: &mut N) -> Result<(), N::Error> {
        self.grow(u64::from(reference.length))?;
        self.flush_zeros(nodes)?;
        self.place(0, Part::Chunk(reference), nodes)
    }

    /// Adds zero bytes, which are stored nowhere. However they are divided, the parts are the same.
    pub fn zeros(&mut self, length: u64) -> Result<(), Refused> {
        self.grow(length)?;
        self.zeros = self.zeros.saturating_add(length);
        Ok(())
    }

    /// Bytes of content so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The content and its length in bytes.
    pub fn finish<N: Nodes>(mut self, nodes: &mut N) -> Result<(Content, u64), N::Error> {
        self.flush_zeros(nodes)?;
        if self.size == 0 {
            return Ok((Content::Inline(Box::default()), 0));
        }
        for depth in 0..TREE_DEPTH_MAX {
            let level = self.level(depth)?;
            if !level.saved && level.open.len() <= ENTRY_PARTS_MAX {
                return Ok((Content::Parts { depth, parts: std::mem::take(&mut level.open) }, self.size));
            }
            if !level.open.is_empty() {
                self.close(depth, nodes)?;
            }
        }
        Err(Refused::Endless.into())
    }

    fn grow(&mut self, length: u64) -> Result<(), Refused> {
        self.size = self.size.checked_add(length).ok_or(Refused::Endless)?;
        Ok(())
    }

    fn flush_zeros<N: Nodes>(&mut self, nodes: &mut N) -> Result<(), N::Error> {
        match std::mem::take(&mut self.zeros) {
            0 => Ok(()),
            length => self.place(0, Part::Zeros(length), nodes),
        }
    }

    fn level(&mut self, depth: u8) -> Result<&mut Level, Refused> {
        if usize::from(depth) == self.levels.len() && depth < TREE_DEPTH_MAX {
            self.levels.push(Level::default());
        }
        self.levels.get_mut(usize::from(depth)).ok_or(Refused::Endless)
    }

    fn place<N: Nodes>(&mut self, depth: u8, part: Part, nodes: &mut N) -> Result<(), N::Error> {
        let level = self.level(depth)?;
        level.open.push(part);
        let count = level.open.len();
        if count >= CONTENT_PARTS_MAX || (count >= CONTENT_PARTS_MIN && ends_after(&part)) {
            self.close(depth, nodes)?;
        }
        Ok(())
    }

    /// Saves the open node of a level and names it in the level above; the recursion ends at the last level.
    fn close<N: Nodes>(&mut self, depth: u8, nodes: &mut N) -> Result<(), N::Error> {
        let level = self.level(depth)?;
        level.saved = true;
        let parts = std::mem::take(&mut level.open);
        let reference = nodes.save(&content_node(&parts), &frames_of(&parts))?;
        let covers = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.covers()));
        self.place(depth.saturating_add(1), Part::Node { reference, covers }, nodes)
    }
}

fn ends_after(part: &Part) -> bool {
    part.reference().is_some_and(|reference| {
        let id = reference.chunk.as_bytes();
        let lot = u32::from_le_bytes(*id.first_chunk().expect("a chunk id is longer than 4 bytes"));
        lot.is_multiple_of(CONTENT_ODDS)
    })
}

/// A stretch of a file: a chunk or zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes, not 0.
    pub length: u64,
    /// Where the bytes are; `None` for zero bytes.
    pub chunk: Option<Reference>,
}

/// The extents of a file in order; see [`content_parts`].
pub struct Extents<L> {
    load: L,
    offset: u64,
    stack: Vec<(u8, std::vec::IntoIter<Part>)>,
}

/// All chunks and zero runs of a file in order, without a gap. What an entry keeps inline is not among them. A content
/// node that cannot be read gives one error, and the extents go on behind it.
pub fn content_parts<L: Load>(load: L, entry: &Entry) -> Extents<L> {
    let stack = match &entry.content {
        Content::Parts { depth, parts } => vec![(*depth, parts.clone().into_iter())],
        Content::None | Content::Inline(_) => Vec::new(),
    };
    Extents { load, offset: 0, stack }
}

impl<L: Load> Extents<L> {
    /// First byte in the file of what comes next; after an error, the first that is known again.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Moves on by `length` bytes and answers where that started.
    fn pass(&mut self, length: u64) -> u64 {
        let start = self.offset;
        self.offset = start.saturating_add(length);
        start
    }

    fn extent(&mut self, length: u64, chunk: Option<Reference>) -> Extent {
        Extent { offset: self.pass(length), length, chunk }
    }

    fn open(&mut self, reference: &Reference, depth: u8, covers: u64) -> Result<(), L::Error> {
        let below = depth.checked_sub(1).ok_or_else(|| Malformed::new("content node", "too deep"))?;
        let parts = decode_content(&self.load.load(reference)?, below, covers)?;
        self.stack.push((below, parts.into_iter()));
        Ok(())
    }
}

impl<L: Load> Iterator for Extents<L> {
    type Item = Result<Extent, L::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (depth, parts) = self.stack.last_mut()?;
            let depth = *depth;
            match parts.next() {
                None => drop(self.stack.pop()),
                Some(Part::Chunk(chunk)) => {
                    return Some(Ok(self.extent(u64::from(chunk.length), Some(chunk))));
                }
                Some(Part::Zeros(length)) => return Some(Ok(self.extent(length, None))),
                Some(Part::Node { reference, covers }) => {
                    if let Err(error) = self.open(&reference, depth, covers) {
                        self.pass(covers);
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}
