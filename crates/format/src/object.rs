//! What all objects share: ten bytes in front, size classes behind, and the difference between plain and sealed.

use crate::cbor::Malformed;
use crate::error::Error;

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u16 = 1;

/// The version of the draft, which was never promised.
pub(crate) const DRAFT: u16 = 0;

/// Length of the bytes in front of every object.
pub const HEAD_BYTES: usize = 10;

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// The first object of a repository.
    Genesis,
    /// Keys sealed for one secret.
    Slot,
    /// Frames.
    Pack,
    /// A piece of the chunk index.
    Run,
    /// One entry of the log.
    Entry,
    /// A session, opened or renewed.
    Session,
    /// What a sweep condemned.
    SweepPart,
}

impl ObjectKind {
    fn letter(self) -> u8 {
        match self {
            ObjectKind::Genesis => b'F',
            ObjectKind::Slot => b'K',
            ObjectKind::Pack => b'P',
            ObjectKind::Run => b'R',
            ObjectKind::Entry => b'L',
            ObjectKind::Session => b'S',
            ObjectKind::SweepPart => b'W',
        }
    }

    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            ObjectKind::Genesis => "the genesis object",
            ObjectKind::Slot => "a key slot",
            ObjectKind::Pack => "a pack",
            ObjectKind::Run => "a run",
            ObjectKind::Entry => "a log entry",
            ObjectKind::Session => "a session object",
            ObjectKind::SweepPart => "a sweep part",
        }
    }

    /// The ten bytes in front.
    pub fn head(self) -> [u8; HEAD_BYTES] {
        let [low, high] = VERSION.to_le_bytes();
        [b's', b'e', b'a', b'w', b'a', b'l', b'l', self.letter(), low, high]
    }

    /// What comes after the ten bytes, or why they are wrong.
    pub fn strip(self, bytes: &[u8]) -> Result<&[u8], Error> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(Malformed::new(self.name(), "shorter than its first ten bytes").into());
        };
        let [known @ .., low, high] = self.head();
        let (kind, version) = head.split_at(known.len());
        if kind != known {
            return Err(Malformed::new(self.name(), "the first bytes are not those of its kind").into());
        }
        let found = u16::from_le_bytes([
            version.first().copied().unwrap_or(low),
            version.get(1).copied().unwrap_or(high),
        ]);
        match found {
            VERSION => Ok(rest),
            DRAFT => Err(Malformed::new(self.name(), "it has the version of the draft").into()),
            _ => Err(Error::Newer { what: self.name(), found, known: VERSION }),
        }
    }
}

/// Bytes that may leave the process: sealed, signed, or without meaning. Only this crate makes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    pub(crate) fn new(bytes: Vec<u8>) -> Sealed {
        Sealed(bytes)
    }

    /// The bytes to store.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The bytes to store, to look at.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Smallest size of a pack or a run: tells small backups apart by nothing.
pub const SIZE_CLASS_MIN: u64 = 16 << 10;

/// Smallest plain size of the sealed part of a log entry.
pub const ENTRY_CLASS_MIN: u64 = 1 << 10;

/// The size class of `length`: the next one of at least `min` with few enough significant bits that the overhead stays
/// under 12 % and the number of classes grows with the logarithm (Padmé; Nikitin et al., PURBs, PETS 2019).
pub fn size_class(length: u64, min: u64) -> u64 {
    let length = length.max(min).max(2);
    let exponent = length.ilog2();
    let significant = exponent.ilog2().saturating_add(1);
    let grain = 1u64 << exponent.saturating_sub(significant);
    length.next_multiple_of(grain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_fixed_points_and_cost_little() {
        for length in [1, 16 << 10, 16_385, 100_000, 1 << 20, (1 << 20) + 1, 33_000_000] {
            let class = size_class(length, SIZE_CLASS_MIN);
            assert_eq!(size_class(class, SIZE_CLASS_MIN), class);
            assert!(
                class >= length && (length < SIZE_CLASS_MIN || class <= length + length * 12 / 100),
                "{length} {class}"
            );
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut head = ObjectKind::Run.head().to_vec();
        assert_eq!(ObjectKind::Run.strip(&head), Ok(&[][..]));
        assert!(matches!(ObjectKind::Pack.strip(&head), Err(Error::Malformed(_))));
        head[8] = 2;
        assert_eq!(ObjectKind::Run.strip(&head), Err(Error::Newer { what: "a run", found: 2, known: 1 }));
        head[8] = 0;
        assert!(matches!(ObjectKind::Run.strip(&head), Err(Error::Malformed(_))), "none was ever written");
    }
}
