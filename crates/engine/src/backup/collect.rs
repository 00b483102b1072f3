//! The collector: units in the order of the walk become the tree.
//!
//! Units arrive in any order; one that is ahead waits. A file whose content could not be read is a problem and no entry.
//! Names of one hard-linked file share the content of the first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use format::fact::Sizes;
use format::id::PackId;
use format::meta::{Kind, Meta, Xattr};
use format::pack::ContentKind;
use format::path::TreePath;
use format::reference::Reference;
use format::tree::{Builder, Content, ContentBuilder, ENTRY_PARTS_MAX, Entry, Part, Refused};
use repo::{Repo, Worker};
use source::directory::Reader;
use world::Step;

use super::again::{self, Digest, Trouble};
use super::feed::Skips;
use super::map::MapReport;
use super::work::Workshop;
use crate::basis::{Recorder, Seen};
use crate::error::{Error, Problem};

/// A piece of the walk, done.
pub(super) enum Unit {
    /// Entries in path order.
    Entries(Vec<Done>),
    /// Chunks and zeros of a large file, in order; with the last of them, what else is known of the file.
    Segment(Vec<Part>, Option<Box<FileEnd>>),
    /// A part of a large file that could not be read, and whether it was the last part.
    Broken(Problem, bool),
}

/// One name, done.
pub(super) enum Done {
    /// An entry.
    Entry {
        /// The entry.
        entry: Box<Entry>,
        /// By which it may be believed unchanged next time.
        identity: Option<Seen>,
        /// Whether it changed while it was read.
        changed: bool,
        /// What of it could not be read.
        lacks: Option<Problem>,
    },
    /// A further name of a file: its content is that of the first.
    Link {
        /// Where.
        path: TreePath,
        /// What is kept of it.
        meta: Meta,
    },
    /// It could not be read.
    Problem(Problem),
}

/// What is known of a large file beside its chunks.
pub(super) struct FileEnd {
    pub(super) path: TreePath,
    pub(super) meta: Meta,
    pub(super) identity: Option<Seen>,
    pub(super) reader: Option<Arc<Reader>>,
    pub(super) image: bool,
    pub(super) lacks: Option<Problem>,
}

/// What came of a run.
pub(super) struct Collected {
    pub(super) root: Reference,
    pub(super) sizes: Sizes,
    pub(super) problems: Vec<Problem>,
    pub(super) changed: Vec<TreePath>,
    /// Files that hold something else than they did although nothing showed it.
    pub(super) betrayed: Vec<TreePath>,
    pub(super) skips: Skips,
    pub(super) paths: Vec<PathBuf>,
    pub(super) recorder: Option<Recorder>,
    pub(super) read_bytes: u64,
    pub(super) map: Option<MapReport>,
}

/// Takes all units, then finishes the tree.
pub(super) fn collect<'w, 'r>(
    shop: &Workshop<'w, 'r>,
    repo: &'r Repo,
    units: Receiver<(u64, usize, Unit)>,
    recorder: Option<Recorder>,
) -> Result<Collected, Error> {
    let worker = shop.writer.worker(ContentKind::Tree);
    let tree = Builder::new(shop.writer.chunk_key(), TreeWorker { shop, worker, packs: BTreeSet::new() });
    let mut collector = Collector {
        shop,
        repo,
        packs: BTreeSet::new(),
        tree,
        recorder,
        file: ContentBuilder::new(),
        digest: Digest::default(),
        last: None,
        broken: None,
        links: HashMap::new(),
        sizes: Sizes::default(),
        problems: Vec::new(),
        changed: Vec::new(),
        betrayed: Vec::new(),
    };
    let mut ahead = BTreeMap::new();
    let mut next = 0;
    for (number, bytes, unit) in units {
        ahead.insert(number, (bytes, unit));
        while let Some((bytes, unit)) = ahead.remove(&next) {
            next += 1;
            if !shop.has_failed()
                && let Err(error) = collector.take(unit)
            {
                shop.fail(error);
            }
            shop.budget.give(bytes);
        }
    }
    if shop.has_failed() {
        return Err(Error::Request("the run failed".into()));
    }
    shop.finish_data()?;
    collector.finish()
}

struct Collector<'s, 'w, 'r> {
    shop: &'s Workshop<'w, 'r>,
    repo: &'r Repo,
    tree: Builder<TreeWorker<'s, 'w, 'r>>,
    /// Packs that the content of the file under way lies in.
    packs: BTreeSet<PackId>,
    recorder: Option<Recorder>,
    file: ContentBuilder,
    /// What the file under way, or the last one, holds.
    digest: Digest,
    /// The long file that was read last, until its entry is made.
    last: Option<Arc<Reader>>,
    broken: Option<Problem>,
    links: HashMap<u64, (u64, Vec<Xattr>, Content)>,
    sizes: Sizes,
    problems: Vec<Problem>,
    changed: Vec<TreePath>,
    betrayed: Vec<TreePath>,
}

impl Collector<'_, '_, '_> {
    fn take(&mut self, unit: Unit) -> Result<(), Error> {
        match unit {
            Unit::Entries(done) => done.into_iter().try_for_each(|one| self.take_done(one)),
            Unit::Broken(problem, last) => {
                self.broken.get_or_insert(problem);
                if last {
                    self.end_broken();
                }
                Ok(())
            }
            Unit::Segment(references, end) => self.take_segment(references, end),
        }
    }

    fn take_done(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Entry { mut entry, mut identity, changed, lacks } => {
                lacks.into_iter().for_each(|problem| self.problem(problem));
                let was_flat = is_flat(&entry.content);
                entry.content = self.fitted(entry.content)?;
                if was_flat && !is_flat(&entry.content) {
                    let packs = self.take_packs();
                    identity = identity.map(|seen| seen.with_packs(packs));
                }
                self.push(*entry, identity, changed)
            }
            Done::Link { path, meta } => {
                let first = meta.link.and_then(|link| self.links.get(&link)).cloned();
                match first {
                    Some((size, xattrs, content)) => {
                        let meta = Meta { size, xattrs, ..meta };
                        self.push(Entry { path, meta, content }, None, false)
                    }
                    None => {
                        self.problem(Problem::new(&path, "the first name of this file could not be read"));
                        Ok(())
                    }
                }
            }
            Done::Problem(problem) => {
                self.problem(problem);
                Ok(())
            }
        }
    }

    /// A file that was read at once is all chunks; more of them than an entry holds become content nodes.
    fn fitted(&mut self, content: Content) -> Result<Content, Error> {
        self.digest = Digest::default();
        if let Content::Parts { depth: 0, parts } = &content {
            parts.iter().for_each(|part| self.digest.push(part));
        }
        let parts = match content {
            Content::Parts { depth: 0, parts } if parts.len() > ENTRY_PARTS_MAX => parts,
            fits => return Ok(fits),
        };
        let mut file = ContentBuilder::new();
        self.begin_packs();
        for part in parts {
            self.packs.extend(part.reference().map(|reference| reference.pack));
            add(&mut file, part, self.tree.nodes())?;
        }
        Ok(file.finish(self.tree.nodes())?.0)
    }

    fn begin_packs(&mut self) {
        self.packs.clear();
        self.tree.nodes().packs.clear();
    }

    /// All packs that the content of the file lies in which was added last, for whoever remembers it.
    fn take_packs(&mut self) -> Vec<PackId> {
        let mut packs = std::mem::take(&mut self.packs);
        packs.append(&mut self.tree.nodes().packs);
        packs.into_iter().collect()
    }

    fn take_segment(&mut self, parts: Vec<Part>, end: Option<Box<FileEnd>>) -> Result<(), Error> {
        if self.broken.is_none() {
            if self.file.size() == 0 {
                self.begin_packs();
                self.digest = Digest::default();
            }
            self.packs
                .extend(parts.iter().filter_map(|part| part.reference()).map(|reference| reference.pack));
            let bytes = parts.iter().map(Part::covers).sum();
            for part in parts {
                self.digest.push(&part);
                add(&mut self.file, part, self.tree.nodes())?;
            }
            self.repo.world().report(Step::Done { items: 0, bytes });
        }
        match end {
            None => Ok(()),
            Some(_) if self.broken.is_some() => {
                self.end_broken();
                Ok(())
            }
            Some(end) => self.end_file(*end),
        }
    }

    fn end_broken(&mut self) {
        self.file = ContentBuilder::new();
        if let Some(problem) = self.broken.take() {
            self.problem(problem);
        }
    }

    fn end_file(&mut self, end: FileEnd) -> Result<(), Error> {
        let mut end = end;
        let changed = match self.changed(&mut end) {
            Ok(changed) => changed,
            Err(Trouble::File(error)) => {
                self.file = ContentBuilder::new();
                self.problem(Problem::new(&end.path, error));
                return Ok(());
            }
            Err(Trouble::Run(error)) => return Err(error),
        };
        let file = std::mem::replace(&mut self.file, ContentBuilder::new());
        let (content, size) = file.finish(self.tree.nodes())?;
        let packs = self.take_packs();
        end.lacks.into_iter().for_each(|problem| self.problem(problem));
        let meta = Meta { size, ..end.meta };
        let identity = end.identity.map(|seen| seen.with_packs(packs));
        self.last = end.reader;
        self.push(Entry { path: end.path, meta, content }, identity, changed)
    }

    /// Whether the file changed while it was read. If it is worth it, it is then read a second time, and the answer is for
    /// that.
    fn changed(&mut self, end: &mut FileEnd) -> Result<bool, Trouble> {
        let Some(reader) = end.reader.clone() else { return Ok(false) };
        if !reader.changed()? {
            return Ok(false);
        }
        end.identity = None;
        if end.image {
            return Ok(true);
        }
        let mut meta = end.meta.clone();
        let reader = reader.again(&mut meta)?;
        if !again::is_worth_it(reader.size()) {
            return Ok(true);
        }
        end.lacks = reader.add_attributes(&mut meta).map(|error| Problem::new(&end.path, error));
        end.meta = meta;
        self.file = ContentBuilder::new();
        for part in self.shop.read_through(&reader)? {
            add(&mut self.file, part, self.tree.nodes())?;
        }
        Ok(reader.changed()?)
    }

    fn push(&mut self, entry: Entry, identity: Option<Seen>, changed: bool) -> Result<(), Error> {
        match self.tree.push(&entry) {
            Ok(()) => {}
            Err(Error::Refused(refused @ (Refused::TooLong(_) | Refused::Contradiction { .. }))) => {
                self.problem(Problem::new(&entry.path, refused));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        match entry.meta.kind {
            Kind::File => {
                self.sizes.files += 1;
                self.sizes.bytes_logical = self.sizes.bytes_logical.saturating_add(entry.meta.size);
            }
            Kind::Directory => self.sizes.directories += 1,
            _ => self.sizes.others += 1,
        }
        let small = entry.meta.kind == Kind::File
            && !matches!(&entry.content, Content::Parts { parts, .. } if parts.len() > 1);
        let bytes = if small { entry.meta.size } else { 0 };
        self.repo.world().report(Step::Done { items: 1, bytes });
        // One that changes just now shows it by its times.
        let (file, digest) = (self.last.take(), self.digest.clone());
        let betrayed = self.shop.expected.is_betrayed(self.repo, &entry, digest, file.as_deref())?;
        if betrayed && identity.is_some() {
            self.betrayed.push(entry.path.clone());
        }
        if changed {
            self.changed.push(entry.path.clone());
        }
        if let Some(recorder) = &mut self.recorder {
            identity.iter().for_each(|seen| recorder.push(&entry, seen));
        }
        if let Some(link) = entry.meta.link {
            self.links.entry(link).or_insert((entry.meta.size, entry.meta.xattrs, entry.content));
        }
        Ok(())
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn finish(self) -> Result<Collected, Error> {
        let (root, _, mut worker) = self.tree.finish()?;
        worker.worker.finish()?;
        Ok(Collected {
            root,
            sizes: self.sizes,
            problems: self.problems,
            changed: self.changed,
            betrayed: self.betrayed,
            skips: Skips::default(),
            paths: Vec::new(),
            recorder: self.recorder,
            read_bytes: 0,
            map: None,
        })
    }
}

/// Whether every chunk of the content is named in the entry itself.
pub(super) fn is_flat(content: &Content) -> bool {
    !matches!(content, Content::Parts { depth, .. } if *depth > 0)
}

fn add<N: format::tree::Nodes>(file: &mut ContentBuilder, part: Part, nodes: &mut N) -> Result<(), N::Error> {
    match part {
        Part::Chunk(reference) => file.chunk(reference, nodes),
        Part::Zeros(length) => Ok(file.zeros(length)?),
        Part::Node { .. } => unreachable!("content that was just read has no nodes yet"),
    }
}

/// The worker that stores nodes: like all else, a full backup uses old ones only after they were read back.
pub(super) struct TreeWorker<'s, 'w, 'r> {
    shop: &'s Workshop<'w, 'r>,
    worker: Worker<'w, 'r>,
    /// Packs that the content nodes of the file under way lie in.
    packs: BTreeSet<PackId>,
}

impl format::tree::Nodes for TreeWorker<'_, '_, '_> {
    type Error = Error;

    fn save(&mut self, node: &[u8], frames: &format::reference::FrameSet) -> Result<Reference, Error> {
        let reference = self.shop.save(&mut self.worker, node, frames)?;
        self.packs.insert(reference.pack);
        Ok(reference)
    }
}
