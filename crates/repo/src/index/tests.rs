//! Whatever was added is found, in this process and the next, with few tables and beside other processes.

use format::id::SessionId;

use super::*;
use table::tests::keys;

fn reference(n: u32) -> Reference {
    let hash = *blake3::hash(&n.to_le_bytes()).as_bytes();
    let pack = PackId::new(SessionId([1; 16]), [u8::try_from(n / 100 % 251).unwrap(); 16]);
    Reference { pack, ordinal: n % 100, offset: n, length: 1 + n, chunk: ChunkId(hash) }
}

fn references(numbers: std::ops::Range<u32>) -> Vec<Reference> {
    numbers.map(reference).collect()
}

fn run(n: u8) -> Option<RunId> {
    Some(RunId([n; 16]))
}

fn has(index: &Index, n: u32) -> bool {
    let found = index.places(&reference(n).chunk);
    assert!(found.is_empty() || found == [reference(n)], "{n}: {found:?}");
    !found.is_empty()
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn what_many_small_batches_added_is_found_in_few_tables() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(keys(1), dir.path().to_owned());
    for batch in 0..100 {
        assert!(index.add(&references(batch * 50..batch * 50 + 50), run(u8::try_from(batch).unwrap())));
        assert!((batch * 50..batch * 50 + 50).all(|n| has(&index, n)));
        assert!(!has(&index, batch * 50 + 50));
    }
    assert!((0..5000).all(|n| has(&index, n)));
    // 5,000 rows in tables that each have four times as many as the next: at most log 4 of 100 and one.
    let tables = index.tables().len();
    assert!(tables <= 5, "{tables} tables");
    assert_eq!(files(dir.path()), tables);
    let again = Index::open(keys(1), dir.path().to_owned());
    assert!((0..5000).all(|n| has(&again, n)) && !has(&again, 5000));
    let runs: BTreeSet<RunId> = again.tables().iter().flat_map(|table| table.runs().to_vec()).collect();
    assert_eq!(runs.len(), 100);
}

#[test]
fn what_was_added_twice_is_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(keys(1), dir.path().to_owned());
    for _ in 0..6 {
        index.add(&references(0..300), None);
    }
    assert!((0..300).all(|n| has(&index, n)));
    assert_eq!(index.tables().iter().map(|table| table.len()).sum::<u64>(), 300);
}

#[test]
fn tables_of_older_keys_and_what_a_dead_process_began_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    Index::open(keys(1), dir.path().to_owned()).add(&references(0..300), None);
    let name = RunId([5; 16]);
    fs::write(dir.path().join(format!("{name}.part4194304999")), "begun").unwrap();
    let living = dir.path().join(format!("{name}.part{}", std::process::id()));
    fs::write(&living, "begun").unwrap();
    let other = dir.path().join("somebody's");
    fs::write(&other, "no table").unwrap();
    let index = Index::open(keys(2), dir.path().to_owned());
    assert!((0..300).all(|n| !has(&index, n)));
    assert!(living.exists() && other.exists());
    assert_eq!(files(dir.path()), 2);
}

#[test]
fn a_pipe_in_the_folder_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join(RunId([6; 16]).to_string());
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let index = Index::open(keys(1), dir.path().to_owned());
    index.add(&references(0..300), None);
    assert!((0..300).all(|n| has(&index, n)));
}

#[test]
fn a_damaged_table_is_named_once_and_removed_and_never_leads_astray() {
    let dir = tempfile::tempdir().unwrap();
    Index::open(keys(1), dir.path().to_owned()).add(&references(0..3000), run(1));
    let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    // Every block of rows but none of the tail.
    (1024 + 100..1024 * 90).step_by(1024).for_each(|at| bytes[at] ^= 1);
    fs::write(&file, bytes).unwrap();
    let index = Index::open(keys(1), dir.path().to_owned());
    let found = (0..3000).filter(|n| has(&index, *n)).count();
    assert!(found < 3000 && !file.exists());
    let damaged = index.damaged();
    assert!(damaged.len() == 1 && damaged[0].contains(&file.display().to_string()), "{damaged:?}");
    index.add(&references(0..3000), run(2));
    assert!((0..3000).all(|n| has(&index, n)));
}

#[test]
fn two_processes_may_share_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Index::open(keys(1), dir.path().to_owned());
    open().add(&references(0..100), None);
    let (one, other) = (open(), open());
    std::thread::scope(|scope| {
        for (index, first) in [(&one, 1000), (&other, 2000)] {
            scope.spawn(move || {
                for batch in 0..20 {
                    let from = first + batch * 50;
                    index.add(&references(from..from + 50), None);
                    assert!((0..100).chain(first..from + 50).all(|n| has(index, n)));
                }
            });
        }
    });
    let after = open();
    assert!((0..100).chain(1000..2000).chain(2000..3000).all(|n| has(&after, n)));
}

#[test]
fn whoever_looks_while_tables_are_merged_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(keys(1), dir.path().to_owned());
    index.add(&references(0..500), None);
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            for n in 1..40 {
                assert!(index.add(&references(n * 500..n * 500 + 500), None));
            }
        });
        let mut looks = 0;
        while !adding.is_finished() || looks == 0 {
            assert!((0..500).all(|n| has(&index, n)));
            looks += 1;
        }
    });
    assert!((0..20_000).all(|n| has(&index, n)));
}
