//! How much is kept and what keeping it once saves, counted from the trees and the directories of the packs.
//!
//! Points are counted in groups: sources, or one point against all others. Every tree is walked, but below a node that
//! the same group showed before nothing is new, so a point costs what it does not share with those before it. Content is
//! never read. Each chunk met costs 16 bytes of its id and 4 of state in a hash table, 24 to 48 bytes with its free room:
//! at most 0.8 GB for a terabyte of chunks of 64 KiB. What is damaged is named, and then all sums are too low.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use format::id::ChunkHalf;
use format::path::TreePath;
use format::reference::{FrameId, FrameSet, Reference};
use format::tree::{Content, Entry, Next, Part, Walk, decode_content};
use repo::{PointRecord, Reader, Repo};

use crate::error::{Error, Problem};
use crate::restore::{Nodes, is_damage};

/// What a group of points holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Points.
    pub points: u64,
    /// Sum of the sizes of their files in bytes, each point by itself, as their backups counted them.
    pub bytes_logical: u64,
    /// Plain bytes of the chunks of content that they refer to, each chunk once.
    pub bytes_content: u64,
    /// Plain bytes of the chunks that make up their trees, each once: names, metadata, small files, references.
    pub bytes_tree: u64,
    /// Those of both that no other group refers to; of everything together, nothing is counted here.
    pub bytes_only: u64,
    /// Plain bytes of the frames that hold these chunks; more than the chunks where others share a frame.
    pub frames_raw: u64,
    /// Bytes of the same frames as they are stored, compressed and sealed.
    pub frames_stored: u64,
    /// Those of them that no other group refers to; as above.
    pub frames_stored_only: u64,
}

impl Tally {
    /// Plain bytes of all chunks, each once.
    pub fn bytes_unique(&self) -> u64 {
        self.bytes_content.saturating_add(self.bytes_tree)
    }

    /// How many bytes of files there are for each plain byte kept; `None` if there is none.
    pub fn deduplication(&self) -> Option<f64> {
        ratio(self.bytes_logical, self.bytes_unique())
    }

    /// How many plain bytes there are for each stored byte of their frames; `None` if there is none.
    pub fn compression(&self) -> Option<f64> {
        ratio(self.frames_raw, self.frames_stored)
    }
}

/// What the counting gave.
#[derive(Debug, Default)]
pub struct Stats {
    /// Everything together.
    pub all: Tally,
    /// Each group, in the order they were given.
    pub groups: Vec<Tally>,
    /// Chunks of content and tree.
    pub chunks: u64,
    /// What could not be read; the sums lack what lies behind it.
    pub problems: Vec<Problem>,
}

/// Counts groups of points. Points that are in none are as if they were not there.
pub fn count(repo: &Repo, groups: &[Vec<&PointRecord>]) -> Result<Stats, Error> {
    let reader = Reader::new(repo)?;
    let mut census = Census {
        reader: &reader,
        chunks: Marks(HashMap::new()),
        frames: Marks(HashMap::new()),
        met: FrameSet::default(),
        current: 0,
        stats: Stats { groups: vec![Tally::default(); groups.len()], ..Stats::default() },
    };
    for (number, points) in groups.iter().enumerate() {
        census.current = number;
        for point in points {
            census.point(point)?;
        }
        census.weigh_frames()?;
    }
    census.stats.chunks = census.chunks.0.len() as u64;
    Ok(census.stats)
}

fn ratio(of: u64, to: u64) -> Option<f64> {
    (to > 0).then(|| of as f64 / to as f64)
}

/// What was met, and by which group last.
struct Marks<K>(HashMap<K, u32>);

/// Beside the number of the group: another one had it before.
const SHARED: u32 = 1 << 31;

/// Who has met a thing so far.
enum Met {
    /// Nobody.
    Never,
    /// This group.
    Here,
    /// This one other group.
    By(usize),
    /// Several others.
    Shared,
}

impl<K: std::hash::Hash + Eq> Marks<K> {
    fn meet(&mut self, key: K, group: usize) -> Met {
        let group = u32::try_from(group).unwrap_or(SHARED - 1);
        let mark = match self.0.entry(key) {
            Slot::Vacant(free) => {
                free.insert(group);
                return Met::Never;
            }
            Slot::Occupied(taken) => taken.into_mut(),
        };
        let before = std::mem::replace(mark, group | SHARED);
        match (before & SHARED, before & !SHARED) {
            (_, last) if last == group => {
                *mark = before;
                Met::Here
            }
            (0, last) => Met::By(last as usize),
            _ => Met::Shared,
        }
    }
}

struct Census<'a, 'r> {
    reader: &'a Reader<'r>,
    /// By halves of ids: two of a million million chunks have the same with a chance of one in 10^14.
    chunks: Marks<ChunkHalf>,
    frames: Marks<FrameId>,
    /// Frames that the current group refers to.
    met: FrameSet,
    current: usize,
    stats: Stats,
}

impl Census<'_, '_> {
    fn point(&mut self, record: &PointRecord) -> Result<(), Error> {
        let bytes = record.point.sizes.bytes_logical;
        let add = |tally: &mut Tally| {
            tally.points += 1;
            tally.bytes_logical = tally.bytes_logical.saturating_add(bytes);
        };
        add(&mut self.stats.all);
        self.of_current(add);
        let mut walk = Walk::new(Nodes(self.reader), record.point.root);
        loop {
            match walk.peek() {
                None => return Ok(()),
                Some(Next::Entry(entry)) => {
                    if let Content::Parts { depth, parts } = &entry.content {
                        self.parts(entry, *depth, parts)?;
                    }
                    walk.pass_over();
                }
                Some(Next::Node { reference, first, .. }) => {
                    let first = first.clone();
                    if !self.meet(reference, true) {
                        walk.pass_over();
                    } else if let Err(error) = walk.open() {
                        self.trouble(&first, error)?;
                    }
                }
            }
        }
    }

    /// Counts the chunks of a list of parts and all below; no deeper than the format allows.
    fn parts(&mut self, entry: &Entry, depth: u8, parts: &[Part]) -> Result<(), Error> {
        for part in parts {
            match part {
                Part::Zeros(_) => {}
                Part::Chunk(reference) => {
                    self.meet(reference, false);
                }
                Part::Node { reference, covers } => {
                    let below = depth.saturating_sub(1);
                    if self.meet(reference, true) {
                        match self.content_node(reference, below, *covers) {
                            Ok(parts) => self.parts(entry, below, &parts)?,
                            Err(error) => self.trouble(&entry.path, error)?,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn content_node(&self, reference: &Reference, depth: u8, covers: u64) -> Result<Vec<Part>, Error> {
        Ok(decode_content(&self.reader.chunk(reference)?, depth, covers)?)
    }

    fn trouble(&mut self, path: &TreePath, error: Error) -> Result<(), Error> {
        if !is_damage(&error) {
            return Err(error);
        }
        let problem = Problem { damaged: true, ..Problem::new(path, error) };
        if !self.stats.problems.contains(&problem) {
            self.stats.problems.push(problem);
        }
        Ok(())
    }

    /// Counts a chunk, and says whether the group meets it for the first time.
    fn meet(&mut self, reference: &Reference, is_tree: bool) -> bool {
        let bytes = u64::from(reference.length);
        let met = self.chunks.meet(reference.chunk.half(), self.current);
        if let Met::Here = met {
            return false;
        }
        self.met.insert(reference.frame());
        let add = |tally: &mut Tally| {
            let sum = if is_tree { &mut tally.bytes_tree } else { &mut tally.bytes_content };
            *sum = sum.saturating_add(bytes);
        };
        self.of_current(add);
        match met {
            Met::Never => {
                add(&mut self.stats.all);
                self.of_current(|tally| tally.bytes_only = tally.bytes_only.saturating_add(bytes));
            }
            Met::By(other) => self.no_longer_alone(other, |tally| &mut tally.bytes_only, bytes),
            Met::Here | Met::Shared => {}
        }
        true
    }

    /// Adds what the frames of the group weigh, each pack's directory opened once.
    fn weigh_frames(&mut self) -> Result<(), Error> {
        let met = std::mem::take(&mut self.met);
        for (&pack, ordinals) in met.packs() {
            for &ordinal in ordinals {
                let frame = FrameId { pack, ordinal };
                match self.reader.locate(frame) {
                    Ok((_, found)) => self.weigh(frame, found.raw_length.into(), found.stored_length.into()),
                    Err(error) => self.trouble(&TreePath::root(), error.into())?,
                }
            }
        }
        Ok(())
    }

    fn weigh(&mut self, frame: FrameId, raw: u64, stored: u64) {
        let met = self.frames.meet(frame, self.current);
        let add = |tally: &mut Tally| {
            tally.frames_raw = tally.frames_raw.saturating_add(raw);
            tally.frames_stored = tally.frames_stored.saturating_add(stored);
        };
        self.of_current(add);
        match met {
            Met::Never => {
                add(&mut self.stats.all);
                self.of_current(|tally| {
                    tally.frames_stored_only = tally.frames_stored_only.saturating_add(stored);
                });
            }
            Met::By(other) => self.no_longer_alone(other, |tally| &mut tally.frames_stored_only, stored),
            Met::Here | Met::Shared => {}
        }
    }

    fn of_current(&mut self, change: impl FnOnce(&mut Tally)) {
        if let Some(tally) = self.stats.groups.get_mut(self.current) {
            change(tally);
        }
    }

    fn no_longer_alone(&mut self, group: usize, of: impl Fn(&mut Tally) -> &mut u64, bytes: u64) {
        if let Some(tally) = self.stats.groups.get_mut(group) {
            let sum = of(tally);
            *sum = sum.saturating_sub(bytes);
        }
    }
}
