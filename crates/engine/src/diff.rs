//! What differs between two points, said of each name once and in path order.
//!
//! Nodes that are the same chunk in both trees are not read, and chunks that are the same are not either. Content
//! counts as changed only if its bytes differ: where equal bytes may have been cut differently, as around holes, they
//! are compared. What a damaged part held is named and not guessed; the rest is compared all the same.

use std::collections::BTreeSet;

use format::meta::Meta;
use format::path::TreePath;
use format::reference::Reference;
use format::tree::{Content, Difference, Differences, Entry, Extents, Part, Walk, content_parts};
use repo::{PointRecord, Reader, Repo};

use crate::error::{Error, Problem};
use crate::restore::{Nodes, is_damage};

/// What became of a name between two points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the newer point has it.
    Added(Entry),
    /// Only the older point has it.
    Removed(Entry),
    /// Both have it, and these aspects of it differ; at least one.
    Changed(Entry, BTreeSet<Aspect>),
    /// Whether it differs cannot be told.
    Unknown(Problem),
}

/// What may differ of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// It is another kind of thing; nothing else is said then.
    Type,
    /// The bytes of a file, where a link points, which device it is.
    Content,
    /// Permissions.
    Mode,
    /// User or group, by number or name.
    Owner,
    /// When it was changed.
    Time,
    /// Extended attributes, access lists, capabilities, flags.
    Attributes,
    /// Which names are the same file.
    Links,
}

impl Aspect {
    /// What scripts call it.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::Type => "type",
            Aspect::Content => "content",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Time => "mtime",
            Aspect::Attributes => "attributes",
            Aspect::Links => "links",
        }
    }
}

/// Two points to be compared.
pub struct Diff<'r> {
    reader: Reader<'r>,
    old: Reference,
    new: Reference,
}

impl<'r> Diff<'r> {
    /// Opens two points.
    pub fn new(repo: &'r Repo, old: &PointRecord, new: &PointRecord) -> Result<Diff<'r>, Error> {
        Ok(Diff { reader: Reader::new(repo)?, old: old.point.root, new: new.point.root })
    }

    /// Refuses a path that neither point holds.
    pub fn must_hold(&self, path: &TreePath) -> Result<(), Error> {
        for root in [self.new, self.old] {
            if format::tree::lookup(Nodes(&self.reader), root, path)?.is_some() {
                return Ok(());
            }
        }
        Err(Error::NoPath(path.to_string()))
    }

    /// The changes at and below `under`, in path order. Damage is a [`Change::Unknown`]; an error ends the comparison.
    pub fn changes(&self, under: &TreePath) -> impl Iterator<Item = Result<Change, Error>> {
        let walk = |root| Walk::new(Nodes(&self.reader), root).under(under.clone());
        let mut differences = Differences::new(walk(self.old), walk(self.new));
        std::iter::from_fn(move || {
            loop {
                let change = match differences.next()? {
                    Ok(difference) => self.told(difference),
                    Err(error) if is_damage(&error) => Ok(Some(lost(differences.missing(), &error))),
                    Err(error) => Err(error),
                };
                if let Some(change) = change.transpose() {
                    return Some(change);
                }
            }
        })
    }

    fn told(&self, difference: Difference) -> Result<Option<Change>, Error> {
        let (old, new) = match difference {
            Difference::Added(entry) => return Ok(Some(Change::Added(entry))),
            Difference::Removed(entry) => return Ok(Some(Change::Removed(entry))),
            Difference::Changed(both) => *both,
        };
        match self.aspects(&old, &new) {
            Ok(aspects) if aspects.is_empty() => Ok(None),
            Ok(aspects) => Ok(Some(Change::Changed(new, aspects))),
            Err(error) if is_damage(&error) => {
                let problem = Problem { damaged: true, ..Problem::new(&new.path, error) };
                Ok(Some(Change::Unknown(problem)))
            }
            Err(error) => Err(error),
        }
    }

    fn aspects(&self, old: &Entry, new: &Entry) -> Result<BTreeSet<Aspect>, Error> {
        if old.meta.kind != new.meta.kind {
            return Ok(BTreeSet::from([Aspect::Type]));
        }
        let mut aspects = of_meta(&old.meta, &new.meta);
        if !self.has_same_content(old, new)? {
            aspects.insert(Aspect::Content);
        }
        Ok(aspects)
    }

    fn has_same_content(&self, old: &Entry, new: &Entry) -> Result<bool, Error> {
        if old.meta.size != new.meta.size {
            return Ok(false);
        }
        let same = same_start(&old.content, &new.content);
        let (mut old, mut new) = (Bytes::of(self, old, same), Bytes::of(self, new, same));
        loop {
            let (Some(a), Some(b)) = (old.piece()?, new.piece()?) else {
                return Ok(true);
            };
            let length = old.left.min(new.left);
            if !is_same_chunk(&a, &b, old.left == new.left)
                && old.take(&a, length)? != new.take(&b, length)?
            {
                return Ok(false);
            }
            old.pass(length);
            new.pass(length);
        }
    }
}

fn lost(missing: Option<&format::tree::Child>, error: &Error) -> Change {
    let (path, held) = match missing {
        Some(node) => (node.first.clone(), format!("{} names from here on: ", node.totals.entries)),
        None => (TreePath::root(), String::new()),
    };
    Change::Unknown(Problem { path, what: format!("{held}{error}"), damaged: true })
}

fn of_meta(old: &Meta, new: &Meta) -> BTreeSet<Aspect> {
    let owner = |meta: &Meta| (meta.uid, meta.gid, meta.user.clone(), meta.group.clone());
    let differs = [
        (Aspect::Content, old.target != new.target || old.device != new.device),
        (Aspect::Mode, old.mode != new.mode),
        (Aspect::Owner, owner(old) != owner(new)),
        (Aspect::Time, old.mtime != new.mtime),
        (Aspect::Attributes, old.xattrs != new.xattrs),
        (Aspect::Links, old.link != new.link),
    ];
    differs.into_iter().filter(|&(_, differs)| differs).map(|(aspect, _)| aspect).collect()
}

/// How many parts at the start of both are the same chunks, wherever those are stored.
fn same_start(old: &Content, new: &Content) -> usize {
    let (Content::Parts { depth: a, parts: old }, Content::Parts { depth: b, parts: new }) = (old, new)
    else {
        return 0;
    };
    let chunk = |part: &Part| (part.reference().map(|reference| reference.chunk), part.covers());
    old.iter().zip(new).take_while(|(old, new)| a == b && chunk(old) == chunk(new)).count()
}

fn is_same_chunk(old: &Piece, new: &Piece, level: bool) -> bool {
    match (old, new) {
        (Piece::Chunk(old), Piece::Chunk(new)) => level && old.chunk == new.chunk,
        (Piece::Zeros, Piece::Zeros) => true,
        _ => false,
    }
}

/// The content of a file, piece by piece; a chunk is read only if its bytes are asked for.
struct Bytes<'d, 'r> {
    reader: &'d Reader<'r>,
    extents: Extents<Nodes<'d, 'r>>,
    inline: Option<Box<[u8]>>,
    piece: Option<Piece>,
    read: Option<Vec<u8>>,
    /// Bytes of the piece that were passed.
    passed: u64,
    /// Bytes of the piece that are still to come.
    left: u64,
}

#[derive(Clone, Debug)]
enum Piece {
    Zeros,
    Chunk(Reference),
    Inline(Box<[u8]>),
}

impl<'d, 'r> Bytes<'d, 'r> {
    /// The content of `entry` behind its first `same` parts.
    fn of(diff: &'d Diff<'r>, entry: &Entry, same: usize) -> Bytes<'d, 'r> {
        let (content, inline) = match &entry.content {
            Content::Parts { depth, parts } => (
                Content::Parts { depth: *depth, parts: parts.get(same..).unwrap_or_default().to_vec() },
                None,
            ),
            Content::Inline(bytes) => (Content::None, Some(bytes.clone())),
            Content::None => (Content::None, None),
        };
        let rest = Entry { path: entry.path.clone(), meta: Meta::new(entry.meta.kind), content };
        let extents = content_parts(Nodes(&diff.reader), &rest);
        Bytes { reader: &diff.reader, extents, inline, piece: None, read: None, passed: 0, left: 0 }
    }

    /// The piece that the next bytes lie in; `None` at the end.
    fn piece(&mut self) -> Result<Option<Piece>, Error> {
        if self.left == 0 {
            (self.piece, self.read, self.passed) = (None, None, 0);
            if let Some(bytes) = self.inline.take().filter(|bytes| !bytes.is_empty()) {
                self.left = bytes.len() as u64;
                self.piece = Some(Piece::Inline(bytes));
            } else if let Some(extent) = self.extents.next().transpose()? {
                self.left = extent.length;
                self.piece = Some(extent.chunk.map_or(Piece::Zeros, Piece::Chunk));
            }
        }
        Ok(self.piece.clone())
    }

    /// The next `length` bytes, which lie in `piece`; `None` if all of them are zeros.
    fn take(&mut self, piece: &Piece, length: u64) -> Result<Option<Vec<u8>>, Error> {
        if self.read.is_none() {
            self.read = match piece {
                Piece::Zeros => return Ok(None),
                Piece::Inline(bytes) => Some(bytes.to_vec()),
                Piece::Chunk(reference) => Some(self.reader.chunk(reference)?),
            };
        }
        let start = usize::try_from(self.passed).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let bytes = self.read.as_deref().and_then(|read| read.get(start..end)).unwrap_or_default();
        Ok(bytes.iter().any(|&byte| byte != 0).then(|| bytes.to_vec()))
    }

    fn pass(&mut self, length: u64) {
        self.passed += length;
        self.left -= length;
    }
}
