//! Looking chunks up in a repository that holds 200,000: known ones, unknown ones, and those that are new in the session.

use std::collections::BTreeSet;
use std::hint::black_box;

use benches::repository;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use format::compress::Effort;
use format::id::ChunkId;
use format::pack::ContentKind;
use format::reference::FrameSet;
use repo::{Reuse, Style, Writer};

const KNOWN: u32 = 200_000;
const ASKED: usize = 10_000;

fn ids(writer: &Writer<'_>, numbers: std::ops::Range<u32>) -> Vec<ChunkId> {
    numbers.map(|number| writer.chunk_id(&number.to_le_bytes())).collect()
}

fn store(writer: &Writer<'_>, numbers: std::ops::Range<u32>) {
    let mut worker = writer.worker(ContentKind::Data);
    for number in numbers {
        worker.save(&number.to_le_bytes(), &FrameSet::default()).expect("memory takes it");
    }
    worker.finish().expect("memory takes it");
}

fn look_up(c: &mut Criterion) {
    let state = tempfile::tempdir().expect("there is room for a state");
    let repo = repository(state.path());
    let style = Style { effort: Effort::Standard, reuse: Reuse::Trusted };
    let open =
        || Writer::open(&repo, BTreeSet::new(), style).expect("a repository of our own takes a writer");
    let first = open();
    store(&first, 0..KNOWN);
    first.abandon().expect("what is stored stays");
    repo.refresh().expect("memory can be read");
    let writer = open();
    let mut group = c.benchmark_group("look up");
    group.throughput(Throughput::Elements(ASKED as u64));
    let step = KNOWN as usize / ASKED;
    let known: Vec<ChunkId> = ids(&writer, 0..KNOWN).into_iter().step_by(step).collect();
    let unknown = ids(&writer, KNOWN..KNOWN + ASKED as u32);
    let count = |ids: &[ChunkId]| {
        ids.iter().filter(|id| writer.find(id).expect("nothing is fetched").is_some()).count()
    };
    assert_eq!((count(&known), count(&unknown)), (known.len(), 0));
    group.bench_function("known", |b| b.iter(|| count(black_box(&known))));
    group.bench_function("unknown", |b| b.iter(|| count(black_box(&unknown))));
    store(&writer, KNOWN..KNOWN + ASKED as u32);
    group.bench_function("new", |b| b.iter(|| count(black_box(&unknown))));
    group.finish();
    writer.abandon().expect("what is stored stays");
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(40);
    targets = look_up
}
criterion_main!(benches);
