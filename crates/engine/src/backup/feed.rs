//! The feed: the walk, cut into units that are handed out in path order within the budget.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use format::fact::{PointKind, Sizes};
use format::id::{PackId, PointId};
use format::meta::{FileTime, Kind, Meta};
use format::path::TreePath;
use format::tree::{Content, Entry, INLINE_BYTES_MAX, Part};
use rayon::Scope;
use source::directory::{Found, Item, Reader, Scan, Selection, Skipped, Stretch};
use source::stream::Stream;
use world::World;

use super::again::Share;
use super::collect::{Done, FileEnd, Unit, is_flat};
use super::work::{Ends, Pending, Place, Row, Ticket, Workshop, lock};
use super::{LeftOut, Preview};
use crate::basis::{Basis, Places};
use crate::budget::{
    AHEAD_BATCHES, AHEAD_NAMES, BATCH_BYTES, BATCH_FILES, ENTRY_BYTES, READY_ENTRIES, SEGMENT_BYTES,
    SPARSE_BYTES_MIN,
};
use crate::error::{Error, Problem};

/// Where content comes from.
pub(super) enum Source {
    /// A walk of the file system, and the paths that were asked for.
    Walk(Box<Scan>, Vec<PathBuf>),
    /// One stream.
    Stream(Stream),
}

impl Source {
    /// Starts the walk; a path that does not exist is an error here.
    pub(super) fn walk(selection: &Selection, world: &World) -> Result<Source, Error> {
        let paths = selection.roots.iter().map(|root| std::path::absolute(root).unwrap_or(root.clone()));
        Ok(Source::Walk(Box::new(source::directory::scan(selection, world)?), paths.collect()))
    }

    /// The instant before the first read, if entries can be remembered at all.
    pub(super) fn start(&self) -> Option<FileTime> {
        match self {
            Source::Walk(scan, _) => Some(scan.start()),
            Source::Stream(_) => None,
        }
    }

    /// The paths that were asked for.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        match self {
            Source::Walk(_, paths) => paths.clone(),
            Source::Stream(_) => Vec::new(),
        }
    }
}

/// What is remembered of the point that this one is compared with.
pub(super) fn remembered(places: &Places, kind: Option<PointKind>, basis: PointId) -> Option<Basis> {
    let path = if kind == Some(PointKind::Differential) { &places.full } else { &places.last };
    Basis::open(path, basis)
}

/// Walks without reading any content.
pub(super) fn preview(
    selection: &Selection,
    mut basis: Option<Basis>,
    world: &World,
) -> Result<Preview, Error> {
    let (mut preview, mut links) = (Preview::default(), HashSet::new());
    for item in source::directory::scan(selection, world)? {
        match item {
            Item::Entry(found) => {
                // Only the first name of a file is read.
                let further = found.meta.link.is_some_and(|link| !links.insert(link));
                count(&mut preview.sizes, &found, basis.as_mut(), further);
            }
            Item::Problem(problem) => preview.problems.push(Problem::new(&problem.path, problem.error)),
            Item::Skipped(name) if name.reason.is_asked_for() => preview.left_out.add(name),
            Item::Skipped(_) => {}
        }
    }
    Ok(preview)
}

fn count(sizes: &mut Sizes, found: &Found, basis: Option<&mut Basis>, further: bool) {
    match found.meta.kind {
        Kind::File => {
            sizes.files += 1;
            sizes.bytes_logical = sizes.bytes_logical.saturating_add(found.meta.size);
            if !further && basis.is_none_or(|basis| basis.unchanged(found).is_none()) {
                sizes.bytes_new = sizes.bytes_new.saturating_add(found.meta.size);
            }
        }
        Kind::Directory => sizes.directories += 1,
        _ => sizes.others += 1,
    }
}

/// Walks until nobody takes what is found.
fn look_ahead(scan: Scan, ahead: &SyncSender<Vec<Item>>) {
    let mut scan = scan;
    loop {
        let batch: Vec<Item> = scan.by_ref().take(AHEAD_NAMES).collect();
        if batch.is_empty() || ahead.send(batch).is_err() {
            return;
        }
    }
}

/// Names that the walk left out.
#[derive(Default)]
pub(super) struct Skips {
    /// Those that nobody asked to leave out.
    pub(super) others: Vec<TreePath>,
    /// The rest.
    pub(super) asked_for: LeftOut,
}

impl Skips {
    fn add(&mut self, name: Skipped) {
        match name.reason.is_asked_for() {
            true => self.asked_for.add(name),
            false => self.others.push(name.path),
        }
    }
}

/// Hands out units.
pub(super) struct Feed<'f, 'scope, 'w, 'r> {
    pub(super) shop: &'scope Workshop<'w, 'r>,
    pub(super) scope: &'f Scope<'scope>,
    results: Sender<(u64, usize, Unit)>,
    basis: Option<Basis>,
    pub(super) rooted: bool,
    skips: &'f Mutex<Skips>,
    number: u64,
    batch: Vec<Pending>,
    batch_reads: usize,
    batch_bytes: u64,
    links: HashSet<u64>,
    /// What is read although it seems unchanged.
    share: Share,
}

impl<'f, 'scope, 'w: 'scope, 'r: 'scope> Feed<'f, 'scope, 'w, 'r> {
    pub(super) fn new(
        shop: &'scope Workshop<'w, 'r>,
        scope: &'f Scope<'scope>,
        results: Sender<(u64, usize, Unit)>,
        basis: Option<(Basis, bool)>,
        skips: &'f Mutex<Skips>,
        share: Share,
    ) -> Self {
        let (basis, rooted) = basis.unzip();

        Feed {
            shop,
            scope,
            results,
            basis,
            rooted: rooted.unwrap_or(false),
            skips,
            number: 0,
            batch: Vec::new(),
            batch_reads: 0,
            batch_bytes: 0,
            links: HashSet::new(),
            share,
        }
    }

    /// Feeds everything; ends early if the run has failed.
    pub(super) fn feed(mut self, source: Source) -> Result<(), Error> {
        match source {
            Source::Walk(scan, paths) => self.walk(*scan, &paths)?,
            Source::Stream(stream) => self.stream(stream)?,
        }
        self.flush_batch();
        Ok(())
    }

    /// The walk runs a little ahead on a thread of its own, as it waits for the system at each name.
    fn walk(&mut self, scan: Scan, paths: &[PathBuf]) -> Result<(), Error> {
        std::thread::scope(|threads| {
            let (ahead, items) = sync_channel(AHEAD_BATCHES);
            threads.spawn(move || look_ahead(scan, &ahead));
            // When this returns early, the walk finds nobody who takes its next batch.
            for item in items.into_iter().flatten() {
                if self.shop.has_failed() {
                    break;
                }
                match item {
                    Item::Entry(found) => self.entry(found, paths)?,
                    Item::Problem(problem) => {
                        self.ready(Done::Problem(Problem::new(&problem.path, problem.error)));
                    }
                    Item::Skipped(name) => lock(self.skips).add(name),
                }
            }
            Ok(())
        })
    }

    fn entry(&mut self, mut found: Found, paths: &[PathBuf]) -> Result<(), Error> {
        if found.path.is_root() && found.meta.kind != Kind::Directory {
            found.path = self.root_for_one_file(&found.meta, paths)?;
        }
        if found.meta.kind != Kind::File {
            let lacks = found.add_attributes().map(|error| Problem::new(&found.path, error));
            let entry = Entry { path: found.path, meta: found.meta, content: Content::None };
            self.ready(Done::Entry { entry: Box::new(entry), identity: None, changed: false, lacks });
            return Ok(());
        }
        if let Some(link) = found.meta.link
            && !self.links.insert(link)
        {
            self.ready(Done::Link { path: found.path, meta: found.meta });
            return Ok(());
        }
        // A map says what changed, whatever the times say.
        if self.shop.map.is_none()
            && let Some((entry, packs, alike)) = self.unchanged(&found)?
        {
            if self.share.holds(&found.path) {
                self.shop.expected.note(found.path.clone(), entry.content, alike);
                return self.read(found);
            }
            let identity = self.shop.seen(&found).map(|seen| seen.with_packs(packs));
            self.ready(Done::Entry { entry: Box::new(entry), identity, changed: false, lacks: None });
            return Ok(());
        }
        self.read(found)
    }

    fn read(&mut self, found: Found) -> Result<(), Error> {
        if found.image && found.meta.size > INLINE_BYTES_MAX as u64 {
            return self.image(&found);
        }
        if found.meta.size > SEGMENT_BYTES as u64 || (found.sparse && found.meta.size > SPARSE_BYTES_MIN) {
            self.large(&found)
        } else {
            self.small(found)
        }
        Ok(())
    }

    /// A single file is kept in an otherwise empty folder, so that restoring it gives a file with its name.
    fn root_for_one_file(&mut self, meta: &Meta, paths: &[PathBuf]) -> Result<TreePath, Error> {
        use std::os::unix::ffi::OsStrExt;
        let name =
            paths.first().and_then(|path| path.file_name()).map_or(&b"content"[..], |name| name.as_bytes());
        let path = TreePath::new(name)
            .map_err(|why| Error::Request(format!("the file's name cannot be kept: {why}")))?;
        self.folder(meta);
        Ok(path)
    }

    fn folder(&mut self, like: &Meta) {
        let meta = Meta {
            mode: 0o700,
            uid: like.uid,
            gid: like.gid,
            user: like.user.clone(),
            group: like.group.clone(),
            mtime: like.mtime,
            ..Meta::new(Kind::Directory)
        };
        let entry = Entry { path: TreePath::root(), meta, content: Content::None };
        self.ready(Done::Entry { entry: Box::new(entry), identity: None, changed: false, lacks: None });
    }

    /// The entry of a file that has not changed and whose content is still where it was, every pack of it; and whether it was
    /// cut as it would be cut now.
    fn unchanged(&mut self, found: &Found) -> Result<Option<(Entry, Vec<PackId>, bool)>, Error> {
        let Some((entry, packs, alike)) = self.basis.as_mut().and_then(|basis| basis.unchanged(found)) else {
            return Ok(None);
        };
        if !is_flat(&entry.content) && packs.is_empty() {
            return Ok(None);
        }
        for pack in entry.references().map(|reference| reference.pack).chain(packs.iter().copied()) {
            if !self.shop.writer.may_take_over(pack, self.rooted)? {
                return Ok(None);
            }
        }
        Ok(Some((entry, packs, alike)))
    }

    fn small(&mut self, found: Found) {
        self.batch_bytes = self.batch_bytes.saturating_add(found.meta.size);
        self.batch_reads += 1;
        self.batch.push(Pending::Read(Box::new(found)));
        if self.batch_reads >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES {
            self.flush_batch();
        }
    }

    fn ready(&mut self, done: Done) {
        self.batch.push(Pending::Done(done));
        if self.batch.len() >= READY_ENTRIES {
            self.flush_batch();
        }
    }

    /// Hands the batch on: to a worker if there is something to read, else straight to the collector.
    fn flush_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return;
        }
        let reads = std::mem::take(&mut self.batch_reads);
        let bytes = usize::try_from(std::mem::take(&mut self.batch_bytes)).unwrap_or(usize::MAX);
        let ticket = self.ticket(bytes.saturating_add(batch.len() * ENTRY_BYTES));
        let shop = self.shop;
        if reads > 0 {
            self.scope.spawn(move |_| shop.batch(batch, ticket));
        } else {
            shop.batch(batch, ticket);
        }
    }

    pub(super) fn ticket(&mut self, bytes: usize) -> Ticket {
        let bytes = self.shop.budget.take(bytes);
        let number = self.number;
        self.number += 1;
        Ticket { number, bytes, results: self.results.clone() }
    }

    fn segment_ticket(&mut self) -> Ticket {
        self.ticket(SEGMENT_BYTES.saturating_add(self.shop.headroom()))
    }

    /// Opens a file that is handed out in parts, behind all that was found before it; what cannot be opened is named.
    pub(super) fn begin_large(&mut self, found: &Found) -> Option<(Arc<Reader>, Box<FileEnd>)> {
        self.flush_batch();
        let reader = match found.open() {
            Ok(reader) => Arc::new(reader),
            Err(error) => {
                self.ready(Done::Problem(Problem::new(&found.path, error)));
                return None;
            }
        };
        let mut meta = found.meta.clone();
        let lacks = reader.add_attributes(&mut meta).map(|error| Problem::new(&found.path, error));
        let (path, identity) = (found.path.clone(), self.shop.seen(found));
        let end = FileEnd { path, meta, identity, reader: Some(reader.clone()), image: found.image, lacks };
        Some((reader, Box::new(end)))
    }

    fn large(&mut self, found: &Found) {
        let Some((reader, end)) = self.begin_large(found) else { return };
        let mut end = Some(end);
        let stretches = if found.sparse { reader.stretches() } else { Vec::new() };
        let whole = Stretch { offset: 0, length: found.meta.size, hole: false };
        let last = stretches.len().saturating_sub(1);
        let stretches = if stretches.is_empty() { vec![whole] } else { stretches };
        for (number, stretch) in stretches.into_iter().enumerate() {
            if self.shop.has_failed() {
                return;
            }
            let end = if number == last { end.take() } else { None };
            match stretch.hole {
                true => self.ticket(0).send(Unit::Segment(vec![Part::Zeros(stretch.length)], end)),
                false => self.stretch(&reader, &found.path, stretch, found.sparse, end),
            }
        }
    }

    /// Hands out the segments of a stretch of data. What was added to a file since it was listed belongs to its last
    /// segment, but holes begin where they were seen.
    fn stretch(
        &mut self,
        reader: &Arc<Reader>,
        path: &TreePath,
        stretch: Stretch,
        exact: bool,
        mut end: Option<Box<FileEnd>>,
    ) {
        let row = Arc::new(Row::default());
        let last = stretch.length.saturating_sub(1) / SEGMENT_BYTES as u64;
        for index in 0..=last {
            if self.shop.has_failed() {
                return;
            }
            let from = index.saturating_mul(SEGMENT_BYTES as u64);
            let left = if exact { stretch.length.saturating_sub(from) } else { u64::MAX };
            let length = usize::try_from(left).unwrap_or(SEGMENT_BYTES).min(SEGMENT_BYTES);
            let place = Place { exact, offset: stretch.offset.saturating_add(from), length };
            let ends = if index == last { Ends::Row(end.take()) } else { Ends::Not };
            let ticket = self.segment_ticket();
            let (shop, row, reader, path) = (self.shop, row.clone(), reader.clone(), path.clone());
            self.scope.spawn(move |scope| {
                let filled = shop.read_segment(&reader, &path, place);
                shop.segment(row, index, filled, (ends, ticket), scope);
            });
        }
    }

    fn stream(&mut self, mut stream: Stream) -> Result<(), Error> {
        let path = stream.path().clone();
        self.folder(&stream.owner());
        self.flush_batch();
        let row = Arc::new(Row::default());
        let mut index = 0;
        let mut current = self.fill(&mut stream)?;
        loop {
            let full = current.len() >= self.shop.headroom().saturating_add(SEGMENT_BYTES);
            let next = if full { self.fill(&mut stream)? } else { Vec::new() };
            let last = !full || next.len() <= self.shop.headroom();
            if last {
                // The command's exit status decides before the last piece is handed on.
                let meta = stream.finish()?;
                let data = current.get(self.shop.headroom()..).unwrap_or_default();
                if index == 0 && data.len() <= INLINE_BYTES_MAX {
                    let entry = Entry { path, meta, content: Content::Inline(data.into()) };
                    self.ready(Done::Entry {
                        entry: Box::new(entry),
                        identity: None,
                        changed: false,
                        lacks: None,
                    });
                    return Ok(());
                }
                let end = FileEnd { path, meta, identity: None, reader: None, image: false, lacks: None };
                self.hand_on(row, index, current, Some(Box::new(end)));
                return Ok(());
            }
            self.hand_on(row.clone(), index, std::mem::replace(&mut current, next), None);
            index += 1;
            if self.shop.has_failed() {
                return Ok(());
            }
        }
    }

    fn fill(&mut self, stream: &mut Stream) -> Result<Vec<u8>, Error> {
        let mut buffer = self.shop.buffer();
        let headroom = self.shop.headroom();
        buffer.resize(headroom.saturating_add(SEGMENT_BYTES), 0);
        let read = stream.read(buffer.get_mut(headroom..).unwrap_or_default())?;
        self.shop.count_read(read);
        buffer.truncate(headroom.saturating_add(read));
        Ok(buffer)
    }

    fn hand_on(&mut self, row: Arc<Row>, index: u64, buffer: Vec<u8>, end: Option<Box<FileEnd>>) {
        let (ticket, shop) = (self.segment_ticket(), self.shop);
        let ends = end.map_or(Ends::Not, |end| Ends::Row(Some(end)));
        self.scope.spawn(move |scope| shop.segment(row, index, Ok(buffer), (ends, ticket), scope));
    }
}
