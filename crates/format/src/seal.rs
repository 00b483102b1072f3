//! How bytes are sealed, encapsulated and signed; section 2 of `docs/format.md`.
//!
//! AES-256-GCM under keys that seal one object only, with a nonce made from the place and chance; HPKE with X-Wing for
//! whoever must add without being able to read; a commitment that is compared before anything is opened; Ed25519 over
//! stored bytes with a context, verified strictly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::cbor::Malformed;
use crate::error::Error;
use crate::id::Hash;

/// Bytes that sealing adds: 8 of the nonce in front, 16 of the tag behind.
pub const SEAL_OVERHEAD: usize = RANDOM_BYTES + TAG_BYTES;

/// Length of an X-Wing public key.
pub const KEM_PUBLIC_BYTES: usize = 1216;

/// Length of an encapsulated key.
pub const ENC_BYTES: usize = 1120;

const RANDOM_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// 32 secret bytes that are wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// A key that seals one object.
pub struct SealKey {
    aead: LessSafeKey,
    commitment: [u8; 32],
}

impl SealKey {
    /// A key from its bytes.
    pub(crate) fn new(bytes: &[u8; 32]) -> SealKey {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("an AES-256 key has 32 bytes");
        SealKey { aead: LessSafeKey::new(key), commitment: blake3::derive_key("seawall 1 commitment", bytes) }
    }

    /// A key derived from `parts` under `context`.
    pub(crate) fn derive(context: &'static str, parts: &[&[u8]]) -> SealKey {
        SealKey::new(&derive(context, parts))
    }

    /// What is stored beside whatever this key seals.
    pub(crate) fn commitment(&self) -> [u8; 32] {
        self.commitment
    }

    /// Refuses to open with a key that is not the one committed to.
    pub(crate) fn check(&self, what: &'static str, commitment: &[u8; 32]) -> Result<(), Error> {
        if &self.commitment == commitment { Ok(()) } else { Err(Error::WrongKey(what)) }
    }

    /// Appends the sealed form of `plain` to `out`.
    pub(crate) fn seal(&self, out: &mut Vec<u8>, ordinal: u32, random: [u8; 8], aad: &[u8], plain: &[u8]) {
        out.extend_from_slice(&random);
        let start = out.len();
        out.resize(start.saturating_add(plain.len()), 0);
        let mut tag = [0; TAG_BYTES];
        let body = out.get_mut(start..).expect("the buffer was just made longer");
        self.aead
            .seal_out_of_place_scatter(nonce(ordinal, random), Aad::from(aad), plain, body, &[], &mut tag)
            .expect("lengths match and are far below the limit of AES-GCM");
        out.extend_from_slice(&tag);
    }

    /// Appends the plain form of `sealed` to `out`; nothing is appended if it does not open.
    pub(crate) fn open(
        &self,
        what: &'static str,
        out: &mut Vec<u8>,
        ordinal: u32,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<(), Error> {
        let start = out.len();
        out.resize(start.saturating_add(sealed.len().saturating_sub(SEAL_OVERHEAD)), 0);
        let plain = out.get_mut(start..).unwrap_or_default();
        self.open_over(plain, what, ordinal, aad, sealed).inspect_err(|_| out.truncate(start))
    }

    /// Puts the plain form of `sealed` in the place of what `out` holds; nothing is in it if it does not open. A buffer
    /// that is used again and again is not cleared in between.
    pub(crate) fn open_again(
        &self,
        what: &'static str,
        out: &mut Vec<u8>,
        ordinal: u32,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<(), Error> {
        out.resize(sealed.len().saturating_sub(SEAL_OVERHEAD), 0);
        self.open_over(out, what, ordinal, aad, sealed).inspect_err(|_| out.clear())
    }

    fn open_over(
        &self,
        plain: &mut [u8],
        what: &'static str,
        ordinal: u32,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<(), Error> {
        let short = || Malformed::new(what, "shorter than a seal");
        let (random, rest) = sealed.split_first_chunk::<RANDOM_BYTES>().ok_or_else(short)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(short)?;
        let opened =
            self.aead.open_separate_gather(nonce(ordinal, *random), Aad::from(aad), body, tag, plain);
        opened.map_err(|_| Error::Altered(what))
    }
}

fn nonce(ordinal: u32, random: [u8; RANDOM_BYTES]) -> Nonce {
    let mut bytes = [0; 12];
    let (place, chance) = bytes.split_at_mut(4);
    place.copy_from_slice(&ordinal.to_le_bytes());
    chance.copy_from_slice(&random);
    Nonce::assume_unique_for_key(bytes)
}

/// BLAKE3's key derivation over the joined parts.
pub(crate) fn derive(context: &'static str, parts: &[&[u8]]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    Zeroizing::new(*hasher.finalize().as_bytes())
}

/// Bytes joined, for contexts and additional data.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The public half of a key pair to which keys are encapsulated.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublic(Box<[u8; KEM_PUBLIC_BYTES]>);

/// The private half, as its 32-byte seed.
#[derive(Clone)]
pub struct KemSecret {
    seed: Secret,
    /// Keys that it opened, where it keeps them, by BLAKE3 of what they were opened from.
    opened: Option<Arc<Mutex<HashMap<Hash, Secret>>>>,
}

impl KemPublic {
    /// A public key from its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<KemPublic, Malformed> {
        let bytes = <[u8; KEM_PUBLIC_BYTES]>::try_from(bytes)
            .map_err(|_| Malformed::new("a public key", "wrong length"))?;
        <XWing as Kem>::PublicKey::from_bytes(&bytes)
            .map_err(|_| Malformed::new("a public key", "not a point of X-Wing"))?;
        Ok(KemPublic(Box::new(bytes)))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    /// A fresh key and its encapsulation, which only the private half opens.
    pub(crate) fn encapsulate(&self, info: &[u8], rng: &mut dyn CryptoRng) -> (Enc, SealKey) {
        let public = <XWing as Kem>::PublicKey::from_bytes(&self.0[..]).expect("checked when it was made");
        let mut rng = rng;
        let (enc, context) = hpke::setup_sender_with_rng::<ExportOnlyAead, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public,
            info,
            &mut rng,
        )
        .expect("encapsulating to a valid X-Wing key cannot fail");
        let mut key = Zeroizing::new([0; 32]);
        context.export(b"key", &mut key[..]).expect("32 bytes are far below the limit of HKDF");
        let mut bytes = Box::new([0; ENC_BYTES]);
        enc.write_exact(&mut bytes[..]);
        (Enc(bytes), SealKey::new(&key))
    }
}

impl std::fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KemPublic({})", crate::id::Hash::of(self.as_bytes()))
    }
}

impl KemSecret {
    /// A private key from its seed.
    pub fn from_seed(seed: Secret) -> KemSecret {
        KemSecret { seed, opened: None }
    }

    /// The same key, which keeps what it opens from now on, as its copies do: for a simulation, in which many hosts of one
    /// process open the same objects over and over. It is no faster where an object is opened once.
    #[doc(hidden)]
    pub fn keeping_opened(self) -> KemSecret {
        KemSecret { opened: Some(Arc::default()), ..self }
    }

    /// Its seed.
    pub fn seed(&self) -> &Secret {
        &self.seed
    }

    /// The public half.
    pub fn public(&self) -> KemPublic {
        let mut bytes = Box::new([0; KEM_PUBLIC_BYTES]);
        XWing::sk_to_pk(&self.private()).write_exact(&mut bytes[..]);
        KemPublic(bytes)
    }

    /// The key in `enc`. A wrong private key gives some other key, which the commitment then tells.
    pub(crate) fn decapsulate(&self, info: &[u8], enc: &Enc) -> Result<SealKey, Error> {
        let Some(opened) = &self.opened else {
            let key = self.opens(info, enc)?;
            return Ok(SealKey::new(&key));
        };
        let name = Hash::of(&join(&[info, &enc.0[..]]));
        let known = opened.lock().expect("no holder of this lock panics").get(&name).cloned();
        let key = known.map_or_else(|| self.opens(info, enc), Ok)?;
        opened.lock().expect("no holder of this lock panics").insert(name, key.clone());
        Ok(SealKey::new(&key))
    }

    fn opens(&self, info: &[u8], enc: &Enc) -> Result<Secret, Error> {
        let enc = <XWing as Kem>::EncappedKey::from_bytes(&enc.0[..])
            .map_err(|_| Malformed::new("an encapsulated key", "not a value of X-Wing"))?;
        let context = hpke::setup_receiver::<ExportOnlyAead, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.private(),
            &enc,
            info,
        )
        .map_err(|_| Malformed::new("an encapsulated key", "does not decapsulate"))?;
        let mut key = Zeroizing::new([0; 32]);
        context.export(b"key", &mut key[..]).expect("32 bytes are far below the limit of HKDF");
        Ok(key)
    }

    fn private(&self) -> <XWing as Kem>::PrivateKey {
        <XWing as Kem>::PrivateKey::from_bytes(&self.seed[..]).expect("any 32 bytes are an X-Wing seed")
    }
}

impl std::fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KemSecret")
    }
}

/// An encapsulated key, as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Enc(pub(crate) Box<[u8; ENC_BYTES]>);

impl Enc {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Enc, Malformed> {
        let bytes = <[u8; ENC_BYTES]>::try_from(bytes)
            .map_err(|_| Malformed::new("an encapsulated key", "wrong length"))?;
        Ok(Enc(Box::new(bytes)))
    }
}

/// Who signs: a writer or the root.
#[derive(Clone)]
pub struct Signer(SigningKey);

impl Signer {
    /// The signer of this seed.
    pub fn from_seed(seed: &Secret) -> Signer {
        Signer(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Appends the signature of all of `bytes` under `context`.
    pub(crate) fn sign(&self, context: &str, bytes: &mut Vec<u8>) {
        use ed25519_dalek::Signer as _;
        let signature = self.0.sign(&message(context, bytes));
        bytes.extend_from_slice(&signature.to_bytes());
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", crate::id::WriterId::of(&self.public()))
    }
}

/// The bytes before the signature, after it was found to hold for `public`.
pub(crate) fn verified<'b>(
    what: &'static str,
    context: &str,
    public: &[u8; 32],
    bytes: &'b [u8],
) -> Result<&'b [u8], Error> {
    let (body, signature) = split_signature(what, bytes)?;
    let key = VerifyingKey::from_bytes(public).map_err(|_| Error::BadSignature(what))?;
    key.verify_strict(&message(context, body), &Signature::from_bytes(signature))
        .map_err(|_| Error::BadSignature(what))?;
    Ok(body)
}

/// The bytes before the signature and the signature, not yet verified.
pub(crate) fn split_signature<'b>(
    what: &'static str,
    bytes: &'b [u8],
) -> Result<(&'b [u8], &'b [u8; 64]), Malformed> {
    bytes.split_last_chunk().ok_or_else(|| Malformed::new(what, "shorter than a signature"))
}

fn message(context: &str, body: &[u8]) -> Vec<u8> {
    join(&[context.as_bytes(), blake3::hash(body).as_bytes()])
}

#[cfg(test)]
mod tests;
