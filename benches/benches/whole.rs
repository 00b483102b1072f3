//! A whole backup and a whole restore, repository in memory, source and target in the folder for temporary files: one
//! large file of noise, and 4,000 small ones of text.

use std::fs;
use std::path::Path;

use benches::{noise, repository, text};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use engine::backup;
use engine::restore;
use repo::Repo;
use source::directory::Ownership;
use tempfile::TempDir;

const LARGE: usize = 64 << 20;
const SMALL: usize = 8 << 10;
const FILES: usize = 4000;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn room() -> TempDir {
    tempfile::tempdir().expect("there is a folder for temporary files")
}

fn empty() -> (TempDir, Repo) {
    let state = room();
    let repo = repository(state.path());
    (state, repo)
}

fn make(repo: &Repo, folder: &Path) -> backup::Report {
    backup::backup(repo, backup::Request::of("bench", folder, cores())).expect("memory takes a backup")
}

fn fill(folder: &Path, name: &str) -> u64 {
    if name == "large" {
        fs::write(folder.join("noise"), noise(b"large", LARGE)).expect("there is room");
        return LARGE as u64;
    }
    for (number, file) in text(FILES * SMALL).chunks(SMALL).enumerate() {
        fs::write(folder.join(format!("file{number}")), file).expect("there is room");
    }
    (FILES * SMALL) as u64
}

fn whole(c: &mut Criterion) {
    for name in ["large", "small"] {
        let source = room();
        let bytes = fill(source.path(), name);
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function("backup", |b| {
            b.iter_batched(
                empty,
                |(state, repo)| {
                    make(&repo, source.path());
                    (state, repo)
                },
                BatchSize::PerIteration,
            )
        });
        let (_state, repo) = empty();
        let report = make(&repo, source.path());
        repo.refresh().expect("memory can be read");
        let point = repo.find_point(&report.point.to_string(), None).expect("it was made just now");
        group.bench_function("restore", |b| {
            b.iter_batched(
                room,
                |target| {
                    let into = target.path().join("back");
                    let request = restore::Request::of(point.clone(), into, Ownership::Mine, cores());
                    let report = restore::restore(&repo, &request).expect("memory gives it back");
                    assert!(report.problems.is_empty());
                    target
                },
                BatchSize::PerIteration,
            )
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = whole
}
criterion_main!(benches);
