//! The smallest honest backup and restore on top of crates `repo` and `format`: the rules of the engine without its threads.
//!
//! A backup names its basis as a root, takes over what did not change under it, asks of everything else, and in a full one
//! relies on nothing that it did not read back. Data goes before trees, trees before the commit; the journal hears of the
//! point before the commit and of its acknowledgement behind it. A restore gives all bytes or an error.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use format::compress::Effort;
use format::fact::{Point, PointKind, Sizes};
use format::id::{PackId, PointId};
use format::meta::{FileTime, Kind, Meta};
use format::pack::ContentKind;
use format::path::TreePath;
use format::reference::{FrameId, FrameSet, Reference};
use format::tree::{Builder, Content, ContentBuilder, Entry, Nodes, Walk, content_parts};
use repo::{Error, Found, Reader, Repo, Reuse, Style, Worker, Writer, layout};
use world::{Remedied, Remedy};

use super::actor::Host;
use super::journal::{Files, Made};
use super::plant::Prank;
use super::source::{File, Remembered, Source};

/// How long a backup does nothing: when it has announced itself, when it has referred to data, and before it commits. Sweeps
/// begin and end meanwhile.
pub(super) type Pauses = [Duration; 3];

/// Makes a point of `source`; it counts when this returns.
pub(super) fn backup(
    host: &Host<'_>,
    source: &mut Source,
    kind: Option<PointKind>,
    pauses: Pauses,
) -> Result<PointId, Error> {
    let repo = host.repo;
    repo.may_add(&source.name)?;
    let basis = choose_basis(repo, &source.name, kind);
    let kind = kind.unwrap_or(if basis.is_some() { PointKind::Incremental } else { PointKind::Full });
    let kind = if knows_damage(repo, &source.name) { PointKind::Full } else { kind };
    let basis = basis.filter(|_| kind != PointKind::Full);
    let reuse = if kind == PointKind::Full { Reuse::Verified } else { Reuse::Trusted };
    let writer = Writer::open(repo, basis.into_iter().collect(), Style { effort: Effort::Level(1), reuse })?;
    host.journal().relies(host.actor, writer.accepted());
    let basis = basis.filter(|basis| writer.accepted().contains(basis));
    let made = Backup { host, writer, kind, basis, pauses }.run(source);
    host.journal().released(host.actor);
    made
}

/// The newest point, for a differential one the newest full point.
fn choose_basis(repo: &Repo, source: &str, kind: Option<PointKind>) -> Option<PointId> {
    let fold = repo.fold();
    let newest = match kind {
        Some(PointKind::Full) => None,
        Some(PointKind::Differential) => {
            fold.live(Some(source)).into_iter().rev().find(|p| p.point.kind == PointKind::Full)
        }
        _ => fold.newest(Some(source), i64::MAX, &BTreeSet::new()),
    };
    newest.map(|p| p.point.id)
}

/// Whether some point was found damaged since the last full one of this source.
fn knows_damage(repo: &Repo, source: &str) -> bool {
    let (fold, region) = (repo.fold(), repo.io().region_name().to_owned());
    let full = fold.live(Some(source)).into_iter().filter(|p| p.point.kind == PointKind::Full);
    let since = full.map(|p| p.point.as_of).max().unwrap_or(i64::MIN);
    fold.live(None).iter().any(|p| p.standing(&region).damaged.is_some_and(|found| found.time > since))
}

/// Two or three blocks share a frame, so some frames of a pack are needed and others are not.
const FRAME_BYTES: usize = 700;

struct Backup<'h, 'r> {
    host: &'h Host<'r>,
    writer: Writer<'r>,
    kind: PointKind,
    basis: Option<PointId>,
    pauses: Pauses,
}

/// Versions and contents by path.
type Contents = BTreeMap<String, (u64, Content)>;

/// What a tree came to.
struct Stored {
    root: Reference,
    frames: BTreeSet<FrameId>,
    contents: Contents,
}

impl Backup<'_, '_> {
    fn run(&self, source: &mut Source) -> Result<PointId, Error> {
        let (repo, journal) = (self.host.repo, self.host.journal());
        let (point, as_of) = (repo.fresh_point(), repo.world().now_ns());
        self.host.pause(self.pauses[0]);
        let stored = self.store(source).inspect_err(|_| drop(self.writer.abandon()))?;
        self.writer.settle()?;
        self.host.pause(self.pauses[2]);
        let made = Made::new(&source.name, source.all(), stored.frames.clone());
        journal.making(point, made);
        let committed = self.writer.commit(self.record(point, as_of, source, stored.root));
        if committed.is_ok() || self.host.plays(Prank::BelievesCommits) {
            journal.acknowledged(point);
        }
        committed?;
        self.play_pranks(&stored.frames)?;
        source.remembered = Some(Remembered { point, files: stored.contents });
        Ok(point)
    }

    /// What a planted bug does to a pack of the point, once it counts.
    fn play_pranks(&self, frames: &BTreeSet<FrameId>) -> Result<(), Error> {
        let io = self.host.repo.io();
        let Some(pack) = frames.first().map(|frame| layout::pack(frame.pack)) else { return Ok(()) };
        if self.host.plays(Prank::DeletesPacks) {
            io.delete(&pack)?;
        }
        if self.host.plays(Prank::OverwritesPacks) {
            let mut bytes = io.get(&pack)?.to_vec();
            bytes.reverse();
            io.put_seen(&pack, bytes.into())?;
        }
        Ok(())
    }

    fn store(&self, source: &Source) -> Result<Stored, Error> {
        let known = (self.writer.style().reuse == Reuse::Verified).then(|| Reader::new(self.host.repo));
        let known = known.transpose()?;
        let shelf = |kind| Shelf {
            backup: self,
            known: known.as_ref(),
            worker: self.writer.tiny_worker(kind, FRAME_BYTES),
            frames: BTreeSet::new(),
        };
        let (mut data, mut trees) = (shelf(ContentKind::Data), shelf(ContentKind::Tree));
        let mut contents = BTreeMap::new();
        for (path, file) in &source.files {
            let content = match self.unchanged(source, path, file)? {
                Some(content) => content,
                None => self.read(file, &mut data, &mut trees)?,
            };
            contents.insert(path.clone(), (file.version, content));
        }
        self.host.pause(self.pauses[1]);
        data.worker.finish()?;
        if self.host.plays(Prank::MixesFiles) {
            mix(&mut contents);
        }
        let mut builder = Builder::new(self.writer.chunk_key(), trees);
        for (path, kept) in with_folder(&contents) {
            builder.push(&entry(path, kept, source))?;
        }
        let (root, _, mut trees) = builder.finish()?;
        trees.worker.finish()?;
        let kept = contents.values().flat_map(|(_, content)| frames_in(content));
        let frames = kept.chain(trees.frames).chain(data.frames).chain([root.frame()]).collect();
        Ok(Stored { root, frames, contents })
    }

    /// The content of a file that did not change since the basis, if it may be taken over.
    fn unchanged(&self, source: &Source, path: &str, file: &File) -> Result<Option<Content>, Error> {
        let remembered = source.remembered.as_ref().filter(|last| Some(last.point) == self.basis);
        let Some((version, content)) = remembered.and_then(|last| last.files.get(path)) else {
            return Ok(None);
        };
        if *version != file.version {
            return Ok(None);
        }
        for pack in packs_in(content) {
            if !self.writer.may_take_over(pack, true)? {
                return Ok(None);
            }
        }
        Ok(Some(content.clone()))
    }

    fn read(
        &self,
        file: &File,
        data: &mut Shelf<'_, '_>,
        trees: &mut Shelf<'_, '_>,
    ) -> Result<Content, Error> {
        if file.is_tiny() {
            return Ok(Content::Inline(file.bytes().into()));
        }
        let mut content = ContentBuilder::new();
        for block in &file.blocks {
            let reference = data.save(block, &FrameSet::default())?;
            content.chunk(reference, trees)?;
        }
        Ok(content.finish(trees)?.0)
    }

    fn record(&self, id: PointId, as_of: i64, source: &Source, root: Reference) -> Point {
        let repo = self.host.repo;
        let (bytes_new, bytes_stored) = self.writer.counted();
        Point {
            id,
            source: source.name.clone(),
            host: repo.host().to_owned(),
            kind: self.kind,
            basis: self.basis,
            as_of,
            begun: as_of,
            finished: repo.world().now_ns(),
            paths: Vec::new(),
            root,
            sizes: Sizes { files: source.files.len() as u64, bytes_new, bytes_stored, ..Sizes::default() },
            problems: 0,
            problem_list: Vec::new(),
            tags: Vec::new(),
            cutter: repo.genesis().chunks.generation,
            program: "simulation".to_owned(),
            amplification: 1000,
        }
    }
}

/// A worker that keeps the rules of reuse and remembers which frames it gave out.
struct Shelf<'b, 'r> {
    backup: &'b Backup<'b, 'r>,
    known: Option<&'b Reader<'r>>,
    worker: Worker<'b, 'r>,
    frames: BTreeSet<FrameId>,
}

impl Shelf<'_, '_> {
    /// Stores a chunk, or finds it; what a full backup finds is read back first.
    fn find_or_store(&mut self, plain: &[u8], refs: &FrameSet) -> Result<Reference, Error> {
        let writer = &self.backup.writer;
        let chunk = writer.chunk_id(plain);
        let lost = match (writer.find(&chunk)?, self.known) {
            (Some(Found::Own(reference)), _) => return Ok(reference),
            (Some(Found::Known(reference)), None) => return Ok(self.shared(reference)),
            (Some(Found::Known(reference)), Some(reader)) => match reader.chunk_itself(&reference) {
                Ok(_) => return Ok(self.shared(reference)),
                Err(error) if error.remedy() != Remedy::Repair => return Err(error),
                Err(_) => Some(reference),
            },
            (Some(Found::Lost(lost)), _) => Some(lost),
            (None, _) => None,
        };
        let instead = self.worker.store(chunk, plain, refs)?;
        if let Some(lost) = lost {
            writer.substitute(lost, instead);
        }
        Ok(instead)
    }

    fn shared(&self, reference: Reference) -> Reference {
        self.backup.host.journal().count(|counts| counts.shared += 1);
        reference
    }
}

impl Nodes for Shelf<'_, '_> {
    type Error = Error;

    fn save(&mut self, plain: &[u8], refs: &FrameSet) -> Result<Reference, Error> {
        let reference = self.find_or_store(plain, refs)?;
        self.frames.insert(reference.frame());
        Ok(reference)
    }
}

/// All entries in path order: files, and the folder before what is in it.
fn with_folder(contents: &Contents) -> Vec<(&str, Option<&(u64, Content)>)> {
    let mut entries: Vec<_> = contents.iter().map(|(path, kept)| (path.as_str(), Some(kept))).collect();
    if let Some(at) = entries.iter().position(|(path, _)| path.starts_with(FOLDER)) {
        entries.insert(at, (FOLDER, None));
    }
    entries
}

/// The only folder; it comes after all names beside it.
const FOLDER: &str = "folder";

fn entry(path: &str, kept: Option<&(u64, Content)>, source: &Source) -> Entry {
    let kind = if kept.is_some() { Kind::File } else { Kind::Directory };
    let size = source.files.get(path).map_or(0, |file| file.bytes().len() as u64);
    let path = TreePath::new(path.as_bytes()).expect("names of sources are paths");
    let (version, content) =
        kept.map_or((0, Content::None), |(version, content)| (*version, content.clone()));
    let seconds = i64::try_from(version).expect("a source has few versions");
    let meta = Meta { size, mtime: FileTime { seconds, nanos: 0 }, ..Meta::new(kind) };
    Entry { path, meta, content }
}

fn references_in(content: &Content) -> impl Iterator<Item = Reference> {
    let parts = match content {
        Content::Parts { parts, .. } => parts.as_slice(),
        _ => &[],
    };
    parts.iter().filter_map(|part| part.reference().copied())
}

fn frames_in(content: &Content) -> impl Iterator<Item = FrameId> {
    references_in(content).map(|reference| reference.frame())
}

fn packs_in(content: &Content) -> BTreeSet<PackId> {
    references_in(content).map(|reference| reference.pack).collect()
}

/// A planted bug: files hold their blocks in another order.
fn mix(contents: &mut Contents) {
    for (_, content) in contents.values_mut() {
        if let Content::Parts { parts, .. } = content {
            parts.reverse();
        }
    }
}

/// What a restore does about a file that it cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// It ends with the error.
    Told,
    /// It goes on, as a planted bug.
    Hidden,
}

/// Every file of the tree below `root`, whole.
pub(super) fn restore(reader: &Reader<'_>, root: Reference, damage: Damage) -> Result<Files, Error> {
    let mut files = Files::new();
    for entry in Walk::new(reader, root) {
        let entry = entry?;
        if entry.meta.kind == Kind::File {
            let path = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
            match content_of(reader, &entry) {
                Err(_) if damage == Damage::Hidden => {}
                content => drop(files.insert(path, content?)),
            }
        }
    }
    Ok(files)
}

fn content_of(reader: &Reader<'_>, entry: &Entry) -> Result<Vec<u8>, Error> {
    if let Content::Inline(bytes) = &entry.content {
        return Ok(bytes.to_vec());
    }
    let mut bytes = Vec::new();
    for extent in content_parts(reader, entry) {
        let extent = extent?;
        match extent.chunk {
            Some(reference) => bytes.extend(reader.chunk(&reference)?),
            None => bytes.resize(bytes.len() + usize::try_from(extent.length).unwrap_or(0), 0),
        }
    }
    Ok(bytes)
}
