//! Chunks come back by their references; what was changed is refused; hostile packs are survived.

use super::*;
use crate::id::SessionId;
use crate::key::fresh;
use crate::run::RunEntry;
use proptest::prelude::*;

pub(crate) struct Seeded(blake3::OutputReader);

impl Seeded {
    pub(crate) fn new(seed: u8) -> Seeded {
        Seeded(blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof())
    }
}

impl rand_core::TryRng for Seeded {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Seeded {}

pub(crate) fn bundle() -> Bundle {
    let mut rng = Seeded::new(9);
    let root = Some(fresh(&mut rng));
    let generations = vec![Generation::fresh(0, &mut rng)];
    Bundle { repo: RepoId([1; 32]), domain: DomainId([2; 16]), generations, root, writer: None }
}

fn bench(level: i32) -> Workbench {
    let mut stream = Seeded::new(level.unsigned_abs() as u8);
    Workbench::new(
        Effort::Level(level),
        Box::new(move || {
            let mut random = [0; 8];
            rand_core::Rng::fill_bytes(&mut stream, &mut random);
            random
        }),
    )
}

const LIMITS: Limits = Limits { frame_bytes: 10_000, pack_bytes: 200_000 };

fn pack(bundle: &Bundle, chunks: &[Vec<u8>]) -> (FinishedPack, Vec<Reference>) {
    let id = PackId::new(SessionId([3; 16]), [4; 16]);
    let place = (bundle.repo, bundle.domain, bundle.newest());
    let mut builder = PackBuilder::new(place, ContentKind::Data, id, LIMITS, &mut Seeded::new(1));
    let (mut bench, key) = (bench(3), **bundle.newest().chunk_key().unwrap());
    let refs: FrameSet = [FrameId { pack: PackId([8; 32]), ordinal: 5 }].into_iter().collect();
    let references =
        chunks.iter().map(|c| builder.append(&mut bench, chunk_id(&key, c), c, &refs).unwrap()).collect();
    (builder.finish(&mut bench).unwrap(), references)
}

fn directory(bundle: &Bundle, id: PackId, bytes: &[u8]) -> Result<Directory, Error> {
    let tail = Tail::decode(bytes)?;
    let range = tail.directory_range(bytes.len() as u64)?;
    let sealed = &bytes[range.start as usize..range.end as usize];
    tail.open_directory(id, bundle, bytes.len() as u64, sealed)
}

fn read(bundle: &Bundle, bytes: &[u8], reference: &Reference) -> Result<Vec<u8>, Error> {
    read_from(bundle, reference.pack, bytes, reference)
}

fn read_from(bundle: &Bundle, pack: PackId, bytes: &[u8], reference: &Reference) -> Result<Vec<u8>, Error> {
    let directory = directory(bundle, pack, bytes)?;
    let frame = directory.find(reference.frame()).ok_or(Error::Foreign("a reference"))?;
    let origin = directory.origin(frame).unwrap();
    let opener = FrameOpener::new(origin, bundle.repo, bundle.domain, bundle)?;
    let sealed = &bytes[frame.range().start as usize..frame.range().end as usize];
    let (mut opened, mut raw) = (Vec::new(), Vec::new());
    let raw = opener.open(frame, sealed, &mut Decompressor::default(), (&mut opened, &mut raw))?;
    Ok(chunk_of(reference, raw, bundle.newest().chunk_key()?)?.to_vec())
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let chunk = (prop::collection::vec(any::<u8>(), 1..500), 1usize..12).prop_map(|(c, n)| c.repeat(n));
    prop::collection::vec(chunk, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_chunk_comes_back_by_its_reference(chunks in chunks()) {
        let bundle = bundle();
        let (pack, references) = pack(&bundle, &chunks);
        let bytes = pack.object.as_bytes();
        prop_assert_eq!(pack.hash, Hash::of(bytes));
        prop_assert_eq!(size_class(bytes.len() as u64, SIZE_CLASS_MIN), bytes.len() as u64);
        for (chunk, reference) in chunks.iter().zip(&references) {
            prop_assert_eq!(&read(&bundle, bytes, reference).unwrap(), chunk);
        }
        let directory = directory(&bundle, pack.id, bytes).unwrap();
        let entries: Vec<RunEntry> = references.iter().map(RunEntry::from).collect();
        prop_assert_eq!(directory.entries().collect::<Vec<_>>(), entries);
        prop_assert!(directory.frames.iter().all(|f| f.refs.iter().count() == 1));
    }

    #[test]
    fn hostile_packs_never_panic(junk: Vec<u8>, at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let bundle = bundle();
        let (pack, references) = pack(&bundle, &[vec![7; 5000]]);
        let good = pack.object.as_bytes();
        let _ = directory(&bundle, pack.id, &junk);
        let mut mixed = good.to_vec();
        let at = at.index(good.len());
        mixed.splice(at..(at + junk.len()).min(good.len()), junk.iter().copied());
        if mixed.len() >= TAIL_BYTES && let Ok(chunk) = read(&bundle, &mixed, &references[0]) {
            prop_assert_eq!(chunk, vec![7; 5000], "only padding may change unseen");
        }
        let _ = directory(&bundle, pack.id, &good[..cut.index(good.len())]);
    }
}

#[test]
fn every_changed_byte_that_matters_is_found() {
    let bundle = bundle();
    let (pack, references) = pack(&bundle, &[vec![7; 3000], vec![8; 3000]]);
    let good = pack.object.as_bytes();
    let directory = directory(&bundle, pack.id, good).unwrap();
    let frame = directory.frames[0].range();
    let tail = good.len() - TAIL_BYTES;
    let spots = (frame.start as usize..frame.end as usize).chain(tail..good.len()).step_by(7);
    for at in spots {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x10;
        assert!(read(&bundle, &bytes, &references[0]).is_err(), "byte {at}");
    }
}

#[test]
fn a_pack_in_anothers_place_is_told_apart_from_damage() {
    let bundle = bundle();
    let (pack, _) = pack(&bundle, &[vec![7; 30]]);
    let other = PackId([5; 32]);
    assert_eq!(directory(&bundle, other, pack.object.as_bytes()), Err(Error::Foreign("a pack")));
}

#[test]
fn a_maintainer_without_the_data_key_reads_directories_but_no_content() {
    let full = bundle();
    let (pack, references) = pack(&full, &[vec![7; 30]]);
    let mut maintainer = full.clone();
    maintainer.generations[0].data = None;
    assert!(directory(&maintainer, pack.id, pack.object.as_bytes()).is_ok());
    let read = read(&maintainer, pack.object.as_bytes(), &references[0]);
    assert_eq!(read, Err(Error::NoKey("reading")));
}

#[test]
fn a_pack_says_that_it_has_no_room_before_it_is_too_large() {
    let bundle = bundle();
    let place = (bundle.repo, bundle.domain, bundle.newest());
    let id = PackId::new(SessionId([3; 16]), [4; 16]);
    let mut builder = PackBuilder::new(place, ContentKind::Data, id, LIMITS, &mut Seeded::new(1));
    let mut bench = bench(1);
    let mut noise = Seeded::new(2);
    while builder.has_room_for(4000) {
        let mut chunk = vec![0; 4000];
        rand_core::Rng::fill_bytes(&mut noise, &mut chunk);
        builder.append(&mut bench, chunk_id(&[0; 32], &chunk), &chunk, &FrameSet::default()).unwrap();
    }
    let size = builder.finish(&mut bench).unwrap().object.as_bytes().len();
    assert!(size > 150_000 && size <= 212_000, "{size}");
}

#[test]
fn a_full_pack_is_hardly_padded() {
    let bundle = bundle();
    let place = (bundle.repo, bundle.domain, bundle.newest());
    let id = PackId::new(SessionId([3; 16]), [4; 16]);
    let limits = Limits { frame_bytes: FRAME_BYTES_MAX, pack_bytes: 4 << 20 };
    for shrinks in [false, true] {
        let mut builder = PackBuilder::new(place, ContentKind::Data, id, limits, &mut Seeded::new(1));
        let (mut bench, mut noise) = (bench(1), Seeded::new(2));
        while builder.has_room_for(20_000) {
            let mut chunk = vec![0; 20_000];
            rand_core::Rng::fill_bytes(&mut noise, &mut chunk);
            if shrinks {
                chunk.iter_mut().for_each(|byte| *byte %= 16);
            }
            builder.append(&mut bench, chunk_id(&[0; 32], &chunk), &chunk, &FrameSet::default()).unwrap();
        }
        let pack = builder.finish(&mut bench).unwrap();
        assert!(pack.object.as_bytes().len() <= 4 << 20, "it keeps to its size class");
        let directory = directory(&bundle, id, pack.object.as_bytes()).unwrap();
        let sealed: u64 = directory.frames.iter().map(|frame| u64::from(frame.stored_length)).sum();
        assert!(sealed > (4 << 20) - (160 << 10), "{sealed}, {shrinks}");
    }
}

#[test]
fn moved_frames_open_in_their_new_pack_and_in_the_next() {
    let bundle = bundle();
    let chunks: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 1_000 + usize::from(n)]).collect();
    let (first, references) = pack(&bundle, &chunks);
    let wanted: Vec<Reference> = references.iter().copied().filter(|r| r.ordinal % 2 == 0).collect();
    let second = carried(&bundle, (first.id, first.object.as_bytes()), &wanted, 5);
    let third = carried(&bundle, (second.id, second.object.as_bytes()), &wanted[..3], 6);
    assert!(second.chunks.is_empty() && third.chunks.is_empty(), "what is moved is not new");
    for (pack, wanted) in [(&second, &wanted[..]), (&third, &wanted[..3])] {
        let bytes = pack.object.as_bytes();
        let there = directory(&bundle, pack.id, bytes).unwrap();
        assert_eq!((there.origins.len(), there.origins[1].pack), (2, first.id));
        assert!(there.frames.iter().all(|frame| frame.origin == 1 && frame.refs.iter().count() == 1));
        for reference in wanted {
            let at = references.iter().position(|other| other == reference).unwrap();
            assert_eq!(read_from(&bundle, pack.id, bytes, reference).unwrap(), chunks[at]);
        }
    }
    let lost = references.iter().find(|r| r.ordinal == 1).unwrap();
    assert!(read_from(&bundle, second.id, second.object.as_bytes(), lost).is_err());
}

/// A pack of the frames that these chunks lie in, made by somebody who could not read them.
fn carried(bundle: &Bundle, (from, bytes): (PackId, &[u8]), wanted: &[Reference], seed: u8) -> FinishedPack {
    let mut keyless = bundle.clone();
    keyless.generations.iter_mut().for_each(|generation| generation.data = None);
    let there = directory(&keyless, from, bytes).unwrap();
    let place = (bundle.repo, bundle.domain, bundle.newest());
    let id = PackId::new(SessionId([seed; 16]), [seed; 16]);
    let mut builder = PackBuilder::new(place, ContentKind::Data, id, LIMITS, &mut Seeded::new(seed));
    let frames: std::collections::BTreeSet<FrameId> = wanted.iter().map(Reference::frame).collect();
    for id in frames {
        let frame = there.find(id).unwrap();
        let sealed = &bytes[frame.range().start as usize..frame.range().end as usize];
        assert!(builder.has_room_for_moved(frame));
        assert!(builder.carry(frame, there.origin(frame).unwrap(), &sealed[1..]).is_err());
        builder.carry(frame, there.origin(frame).unwrap(), sealed).unwrap();
    }
    builder.finish(&mut bench(3)).unwrap()
}
