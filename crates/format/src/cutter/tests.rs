//! The rule as the document states it, written a second time and slowly, is what the fast code is held against.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const SMALL: (u32, u32, u32) = (64, 1024, 4096);

fn sizes((min, normal, max): (u32, u32, u32)) -> Sizes {
    Sizes::new(min, normal, max).unwrap()
}

fn cutter(key: u8, of: (u32, u32, u32)) -> Cutter {
    Cutter::new(&[key; 32], sizes(of))
}

fn noise(seed: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed).finalize_xof().fill(&mut bytes);
    bytes
}

/// The cuts of a whole stream, as positions.
fn cuts(cutter: &Cutter, data: &[u8]) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut at = 0;
    while let Some(len) = cutter.next_cut(&data[at..], Stream::EndsHere) {
        at += len;
        cuts.push(at);
    }
    cuts
}

/// The rule word for word: one hash over the whole stream, every byte, never reset.
fn cuts_by_the_document(cutter: &Cutter, data: &[u8]) -> Vec<usize> {
    let Sizes { min, normal, max } = cutter.sizes();
    let mask = |bits: u32| !0u64 << (64 - bits);
    let (strict, loose) = (mask(normal.ilog2() + 2), mask(normal.ilog2() - 2));
    let (mut hash, mut last, mut cuts) = (0u64, 0, Vec::new());
    for (index, &byte) in data.iter().enumerate() {
        hash = (hash << 1).wrapping_add(cutter.gear[byte as usize]);
        let position = index + 1;
        let cut = match (position - last) as u32 {
            len if len == max => true,
            len if len < min => false,
            len if len < normal => hash & strict == 0,
            _ => hash & loose == 0,
        };
        if cut || position == data.len() {
            cuts.push(position);
            last = position;
        }
    }
    cuts
}

/// Content with something of everything: noise, runs of a byte, short periods, and repetitions of what came before.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = (0..4u8, any::<u64>(), 0..6000usize);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| {
        let mut data = Vec::new();
        for (kind, seed, len) in pieces {
            match kind {
                0 => data.extend(noise(&seed.to_le_bytes(), len)),
                1 => data.extend(std::iter::repeat_n(seed as u8, len)),
                2 => data.extend((0..len).map(|i| seed.to_le_bytes()[i % (1 + seed as usize % 7)])),
                _ => data.extend_from_within(data.len().saturating_sub(len)..),
            }
        }
        data
    })
}

fn small_sizes() -> impl Strategy<Value = (u32, u32, u32)> {
    prop::sample::select(vec![
        SMALL,
        (64, 1024, 2048),
        (512, 1024, 2048),
        (128, 2048, 16384),
        (1024, 2048, 4096),
    ])
}

proptest! {
    #[test]
    fn cuts_as_the_document_says(key: u8, of in small_sizes(), data in content()) {
        let cutter = cutter(key, of);
        prop_assert_eq!(cuts(&cutter, &data), cuts_by_the_document(&cutter, &data));
    }

    #[test]
    fn chunks_fill_the_stream_and_keep_to_their_sizes(key: u8, of in small_sizes(), data in content()) {
        let cutter = cutter(key, of);
        let cuts = cuts(&cutter, &data);
        prop_assert_eq!(cuts.last().copied().unwrap_or(0), data.len());
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        for (start, &end) in starts.zip(&cuts) {
            prop_assert!(end > start && end - start <= cutter.sizes().max());
            prop_assert!(end - start >= cutter.sizes().min() || end == data.len());
        }
    }

    #[test]
    fn cuts_do_not_depend_on_how_much_data_is_offered(of in small_sizes(), data in content(), step in 1..5000usize) {
        let cutter = cutter(1, of);
        let (mut at, mut offered, mut found) = (0, 0, Vec::new());
        loop {
            let stream = if offered == data.len() { Stream::EndsHere } else { Stream::GoesOn };
            match cutter.next_cut(&data[at..offered], stream) {
                Some(len) => {
                    at += len;
                    found.push(at);
                }
                None if stream == Stream::EndsHere => break,
                None => {
                    prop_assert!(offered - at < cutter.sizes().max());
                    offered = data.len().min(offered + step);
                }
            }
        }
        prop_assert_eq!(found, cuts(&cutter, &data));
    }

    #[test]
    fn segments_of_any_length_stitch_to_the_serial_cuts(
        key: u8,
        of in small_sizes(),
        data in content(),
        lengths in prop::collection::vec(0..9000usize, 1..12),
    ) {
        let cutter = cutter(key, of);
        prop_assert_eq!(stitched(&cutter, &data, &lengths).0, cuts(&cutter, &data));
    }

    #[test]
    fn a_stream_that_goes_on_like_an_old_chunk_is_cut_like_it(
        key: u8,
        of in small_sizes(),
        old in content(),
        before in content(),
        after in content(),
    ) {
        let cutter = cutter(key, of);
        let ends = cuts(&cutter, &old);
        let whole = ends.len().saturating_sub(1);
        for (index, &end) in ends[..whole].iter().enumerate() {
            let chunk = &old[index.checked_sub(1).map_or(0, |previous| ends[previous])..end];
            let new = [chunk, &after].concat();
            prop_assert_eq!(cutter.next_cut(&new, Stream::EndsHere), Some(chunk.len()));
            prop_assert_eq!(cutter.next_cut(chunk, Stream::GoesOn), Some(chunk.len()));
        }
        // The same within a stream, with old boundaries tried first: what is cut does not change.
        let known: HashSet<&[u8]> = ends.windows(2).take(whole.saturating_sub(1)).map(|w| &old[w[0]..w[1]]).collect();
        let lengths: HashSet<usize> = known.iter().map(|chunk| chunk.len()).collect();
        let new = [&before[..], &old, &after].concat();
        let (mut at, mut guided) = (0, Vec::new());
        while at < new.len() {
            let rest = &new[at..];
            let old_chunk = lengths.iter().find(|&&len| rest.get(..len).is_some_and(|bytes| known.contains(bytes)));
            at += old_chunk.copied().or_else(|| cutter.next_cut(rest, Stream::EndsHere)).unwrap();
            guided.push(at);
        }
        prop_assert_eq!(guided, cuts(&cutter, &new));
    }
}

/// Cuts in segments of the given lengths, over and over, carrying over as little as allowed; and how many chunks the
/// stitching kept.
fn stitched(cutter: &Cutter, data: &[u8], lengths: &[usize]) -> (Vec<usize>, usize) {
    let (mut all, mut kept) = (Vec::new(), 0);
    let (mut start, mut last) = (0, 0);
    for len in lengths.iter().copied().chain(std::iter::repeat(7000)) {
        let end = data.len().min(start + len);
        let stream = if end == data.len() { Stream::EndsHere } else { Stream::GoesOn };
        let segment = cutter.cut_segment(start as u64, &data[start..end], stream);
        assert_eq!(segment.end(), end as u64);
        let stitched = cutter.stitch(&data[last..end], &segment);
        assert!(stitched.cuts.ends_with(&segment.cuts()[segment.cuts().len() - stitched.kept..]));
        kept += stitched.kept;
        all.extend(stitched.cuts.iter().map(|&cut| cut as usize));
        last = all.last().copied().unwrap_or(0);
        start = end;
        if stream == Stream::EndsHere {
            return (all, kept);
        }
        assert!(end - last < cutter.sizes().max(), "what is carried over is less than a longest chunk");
    }
    unreachable!("the lengths never end")
}

#[test]
fn stitching_keeps_nearly_all_of_what_segments_found() {
    let cutter = cutter(3, SMALL);
    let data = noise(b"stitch", 4 << 20);
    let (cuts, kept) = stitched(&cutter, &data, &[256 << 10; 16]);
    assert!(kept * 100 > cuts.len() * 95, "{kept} of {}", cuts.len());
}

#[test]
fn an_insertion_is_forgotten_a_few_cuts_later() {
    let cutter = cutter(4, SMALL);
    let old = noise(b"edit", 1 << 20);
    for at in (0..100).map(|place| place * 10_007) {
        let added = noise(&[at as u8, b'+'], 777 + at % 5000);
        let new = [&old[..at], &added, &old[at..]].concat();
        let (old_cuts, new_cuts) = (cuts(&cutter, &old), cuts(&cutter, &new));
        let moved = old_cuts.iter().map(|&cut| if cut <= at { cut } else { cut + added.len() });
        let moved: HashSet<usize> = moved.collect();
        let fresh: Vec<usize> = new_cuts.into_iter().filter(|cut| !moved.contains(cut)).collect();
        assert!(fresh.iter().all(|&cut| cut > at && cut < at + added.len() + 24 * 1024), "{at}: {fresh:?}");
    }
}

#[test]
fn a_run_of_one_byte_is_cut_by_length_only() {
    for key in 0..8 {
        let cutter = cutter(key, SMALL);
        for byte in 0..=255u8 {
            let cuts = cuts(&cutter, &[byte; 10_000]);
            assert_eq!(cuts, [4096, 8192, 10_000], "key {key}, byte {byte}");
        }
    }
}

#[test]
fn the_table_leaves_out_what_would_cut_runs() {
    // About one number in 256 is left out, so that 40 tables hold some 40 of them.
    let drawn_plainly = |key: u8| {
        let mut bytes = vec![0; 2048];
        blake3::Hasher::new_derive_key("seawall 0 cutter").update(&[key; 32]).finalize_xof().fill(&mut bytes);
        bytes.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect::<Vec<_>>()
    };
    let changed = (0..40).filter(|&key| cutter(key, SMALL).gear[..] != drawn_plainly(key)[..]).count();
    assert!((10..=35).contains(&changed), "{changed} of 40 tables");
    for key in 0..40 {
        let cutter = cutter(key, SMALL);
        assert!(cutter.gear.iter().all(|number| number.wrapping_neg() >= 1 << 56));
    }
}

#[test]
fn another_key_cuts_elsewhere() {
    let data = noise(b"keys", 1 << 20);
    let one: HashSet<usize> = cuts(&cutter(5, SMALL), &data).into_iter().collect();
    let other = cuts(&cutter(6, SMALL), &data);
    let shared = other.iter().filter(|cut| one.contains(cut)).count();
    assert!(shared < 10, "{shared} of {}", other.len());
}

#[test]
fn sizes_that_cannot_be_cut_by_are_refused() {
    for (min, normal, max) in [
        (0, 1024, 4096),
        (32, 1024, 4096),
        (65, 1024, 4096),
        (64, 512, 4096),
        (64, 1000, 4096),
        (1024, 1024, 4096),
        (64, 1024, 1024),
        (64, 4096, 1024),
        (64, 1024, 2 << 20),
    ] {
        assert_eq!(Sizes::new(min, normal, max), Err(BadSizes { min, normal, max }));
    }
    let Sizes { min, normal, max } = Sizes::STANDARD;
    assert_eq!(Sizes::new(min, normal, max), Ok(Sizes::STANDARD));
    assert!(Sizes::new(64, 1024, 1 << 20).is_ok());
}

#[test]
fn nothing_printed_tells_the_table() {
    assert_eq!(
        format!("{:?}", cutter(7, SMALL)),
        "Cutter { sizes: Sizes { min: 64, normal: 1024, max: 4096 }, .. }"
    );
}

/// Lines of the fixture: a word, then its values. `docs/decisions/0003-cutter.md` describes them.
#[test]
fn golden_vectors_are_cut_as_they_always_were() {
    let fixture = include_str!("../../../../fixtures/cutter/v0.txt");
    let (mut key, mut of, mut data, mut checked) = ([0; 32], SMALL, Vec::new(), 0);
    for line in fixture.lines().filter(|line| !line.starts_with('#')) {
        let (word, values) = line.split_once(' ').unwrap();
        let number = |text: &str| text.parse::<usize>().unwrap();
        let values: Vec<&str> = values.split(' ').collect();
        match (word, &values[..]) {
            ("key", [hex]) => key = unhex(hex).try_into().unwrap(),
            ("sizes", [min, normal, max]) => {
                of = (number(min) as u32, number(normal) as u32, number(max) as u32);
            }
            ("table", [index, entry]) => {
                let table = &Cutter::new(&key, Sizes::STANDARD).gear;
                assert_eq!(format!("{:016x}", table[number(index)]), *entry);
                checked += 1;
            }
            ("noise", [seed, len]) => data = noise(seed.as_bytes(), number(len)),
            ("repeat", [hex, len]) => data = unhex(hex).into_iter().cycle().take(number(len)).collect(),
            ("again", [from, len]) => data.extend_from_within(number(from)..number(from) + number(len)),
            ("cuts", expected) => {
                let expected: Vec<usize> = expected.iter().map(|cut| number(cut)).collect();
                assert_eq!(cuts(&Cutter::new(&key, sizes(of)), &data), expected, "{line}");
                checked += 1;
            }
            _ => panic!("what is {line}"),
        }
    }
    assert!(checked > 20, "the fixture holds {checked} vectors only");
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

mod peer {
    //! Beside the `fastcdc` crate. It restarts its window at every cut and ends a chunk before the byte that decided,
    //! we after it, so our cuts are its cuts plus one.

    use super::*;
    use fastcdc::v2020;

    const NORMAL: (u32, u32, u32) = (2048, 8192, 65_536);

    /// Cuts of `fastcdc` with a table of its own making or ours, and level 2 as we have.
    fn peer_cuts(data: &[u8], mut cut: impl FnMut(&[u8]) -> usize) -> Vec<usize> {
        let mut cuts = Vec::new();
        let mut at = 0;
        while at < data.len() {
            at += cut(&data[at..]);
            cuts.push(at);
        }
        cuts
    }

    fn its_own(data: &[u8]) -> Vec<usize> {
        let (strict, loose) = v2020::select_masks(NORMAL.1 as usize, v2020::Normalization::Level2);
        let (min, normal, max) = (NORMAL.0 as usize, NORMAL.1 as usize, NORMAL.2 as usize);
        peer_cuts(data, |rest| v2020::cut(rest, min, normal, max, strict, loose, strict << 1, loose << 1).1)
    }

    /// Its two-byte step loses the highest bit of the hash, and our masks begin there. With even table numbers, half
    /// the table and half the masks say the same one bit lower.
    fn with_our_table(even: &Cutter, data: &[u8]) -> Vec<usize> {
        let mask = |bits: u32| !0u64 << (64 - bits) >> 1;
        let (strict, loose) = (mask(NORMAL.1.ilog2() + 2), mask(NORMAL.1.ilog2() - 2));
        let half: Vec<u64> = even.gear.iter().map(|number| number >> 1).collect();
        let (min, normal, max) = (NORMAL.0 as usize, NORMAL.1 as usize, NORMAL.2 as usize);
        peer_cuts(data, |rest| {
            v2020::cut_gear(
                rest,
                min,
                normal,
                max,
                strict,
                loose,
                strict << 1,
                loose << 1,
                &half,
                &even.gear[..],
            )
            .1
        })
    }

    /// Two versions of something, the second with 1 % of its 4 KiB places edited and now and then a byte more.
    fn versions() -> (Vec<u8>, Vec<u8>) {
        let old = noise(b"version", 16 << 20);
        let mut new = Vec::new();
        for (index, place) in old.chunks(4096).enumerate() {
            new.extend_from_slice(place);
            match index % 300 {
                7 | 8 => new[index * 4096..].iter_mut().for_each(|byte| *byte ^= 0x55),
                150 => new.push(b'+'),
                _ => {}
            }
        }
        (old, new)
    }

    /// Share of the two streams' bytes that has to be kept, and the mean chunk.
    fn kept(streams: [&[u8]; 2], cut: impl Fn(&[u8]) -> Vec<usize>) -> (f64, f64) {
        let (mut seen, mut unique, mut chunks) = (HashSet::new(), 0, 0);
        for data in streams {
            let mut start = 0;
            for end in cut(data) {
                chunks += 1;
                if seen.insert(blake3::hash(&data[start..end])) {
                    unique += end - start;
                }
                start = end;
            }
        }
        let total = (streams[0].len() + streams[1].len()) as f64;
        (unique as f64 / total, total / f64::from(chunks))
    }

    #[test]
    fn deduplicates_as_well_as_fastcdc_at_the_same_mean() {
        let (old, new) = versions();
        let ours = cutter(8, NORMAL);
        let (our_share, our_mean) = kept([&old, &new], |data| cuts(&ours, data));
        let (its_share, its_mean) = kept([&old, &new], its_own);
        assert!((our_mean / its_mean - 1.0).abs() < 0.05, "means {our_mean} and {its_mean}");
        assert!((our_share / its_share - 1.0).abs() < 0.02, "shares {our_share} and {its_share}");
        assert!(our_share < 0.54, "{our_share} of the bytes for two nearly equal versions");
    }

    #[test]
    fn cuts_nearly_always_where_fastcdc_does_with_our_table() {
        let mut even = cutter(9, NORMAL);
        even.gear.iter_mut().for_each(|number| *number &= !1);
        let data = noise(b"equal", 32 << 20);
        let its: HashSet<usize> = with_our_table(&even, &data).into_iter().map(|cut| cut + 1).collect();
        let ours = cuts(&even, &data);
        let equal = ours.iter().filter(|cut| its.contains(cut)).count();
        let share = equal as f64 / ours.len() as f64;
        assert!(share > 0.95 && share < 1.0, "{share} of {} cuts are equal", ours.len());
    }
}
