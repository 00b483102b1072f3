//! Nodes on their way to bytes. Packs and names are numbered in order of first use, so what an entry adds to a node is
//! known as soon as it is offered and is never written twice.
//!
//! The length of a node, by which it ends, is the sum of the encoded lengths of its packs, names and items, each item
//! with its whole path. So it bounds both what a reader fetches and what the node unpacks to.

use std::collections::BTreeMap;
use std::convert::Infallible;

use minicbor::Encoder;

use super::{Child, Content, Entry, NODE_LENGTH_MAX, Part, Totals};
use crate::meta::{Kind, Meta};
use crate::path::TreePath;
use crate::reference::{FrameSet, Reference};

type Out<'a> = Encoder<&'a mut Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<Infallible>>;

const IN_MEMORY: &str = "memory takes every byte";

/// Byte strings that items of one node share, numbered in order of first use.
#[derive(Default)]
struct Table {
    items: Vec<Box<[u8]>>,
    places: BTreeMap<Box<[u8]>, u64>,
    length: usize,
}

impl Table {
    fn place(&mut self, item: &[u8]) -> u64 {
        if let Some(&place) = self.places.get(item) {
            return place;
        }
        let place = self.items.len() as u64;
        self.items.push(item.into());
        self.places.insert(item.into(), place);
        self.length = self.length.saturating_add(bytes_length(item.len()));
        place
    }

    /// Forgets what came after the first `count` items.
    fn shrink(&mut self, count: usize) {
        for item in self.items.drain(count..) {
            self.length = self.length.saturating_sub(bytes_length(item.len()));
            self.places.remove(&item);
        }
    }

    fn write(&self, e: &mut Out<'_>) -> Written {
        e.array(self.items.len() as u64)?;
        self.items.iter().try_for_each(|item| e.bytes(item)?.ok())
    }
}

/// What a node keeps once for all its items.
#[derive(Default)]
pub(super) struct Tables {
    packs: Table,
    names: Table,
}

/// What nodes of the tree are made of.
pub(super) trait Item {
    fn path(&self) -> &TreePath;
    fn totals(&self) -> Totals;
    fn add_frames(&self, frames: &mut FrameSet);
    /// The item with the first `shared` bytes of its path left out.
    fn write(&self, shared: usize, e: &mut Out<'_>, tables: &mut Tables) -> Written;
}

/// A node that still grows.
#[derive(Default)]
pub(super) struct Draft {
    tables: Tables,
    items: Vec<u8>,
    count: u64,
    /// Bytes that items are shorter than with their whole paths.
    spared: usize,
    first: TreePath,
    last: TreePath,
    totals: Totals,
    frames: FrameSet,
}

impl Draft {
    /// Adds `item`, or leaves everything as it was and answers `false` if the node would become too long.
    pub(super) fn add(&mut self, item: &impl Item) -> bool {
        let before = (self.items.len(), self.tables.packs.items.len(), self.tables.names.items.len());
        let path = item.path();
        let shared = if self.count == 0 { 0 } else { common_prefix(&self.last, path) };
        item.write(shared, &mut Encoder::new(&mut self.items), &mut self.tables).expect(IN_MEMORY);
        let spared = spared_by(shared, path.as_bytes().len());
        if self.length().saturating_add(spared) > NODE_LENGTH_MAX {
            self.items.truncate(before.0);
            self.tables.packs.shrink(before.1);
            self.tables.names.shrink(before.2);
            return false;
        }
        if self.count == 0 {
            self.first = path.clone();
        }
        self.last = path.clone();
        self.spared = self.spared.saturating_add(spared);
        self.count = self.count.saturating_add(1);
        self.totals.add(item.totals());
        item.add_frames(&mut self.frames);
        true
    }

    /// What counts for the end of the node; see the top of this file.
    pub(super) fn length(&self) -> usize {
        let tables = self.tables.packs.length.saturating_add(self.tables.names.length);
        self.items.len().saturating_add(self.spared).saturating_add(tables)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn frames(&self) -> &FrameSet {
        &self.frames
    }

    /// The bytes of the node at `level`.
    pub(super) fn bytes(&self, level: u8) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length().saturating_add(64));
        self.write_head(level, &mut Encoder::new(&mut out)).expect(IN_MEMORY);
        out.extend_from_slice(&self.items);
        out
    }

    fn write_head(&self, level: u8, e: &mut Out<'_>) -> Written {
        e.array(if level == 0 { 4 } else { 3 })?.u8(level)?;
        self.tables.packs.write(e)?;
        if level == 0 {
            self.tables.names.write(e)?;
        }
        e.array(self.count)?.ok()
    }

    /// The node as its parent keeps it.
    pub(super) fn child(self, reference: Reference) -> Child {
        Child { first: self.first, reference, totals: self.totals }
    }
}

impl Item for Child {
    fn path(&self) -> &TreePath {
        &self.first
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn add_frames(&self, frames: &mut FrameSet) {
        frames.insert(self.reference.frame());
    }

    fn write(&self, shared: usize, e: &mut Out<'_>, tables: &mut Tables) -> Written {
        e.array(6)?;
        write_path(&self.first, shared, e)?;
        write_reference(&self.reference, e, tables)?;
        e.u64(self.totals.entries)?.u64(self.totals.files)?.u64(self.totals.bytes)?.ok()
    }
}

impl Item for Entry {
    fn path(&self) -> &TreePath {
        &self.path
    }

    fn totals(&self) -> Totals {
        Entry::totals(self)
    }

    fn add_frames(&self, frames: &mut FrameSet) {
        self.references().for_each(|reference| frames.insert(reference.frame()));
    }

    fn write(&self, shared: usize, e: &mut Out<'_>, tables: &mut Tables) -> Written {
        let meta = &self.meta;
        e.array(13)?;
        write_path(&self.path, shared, e)?;
        e.u8(kind_number(meta.kind))?.u32(meta.mode)?.u32(meta.uid)?.u32(meta.gid)?;
        e.u64(place_of_name(meta.user.as_deref(), tables))?;
        e.u64(place_of_name(meta.group.as_deref(), tables))?;
        e.i64(meta.mtime.seconds)?.u32(meta.mtime.nanos)?;
        self.write_body(e, tables)?;
        match meta.link {
            Some(link) => e.u64(link)?,
            None => e.null()?,
        };
        write_xattrs(meta, e)
    }
}

impl Entry {
    fn write_body(&self, e: &mut Out<'_>, tables: &mut Tables) -> Written {
        match (&self.content, self.meta.kind) {
            (Content::Inline(bytes), _) => e.bytes(bytes)?.ok(),
            (Content::Parts { depth, parts }, _) => {
                e.array(3)?.u64(self.meta.size)?.u8(*depth)?;
                write_parts(parts, e, tables)
            }
            (Content::None, Kind::Symlink) => e.bytes(&self.meta.target)?.ok(),
            (Content::None, Kind::CharDevice | Kind::BlockDevice) => e.u64(self.meta.device)?.ok(),
            (Content::None, _) => e.null()?.ok(),
        }
    }
}

/// An entry alone, as a leaf that holds nothing else: for caches outside the repository. [`super::decode_entry`] takes
/// back whatever a [`super::Builder`] would take.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut draft = Draft { count: 1, ..Draft::default() };
    entry.write(0, &mut Encoder::new(&mut draft.items), &mut draft.tables).expect(IN_MEMORY);
    draft.bytes(0)
}

/// The bytes of a content node.
pub(super) fn content_node(parts: &[Part]) -> Vec<u8> {
    let (mut list, mut tables, mut out) = (Vec::new(), Tables::default(), Vec::new());
    write_parts(parts, &mut Encoder::new(&mut list), &mut tables).expect(IN_MEMORY);
    let mut e = Encoder::new(&mut out);
    e.array(2).expect(IN_MEMORY);
    tables.packs.write(&mut e).expect(IN_MEMORY);
    out.extend_from_slice(&list);
    out
}

fn write_parts(parts: &[Part], e: &mut Out<'_>, tables: &mut Tables) -> Written {
    e.array(parts.len() as u64)?;
    parts.iter().try_for_each(|part| match part {
        Part::Chunk(reference) => write_reference(reference, e, tables),
        Part::Zeros(length) => e.array(1)?.u64(*length)?.ok(),
        Part::Node { reference, covers } => {
            e.array(2)?;
            write_reference(reference, e, tables)?;
            e.u64(*covers)?.ok()
        }
    })
}

fn write_reference(reference: &Reference, e: &mut Out<'_>, tables: &mut Tables) -> Written {
    let place = tables.packs.place(reference.pack.as_bytes());
    e.array(5)?.u64(place)?.u32(reference.ordinal)?.u32(reference.offset)?.u32(reference.length)?;
    e.bytes(reference.chunk.as_bytes())?.ok()
}

fn write_path(path: &TreePath, shared: usize, e: &mut Out<'_>) -> Written {
    e.u64(shared as u64)?.bytes(path.as_bytes().get(shared..).unwrap_or_default())?.ok()
}

fn write_xattrs(meta: &Meta, e: &mut Out<'_>) -> Written {
    if meta.xattrs.is_empty() {
        return e.null()?.ok();
    }
    e.array(meta.xattrs.len() as u64)?;
    meta.xattrs.iter().try_for_each(|(name, value)| e.array(2)?.bytes(name)?.bytes(value)?.ok())
}

fn place_of_name(name: Option<&[u8]>, tables: &mut Tables) -> u64 {
    name.map_or(0, |name| tables.names.place(name).saturating_add(1))
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Directory => 0,
        Kind::File => 1,
        Kind::Symlink => 2,
        Kind::Fifo => 3,
        Kind::CharDevice => 4,
        Kind::BlockDevice => 5,
    }
}

fn common_prefix(a: &TreePath, b: &TreePath) -> usize {
    a.as_bytes().iter().zip(b.as_bytes()).take_while(|(a, b)| a == b).count()
}

/// How much shorter a path of `length` bytes is written because its first `shared` bytes are left out.
fn spared_by(shared: usize, length: usize) -> usize {
    let whole = bytes_length(length).saturating_add(1);
    let written = bytes_length(length.saturating_sub(shared)).saturating_add(head_length(shared));
    whole.saturating_sub(written)
}

fn bytes_length(length: usize) -> usize {
    length.saturating_add(head_length(length))
}

/// Bytes of a CBOR head with this argument.
fn head_length(argument: usize) -> usize {
    match argument {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}
