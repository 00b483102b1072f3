//! What stands in a target already, compared with what belongs there, chunk by chunk and by id.
//!
//! Times and sizes are not believed: every byte that is taken for right was read and hashed.

use format::reference::Reference;
use format::tree::{Content, Entry, content_parts};
use repo::Reader;
use source::directory::{FileSink, Target};

use super::Nodes;
use super::window::Piece;
use crate::error::Error;

/// Whether the file holds this chunk at this place.
pub(super) fn holds(
    sink: &FileSink,
    offset: u64,
    reference: &Reference,
    reader: &Reader<'_>,
) -> Result<bool, source::Error> {
    let mut bytes = vec![0; reference.length as usize];
    let read = sink.read_at(offset, &mut bytes)?;
    Ok(read == bytes.len() && reader.is_content_of(reference, &bytes))
}

/// The pieces that the file does not hold, found by all threads of the pool.
pub(super) fn missing(
    pool: &rayon::ThreadPool,
    sink: &FileSink,
    pieces: Vec<Piece>,
    reader: &Reader<'_>,
) -> Result<Vec<Piece>, source::Error> {
    use rayon::prelude::*;
    let look = |piece: Piece| match holds(sink, piece.offset, &piece.reference, reader) {
        Ok(true) => None,
        Ok(false) => Some(Ok(piece)),
        Err(error) => Some(Err(error)),
    };
    pool.install(|| pieces.into_par_iter().filter_map(look).collect())
}

/// Whether a stretch reads as zeros.
pub(super) fn is_zero(sink: &FileSink, offset: u64, length: u64) -> Result<bool, source::Error> {
    let mut buffer = vec![0; 1 << 20];
    let (mut at, end) = (offset, offset.saturating_add(length));
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(buffer.len()).min(buffer.len());
        let room = buffer.get_mut(..want).unwrap_or_default();
        let read = sink.read_at(at, room)?;
        if read < want || room.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += want as u64;
    }
    Ok(true)
}

/// Whether a file holds what the entry says, and no more.
pub(super) fn is_whole(target: &Target, reader: &Reader<'_>, entry: &Entry) -> Result<bool, Error> {
    let Some(sink) = target.look_at(&entry.path)? else { return Ok(false) };
    sink.forget_cached();
    let mut end = [0];
    if sink.ends_with_content() && sink.read_at(entry.meta.size, &mut end)? > 0 {
        return Ok(false);
    }
    if let Content::Inline(bytes) = &entry.content {
        let mut there = vec![0; bytes.len()];
        return Ok(sink.read_at(0, &mut there)? == bytes.len() && there[..] == **bytes);
    }
    for extent in content_parts(Nodes(reader), entry) {
        let extent = extent?;
        let right = match extent.chunk {
            Some(reference) => holds(&sink, extent.offset, &reference, reader)?,
            None => is_zero(&sink, extent.offset, extent.length)?,
        };
        if !right {
            return Ok(false);
        }
    }
    Ok(true)
}
