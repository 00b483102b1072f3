//! A window of a restore: pieces of content, gathered by the walk and handed on to be fetched.
//!
//! While one window is fetched the next is gathered, and then the walk waits: so there are two, whatever the source. Where
//! nothing is left to fetch, a small one is handed on, so that it goes on soon. A frame is fetched once per window however
//! many files need it. One very large file goes over many windows.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use format::reference::Reference;
use format::tree::{Content, Entry, Extent, Extents, content_parts};

use super::files::{FileState, Files};
use super::{Limits, Nodes, compare};
use crate::budget::FILE_BYTES;
use crate::error::{Error, Problem};

/// A window of this part of its size is handed on where nothing else is left to fetch.
const SMALL_PART: usize = 8;

/// A piece of content: where it goes and where it is.
pub(super) struct Piece {
    pub(super) file: Arc<FileState>,
    pub(super) offset: u64,
    pub(super) reference: Reference,
}

/// What a window hands on, and what it takes in memory.
pub(super) struct Gathered {
    pub(super) pieces: Vec<Piece>,
    pub(super) bytes: usize,
}

/// Some parts of a file in order.
#[derive(Default)]
struct Parts {
    chunks: Vec<(u64, Reference)>,
    zeros: Vec<(u64, u64)>,
    /// Whether more may follow.
    goes_on: bool,
}

pub(super) struct Window<'a, 'f, 'r> {
    files: &'a Files<'f, 'r>,
    hand_over: SyncSender<Gathered>,
    limits: Limits,
    pieces: Vec<Piece>,
    /// Files that were begun for these pieces.
    begun: usize,
}

impl<'a, 'f, 'r> Window<'a, 'f, 'r> {
    pub(super) fn new(
        files: &'a Files<'f, 'r>,
        hand_over: SyncSender<Gathered>,
        limits: Limits,
    ) -> Window<'a, 'f, 'r> {
        Window { files, hand_over, limits, pieces: Vec::new(), begun: 0 }
    }

    /// Plans a file; tiny ones are written at once. The caller has seen to further names.
    pub(super) fn file(&mut self, entry: Entry, pool: &rayon::ThreadPool) -> Result<(), Error> {
        let Files { target, reader, .. } = *self.files;
        // Something else may stand where a directory belongs.
        if !target.is_vacant()
            && let Some(parent) = entry.path.parent()
        {
            target.directory(&parent)?;
        }
        // Of several names, and right as it is: it is neither changed nor made anew.
        if entry.meta.link.is_some()
            && target.is_linked_and_dressed(&entry.path, &entry.meta)
            && compare::is_whole(target, reader, &entry).unwrap_or(false)
        {
            let mut report = self.files.report();
            report.files += 1;
            report.bytes = report.bytes.saturating_add(entry.meta.size);
            return Ok(());
        }
        match &entry.content {
            Content::Inline(bytes) => {
                let old = target.take_up(&entry.path, entry.meta.size)?;
                let (sink, written) = match old {
                    Some(sink) => {
                        sink.set_size(entry.meta.size)?;
                        let written = sink.write_differing(0, bytes)?;
                        (sink, written)
                    }
                    None => {
                        let sink = target.file(&entry.path, 0)?;
                        sink.write_at(0, bytes)?;
                        (sink, bytes.len() as u64)
                    }
                };
                let finished = sink.finish(&entry.meta);
                let mut report = self.files.report();
                report.written_bytes += written;
                report.note_file(&entry.path, &entry.meta, finished);
                Ok(())
            }
            Content::None => Err(Error::Request("a regular file without content".into())),
            Content::Parts { .. } => self.plan(entry, pool),
        }
    }

    /// Plans a file from its first part to its last, in as many windows as it takes. Nothing is touched before the first
    /// parts are known, and a file whose parts get lost behind them is given up.
    fn plan(&mut self, entry: Entry, pool: &rayon::ThreadPool) -> Result<(), Error> {
        let mut extents = content_parts(Nodes(self.files.reader), &entry);
        let mut parts = match self.next_parts(&mut extents) {
            Err(error) if super::is_damage(&error) => {
                let problem = Problem { path: entry.path, what: error.to_string(), damaged: true };
                self.files.report().problems.push(problem);
                return Ok(());
            }
            parts => parts?,
        };
        let old = self.files.target.take_up(&entry.path, entry.meta.size)?.map(Arc::new);
        if let Some(sink) = &old {
            sink.set_size(entry.meta.size)?;
        }
        let file = self.files.begin(entry.path, entry.meta, old.clone());
        self.begun += 1;
        loop {
            let goes_on = parts.goes_on;
            self.add(&file, old.as_deref(), parts, pool);
            if !goes_on || self.files.is_given_up(&file) || self.files.is_stopped() {
                break;
            }
            parts = match self.next_parts(&mut extents) {
                Ok(parts) => parts,
                Err(error) => {
                    self.files.lose(&file, error, "");
                    break;
                }
            };
        }
        drop(old);
        self.files.planned(&file);
        Ok(())
    }

    /// So many parts as are planned at once, or those that are left.
    fn next_parts(&self, extents: &mut Extents<Nodes<'_, '_>>) -> Result<Parts, Error> {
        let mut parts = Parts::default();
        for extent in extents.by_ref().take(self.limits.parts_at_once.max(1)) {
            match extent? {
                Extent { offset, chunk: Some(reference), .. } => parts.chunks.push((offset, reference)),
                Extent { offset, length, chunk: None } => parts.zeros.push((offset, length)),
            }
        }
        parts.goes_on = parts.chunks.len() + parts.zeros.len() == self.limits.parts_at_once.max(1);
        Ok(parts)
    }

    /// Adds parts of a file, without those that `old`, which stands there, holds already.
    fn add(
        &mut self,
        file: &Arc<FileState>,
        old: Option<&source::directory::FileSink>,
        parts: Parts,
        pool: &rayon::ThreadPool,
    ) {
        let piece = |(offset, reference)| Piece { file: file.clone(), offset, reference };
        let mut pieces: Vec<Piece> = parts.chunks.into_iter().map(piece).collect();
        if let Some(sink) = old {
            if self.files.target.compares() {
                match compare::missing(pool, sink, pieces, self.files.reader) {
                    Ok(missing) => pieces = missing,
                    Err(error) => return self.files.fail(file, error),
                }
            }
            for (offset, length) in parts.zeros {
                match sink.zero(offset, length) {
                    Ok(written) => self.files.report().written_bytes += written,
                    Err(error) => return self.files.fail(file, error),
                }
            }
        }
        self.files.expect(file, pieces.iter().map(|piece| u64::from(piece.reference.length)).sum());
        self.pieces.append(&mut pieces);
        let bytes = self.bytes();
        if bytes >= self.limits.window_bytes {
            self.flush();
        } else if bytes >= self.limits.window_bytes / SMALL_PART {
            self.flush_if_wanted();
        }
    }

    /// What the window takes in memory.
    fn bytes(&self) -> usize {
        self.pieces.len() * size_of::<Piece>() + self.begun * FILE_BYTES
    }

    /// Hands on what was gathered, as soon as the window before has been taken up.
    pub(super) fn flush(&mut self) {
        let gathered = self.take();
        if !gathered.pieces.is_empty() {
            // Nobody takes it where the run is at its end; its files are not whole then, and are named.
            let _ = self.hand_over.send(gathered);
        }
    }

    /// Hands on what was gathered if somebody waits for it.
    fn flush_if_wanted(&mut self) {
        let begun = self.begun;
        let gathered = self.take();
        if let Err(TrySendError::Full(back)) = self.hand_over.try_send(gathered) {
            (self.pieces, self.begun) = (back.pieces, begun);
        }
    }

    fn take(&mut self) -> Gathered {
        let bytes = self.bytes();
        self.begun = 0;
        Gathered { pieces: std::mem::take(&mut self.pieces), bytes }
    }
}
