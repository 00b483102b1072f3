//! Log entries: one writer's signed, chained statements; section 9 of `docs/format.md`.
//!
//! An entry's name is its hash, its number and its chain, so two entries never take each other's place. The clear part
//! can be checked by anybody with the public keys; the sealed part needs the catalog key.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;

use crate::cbor::{self, Malformed};
use crate::error::Error;
use crate::fact::RawFact;
use crate::id::{DomainId, Hash, RepoId, SessionId, WriterId};
use crate::key::{Bundle, Generation};
use crate::limit::ENTRY_BYTES_MAX;
use crate::object::{ENTRY_CLASS_MIN, ObjectKind, Sealed, size_class};
use crate::seal::{ENC_BYTES, Enc, Signer, join, split_signature, verified};

const WHAT: &str = "a log entry";
const FACTS: &str = "the facts of a log entry";

/// A hybrid logical clock: wall time in UTC nanoseconds, then a counter for what happened within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct LogicalTime {
    /// UTC nanoseconds.
    #[n(0)]
    pub time: i64,
    /// Order within the same nanosecond or behind a clock that was ahead.
    #[n(1)]
    pub counter: u32,
}

/// One entry's place: chain and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct EntryId {
    /// The writer.
    #[n(0)]
    pub writer: WriterId,
    /// Its session: one chain.
    #[n(1)]
    pub session: SessionId,
    /// Number in the chain, from 0.
    #[n(2)]
    pub number: u32,
}

/// An object that is durable before the entry is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Brought {
    /// The object's name.
    #[n(0)]
    pub name: String,
    /// Its size in bytes.
    #[n(1)]
    pub size: u64,
    /// BLAKE3 of it.
    #[n(2)]
    pub hash: Hash,
}

/// The newest entry of a chain, as somebody saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Head {
    /// The writer.
    #[n(0)]
    pub writer: WriterId,
    /// Its session.
    #[n(1)]
    pub session: SessionId,
    /// Number of the entry.
    #[n(2)]
    pub number: u32,
    /// Its hash.
    #[n(3)]
    pub hash: Hash,
}

/// The part of an entry that anybody may read.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Clear {
    /// The repository.
    #[n(0)]
    pub repo: RepoId,
    /// The writer.
    #[n(1)]
    pub writer: WriterId,
    /// Its session.
    #[n(2)]
    pub session: SessionId,
    /// Number in the chain, from 0.
    #[n(3)]
    pub number: u32,
    /// Hash of the entry before it; [`Hash::NONE`] at 0.
    #[n(4)]
    pub previous: Hash,
    /// When.
    #[n(5)]
    pub time: LogicalTime,
    /// Epoch of the protected system.
    #[n(6)]
    pub epoch: u32,
    /// The writer's Ed25519 public key.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub public_key: [u8; 32],
    /// Regions that the writer counts on.
    #[n(8)]
    pub regions: Vec<String>,
    /// Objects that are durable before this entry is.
    #[n(9)]
    pub brings: Vec<Brought>,
    /// Per chain whose packs the brought points lean on, its last needed entry.
    #[n(10)]
    pub deps: Vec<EntryId>,
    /// Newest entries of other chains, seen and not named before.
    #[n(11)]
    pub heads: Vec<Head>,
    /// Facts that anybody may read.
    #[n(12)]
    pub facts: Vec<RawFact>,
    /// The only region that this chain speaks of, if it must not be replicated.
    #[n(13)]
    pub local: Option<String>,
}

impl Clear {
    /// The entry's place.
    pub fn id(&self) -> EntryId {
        EntryId { writer: self.writer, session: self.session, number: self.number }
    }
}

/// An entry whose signature holds; whether its writer was let in is for the fold to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The readable part.
    pub clear: Clear,
    /// BLAKE3 of the object.
    pub hash: Hash,
    clear_hash: Hash,
    sealed: Vec<u8>,
}

impl Entry {
    /// Seals `facts` for holders of the catalog key, signs everything, and gives the entry's hash and object.
    pub fn create(
        clear: &Clear,
        facts: &[RawFact],
        (domain, generation): (DomainId, &Generation),
        signer: &Signer,
        rng: &mut dyn CryptoRng,
    ) -> (Hash, Sealed) {
        let clear_bytes = cbor::encode(clear);
        let sealed = match facts {
            [] => Vec::new(),
            facts => seal_facts(clear, Hash::of(&clear_bytes), facts, (domain, generation), rng),
        };
        let mut bytes = ObjectKind::Entry.head().to_vec();
        for part in [&clear_bytes, &sealed] {
            let length = u32::try_from(part.len()).expect("an entry is far below 4 GiB");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part);
        }
        signer.sign("seawall 1 entry", &mut bytes);
        (Hash::of(&bytes), Sealed::new(bytes))
    }

    /// Reads an entry of `repo` and checks its signature against the public key that it carries.
    pub fn decode(bytes: &[u8], repo: &RepoId) -> Result<Entry, Error> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(Malformed::new(WHAT, "larger than is allowed").into());
        }
        let (body, _) = split_signature(WHAT, bytes)?;
        let rest = ObjectKind::Entry.strip(body)?;
        let (clear_bytes, rest) = part(rest)?;
        let (sealed, rest) = part(rest)?;
        if !rest.is_empty() {
            return Err(Malformed::new(WHAT, "bytes after its end").into());
        }
        let clear: Clear = cbor::decode(WHAT, clear_bytes)?;
        verified(WHAT, "seawall 1 entry", &clear.public_key, bytes)?;
        if &clear.repo != repo || WriterId::of(&clear.public_key) != clear.writer {
            return Err(Error::Foreign(WHAT));
        }
        Ok(Entry { clear, hash: Hash::of(bytes), clear_hash: Hash::of(clear_bytes), sealed: sealed.to_vec() })
    }

    /// Whether there are facts that need the catalog key.
    pub fn has_sealed_facts(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// The facts of the sealed part, as they are stored.
    pub fn sealed_facts(&self, bundle: &Bundle) -> Result<Vec<RawFact>, Error> {
        if self.sealed.is_empty() {
            return Ok(Vec::new());
        }
        let short = || Malformed::new(FACTS, "shorter than their head");
        let (domain, rest) = self.sealed.split_first_chunk::<16>().ok_or_else(short)?;
        let (number, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (enc, rest) = rest.split_first_chunk::<ENC_BYTES>().ok_or_else(short)?;
        let (commitment, sealed) = rest.split_first_chunk::<32>().ok_or_else(short)?;
        if *domain != bundle.domain.0 {
            return Err(Error::NoKey("reading facts of another domain"));
        }
        let generation = bundle.generation(u32::from_le_bytes(*number))?;
        let secret = generation.catalog.as_ref().ok_or(Error::NoKey("reading facts"))?;
        let info = facts_info(&self.clear, bundle.domain, generation.number);
        let key = secret.decapsulate(&info, &Enc(Box::new(*enc)))?;
        key.check(FACTS, commitment)?;
        let mut plain = Vec::new();
        key.open(FACTS, &mut plain, 0, self.clear_hash.as_bytes(), sealed)?;
        Ok(cbor::decode_padded(FACTS, &plain)?)
    }
}

fn seal_facts(
    clear: &Clear,
    clear_hash: Hash,
    facts: &[RawFact],
    (domain, generation): (DomainId, &Generation),
    rng: &mut dyn CryptoRng,
) -> Vec<u8> {
    let mut plain = cbor::encode(&facts);
    let class = size_class(plain.len() as u64, ENTRY_CLASS_MIN);
    plain.resize(usize::try_from(class).expect("an entry fits in memory"), 0);
    let info = facts_info(clear, domain, generation.number);
    let (enc, key) = generation.catalog_public.encapsulate(&info, rng);
    let mut sealed = join(&[&domain.0, &generation.number.to_le_bytes(), &enc.0[..], &key.commitment()]);
    let mut random = [0; 8];
    rng.fill_bytes(&mut random);
    key.seal(&mut sealed, 0, random, clear_hash.as_bytes(), &plain);
    sealed
}

fn facts_info(clear: &Clear, domain: DomainId, generation: u32) -> Vec<u8> {
    join(&[
        b"seawall 1 facts",
        &clear.repo.0,
        &domain.0,
        &generation.to_le_bytes(),
        &clear.writer.0,
        &clear.session.0,
        &clear.number.to_le_bytes(),
    ])
}

fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let short = || Malformed::new(WHAT, "shorter than its parts");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)
}

#[cfg(test)]
mod tests;
