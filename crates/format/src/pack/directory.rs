//! A pack's directory: where each frame lies, which chunks it holds, which frames these refer to.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::{ContentKind, FrameId, FrameSet, Reference, SUITE, Tail};
use crate::cbor::{self, Fixed, Malformed, Octets};
use crate::compress::Codec;
use crate::error::Error;
use crate::id::{ChunkHalf, ChunkId, PackId};
use crate::limit::{FRAME_BYTES_MAX, PACK_FRAMES_MAX};
use crate::object::{HEAD_BYTES, VERSION};
use crate::run::RunEntry;
use crate::seal::{ENC_BYTES, Enc, SEAL_OVERHEAD};

const WHAT: &str = "a pack's directory";

#[derive(Encode, Decode)]
#[cbor(array)]
struct Record {
    #[n(0)]
    version: u16,
    #[n(1)]
    origins: Vec<OriginRecord>,
    #[n(2)]
    packs: Vec<PackId>,
    #[n(3)]
    frames: Vec<FrameRecord>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct OriginRecord {
    #[n(0)]
    pack: PackId,
    #[n(1)]
    suite: u8,
    #[n(2)]
    kind: u8,
    #[n(3)]
    generation: u32,
    #[n(4)]
    enc: Fixed<ENC_BYTES>,
    #[n(5)]
    commitment: Fixed<32>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct FrameRecord {
    #[n(0)]
    origin: u32,
    #[n(1)]
    ordinal: u32,
    #[n(2)]
    place: u64,
    #[n(3)]
    stored_length: u32,
    #[n(4)]
    codec: u8,
    #[n(5)]
    version: u8,
    #[n(6)]
    raw_length: u32,
    #[n(7)]
    ids: Octets,
    #[n(8)]
    lengths: Vec<u32>,
    #[n(9)]
    refs: Vec<(u32, Vec<u32>)>,
}

/// A pack that frames were first written to, with what is needed to open them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The pack.
    pub pack: PackId,
    /// What its frames hold.
    pub kind: ContentKind,
    /// Generation of its keys.
    pub generation: u32,
    pub(super) data_enc: Enc,
    pub(super) commitment: [u8; 32],
}

/// One frame in a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index into the directory's origins.
    pub origin: usize,
    /// Number in its origin pack.
    pub ordinal: u32,
    /// First byte in this object.
    pub place: u64,
    /// Length of the sealed bytes.
    pub stored_length: u32,
    /// How it is compressed.
    pub codec: Codec,
    /// Length of the raw bytes.
    pub raw_length: u32,
    /// Chunks in order: the first half of the id, and the length.
    pub chunks: Vec<(ChunkHalf, u32)>,
    /// Frames that the chunks refer to.
    pub refs: FrameSet,
}

impl Frame {
    /// Where the sealed bytes lie in the object.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.place..self.place.saturating_add(u64::from(self.stored_length))
    }
}

/// An opened directory, checked against itself: frames lie within the pack, chunks fill their frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The pack itself, then the packs that frames were moved from.
    pub origins: Vec<Origin>,
    /// All frames.
    pub frames: Vec<Frame>,
}

impl Directory {
    /// The frame of this identity.
    pub fn find(&self, id: FrameId) -> Option<&Frame> {
        let of = |f: &&Frame| f.ordinal == id.ordinal && self.origin(f).is_some_and(|o| o.pack == id.pack);
        let guess = self.frames.get(id.ordinal as usize).filter(of);
        guess.or_else(|| self.frames.iter().find(of))
    }

    /// The origin of `frame`.
    pub fn origin(&self, frame: &Frame) -> Option<&Origin> {
        self.origins.get(frame.origin)
    }

    /// All chunks, as a run would list them.
    pub fn entries(&self) -> impl Iterator<Item = RunEntry> {
        self.frames.iter().filter_map(|f| self.origin(f).map(|o| (f, o.pack))).flat_map(|(frame, pack)| {
            frame.chunks.iter().scan(0u32, move |offset, &(chunk, length)| {
                let at = *offset;
                *offset = offset.saturating_add(length);
                let frame = FrameId { pack, ordinal: frame.ordinal };
                Some(RunEntry { chunk, frame, offset: at, length })
            })
        })
    }

    pub(super) fn decode(plain: &[u8], tail: &Tail, end: u64) -> Result<Directory, Error> {
        let record: Record = cbor::decode_padded(WHAT, plain)?;
        if record.version > VERSION {
            return Err(Error::Newer { what: WHAT, found: record.version, known: VERSION });
        }
        if record.frames.len() > PACK_FRAMES_MAX {
            return Err(Malformed::new(WHAT, "more frames than are allowed").into());
        }
        let own = Origin {
            pack: tail.pack,
            kind: tail.kind,
            generation: tail.generation,
            data_enc: tail.data_enc.clone(),
            commitment: tail.data_commitment,
        };
        let others = record.origins.into_iter().map(OriginRecord::open);
        let origins: Vec<Origin> = std::iter::once(Ok(own)).chain(others).collect::<Result<_, _>>()?;
        let packs = record.packs;
        let frames: Vec<Frame> =
            record.frames.into_iter().map(|f| f.open(&packs, end)).collect::<Result<_, _>>()?;
        let mut seen = BTreeSet::new();
        if frames.iter().any(|f| f.origin >= origins.len() || !seen.insert((f.origin, f.ordinal))) {
            return Err(Malformed::new(WHAT, "a frame is there twice or has no origin").into());
        }
        Ok(Directory { origins, frames })
    }
}

impl OriginRecord {
    fn of(origin: &Origin) -> OriginRecord {
        OriginRecord {
            pack: origin.pack,
            suite: SUITE,
            kind: origin.kind.number(),
            generation: origin.generation,
            enc: Fixed(*origin.data_enc.0),
            commitment: Fixed(origin.commitment),
        }
    }

    fn open(self) -> Result<Origin, Malformed> {
        if self.suite != SUITE {
            return Err(Malformed::new(WHAT, "an origin has an unknown suite"));
        }
        Ok(Origin {
            pack: self.pack,
            kind: ContentKind::from_number(self.kind)?,
            generation: self.generation,
            data_enc: Enc(Box::new(self.enc.0)),
            commitment: self.commitment.0,
        })
    }
}

impl FrameRecord {
    fn open(self, packs: &[PackId], end: u64) -> Result<Frame, Malformed> {
        let bad = |why: &str| Malformed::new(WHAT, why);
        let last =
            self.place.checked_add(u64::from(self.stored_length)).ok_or_else(|| bad("a place overflows"))?;
        if self.place < HEAD_BYTES as u64 || last > end || self.version != super::FRAME_VERSION {
            return Err(bad("a frame lies outside its pack, or is of a later version"));
        }
        let (ids, rest) = self.ids.0.as_chunks();
        if !rest.is_empty() || ids.len() != self.lengths.len() || ids.is_empty() {
            return Err(bad("a frame's halves of chunk ids and its lengths do not match"));
        }
        let sum: u64 = self.lengths.iter().map(|&l| u64::from(l)).sum();
        if sum != u64::from(self.raw_length) || sum > FRAME_BYTES_MAX as u64 || self.lengths.contains(&0) {
            return Err(bad("a frame's chunks do not fill it"));
        }
        if u64::from(self.stored_length) > (FRAME_BYTES_MAX.saturating_add(SEAL_OVERHEAD)) as u64 {
            return Err(bad("a frame is larger than is allowed"));
        }
        let mut refs = FrameSet::default();
        for (index, ordinals) in self.refs {
            let pack = *packs.get(index as usize).ok_or_else(|| bad("a reference to no pack"))?;
            ordinals.into_iter().for_each(|ordinal| refs.insert(FrameId { pack, ordinal }));
        }
        Ok(Frame {
            origin: self.origin as usize,
            ordinal: self.ordinal,
            place: self.place,
            stored_length: self.stored_length,
            codec: Codec::from_number(self.codec)?,
            raw_length: self.raw_length,
            chunks: ids.iter().copied().zip(self.lengths).collect(),
            refs,
        })
    }
}

/// About what a directory holds of each chunk: half of its id, and its length.
const CHUNK_BYTES: usize = 21;

/// And of each origin: a pack, and its data key encapsulated.
const ORIGIN_BYTES: usize = ENC_BYTES + 80;

/// A frame of a directory that is not encoded yet.
struct Pending {
    record: FrameRecord,
    refs: FrameSet,
    /// The whole ids of its chunks; none of a moved frame, of which nobody knows them here.
    ids: Vec<ChunkId>,
}

/// The directory of a pack that is being filled.
#[derive(Default)]
pub(super) struct Builder {
    origins: Vec<Origin>,
    frames: Vec<Pending>,
    bytes_estimate: usize,
    raw_bytes: u64,
}

impl Builder {
    pub(super) fn next_ordinal(&self) -> u32 {
        super::small(self.frames.len())
    }

    pub(super) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// All chunks that were first written here, as references into `pack`.
    pub(super) fn references(&self, pack: PackId) -> Vec<Reference> {
        let of_frame = |Pending { record, ids, .. }: &Pending| {
            let (mut offset, ordinal) = (0u32, record.ordinal);
            let chunks = ids.iter().zip(&record.lengths).map(move |(&chunk, &length)| {
                let reference = Reference { pack, ordinal, offset, length, chunk };
                offset = offset.saturating_add(length);
                reference
            });
            chunks.collect::<Vec<_>>()
        };
        self.frames.iter().flat_map(of_frame).collect()
    }

    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// About how long the directory will be, sealed, with so many chunks more; a little too much.
    pub(super) fn bytes_estimate(&self, chunks: usize) -> usize {
        self.bytes_estimate.saturating_add(chunks.saturating_mul(CHUNK_BYTES)).saturating_add(2048)
    }

    pub(super) fn push(
        &mut self,
        place: usize,
        stored_length: usize,
        codec: Codec,
        raw_length: u32,
        chunks: &[(ChunkId, u32)],
        refs: FrameSet,
    ) {
        let (ids, lengths): (Vec<ChunkId>, Vec<u32>) = chunks.iter().copied().unzip();
        let record = FrameRecord {
            origin: 0,
            ordinal: self.next_ordinal(),
            place: place as u64,
            stored_length: super::small(stored_length),
            codec: codec.number(),
            version: super::FRAME_VERSION,
            raw_length,
            ids: Octets(ids.iter().flat_map(ChunkId::half).collect()),
            lengths,
            refs: Vec::new(),
        };
        self.add(Pending { record, refs, ids });
    }

    fn add(&mut self, pending: Pending) {
        let refs_bytes =
            pending.refs.packs().map(|(_, o)| o.len().saturating_mul(3).saturating_add(40)).sum::<usize>();
        let chunks = pending.record.lengths.len();
        let own = chunks.saturating_mul(CHUNK_BYTES).saturating_add(64).saturating_add(refs_bytes);
        self.bytes_estimate = self.bytes_estimate.saturating_add(own);
        self.raw_bytes = self.raw_bytes.saturating_add(u64::from(pending.record.raw_length));
        self.frames.push(pending);
    }

    /// A frame that was sealed into another pack.
    pub(super) fn push_moved(&mut self, place: usize, frame: &Frame, origin: &Origin) {
        let known = self.origins.iter().position(|known| known.pack == origin.pack);
        let index = known.unwrap_or_else(|| {
            self.origins.push(origin.clone());
            self.bytes_estimate = self.bytes_estimate.saturating_add(ORIGIN_BYTES);
            self.origins.len().saturating_sub(1)
        });
        let record = FrameRecord {
            origin: super::small(index.saturating_add(1)),
            ordinal: frame.ordinal,
            place: place as u64,
            stored_length: frame.stored_length,
            codec: frame.codec.number(),
            version: super::FRAME_VERSION,
            raw_length: frame.raw_length,
            ids: Octets(frame.chunks.iter().flat_map(|(half, _)| *half).collect()),
            lengths: frame.chunks.iter().map(|&(_, length)| length).collect(),
            refs: Vec::new(),
        };
        self.add(Pending { record, refs: frame.refs.clone(), ids: Vec::new() });
    }

    /// The plain directory, filled up with zeros to a multiple of `grain`.
    pub(super) fn encode(&mut self, grain: usize) -> Vec<u8> {
        let packs: BTreeSet<PackId> =
            self.frames.iter().flat_map(|frame| frame.refs.packs().map(|(pack, _)| *pack)).collect();
        let packs: Vec<PackId> = packs.into_iter().collect();
        let index = |pack: &PackId| super::small(packs.binary_search(pack).expect("collected just above"));
        let frames = std::mem::take(&mut self.frames)
            .into_iter()
            .map(|Pending { record, refs, .. }| FrameRecord {
                refs: refs.packs().map(|(p, o)| (index(p), o.iter().copied().collect())).collect(),
                ..record
            })
            .collect();
        let origins = self.origins.iter().map(OriginRecord::of).collect();
        let mut bytes = cbor::encode(&Record { version: VERSION, origins, packs: packs.clone(), frames });
        bytes.resize(bytes.len().next_multiple_of(grain), 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::tests::bundle;

    /// A directory with an origin and a frame, each as `change` leaves it.
    fn plain(version: u16, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let origin = OriginRecord {
            pack: PackId([5; 32]),
            suite: SUITE,
            kind: 0,
            generation: 0,
            enc: Fixed([1; ENC_BYTES]),
            commitment: Fixed([2; 32]),
        };
        let frame = FrameRecord {
            origin: 1,
            ordinal: 7,
            place: 10,
            stored_length: 34,
            codec: 0,
            version: 0,
            raw_length: 10,
            ids: Octets(vec![3; 16]),
            lengths: vec![10],
            refs: vec![(0, vec![1])],
        };
        let mut e = minicbor::Encoder::new(Vec::new());
        e.array(4).unwrap().u16(version).unwrap();
        for parts in [
            &cbor::encode(&[origin])[1..],
            &cbor::encode(&[PackId([4; 32])])[1..],
            &cbor::encode(&[frame])[1..],
        ] {
            e.array(1).unwrap();
            let is_record = parts.first().is_some_and(|first| first >> 5 == 4);
            let part = if is_record { change(parts) } else { parts.to_vec() };
            e.writer_mut().extend_from_slice(&part);
        }
        change(&e.into_writer())
    }

    fn decode(plain: &[u8]) -> Result<Directory, Error> {
        let bundle = bundle();
        let (enc, key) =
            bundle.newest().data_public.encapsulate(b"", &mut crate::pack::tests::Seeded::new(1));
        let tail = Tail {
            kind: ContentKind::Data,
            generation: 0,
            repo: bundle.repo,
            domain: bundle.domain,
            pack: PackId([6; 32]),
            data_enc: enc.clone(),
            directory_enc: enc,
            data_commitment: key.commitment(),
            directory_commitment: key.commitment(),
            directory_length: 0,
        };
        Directory::decode(plain, &tail, 1000)
    }

    #[test]
    fn longer_records_are_read_and_a_higher_version_says_so() {
        let as_it_is = decode(&plain(VERSION, <[u8]>::to_vec)).unwrap();
        assert_eq!(as_it_is.frames.len(), 1);
        assert_eq!(decode(&plain(VERSION, cbor::with_one_more)), Ok(as_it_is));
        let higher = decode(&plain(9, <[u8]>::to_vec));
        assert_eq!(higher, Err(Error::Newer { what: WHAT, found: 9, known: VERSION }));
    }
}
