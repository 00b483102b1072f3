//! Keys, and what a secret opens; section 4 of `docs/format.md`.
//!
//! A bundle holds the keys of one domain; a slot is a bundle sealed for one secret and signed by the root. A bundle may
//! lack keys, and then whoever holds it can do less: without the data seed nothing can be read, without the root seed
//! nobody can be let in.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::cbor::{self, Fixed, Malformed, Octets, Verbatim};
use crate::error::Error;
use crate::id::{DomainId, RepoId, SlotId};
use crate::limit::SMALL_OBJECT_BYTES_MAX;
use crate::object::{ObjectKind, Sealed, VERSION};
use crate::seal::{Enc, KemPublic, KemSecret, SealKey, Secret, Signer, derive, join, verified};

mod text;

pub use text::{KeyFile, TextKind};

const WHAT: &str = "a key slot";
const BUNDLE: &str = "a bundle of keys";

/// Keys of one generation of a domain; what is missing cannot be done.
#[derive(Clone)]
pub struct Generation {
    /// Counts from 0.
    pub number: u32,
    /// Names chunks and draws the cutter's table.
    pub chunk: Option<Secret>,
    /// Opens runs.
    pub index: Option<Secret>,
    /// Opens frames.
    pub data: Option<KemSecret>,
    /// Seals frames.
    pub data_public: KemPublic,
    /// Opens directories and sealed facts.
    pub catalog: Option<KemSecret>,
    /// Seals directories and facts.
    pub catalog_public: KemPublic,
}

impl Generation {
    /// Fresh keys.
    pub fn fresh(number: u32, rng: &mut dyn CryptoRng) -> Generation {
        let (data, catalog) = (KemSecret::from_seed(fresh(rng)), KemSecret::from_seed(fresh(rng)));
        Generation {
            number,
            chunk: Some(fresh(rng)),
            index: Some(fresh(rng)),
            data_public: data.public(),
            data: Some(data),
            catalog_public: catalog.public(),
            catalog: Some(catalog),
        }
    }

    /// A number for the generation after `highest`: the upper half counts, the lower one is random, so that two which are
    /// made at the same time are told apart. `None` if there is no higher one.
    pub fn number_after(highest: u32, rng: &mut dyn CryptoRng) -> Option<u32> {
        let count = (highest >> 16).checked_add(1).filter(|count| *count <= u32::from(u16::MAX))?;
        let mut random = [0; 2];
        rng.fill_bytes(&mut random);
        Some((count << 16) | u32::from(u16::from_le_bytes(random)))
    }

    /// The chunk key; every bundle that can add has it.
    pub fn chunk_key(&self) -> Result<&Secret, Error> {
        self.chunk.as_ref().ok_or(Error::NoKey("naming chunks"))
    }
}

/// A fresh secret.
pub fn fresh(rng: &mut dyn CryptoRng) -> Secret {
    let mut secret = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut secret[..]);
    secret
}

/// The keys of one domain of one repository, as one secret opens them.
#[derive(Clone)]
pub struct Bundle {
    /// The repository they belong to.
    pub repo: RepoId,
    /// The domain they belong to.
    pub domain: DomainId,
    /// By number, so the oldest first; never empty.
    pub generations: Vec<Generation>,
    /// The root's signing seed: administrators only.
    pub root: Option<Secret>,
    /// The signing seed of the host that this bundle was exported for.
    pub writer: Option<Secret>,
}

impl Bundle {
    /// The generation that new data is sealed under.
    pub fn newest(&self) -> &Generation {
        self.generations.last().expect("a bundle has at least one generation")
    }

    /// The same keys, which keep what they open: see [`KemSecret::keeping_opened`].
    #[doc(hidden)]
    pub fn keeping_opened(mut self) -> Bundle {
        for generation in &mut self.generations {
            generation.data = generation.data.take().map(KemSecret::keeping_opened);
            generation.catalog = generation.catalog.take().map(KemSecret::keeping_opened);
        }
        self
    }

    /// The generation of this number.
    pub fn generation(&self, number: u32) -> Result<&Generation, Error> {
        self.generations.iter().find(|g| g.number == number).ok_or(Error::NoKey("this key generation"))
    }

    /// The newest keys without those for reading and ruling, for a host that may only add; `writer` signs for it.
    pub fn write_only(&self, writer: Secret) -> Bundle {
        let newest = Generation { index: None, data: None, catalog: None, ..self.newest().clone() };
        let &Bundle { repo, domain, .. } = self;
        Bundle { repo, domain, generations: vec![newest], root: None, writer: Some(writer) }
    }

    /// The same with the generations of `other` that are not in it yet.
    pub fn merged(mut self, other: Bundle) -> Bundle {
        let known: Vec<u32> = self.generations.iter().map(|generation| generation.number).collect();
        self.generations.extend(other.generations.into_iter().filter(|g| !known.contains(&g.number)));
        self.generations.sort_by_key(|generation| generation.number);
        self
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let generations = self.generations.iter().map(GenerationRecord::of).collect();
        let record = BundleRecord {
            version: VERSION,
            repo: self.repo,
            domain: self.domain,
            generations,
            root: self.root.as_ref().map(|s| Fixed(**s)),
            writer: self.writer.as_ref().map(|s| Fixed(**s)),
        };
        Zeroizing::new(cbor::encode(&record))
    }

    fn decode(bytes: &[u8]) -> Result<Bundle, Error> {
        let record: BundleRecord = cbor::decode(BUNDLE, bytes)?;
        if record.version > VERSION {
            return Err(Error::Newer { what: BUNDLE, found: record.version, known: VERSION });
        }
        let mut generations: Vec<Generation> =
            record.generations.into_iter().map(GenerationRecord::open).collect::<Result<_, _>>()?;
        if generations.is_empty() {
            return Err(Malformed::new(BUNDLE, "holds no generation").into());
        }
        generations.sort_by_key(|generation| generation.number);
        if !generations.is_sorted_by(|a, b| a.number < b.number) {
            return Err(Malformed::new(BUNDLE, "holds a generation twice").into());
        }
        Ok(Bundle {
            repo: record.repo,
            domain: record.domain,
            generations,
            root: record.root.map(secret),
            writer: record.writer.map(secret),
        })
    }

    /// The text of a bundle file.
    pub fn to_text(&self) -> Zeroizing<String> {
        text::line("seawall-bundle-1", &self.encode())
    }

    /// Reads a bundle file.
    pub fn from_text(text: &str) -> Result<Bundle, Error> {
        Bundle::decode(&text::checked_line("a bundle file", "seawall-bundle-1", text)?)
    }
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct BundleRecord {
    #[n(0)]
    version: u16,
    #[n(1)]
    repo: RepoId,
    #[n(2)]
    domain: DomainId,
    #[n(3)]
    generations: Vec<GenerationRecord>,
    #[n(4)]
    root: Option<Fixed<32>>,
    #[n(5)]
    writer: Option<Fixed<32>>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct GenerationRecord {
    #[n(0)]
    number: u32,
    #[n(1)]
    chunk: Option<Fixed<32>>,
    #[n(2)]
    index: Option<Fixed<32>>,
    #[n(3)]
    data: Option<Fixed<32>>,
    #[n(4)]
    data_public: Option<Octets>,
    #[n(5)]
    catalog: Option<Fixed<32>>,
    #[n(6)]
    catalog_public: Option<Octets>,
}

impl GenerationRecord {
    fn of(generation: &Generation) -> GenerationRecord {
        let fixed = |s: &Option<Secret>| s.as_ref().map(|s| Fixed(**s));
        let seed = |s: &Option<KemSecret>| s.as_ref().map(|s| Fixed(**s.seed()));
        let public =
            |s: &Option<KemSecret>, p: &KemPublic| s.is_none().then(|| Octets(p.as_bytes().to_vec()));
        GenerationRecord {
            number: generation.number,
            chunk: fixed(&generation.chunk),
            index: fixed(&generation.index),
            data: seed(&generation.data),
            data_public: public(&generation.data, &generation.data_public),
            catalog: seed(&generation.catalog),
            catalog_public: public(&generation.catalog, &generation.catalog_public),
        }
    }

    fn open(self) -> Result<Generation, Error> {
        let (data, data_public) = pair(self.data, self.data_public)?;
        let (catalog, catalog_public) = pair(self.catalog, self.catalog_public)?;
        Ok(Generation {
            number: self.number,
            chunk: self.chunk.map(secret),
            index: self.index.map(secret),
            data,
            data_public,
            catalog,
            catalog_public,
        })
    }
}

fn pair(seed: Option<Fixed<32>>, public: Option<Octets>) -> Result<(Option<KemSecret>, KemPublic), Error> {
    match (seed, public) {
        (Some(seed), _) => {
            let secret = KemSecret::from_seed(secret(seed));
            let public = secret.public();
            Ok((Some(secret), public))
        }
        (None, Some(public)) => Ok((None, KemPublic::from_bytes(&public.0)?)),
        (None, None) => Err(Malformed::new(BUNDLE, "a key pair is missing altogether").into()),
    }
}

fn secret(bytes: Fixed<32>) -> Secret {
    Zeroizing::new(bytes.0)
}

/// What opens a slot.
#[derive(Clone)]
pub enum Unlock {
    /// A key file.
    KeyFile(KeyFile),
    /// A passphrase, as its UTF-8 bytes.
    Passphrase(Zeroizing<String>),
    /// A recipient's private key.
    Recipient(KemSecret),
}

impl Unlock {
    /// What it is, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Unlock::KeyFile(_) => "key file",
            Unlock::Passphrase(_) => "passphrase",
            Unlock::Recipient(_) => "recipient's key",
        }
    }
}

/// What a new slot is sealed for.
pub enum Lock {
    /// A key file.
    KeyFile(KeyFile),
    /// A passphrase and the cost of guessing it.
    Passphrase(Zeroizing<String>, Argon2Cost),
    /// A recipient's public key.
    Recipient(KemPublic),
}

/// Cost of Argon2id: memory in KiB, passes, lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Argon2Cost {
    /// 64 MiB, three passes, four lanes: the second recommendation of RFC 9106.
    pub const DEFAULT: Argon2Cost = Argon2Cost { memory_kib: 64 << 10, passes: 3, lanes: 4 };

    const MAX: Argon2Cost = Argon2Cost { memory_kib: 4 << 20, passes: 64, lanes: 64 };

    fn check(&self) -> Result<(), Malformed> {
        let most = Argon2Cost::MAX;
        if self.memory_kib > most.memory_kib || self.passes > most.passes || self.lanes > most.lanes {
            return Err(Malformed::new(WHAT, "asks for more memory, passes or lanes than is allowed"));
        }
        Ok(())
    }
}

/// The kind of secret a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A key file.
    KeyFile,
    /// A passphrase.
    Passphrase,
    /// A recipient's key pair.
    Recipient,
}

impl SlotKind {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            SlotKind::KeyFile => "key file",
            SlotKind::Passphrase => "passphrase",
            SlotKind::Recipient => "recipient",
        }
    }
}

/// A slot as it lies in the repository; its signature was verified.
#[derive(Clone, Debug)]
pub struct Slot {
    record: SlotRecord,
    kind: SlotKind,
    parameters: Parameters,
}

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(array)]
struct SlotRecord {
    #[n(0)]
    repo: RepoId,
    #[n(1)]
    domain: DomainId,
    #[n(2)]
    slot: SlotId,
    #[n(3)]
    kind: u8,
    #[n(4)]
    parameters: Verbatim,
    #[n(5)]
    region: Option<String>,
    #[n(6)]
    label: String,
    #[n(7)]
    created: i64,
    #[n(8)]
    commitment: Fixed<32>,
    #[n(9)]
    sealed: Octets,
    /// `None` for 0.
    #[n(10)]
    generation: Option<u32>,
}

/// First element: salt or the recipient's public key; then Argon2's costs, or the encapsulated key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parameters {
    Salt([u8; 32]),
    Argon2([u8; 32], Argon2Cost),
    Recipient(KemPublic, Enc),
}

impl<C> Encode<C> for Parameters {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Parameters::Salt(salt) => e.array(1)?.bytes(salt)?,
            Parameters::Argon2(salt, cost) => {
                e.array(4)?.bytes(salt)?.u32(cost.memory_kib)?.u32(cost.passes)?.u32(cost.lanes)?
            }
            Parameters::Recipient(public, enc) => e.array(2)?.bytes(public.as_bytes())?.bytes(&enc.0[..])?,
        };
        Ok(())
    }
}

impl Parameters {
    /// Those of a slot of this kind; a kind that is not known can have any.
    fn of(kind: u8, stored: &Verbatim) -> Result<(SlotKind, Parameters), Error> {
        Ok(match kind {
            0 => {
                let (salt,): (Fixed<32>,) = cbor::decode(WHAT, &stored.0)?;
                (SlotKind::KeyFile, Parameters::Salt(salt.0))
            }
            1 => {
                let (salt, memory_kib, passes, lanes): (Fixed<32>, u32, u32, u32) =
                    cbor::decode(WHAT, &stored.0)?;
                let cost = Argon2Cost { memory_kib, passes, lanes };
                (SlotKind::Passphrase, Parameters::Argon2(salt.0, cost))
            }
            2 => {
                let (public, enc): (Octets, Octets) = cbor::decode(WHAT, &stored.0)?;
                let parameters =
                    Parameters::Recipient(KemPublic::from_bytes(&public.0)?, Enc::from_bytes(&enc.0)?);
                (SlotKind::Recipient, parameters)
            }
            _ => return Err(Error::Unknown { what: WHAT, which: format!("kind {kind}") }),
        })
    }
}

impl std::fmt::Debug for Enc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enc")
    }
}

/// What a new slot says about itself.
#[derive(Clone, Debug)]
pub struct SlotLabel {
    /// Its id, random.
    pub slot: SlotId,
    /// The region whose provider opens it, if it is for one.
    pub region: Option<String>,
    /// What a person calls it.
    pub label: String,
    /// UTC nanoseconds.
    pub created: i64,
}

impl Slot {
    /// Seals `bundle` for `lock`, signed by `root`.
    pub fn seal(
        bundle: &Bundle,
        lock: &Lock,
        about: SlotLabel,
        root: &Signer,
        rng: &mut dyn CryptoRng,
    ) -> Result<Sealed, Error> {
        let (kind, parameters, key) = lock_key(bundle, about.slot, lock, rng)?;
        let mut random = [0; 8];
        rng.fill_bytes(&mut random);
        let mut sealed = Vec::new();
        let aad = bundle_aad(&bundle.repo, &bundle.domain, &about.slot, kind);
        key.seal(&mut sealed, 0, random, &aad, &bundle.encode());
        let record = SlotRecord {
            repo: bundle.repo,
            domain: bundle.domain,
            slot: about.slot,
            kind,
            parameters: Verbatim(cbor::encode(&parameters)),
            region: about.region,
            label: about.label,
            created: about.created,
            commitment: Fixed(key.commitment()),
            sealed: Octets(sealed),
            generation: Some(bundle.newest().number),
        };
        let mut bytes = ObjectKind::Slot.head().to_vec();
        bytes.extend_from_slice(&cbor::encode(&record));
        root.sign("seawall 1 slot", &mut bytes);
        Ok(Sealed::new(bytes))
    }

    /// Reads a slot of `repo`, signed by the root whose public key this is.
    pub fn decode(bytes: &[u8], repo: &RepoId, root_public: &[u8; 32]) -> Result<Slot, Error> {
        if bytes.len() > SMALL_OBJECT_BYTES_MAX {
            return Err(Malformed::new(WHAT, "larger than is allowed").into());
        }
        ObjectKind::Slot.strip(bytes)?;
        let body = verified(WHAT, "seawall 1 slot", root_public, bytes)?;
        let record: SlotRecord = cbor::decode(WHAT, ObjectKind::Slot.strip(body)?)?;
        if &record.repo != repo {
            return Err(Error::Foreign(WHAT));
        }
        let (kind, parameters) = Parameters::of(record.kind, &record.parameters)?;
        Ok(Slot { record, kind, parameters })
    }

    /// Its id.
    pub fn id(&self) -> SlotId {
        self.record.slot
    }

    /// The domain whose keys it holds.
    pub fn domain(&self) -> DomainId {
        self.record.domain
    }

    /// The kind of secret it is for.
    pub fn kind(&self) -> SlotKind {
        self.kind
    }

    /// The newest generation of keys in it.
    pub fn generation(&self) -> u32 {
        self.record.generation.unwrap_or(0)
    }

    /// What a person calls it.
    pub fn label(&self) -> &str {
        &self.record.label
    }

    /// The public key that it is sealed for, if it is for a recipient.
    pub fn recipient(&self) -> Option<&KemPublic> {
        match &self.parameters {
            Parameters::Recipient(public, _) => Some(public),
            Parameters::Salt(_) | Parameters::Argon2(..) => None,
        }
    }

    /// The region whose provider opens it, if it is for one.
    pub fn region(&self) -> Option<&str> {
        self.record.region.as_deref()
    }

    /// When it was made, in UTC nanoseconds.
    pub fn created(&self) -> i64 {
        self.record.created
    }

    /// The bundle in it; [`Error::WrongKey`] if `unlock` is not what it was sealed for.
    pub fn open(&self, unlock: &Unlock) -> Result<Bundle, Error> {
        let record = &self.record;
        let key = self.unlock_key(unlock)?;
        key.check(WHAT, &record.commitment.0)?;
        let aad = bundle_aad(&record.repo, &record.domain, &record.slot, record.kind);
        let mut plain = Zeroizing::new(Vec::new());
        key.open(WHAT, &mut plain, 0, &aad, &record.sealed.0)?;
        let bundle = Bundle::decode(&plain)?;
        if bundle.repo != record.repo || bundle.domain != record.domain {
            return Err(Error::Foreign(BUNDLE));
        }
        if bundle.newest().number != self.generation() {
            return Err(Malformed::new(BUNDLE, "holds other generations than its slot says").into());
        }
        Ok(bundle)
    }

    fn unlock_key(&self, unlock: &Unlock) -> Result<SealKey, Error> {
        let record = &self.record;
        let place: [&[u8]; 3] = [&record.repo.0, &record.domain.0, &record.slot.0];
        match (unlock, &self.parameters) {
            (Unlock::KeyFile(file), Parameters::Salt(salt)) => Ok(key_file_key(file, place, salt)),
            (Unlock::Passphrase(words), Parameters::Argon2(salt, cost)) => {
                cost.check()?;
                passphrase_key(words, place, salt, *cost)
            }
            (Unlock::Recipient(secret), Parameters::Recipient(public, enc)) => {
                if secret.public() != *public {
                    return Err(Error::WrongKey(WHAT));
                }
                secret.decapsulate(&slot_info(place), enc)
            }
            _ => Err(Error::WrongKey(WHAT)),
        }
    }
}

fn lock_key(
    bundle: &Bundle,
    slot: SlotId,
    lock: &Lock,
    rng: &mut dyn CryptoRng,
) -> Result<(u8, Parameters, SealKey), Error> {
    let place: [&[u8]; 3] = [&bundle.repo.0, &bundle.domain.0, &slot.0];
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    Ok(match lock {
        Lock::KeyFile(file) => (0, Parameters::Salt(salt), key_file_key(file, place, &salt)),
        Lock::Passphrase(words, cost) => {
            cost.check()?;
            (1, Parameters::Argon2(salt, *cost), passphrase_key(words, place, &salt, *cost)?)
        }
        Lock::Recipient(public) => {
            let (enc, key) = public.encapsulate(&slot_info(place), rng);
            (2, Parameters::Recipient(public.clone(), enc), key)
        }
    })
}

fn key_file_key(file: &KeyFile, [repo, domain, slot]: [&[u8]; 3], salt: &[u8; 32]) -> SealKey {
    SealKey::derive("seawall 1 slot key file", &[&file.0[..], repo, domain, slot, salt])
}

fn passphrase_key(
    words: &str,
    [repo, domain, slot]: [&[u8]; 3],
    salt: &[u8; 32],
    cost: Argon2Cost,
) -> Result<SealKey, Error> {
    let bad = |e: argon2::Error| Malformed::new(WHAT, format!("its Argon2 parameters do not work: {e}"));
    let params = argon2::Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(bad)?;
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut stretched = Zeroizing::new([0; 32]);
    argon2.hash_password_into(words.as_bytes(), salt, &mut stretched[..]).map_err(bad)?;
    Ok(SealKey::new(&derive("seawall 1 slot passphrase", &[&stretched[..], repo, domain, slot])))
}

fn slot_info(place: [&[u8]; 3]) -> Vec<u8> {
    join(&[b"seawall 1 slot", &place.concat()])
}

fn bundle_aad(repo: &RepoId, domain: &DomainId, slot: &SlotId, kind: u8) -> Vec<u8> {
    join(&[b"seawall 1 bundle", &repo.0, &domain.0, &slot.0, &[kind]])
}

#[cfg(test)]
pub(crate) mod tests;
