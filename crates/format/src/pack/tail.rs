//! The last bytes of a pack: who it belongs to and how its directory is opened.

use super::{ContentKind, DIRECTORY_BYTES_MAX, DIRECTORY_ORDINAL, Directory, Place, SUITE, WHAT};
use crate::cbor::Malformed;
use crate::error::Error;
use crate::id::{DomainId, PackId, RepoId};
use crate::key::Bundle;
use crate::limit::PACK_BYTES_MAX;
use crate::object::{HEAD_BYTES, ObjectKind};
use crate::seal::Enc;

/// Length of a pack's tail.
pub const TAIL_BYTES: usize = 2410;

/// A pack's tail; nothing in it is secret, nothing in it is believed before the directory opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// What the frames hold.
    pub kind: ContentKind,
    /// Generation of the keys.
    pub generation: u32,
    /// The repository.
    pub repo: RepoId,
    /// The domain.
    pub domain: DomainId,
    /// The pack.
    pub pack: PackId,
    pub(super) data_enc: Enc,
    pub(super) directory_enc: Enc,
    pub(super) data_commitment: [u8; 32],
    pub(super) directory_commitment: [u8; 32],
    /// Length of the sealed directory.
    pub directory_length: u32,
}

impl Tail {
    /// The first 86 bytes: what the directory is bound to.
    pub(super) fn identity(&self) -> Vec<u8> {
        crate::seal::join(&[
            &[SUITE, self.kind.number()],
            &self.generation.to_le_bytes(),
            &self.repo.0,
            &self.domain.0,
            &self.pack.0,
        ])
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.identity());
        bytes.extend_from_slice(&self.data_enc.0[..]);
        bytes.extend_from_slice(&self.directory_enc.0[..]);
        bytes.extend_from_slice(&self.data_commitment);
        bytes.extend_from_slice(&self.directory_commitment);
        bytes.extend_from_slice(&self.directory_length.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&ObjectKind::Pack.head());
    }

    /// Reads the tail at the end of `bytes`, which may be all of the pack or its last part.
    pub fn decode(bytes: &[u8]) -> Result<Tail, Error> {
        let short = || Malformed::new(WHAT, "shorter than its tail");
        let tail = bytes.last_chunk::<TAIL_BYTES>().ok_or_else(short)?;
        let mut fields = Fields(tail);
        let ([suite, kind], generation) = (fields.take::<2>()?, u32::from_le_bytes(fields.take()?));
        let (repo, domain, pack) = (RepoId(fields.take()?), DomainId(fields.take()?), PackId(fields.take()?));
        let (data_enc, directory_enc) = (Enc(Box::new(fields.take()?)), Enc(Box::new(fields.take()?)));
        let (data_commitment, directory_commitment) = (fields.take()?, fields.take()?);
        let (directory_length, zero) = (u32::from_le_bytes(fields.take()?), fields.take::<6>()?);
        ObjectKind::Pack.strip(&fields.take::<HEAD_BYTES>()?)?;
        if suite != SUITE || zero != [0; 6] || directory_length as usize > DIRECTORY_BYTES_MAX {
            return Err(Malformed::new(WHAT, "its tail makes no sense").into());
        }
        let kind = ContentKind::from_number(kind)?;
        Ok(Tail {
            kind,
            generation,
            repo,
            domain,
            pack,
            data_enc,
            directory_enc,
            data_commitment,
            directory_commitment,
            directory_length,
        })
    }

    /// Where the sealed directory lies in a pack of this size.
    pub fn directory_range(&self, size: u64) -> Result<std::ops::Range<u64>, Error> {
        let bad = || Malformed::new(WHAT, "its directory does not fit into it");
        let end = size.checked_sub(TAIL_BYTES as u64).ok_or_else(bad)?;
        let start = end.checked_sub(u64::from(self.directory_length)).ok_or_else(bad)?;
        if size > PACK_BYTES_MAX || start < HEAD_BYTES as u64 {
            return Err(bad().into());
        }
        Ok(start..end)
    }

    /// Opens the directory of the pack `expected` of `repo` with the catalog key.
    pub fn open_directory(
        &self,
        expected: PackId,
        bundle: &Bundle,
        size: u64,
        sealed: &[u8],
    ) -> Result<Directory, Error> {
        if self.pack != expected || self.repo != bundle.repo || self.domain != bundle.domain {
            return Err(Error::Foreign(WHAT));
        }
        let place = Place {
            kind: self.kind,
            repo: self.repo,
            domain: self.domain,
            generation: self.generation,
            pack: self.pack,
        };
        let generation = bundle.generation(self.generation)?;
        let secret = generation.catalog.as_ref().ok_or(Error::NoKey("opening directories"))?;
        let key = secret.decapsulate(&place.info("seawall 1 directory"), &self.directory_enc)?;
        key.check(WHAT, &self.directory_commitment)?;
        let mut plain = Vec::new();
        key.open("a pack's directory", &mut plain, DIRECTORY_ORDINAL, &self.identity(), sealed)?;
        Directory::decode(&plain, self, self.directory_range(size)?.start)
    }
}

struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) =
            self.0.split_first_chunk().ok_or_else(|| Malformed::new(WHAT, "shorter than its tail"))?;
        self.0 = rest;
        Ok(*field)
    }
}
