//! The tree of a point: all its entries in path order, in nodes that are chunks; section 8 of `docs/format.md`.
//!
//! Nodes are canonical: the same entries give the same nodes, wherever they come from, so an unchanged part of a source
//! costs nothing again and two points differ where their nodes differ. Where a node ends depends on the chunk key and
//! the entries near that place alone, so one changed entry changes one node per level and perhaps a neighbour.
//! What is decoded is checked here once: paths, order, sums, places. Whoever holds an [`Entry`] need not ask again.

use crate::cbor::Malformed;
use crate::id::PackId;
use crate::limit::FRAME_BYTES_MAX;
use crate::meta::{Kind, Meta};
use crate::path::TreePath;
use crate::reference::{FrameSet, Reference};

mod build;
mod content;
mod decode;
mod differences;
mod encode;
mod walk;

pub use build::Builder;
pub use content::{ContentBuilder, Extent, Extents, content_parts};
pub use decode::{decode_content, decode_entry, decode_leaf_where, decode_node};
pub use differences::{Difference, Differences};
pub use encode::encode_entry;
pub use walk::{Next, Walk, lookup};

/// Bytes of a file that is kept in its entry: a chunk of its own would cost more in references than it holds.
pub const INLINE_BYTES_MAX: usize = 64;

/// Parts that an entry keeps itself: about 2 MiB of content, so most files need no content node.
pub const ENTRY_PARTS_MAX: usize = 32;

/// Parts of a content node.
pub const CONTENT_PARTS_MAX: usize = 2048;

/// Length at which a node ends in any case: packs, names, and items with their whole paths.
pub const NODE_LENGTH_MAX: usize = 512 << 10;

/// Bytes of the name of a user or a group.
pub const OWNER_NAME_BYTES_MAX: usize = 255;

const _: () = assert!(NODE_LENGTH_MAX.saturating_mul(2) <= FRAME_BYTES_MAX, "a node is one chunk");

/// One name in a point, with all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, below the root of the point.
    pub path: TreePath,
    /// What it is, but for its content.
    pub meta: Meta,
    /// What is in it; its length is `meta.size`.
    pub content: Content,
}

/// The content of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Not a regular file.
    None,
    /// The bytes themselves, at most [`INLINE_BYTES_MAX`]; an empty file is always this.
    Inline(Box<[u8]>),
    /// Parts in order, at most [`ENTRY_PARTS_MAX`] and at least one.
    Parts {
        /// 0 if the parts are content, n if they are content nodes of depth n-1.
        depth: u8,
        /// The parts in order.
        parts: Vec<Part>,
    },
}

/// A piece of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A chunk of content.
    Chunk(Reference),
    /// That many zero bytes, which are stored nowhere.
    Zeros(u64),
    /// A content node.
    Node {
        /// The chunk that is the node.
        reference: Reference,
        /// Bytes of content below it.
        covers: u64,
    },
}

impl Part {
    /// Bytes of content.
    pub fn covers(&self) -> u64 {
        match self {
            Part::Chunk(reference) => u64::from(reference.length),
            Part::Zeros(length) => *length,
            Part::Node { covers, .. } => *covers,
        }
    }

    /// The chunk behind it, if there is one.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Part::Chunk(reference) | Part::Node { reference, .. } => Some(reference),
            Part::Zeros(_) => None,
        }
    }
}

/// Sums over entries. They end at 2^64-1, where sparse files claim more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All entries.
    pub entries: u64,
    /// Names of regular files.
    pub files: u64,
    /// Sizes of those files in bytes, once for each name.
    pub bytes: u64,
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.entries = self.entries.saturating_add(other.entries);
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl std::iter::Sum for Totals {
    fn sum<I: Iterator<Item = Totals>>(all: I) -> Totals {
        all.fold(Totals::default(), |mut sum, one| {
            sum.add(one);
            sum
        })
    }
}

/// A node as its parent describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The first path in it.
    pub first: TreePath,
    /// The chunk that is the node.
    pub reference: Reference,
    /// Sums over the entries below it.
    pub totals: Totals,
}

/// A decoded node of the tree of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Entries in path order.
    Leaf(Vec<Entry>),
    /// Nodes in path order, at least one.
    Inner {
        /// 1 if the children are leaves, and so on.
        level: u8,
        /// The nodes below.
        children: Vec<Child>,
    },
}

impl Node {
    /// 0 for a leaf.
    pub fn level(&self) -> u8 {
        match self {
            Node::Leaf(_) => 0,
            Node::Inner { level, .. } => *level,
        }
    }

    /// The first and the last path that the node itself names; `None` for the leaf of an empty tree.
    pub fn ends(&self) -> Option<(&TreePath, &TreePath)> {
        match self {
            Node::Leaf(entries) => Some((&entries.first()?.path, &entries.last()?.path)),
            Node::Inner { children, .. } => Some((&children.first()?.first, &children.last()?.first)),
        }
    }

    /// Sums over the entries below it, as the node says.
    pub fn totals(&self) -> Totals {
        match self {
            Node::Leaf(entries) => entries.iter().map(Entry::totals).sum(),
            Node::Inner { children, .. } => children.iter().map(|child| child.totals).sum(),
        }
    }

    /// The frames that the node refers to itself: what a directory must list for it.
    pub fn frames(&self) -> FrameSet {
        match self {
            Node::Leaf(entries) => entries.iter().flat_map(Entry::references).map(Reference::frame).collect(),
            Node::Inner { children, .. } => children.iter().map(|child| child.reference.frame()).collect(),
        }
    }
}

impl Entry {
    /// The chunks that the entry refers to itself: of content, or content nodes.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let parts = match &self.content {
            Content::Parts { parts, .. } => parts.as_slice(),
            Content::None | Content::Inline(_) => &[],
        };
        parts.iter().filter_map(Part::reference)
    }

    fn totals(&self) -> Totals {
        let is_file = self.meta.kind == Kind::File;
        Totals { entries: 1, files: u64::from(is_file), bytes: self.meta.size }
    }

    /// What the format asks of an entry beyond its types; the same for what is written and what is read.
    fn check(&self) -> Result<(), &'static str> {
        let meta = &self.meta;
        let owners = [&meta.user, &meta.group];
        let device = matches!(meta.kind, Kind::CharDevice | Kind::BlockDevice);
        let rules = [
            (meta.mode <= 0o7777, "mode has more than permission bits"),
            (meta.mtime.nanos < 1_000_000_000, "nanoseconds reach a second"),
            (meta.target.is_empty() || meta.kind == Kind::Symlink, "only a symbolic link points somewhere"),
            (meta.device == 0 || device, "only a device has a device number"),
            (meta.link.is_none() || meta.kind != Kind::Directory, "a directory has one name"),
            (meta.xattrs.is_sorted_by(|a, b| a.0 < b.0), "extended attributes are not in order"),
            (
                owners.iter().all(|name| name.as_ref().is_none_or(|n| n.len() <= OWNER_NAME_BYTES_MAX)),
                "the name of an owner is too long",
            ),
        ];
        rules.iter().try_for_each(|&(holds, why)| if holds { Ok(()) } else { Err(why) })?;
        self.check_content()
    }

    fn check_content(&self) -> Result<(), &'static str> {
        match (&self.content, self.meta.kind) {
            (Content::Inline(bytes), Kind::File) => check_inline(bytes, self.meta.size),
            (Content::Parts { depth, parts }, Kind::File) => {
                check_parts(parts, *depth, ENTRY_PARTS_MAX, self.meta.size)
            }
            (_, Kind::File) => Err("a regular file has content"),
            (Content::None, _) if self.meta.size == 0 => Ok(()),
            _ => Err("only a regular file has content"),
        }
    }
}

fn check_inline(bytes: &[u8], size: u64) -> Result<(), &'static str> {
    match bytes.len() {
        length if length > INLINE_BYTES_MAX => Err("too many bytes of content in an entry"),
        length if length as u64 != size => Err("content is not as long as the size says"),
        _ => Ok(()),
    }
}

/// Parts of `depth` that make up `size` bytes, at most `most` of them.
fn check_parts(parts: &[Part], depth: u8, most: usize, size: u64) -> Result<(), &'static str> {
    if depth >= crate::limit::TREE_DEPTH_MAX {
        return Err("content is too deep");
    }
    if parts.is_empty() || parts.len() > most {
        return Err("no parts, or too many");
    }
    let nodes = parts.iter().filter(|part| matches!(part, Part::Node { .. })).count();
    if nodes != if depth == 0 { 0 } else { parts.len() } {
        return Err("parts are not of the depth of their list");
    }
    if parts.iter().any(|part| part.covers() == 0) {
        return Err("a part is empty");
    }
    match parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.covers())) {
        Some(sum) if sum == size => Ok(()),
        _ => Err("parts are not as long as the size says"),
    }
}

/// The frames that a content node with these parts refers to: what a directory must list for it.
pub fn frames_of(parts: &[Part]) -> FrameSet {
    parts.iter().filter_map(Part::reference).map(Reference::frame).collect()
}

/// Where a builder puts nodes.
pub trait Nodes {
    /// Why a node could not be stored, or why the builder refused an entry.
    type Error: From<Refused>;

    /// Stores `node` as a chunk in a tree pack whose directory names `frames` for it, and says where it is.
    fn save(&mut self, node: &[u8], frames: &FrameSet) -> Result<Reference, Self::Error>;
}

impl<N: Nodes + ?Sized> Nodes for &mut N {
    type Error = N::Error;

    fn save(&mut self, node: &[u8], frames: &FrameSet) -> Result<Reference, Self::Error> {
        (**self).save(node, frames)
    }
}

/// Where a walk gets nodes.
pub trait Load {
    /// Why a node could not be read, or what is wrong with it.
    type Error: From<Malformed>;

    /// The plain bytes of a chunk, which must be those that its id names.
    fn load(&mut self, reference: &Reference) -> Result<Vec<u8>, Self::Error>;
}

impl<L: Load + ?Sized> Load for &mut L {
    type Error = L::Error;

    fn load(&mut self, reference: &Reference) -> Result<Vec<u8>, Self::Error> {
        (**self).load(reference)
    }
}

/// Why a builder does not take something. It goes on as if it had not been offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Entries come in path order, each path once.
    #[error("{0} comes after a path that it should stand before, or a second time")]
    OutOfOrder(TreePath),
    /// Everything kept of one name must fit into a node.
    #[error("the metadata of {0} is longer than {NODE_LENGTH_MAX} bytes")]
    TooLong(TreePath),
    /// The parts of an entry contradict each other.
    #[error("{path}: {why}")]
    Contradiction {
        /// The entry.
        path: TreePath,
        /// What does not hold.
        why: &'static str,
    },
    /// More content than the format can count or stack.
    #[error("a file is longer than the format can describe")]
    Endless,
    /// More entries than the levels of a tree can hold.
    #[error("a tree has more levels than the format allows")]
    TooDeep,
}

#[cfg(test)]
mod tests;
