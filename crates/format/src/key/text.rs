//! Secrets and public keys as lines of text: a word, the bytes in hexadecimal, and a check that catches typing errors.
//!
//! The word says what the bytes are, so that a private key, a public one and a key file are never taken for each other.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::fresh;
use crate::cbor::Malformed;
use crate::error::Error;
use crate::id::{Hash, from_hex, hex};
use crate::seal::{KemPublic, KemSecret, Secret};

const KEY_FILE: &str = "seawall-key-1";
const PRIVATE: &str = "seawall-private-1";
const PUBLIC: &str = "seawall-public-1";
const PUBLIC_NAME: &str = "a recipient's public key";

/// What a text holds, by its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// A key file, or nothing that is known here.
    KeyFile,
    /// A bundle.
    Bundle,
    /// A recipient's private key.
    Private,
    /// A recipient's public key.
    Public,
}

impl TextKind {
    /// Looks at the first line that is no comment.
    pub fn of(text: &str) -> TextKind {
        let said = lines(text).next().unwrap_or_default();
        let starts = |word: &str| said.starts_with(word);
        match () {
            () if starts("seawall-bundle-") => TextKind::Bundle,
            () if starts("seawall-private-") => TextKind::Private,
            () if starts("seawall-public-") => TextKind::Public,
            () => TextKind::KeyFile,
        }
    }
}

/// The secret of a key file.
#[derive(Clone)]
pub struct KeyFile(pub(super) Secret);

impl KeyFile {
    /// A fresh one.
    pub fn fresh(rng: &mut dyn CryptoRng) -> KeyFile {
        KeyFile(fresh(rng))
    }

    /// The line that holds the secret; a file may have comment lines before it.
    pub fn to_text(&self) -> Zeroizing<String> {
        line(KEY_FILE, &self.0[..])
    }

    /// Reads a key file; a typing error is told by its check.
    pub fn from_text(text: &str) -> Result<KeyFile, Error> {
        checked_secret("a key file", KEY_FILE, text).map(KeyFile)
    }
}

impl KemSecret {
    /// The line of a recipient's private file.
    pub fn to_text(&self) -> Zeroizing<String> {
        line(PRIVATE, &self.seed()[..])
    }

    /// Reads a recipient's private file.
    pub fn from_text(text: &str) -> Result<KemSecret, Error> {
        checked_secret("a recipient's private key", PRIVATE, text).map(KemSecret::from_seed)
    }
}

impl KemPublic {
    /// The line that a recipient gives away.
    pub fn to_text(&self) -> String {
        line(PUBLIC, self.as_bytes()).to_string()
    }

    /// Reads a recipient's public line.
    pub fn from_text(text: &str) -> Result<KemPublic, Error> {
        Ok(KemPublic::from_bytes(&checked_line(PUBLIC_NAME, PUBLIC, text)?)?)
    }

    /// What people compare: BLAKE3 of it.
    pub fn fingerprint(&self) -> Hash {
        Hash::of(self.as_bytes())
    }
}

pub(super) fn line(word: &str, bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(format!("{word} {} {:.8}\n", hex(bytes), Hash::of(bytes).to_string()))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn checked_secret(what: &'static str, word: &str, text: &str) -> Result<Secret, Error> {
    let bytes = checked_line(what, word, text)?;
    let bytes = <[u8; 32]>::try_from(&bytes[..])
        .map_err(|_| Malformed::new(what, "the secret has not 64 hexadecimal digits"))?;
    Ok(Zeroizing::new(bytes))
}

pub(super) fn checked_line(what: &'static str, word: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bad = |why: &str| Error::from(Malformed::new(what, why));
    let line = lines(text).next().ok_or_else(|| bad("it is empty"))?;
    let mut words = line.split(' ');
    let (Some(first), Some(digits), Some(check), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("its first line should have three words: what it is, digits, a check"));
    };
    if first.strip_suffix('0').is_some_and(|same| word.strip_suffix('1') == Some(same)) {
        return Err(Error::Draft(what));
    }
    if first != word {
        return Err(bad(&format!("its line does not start with {word}")));
    }
    let bytes =
        from_hex(digits).map(Zeroizing::new).ok_or_else(|| bad("its second word is not hexadecimal"))?;
    if !Hash::of(&bytes).to_string().starts_with(check) || check.len() != 8 {
        return Err(bad("its check does not match: there is a typing error in it"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
