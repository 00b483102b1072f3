//! Speed of the cutter beside the `fastcdc` crate, in one run: on noise and on text, at three means, level 2 for both.
//!
//! Both cut the same 16 MiB with the same sizes; `fastcdc` once with its own table and once with ours.

use benches::{noise, text};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastcdc::v2020::{self, FastCDC, Normalization};
use format::cutter::{Cutter, Sizes, Stream};
use std::hint::black_box;

const LEN: usize = 16 << 20;

fn count(data: &[u8], mut cut: impl FnMut(&[u8]) -> usize) -> usize {
    let (mut at, mut chunks) = (0, 0);
    while at < data.len() {
        at += cut(&data[at..]);
        chunks += 1;
    }
    chunks
}

fn compare(c: &mut Criterion) {
    let gear: Vec<u64> = noise(b"gear", 2048)
        .chunks_exact(8)
        .map(|number| u64::from_le_bytes(number.try_into().expect("eight bytes")))
        .collect();
    let doubled: Vec<u64> = gear.iter().map(|number| number << 1).collect();
    for (name, data) in [("noise", noise(b"data", LEN)), ("text", text(LEN))] {
        for normal in [64usize << 10, 128 << 10, 256 << 10] {
            let (min, max) = (normal / 4, normal * 4);
            let sizes = Sizes::new(min as u32, normal as u32, max as u32).expect("powers of two");
            let cutter = Cutter::new(&[7; 32], sizes);
            let (strict, loose) = v2020::select_masks(normal, Normalization::Level2);
            let mut group = c.benchmark_group(format!("cut {name} {} KiB", normal >> 10));
            group.throughput(Throughput::Bytes(LEN as u64));
            group.bench_function("ours", |b| {
                b.iter(|| {
                    count(black_box(&data), |rest| cutter.next_cut(rest, Stream::EndsHere).expect("data"))
                })
            });
            group.bench_function("fastcdc", |b| {
                b.iter(|| {
                    FastCDC::with_level(black_box(&data), min, normal, max, Normalization::Level2).count()
                })
            });
            group.bench_function("fastcdc cut_gear", |b| {
                b.iter(|| {
                    count(black_box(&data), |rest| {
                        let (strict2, loose2) = (strict << 1, loose << 1);
                        v2020::cut_gear(
                            rest, min, normal, max, strict, loose, strict2, loose2, &gear, &doubled,
                        )
                        .1
                    })
                })
            });
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(40);
    targets = compare
}
criterion_main!(benches);
