//! Two implementations seal to the same bytes; nothing opens after a change.

use super::*;
use aes_gcm::aead::{AeadInOut, KeyInit};
use proptest::prelude::*;

struct Seeded(blake3::OutputReader);

impl rand_core::TryRng for Seeded {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut b = [0; 4];
        self.0.fill(&mut b);
        Ok(u32::from_le_bytes(b))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut b = [0; 8];
        self.0.fill(&mut b);
        Ok(u64::from_le_bytes(b))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Seeded {}

fn rng(seed: u8) -> Seeded {
    Seeded(blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof())
}

fn secret(byte: u8) -> KemSecret {
    KemSecret::from_seed(Zeroizing::new([byte; 32]))
}

/// What the independent implementation makes of the same key, nonce, additional data and plain bytes.
fn reference_seal(key: &[u8; 32], ordinal: u32, random: [u8; 8], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let cipher = aes_gcm::Aes256Gcm::new(key.into());
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&ordinal.to_le_bytes());
    nonce[4..].copy_from_slice(&random);
    let mut body = plain.to_vec();
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), aad, body.as_mut_slice().into())
        .expect("the reference seals");
    [&random[..], &body, tag.as_slice()].concat()
}

proptest! {
    #[test]
    fn both_implementations_seal_to_the_same_bytes(
        key: [u8; 32], ordinal: u32, random: [u8; 8], aad: Vec<u8>, plain in prop::collection::vec(any::<u8>(), 0..5000),
    ) {
        let ours = SealKey::new(&key);
        let mut sealed = Vec::new();
        ours.seal(&mut sealed, ordinal, random, &aad, &plain);
        prop_assert_eq!(&sealed, &reference_seal(&key, ordinal, random, &aad, &plain));
        prop_assert_eq!(sealed.len(), plain.len() + SEAL_OVERHEAD);
        let mut opened = Vec::new();
        ours.open("a test", &mut opened, ordinal, &aad, &sealed).unwrap();
        prop_assert_eq!(opened, plain);
    }

    #[test]
    fn nothing_opens_after_a_change(at in 0usize..64, flip in 1u8..=255) {
        let key = SealKey::new(&[7; 32]);
        let mut sealed = Vec::new();
        key.seal(&mut sealed, 3, [1; 8], b"place", &[9; 40]);
        sealed[at] ^= flip;
        let mut out = vec![5];
        prop_assert_eq!(key.open("a test", &mut out, 3, b"place", &sealed), Err(Error::Altered("a test")));
        prop_assert_eq!(&out, &vec![5]);
        prop_assert!(key.open_again("a test", &mut out, 3, b"place", &sealed).is_err());
        prop_assert_eq!(out, vec![]);
    }
}

#[test]
fn a_seal_holds_for_its_place_only() {
    let key = SealKey::new(&[7; 32]);
    let mut sealed = Vec::new();
    key.seal(&mut sealed, 3, [1; 8], b"place", b"plain");
    for (ordinal, aad) in [(4, &b"place"[..]), (3, b"other")] {
        assert!(key.open("a test", &mut Vec::new(), ordinal, aad, &sealed).is_err());
    }
    assert!(key.open("a test", &mut Vec::new(), 3, b"place", &sealed[..20]).is_err());
}

#[test]
fn what_is_encapsulated_opens_with_the_private_half_only() {
    let (enc, key) = secret(1).public().encapsulate(b"info", &mut rng(1));
    let same = secret(1).decapsulate(b"info", &enc).unwrap();
    assert_eq!(same.commitment(), key.commitment());
    for (byte, info) in [(2, &b"info"[..]), (1, b"else")] {
        let other = secret(byte).decapsulate(info, &enc).unwrap();
        assert_eq!(other.check("a test", &key.commitment()), Err(Error::WrongKey("a test")));
    }
}

#[test]
fn a_signature_holds_for_its_context_and_bytes_only() {
    let signer = Signer::from_seed(&Zeroizing::new([4; 32]));
    let mut bytes = b"words".to_vec();
    signer.sign("context", &mut bytes);
    assert_eq!(verified("a test", "context", &signer.public(), &bytes), Ok(&b"words"[..]));
    assert!(verified("a test", "another", &signer.public(), &bytes).is_err());
    assert!(verified("a test", "context", &[0; 32], &bytes).is_err());
    bytes[0] ^= 1;
    assert!(verified("a test", "context", &signer.public(), &bytes).is_err());
}
