//! The tree of a point: 50,000 entries written and walked, nodes in memory, neither compressed nor sealed.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use format::Malformed;
use format::id::{ChunkId, PackId};
use format::meta::{Kind, Meta};
use format::pack::chunk_id;
use format::path::TreePath;
use format::reference::{FrameSet, Reference};
use format::tree::{Builder, Content, Entry, Load, Nodes, Part, Refused, Walk};

const FOLDERS: u32 = 500;
const FILES: u32 = 99;
const KEY: [u8; 32] = [7; 32];

/// Nodes by their names.
#[derive(Default)]
struct Kept(HashMap<ChunkId, Vec<u8>>);

#[derive(Debug)]
struct Failed;

impl From<Refused> for Failed {
    fn from(_: Refused) -> Failed {
        Failed
    }
}

impl From<Malformed> for Failed {
    fn from(_: Malformed) -> Failed {
        Failed
    }
}

fn reference(chunk: ChunkId, length: usize) -> Reference {
    Reference { pack: PackId([3; 32]), ordinal: 1, offset: 0, length: length as u32, chunk }
}

impl Nodes for Kept {
    type Error = Failed;

    fn save(&mut self, node: &[u8], _: &FrameSet) -> Result<Reference, Failed> {
        let chunk = chunk_id(&KEY, node);
        self.0.insert(chunk, node.to_vec());
        Ok(reference(chunk, node.len()))
    }
}

impl Load for &Kept {
    type Error = Failed;

    fn load(&mut self, reference: &Reference) -> Result<Vec<u8>, Failed> {
        self.0.get(&reference.chunk).cloned().ok_or(Failed)
    }
}

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).expect("a path")
}

fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for folder in 0..FOLDERS {
        let name = format!("folder{folder:04}");
        entries.push(Entry { path: path(&name), meta: Meta::new(Kind::Directory), content: Content::None });
        for file in 0..FILES {
            let place = path(&format!("{name}/some-file-{file:03}.txt"));
            let chunk = chunk_id(&KEY, place.as_bytes());
            let meta = Meta { size: 12_345, ..Meta::new(Kind::File) };
            let content = Content::Parts { depth: 0, parts: vec![Part::Chunk(reference(chunk, 12_345))] };
            entries.push(Entry { path: place, meta, content });
        }
    }
    entries
}

fn write(entries: &[Entry]) -> (Reference, Kept) {
    let mut builder = Builder::new(&KEY, Kept::default());
    entries.iter().for_each(|entry| builder.push(entry).expect("they are in order"));
    let (root, _, kept) = builder.finish().expect("memory keeps what it gets");
    (root, kept)
}

fn tree(c: &mut Criterion) {
    let entries = entries();
    let (root, kept) = write(&entries);
    let mut group = c.benchmark_group("tree");
    group.throughput(Throughput::Elements(entries.len() as u64));
    group.bench_function("write", |b| b.iter(|| write(black_box(&entries)).0));
    group.bench_function("walk", |b| {
        b.iter(|| {
            Walk::new(&kept, black_box(root)).map(|entry| entry.expect("it is whole").meta.size).sum::<u64>()
        })
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = tree
}
criterion_main!(benches);
