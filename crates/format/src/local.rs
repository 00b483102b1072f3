//! Files that a host keeps for itself are sealed too: what they list of other hosts' data is not to be read from a stolen
//! disk, and what a failing disk gives back is not to be believed.
//!
//! They are no part of the repository: nobody else reads them, and whoever cannot open one throws it away. A file has a
//! salt of its own and so a key of its own, under which every block is sealed once, by its place.

use crate::error::Error;
use crate::id::{DomainId, RepoId};
use crate::key::Generation;
use crate::seal::{SEAL_OVERHEAD, SealKey};

const WHAT: &str = "a file of the local state";

/// Bytes that sealing adds to a block.
pub const LOCAL_OVERHEAD: usize = SEAL_OVERHEAD;

/// What seals and opens the blocks of one file.
pub struct LocalKey(SealKey);

impl LocalKey {
    /// The key of the file with this salt, which must be fresh for whoever writes one.
    ///
    /// # Errors
    /// [`Error::NoKey`] if `keys` have no chunk key; whoever may add has it.
    pub fn new(
        repo: RepoId,
        domain: DomainId,
        keys: &Generation,
        salt: &[u8; 32],
    ) -> Result<LocalKey, Error> {
        let generation = keys.number.to_le_bytes();
        let parts: [&[u8]; 5] =
            [&keys.chunk_key()?[..], repo.as_bytes(), domain.as_bytes(), &generation, salt];
        Ok(LocalKey(SealKey::derive("seawall 0 local", &parts)))
    }

    /// Appends the sealed form of the block with this number. The random part of the nonce must be asked of the machine each
    /// time: a process that was copied while it writes a file seals other blocks under the same key and numbers.
    pub fn seal(&self, out: &mut Vec<u8>, number: u32, random: [u8; 8], plain: &[u8]) {
        self.0.seal(out, number, random, &[], plain);
    }

    /// Puts the plain form of a block in the place of what `out` holds.
    ///
    /// # Errors
    /// [`Error::Altered`] and [`Error::Malformed`] for what was not sealed with this key under this number.
    pub fn open(&self, out: &mut Vec<u8>, number: u32, sealed: &[u8]) -> Result<(), Error> {
        self.0.open_again(WHAT, out, number, &[], sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::Counting;

    #[test]
    fn a_block_opens_in_its_place_of_its_file_and_unchanged_only() {
        let keys = Generation::fresh(0, &mut Counting(0));
        let key = |salt: u8| LocalKey::new(RepoId([1; 32]), DomainId([2; 16]), &keys, &[salt; 32]).unwrap();
        let mut sealed = Vec::new();
        key(1).seal(&mut sealed, 7, [3; 8], b"rows");
        assert_eq!(sealed.len(), 4 + LOCAL_OVERHEAD);
        let opened = |salt, number, sealed: &[u8]| {
            let mut plain = b"what was there".to_vec();
            key(salt).open(&mut plain, number, sealed).map(|()| plain)
        };
        assert_eq!(opened(1, 7, &sealed).unwrap(), b"rows");
        assert!(opened(1, 8, &sealed).is_err());
        assert!(opened(2, 7, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(opened(1, 7, &bad).is_err(), "{at}");
        }
    }
}
