//! Ids: fixed bytes with one parser, one spelling (lower-case hexadecimal) and one place in records (byte strings).

use std::fmt;

/// Text that is not the hexadecimal form of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {expected} hexadecimal digits")]
pub struct BadId {
    /// How many digits the id has.
    pub expected: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = $len;

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Reads the hexadecimal form.
            pub fn parse(text: &str) -> Result<$name, BadId> {
                let mut bytes = [0; $len];
                unhex(text.as_bytes(), &mut bytes).ok_or(BadId { expected: $len * 2 })?;
                Ok($name(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<$name, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                bytes.try_into().map($name).map_err(|_| {
                    minicbor::decode::Error::message(concat!("wrong length for ", stringify!($name)))
                })
            }
        }
    };
}

id!(
    /// A repository: BLAKE3 of its genesis object. Also the trust anchor.
    RepoId, 32
);
id!(
    /// A domain: the scope of keys, deduplication and erasure.
    DomainId, 16
);
id!(
    /// A slot: a bundle of keys sealed for one secret.
    SlotId, 16
);
id!(
    /// A writer: the first half of BLAKE3 of its public key.
    WriterId, 16
);
id!(
    /// A session: one writer or reader at work; also one chain of the log.
    SessionId, 16
);
id!(
    /// A pack: the session that uploaded it and 16 random bytes.
    PackId, 32
);
id!(
    /// A run of the chunk index.
    RunId, 16
);
id!(
    /// A chunk: keyed BLAKE3 of its plain bytes.
    ChunkId, 32
);
id!(
    /// A recovery point.
    PointId, 16
);
id!(
    /// One life of a region; a region restored from elsewhere gets another.
    Incarnation, 16
);
id!(
    /// A sweep of one region.
    SweepId, 16
);
id!(
    /// A legal hold.
    HoldId, 16
);
id!(
    /// BLAKE3 of an object: a log entry's name, a brought object's check.
    Hash, 32
);

impl Hash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// What stands before the first entry of a chain.
    pub const NONE: Hash = Hash([0; 32]);
}

impl PackId {
    /// The id of a pack that `session` uploads, with 16 random bytes.
    pub fn new(session: SessionId, random: [u8; 16]) -> PackId {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(session.0.iter().chain(&random)) {
            *to = *from;
        }
        PackId(bytes)
    }

    /// The session that uploaded it.
    pub fn session(&self) -> SessionId {
        SessionId(*self.0.first_chunk().expect("a pack id is longer than a session id"))
    }

    /// The first random byte; spreads packs over folders.
    pub fn spread(&self) -> u8 {
        self.0.get(16).copied().unwrap_or_default()
    }
}

impl WriterId {
    /// The writer whose public key this is.
    pub fn of(public_key: &[u8; 32]) -> WriterId {
        WriterId(
            *blake3::hash(public_key).as_bytes().first_chunk().expect("a hash is longer than a writer id"),
        )
    }
}

fn unhex(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != bytes.len() {
        return None;
    }
    for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
        *to = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(())
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => c.checked_sub(b'0'),
        b'a'..=b'f' => c.checked_sub(b'a')?.checked_add(10),
        _ => None,
    }
}

/// SHA-256 (FIPS 180-4) in hexadecimal: nothing here rests on it, but every machine can compute it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal of any bytes.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for b in bytes {
        write!(text, "{b:02x}").expect("writing to a string cannot fail");
    }
    text
}

/// Bytes of lower-case hexadecimal text; `None` if it is not that.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() / 2];
    unhex(text.as_bytes(), &mut bytes)?;
    Some(bytes)
}

/// The first half of a chunk's id: what runs and directories keep. Of a keyed hash, which chance does not hit twice; whoever
/// reads a chunk compares the whole id.
pub type ChunkHalf = [u8; 16];

impl ChunkId {
    /// Its first half.
    pub fn half(&self) -> ChunkHalf {
        *self.0.first_chunk().expect("an id is longer than its half")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = WriterId([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(WriterId::parse(&id.to_string()), Ok(id));
        for bad in ["", "ab", &"AB".repeat(16), &"ag".repeat(16), &"ab".repeat(17)] {
            assert!(WriterId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pack_names_its_session() {
        let pack = PackId::new(SessionId([1; 16]), [2; 16]);
        assert_eq!((pack.session(), pack.spread()), (SessionId([1; 16]), 2));
    }

    #[test]
    fn ids_of_the_wrong_length_do_not_decode() {
        let bytes = minicbor::to_vec(Hash::NONE).expect("encodes");
        assert_eq!(minicbor::decode::<Hash>(&bytes).ok(), Some(Hash::NONE));
        assert!(minicbor::decode::<WriterId>(&bytes).is_err());
    }
}
