//! The first object of a repository, from which its id and all trust follow; section 3 of `docs/format.md`.

use minicbor::{Decode, Encode};

use crate::cbor::{self, Fixed, Malformed};
use crate::error::Error;
use crate::id::{DomainId, Hash, RepoId};
use crate::limit::{FRAME_BYTES_MAX, PACK_BYTES_MAX, SMALL_OBJECT_BYTES_MAX};
use crate::object::{DRAFT, HEAD_BYTES, ObjectKind, Sealed, VERSION};
use crate::seal::{Signer, split_signature, verified};

const WHAT: &str = "the genesis object";

/// Sizes of chunks: the cutter's generation, and where it may, wants to, and must cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ChunkSizes {
    /// Which table and masks.
    #[n(0)]
    pub generation: u32,
    /// No chunk is shorter, but the last of a file.
    #[n(1)]
    pub min: u32,
    /// From here on the loose mask counts.
    #[n(2)]
    pub normal: u32,
    /// No chunk is longer.
    #[n(3)]
    pub max: u32,
}

/// What a repository is from its first moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// BLAKE3 of the whole object: the repository's id and the trust anchor.
    pub id: RepoId,
    /// Who may let others in.
    pub root_public: [u8; 32],
    /// UTC nanoseconds.
    pub created: i64,
    /// Sizes of chunks.
    pub chunks: ChunkSizes,
    /// The domain that sources belong to if nothing else was said.
    pub domain: DomainId,
    /// The name of the region it was made in.
    pub region: String,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Record {
    #[n(0)]
    version: u16,
    #[n(1)]
    root_public: Fixed<32>,
    #[n(2)]
    created: i64,
    #[n(3)]
    nonce: Fixed<32>,
    #[n(4)]
    suites: Vec<u8>,
    #[n(5)]
    chunks: ChunkSizes,
    #[n(6)]
    block: u32,
    #[n(7)]
    limits: (u64, u64, u64),
    #[n(8)]
    domain: DomainId,
    #[n(9)]
    region: String,
}

impl Record {
    /// What a later program may have stated otherwise, and what follows from it cannot be read here.
    fn check_known(&self) -> Result<(), Error> {
        let unknown = |which: String| Err(Error::Unknown { what: WHAT, which });
        let (chunk, frame, pack) = self.limits;
        if self.version > VERSION {
            return Err(Error::Newer { what: WHAT, found: self.version, known: VERSION });
        }
        if !self.suites.contains(&SUITE) {
            return unknown(format!("the suites {:?}", self.suites));
        }
        if chunk.max(frame) > FRAME_BYTES_MAX as u64 || pack > PACK_BYTES_MAX {
            return unknown(format!("chunks, frames and packs of up to {chunk}, {frame} and {pack} bytes"));
        }
        match self.block {
            IMAGE_BLOCK_BYTES => Ok(()),
            block => unknown(format!("blocks of images of {block} bytes")),
        }
    }
}

/// Bytes of a block of an image.
pub const IMAGE_BLOCK_BYTES: u32 = 64 << 10;

/// The only suite so far.
pub const SUITE: u8 = 1;

impl Genesis {
    /// A new repository's genesis and its bytes.
    pub fn create(
        root: &Signer,
        created: i64,
        nonce: [u8; 32],
        chunks: ChunkSizes,
        domain: DomainId,
        region: &str,
    ) -> (Genesis, Sealed) {
        let record = Record {
            version: VERSION,
            root_public: Fixed(root.public()),
            created,
            nonce: Fixed(nonce),
            suites: vec![SUITE],
            chunks,
            block: IMAGE_BLOCK_BYTES,
            limits: (u64::from(chunks.max), FRAME_BYTES_MAX as u64, PACK_BYTES_MAX),
            domain,
            region: region.to_owned(),
        };
        let mut bytes = ObjectKind::Genesis.head().to_vec();
        bytes.extend_from_slice(&cbor::encode(&record));
        root.sign("seawall 1 genesis", &mut bytes);
        let genesis = Genesis::decode(&bytes).expect("what was just made can be read");
        (genesis, Sealed::new(bytes))
    }

    /// Reads the object; whether it is the right one is for whoever knows the id.
    pub fn decode(bytes: &[u8]) -> Result<Genesis, Error> {
        if bytes.len() > SMALL_OBJECT_BYTES_MAX {
            return Err(Malformed::new(WHAT, "larger than is allowed").into());
        }
        if is_draft(bytes) {
            return Err(Error::Draft(WHAT));
        }
        let (body, _) = split_signature(WHAT, bytes)?;
        let record: Record = cbor::decode(WHAT, ObjectKind::Genesis.strip(body)?)?;
        verified(WHAT, "seawall 1 genesis", &record.root_public.0, bytes)?;
        record.check_known()?;
        let ChunkSizes { min, normal, max, .. } = record.chunks;
        if min < 64 || min >= normal || normal >= max || max as usize > FRAME_BYTES_MAX {
            return Err(Malformed::new(WHAT, "its chunk sizes are not in order").into());
        }
        Ok(Genesis {
            id: RepoId(Hash::of(bytes).0),
            root_public: record.root_public.0,
            created: record.created,
            chunks: record.chunks,
            domain: record.domain,
            region: record.region,
        })
    }
}

/// Whether this is the whole genesis of a draft, rather than one of ours that was damaged at its version.
fn is_draft(bytes: &[u8]) -> bool {
    let record = split_signature(WHAT, bytes).ok().and_then(|(body, _)| body.split_at_checked(HEAD_BYTES));
    let Some((head, record)) = record.filter(|(head, _)| head.ends_with(&DRAFT.to_le_bytes())) else {
        return false;
    };
    let record = cbor::decode::<Record>(WHAT, record);
    head.starts_with(b"seawallF")
        && record.is_ok_and(|r| verified(WHAT, "seawall 0 genesis", &r.root_public.0, bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn sizes() -> ChunkSizes {
        ChunkSizes { generation: 0, min: 1 << 14, normal: 1 << 16, max: 1 << 18 }
    }

    #[test]
    fn the_id_covers_every_byte() {
        let root = Signer::from_seed(&Zeroizing::new([1; 32]));
        let (genesis, sealed) = Genesis::create(&root, 7, [2; 32], sizes(), DomainId([3; 16]), "home");
        assert_eq!(Genesis::decode(sealed.as_bytes()), Ok(genesis.clone()));
        assert_eq!((genesis.created, genesis.region.as_str()), (7, "home"));
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(Genesis::decode(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_draft_is_told_from_a_genesis_that_was_damaged_at_its_version() {
        let root = Signer::from_seed(&Zeroizing::new([1; 32]));
        let (_, sealed) = Genesis::create(&root, 7, [2; 32], sizes(), DomainId([3; 16]), "home");
        let mut bytes = sealed.into_bytes();
        bytes[8] = 0;
        assert!(matches!(Genesis::decode(&bytes), Err(Error::Malformed(_))));
        bytes.truncate(bytes.len() - 64);
        root.sign("seawall 0 genesis", &mut bytes);
        assert_eq!(Genesis::decode(&bytes), Err(Error::Draft(WHAT)));
    }

    #[test]
    fn sizes_out_of_order_are_refused() {
        let root = Signer::from_seed(&Zeroizing::new([1; 32]));
        let record = |chunks| {
            let mut bytes = ObjectKind::Genesis.head().to_vec();
            bytes.extend_from_slice(&cbor::encode(&Record {
                version: VERSION,
                root_public: Fixed(root.public()),
                created: 0,
                nonce: Fixed([0; 32]),
                suites: vec![1],
                chunks,
                block: IMAGE_BLOCK_BYTES,
                limits: (0, 0, 0),
                domain: DomainId([0; 16]),
                region: String::new(),
            }));
            root.sign("seawall 1 genesis", &mut bytes);
            bytes
        };
        assert!(Genesis::decode(&record(sizes())).is_ok());
        for bad in [(0, 8, 16), (1 << 16, 1 << 16, 1 << 18), (1 << 14, 1 << 16, 1 << 30)] {
            let (min, normal, max) = bad;
            assert!(Genesis::decode(&record(ChunkSizes { generation: 0, min, normal, max })).is_err());
        }
    }
}
