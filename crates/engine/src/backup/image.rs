//! Images: blocks of one size, each where it lies on the disk, so that a block that did not change is known by its id.
//!
//! Holes that the file system tells of are not read, and blocks of zeros are stored nowhere. With a map of what changed, only
//! that is read and all else is taken over from the image as it was. A map may lie: before anything is taken over, a sample
//! of what it calls unchanged is compared, and if one block differs nothing is taken over at all.

use std::ops::Range;
use std::sync::Arc;

use format::id::PointId;
use format::meta::Kind;
use format::path::TreePath;
use format::reference::Reference;
use format::tree::{Entry, Extent, Extents, Part, Walk, content_parts};
use repo::{PointRecord, Repo};
use source::directory::{Found, Reader};

use super::collect::Unit;
use super::feed::Feed;
use super::map::{BLOCK, MapReport, Ranges, Sample, split, widened};
use super::work::{Ticket, Workshop, lock};
use crate::budget::{ENTRY_BYTES, READY_ENTRIES, SEGMENT_BYTES};
use crate::error::{Error, Problem};
use crate::restore::{Nodes, is_damage};

/// A map, and the image that it is relative to.
pub(super) struct Mapped<'r> {
    ranges: Ranges,
    reader: repo::Reader<'r>,
    since: PointRecord,
    /// How many points the source has had, so that each run compares other blocks.
    run: u64,
}

impl<'r> Mapped<'r> {
    /// Opens the point that `ranges` are relative to.
    pub(super) fn open(repo: &'r Repo, ranges: Ranges, since: PointId) -> Result<Mapped<'r>, Error> {
        let fold = repo.fold();
        let since = fold.points.get(&since).cloned().ok_or_else(|| no_point(&since.to_string()))?;
        let run = fold.points.values().filter(|p| p.point.source == since.point.source).count() as u64;
        Ok(Mapped { ranges, reader: repo::Reader::new(repo)?, since, run })
    }

    /// The only file of the point, as it was.
    fn image(&self) -> Result<Entry, Error> {
        let mut files = Vec::new();
        for entry in Walk::new(Nodes(&self.reader), self.since.point.root) {
            let entry = entry?;
            if entry.meta.kind != Kind::Directory {
                files.push(entry);
            }
            if files.len() > 1 {
                break;
            }
        }
        match <[Entry; 1]>::try_from(files) {
            Ok([entry]) if entry.meta.kind == Kind::File => Ok(entry),
            _ => Err(self.no_image()),
        }
    }

    fn no_image(&self) -> Error {
        let id = self.since.point.id.to_string();
        Error::MapBasis(format!("point {id:.10} does not hold one image that was cut in blocks"))
    }

    fn extents<'a>(&'a self, image: &Entry) -> Extents<Nodes<'a, 'r>> {
        content_parts(Nodes(&self.reader), image)
    }
}

pub(super) fn no_point(since: &str) -> Error {
    Error::MapBasis(format!("there is no point {since} of this source to compare with"))
}

/// Whether an extent of an image of `size` bytes is what cutting in blocks gives.
fn is_blocks(extent: &Extent, size: u64) -> bool {
    let end = extent.offset.saturating_add(extent.length);
    let one = extent.chunk.is_none() || end.saturating_sub(extent.offset) <= BLOCK;
    extent.offset.is_multiple_of(BLOCK) && one && (end.is_multiple_of(BLOCK) || end == size)
}

impl<'scope, 'w: 'scope, 'r: 'scope> Feed<'_, 'scope, 'w, 'r> {
    /// Hands out an image in blocks.
    pub(super) fn image(&mut self, found: &Found) -> Result<(), Error> {
        let Some((reader, end)) = self.begin_large(found) else { return Ok(()) };
        match self.shop.map.as_ref() {
            Some(map) => self.mapped(map, &reader, found)?,
            None => self.whole_image(&reader, found),
        }
        self.ticket(0).send(Unit::Segment(Vec::new(), Some(end)));
        Ok(())
    }

    fn whole_image(&mut self, reader: &Arc<Reader>, found: &Found) {
        let size = found.meta.size;
        let data = if found.sparse {
            let stretches = reader.stretches().into_iter().filter(|stretch| !stretch.hole);
            widened(stretches.map(|s| s.offset..s.offset.saturating_add(s.length)), size)
        } else {
            widened(std::iter::once(0..size), size)
        };
        let mut row = Blocks::new(reader, &found.path);
        for (range, is_data) in split(0..size, &data) {
            match is_data {
                true => row.read(self, range),
                false => row.keep(self, Part::Zeros(range.end.saturating_sub(range.start))),
            }
        }
        row.flush(self);
    }

    /// Takes over what the map calls unchanged, if the sample agrees.
    fn mapped(&mut self, map: &Mapped<'r>, reader: &Arc<Reader>, found: &Found) -> Result<(), Error> {
        let image = map.image()?;
        let (size, was) = (found.meta.size, image.meta.size);
        // The last block is another one if the length changed.
        let common = if size == was { size } else { size.min(was).saturating_sub(size.min(was) % BLOCK) };
        let mut changed = map.ranges.blocks(size)?;
        if common < size {
            changed = widened(changed.into_iter().chain(std::iter::once(common..size)), size);
        }
        let mut told = MapReport {
            since: map.since.point.id,
            changed_bytes: changed.iter().map(|range| range.end.saturating_sub(range.start)).sum(),
            compared_blocks: 0,
            wrong_at: None,
        };
        let sample = Sample::of(size, map.run);
        let compared = &mut told.compared_blocks;
        told.wrong_at = match self.compare(map, &image, reader, &changed, (common, sample, compared)) {
            // An image that cannot be read is named, as without a map.
            Err(Error::Source(error)) => {
                self.ticket(0).send(Unit::Broken(Problem::new(&found.path, error), false));
                return Ok(());
            }
            compared => compared?,
        };
        *lock(&self.shop.told) = Some(told);
        match told.wrong_at {
            Some(_) => self.whole_image(reader, found),
            None => self.take_over(map, &image, (reader, &found.path), &changed, size)?,
        }
        Ok(())
    }

    /// Compares the sample with what the image was: the first block that is another one. Sees to it that all of the image
    /// was cut in blocks.
    fn compare(
        &self,
        map: &Mapped<'r>,
        image: &Entry,
        reader: &Reader,
        changed: &[Range<u64>],
        (common, sample, compared): (u64, Sample, &mut u64),
    ) -> Result<Option<u64>, Error> {
        let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(usize::MAX)];
        for extent in map.extents(image) {
            let extent = match extent {
                Ok(extent) => extent,
                // What cannot be told is read later.
                Err(error) if is_damage(&error) => continue,
                Err(error) => return Err(error),
            };
            if !is_blocks(&extent, image.meta.size) {
                return Err(map.no_image());
            }
            let end = extent.offset.saturating_add(extent.length).min(common);
            let unchanged = split(extent.offset..end.max(extent.offset), changed);
            for range in unchanged.into_iter().filter(|(_, is_changed)| !is_changed).map(|(range, _)| range) {
                for at in sample.within(range) {
                    if self.shop.has_failed() {
                        return Ok(None);
                    }
                    *compared = compared.saturating_add(1);
                    // What a file has grown by since it was listed is no part of its last block.
                    let length =
                        usize::try_from(end.saturating_sub(at)).unwrap_or(buffer.len()).min(buffer.len());
                    let read = reader.read_at(at, buffer.get_mut(..length).unwrap_or_default())?;
                    self.shop.count_read(read);
                    let block = buffer.get(..read).unwrap_or_default();
                    if !is_as_it_was(block, &extent, &map.reader) {
                        return Ok(Some(at));
                    }
                }
            }
        }
        Ok(None)
    }

    fn take_over(
        &mut self,
        map: &Mapped<'r>,
        image: &Entry,
        (reader, path): (&Arc<Reader>, &TreePath),
        changed: &[Range<u64>],
        size: u64,
    ) -> Result<(), Error> {
        let mut row = Blocks::new(reader, path);
        let mut extents = map.extents(image);
        let mut at = 0;
        while let Some(extent) = extents.next() {
            if self.shop.has_failed() || at >= size {
                break;
            }
            let extent = match extent {
                Ok(extent) => extent,
                Err(error) if is_damage(&error) => {
                    let end = extents.offset().min(size);
                    row.read(self, at..end);
                    at = end;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let end = extent.offset.saturating_add(extent.length).min(size);
            for (range, is_changed) in split(at..end, changed) {
                match extent.chunk {
                    _ if is_changed => row.read(self, range),
                    None => row.keep(self, Part::Zeros(range.end.saturating_sub(range.start))),
                    Some(chunk) if self.may_keep(&chunk)? => row.keep(self, Part::Chunk(chunk)),
                    Some(_) => row.read(self, range),
                }
            }
            at = end;
        }
        row.read(self, at..size);
        row.flush(self);
        Ok(())
    }

    fn may_keep(&self, chunk: &Reference) -> Result<bool, Error> {
        Ok(self.shop.writer.may_take_over(chunk.pack, self.rooted)?)
    }
}

fn is_as_it_was(block: &[u8], extent: &Extent, basis: &repo::Reader<'_>) -> bool {
    match extent.chunk {
        Some(was) => basis.is_content_of(&was, block),
        None => block.iter().all(|byte| *byte == 0),
    }
}

/// Blocks of an image in order: neighbours that are read go to a worker together, and so do those that are kept.
struct Blocks<'a> {
    reader: &'a Arc<Reader>,
    path: &'a TreePath,
    kept: Vec<Part>,
    to_read: Range<u64>,
}

impl<'a> Blocks<'a> {
    fn new(reader: &'a Arc<Reader>, path: &'a TreePath) -> Blocks<'a> {
        Blocks { reader, path, kept: Vec::new(), to_read: 0..0 }
    }

    fn keep<'scope, 'w: 'scope, 'r: 'scope>(&mut self, feed: &mut Feed<'_, 'scope, 'w, 'r>, part: Part) {
        self.flush_read(feed);
        self.kept.push(part);
        if self.kept.len() >= READY_ENTRIES {
            self.flush_kept(feed);
        }
    }

    fn read<'scope, 'w: 'scope, 'r: 'scope>(
        &mut self,
        feed: &mut Feed<'_, 'scope, 'w, 'r>,
        range: Range<u64>,
    ) {
        self.flush_kept(feed);
        if self.to_read.end != range.start {
            self.flush_read(feed);
            self.to_read.start = range.start;
        }
        self.to_read.end = range.end;
    }

    fn flush<'scope, 'w: 'scope, 'r: 'scope>(&mut self, feed: &mut Feed<'_, 'scope, 'w, 'r>) {
        self.flush_read(feed);
        self.flush_kept(feed);
    }

    fn flush_kept<'scope, 'w: 'scope, 'r: 'scope>(&mut self, feed: &mut Feed<'_, 'scope, 'w, 'r>) {
        let kept = std::mem::take(&mut self.kept);
        if !kept.is_empty() {
            feed.ticket(kept.len().saturating_mul(ENTRY_BYTES)).send(Unit::Segment(kept, None));
        }
    }

    fn flush_read<'scope, 'w: 'scope, 'r: 'scope>(&mut self, feed: &mut Feed<'_, 'scope, 'w, 'r>) {
        let range = std::mem::replace(&mut self.to_read, 0..0);
        for start in range.clone().step_by(SEGMENT_BYTES) {
            if feed.shop.has_failed() {
                return;
            }
            let end = start.saturating_add(SEGMENT_BYTES as u64).min(range.end);
            let ticket = feed.ticket(usize::try_from(end.saturating_sub(start)).unwrap_or(SEGMENT_BYTES));
            let (shop, reader, path) = (feed.shop, self.reader.clone(), self.path.clone());
            feed.scope.spawn(move |_| shop.blocks(&reader, &path, start..end, ticket));
        }
    }
}

impl Workshop<'_, '_> {
    /// Reads and stores blocks that lie behind each other. What is gone since the image was listed is zeros, as others have
    /// their places behind it.
    fn blocks(&self, reader: &Reader, path: &TreePath, range: Range<u64>, ticket: Ticket) {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut buffer = self.buffer();
        buffer.resize(length, 0);
        match reader.read_at(range.start, &mut buffer) {
            Ok(read) => {
                self.count_read(read);
                buffer.get_mut(read..).unwrap_or_default().fill(0);
            }
            Err(error) => return ticket.send(Unit::Broken(Problem::new(path, error), false)),
        }
        let mut parts = Vec::new();
        for block in buffer.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX)) {
            if self.has_failed() {
                break;
            }
            match self.block(block) {
                Ok(part) => parts.push(part),
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
        }
        self.give_back(buffer);
        ticket.send(Unit::Segment(parts, None));
    }

    fn block(&self, block: &[u8]) -> Result<Part, Error> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Part::Zeros(block.len() as u64));
        }
        self.save(&mut self.image_worker(), block, &Default::default()).map(Part::Chunk)
    }
}
