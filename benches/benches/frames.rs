//! What happens to a frame and to a pack: names, compression, sealing. Sealing beside the `aes-gcm` crate, as reference.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use benches::{noise, text};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use format::compress::{Codec, Compressor, Decompressor, Effort};
use format::id::{DomainId, Hash, RepoId};
use format::key::Generation;
use format::local::LocalKey;
use format::pack::chunk_id;
use std::hint::black_box;
use world::Chance;

const FRAME: usize = 1 << 20;
const PACK: usize = 32 << 20;

fn hash(c: &mut Criterion) {
    let mut group = c.benchmark_group("hash");
    for (name, length) in [("chunk of 64 KiB", 64 << 10), ("chunk of 256 KiB", 256 << 10)] {
        let chunk = noise(b"chunk", length);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |b| b.iter(|| chunk_id(&[7; 32], black_box(&chunk))));
    }
    let pack = noise(b"pack", PACK);
    group.throughput(Throughput::Bytes(PACK as u64));
    group.bench_function("pack of 32 MiB", |b| b.iter(|| Hash::of(black_box(&pack))));
    group.finish();
}

fn compress(c: &mut Criterion) {
    for (name, frame) in [("noise", noise(b"frame", FRAME)), ("text", text(FRAME))] {
        let mut group = c.benchmark_group(format!("compress {name}"));
        group.throughput(Throughput::Bytes(FRAME as u64));
        let efforts =
            [("standard", Effort::Standard), ("level 1", Effort::Level(1)), ("level 9", Effort::Level(9))];
        for (effort, meant) in efforts {
            let mut compressor = Compressor::new(meant);
            group.bench_function(effort, |b| b.iter(|| compressor.compress(black_box(&frame)).1.len()));
        }
        let mut compressor = Compressor::new(Effort::Standard);
        let (codec, stored) = compressor.compress(&frame);
        let (mut decompressor, mut raw) = (Decompressor::default(), Vec::new());
        if codec == Codec::Zstd {
            group.bench_function("back", |b| {
                b.iter(|| {
                    let back = decompressor.decompress(codec, black_box(stored), FRAME, &mut raw);
                    back.expect("it was compressed a moment ago").len()
                })
            });
        }
        group.finish();
    }
}

fn seal(c: &mut Criterion) {
    let frame = noise(b"frame", FRAME);
    let mut group = c.benchmark_group("seal 1 MiB");
    group.throughput(Throughput::Bytes(FRAME as u64));
    let keys = Generation::fresh(0, &mut Chance::from_key([9; 32]));
    let key = LocalKey::new(RepoId([1; 32]), DomainId([2; 16]), &keys, &[3; 32]).expect("it has a chunk key");
    let (mut sealed, mut ordinal) = (Vec::with_capacity(FRAME + 64), 0);
    group.bench_function("ours", |b| {
        b.iter(|| {
            sealed.clear();
            ordinal += 1;
            key.seal(&mut sealed, ordinal, [1; 8], black_box(&frame));
            sealed.len()
        })
    });
    let reference = Aes256Gcm::new(&[9; 32].into());
    let mut buffer = frame.clone();
    group.bench_function("aes-gcm", |b| {
        b.iter(|| {
            let nonce = Nonce::from([1; 12]);
            reference
                .encrypt_inout_detached(&nonce, &[], black_box(&mut buffer[..]).into())
                .expect("it is short")
        })
    });
    sealed.clear();
    key.seal(&mut sealed, 1, [1; 8], &frame);
    let mut opened = Vec::new();
    group.bench_function("ours, opened", |b| {
        b.iter(|| key.open(&mut opened, 1, black_box(&sealed)).expect("it was sealed by this key"))
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(40);
    targets = hash, compress, seal
}
criterion_main!(benches);
