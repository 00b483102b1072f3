//! The content of long files.

use super::*;

fn chunks(count: usize, seed: u64) -> Vec<Part> {
    let mut dice = Dice::new(seed);
    (0..count)
        .map(|n| match dice.below(16) {
            0 if n % 2 == 0 => Part::Zeros(1 + dice.below(1 << 30)),
            _ => Part::Chunk(chunk_reference(&dice.bytes(8))),
        })
        .collect()
}

fn gather(parts: &[Part], nodes: &mut Memory) -> Entry {
    let mut content = ContentBuilder::new();
    for part in parts {
        match part {
            Part::Chunk(reference) => content.chunk(*reference, nodes).expect("memory takes everything"),
            Part::Zeros(length) => content.zeros(*length).expect("not endless"),
            Part::Node { .. } => unreachable!("tests make no nodes by hand"),
        }
    }
    let (content, size) = content.finish(nodes).expect("memory takes everything");
    Entry { path: path(b"f"), meta: Meta { size, ..Meta::new(Kind::File) }, content }
}

fn as_parts(nodes: &mut Memory, entry: &Entry) -> Vec<Part> {
    let mut end = 0;
    let extents = content_parts(nodes, entry).map(|extent| {
        let extent = extent.expect("sound");
        assert_eq!(extent.offset, end);
        end += extent.length;
        extent.chunk.map_or(Part::Zeros(extent.length), Part::Chunk)
    });
    let parts = extents.collect();
    assert_eq!(end, entry.meta.size);
    parts
}

fn depth(entry: &Entry) -> u8 {
    match &entry.content {
        Content::Parts { depth, .. } => *depth,
        other => panic!("{other:?}"),
    }
}

/// Both an entry that the builder takes and one that a decoder takes.
fn is_sound(entry: &Entry) -> bool {
    entry.check().is_ok() && decode_entry(&encode_entry(entry)).as_ref() == Ok(entry)
}

#[test]
fn parts_come_back_in_order_from_any_depth() {
    for (count, deep) in [(1, 0), (32, 0), (33, 1), (64, 1), (2048, 1), (5000, 1), (60_000, 2)] {
        let parts = chunks(count, count as u64);
        let mut nodes = Memory::default();
        let entry = gather(&parts, &mut nodes);
        assert!(is_sound(&entry), "{count}");
        assert_eq!((as_parts(&mut nodes, &entry) == parts, depth(&entry)), (true, deep), "{count}");
    }
}

#[test]
fn a_file_without_content_is_kept_inline() {
    let entry = gather(&[], &mut Memory::default());
    assert_eq!(entry.content, Content::Inline(Box::default()));
    assert!(is_sound(&entry) && content_parts(Memory::default(), &entry).next().is_none());
}

#[test]
fn zero_runs_are_the_same_however_they_are_divided() {
    let chunk = Part::Chunk(chunk_reference(b"x"));
    let divided = [Part::Zeros(5), Part::Zeros(0), Part::Zeros(7), chunk, Part::Zeros(1), Part::Zeros(1)];
    let mut nodes = Memory::default();
    assert_eq!(gather(&divided, &mut nodes), gather(&[Part::Zeros(12), chunk, Part::Zeros(2)], &mut nodes));
    let mut full: Vec<Part> = vec![Part::Chunk(chunk_reference(b"n")); CONTENT_PARTS_MAX - 1];
    full.extend([Part::Zeros(1), Part::Zeros(1), chunk]);
    let divided = gather(&full, &mut nodes);
    full.splice(CONTENT_PARTS_MAX - 1..CONTENT_PARTS_MAX + 1, [Part::Zeros(2)]);
    assert_eq!(divided, gather(&full, &mut nodes));
}

#[test]
fn a_sparse_file_may_be_as_long_as_numbers_are() {
    let mut content = ContentBuilder::new();
    content.zeros(u64::MAX).expect("still a number");
    assert_eq!(content.zeros(1), Err(Refused::Endless));
    let full = content.chunk(chunk_reference(b"x"), &mut Memory::default());
    assert_eq!(full, Err(Wrong::Refused(Refused::Endless)));
    let (content, size) = content.finish(&mut Memory::default()).expect("one part");
    assert_eq!((content, size), (Content::Parts { depth: 0, parts: vec![Part::Zeros(u64::MAX)] }, u64::MAX));
}

#[test]
fn a_change_in_a_long_file_costs_a_node_per_level() {
    let parts = chunks(60_000, 3);
    let mut before = Memory::default();
    let levels = usize::from(depth(&gather(&parts, &mut before)));
    assert!(before.nodes.len() > 100 && levels == 2, "{}", before.nodes.len());
    for at in (1..parts.len()).step_by(9001) {
        let mut changed = parts.clone();
        changed[at] = Part::Chunk(chunk_reference(&at.to_le_bytes()));
        let mut shorter = parts.clone();
        shorter.remove(at);
        for now in [changed, shorter] {
            let mut after = Memory::default();
            gather(&now, &mut after);
            let fresh = after.ids().difference(&before.ids()).count();
            assert!(fresh <= levels + 4, "{fresh} new nodes for a change at {at}");
        }
    }
}

#[test]
fn a_lost_content_node_leaves_a_hole_of_its_length() {
    let parts = chunks(20_000, 4);
    let mut nodes = Memory::default();
    let entry = gather(&parts, &mut nodes);
    for lost in nodes.ids().into_iter().step_by(7) {
        let mut damaged = nodes.clone();
        damaged.nodes.remove(&lost);
        let mut extents = content_parts(&mut damaged, &entry);
        let (mut errors, mut sum, mut at) = (0, 0, 0);
        while let Some(next) = extents.next() {
            match next {
                Ok(extent) => sum += extent.length,
                Err(error) => {
                    assert_eq!(error, Wrong::Lost);
                    sum += extents.offset() - at;
                    errors += 1;
                }
            }
            at = extents.offset();
        }
        assert_eq!((errors, sum), (1, entry.meta.size));
    }
}

#[test]
fn a_content_node_that_lies_is_refused() {
    let parts: Vec<Part> = (0..40u8).map(|n| Part::Chunk(chunk_reference(&[n]))).collect();
    let mut nodes = Memory::default();
    let entry = gather(&parts, &mut nodes);
    let Content::Parts { depth: 1, parts: above } = &entry.content else { panic!("{entry:?}") };
    let Part::Node { reference, covers } = above[0] else { panic!("{above:?}") };
    let bytes = nodes.bytes(&reference);
    assert_eq!(decode_content(bytes, 0, covers), Ok(parts));
    for (depth, covers) in
        [(0, covers - 1), (0, covers + 1), (0, 0), (1, covers), (16, covers), (255, covers)]
    {
        assert!(decode_content(bytes, depth, covers).is_err(), "{depth} {covers}");
    }
    assert!(decode_content(&[bytes, &[0]].concat(), 0, covers).is_err());
}
