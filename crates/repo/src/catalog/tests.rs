//! The catalog equals a fresh mirror of the fold, and whatever happens to its file is noticed.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use format::entry::Brought;
use format::fact::{Fact, Verified};
use format::id::{Hash, PackId};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::fold::made::{
    self, Chain, REPO, ROOT, forget, hold, moved, pack, pin, point, point_id, region, run, session, verified,
    writer,
};
use crate::layout;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    (folder, path)
}

fn open(path: &Path) -> (Catalog, Opened) {
    Catalog::open(path, REPO).unwrap()
}

fn folded(log: &[LogEntry]) -> Fold {
    Fold::of(log, writer(ROOT))
}

/// A log with at least one row for each table.
fn full_log() -> Vec<LogEntry> {
    let root = Chain::of_root(&[1, 2]).saying([made::grant(3, 1, Some(&["b", "a"]), 4), region(1)]);
    let host = Chain::of(1, 0)
        .saying_with([point(1, "a"), point(2, "b")], |clear| {
            clear.brings = vec![pack(1, 5), pack(2, 6), run(1, 0)]
        })
        .saying([
            pin(1, None),
            hold(1, 1),
            forget(2, Some(&["here"])),
            verified(1, 2, 7, 0),
            moved(1, 1, 2),
            Fact::End,
        ]);
    [root.entries, host.entries].concat()
}

/// All tables as text, without the serial numbers, which say only in which order entries came.
fn dump(catalog: &Catalog) -> Vec<String> {
    catalog
        .read(|connection| {
            let mut lines = Vec::new();
            for table in tables::all() {
                let mut statement = connection.prepare(&mirror::select(table))?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    lines.push(format!("{}: {:?}", table.name, mirror::row_of(table, row)?));
                }
            }
            Ok(lines)
        })
        .unwrap()
}

/// Changes the file from outside, as a person with `sqlite3` would.
fn tamper(path: &Path, sql: &str) {
    let changed = Connection::open(path).unwrap().execute(sql, []).unwrap();
    assert_ne!(changed, 0, "{sql}");
}

fn keyed(entries: &[LogEntry]) -> Vec<&LogEntry> {
    cached::sorted(entries)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn updates_in_any_batches_equal_a_rebuild(
        (log, sizes) in made::log().prop_flat_map(|log| {
            let log = Just(log).prop_shuffle();
            (log, proptest::collection::vec(1..5_usize, 1..8))
        }),
    ) {
        let (_one, path) = folder();
        let (_other, anew) = folder();
        let (updated, rebuilt) = (open(&path).0, open(&anew).0);
        let mut known = 0;
        for size in sizes.iter().cycle() {
            let next = (known + size).min(log.len());
            updated.update(&log[known..next], &folded(&log[..next])).unwrap();
            known = next;
            if known == log.len() {
                break;
            }
        }
        rebuilt.rebuild(&log, &folded(&log)).unwrap();
        prop_assert_eq!(dump(&updated), dump(&rebuilt));
        prop_assert_eq!(updated.check(&log, &folded(&log)).unwrap(), Vec::<String>::new());
        drop(updated);
        let (again, opened) = open(&path);
        prop_assert_eq!(opened, Opened::Kept);
        let cached = again.entries().unwrap();
        prop_assert_eq!(keyed(&cached), keyed(&log));
    }

    #[test]
    fn a_flipped_byte_is_noticed_or_harmless(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (_folder, path) = folder();
        let log = full_log();
        open(&path).0.update(&log, &folded(&log)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, &bytes).unwrap();
        let (catalog, _) = open(&path);
        if let Ok(cached) = catalog.entries() {
            prop_assert!(cached.iter().all(|entry| log.contains(entry)));
        }
        catalog.rebuild(&log, &folded(&log)).unwrap();
        prop_assert_eq!(catalog.check(&log, &folded(&log)).unwrap(), Vec::<String>::new());
        let cached = catalog.entries().unwrap();
        prop_assert_eq!(keyed(&cached), keyed(&log));
    }
}

#[test]
fn a_fresh_catalog_is_empty_private_and_says_what_it_is() {
    let (_folder, path) = folder();
    let (catalog, opened) = open(&path);
    assert_eq!(opened, Opened::Fresh);
    assert_eq!(catalog.entries().unwrap(), []);
    assert_eq!(catalog.check(&[], &Fold::default()).unwrap(), Vec::<String>::new());
    let ask = |name: &'static str| {
        catalog
            .read(move |c| c.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)))
            .unwrap()
    };
    assert_eq!(ask("journal_mode"), "wal".to_owned().into());
    assert_eq!(ask("synchronous"), 1_i64.into());
    assert_eq!(ask("application_id"), i64::from(0x5365_6177).into());
    assert_eq!(ask("user_version"), 1_i64.into());
    for end in ["", "-wal", "-shm", ".lock"] {
        let path = PathBuf::from(format!("{}{end}", path.display()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn every_table_holds_what_the_log_says_for_people_to_read() {
    let (_folder, path) = folder();
    let log = full_log();
    let catalog = open(&path).0;
    catalog.update(&log, &folded(&log)).unwrap();
    let lines = dump(&catalog);
    for table in tables::all() {
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("{}:", table.name))),
            "{} is empty",
            table.name
        );
    }
    let rows: Vec<(String, i64, i64, Option<i64>)> = catalog
        .read(|c| {
            let mut statement =
                c.prepare("SELECT name, points, forgotten, newest_as_of FROM sources ORDER BY name")?;
            let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?;
            rows.collect()
        })
        .unwrap();
    assert_eq!(rows, [("a".to_owned(), 1, 0, Some(1)), ("b".to_owned(), 1, 0, Some(2))]);
    let point: (String, String, i64, i64, i64) = catalog
        .read(|c| {
            let columns = "kind, source, pinned_until, verified_level, bytes_logical";
            let sql = format!("SELECT {columns} FROM points WHERE id = ?1");
            c.query_row(&sql, [point_id(1).to_string()], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))
            })
        })
        .unwrap();
    assert_eq!(point, ("full".to_owned(), "a".to_owned(), i64::MAX, 2, i64::MAX));
}

#[test]
fn the_level_shown_is_the_highest_that_found_nothing_where_no_damage_stands() {
    #[allow(clippy::type_complexity, reason = "a table of rows")]
    let rows: &[(&[(u8, i64, u64)], Option<(u8, i64)>)] = &[
        (&[], None),
        (&[(0, 1, 0)], Some((0, 1))),
        (&[(2, 1, 0), (0, 5, 0)], Some((2, 1))),
        (&[(2, 1, 0), (2, 5, 0), (1, 6, 0)], Some((2, 5))),
        (&[(2, 1, 0), (0, 5, 3)], None),
        (&[(2, 1, 0), (0, 5, 3), (1, 6, 0)], Some((1, 6))),
        (&[(1, 1, 3), (2, 2, 0)], None),
        (&[(1, 1, 3), (2, 2, 0), (0, 3, 0)], None),
        (&[(1, 1, 3), (2, 2, 0), (1, 3, 0)], Some((1, 3))),
        (&[(2, 1, 3), (3, 2, 0), (1, 3, 0)], Some((3, 2))),
        (&[(1, 1, 3), (0, 2, 1), (2, 3, 0)], None),
        (&[(1, 1, 3), (0, 2, 1), (2, 3, 0), (1, 4, 0)], Some((1, 4))),
    ];
    for (said, shown) in rows {
        let facts = said.iter().map(|(level, time, problems)| verified(1, *level, *time, *problems));
        let log = Chain::of_root(&[]).saying([point(1, "a")]).saying(facts).entries;
        let verified: Vec<Verified> = folded(&log).points[&point_id(1)].verified.clone();
        assert_eq!(tables::level_held(&verified).map(|v| (v.level, v.time)), *shown, "{said:?}");
    }
}

#[test]
fn an_update_writes_only_what_differs() {
    let (_folder, path) = folder();
    let log = full_log();
    let catalog = open(&path).0;
    let changes =
        || catalog.read(|c| c.query_row("SELECT total_changes()", [], |r| r.get::<_, i64>(0))).unwrap();
    catalog.update(&log, &folded(&log)).unwrap();
    let before = changes();
    catalog.update(&[], &folded(&log)).unwrap();
    assert_eq!(changes(), before);
    let more = Chain::of(2, 0).saying([pin(2, Some(1))]).entries;
    let all = [log, more.clone()].concat();
    catalog.update(&more, &folded(&all)).unwrap();
    assert_eq!(changes(), before + 3, "the entry, the point and the session");
    assert_eq!(catalog.check(&all, &folded(&all)).unwrap(), Vec::<String>::new());
}

#[test]
fn rows_that_the_log_no_longer_supports_go_away() {
    let (_folder, path) = folder();
    let host = Chain::of(1, 0).saying_with([point(1, "a")], |clear| clear.brings = vec![pack(1, 5)]);
    let root = Chain::of_root(&[1]);
    let log = [root.entries.clone(), host.entries].concat();
    let catalog = open(&path).0;
    catalog.update(&log, &folded(&log)).unwrap();
    let revoked = root.saying([made::revoke(1, &[])]).entries.split_off(1);
    let all = [log, revoked.clone()].concat();
    catalog.update(&revoked, &folded(&all)).unwrap();
    let count =
        catalog.read(|c| c.query_row("SELECT count(*) FROM points", [], |r| r.get::<_, i64>(0))).unwrap();
    assert_eq!(count, 0);
    assert_eq!(catalog.check(&all, &folded(&all)).unwrap(), Vec::<String>::new());
}

#[test]
fn tables_larger_than_what_travels_at_once_arrive_whole() {
    let (_folder, path) = folder();
    let brings = |range: std::ops::Range<u32>| -> Vec<Brought> {
        let id = |n: u32| {
            PackId::new(session(1), *blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap())
        };
        range
            .map(|n| Brought { name: layout::pack(id(n)).to_string(), size: 1, hash: Hash([1; 32]) })
            .collect()
    };
    let root = Chain::of_root(&[]).saying_with([], |clear| clear.brings = brings(0..3000));
    let catalog = open(&path).0;
    catalog.update(&root.entries, &folded(&root.entries)).unwrap();
    let more = root.saying_with([], |clear| clear.brings = brings(3000..6000)).entries;
    catalog.update(&more[2..], &folded(&more)).unwrap();
    assert_eq!(catalog.check(&more, &folded(&more)).unwrap(), Vec::<String>::new());
    let count =
        catalog.read(|c| c.query_row("SELECT count(*) FROM packs", [], |r| r.get::<_, i64>(0))).unwrap();
    assert_eq!(count, 6000);
}

#[test]
fn names_of_any_kind_sort_as_sqlite_sorts_them() {
    let (_folder, path) = folder();
    let names = ["", "Z", "a", "a\0b", "a\u{1}", "é", "日本", "'; DROP TABLE points; --", "\u{10ffff}"];
    let facts = names.iter().zip(1..).map(|(name, id)| point(id, name));
    let log = Chain::of_root(&[]).saying(facts).saying([made::grant(1, 1, Some(&names), 1)]).entries;
    let catalog = open(&path).0;
    for _ in 0..2 {
        catalog.update(&log, &folded(&log)).unwrap();
        assert_eq!(catalog.check(&log, &folded(&log)).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_deleted_file_is_fresh_and_files_left_beside_it_do_no_harm() {
    let (_folder, path) = folder();
    let log = full_log();
    open(&path).0.update(&log, &folded(&log)).unwrap();
    std::fs::remove_file(&path).unwrap();
    for end in ["-wal", "-shm", "-journal"] {
        std::fs::write(format!("{}{end}", path.display()), [0x37; 5000]).unwrap();
    }
    let (catalog, opened) = open(&path);
    assert_eq!((opened, catalog.entries().unwrap()), (Opened::Fresh, Vec::new()));
    catalog.update(&log, &folded(&log)).unwrap();
    drop(catalog);
    assert_eq!(open(&path).0.check(&log, &folded(&log)).unwrap(), Vec::<String>::new());
}

#[test]
fn what_is_no_catalog_of_this_repository_is_replaced_and_told() {
    type Spoil = fn(&Path);
    let rows: &[(&str, Spoil, &str)] = &[
        ("garbage", |path| std::fs::write(path, [0x5a; 20_000]).unwrap(), "not a database"),
        ("a few bytes", |path| std::fs::write(path, "garbage").unwrap(), "not a database"),
        (
            "another repository",
            |path| {
                std::fs::remove_file(path).unwrap();
                drop(Catalog::open(path, RepoId([8; 32])).unwrap());
            },
            "it is that of repository 0808080808080808",
        ),
        (
            "another version",
            |path| Connection::open(path).unwrap().pragma_update(None, "user_version", 99).unwrap(),
            "its version is 99",
        ),
        (
            "another program",
            |path| Connection::open(path).unwrap().pragma_update(None, "application_id", 5).unwrap(),
            "another program",
        ),
        (
            "another table",
            |path| Connection::open(path).unwrap().execute_batch("CREATE TABLE extra (a)").unwrap(),
            "changed its tables",
        ),
        (
            "a trigger",
            |path| {
                let sql = "CREATE TRIGGER t AFTER INSERT ON packs BEGIN DELETE FROM points; END";
                Connection::open(path).unwrap().execute_batch(sql).unwrap();
            },
            "changed its tables",
        ),
        ("no repository", |path| tamper(path, "DELETE FROM repository"), "does not say of which repository"),
    ];
    for (what, spoil, told) in rows {
        let (_folder, path) = folder();
        let log = full_log();
        open(&path).0.update(&log, &folded(&log)).unwrap();
        spoil(&path);
        let (catalog, opened) = open(&path);
        assert!(matches!(&opened, Opened::Discarded(why) if why.contains(told)), "{what}: {opened:?}");
        assert_eq!(catalog.entries().unwrap(), [], "{what}");
        catalog.update(&log, &folded(&log)).unwrap();
        assert_eq!(catalog.check(&log, &folded(&log)).unwrap(), Vec::<String>::new(), "{what}");
        drop(catalog);
        assert_eq!(open(&path).1, Opened::Kept, "{what}");
    }
}

#[test]
fn a_truncated_file_is_noticed_wherever_it_was_cut() {
    let (_folder, path) = folder();
    let log = full_log();
    open(&path).0.update(&log, &folded(&log)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for kept in [0, 1, 99, 100, 511, 512, 4095, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        std::fs::write(&path, &whole[..kept]).unwrap();
        let (catalog, opened) = open(&path);
        let noticed = opened != Opened::Kept
            || catalog.entries().is_err()
            || !catalog.check(&log, &folded(&log)).unwrap().is_empty();
        assert!(noticed, "cut to {kept} bytes");
        catalog.rebuild(&log, &folded(&log)).unwrap();
        assert_eq!(catalog.check(&log, &folded(&log)).unwrap(), Vec::<String>::new(), "cut to {kept} bytes");
    }
}

#[test]
fn an_edited_cell_of_any_mirrored_table_is_named_by_check_and_healed_by_the_next_update() {
    let log = full_log();
    for table in tables::MIRRORED {
        for column in table.names() {
            let (_folder, path) = folder();
            open(&path).0.update(&log, &folded(&log)).unwrap();
            let text = table.columns.iter().any(|c| c.starts_with(&format!("{column} TEXT")));
            let value = if text { "'edited'" } else { "4711" };
            let first = format!("rowid_of_first AS (SELECT {column} AS x FROM {} LIMIT 1)", table.name);
            let condition = format!("{column} IS (SELECT x FROM rowid_of_first)");
            tamper(
                &path,
                &format!(
                    "WITH {first} UPDATE OR REPLACE {} SET {column} = {value} WHERE {condition}",
                    table.name
                ),
            );
            let catalog = open(&path).0;
            let said = catalog.check(&log, &folded(&log)).unwrap();
            assert!(said.iter().any(|s| s.starts_with(table.name)), "{}.{column}: {said:?}", table.name);
            catalog.update(&[], &folded(&log)).unwrap();
            let said = catalog.check(&[], &folded(&log)).unwrap();
            assert!(said.iter().all(|s| s.starts_with("entries")), "{}.{column}: {said:?}", table.name);
        }
    }
}

#[test]
fn differences_are_told_as_sentences() {
    let (_folder, path) = folder();
    let log = full_log();
    open(&path).0.update(&log, &folded(&log)).unwrap();
    let id = point_id(1);
    tamper(&path, &format!("UPDATE points SET kind = 'differential', basis = 'x' WHERE id = '{id}'"));
    tamper(&path, "DELETE FROM regions");
    tamper(&path, "INSERT INTO tags VALUES ('zz', 0, 'k', 'v')");
    assert_eq!(
        open(&path).0.check(&log, &folded(&log)).unwrap(),
        [
            format!(
                "points: {id}: kind is differential and should be full, basis is x and should be nothing"
            ),
            "tags: zz/0 should not be there".to_owned(),
            "regions: here is missing".to_owned(),
        ]
    );
}

#[test]
fn an_edited_entry_makes_the_catalog_unusable_until_it_is_rebuilt() {
    let log = full_log();
    for column in tables::ENTRIES.names() {
        let (_folder, path) = folder();
        open(&path).0.update(&log, &folded(&log)).unwrap();
        let edit = match column {
            "number" | "time" | "brings" | "facts" => format!("{column} = {column} + 100"),
            "closed" => "closed = 1 - closed".to_owned(),
            "record" => "record = CAST(record || x'00' AS BLOB)".to_owned(),
            _ => format!("{column} = {column} || 'x'"),
        };
        tamper(&path, &format!("UPDATE entries SET {edit} WHERE serial = 2"));
        let (catalog, opened) = open(&path);
        assert_eq!(opened, Opened::Kept);
        assert!(matches!(catalog.entries(), Err(Error::Catalog { .. })), "{column}");
        let said = catalog.check(&log, &folded(&log)).unwrap();
        assert!(!said.is_empty() && said.iter().all(|s| s.starts_with("entries: ")), "{column}: {said:?}");
        catalog.rebuild(&log, &folded(&log)).unwrap();
        assert_eq!(keyed(&catalog.entries().unwrap()), keyed(&log));
        assert_eq!(catalog.check(&log, &folded(&log)).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn an_entry_with_a_right_hash_but_of_another_repository_is_not_believed() {
    let (_folder, path) = folder();
    let foreign = Chain::of_root(&[]).saying_with([], |clear| clear.repo = RepoId([8; 32])).entries;
    let catalog = open(&path).0;
    catalog.update(&foreign, &Fold::default()).unwrap();
    assert!(matches!(catalog.entries(), Err(Error::Catalog { .. })));
}

#[test]
fn a_copy_with_opened_facts_is_kept_before_one_without() {
    let (_folder, path) = folder();
    let log = full_log();
    let closed: Vec<LogEntry> =
        log.iter().map(|entry| LogEntry { facts: Vec::new(), closed: true, ..entry.clone() }).collect();
    let catalog = open(&path).0;
    for (added, kept) in [(&closed, &closed), (&log, &log), (&closed, &log)] {
        catalog.update(added, &folded(added)).unwrap();
        assert_eq!(keyed(&catalog.entries().unwrap()), keyed(kept));
    }
}

#[test]
fn a_file_that_is_spoiled_while_it_is_open_is_replaced_by_the_next_update_or_rebuild() {
    let (_folder, path) = folder();
    let log = full_log();
    let catalog = open(&path).0;
    catalog.update(&log, &folded(&log)).unwrap();
    drop(open(&path));
    std::fs::write(&path, [0x5a; 50_000]).unwrap();
    catalog.rebuild(&log, &folded(&log)).unwrap();
    assert_eq!(catalog.check(&log, &folded(&log)).unwrap(), Vec::<String>::new());
    drop(catalog);
    let (again, opened) = open(&path);
    assert_eq!(opened, Opened::Kept);
    assert_eq!(keyed(&again.entries().unwrap()), keyed(&log));
}

#[test]
fn an_update_replaces_a_damaged_file_and_goes_on() {
    let (_folder, path) = folder();
    let log = full_log();
    let catalog = open(&path).0;
    tamper_dropping(&path);
    catalog.update(&log, &folded(&log)).unwrap();
    assert_eq!(catalog.check(&log, &folded(&log)).unwrap(), Vec::<String>::new());
}

fn tamper_dropping(path: &Path) {
    Connection::open(path).unwrap().execute_batch("DROP TABLE packs").unwrap();
}

#[test]
fn whoever_has_a_replaced_file_open_goes_on_unharmed_and_unseen() {
    let (_folder, path) = folder();
    let log = full_log();
    let (old, _) = open(&path);
    old.update(&log[..2], &folded(&log[..2])).unwrap();
    std::fs::write(&path, [0x5a; 5000]).unwrap();
    // What the log beside the file still holds may make it whole; either way nothing wrong is ever shown.
    let (new, _) = open(&path);
    new.rebuild(&log, &folded(&log)).unwrap();
    drop(old);
    new.update(&[], &folded(&log)).unwrap();
    drop(new);
    let (again, opened) = open(&path);
    assert_eq!((opened, again.check(&log, &folded(&log)).unwrap()), (Opened::Kept, Vec::new()));
}

#[test]
fn of_two_processes_neither_leaves_entries_that_the_tables_do_not_show() {
    let (_folder, path) = folder();
    let root = Chain::of_root(&[1, 2]).entries;
    open(&path).0.update(&root, &folded(&root)).unwrap();
    let (one, two) = (open(&path).0, open(&path).0);
    let known = (one.entries().unwrap(), two.entries().unwrap());
    assert_eq!(known, (root.clone(), root.clone()));
    let of_one = Chain::of(1, 0).saying([point(1, "a")]).entries;
    let of_two = Chain::of(2, 0).saying([point(2, "b")]).entries;
    let seen_by_one = [root.clone(), of_one.clone()].concat();
    let seen_by_two = [root, of_two.clone()].concat();
    one.update(&of_one, &folded(&seen_by_one)).unwrap();
    two.update(&of_two, &folded(&seen_by_two)).unwrap();
    let (third, _) = open(&path);
    let cached = third.entries().unwrap();
    assert_eq!(third.check(&cached, &folded(&cached)).unwrap(), Vec::<String>::new());
    let all = [seen_by_two, of_one.clone()].concat();
    third.update(&of_one, &folded(&all)).unwrap();
    assert_eq!(third.check(&all, &folded(&all)).unwrap(), Vec::<String>::new());
}

#[test]
fn two_handles_may_write_and_read_at_once() {
    let (_folder, path) = folder();
    let chains: Vec<Vec<LogEntry>> = (1..4_u8)
        .map(|host| {
            (0..12_u8).fold(Chain::of(host, 0), |chain, n| chain.saying([point(host * 16 + n, "a")])).entries
        })
        .collect();
    let root = Chain::of_root(&[1, 2, 3]).entries;
    std::thread::scope(|threads| {
        for chain in &chains {
            let (root, path) = (root.clone(), &path);
            threads.spawn(move || {
                let catalog = open(path).0;
                catalog.entries().unwrap();
                catalog.update(&root, &folded(&root)).unwrap();
                for count in 1..=chain.len() {
                    let known = [&root[..], &chain[..count]].concat();
                    catalog.update(&chain[count - 1..count], &folded(&known)).unwrap();
                    // The tables show what whoever wrote last knew; they are never half written.
                    let orphans: i64 = catalog
                        .read(|c| {
                            let sql =
                                "SELECT count(*) FROM points WHERE source NOT IN (SELECT name FROM sources)";
                            c.query_row(sql, [], |r| r.get(0))
                        })
                        .unwrap();
                    assert_eq!(orphans, 0);
                }
            });
        }
    });
    let (catalog, opened) = open(&path);
    assert_eq!(opened, Opened::Kept);
    let cached = catalog.entries().unwrap();
    let all = [root, chains.concat()].concat();
    let missing: Vec<LogEntry> = all.iter().filter(|entry| !cached.contains(entry)).cloned().collect();
    if missing.is_empty() {
        assert_eq!(catalog.check(&all, &folded(&all)).unwrap(), Vec::<String>::new());
    }
    catalog.update(&missing, &folded(&all)).unwrap();
    assert_eq!(catalog.check(&all, &folded(&all)).unwrap(), Vec::<String>::new());
}

#[test]
fn asking_writes_nothing() {
    let (_folder, path) = folder();
    let log = full_log();
    let catalog = open(&path).0;
    catalog.update(&log, &folded(&log)).unwrap();
    let refused = catalog.read(|c| c.execute("DELETE FROM points", []));
    assert!(matches!(refused, Err(Error::Catalog { .. })));
    catalog.update(&[], &folded(&log)).unwrap();
    assert_eq!(catalog.check(&log, &folded(&log)).unwrap(), Vec::<String>::new());
}

#[test]
fn a_place_where_no_file_can_be_is_an_error_and_not_a_discarded_catalog() {
    let (_folder, path) = folder();
    assert!(matches!(Catalog::open(&path.join("below"), REPO), Err(Error::Local { .. })));
    std::fs::create_dir(&path).unwrap();
    let mode = || path.metadata().unwrap().permissions().mode();
    let before = mode();
    assert!(matches!(Catalog::open(&path, REPO), Err(Error::Local { .. })));
    assert_eq!(mode(), before);
}
