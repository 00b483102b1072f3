//! Facts: what entries say; section 9 of `docs/format.md`.
//!
//! A fact of an unknown type is kept and copied as it is; if it is critical for a verb, whoever does not know it must
//! refuse that verb.

use minicbor::{Decode, Encode};

use crate::cbor::{self, Malformed};
use crate::entry::EntryId;
use crate::id::{DomainId, Hash, HoldId, Incarnation, PackId, PointId, SessionId, WriterId};
use crate::key::Generation;
use crate::reference::Reference;

/// The namespace of our own facts.
pub const NAMESPACE: &str = "seawall";

/// CBOR of a record without elements.
const EMPTY_ARRAY: u8 = 0x80;

/// A fact as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RawFact {
    /// Who defined the type.
    #[n(0)]
    pub namespace: String,
    /// Type within the namespace.
    #[n(1)]
    pub kind: u32,
    /// Version of the type.
    #[n(2)]
    pub version: u32,
    /// Verbs that must be refused by whoever does not know the type.
    #[n(3)]
    pub critical: Vec<String>,
    /// The record.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// A writer is let in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Grant {
    /// The writer's Ed25519 public key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub public_key: [u8; 32],
    /// What a person calls the writer, usually the host's name.
    #[n(1)]
    pub name: String,
    /// Sum of [`Grant::ADD`], [`Grant::MAINTAIN`], [`Grant::ADMINISTER`].
    #[n(2)]
    pub rights: u32,
    /// Sources it may add points for; `None` for all.
    #[n(3)]
    pub sources: Option<Vec<String>>,
    /// UTC nanoseconds.
    #[n(4)]
    pub time: i64,
}

impl Grant {
    /// May add points.
    pub const ADD: u32 = 1;
    /// May forget, sweep, repair.
    pub const MAINTAIN: u32 = 2;
    /// May let others in.
    pub const ADMINISTER: u32 = 4;
}

/// A writer's later entries do not count.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Revoke {
    /// The writer.
    #[n(0)]
    pub writer: WriterId,
    /// Per session, the last entry that counts, and its hash: whoever holds the key now cannot write another history up
    /// to it. Sessions that are not named do not count.
    #[n(1)]
    pub counts: Vec<(SessionId, u32, Hash)>,
    /// Why, for people.
    #[n(2)]
    pub reason: String,
}

/// A domain's public keys of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct DomainKeys {
    /// The domain.
    #[n(0)]
    pub domain: DomainId,
    /// The generation.
    #[n(1)]
    pub generation: u32,
    /// Seals frames.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub data_public: Vec<u8>,
    /// Seals directories and facts.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub catalog_public: Vec<u8>,
}

impl DomainKeys {
    /// What is stated of a generation.
    pub fn of(domain: DomainId, generation: &Generation) -> DomainKeys {
        DomainKeys {
            domain,
            generation: generation.number,
            data_public: generation.data_public.as_bytes().to_vec(),
            catalog_public: generation.catalog_public.as_bytes().to_vec(),
        }
    }
}

/// A sweeper saw a session silent for too long.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Expired {
    /// The silent writer.
    #[n(0)]
    pub writer: WriterId,
    /// Its session.
    #[n(1)]
    pub session: SessionId,
    /// The region in which it was watched.
    #[n(2)]
    pub region: String,
}

/// Frames have another place in one region.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Moved {
    /// The region.
    #[n(0)]
    pub region: String,
    /// Its incarnation.
    #[n(1)]
    pub incarnation: Incarnation,
    /// Origin pack, ordinals, new pack.
    #[n(2)]
    pub frames: Vec<(PackId, Vec<u32>, PackId)>,
}

/// A feature that this repository uses.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Feature {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// 0 compatible, 1 no write, 2 no read, 3 no sweep for whoever does not know it.
    #[n(1)]
    pub effect: u8,
}

/// A region and its present life.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RegionFact {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Its incarnation.
    #[n(1)]
    pub incarnation: Incarnation,
}

/// What a point was compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum PointKind {
    /// With nothing: everything was read, and only what was verified was used again.
    #[n(0)]
    Full,
    /// With the point before it.
    #[n(1)]
    Incremental,
    /// With the last full point.
    #[n(2)]
    Differential,
}

impl PointKind {
    /// What scripts call it.
    pub fn name(self) -> &'static str {
        match self {
            PointKind::Full => "full",
            PointKind::Incremental => "incremental",
            PointKind::Differential => "differential",
        }
    }
}

/// How much a point holds and cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Sizes {
    /// Regular files.
    #[n(0)]
    pub files: u64,
    /// Folders.
    #[n(1)]
    pub directories: u64,
    /// Everything else.
    #[n(2)]
    pub others: u64,
    /// Sum of the files' sizes in bytes.
    #[n(3)]
    pub bytes_logical: u64,
    /// Plain bytes of chunks that were not there before.
    #[n(4)]
    pub bytes_new: u64,
    /// Bytes uploaded for this point.
    #[n(5)]
    pub bytes_stored: u64,
}

/// A recovery point: a complete tree.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Point {
    /// Its id.
    #[n(0)]
    pub id: PointId,
    /// What it protects.
    #[n(1)]
    pub source: String,
    /// The host that read it.
    #[n(2)]
    pub host: String,
    /// What it was compared with.
    #[n(3)]
    pub kind: PointKind,
    /// The point it was compared with.
    #[n(4)]
    pub basis: Option<PointId>,
    /// The instant before the first read that contributes, in UTC nanoseconds.
    #[n(5)]
    pub as_of: i64,
    /// When the work began, in UTC nanoseconds.
    #[n(6)]
    pub begun: i64,
    /// When the work was done, in UTC nanoseconds.
    #[n(7)]
    pub finished: i64,
    /// The paths that were asked for, raw.
    #[n(8)]
    pub paths: Vec<minicbor::bytes::ByteVec>,
    /// The root node of its tree.
    #[n(9)]
    pub root: Reference,
    /// How much it holds and cost.
    #[n(10)]
    pub sizes: Sizes,
    /// How many items could not be read.
    #[n(11)]
    pub problems: u64,
    /// The first [`Point::PROBLEMS_MAX`] of them: path and what happened.
    #[n(12)]
    pub problem_list: Vec<(minicbor::bytes::ByteVec, String)>,
    /// Labels.
    #[n(13)]
    pub tags: Vec<(String, String)>,
    /// Generation of the cutter.
    #[n(14)]
    pub cutter: u32,
    /// Program and version that made it.
    #[n(15)]
    pub program: String,
    /// Bytes that a whole restore fetches over bytes it needs, in thousandths.
    #[n(16)]
    pub amplification: u32,
}

impl Point {
    /// How many problems are listed by name.
    pub const PROBLEMS_MAX: usize = 1000;
}

/// Points are no longer wanted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Forget {
    /// The points.
    #[n(0)]
    pub points: Vec<PointId>,
    /// Regions it holds for; `None` for all.
    #[n(1)]
    pub regions: Option<Vec<String>>,
    /// Why, for people.
    #[n(2)]
    pub reason: String,
}

/// Points are wanted after all.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Undo {
    /// The points, each with the entries that forgot it and no longer count; a forgetting that this one has not seen
    /// still does.
    #[n(0)]
    pub points: Vec<(PointId, Vec<EntryId>)>,
}

/// A point is kept whatever retention says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Pin {
    /// The point.
    #[n(0)]
    pub point: PointId,
    /// Until when, in UTC nanoseconds; `None` without end.
    #[n(1)]
    pub until: Option<i64>,
}

/// A legal hold.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Hold {
    /// Its id.
    #[n(0)]
    pub hold: HoldId,
    /// One point, or
    #[n(1)]
    pub point: Option<PointId>,
    /// all points of a source.
    #[n(2)]
    pub source: Option<String>,
    /// Why, for people.
    #[n(3)]
    pub reason: String,
}

/// A hold is over.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Release {
    /// The hold.
    #[n(0)]
    pub hold: HoldId,
}

/// A point was verified.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Verified {
    /// The point.
    #[n(0)]
    pub point: PointId,
    /// 0 to 3.
    #[n(1)]
    pub level: u8,
    /// Where.
    #[n(2)]
    pub region: String,
    /// When it was done, in UTC nanoseconds.
    #[n(3)]
    pub time: i64,
    /// How many problems were found.
    #[n(4)]
    pub problems: u64,
    /// Objects looked at.
    #[n(5)]
    pub objects: u64,
    /// Bytes read.
    #[n(6)]
    pub bytes: u64,
}

/// Chunks that were damaged have been stored again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Substitute {
    /// Reference that is lost, reference to follow instead.
    #[n(0)]
    pub chunks: Vec<(Reference, Reference)>,
}

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident($record:ty) = $kind:literal, $clear:literal, [$($verb:literal),*];)*) => {
        /// A fact whose type is known here, or one that is only kept.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Fact {
            $($(#[$doc])* $name($record),)*
            /// This session is over.
            End,
            /// The writer read the logs behind all its entries before this one and was not expired.
            Acknowledged,
            /// A type that is not known here.
            Unknown(RawFact),
        }

        impl Fact {
            /// Reads a stored fact.
            pub fn decode(raw: RawFact) -> Result<Fact, Malformed> {
                if raw.namespace != NAMESPACE || raw.version != 0 {
                    return Ok(Fact::Unknown(raw));
                }
                match raw.kind {
                    4 => Ok(Fact::End),
                    11 => Ok(Fact::Acknowledged),
                    $($kind => Ok(Fact::$name(cbor::decode_prefix(stringify!($name), &raw.bytes)?.0)),)*
                    _ => Ok(Fact::Unknown(raw)),
                }
            }

            /// The fact as it is stored.
            pub fn encode(&self) -> RawFact {
                let own = |kind, critical: &[&str], bytes| RawFact {
                    namespace: NAMESPACE.to_owned(),
                    kind,
                    version: 0,
                    critical: critical.iter().map(|&verb| verb.to_owned()).collect(),
                    bytes,
                };
                match self {
                    Fact::End => own(4, &["sweep"], vec![EMPTY_ARRAY]),
                    Fact::Acknowledged => own(11, &[], vec![EMPTY_ARRAY]),
                    $(Fact::$name(record) => own($kind, &[$($verb),*], cbor::encode(record)),)*
                    Fact::Unknown(raw) => raw.clone(),
                }
            }

            /// Whether it belongs into the clear part of an entry.
            pub fn is_clear(&self) -> bool {
                match self {
                    Fact::End | Fact::Acknowledged => true,
                    $(Fact::$name(_) => $clear,)*
                    Fact::Unknown(_) => false,
                }
            }
        }
    };
}

facts! {
    /// A writer is let in.
    Grant(Grant) = 1, true, [];
    /// A writer's later entries do not count.
    Revoke(Revoke) = 2, true, ["restore", "sweep"];
    /// A domain's public keys.
    Domain(DomainKeys) = 3, true, [];
    /// A sweeper saw a session silent for too long.
    Expired(Expired) = 5, true, ["sweep"];
    /// Frames have another place.
    Moved(Moved) = 6, true, ["restore", "sweep"];
    /// A feature that this repository uses.
    Feature(Feature) = 7, true, [];
    /// A region and its present life.
    Region(RegionFact) = 8, true, [];
    /// A recovery point.
    Point(Box<Point>) = 16, false, ["sweep"];
    /// Points are no longer wanted.
    Forget(Forget) = 17, false, [];
    /// Points are wanted after all.
    Undo(Undo) = 18, false, ["sweep"];
    /// A point is kept whatever retention says.
    Pin(Pin) = 19, false, ["forget", "sweep"];
    /// A legal hold.
    Hold(Hold) = 20, false, ["forget", "sweep"];
    /// A hold is over.
    Release(Release) = 21, false, [];
    /// A point was verified.
    Verified(Verified) = 22, false, [];
    /// Chunks that were damaged have been stored again.
    Substitute(Substitute) = 23, false, ["restore", "sweep"];
}
