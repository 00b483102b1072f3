//! Data is what it says it is, and limits follow from what stages cost.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use world::World;

use super::*;

fn stage(name: &'static str, bytes: u64, measured_bytes: u64, milliseconds: [u64; 2]) -> Stage {
    let [time, cpu] = milliseconds.map(Duration::from_millis);
    Stage { name, bytes, measured_bytes, time, cpu }
}

#[test]
fn a_limit_counts_each_stage_for_the_bytes_that_go_through_it() {
    // 1 s of a core for all bytes, 1 s for the half that is stored, and the place took a quarter of it in half a second.
    let stages = [stage("cut", 1000, 1000, [1000, 1000]), stage("store", 500, 125, [500, 250])];
    let limit = |cores| Limit::of(&stages, 1000, cores, |stage| stage.name == "store");
    assert_eq!((limit(1).cores, limit(1).place), (500.0, 500.0));
    assert_eq!((limit(1).rate(), limit(1).bound()), (500.0, Bound::Cores));
    assert_eq!((limit(4).cores, limit(4).rate(), limit(4).bound()), (2000.0, 500.0, Bound::Place));
}

#[test]
fn what_goes_through_no_stage_is_no_limit() {
    let idle = stage("store", 0, 0, [0, 0]);
    assert_eq!((idle.rate(), idle.core_seconds()), (0.0, 0.0));
    let limit = Limit::of(&[stage("cut", 10, 10, [1000, 1000]), idle], 10, 1, |stage| stage.name == "store");
    assert_eq!((limit.rate(), limit.bound()), (10.0, Bound::Cores));
}

fn made(data: &Data, size: u64) -> (tempfile::TempDir, Source) {
    let dir = tempfile::tempdir().unwrap();
    let source = prepare(&World::real(), data, size, &dir.path().join("source")).unwrap();
    (dir, source)
}

#[test]
fn made_up_data_is_the_same_each_time_and_as_long_as_asked_for() {
    const SIZE: u64 = (2 << 20) + 4321;
    for (data, name) in [(Data::Random, "random"), (Data::Text, "text.log")] {
        let [one, other] = [made(&data, SIZE), made(&data, SIZE)];
        let [a, b] = [&one, &other].map(|(_, source)| fs::read(source.folder.join(name)).unwrap());
        assert_eq!((a.len() as u64, one.1.bytes, one.1.files), (SIZE, SIZE, 1));
        assert_eq!(a, b);
    }
}

#[test]
fn no_line_of_the_log_comes_twice_and_it_can_be_made_smaller() {
    let (_dir, source) = made(&Data::Text, 3 << 20);
    let text = fs::read_to_string(source.folder.join("text.log")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let distinct: HashSet<&&str> = lines.iter().collect();
    assert_eq!(distinct.len(), lines.len());
    let mut compressor = format::compress::Compressor::new(format::compress::Effort::Standard);
    let (_, stored) = compressor.compress(&text.as_bytes()[..1 << 20]);
    let smaller = (1 << 20) as f64 / stored.len() as f64;
    assert!((1.8..4.0).contains(&smaller), "as logs are: {smaller}");
}

#[test]
fn of_a_directory_as_much_is_taken_as_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    for (name, length) in [("a", 10), ("b/c", 100), ("d", 1000)] {
        fs::write(dir.path().join(name), vec![7; length]).unwrap();
    }
    std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
    let data = Data::Directory(dir.path().to_owned());
    for (size, files, bytes) in [(5000, 3, 1110), (60, 2, 60), (10, 1, 10)] {
        let (_into, source) = made(&data, size);
        assert_eq!((source.files, source.bytes, source.unreadable), (files, bytes, 0), "{size}");
        assert_eq!(fs::read(source.folder.join("a")).unwrap(), [7; 10]);
        assert_eq!(source.folder.join("b/c").exists(), files > 1);
    }
}

#[test]
fn a_directory_without_content_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    let data = Data::Directory(dir.path().to_owned());
    let into = tempfile::tempdir().unwrap();
    let refused = prepare(&World::real(), &data, 1000, &into.path().join("source")).unwrap_err();
    assert!(refused.to_string().contains("no content"), "{refused}");
}
