//! Runs come back as they were made; hostile ones are survived.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::pack::tests::{Seeded, bundle};
use crate::seal::Secret;

fn head(bundle: &Bundle) -> RunHead {
    RunHead {
        repo: bundle.repo,
        domain: bundle.domain,
        generation: 0,
        writer: WriterId([3; 16]),
        session: SessionId([4; 16]),
        run: RunId([5; 16]),
        cutter: 0,
    }
}

fn reference(chunk: u64, pack: u8, ordinal: u32) -> Reference {
    let chunk = ChunkId(*blake3::hash(&chunk.to_le_bytes()).as_bytes());
    Reference { pack: PackId([pack; 32]), ordinal, offset: ordinal * 7, length: ordinal + 1, chunk }
}

fn seal(references: &[Reference]) -> Vec<u8> {
    let bundle = bundle();
    let mut builder = RunBuilder::new(head(&bundle));
    references.iter().for_each(|r| builder.push(&r.into()).expect("possible"));
    builder.finish(bundle.newest(), &mut Seeded::new(1)).expect("there is an index key").into_bytes()
}

/// A run sealed as it should be, around plain bytes that are not.
fn seal_plain(plain: &[u8]) -> Vec<u8> {
    let bundle = bundle();
    let key = seal_key(&head(&bundle), bundle.newest(), &[6; 32]).expect("there is an index key");
    let record = cbor::encode(&Record::new(&head(&bundle), [6; 32], key.commitment()));
    let mut out = ObjectKind::Run.head().to_vec();
    out.extend(length_bytes(record.len()));
    out.extend(&record);
    for (ordinal, block) in (0..).zip(plain.chunks(BLOCK_BYTES_MAX)) {
        out.extend(length_bytes(block.len() + SEAL_OVERHEAD));
        key.seal(&mut out, ordinal, [7; 8], &record, block);
    }
    out
}

fn open_plain(plain: &[u8]) -> Result<Run, Error> {
    Run::open(&seal_plain(plain), &bundle())
}

fn any_references() -> impl Strategy<Value = Vec<Reference>> {
    let one =
        (0u64..300, 0u8..9, 0u32..50).prop_map(|(chunk, pack, ordinal)| reference(chunk, pack, ordinal));
    prop::collection::vec(one, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_place_of_every_chunk_is_found_and_no_other(references in any_references()) {
        let run = Run::open(&seal(&references), &bundle()).expect("just sealed");
        let all: BTreeSet<Reference> = references.iter().copied().collect();
        let packs: BTreeSet<PackId> = references.iter().map(|r| r.pack).collect();
        prop_assert!(run.packs().iter().eq(&packs));
        prop_assert_eq!(run.len(), all.len());
        for number in 0..300 {
            let chunk = reference(number, 0, 0).chunk;
            let known: BTreeSet<Reference> = all.iter().filter(|r| r.chunk == chunk).copied().collect();
            let found: Vec<Reference> = run.places(&chunk).collect();
            prop_assert_eq!(run.lookup(&chunk), found.first().copied());
            prop_assert_eq!(found.len(), known.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), known);
        }
    }

    #[test]
    fn runs_merge_into_what_one_run_would_be(one in any_references(), two in any_references()) {
        let runs = [&one, &two].map(|part| Run::open(&seal(part), &bundle()).expect("just sealed"));
        let mut merged = RunBuilder::new(head(&bundle()));
        for run in &runs {
            let entries: Vec<RunEntry> = run.entries().collect();
            prop_assert!(entries.is_sorted_by_key(|entry| entry.chunk));
            entries.iter().for_each(|entry| merged.push(entry).expect("possible"));
        }
        let merged = merged.finish(bundle().newest(), &mut Seeded::new(1)).expect("there is an index key");
        prop_assert_eq!(merged.into_bytes(), seal(&[one, two].concat()));
    }

    #[test]
    fn a_changed_byte_is_noticed(references in any_references(), at: u32, with: u8) {
        let mut bytes = seal(&references);
        let at = at as usize % bytes.len();
        prop_assume!(bytes[at] != with);
        bytes[at] = with;
        prop_assert!(Run::open(&bytes, &bundle()).is_err());
    }

    #[test]
    fn any_plain_bytes_open_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Run::open(&bytes, &bundle()).is_err());
        let mut plain = bytes;
        plain.resize(SIZE_CLASS_MIN as usize, 0);
        if let Some(few) = plain.get_mut(..COUNTS_BYTES) {
            few.copy_from_slice(&[1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        }
        if let Ok(run) = open_plain(&plain) {
            prop_assert_eq!(run.entries().count(), 3);
        }
    }
}

/// Its blocks are sealed for the record as it is stored, what is not known of it too.
#[test]
fn a_longer_record_of_a_run_is_read() {
    let bundle = bundle();
    let key = seal_key(&head(&bundle), bundle.newest(), &[6; 32]).expect("there is an index key");
    let record = cbor::encode(&Record::new(&head(&bundle), [6; 32], key.commitment()));
    let longer = cbor::with_one_more(&record);
    let mut out = ObjectKind::Run.head().to_vec();
    out.extend(length_bytes(longer.len()));
    out.extend(&longer);
    let plain = RunBuilder::new(head(&bundle)).plain();
    out.extend(length_bytes(plain.len() + SEAL_OVERHEAD));
    key.seal(&mut out, 0, [7; 8], &longer, &plain);
    assert_eq!(Run::head_of(&out), Ok(head(&bundle)));
    assert_eq!(Run::open(&out, &bundle).unwrap().entries().count(), 0);
}

#[test]
fn a_cut_run_is_noticed_wherever_it_is_cut() {
    let bytes = seal(&[reference(1, 1, 1)]);
    assert!(Run::open(&bytes, &bundle()).is_ok());
    assert!((0..bytes.len()).step_by(13).all(|end| Run::open(&bytes[..end], &bundle()).is_err()));
    assert!(Run::open(&[&bytes[..], &[0; 4]].concat(), &bundle()).is_err());
}

#[test]
fn a_run_of_many_blocks_is_noticed_when_blocks_change_places() {
    let references: Vec<Reference> = (0..100_000).map(|n| reference(n, n as u8, n as u32 % 1000)).collect();
    let bytes = seal(&references);
    let run = Run::open(&bytes, &bundle()).expect("just sealed");
    assert_eq!(run.len(), references.len());
    assert!(references.iter().step_by(97).all(|r| run.lookup(&r.chunk) == Some(*r)));
    let (_, raw, blocks) = split(&bytes).expect("a run");
    let start = bytes.len() - blocks.len();
    let piece = 4 + SEAL_OVERHEAD + BLOCK_BYTES_MAX;
    assert!(raw.len() < 200 && blocks.len() > 3 * piece);
    let (one, two) = (&blocks[..piece], &blocks[piece..2 * piece]);
    let swapped = [&bytes[..start], two, one, &blocks[2 * piece..]].concat();
    assert_eq!(Run::open(&swapped, &bundle()).err(), Some(Error::Altered(WHAT)));
    let cut = Run::open(&bytes[..start + 2 * piece], &bundle()).err();
    assert!(matches!(cut, Some(Error::Malformed(_))), "{cut:?}");
}

#[test]
fn only_the_right_keys_open_a_run() {
    let bytes = seal(&[reference(1, 1, 1)]);
    let with = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = bundle();
        change(&mut bundle);
        Run::open(&bytes, &bundle).err()
    };
    assert_eq!(with(&|_| ()), None);
    assert_eq!(with(&|b| b.repo = RepoId([9; 32])), Some(Error::Foreign(WHAT)));
    assert_eq!(with(&|b| b.domain = DomainId([9; 16])), Some(Error::Foreign(WHAT)));
    assert_eq!(with(&|b| b.generations[0].index = Some(Secret::new([9; 32]))), Some(Error::WrongKey(WHAT)));
    assert!(matches!(with(&|b| b.generations[0].index = None), Some(Error::NoKey(_))));
    assert!(matches!(with(&|b| b.generations[0].number = 1), Some(Error::NoKey(_))));
    let mut keyless = bundle();
    keyless.generations[0].index = None;
    let run = RunBuilder::new(head(&keyless)).finish(keyless.newest(), &mut Seeded::new(1));
    assert!(matches!(run.err(), Some(Error::NoKey(_))));
}

#[test]
fn entries_that_cannot_be_are_refused_on_both_ways() {
    let good = RunEntry::from(&reference(1, 1, 1));
    let frame = FrameId { ordinal: PACK_FRAMES_MAX as u32, ..good.frame };
    let bad = [
        RunEntry { length: 0, ..good },
        RunEntry { length: FRAME_BYTES_MAX as u32 + 1, ..good },
        RunEntry { offset: u32::MAX, length: u32::MAX, ..good },
        RunEntry { offset: FRAME_BYTES_MAX as u32, length: 1, ..good },
        RunEntry { frame, ..good },
    ];
    let mut builder = RunBuilder::new(head(&bundle()));
    assert!(bad.iter().all(|entry| builder.push(entry).is_err()));
    assert!(builder.is_empty() && builder.push(&good).is_ok());

    let row = |entry: &RunEntry, pack| {
        let RunEntry { chunk, frame, offset, length } = *entry;
        Row { chunk, pack, ordinal: frame.ordinal, offset, length }.to_bytes()
    };
    let plain = |packs: &[u8], rows: &[[u8; 32]]| {
        let mut plain = (packs.len() as u32).to_le_bytes().to_vec();
        plain.extend((rows.len() as u64).to_le_bytes());
        packs.iter().for_each(|pack| plain.extend([*pack; 32]));
        rows.iter().for_each(|row| plain.extend(row));
        plain.resize(SIZE_CLASS_MIN as usize, 0);
        plain
    };
    let later = RunEntry { length: good.length + 1, ..good };
    assert!(open_plain(&plain(&[1, 2], &[row(&good, 1), row(&later, 1)])).is_ok());
    let mut padded = plain(&[1], &[]);
    *padded.last_mut().expect("padding") = 1;
    let rows = [
        plain(&[1], &[row(&good, 1)]),
        plain(&[2, 1], &[row(&good, 0)]),
        plain(&[1, 1], &[row(&good, 0)]),
        plain(&[1], &[row(&later, 0), row(&good, 0)]),
        plain(&[1], &[row(&good, 0), row(&good, 0)]),
        padded,
        [0xff; SIZE_CLASS_MIN as usize].to_vec(),
        vec![0; SIZE_CLASS_MIN as usize + 1],
        Vec::new(),
    ];
    for (number, plain) in rows.iter().chain(&bad.map(|b| plain(&[1], &[row(&b, 0)]))).enumerate() {
        assert!(matches!(open_plain(plain), Err(Error::Malformed(_))), "row {number}");
    }
}

#[test]
fn small_runs_look_alike() {
    let sizes: BTreeSet<usize> =
        [0, 1, 100, 400].map(|n| seal(&(0..n).map(|n| reference(n, 0, 0)).collect::<Vec<_>>()).len()).into();
    assert_eq!(sizes.len(), 1);
}

#[test]
fn a_full_run_says_so_and_is_still_readable() {
    let mut builder = RunBuilder::new(head(&bundle()));
    builder.rows_max = 20;
    let added = (0..100).take_while(|n| builder.push(&(&reference(*n, *n as u8, 0)).into()).is_ok()).count();
    assert!(builder.is_full() && added == builder.len() && builder.packs.len() + builder.len() <= 20);
    assert_eq!(added, 10);
    let blocks = plain_length(0, RUN_ROWS_MAX).expect("a number") as u64;
    assert!(blocks + blocks / 1000 + HEAD_BYTES_MAX as u64 <= RUN_BYTES_MAX);
}

#[test]
fn a_run_is_spelled_as_the_document_says() {
    let numbers: [&[u8]; 4] = [&[1, 0, 0, 0], &[3, 0, 0, 0], &[0x2c, 1, 0, 0], &[0x70, 0x11, 1, 0]];
    let mut plain = vec![2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    plain.extend([[0xaa; 32], [0xbb; 32]].concat());
    plain.extend([0xcc; 16]);
    plain.extend(numbers.concat());
    plain.resize(16 << 10, 0);
    let run = open_plain(&plain).expect("as the document says");
    let known = Reference {
        pack: PackId([0xbb; 32]),
        ordinal: 3,
        offset: 300,
        length: 70_000,
        chunk: ChunkId([0xcc; 32]),
    };
    assert_eq!(run.lookup(&known.chunk), Some(known));
    let mut builder = RunBuilder::new(head(&bundle()));
    builder
        .push(&RunEntry { frame: FrameId { pack: PackId([0xaa; 32]), ordinal: 3 }, ..(&known).into() })
        .expect("possible");
    builder.push(&(&known).into()).expect("possible");
    builder.rows.swap_remove(0);
    assert_eq!(builder.plain(), plain);
}

#[test]
fn entries_are_sorted_as_bytes() {
    let places: Vec<Reference> =
        [1, 255, 256, 257].map(|ordinal| Reference { ordinal, ..reference(1, 1, 1) }).into();
    let run = Run::open(&seal(&places), &bundle()).expect("just sealed");
    let order: Vec<u32> = run.places(&places[0].chunk).map(|r| r.ordinal).collect();
    assert_eq!(order, [256, 1, 257, 255]);
}
