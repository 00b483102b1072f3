//! Session objects and sweep parts: who is at work in a region, and what its sweeps condemned; sections 10 and 11 of
//! `docs/format.md`.

use minicbor::{Decode, Encode};

use crate::cbor::{self, Malformed};
use crate::entry::LogicalTime;
use crate::error::Error;
use crate::id::{Incarnation, PackId, PointId, RepoId, SessionId, SweepId, WriterId};
use crate::limit::{ENTRY_BYTES_MAX, SMALL_OBJECT_BYTES_MAX};
use crate::object::{ObjectKind, Sealed};
use crate::seal::{Signer, split_signature, verified};

/// What a session does. It is told to people; whoever does not know the number treats the session like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Adds points.
    Write,
    /// Restores or verifies.
    Read,
    /// Moves frames.
    Sweep,
    /// Brings another region up to date.
    Replicate,
    /// Something that a later program does.
    Other(u8),
}

impl<C> Encode<C> for Purpose {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let number = match self {
            Purpose::Write => 0,
            Purpose::Read => 1,
            Purpose::Sweep => 2,
            Purpose::Replicate => 3,
            Purpose::Other(number) => *number,
        };
        e.u8(number)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Purpose {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Purpose, minicbor::decode::Error> {
        Ok(match d.u8()? {
            0 => Purpose::Write,
            1 => Purpose::Read,
            2 => Purpose::Sweep,
            3 => Purpose::Replicate,
            number => Purpose::Other(number),
        })
    }
}

/// One part of one sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct PartId {
    /// Number of the sweep.
    #[n(0)]
    pub number: u32,
    /// Its id.
    #[n(1)]
    pub sweep: SweepId,
    /// Number of the part.
    #[n(2)]
    pub part: u32,
}

/// A session as it stands in one region: number 0 opens it, each later one renews it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Session {
    /// The repository.
    #[n(0)]
    pub repo: RepoId,
    /// The writer.
    #[n(1)]
    pub writer: WriterId,
    /// The writer's Ed25519 public key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub public_key: [u8; 32],
    /// The session.
    #[n(3)]
    pub session: SessionId,
    /// Which renewal.
    #[n(4)]
    pub number: u32,
    /// The region.
    #[n(5)]
    pub region: String,
    /// The region's incarnation.
    #[n(6)]
    pub incarnation: Incarnation,
    /// What it does.
    #[n(7)]
    pub purpose: Purpose,
    /// Points whose closure nobody may take from under it.
    #[n(8)]
    pub roots: Vec<PointId>,
    /// Condemned parts against which all its uncommitted references were checked.
    #[n(9)]
    pub covers: Vec<PartId>,
    /// When.
    #[n(10)]
    pub time: LogicalTime,
}

impl Session {
    /// The signed object.
    pub fn seal(&self, signer: &Signer) -> Sealed {
        signed(ObjectKind::Session, "seawall 1 session", cbor::encode(self), signer)
    }

    /// Reads a session object of `repo` and checks its signature against the public key it carries.
    pub fn decode(bytes: &[u8], repo: &RepoId) -> Result<Session, Error> {
        let session: Session =
            open(ObjectKind::Session, "seawall 1 session", SMALL_OBJECT_BYTES_MAX, bytes, |s: &Session| {
                (s.public_key, s.writer, s.repo)
            })?;
        if &session.repo == repo { Ok(session) } else { Err(Error::Foreign(ObjectKind::Session.name())) }
    }
}

/// Packs that one part of a sweep condemned, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SweepPart {
    /// The repository.
    #[n(0)]
    pub repo: RepoId,
    /// The maintainer.
    #[n(1)]
    pub writer: WriterId,
    /// The maintainer's Ed25519 public key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub public_key: [u8; 32],
    /// The region.
    #[n(3)]
    pub region: String,
    /// The region's incarnation.
    #[n(4)]
    pub incarnation: Incarnation,
    /// Number of the sweep.
    #[n(5)]
    pub number: u32,
    /// Its id.
    #[n(6)]
    pub sweep: SweepId,
    /// Number of the part.
    #[n(7)]
    pub part: u32,
    /// The condemned packs, sorted.
    #[n(8)]
    pub packs: Vec<PackId>,
    /// When.
    #[n(9)]
    pub time: LogicalTime,
}

impl SweepPart {
    /// Its place among parts.
    pub fn id(&self) -> PartId {
        PartId { number: self.number, sweep: self.sweep, part: self.part }
    }

    /// The signed object.
    pub fn seal(&self, signer: &Signer) -> Sealed {
        signed(ObjectKind::SweepPart, "seawall 1 sweep", cbor::encode(self), signer)
    }

    /// Reads a sweep part of `repo` and checks its signature against the public key it carries.
    pub fn decode(bytes: &[u8], repo: &RepoId) -> Result<SweepPart, Error> {
        let part: SweepPart =
            open(ObjectKind::SweepPart, "seawall 1 sweep", ENTRY_BYTES_MAX, bytes, |s: &SweepPart| {
                (s.public_key, s.writer, s.repo)
            })?;
        if &part.repo != repo {
            return Err(Error::Foreign(ObjectKind::SweepPart.name()));
        }
        if !part.packs.is_sorted() {
            return Err(Malformed::new(ObjectKind::SweepPart.name(), "its packs are not sorted").into());
        }
        Ok(part)
    }
}

fn signed(kind: ObjectKind, context: &str, record: Vec<u8>, signer: &Signer) -> Sealed {
    let mut bytes = kind.head().to_vec();
    bytes.extend_from_slice(&record);
    signer.sign(context, &mut bytes);
    Sealed::new(bytes)
}

fn open<T: for<'b> Decode<'b, ()>>(
    kind: ObjectKind,
    context: &str,
    most: usize,
    bytes: &[u8],
    who: impl Fn(&T) -> ([u8; 32], WriterId, RepoId),
) -> Result<T, Error> {
    if bytes.len() > most {
        return Err(Malformed::new(kind.name(), "larger than is allowed").into());
    }
    let (body, _) = split_signature(kind.name(), bytes)?;
    let record: T = cbor::decode(kind.name(), kind.strip(body)?)?;
    let (public_key, writer, _) = who(&record);
    verified(kind.name(), context, &public_key, bytes)?;
    if WriterId::of(&public_key) != writer {
        return Err(Error::Foreign(kind.name()));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn session(signer: &Signer) -> Session {
        Session {
            repo: RepoId([1; 32]),
            writer: WriterId::of(&signer.public()),
            public_key: signer.public(),
            session: SessionId([2; 16]),
            number: 3,
            region: "home".into(),
            incarnation: Incarnation([4; 16]),
            purpose: Purpose::Read,
            roots: vec![PointId([5; 16])],
            covers: vec![PartId { number: 1, sweep: SweepId([6; 16]), part: 0 }],
            time: LogicalTime { time: 7, counter: 8 },
        }
    }

    #[test]
    fn a_session_is_read_as_it_was_signed_and_not_after_a_change() {
        let signer = Signer::from_seed(&Zeroizing::new([9; 32]));
        let (session, repo) = (session(&signer), RepoId([1; 32]));
        let sealed = session.seal(&signer);
        assert_eq!(Session::decode(sealed.as_bytes(), &repo), Ok(session));
        assert!(matches!(Session::decode(sealed.as_bytes(), &RepoId([0; 32])), Err(Error::Foreign(_))));
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 4;
            assert!(Session::decode(&bytes, &repo).is_err(), "byte {at}");
            assert!(Session::decode(&bytes[..at], &repo).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn nobody_signs_for_somebody_else() {
        let (me, other) =
            (Signer::from_seed(&Zeroizing::new([9; 32])), Signer::from_seed(&Zeroizing::new([8; 32])));
        let forged = Session { writer: WriterId::of(&other.public()), ..session(&me) };
        assert!(matches!(Session::decode(forged.seal(&me).as_bytes(), &forged.repo), Err(Error::Foreign(_))));
    }
}
