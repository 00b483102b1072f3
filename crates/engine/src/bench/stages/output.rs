//! The files that come back: made, written and finished as a restore does it.

use std::collections::VecDeque;
use std::path::Path;

use format::meta::Meta;
use format::path::TreePath;
use source::directory::{Existing, FileSink, Ownership, Target};

use crate::error::Error;

/// Files under way, by their number. Those in front that are done are forgotten.
pub(super) struct Output {
    target: Target,
    first: usize,
    files: VecDeque<Option<File>>,
}

struct File {
    path: TreePath,
    meta: Meta,
    left: u64,
    sink: Option<FileSink>,
}

impl Output {
    pub(super) fn open(into: &Path) -> Result<Output, Error> {
        let target = Target::open(into, Existing::Refuse, Ownership::ByName)?;
        Ok(Output { target, first: 0, files: VecDeque::new() })
    }

    /// Expects the next file.
    pub(super) fn expect(&mut self, path: TreePath, meta: Meta) {
        let left = meta.size;
        self.files.push_back(Some(File { path, meta, left, sink: None }));
    }

    /// Writes content.
    pub(super) fn write(&mut self, number: usize, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if let Some(file) = self.file(number) {
            let sink = match file.sink.take() {
                Some(sink) => sink,
                None => self.make(number)?,
            };
            sink.write_at(offset, bytes)?;
            if let Some(file) = self.file(number) {
                file.sink = Some(sink);
            }
        }
        self.settle(number, bytes.len() as u64)
    }

    /// Notes that so many bytes of a file need not be written, or were: after the last one it gets its metadata.
    pub(super) fn settle(&mut self, number: usize, length: u64) -> Result<(), Error> {
        let Some(file) = self.file(number) else { return Ok(()) };
        file.left = file.left.saturating_sub(length);
        if file.left > 0 {
            return Ok(());
        }
        let sink = match file.sink.take() {
            Some(sink) => sink,
            None => self.make(number)?,
        };
        if let Some(file) = number.checked_sub(self.first).and_then(|at| self.files.get_mut(at)?.take()) {
            sink.finish(&file.meta)?;
        }
        while self.files.front().is_some_and(Option::is_none) {
            self.files.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    /// Waits until all is on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        Ok(self.target.sync()?)
    }

    fn file(&mut self, number: usize) -> Option<&mut File> {
        self.files.get_mut(number.checked_sub(self.first)?)?.as_mut()
    }

    fn make(&mut self, number: usize) -> Result<FileSink, Error> {
        let file = number.checked_sub(self.first).and_then(|at| self.files.get(at)?.as_ref());
        let file = file.expect("a file is made while it is expected");
        Ok(self.target.file(&file.path, file.meta.size)?)
    }
}
