//! Chunks that this host stored itself, for hosts that may add and cannot open the index of the repository.
//!
//! Files of the local state, one for each flush, each ending in its own hash; many are brought together into one. A row
//! only says where a chunk was put: whether it may be referred to is asked of the session each time, so a file that is
//! lost, or one that lists what never counted, costs time and space and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use format::id::{ChunkId, Hash, PackId};
use format::reference::Reference;

use crate::error::Error;
use crate::state::{local, write_whole};

const MAGIC: &[u8; 16] = b"seawall own 1\n\0\0";

/// A row: chunk id, pack id, ordinal, offset, length; numbers little-endian.
const ROW: usize = 32 + 32 + 4 + 4 + 4;

/// More files than this become one.
const FILES_MAX: usize = 32;

/// Keeps what was stored.
pub(crate) fn keep(folder: &Path, name: &str, chunks: &[Reference]) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(local("make the folder", folder))?;
    let mut bytes = Vec::with_capacity(MAGIC.len() + chunks.len() * ROW + 32);
    bytes.extend_from_slice(MAGIC);
    for reference in chunks {
        bytes.extend_from_slice(&reference.chunk.0);
        bytes.extend_from_slice(reference.pack.as_bytes());
        for number in [reference.ordinal, reference.offset, reference.length] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    let hash = Hash::of(&bytes);
    bytes.extend_from_slice(&hash.0);
    write_whole(&folder.join(name), &bytes)
}

/// All that was kept; files that are not whole are removed. `name` is a fresh one, for what is brought together.
pub(crate) fn all(folder: &Path, name: &str) -> Vec<Reference> {
    let files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|f| f.path()).collect();
    let mut chunks = Vec::new();
    for file in &files {
        match fs::read(file).ok().as_deref().and_then(rows) {
            Some(rows) => chunks.extend(rows),
            None => drop(fs::remove_file(file)),
        }
    }
    // The new file is whole before an old one goes; whatever fails here is tried again next time.
    if files.len() > FILES_MAX && keep(folder, name, &chunks).is_ok() {
        files.iter().for_each(|file| drop(fs::remove_file(file)));
    }
    chunks
}

fn rows(bytes: &[u8]) -> Option<Vec<Reference>> {
    let (body, hash) = bytes.split_last_chunk::<32>()?;
    let (rows, rest) = body.strip_prefix(MAGIC)?.as_chunks::<ROW>();
    (rest.is_empty() && Hash::of(body) == Hash(*hash)).then_some(())?;
    rows.iter().map(row).collect()
}

fn row(row: &[u8; ROW]) -> Option<Reference> {
    let (chunk, rest) = row.split_first_chunk::<32>()?;
    let (pack, rest) = rest.split_first_chunk::<32>()?;
    let [ordinal, offset, length] = rest.as_chunks::<4>().0 else { return None };
    Some(Reference {
        chunk: ChunkId(*chunk),
        pack: PackId(*pack),
        ordinal: u32::from_le_bytes(*ordinal),
        offset: u32::from_le_bytes(*offset),
        length: u32::from_le_bytes(*length),
    })
}

#[cfg(test)]
mod tests {
    use format::id::SessionId;

    use super::*;

    fn reference(number: u8) -> Reference {
        let pack = PackId::new(SessionId([number; 16]), [1; 16]);
        Reference { chunk: ChunkId([number; 32]), pack, ordinal: 1, offset: 2, length: 3 }
    }

    #[test]
    fn what_is_kept_is_found_and_many_files_become_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(all(dir.path(), "x"), Vec::new());
        let numbers = 0..=u8::try_from(FILES_MAX).unwrap();
        for number in numbers.clone() {
            keep(dir.path(), &number.to_string(), &[reference(number)]).unwrap();
        }
        let mut found = all(dir.path(), "together");
        found.sort();
        assert_eq!(found, numbers.map(reference).collect::<Vec<_>>());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(all(dir.path(), "y").len(), found.len());
    }

    #[test]
    fn a_file_that_is_not_whole_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), "good", &[reference(1)]).unwrap();
        let whole = fs::read(dir.path().join("good")).unwrap();
        for end in 0..whole.len() {
            fs::write(dir.path().join("bad"), &whole[..end]).unwrap();
            assert_eq!(all(dir.path(), "x"), [reference(1)], "{end}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
