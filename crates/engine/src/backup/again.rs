//! Reading once more: files that changed under the reading hand, and a share of those that seem not to have changed.
//!
//! A file that changed while it was read is read a second time, from its beginning and on one thread; what comes of that
//! is kept, and only a file that changed again is told of. Times, size and number of a file can hide a change: a disk that
//! rots, a clock put back, a program that restores times on a file system that lets it. So each run reads a share of what
//! seems unchanged, another share each time, and says where the content was another. Chunks are cut as the parallel way
//! cuts them, so a file that did not change costs no room.

use std::collections::HashMap;
use std::sync::Mutex;

use format::cutter::Stream as More;
use format::path::TreePath;
use format::tree::{Content, Entry, Part, content_parts};
use source::directory::{Reader, Stretch};

use super::work::{Workshop, lock, push};
use crate::budget::{REREAD_BYTES_MAX, SEGMENT_BYTES};
use crate::error::Error;
use crate::restore::is_damage;

/// Files are spread over so many slots by their paths.
const SLOTS: u64 = 10_000;

/// Which files of a run are read although they seem unchanged.
pub(super) struct Share {
    first: u64,
    slots: u64,
}

impl Share {
    /// The share of a run, of a hundred parts; after 100 / `percent` runs in a row every file had its turn.
    pub(super) fn of(run: u32, percent: f64) -> Share {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between 0 and SLOTS"
        )]
        let slots = (percent.clamp(0.0, 100.0) * (SLOTS / 100) as f64).ceil() as u64;
        Share { first: u64::from(run).wrapping_mul(slots) % SLOTS, slots }
    }

    pub(super) fn holds(&self, path: &TreePath) -> bool {
        let hash = blake3::hash(path.as_bytes());
        let slot = u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash is longer")) % SLOTS;
        (slot + SLOTS - self.first) % SLOTS < self.slots
    }
}

/// What is remembered of a file that seems unchanged and is read all the same.
struct Memory {
    content: Content,
    /// Whether it was cut as it would be cut now.
    alike: bool,
}

/// What files held by what is remembered of them, until they were read.
#[derive(Default)]
pub(super) struct Expected(Mutex<HashMap<TreePath, Memory>>);

impl Expected {
    pub(super) fn note(&self, path: TreePath, content: Content, alike: bool) {
        lock(&self.0).insert(path, Memory { content, alike });
    }

    /// Whether a file that seemed unchanged, and has this content now, holds something else than it did. Where that cannot be
    /// told, it is not said: a host that cannot read compares short files only.
    pub(super) fn is_betrayed(
        &self,
        repo: &repo::Repo,
        entry: &Entry,
        now: Digest,
        file: Option<&Reader>,
    ) -> Result<bool, Error> {
        let Some(Memory { content, alike }) = lock(&self.0).remove(&entry.path) else { return Ok(false) };
        if content == entry.content {
            return Ok(false);
        }
        let was = Entry { content, ..entry.clone() };
        let differs = match (&was.content, file) {
            (Content::Inline(_), _) => Ok(matches!(entry.content, Content::Inline(_))),
            // The same bytes can be cut in another way by now: holes that the system fills, blocks of images. So what was
            // is compared where it was.
            (_, Some(file)) if repo.can_read() => reads_otherwise(repo, &was, file),
            (_, None) if alike => is_named_otherwise(repo, &was.content, now),
            _ => Ok(false),
        };
        match differs {
            // What cannot be read any more cannot be compared with; the file is kept as it is now.
            Err(Trouble::Run(error)) if is_damage(&error) => Ok(false),
            Err(Trouble::File(_)) => Ok(false),
            Err(Trouble::Run(error)) => Err(error),
            Ok(differs) => Ok(differs),
        }
    }
}

/// Whether a file holds other bytes than it did, read at the places of the old chunks.
fn reads_otherwise(repo: &repo::Repo, was: &Entry, file: &Reader) -> Result<bool, Trouble> {
    let reader = repo::Reader::new(repo).map_err(Error::from)?;
    let mut buffer = Vec::new();
    for extent in content_parts(&reader, was) {
        let extent = extent.map_err(Error::from)?;
        let (mut at, end) = (extent.offset, extent.offset.saturating_add(extent.length));
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(SEGMENT_BYTES).min(SEGMENT_BYTES);
            buffer.resize(want, 0);
            let read = file.read_at(at, &mut buffer)?;
            let bytes = buffer.get(..read).unwrap_or_default();
            let same = match &extent.chunk {
                Some(chunk) => reader.is_content_of(chunk, bytes),
                None => read == want && bytes.iter().all(|byte| *byte == 0),
            };
            if !same {
                return Ok(true);
            }
            at += want as u64;
        }
    }
    Ok(false)
}

/// Whether the chunks of a short file, whose bytes are gone by now, are others. New keys give the same bytes another name.
fn is_named_otherwise(repo: &repo::Repo, was: &Content, now: Digest) -> Result<bool, Trouble> {
    let Some(digest) = flat_digest(was) else { return Ok(false) };
    if digest == now.finish() {
        return Ok(false);
    }
    if !repo.had_other_keys() {
        return Ok(true);
    }
    if !repo.can_read() {
        return Ok(false);
    }
    let reader = repo::Reader::new(repo).map_err(Error::from)?;
    let Content::Parts { parts, .. } = was else { return Ok(false) };
    for chunk in parts.iter().filter_map(Part::reference) {
        if !reader.has_newest_name(chunk).map_err(Error::from)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The digest of content whose chunks the entry names.
fn flat_digest(content: &Content) -> Option<blake3::Hash> {
    let Content::Parts { depth: 0, parts } = content else { return None };
    let mut digest = Digest::default();
    parts.iter().for_each(|part| digest.push(part));
    Some(digest.finish())
}

/// What a content is, wherever its chunks are: they and the zeros between them, in order.
#[derive(Clone, Default)]
pub(super) struct Digest {
    hasher: blake3::Hasher,
    zeros: u64,
}

impl Digest {
    pub(super) fn push(&mut self, part: &Part) {
        match part.reference() {
            Some(reference) => self.chunk(&reference.chunk.0),
            None => self.zeros = self.zeros.saturating_add(part.covers()),
        }
    }

    fn chunk(&mut self, id: &[u8; 32]) {
        self.hasher.update(&std::mem::take(&mut self.zeros).to_le_bytes());
        self.hasher.update(id);
    }

    fn finish(mut self) -> blake3::Hash {
        self.hasher.update(&self.zeros.to_le_bytes());
        self.hasher.finalize()
    }
}

/// What ends a second reading: of the file, or of the run.
pub(super) enum Trouble {
    File(source::Error),
    Run(Error),
}

impl From<source::Error> for Trouble {
    fn from(error: source::Error) -> Self {
        Trouble::File(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Run(error)
    }
}

impl Workshop<'_, '_> {
    /// The chunks and zeros of a file from its beginning to its end, read and stored on this thread. A file that grows all
    /// the while is given up.
    pub(super) fn read_through(&self, reader: &Reader) -> Result<Vec<Part>, Trouble> {
        let stretches = if reader.is_sparse() { reader.stretches() } else { Vec::new() };
        let mut parts = Vec::new();
        for stretch in &stretches {
            match stretch.hole {
                true => push(&mut parts, Part::Zeros(stretch.length)),
                false => self.read_stretch(reader, Some(*stretch), &mut parts)?,
            }
        }
        if stretches.is_empty() {
            self.read_stretch(reader, None, &mut parts)?;
        }
        Ok(parts)
    }

    /// Reads a stretch, which keeps its length whatever became of the file; or all that there is.
    fn read_stretch(
        &self,
        reader: &Reader,
        stretch: Option<Stretch>,
        parts: &mut Vec<Part>,
    ) -> Result<(), Trouble> {
        let (mut at, mut left) = stretch.map_or((0, u64::MAX), |stretch| (stretch.offset, stretch.length));
        let mut buffer = self.buffer();
        buffer.clear();
        while !self.has_failed() {
            let kept = buffer.len();
            let want = usize::try_from(left).unwrap_or(SEGMENT_BYTES).min(SEGMENT_BYTES);
            buffer.resize(kept + want, 0);
            let read = reader.read_at(at, buffer.get_mut(kept..).unwrap_or_default())?;
            self.count_read(read);
            match stretch {
                Some(_) => buffer.get_mut(kept + read..).unwrap_or_default().fill(0),
                None => buffer.truncate(kept + read),
            }
            at = at.saturating_add(want as u64);
            if stretch.is_none() && at > reader.size().saturating_add(REREAD_BYTES_MAX) {
                return Err(reader.endless().into());
            }
            left = left.saturating_sub(want as u64);
            let ends = left == 0 || (stretch.is_none() && read < want);
            let taken = self.cut_off(&buffer, ends, parts)?;
            if ends {
                break;
            }
            buffer.drain(..taken);
        }
        self.give_back(buffer);
        Ok(())
    }

    /// Stores the chunks that are complete, and says how many bytes they took.
    fn cut_off(&self, bytes: &[u8], ends: bool, parts: &mut Vec<Part>) -> Result<usize, Error> {
        let more = if ends { More::EndsHere } else { More::GoesOn };
        let mut taken = 0;
        while let Some(length) = self.cutter.next_cut(bytes.get(taken..).unwrap_or_default(), more) {
            let chunk = bytes.get(taken..taken + length).unwrap_or_default();
            push(parts, self.part(&mut self.worker(), chunk)?);
            taken += length;
        }
        Ok(taken)
    }
}

/// Whether a file of this size that changed is worth a second reading: one that is larger changes all the time, most
/// likely, and would take the run's time twice. So do images, which never are.
pub(super) fn is_worth_it(size: u64) -> bool {
    size <= REREAD_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_turn_once_in_a_round() {
        let paths: Vec<TreePath> =
            (0..2_000).map(|n| TreePath::new(format!("folder/{n}").as_bytes()).unwrap()).collect();
        for (percent, runs) in [(1.0, 100), (5.0, 20), (100.0, 1), (0.5, 200)] {
            let turns = |path| (7..7 + runs).filter(|run| Share::of(*run, percent).holds(path)).count();
            assert!(paths.iter().all(|path| turns(path) == 1), "{percent} %");
        }
        let count = paths.iter().filter(|path| Share::of(3, 1.0).holds(path)).count();
        assert!((5..50).contains(&count), "{count} of 2000 is about 1 %");
        assert!(!paths.iter().any(|path| Share::of(3, 0.0).holds(path)));
    }
}
