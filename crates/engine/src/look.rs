//! Looking into a point without bringing it back.

use std::io::Write;

use format::meta::Kind;
use format::path::TreePath;
use format::tree::{Content, Entry, Walk, content_parts};
use repo::{PointRecord, Reader, Repo};

use crate::error::Error;
use crate::restore::Nodes;

/// The first path that could stand behind everything below `path`; `None` where that is no path.
fn behind(path: &TreePath) -> Option<TreePath> {
    let first = [path.as_bytes(), b"\x01"].concat();
    if path.is_root() { None } else { TreePath::new(&first).ok() }
}

/// A point opened to be looked into.
pub struct Look<'r> {
    reader: Reader<'r>,
    point: PointRecord,
}

impl<'r> Look<'r> {
    /// Opens a point.
    pub fn new(repo: &'r Repo, point: PointRecord) -> Result<Look<'r>, Error> {
        Ok(Look { reader: Reader::new(repo)?, point })
    }

    /// All entries at and below `under`, in path order.
    pub fn entries(&self, under: &TreePath) -> impl Iterator<Item = Result<Entry, Error>> {
        Walk::new(Nodes(&self.reader), self.point.point.root).under(under.clone())
    }

    /// The same, but nothing deeper than `components` components: what lies below those is not read.
    pub fn entries_to(
        &self,
        under: &TreePath,
        components: usize,
    ) -> impl Iterator<Item = Result<Entry, Error>> {
        let mut walk = Walk::new(Nodes(&self.reader), self.point.point.root).under(under.clone());
        std::iter::from_fn(move || {
            loop {
                let entry = match walk.next()? {
                    Ok(entry) => entry,
                    error => return Some(error),
                };
                let depth = entry.path.components().count();
                if depth >= components
                    && entry.meta.kind == Kind::Directory
                    && let Some(behind) = behind(&entry.path)
                {
                    walk.seek(&behind);
                }
                if depth <= components {
                    return Some(Ok(entry));
                }
            }
        })
    }

    /// The entry at `path`.
    pub fn entry(&self, path: &TreePath) -> Result<Entry, Error> {
        let found = format::tree::lookup(Nodes(&self.reader), self.point.point.root, path)?;
        found.ok_or_else(|| Error::NoPath(path.to_string()))
    }

    /// Writes a regular file's content, each chunk checked before it is written.
    pub fn cat(&self, path: &TreePath, to: &mut dyn Write) -> Result<(), Error> {
        let entry = self.entry(path)?;
        let write = |to: &mut dyn Write, bytes: &[u8]| {
            to.write_all(bytes).map_err(|error| Error::Output(error.to_string(), error.kind()))
        };
        match &entry.content {
            Content::None => return Err(Error::Request(format!("{path} is not a regular file"))),
            Content::Inline(bytes) => write(to, bytes)?,
            Content::Parts { .. } => {
                let zeros = [0; 64 << 10];
                for extent in content_parts(Nodes(&self.reader), &entry) {
                    let extent = extent?;
                    match extent.chunk {
                        Some(reference) => write(to, &self.reader.chunk(&reference)?)?,
                        None => {
                            let mut left = extent.length;
                            while left > 0 {
                                let part = usize::try_from(left).unwrap_or(zeros.len()).min(zeros.len());
                                write(to, zeros.get(..part).unwrap_or(&zeros))?;
                                left -= part as u64;
                            }
                        }
                    }
                }
            }
        }
        to.flush().map_err(|error| Error::Output(error.to_string(), error.kind()))
    }
}
