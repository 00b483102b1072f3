//! Trees built into memory and walked back: identity, canonical nodes, small changes, parts of a tree, damage.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::id::ChunkId;
use crate::meta::FileTime;
use crate::reference::FrameId;

mod contents;
mod differences;
mod hostile;

const KEY: [u8; 32] = [7; 32];

/// Nodes by chunk id, each stored once, as deduplication would.
#[derive(Clone, Default)]
struct Memory {
    nodes: BTreeMap<ChunkId, (Reference, Vec<u8>, FrameSet)>,
    loads: usize,
}

#[derive(Debug, PartialEq)]
enum Wrong {
    Lost,
    Malformed(Malformed),
    Refused(Refused),
}

impl From<Malformed> for Wrong {
    fn from(e: Malformed) -> Wrong {
        Wrong::Malformed(e)
    }
}

impl From<Refused> for Wrong {
    fn from(e: Refused) -> Wrong {
        Wrong::Refused(e)
    }
}

impl Memory {
    fn put(&mut self, node: &[u8], frames: FrameSet) -> Reference {
        let chunk = ChunkId(*blake3::keyed_hash(&KEY, node).as_bytes());
        let mut reference = chunk_reference(&chunk.0);
        (reference.chunk, reference.offset, reference.length) = (chunk, 0, node.len() as u32);
        self.nodes.insert(chunk, (reference, node.to_vec(), frames));
        reference
    }

    fn ids(&self) -> BTreeSet<ChunkId> {
        self.nodes.keys().copied().collect()
    }

    fn bytes(&self, reference: &Reference) -> &[u8] {
        &self.nodes[&reference.chunk].1
    }
}

impl Nodes for Memory {
    type Error = Wrong;

    fn save(&mut self, node: &[u8], frames: &FrameSet) -> Result<Reference, Wrong> {
        assert!(node.len() <= FRAME_BYTES_MAX, "a node of {} bytes", node.len());
        Ok(self.put(node, frames.clone()))
    }
}

impl Load for Memory {
    type Error = Wrong;

    fn load(&mut self, reference: &Reference) -> Result<Vec<u8>, Wrong> {
        self.loads += 1;
        match self.nodes.get(&reference.chunk) {
            Some((known, bytes, _)) if known == reference => Ok(bytes.clone()),
            _ => Err(Wrong::Lost),
        }
    }
}

/// A source of numbers that is the same for the same seed.
struct Dice(blake3::OutputReader);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    fn below(&mut self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % end
    }

    fn bytes(&mut self, length: u64) -> Box<[u8]> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A reference like any other, told by `seed`.
fn chunk_reference(seed: &[u8]) -> Reference {
    let mut dice = Dice(blake3::Hasher::new().update(seed).finalize_xof());
    let mut pack = PackId([0; 32]);
    pack.0[0] = dice.below(40) as u8;
    let length = 1 + dice.below(1 << 16) as u32;
    let mut chunk = ChunkId([0; 32]);
    dice.0.fill(&mut chunk.0);
    Reference { pack, ordinal: dice.below(60) as u32, offset: dice.below(1 << 19) as u32, length, chunk }
}

fn path(bytes: &[u8]) -> TreePath {
    TreePath::new(bytes).expect("a path")
}

/// Paths in order, with names around the separator and folders of many sizes.
fn paths(count: usize, dice: &mut Dice) -> Vec<TreePath> {
    let names: [&[u8]; 8] = [b"a", b"b", b"a b", b"a-b", b"ab", b"\xff", b"usr", b"linux-6.1"];
    let mut all = BTreeSet::from([TreePath::root()]);
    while all.len() < count {
        let mut at = TreePath::root();
        for _ in 0..dice.below(5) {
            at = at.join(dice.pick(&names)).expect("a path");
            all.insert(at.clone());
        }
        let name = format!("file-{}.c", dice.below(count as u64 * 4));
        all.insert(at.join(name.as_bytes()).expect("a path"));
    }
    all.into_iter().take(count).collect()
}

fn file(at: TreePath, dice: &mut Dice) -> Entry {
    let mut meta = Meta::new(Kind::File);
    let parts: Vec<Part> = (0..=dice.below(3))
        .map(|_| match dice.below(5) {
            0 => Part::Zeros(1 + dice.below(1 << 40)),
            _ => Part::Chunk(chunk_reference(&dice.bytes(8))),
        })
        .collect();
    meta.size = parts.iter().map(Part::covers).sum();
    meta.link = (dice.below(20) == 0).then(|| dice.below(u64::MAX));
    Entry { path: at, meta, content: Content::Parts { depth: 0, parts } }
}

/// An entry of any kind at `at`.
fn any_entry(at: TreePath, dice: &mut Dice) -> Entry {
    let kind = [Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::CharDevice, Kind::BlockDevice];
    let mut entry = match dice.below(12) {
        n @ 0..5 => Entry { path: at, meta: Meta::new(kind[n as usize]), content: Content::None },
        5 => {
            let bytes = dice.bytes(INLINE_BYTES_MAX as u64 + 1);
            let bytes: Box<[u8]> = bytes[..dice.below(65) as usize].into();
            let meta = Meta { size: bytes.len() as u64, ..Meta::new(Kind::File) };
            Entry { path: at, meta, content: Content::Inline(bytes) }
        }
        _ => file(at, dice),
    };
    let meta = &mut entry.meta;
    let length = 1 + dice.below(60);
    match meta.kind {
        Kind::Symlink => meta.target = dice.bytes(length),
        Kind::CharDevice | Kind::BlockDevice => meta.device = dice.below(1 << 44),
        _ => {}
    }
    meta.mode = dice.below(0o10000) as u32;
    (meta.uid, meta.gid) = (dice.below(70_000) as u32, dice.below(3) as u32);
    meta.user = (dice.below(2) == 0).then(|| format!("user{}", dice.below(30)).into_bytes().into());
    meta.group = (dice.below(2) == 0).then(|| b"users"[..].into());
    meta.mtime =
        FileTime { seconds: dice.below(1 << 34) as i64 - (1 << 33), nanos: dice.below(1_000_000_000) as u32 };
    if dice.below(10) == 0 {
        let names: BTreeSet<u64> = (0..=dice.below(3)).map(|_| dice.below(1000)).collect();
        meta.xattrs =
            names.iter().map(|n| (format!("user.{n}").into_bytes().into(), dice.bytes(n % 50))).collect();
        meta.xattrs.sort();
    }
    entry
}

fn any_entries(count: usize, seed: u64) -> Vec<Entry> {
    let mut dice = Dice::new(seed);
    let paths = paths(count, &mut dice);
    paths.into_iter().map(|at| any_entry(at, &mut dice)).collect()
}

fn build_with(key: &[u8; 32], entries: &[Entry]) -> (Reference, Totals, Memory) {
    let mut builder = Builder::new(key, Memory::default());
    entries.iter().for_each(|entry| builder.push(entry).expect("entries in order"));
    builder.finish().expect("memory takes everything")
}

fn build(entries: &[Entry]) -> (Reference, Totals, Memory) {
    build_with(&KEY, entries)
}

fn walk_all(memory: &mut Memory, root: Reference) -> Vec<Entry> {
    Walk::new(memory, root).collect::<Result<_, _>>().expect("a sound tree")
}

/// All nodes of a tree from the root, decoded.
fn all_nodes(memory: &Memory, root: Reference) -> Vec<(Reference, Node)> {
    let node = decode_node(memory.bytes(&root)).expect("a node");
    let below: Vec<_> = match &node {
        Node::Leaf(_) => Vec::new(),
        Node::Inner { children, .. } => {
            children.iter().flat_map(|child| all_nodes(memory, child.reference)).collect()
        }
    };
    std::iter::once((root, node)).chain(below).collect()
}

/// Whether every node is what its own items alone make: nothing unused is in its tables.
fn is_canonical(memory: &Memory, root: Reference) -> bool {
    all_nodes(memory, root).into_iter().all(|(reference, node)| {
        let mut draft = encode::Draft::default();
        let level = node.level();
        let fits = match node {
            Node::Leaf(entries) => entries.iter().all(|entry| draft.add(entry)),
            Node::Inner { children, .. } => children.iter().all(|child| draft.add(child)),
        };
        fits && draft.bytes(level) == memory.bytes(&reference)
    })
}

fn levels(memory: &Memory, root: &Reference) -> usize {
    usize::from(decode_node(memory.bytes(root)).expect("a node").level()) + 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_built_is_walked_back(seed: u64, count in 0usize..4000) {
        let entries = any_entries(count, seed);
        let (root, totals, mut memory) = build(&entries);
        prop_assert_eq!(totals, entries.iter().map(Entry::totals).sum());
        prop_assert!(is_canonical(&memory, root));
        prop_assert_eq!(walk_all(&mut memory, root), entries);
    }

    #[test]
    fn seek_under_and_lookup_agree_with_a_scan(
        seed: u64,
        count in 1usize..3000,
        asked in prop::collection::vec(any::<(u16, u8)>(), 1..20),
    ) {
        let entries = any_entries(count, seed);
        let (root, _, mut memory) = build(&entries);
        let mut walk = Walk::new(memory.clone(), root);
        for (which, how) in asked {
            let known = &entries[usize::from(which) % entries.len()].path;
            let at = match how % 4 {
                0 => known.clone(),
                1 => known.join(b"!").expect("a path"),
                2 => known.parent().unwrap_or_default(),
                _ => path(&[b"a-b/zz", known.as_bytes()].concat()),
            };
            walk.seek(&at);
            let ahead: Vec<Entry> = walk.by_ref().take(usize::from(how)).map(|e| e.expect("sound")).collect();
            let scan = entries.iter().filter(|e| e.path >= at).take(usize::from(how));
            prop_assert!(scan.eq(ahead.iter()), "seek {at}");
            let inside: Vec<Entry> =
                Walk::new(&mut memory, root).under(at.clone()).map(|e| e.expect("sound")).collect();
            prop_assert!(entries.iter().filter(|e| e.path.starts_with(&at)).eq(inside.iter()), "under {at}");
            let found = lookup(&mut memory, root, &at).expect("sound");
            prop_assert_eq!(found.as_ref(), entries.iter().find(|e| e.path == at));
        }
    }

    #[test]
    fn the_same_entries_give_the_same_nodes(seed: u64, count in 0usize..3000, other in 0usize..500) {
        let entries = any_entries(count, seed);
        let (root, _, memory) = build(&entries);
        let mut builder = Builder::new(&KEY, build(&any_entries(other, seed ^ 1)).2);
        for entry in &entries {
            builder.push(entry).expect("entries in order");
            prop_assert!(builder.push(entry).is_err(), "a second time");
        }
        let (again, _, more) = builder.finish().expect("memory takes everything");
        prop_assert_eq!(root, again);
        prop_assert!(memory.ids().is_subset(&more.ids()));
    }

    #[test]
    fn an_entry_alone_comes_back(seed: u64) {
        for entry in any_entries(40, seed) {
            prop_assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry));
        }
    }
}

#[test]
fn a_search_in_leaves_finds_what_all_their_entries_hold() {
    let entries = any_entries(3000, 8);
    let (_, _, memory) = build(&entries);
    let wanted = |path: &[u8]| path.len() % 7 == 3;
    let mut found = 0;
    for (_, bytes, _) in memory.nodes.values() {
        match (decode_node(bytes).unwrap(), decode_leaf_where(bytes, wanted).unwrap()) {
            (Node::Leaf(all), Some(some)) => {
                let expected: Vec<Entry> =
                    all.into_iter().filter(|entry| wanted(entry.path.as_bytes())).collect();
                found += some.len();
                assert_eq!(some, expected);
            }
            (Node::Inner { .. }, None) => {}
            (node, some) => panic!("{node:?} {some:?}"),
        }
    }
    assert_eq!(found, entries.iter().filter(|entry| wanted(entry.path.as_bytes())).count());
    assert!(found > 100, "{found} is enough to tell");
}

#[test]
fn another_chunk_key_cuts_elsewhere() {
    let entries = any_entries(3000, 1);
    let firsts = |key: &[u8; 32]| -> BTreeSet<Vec<u8>> {
        let (root, _, memory) = build_with(key, &entries);
        let nodes = all_nodes(&memory, root);
        nodes.iter().filter_map(|(_, node)| node.ends()).map(|(first, _)| first.as_bytes().to_vec()).collect()
    };
    let (one, two) = (firsts(&KEY), firsts(&[8; 32]));
    assert!(one.len() > 3 && one.intersection(&two).count() < one.len() / 2, "{} {}", one.len(), two.len());
}

#[test]
fn one_changed_entry_changes_few_nodes() {
    let entries = any_entries(120_000, 2);
    let (root, _, before) = build(&entries);
    let levels = levels(&before, &root);
    assert!(levels >= 3, "{levels} levels");
    let mut dice = Dice::new(3);
    let (mut rounds, mut fresh, mut worst) = (0, 0, 0);
    for at in (0..entries.len()).step_by(24_001) {
        let mut changed = entries.clone();
        changed[at] = any_entry(entries[at].path.clone(), &mut dice);
        let mut inserted = entries.clone();
        let path = entries[at].path.join(b" new").expect("a path");
        inserted.insert(at + 1, any_entry(path, &mut dice));
        let mut removed = entries.clone();
        removed.remove(at);
        for after in [changed, inserted, removed] {
            let count = build(&after).2.ids().difference(&before.ids()).count();
            (rounds, fresh, worst) = (rounds + 1, fresh + count, worst.max(count));
        }
    }
    println!(
        "{} nodes in {levels} levels: a change makes {:.1} new ones, at most {worst}",
        before.nodes.len(),
        fresh as f64 / rounds as f64,
    );
    assert!(fresh <= rounds * (levels + 2) && worst <= 6 * levels, "{fresh} in {rounds}, {worst}");
}

#[test]
fn an_empty_tree_has_a_root() {
    let (root, totals, mut memory) = build(&[]);
    assert_eq!((memory.nodes.len(), totals), (1, Totals::default()));
    assert_eq!(walk_all(&mut memory, root), []);
    assert_eq!(lookup(&mut memory, root, &path(b"a")), Ok(None));
}

#[test]
fn a_tree_that_ends_with_its_node_has_no_node_above() {
    let entries = any_entries(4000, 4);
    let (root, _, memory) = build(&entries);
    let nodes = all_nodes(&memory, root);
    let first_leaf = nodes.iter().find_map(|(_, node)| match node {
        Node::Leaf(entries) => Some(entries.len()),
        Node::Inner { .. } => None,
    });
    let (root, _, memory) = build(&entries[..first_leaf.expect("a leaf")]);
    assert_eq!((memory.nodes.len(), levels(&memory, &root)), (1, 1));
}

#[test]
fn a_builder_goes_on_after_what_it_refused() {
    let entries = any_entries(600, 5);
    let mut builder = Builder::new(&KEY, Memory::default());
    for entry in &entries {
        let mut bad = entry.clone();
        bad.path = entry.path.join(b"\x01").expect("a path");
        bad.meta.xattrs = vec![(b"user.x"[..].into(), vec![1; NODE_LENGTH_MAX].into())];
        builder.push(entry).expect("in order");
        assert_eq!(builder.push(&bad), Err(Wrong::Refused(Refused::TooLong(bad.path.clone()))));
        bad.meta.mode = 0o10000;
        assert!(matches!(builder.push(&bad), Err(Wrong::Refused(Refused::Contradiction { .. }))));
        let again = builder.push(entry);
        assert_eq!(again, Err(Wrong::Refused(Refused::OutOfOrder(entry.path.clone()))));
    }
    let (root, _, memory) = builder.finish().expect("memory takes everything");
    let (plain, _, alone) = build(&entries);
    assert!(root == plain && memory.ids() == alone.ids());
}

#[test]
fn entries_that_contradict_themselves_are_refused() {
    let mut dice = Dice::new(6);
    let good = || file(path(b"f"), &mut Dice::new(6));
    let chunk = chunk_reference(b"x");
    let parts = |depth, parts: Vec<Part>| Entry {
        meta: Meta { size: parts.iter().map(Part::covers).sum(), ..Meta::new(Kind::File) },
        content: Content::Parts { depth, parts },
        ..good()
    };
    let with = |change: &dyn Fn(&mut Meta)| {
        let mut entry = good();
        change(&mut entry.meta);
        entry
    };
    let rows = [
        with(&|m| m.mode = 0o10000),
        with(&|m| m.mtime.nanos = 1_000_000_000),
        with(&|m| m.target = b"x"[..].into()),
        with(&|m| m.device = 1),
        with(&|m| m.size += 1),
        with(&|m| m.kind = Kind::Directory),
        with(&|m| m.user = Some(vec![b'x'; 256].into())),
        with(&|m| m.xattrs = vec![(b"b"[..].into(), Box::default()), (b"a"[..].into(), Box::default())]),
        with(&|m| m.xattrs = vec![(b"a"[..].into(), Box::default()), (b"a"[..].into(), Box::default())]),
        Entry {
            meta: Meta { link: Some(1), ..Meta::new(Kind::Directory) },
            content: Content::None,
            ..good()
        },
        Entry {
            meta: Meta { size: 65, ..Meta::new(Kind::File) },
            content: Content::Inline(dice.bytes(65)),
            ..good()
        },
        Entry { meta: Meta::new(Kind::File), content: Content::None, ..good() },
        parts(0, vec![]),
        parts(0, vec![Part::Zeros(0), Part::Chunk(chunk)]),
        parts(0, vec![Part::Chunk(chunk); 33]),
        parts(0, vec![Part::Node { reference: chunk, covers: 9 }]),
        parts(1, vec![Part::Chunk(chunk)]),
        parts(16, vec![Part::Node { reference: chunk, covers: 9 }]),
    ];
    assert!(Builder::new(&KEY, Memory::default()).push(&good()).is_ok());
    for (row, entry) in rows.iter().enumerate() {
        let refused = Builder::new(&KEY, Memory::default()).push(entry);
        assert!(
            matches!(refused, Err(Wrong::Refused(Refused::Contradiction { .. }))),
            "row {row}: {refused:?}"
        );
        assert_ne!(decode_entry(&encode_entry(entry)).as_ref(), Ok(entry), "row {row}");
    }
}

#[test]
fn long_entries_fill_nodes_up_to_the_limit_only() {
    let deep: Vec<u8> = [[b'd'; 200].as_slice()].repeat(300).join(&b'/');
    let long = |n: u32| path(&[&deep[..], format!("/{n:04}").as_bytes()].concat());
    let mut entries: Vec<Entry> = (0..60).map(|n| file(long(n), &mut Dice::new(u64::from(n)))).collect();
    for entry in entries.iter_mut().step_by(2) {
        entry.meta.xattrs = vec![(b"user.big"[..].into(), vec![1; 65_536].into())];
    }
    let (root, _, mut memory) = build(&entries);
    assert_eq!(walk_all(&mut memory, root), entries);
    assert!(is_canonical(&memory, root));
    let leaves = all_nodes(&memory, root).into_iter().filter(|(_, node)| node.level() == 0).count();
    assert!(
        (12..=20).contains(&leaves),
        "{leaves} leaves of at most 512 KiB for 60 paths of 60 KiB and 30 × 64 KiB"
    );
}

#[test]
fn a_node_is_saved_with_the_frames_it_refers_to() {
    let (root, _, memory) = build(&any_entries(3000, 7));
    let nodes = all_nodes(&memory, root);
    assert!(nodes.len() > 3);
    for (reference, node) in nodes {
        let frames: Vec<FrameId> = memory.nodes[&reference.chunk].2.iter().collect();
        assert!(!frames.is_empty() && node.frames().iter().eq(frames));
    }
}

#[test]
fn a_lookup_reads_one_node_per_level() {
    let entries = any_entries(40_000, 8);
    let (root, _, mut memory) = build(&entries);
    let levels = levels(&memory, &root);
    for entry in entries.iter().step_by(997) {
        memory.loads = 0;
        assert_eq!(lookup(&mut memory, root, &entry.path), Ok(Some(entry.clone())));
        assert_eq!(memory.loads, levels, "{}", entry.path);
    }
    let mut walk = Walk::new(&mut memory, root);
    for entry in entries.iter().step_by(50) {
        walk.seek(&entry.path);
        assert_eq!(walk.next(), Some(Ok(entry.clone())));
    }
    let nodes = all_nodes(&memory, root).len();
    assert!(
        memory.loads <= levels + nodes,
        "seeking forwards reads no node twice: {} of {nodes}",
        memory.loads
    );
}

#[test]
fn a_lost_node_costs_what_lies_below_it_and_no_more() {
    let entries = any_entries(40_000, 9);
    let (root, _, memory) = build(&entries);
    for (lost, node) in all_nodes(&memory, root).into_iter().skip(1).step_by(23) {
        let mut damaged = memory.clone();
        damaged.nodes.remove(&lost.chunk);
        let mut walk = Walk::new(damaged, root);
        let (mut errors, mut found) = (0, 0);
        while let Some(next) = walk.next() {
            match next {
                Ok(_) => found += 1,
                Err(error) => {
                    assert_eq!(error, Wrong::Lost);
                    let missing = walk.missing().expect("not the root");
                    assert_eq!((missing.reference, missing.totals), (lost, node.totals()));
                    errors += 1;
                }
            }
        }
        assert_eq!((errors, found + node.totals().entries), (1, entries.len() as u64));
    }
    let mut none = Walk::new(Memory::default(), root);
    assert_eq!((none.next(), none.next()), (Some(Err(Wrong::Lost)), None));
}

#[test]
fn a_leaf_is_spelled_as_the_document_says() {
    let chunk = Reference {
        pack: PackId([0xaa; 32]),
        ordinal: 3,
        offset: 300,
        length: 70_000,
        chunk: ChunkId([0xcc; 32]),
    };
    let mut dir = Entry { path: path(b"d"), meta: Meta::new(Kind::Directory), content: Content::None };
    dir.meta.user = Some(b"root"[..].into());
    dir.meta.mtime = FileTime { seconds: -2, nanos: 5 };
    let mut big = Entry { path: path(b"d/big"), meta: Meta::new(Kind::File), content: Content::None };
    big.content = Content::Parts { depth: 0, parts: vec![Part::Chunk(chunk), Part::Zeros(24)] };
    (big.meta.size, big.meta.link) = (70_024, Some(9));
    let (root, _, memory) = build(&[dir, big]);
    let hex: String = memory.bytes(&root).iter().map(|b| format!("{b:02x}")).collect();
    let pack = format!("5820{}", "aa".repeat(32));
    let reference = format!("8500031901 2c1a00011170 5820{}", "cc".repeat(32));
    let expected = format!(
        "84 00 81 {pack} 81 44726f6f74 82
         8d 00 4164 00 1901ed 00 00 01 00 21 05 f6 f6 f6
         8d 01 442f626967 01 1901a4 00 00 00 00 00 00 83 1a00011188 00 82 {reference} 81 1818 09 f6"
    );
    assert_eq!(hex, expected.replace(|c: char| c.is_whitespace(), ""));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures how long building and walking take")]
fn a_quarter_of_a_million_entries_take_seconds() {
    let count = 250_000;
    let mut dice = Dice::new(10);
    let entries: Vec<Entry> = paths(count, &mut dice).into_iter().map(|at| file(at, &mut dice)).collect();
    let start = std::time::Instant::now();
    let (root, totals, mut memory) = build(&entries);
    let built = start.elapsed();
    let start = std::time::Instant::now();
    let walked = Walk::new(&mut memory, root).filter(Result::is_ok).count();
    let walking = start.elapsed();
    let bytes: usize = memory.nodes.values().map(|(_, bytes, _)| bytes.len()).sum();
    println!(
        "{} nodes, {} bytes an entry; {:.0} entries a second built, {:.0} walked",
        memory.nodes.len(),
        bytes / count,
        count as f64 / built.as_secs_f64(),
        count as f64 / walking.as_secs_f64(),
    );
    assert_eq!((walked, totals.entries), (count, count as u64));
    assert!((built + walking).as_secs() < 120, "far from seconds even on a busy machine");
}
