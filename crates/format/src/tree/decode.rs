//! Nodes back from bytes that may be hostile. Nothing is taken on trust: lists are no longer than the bytes that are
//! left could hold, paths pass through [`TreePath`] and rise strictly, places are inside their tables, sums hold, and
//! what shared prefixes unpack to is bounded by what a node may be.

use std::sync::Arc;

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;

use super::{
    CONTENT_PARTS_MAX, Child, Content, Entry, INLINE_BYTES_MAX, Node, PackId, Part, Totals, check_parts,
};
use crate::cbor::Malformed;
use crate::id::ChunkId;
use crate::limit::{FRAME_BYTES_MAX, PACK_FRAMES_MAX, TREE_DEPTH_MAX};
use crate::meta::{FileTime, Kind, Meta, Xattr};
use crate::path::TreePath;
use crate::reference::Reference;

type Read<T> = Result<T, Error>;

/// A node of the tree of entries.
///
/// # Errors
/// [`Malformed`] for everything that is not such a node, or breaks a limit of the format.
pub fn decode_node(bytes: &[u8]) -> Result<Node, Malformed> {
    decode_all("tree node", bytes, read_node)
}

/// The entries of a leaf whose paths are wanted; `None` for an inner node. The rest of the others is passed over: a search
/// through a million names need not make a million entries. So what is wrong with those others is not noticed, but for
/// what makes the leaf unreadable.
///
/// # Errors
/// [`Malformed`] for everything that is not such a node, or breaks a limit of the format in what is read.
pub fn decode_leaf_where(
    bytes: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<Vec<Entry>>, Malformed> {
    let mut d = Decoder::new(bytes);
    let wrong = |e: Error| Malformed::new("tree node", e.to_string());
    let is_leaf = open_array(&mut d, 3).and_then(|_| d.u8()).map_err(wrong)? == 0;
    if !is_leaf {
        return Ok(None);
    }
    decode_all("tree node", bytes, |d| {
        let length = open_array(d, 3)?;
        d.u8()?;
        let tables = Tables {
            packs: list(d, |d| d.decode::<PackId>())?,
            names: list(d, |d| d.bytes().map(Arc::from))?,
        };
        let (mut paths, mut found) = (Paths::default(), Vec::new());
        for _ in 0..open_array(d, 0)? {
            let fields = open_array(d, 13)?;
            if wanted(paths.read_bytes(d)?) {
                let path = TreePath::new(&paths.bytes).map_err(Error::message)?;
                found.push(read_fields(d, path, fields, &tables)?);
            } else {
                skip_rest(d, fields, 2)?;
            }
        }
        skip_rest(d, length, 4)?;
        Ok(Some(found))
    })
}

/// The parts of a content node of `depth`, which together must be `covers` bytes long.
///
/// # Errors
/// [`Malformed`] for everything that is not such a node, or breaks a limit of the format.
pub fn decode_content(bytes: &[u8], depth: u8, covers: u64) -> Result<Vec<Part>, Malformed> {
    decode_all("content node", bytes, |d| {
        let length = open_array(d, 2)?;
        let packs = list(d, |d| d.decode::<PackId>())?;
        let parts = list(d, |d| read_part(d, depth, &packs))?;
        skip_rest(d, length, 2)?;
        check_parts(&parts, depth, CONTENT_PARTS_MAX, covers).map_err(Error::message)?;
        Ok(parts)
    })
}

/// An entry alone, from [`super::encode_entry`].
///
/// # Errors
/// [`Malformed`] for everything else.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, Malformed> {
    let one = match decode_node(bytes)? {
        Node::Leaf(entries) => <[Entry; 1]>::try_from(entries).ok(),
        Node::Inner { .. } => None,
    };
    one.map(|[entry]| entry).ok_or_else(|| Malformed::new("entry", "not one entry alone"))
}

fn decode_all<'b, T>(
    what: &'static str,
    bytes: &'b [u8],
    read: impl FnOnce(&mut Decoder<'b>) -> Read<T>,
) -> Result<T, Malformed> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(Malformed::new(what, "longer than a chunk"));
    }
    let mut d = Decoder::new(bytes);
    let value = read(&mut d).map_err(|e| Malformed::new(what, e.to_string()))?;
    match left(&d) {
        0 => Ok(value),
        more => Err(Malformed::new(what, format!("{more} bytes too many"))),
    }
}

fn read_node(d: &mut Decoder<'_>) -> Read<Node> {
    let length = open_array(d, 3)?;
    match d.u8()? {
        0 => read_leaf(d, length),
        level if level < TREE_DEPTH_MAX => read_inner(d, length, level),
        _ => Err(Error::message("too many levels")),
    }
}

fn read_leaf(d: &mut Decoder<'_>, length: u64) -> Read<Node> {
    let tables =
        Tables { packs: list(d, |d| d.decode::<PackId>())?, names: list(d, |d| d.bytes().map(Arc::from))? };
    let mut paths = Paths::default();
    let entries = list(d, |d| read_entry(d, &tables, &mut paths))?;
    skip_rest(d, length, 4)?;
    Ok(Node::Leaf(entries))
}

fn read_inner(d: &mut Decoder<'_>, length: u64, level: u8) -> Read<Node> {
    let packs = list(d, |d| d.decode::<PackId>())?;
    let mut paths = Paths::default();
    let children = list(d, |d| read_child(d, &packs, &mut paths))?;
    skip_rest(d, length, 3)?;
    if children.is_empty() {
        return Err(Error::message("an inner node without children"));
    }
    Ok(Node::Inner { level, children })
}

fn read_child(d: &mut Decoder<'_>, packs: &[PackId], paths: &mut Paths) -> Read<Child> {
    let length = open_array(d, 6)?;
    let first = paths.read(d)?;
    let reference = read_reference(d, packs)?;
    let totals = Totals { entries: d.u64()?, files: d.u64()?, bytes: d.u64()? };
    skip_rest(d, length, 6)?;
    if totals.entries == 0 || totals.files > totals.entries {
        return Err(Error::message("a child's sums contradict each other"));
    }
    Ok(Child { first, reference, totals })
}

fn read_entry(d: &mut Decoder<'_>, tables: &Tables, paths: &mut Paths) -> Read<Entry> {
    let length = open_array(d, 13)?;
    let path = paths.read(d)?;
    read_fields(d, path, length, tables)
}

/// What follows the path of an entry of `length` fields, of which a path takes two.
fn read_fields(d: &mut Decoder<'_>, path: TreePath, length: u64, tables: &Tables) -> Read<Entry> {
    let mut meta = Meta::new(read_kind(d)?);
    (meta.mode, meta.uid, meta.gid) = (d.u32()?, d.u32()?, d.u32()?);
    (meta.user, meta.group) = (tables.name(d)?, tables.name(d)?);
    meta.mtime = FileTime { seconds: d.i64()?, nanos: d.u32()? };
    let content = read_body(d, &mut meta, &tables.packs)?;
    meta.link = optional(d, |d| d.u64())?;
    meta.xattrs = read_xattrs(d)?;
    skip_rest(d, length, 13)?;
    let entry = Entry { path, meta, content };
    entry.check().map_err(Error::message)?;
    Ok(entry)
}

fn read_body(d: &mut Decoder<'_>, meta: &mut Meta, packs: &[PackId]) -> Read<Content> {
    match meta.kind {
        Kind::File => return read_content(d, meta, packs),
        Kind::Symlink => meta.target = d.bytes()?.into(),
        Kind::CharDevice | Kind::BlockDevice => meta.device = d.u64()?,
        Kind::Directory | Kind::Fifo => d.null()?,
    }
    Ok(Content::None)
}

fn read_content(d: &mut Decoder<'_>, meta: &mut Meta, packs: &[PackId]) -> Read<Content> {
    if d.datatype()? == Type::Bytes {
        let bytes = d.bytes()?;
        if bytes.len() > INLINE_BYTES_MAX {
            return Err(Error::message("too many bytes of content in an entry"));
        }
        meta.size = bytes.len() as u64;
        return Ok(Content::Inline(bytes.into()));
    }
    let length = open_array(d, 3)?;
    meta.size = d.u64()?;
    let depth = d.u8()?;
    let parts = list(d, |d| read_part(d, depth, packs))?;
    skip_rest(d, length, 3)?;
    Ok(Content::Parts { depth, parts })
}

fn read_part(d: &mut Decoder<'_>, depth: u8, packs: &[PackId]) -> Read<Part> {
    if depth > 0 {
        let length = open_array(d, 2)?;
        let part = Part::Node { reference: read_reference(d, packs)?, covers: d.u64()? };
        skip_rest(d, length, 2)?;
        return Ok(part);
    }
    let length = open_array(d, 1)?;
    match length {
        1 => Ok(Part::Zeros(d.u64()?)),
        5.. => Ok(Part::Chunk(read_reference_of(d, length, packs)?)),
        _ => Err(Error::message("neither a reference nor zero bytes")),
    }
}

fn read_reference(d: &mut Decoder<'_>, packs: &[PackId]) -> Read<Reference> {
    let length = open_array(d, 5)?;
    read_reference_of(d, length, packs)
}

/// The elements of a reference whose array has `length` of them.
fn read_reference_of(d: &mut Decoder<'_>, length: u64, packs: &[PackId]) -> Read<Reference> {
    let place = usize::try_from(d.u64()?).ok();
    let pack = place.and_then(|place| packs.get(place)).ok_or_else(|| Error::message("no such pack"))?;
    let (ordinal, offset, length_of_chunk) = (d.u32()?, d.u32()?, d.u32()?);
    let reference =
        Reference { pack: *pack, ordinal, offset, length: length_of_chunk, chunk: d.decode::<ChunkId>()? };
    skip_rest(d, length, 5)?;
    let end = u64::from(offset).saturating_add(u64::from(length_of_chunk));
    if length_of_chunk == 0 || end > FRAME_BYTES_MAX as u64 || ordinal as usize >= PACK_FRAMES_MAX {
        return Err(Error::message("a reference to where no chunk can be"));
    }
    Ok(reference)
}

fn read_kind(d: &mut Decoder<'_>) -> Read<Kind> {
    Ok(match d.u8()? {
        0 => Kind::Directory,
        1 => Kind::File,
        2 => Kind::Symlink,
        3 => Kind::Fifo,
        4 => Kind::CharDevice,
        5 => Kind::BlockDevice,
        _ => return Err(Error::message("unknown kind of entry")),
    })
}

fn read_xattrs(d: &mut Decoder<'_>) -> Read<Vec<Xattr>> {
    let all = optional(d, |d| {
        list(d, |d| {
            let length = open_array(d, 2)?;
            let pair = (d.bytes()?.into(), d.bytes()?.into());
            skip_rest(d, length, 2)?;
            Ok(pair)
        })
    })?;
    Ok(all.unwrap_or_default())
}

/// What a leaf keeps once for all its entries.
struct Tables {
    packs: Vec<PackId>,
    names: Vec<Arc<[u8]>>,
}

impl Tables {
    fn name(&self, d: &mut Decoder<'_>) -> Read<Option<Arc<[u8]>>> {
        let Some(place) = d.u64()?.checked_sub(1) else {
            return Ok(None);
        };
        let name = usize::try_from(place).ok().and_then(|place| self.names.get(place));
        name.map(|name| Some(name.clone())).ok_or_else(|| Error::message("no such name"))
    }
}

/// Paths of one node, each made from the one before.
#[derive(Default)]
struct Paths {
    last: Option<TreePath>,
    bytes: Vec<u8>,
    unpacked: usize,
}

impl Paths {
    /// The next path as it is written, not looked at.
    fn read_bytes(&mut self, d: &mut Decoder<'_>) -> Read<&[u8]> {
        let shared = usize::try_from(d.u64()?).ok().filter(|&shared| shared <= self.bytes.len());
        self.bytes.truncate(shared.ok_or_else(|| Error::message("a path shares more than there is"))?);
        self.bytes.extend_from_slice(d.bytes()?);
        self.unpacked = self.unpacked.saturating_add(self.bytes.len());
        if self.unpacked > FRAME_BYTES_MAX {
            return Err(Error::message("paths are too long together"));
        }
        Ok(&self.bytes)
    }

    fn read(&mut self, d: &mut Decoder<'_>) -> Read<TreePath> {
        self.read_bytes(d)?;
        let path = TreePath::new(&self.bytes).map_err(Error::message)?;
        if self.last.as_ref().is_some_and(|last| *last >= path) {
            return Err(Error::message("paths do not rise"));
        }
        self.last = Some(path.clone());
        Ok(path)
    }
}

fn left(d: &Decoder<'_>) -> usize {
    d.input().len().saturating_sub(d.position())
}

/// Opens an array of at least `least` elements, and no more than there are bytes for.
fn open_array(d: &mut Decoder<'_>, least: u64) -> Read<u64> {
    match d.array()? {
        Some(length) if length >= least && length <= left(d) as u64 => Ok(length),
        _ => Err(Error::message("an array of a length that cannot be")),
    }
}

/// Passes over elements of a later version.
fn skip_rest(d: &mut Decoder<'_>, length: u64, known: u64) -> Read<()> {
    (known..length).try_for_each(|_| d.skip())
}

fn list<'b, T>(d: &mut Decoder<'b>, mut read: impl FnMut(&mut Decoder<'b>) -> Read<T>) -> Read<Vec<T>> {
    let length = open_array(d, 0)?;
    (0..length).map(|_| read(d)).collect()
}

fn optional<'b, T>(d: &mut Decoder<'b>, read: impl FnOnce(&mut Decoder<'b>) -> Read<T>) -> Read<Option<T>> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    read(d).map(Some)
}
