//! The source in units, as a backup hands them to its workers: a segment of a large file, or a batch of small ones.

use format::meta::{Kind, Meta};
use format::path::TreePath;
use source::directory::{Found, Item, Reader, Scan, Selection, scan};
use world::World;

use crate::bench::Source;
use crate::budget::{BATCH_BYTES, BATCH_FILES, SEGMENT_BYTES};
use crate::error::Error;

/// What one worker takes at a time.
#[derive(Default)]
pub(super) struct Unit {
    /// Content of its parts, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Those of it that were read now; a segment begins with what the one before left over.
    pub(super) fresh: usize,
    /// Files that begin in it.
    pub(super) files: Vec<(TreePath, Meta)>,
    /// What is to be cut.
    pub(super) parts: Vec<Part>,
}

/// A file, or a piece of one, within a unit.
pub(super) struct Part {
    /// The number of the file among all.
    pub(super) file: usize,
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Where it begins in the unit, and its length there.
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) extent: Extent,
}

/// How much of its file a part is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// A segment, whose first bytes were left over from the one before.
    Segment { carried: usize, is_last: bool },
}

/// Walks and reads.
pub(super) struct Reading {
    scan: Scan,
    large: Option<Large>,
    files: usize,
    carry: Vec<u8>,
}

/// A large file that is under way.
struct Large {
    reader: Reader,
    file: usize,
    offset: u64,
}

impl Reading {
    pub(super) fn start(source: &Source, world: &World) -> Result<Reading, Error> {
        let selection = Selection::of(vec![source.folder.clone()]);
        Ok(Reading { scan: scan(&selection, world)?, large: None, files: 0, carry: Vec::new() })
    }

    /// What the cutter has left over of a segment.
    pub(super) fn carry(&mut self, rest: Vec<u8>) {
        self.carry = rest;
    }

    /// Fills the next unit; false where there is none.
    pub(super) fn fill(&mut self, unit: &mut Unit) -> Result<bool, Error> {
        unit.bytes.clear();
        unit.files.clear();
        unit.parts.clear();
        unit.fresh = 0;
        if self.large.is_some() {
            self.segment(unit)?;
            return Ok(true);
        }
        while let Some(item) = self.scan.next() {
            match item {
                Item::Entry(found) if found.meta.kind == Kind::File => self.file(&found, unit)?,
                Item::Problem(problem) => return Err(problem.error.into()),
                Item::Entry(_) | Item::Skipped(_) => {}
            }
            let is_full = unit.parts.len() >= BATCH_FILES || unit.bytes.len() as u64 >= BATCH_BYTES;
            if is_full || self.large.is_some() {
                return Ok(true);
            }
        }
        Ok(!unit.files.is_empty())
    }

    /// A small file is read; a large one ends the unit, and the next ones are its segments.
    fn file(&mut self, found: &Found, unit: &mut Unit) -> Result<(), Error> {
        let (reader, mut meta) = (found.open()?, found.meta.clone());
        if let Some(error) = reader.add_attributes(&mut meta) {
            return Err(error.into());
        }
        let (file, start) = (self.files, unit.bytes.len());
        self.files += 1;
        unit.files.push((found.path.clone(), meta));
        if found.meta.size > SEGMENT_BYTES as u64 {
            self.large = Some(Large { reader, file, offset: 0 });
            return Ok(());
        }
        reader.read_all_small(SEGMENT_BYTES, &mut unit.bytes)?;
        let length = unit.bytes.len() - start;
        unit.fresh += length;
        unit.parts.push(Part { file, offset: 0, start, length, extent: Extent::Whole });
        Ok(())
    }

    fn segment(&mut self, unit: &mut Unit) -> Result<(), Error> {
        let Some(large) = &mut self.large else { return Ok(()) };
        let carried = self.carry.len();
        unit.bytes.resize(carried + SEGMENT_BYTES, 0);
        let (head, room) = unit.bytes.split_at_mut(carried);
        head.copy_from_slice(&self.carry);
        let read = large.reader.read_at(large.offset, room)?;
        unit.bytes.truncate(carried + read);
        unit.fresh = read;
        let offset = large.offset - carried as u64;
        large.offset += read as u64;
        let is_last = large.offset >= large.reader.size() || read < SEGMENT_BYTES;
        let extent = Extent::Segment { carried, is_last };
        unit.parts.push(Part { file: large.file, offset, start: 0, length: unit.bytes.len(), extent });
        if is_last {
            self.large = None;
        }
        Ok(())
    }
}
