//! Nodes from whoever may write into a store: random, mutated, and made to lie.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::encode::Error;

use super::*;

/// A leaf or inner node as CBOR by hand.
fn cbor(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), Error<Infallible>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).expect("memory takes every byte");
    bytes
}

fn decode_any(bytes: &[u8]) {
    if let Ok(node) = decode_node(bytes) {
        assert!(bytes.len() <= FRAME_BYTES_MAX);
        let _ = (node.frames(), node.totals(), node.ends());
        if let Node::Leaf(entries) = node {
            assert!(entries.iter().all(|entry| entry.check().is_ok()));
            assert!(entries.is_sorted_by(|a, b| a.path < b.path));
        }
    }
    for depth in [0, 1, 15, 16, 255] {
        let _ = decode_content(bytes, depth, 1 << 20);
    }
    let _ = decode_entry(bytes);
    let _ = decode_leaf_where(bytes, |path| path.len() % 2 == 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode_any(&bytes);
    }

    #[test]
    fn mutated_nodes_do_not_panic(
        seed in 0u64..20,
        changes in prop::collection::vec((any::<u16>(), any::<u8>(), 0u8..3), 1..5),
    ) {
        let (root, _, memory) = build(&any_entries(1500, seed));
        for (_, bytes, _) in memory.nodes.values().take(2).chain([&memory.nodes[&root.chunk]]) {
            let mut bytes = bytes.clone();
            for &(at, with, how) in &changes {
                let at = usize::from(at) % bytes.len();
                match how {
                    0 => bytes[at] = with,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, with),
                }
            }
            decode_any(&bytes);
        }
    }

    #[test]
    fn a_walk_over_swapped_nodes_errs_or_stays_in_order(seed in 0u64..20, a: u16, b: u16) {
        let (root, _, mut memory) = build(&any_entries(3000, seed));
        let ids: Vec<ChunkId> = memory.ids().into_iter().filter(|id| *id != root.chunk).collect();
        let (a, b) = (ids[usize::from(a) % ids.len()], ids[usize::from(b) % ids.len()]);
        let other = memory.nodes[&b].1.clone();
        memory.nodes.get_mut(&a).expect("known").1 = other;
        let walked: Vec<_> = Walk::new(memory, root).collect();
        let paths: Vec<&TreePath> = walked.iter().flatten().map(|entry| &entry.path).collect();
        prop_assert!(paths.is_sorted_by(|a, b| a < b));
        prop_assert!(a == b || walked.iter().any(Result::is_err));
    }
}

#[test]
fn every_truncation_is_refused() {
    let (root, _, memory) = build(&any_entries(100, 1));
    let bytes = memory.bytes(&root);
    assert!(decode_node(bytes).is_ok());
    assert!((0..bytes.len()).all(|end| decode_node(&bytes[..end]).is_err()));
    assert!(decode_node(&[bytes, &[0]].concat()).is_err());
}

#[test]
fn elements_of_a_later_version_are_passed_over() {
    let leaf = cbor(|e| {
        e.array(5)?.u8(0)?.array(0)?.array(0)?.array(1)?;
        e.array(14)?.u8(0)?.bytes(b"p")?.u8(3)?;
        for _ in 0..5 {
            e.u8(0)?;
        }
        e.i64(-1)?.u8(0)?.null()?.null()?.null()?;
        e.array(2)?.str("later")?.null()?;
        e.array(1)?.u8(9)?.ok()
    });
    let Ok(Node::Leaf(entries)) = decode_node(&leaf) else { panic!("{:?}", decode_node(&leaf)) };
    assert_eq!((entries[0].meta.kind, entries[0].meta.mtime.seconds), (Kind::Fifo, -1));
}

/// A leaf of fifos at these (shared, suffix).
fn leaf_of(paths: &[(u64, &[u8])]) -> Vec<u8> {
    cbor(|e| {
        e.array(4)?.u8(0)?.array(0)?.array(0)?;
        e.array(paths.len() as u64)?;
        for (shared, suffix) in paths {
            e.array(13)?.u64(*shared)?.bytes(suffix)?.u8(3)?;
            for _ in 0..7 {
                e.u8(0)?;
            }
            for _ in 0..3 {
                e.null()?;
            }
        }
        Ok(())
    })
}

#[test]
fn paths_that_lead_out_or_do_not_rise_are_refused() {
    assert!(decode_node(&leaf_of(&[(0, b"a"), (1, b"b"), (1, b"c/d")])).is_ok());
    let rows: [&[(u64, &[u8])]; 9] = [
        &[(0, b"..")],
        &[(0, b"/etc")],
        &[(0, b"a"), (1, b"/../b")],
        &[(0, b"a\0")],
        &[(1, b"a")],
        &[(0, b"a"), (2, b"b")],
        &[(0, b"a"), (1, b"")],
        &[(0, b"b"), (0, b"a")],
        &[(0, b"a b"), (1, b"/b")],
    ];
    for row in rows {
        assert!(decode_node(&leaf_of(row)).is_err(), "{row:?}");
    }
}

#[test]
fn shared_prefixes_do_not_unpack_without_bound() {
    let deep: Vec<u8> = [[b'd'; 200].as_slice()].repeat(300).join(&b'/');
    let names: Vec<[u8; 3]> = (0..=99u8).map(|n| [b'/', b'0' + n / 10, b'0' + n % 10]).collect();
    let mut rows: Vec<(u64, &[u8])> = vec![(0, &deep)];
    rows.extend(names.iter().map(|name| (deep.len() as u64, &name[..])));
    assert!(decode_node(&leaf_of(&rows[..17])).is_ok());
    let refused = decode_node(&leaf_of(&rows)).expect_err("6 MB of paths in 62 KB");
    assert!(refused.why.contains("too long together"), "{refused}");
}

#[test]
fn lengths_and_places_that_cannot_be_are_refused() {
    let rows = [
        cbor(|e| e.array(u64::MAX)?.ok()),
        cbor(|e| e.array(4)?.u8(0)?.array(u64::MAX)?.ok()),
        cbor(|e| e.array(4)?.u8(0)?.array(1 << 40)?.bytes(&[0; 32])?.ok()),
        cbor(|e| e.array(3)?.u8(1)?.array(0)?.array(0)?.ok()),
        cbor(|e| e.array(3)?.u8(16)?.array(0)?.array(0)?.ok()),
        cbor(|e| e.begin_array()?.u8(0)?.ok()),
        inner(1, 1, (0, 0, 10), (1, 1)),
        inner(1, 0, (65_536, 0, 10), (1, 1)),
        inner(1, 0, (0, 1 << 20, 1), (1, 1)),
        inner(1, 0, (0, u32::MAX, u32::MAX), (1, 1)),
        inner(1, 0, (0, 0, 0), (1, 1)),
        inner(1, 0, (0, 0, 10), (0, 0)),
        inner(1, 0, (0, 0, 10), (1, 2)),
        vec![0; FRAME_BYTES_MAX + 1],
    ];
    assert!(decode_node(&inner(1, 0, (0, 0, 10), (1, 1))).is_ok());
    for (row, bytes) in rows.iter().enumerate() {
        assert!(decode_node(bytes).is_err(), "row {row}");
    }
}

/// An inner node with one child.
fn inner(
    level: u8,
    pack: u8,
    (ordinal, offset, length): (u32, u32, u32),
    (entries, files): (u8, u8),
) -> Vec<u8> {
    cbor(|e| {
        e.array(3)?.u8(level)?.array(1)?.bytes(&[1; 32])?.array(1)?;
        e.array(6)?.u8(0)?.bytes(b"a")?;
        e.array(5)?.u8(pack)?.u32(ordinal)?.u32(offset)?.u32(length)?;
        e.bytes(&[2; 32])?;
        e.u8(entries)?.u8(files)?.u8(0)?.ok()
    })
}

/// A root over `children`, as a writer that lies would make it.
fn root_over(memory: &mut Memory, level: u8, children: &[Child]) -> Reference {
    let mut draft = encode::Draft::default();
    assert!(children.iter().all(|child| draft.add(child)));
    let node = draft.bytes(level);
    memory.put(&node, FrameSet::default())
}

#[test]
fn a_parent_that_lies_about_its_children_is_found_out() {
    let (root, _, memory) = build(&any_entries(3000, 11));
    let Ok(Node::Inner { level, children }) = decode_node(memory.bytes(&root)) else { panic!("one leaf") };
    let child = |at: usize, change: &dyn Fn(&mut Child)| {
        let mut all = children.clone();
        change(&mut all[at]);
        all
    };
    let rows = [
        (level, child(1, &|c| c.totals.entries += 1), 1),
        (level, child(1, &|c| c.totals.bytes += 1), 1),
        (level, child(1, &|c| c.totals.files -= 1), 1),
        (level, child(0, &|c| c.first = path(b"\x01")), 1),
        (level, child(2, &|c| c.reference = children[1].reference), 1),
        (level + 1, children.clone(), children.len()),
        (level, children.clone(), 0),
    ];
    for (row, (level, lies, errors)) in rows.into_iter().enumerate() {
        let mut memory = memory.clone();
        let root = root_over(&mut memory, level, &lies);
        let walked: Vec<_> = Walk::new(memory, root).collect();
        let found: Vec<&Wrong> = walked.iter().filter_map(|next| next.as_ref().err()).collect();
        assert_eq!(found.len(), errors, "row {row}: {found:?}");
        assert!(found.iter().all(|error| matches!(error, Wrong::Malformed(_))), "row {row}: {found:?}");
    }
}

#[test]
fn a_node_that_reaches_into_its_neighbour_is_found_out() {
    let mut memory = Memory::default();
    let leaf = |memory: &mut Memory, names: &[&[u8]]| {
        let rows: Vec<(u64, &[u8])> = names.iter().map(|name| (0, *name)).collect();
        let reference = memory.put(&leaf_of(&rows), FrameSet::default());
        let totals = Totals { entries: names.len() as u64, files: 0, bytes: 0 };
        Child { first: path(names[0]), reference, totals }
    };
    let children = [leaf(&mut memory, &[b"a", b"c"]), leaf(&mut memory, &[b"b", b"d"])];
    let root = root_over(&mut memory, 1, &children);
    let mut walk = Walk::new(memory, root);
    assert!(matches!(walk.next(), Some(Err(Wrong::Malformed(_)))));
    assert!(matches!(walk.next(), Some(Ok(entry)) if entry.path == path(b"b")));
}
