//! What stands in a target already, compared with what belongs there, chunk by chunk and by id.
//!
//! Times and sizes are not believed: every byte that is taken for right was read and hashed.

use format::reference::Reference;
use repo::Reader;
use source::directory::FileSink;

use super::window::Piece;

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
