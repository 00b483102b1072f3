//! A whole backup and a whole restore, repository in memory, source and target in the folder for temporary files: one
//! large file of noise, and 4,000 small ones of text.

use std::fs;
use std::path::{Path, PathBuf};

use benches::{noise, repository, text};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use engine::backup::{self, Hooks, What};
use engine::restore;
use format::compress::Effort;
use repo::{PointRecord, Repo};
use source::directory::{Excludes, Existing, Images, Ownership, Selection};
use tempfile::TempDir;

const LARGE: usize = 64 << 20;
const SMALL: usize = 8 << 10;
const FILES: usize = 4000;

fn backup_request(folder: &Path) -> backup::Request {
    let selection = Selection {
        roots: vec![folder.to_owned()],
        excludes: Excludes::default(),
        one_file_system: false,
        never: Vec::new(),
        images: Images::default(),
    };
    backup::Request {
        source: "bench".to_owned(),
        what: What::Paths(Box::new(selection)),
        kind: None,
        map: None,
        hooks: Hooks::default(),
        tags: Vec::new(),
        effort: Effort::Standard,
        program: "bench".to_owned(),
        cores: cores(),
        read_again: 0.0,
    }
}

fn restore_request(point: PointRecord, into: PathBuf) -> restore::Request {
    restore::Request {
        point,
        into,
        include: Vec::new(),
        first: Vec::new(),
        remove_others: false,
        read_back: false,
        existing: Existing::Refuse,
        resume: false,
        ownership: Ownership::Mine,
        cores: cores(),
    }
}

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
    backup::backup(repo, backup_request(folder)).expect("memory takes a backup")
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
                    let request = restore_request(point.clone(), target.path().join("back"));
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
