//! Backup and restore as people and scripts use them: what comes back is what was there, whichever way it was kept,
//! whatever went wrong before, and the exit codes and documents are those that were promised.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

#[path = "restore_cli/trouble.rs"]
mod trouble;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tests::listing::{Listing, rsync_differences};
use tests::odd;
use tests::seawall::Machine;

/// Restores `point` into a new folder and answers what is there.
fn restored(machine: &Machine, point: &str) -> Listing {
    let name = format!("out-{}", fs::read_dir(machine.at("")).unwrap().count());
    machine.done(&["restore", point, "--into", &name]);
    Listing::of(&machine.at(&name))
}

fn assert_same(what: &str, original: &Listing, copy: &Listing) {
    assert_eq!(copy.differences(original), Vec::<String>::new(), "{what}");
}

#[test]
fn a_tree_with_every_oddity_comes_back() {
    let machine = Machine::with_repository();
    odd::make(&machine.at("tree"));
    let kept = machine.json(&["backup", "tree"]);
    machine.done(&["restore", "latest", "--into", "out"]);
    assert_same("all", &Listing::of(&machine.at("tree")), &Listing::of(&machine.at("out")));
    assert_eq!(kept["problems"], Value::Array(Vec::new()));
    match rsync_differences(&machine.at("tree"), &machine.at("out")) {
        Some(differences) => assert_eq!(differences, ""),
        None => tests::skipped("a_tree_with_every_oddity_comes_back: there is no rsync"),
    }
}

#[test]
fn files_of_every_length_around_a_limit_come_back() {
    let machine = Machine::with_repository();
    let mib = 1 << 20;
    fs::create_dir(machine.at("tree")).unwrap();
    for length in [1, 64, 65, 16_384, 65_536, mib, 2 * mib, 3 * mib + 1, 8 * mib - 1, 8 * mib, 8 * mib + 1] {
        fs::write(machine.at(&format!("tree/{length}")), odd::noise(length as u64, length)).unwrap();
        fs::write(machine.at(&format!("tree/{length}-zeros")), vec![0; length]).unwrap();
    }
    machine.done(&["backup", "tree"]);
    assert_same("lengths", &Listing::of(&machine.at("tree")), &restored(&machine, "latest"));
}

#[test]
fn full_incremental_and_differential_points_of_one_moment_are_the_same() {
    let machine = Machine::with_repository();
    odd::make(&machine.at("tree"));
    machine.done(&["backup", "tree"]);
    fs::write(machine.at("tree/new"), "new").unwrap();
    fs::write(machine.at("tree/plain"), "other").unwrap();
    fs::remove_dir_all(machine.at("tree/deep")).unwrap();
    let truth = Listing::of(&machine.at("tree"));
    for kind in ["incremental", "differential", "full", "incremental"] {
        let kept = machine.json(&["backup", "tree", "--kind", kind]);
        assert_eq!(kept["kind"], kind);
        assert_same(kind, &truth, &restored(&machine, kept["point"].as_str().unwrap()));
    }
}

#[test]
fn several_paths_come_back_below_their_absolute_names() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("a")).unwrap();
    fs::write(machine.at("a/x"), "in a").unwrap();
    fs::write(machine.at("file"), "alone").unwrap();
    machine.done(&["backup", "a", "file"]);
    machine.done(&["restore", "latest", "--into", "out"]);
    let below = |name: &str| machine.at(&format!("out{}", machine.at(name).to_str().unwrap()));
    assert_eq!(fs::read(below("a/x")).unwrap(), b"in a");
    assert_eq!(fs::read(below("file")).unwrap(), b"alone");
}

#[test]
fn standard_input_and_what_a_command_prints_are_kept() {
    let machine = Machine::with_repository();
    let dump = odd::noise(5, 300_000);
    let said = machine.fed(&["backup", "--stdin", "dump.sql", "--source", "db"], &dump);
    assert_eq!(said.code, 0, "{said}");
    assert!(machine.done(&["cat", "latest", "dump.sql"]).out == dump);
    machine.done(&["backup", "--command", "said", "--source", "words", "--", "printf", "%s", "a b"]);
    assert_eq!(machine.done(&["cat", "latest", "said", "--source", "words"]).out, b"a b");
    machine.done(&["restore", "latest", "--source", "words", "--into", "out"]);
    assert!(Listing::of(&machine.at("out")).0.values().any(|entry| entry.content == b"a b"));
}

#[test]
fn a_command_that_fails_makes_no_point() {
    let machine = Machine::with_repository();
    for script in ["printf half; exit 3", "kill -9 $$"] {
        let said = machine.run(&["backup", "--command", "dump", "--", "sh", "-c", script]);
        assert_ne!(said.code, 0, "{said}");
        assert!(said.err.contains("hint:"), "{said}");
    }
    let said = machine.run(&["backup", "--command", "dump", "--", "no-such-program-here"]);
    assert_ne!(said.code, 0, "{said}");
    assert_eq!(machine.points(), Vec::<String>::new());
}

#[test]
fn only_what_is_included_comes_back() {
    let machine = Machine::with_repository();
    fs::create_dir_all(machine.at("tree/etc/app")).unwrap();
    for name in ["etc/app/a.conf", "etc/app/b.log", "top.conf"] {
        fs::write(machine.at("tree").join(name), name).unwrap();
    }
    machine.done(&["backup", "tree"]);
    let rows: [(&str, &[&str]); 4] = [
        ("etc", &["", "etc", "etc/app", "etc/app/a.conf", "etc/app/b.log"]),
        ("etc/*/*.conf", &["", "etc", "etc/app", "etc/app/a.conf"]),
        ("**/*.conf", &["", "etc", "etc/app", "etc/app/a.conf", "top.conf"]),
        ("top.conf", &["", "top.conf"]),
    ];
    for (number, (glob, expected)) in rows.into_iter().enumerate() {
        let out = format!("out{number}");
        machine.done(&["restore", "latest", "--include", glob, "--into", &out]);
        let names: Vec<Vec<u8>> = Listing::of(&machine.at(&out)).0.into_keys().collect();
        assert_eq!(names, expected.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>(), "{glob}");
    }
    let none = machine.run(&["restore", "latest", "--include", "no-such-name", "--into", "none"]);
    none.assert_failed(4, "no-such-name");
}

#[test]
fn a_time_chooses_the_newest_point_not_after_it() {
    let machine = Machine::with_repository();
    let mut kept = Vec::new();
    for content in ["one", "two", "three"] {
        fs::create_dir_all(machine.at("tree")).unwrap();
        fs::write(machine.at("tree/file"), content).unwrap();
        kept.push((machine.json(&["backup", "tree"])["as_of"].as_str().unwrap().to_owned(), content));
    }
    for (number, (as_of, content)) in kept.iter().enumerate() {
        let out = format!("out{number}");
        machine.done(&["restore", "latest", "--at", as_of, "--into", &out]);
        assert_eq!(fs::read_to_string(machine.at(&out).join("file")).unwrap(), *content);
    }
    machine
        .run(&["restore", "latest", "--at", "2001-01-01T00:00:00Z", "--into", "never"])
        .assert_failed(4, "hint:");
    machine.run(&["restore", "latest", "--at", "whenever", "--into", "never"]).assert_failed(4, "whenever");
    assert!(!machine.at("never").exists());
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), odd::noise(1, 100_000)).unwrap();
    let preview = machine.json(&["backup", "tree", "--dry-run"]);
    assert_eq!((&preview["files"], &preview["bytes_to_read"]), (&1.into(), &100_000.into()));
    assert!(machine.points().is_empty(), "a dry run makes no point");
    machine.done(&["backup", "tree"]);
    let plan = machine.json(&["restore", "latest", "--dry-run", "--into", "out"]);
    assert_eq!((&plan["files"], &plan["bytes"]), (&1.into(), &100_000.into()));
    assert!(plan["fetch_bytes"].as_u64().unwrap() >= 100_000 && plan["requests"].as_u64().unwrap() > 0);
    assert!(plan["expected_seconds"].as_f64().unwrap() > 0.0);
    assert!(!machine.at("out").exists());
}

#[test]
fn a_wrong_request_changes_nothing_and_says_what_to_do() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "mine").unwrap();
    machine.done(&["backup", "tree"]);
    let other = Machine::with_repository();
    let other_key = other.key_file();
    let rows: [(&[&str], &str); 9] = [
        (&["restore", "latest", "--into", "tree"], "hint:"),
        (&["restore", "ffffffffffff", "--into", "out"], "hint:"),
        (&["restore", "latest", "--source", "unknown", "--into", "out"], "unknown"),
        (&["points", "--key-file", other_key.to_str().unwrap()], "hint:"),
        (&["points", "--key-file", "nowhere"], "nowhere"),
        (&["points", "--repo", "nowhere"], "hint:"),
        (&["backup", "--repo", "nowhere", "tree"], "hint:"),
        (&["init"], "hint:"),
        (&["backup"], "what to keep"),
    ];
    let before = Listing::of(&machine.repository());
    for (words, says) in rows {
        machine.run(words).assert_failed(4, says);
    }
    assert_same("the repository", &before, &Listing::of(&machine.repository()));
    assert_eq!(fs::read_to_string(machine.at("tree/file")).unwrap(), "mine");
    assert!(!machine.at("nowhere").exists() && !machine.at("out").exists());
}

#[test]
fn a_path_that_is_not_there_is_told() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "mine").unwrap();
    let alone = machine.run(&["backup", "gone"]);
    assert!(alone.code != 0 && alone.err.contains("gone"), "{alone}");
    let beside = machine.run(&["backup", "tree", "gone"]);
    assert!(beside.code != 0 && beside.err.contains("gone"), "{beside}");
}

#[test]
fn what_is_replaced_is_replaced_and_all_else_stays() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "kept").unwrap();
    machine.done(&["backup", "tree"]);
    fs::write(machine.at("tree/file"), "changed").unwrap();
    fs::write(machine.at("tree/other"), "other").unwrap();
    machine.done(&["restore", "latest", "--existing", "replace", "--into", "tree"]);
    assert_eq!(fs::read_to_string(machine.at("tree/file")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(machine.at("tree/other")).unwrap(), "other");
}

/// The fields that scripts rely on.
const BACKUP: [&str; 11] = [
    "point",
    "source",
    "kind",
    "as_of",
    "files",
    "bytes_logical",
    "bytes_new",
    "bytes_stored",
    "seconds",
    "problems",
    "regions",
];
const POINT: [&str; 12] = [
    "id",
    "source",
    "kind",
    "basis",
    "as_of",
    "files",
    "bytes_logical",
    "bytes_new",
    "bytes_stored",
    "verification_level",
    "verification_age_seconds",
    "regions",
];

fn assert_has(document: &Value, fields: &[&str]) {
    fields.iter().for_each(|field| assert!(document.get(field).is_some(), "no {field} in {document}"));
}

#[test]
fn documents_have_the_promised_fields() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "x").unwrap();
    let kept = machine.json(&["backup", "tree", "--source", "s", "--tag", "k=v"]);
    assert_has(&kept, &BACKUP);
    assert_eq!(
        (&kept["source"], &kept["files"], &kept["bytes_logical"]),
        (&"s".into(), &1.into(), &1.into())
    );
    let states: Vec<&Value> = kept["regions"].as_object().unwrap().values().collect();
    assert_eq!(states, ["durable"]);
    let listed = machine.json(&["points"]);
    assert_has(&listed["points"][0], &POINT);
    assert_eq!(listed["points"][0]["id"], kept["point"]);
    assert_eq!(listed["points"][0]["tags"]["k"], "v");
    let rows: [(&[&str], &str); 7] = [
        (&["backup", "tree"], "backup/1"),
        (&["points"], "points/1"),
        (&["ls", "latest", "--source", "s"], "ls/1"),
        (&["find", "file"], "find/1"),
        (&["restore", "latest", "--source", "s", "--into", "out"], "restore/1"),
        (&["catalog", "check"], "catalog/1"),
        (&["log"], "log/1"),
    ];
    for (words, schema) in rows {
        assert_eq!(machine.json(words)["schema"], schema);
    }
}

#[test]
fn a_failure_is_a_document_too() {
    let machine = Machine::with_repository();
    let said = machine.run(&["restore", "latest", "--into", "out", "--json"]);
    assert_eq!(said.code, 4, "{said}");
    let told = if said.out.is_empty() { said.err.as_bytes() } else { &said.out };
    let document: Value = serde_json::from_slice(told).unwrap_or_else(|why| panic!("{why}: {said}"));
    assert_has(&document, &["schema"]);
}

#[test]
fn key_files_are_for_their_owner_and_never_overwritten() {
    let machine = Machine::new();
    let said = machine.done(&["init"]);
    assert!(said.err.contains("keep a copy"), "{said}");
    let key = fs::read(machine.key_file()).unwrap();
    assert_eq!(fs::metadata(machine.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    machine.done(&["init", "--repo", "second"]);
    assert!(fs::read(machine.key_file()).unwrap() == key);
}

#[test]
fn shells_and_readers_of_manuals_are_served() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish"] {
        let words = String::from_utf8(machine.done(&["completions", shell]).out).unwrap();
        for word in ["restore", "passphrase-file", "verify"] {
            assert!(words.contains(word), "{shell} does not know {word}");
        }
    }
    machine.done(&["man", "pages"]);
    let pages: Vec<String> = fs::read_dir(machine.at("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(pages.iter().any(|page| page == "seawall-restore.1"), "{pages:?}");
    assert!(fs::read_to_string(machine.at("pages/seawall-restore.1")).unwrap().contains("existing"));
}

/// A point of one file is that file; `cat` needs no path for it.
#[test]
fn the_only_file_of_a_point_needs_no_name() {
    let machine = Machine::with_repository();
    fs::write(machine.at("file"), "alone").unwrap();
    machine.done(&["backup", "file", "--source", "file"]);
    machine.fed(&["backup", "--stdin", "dump", "--source", "stream"], b"poured");
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/a"), "a").unwrap();
    fs::write(machine.at("tree/b"), "b").unwrap();
    machine.done(&["backup", "tree", "--source", "tree"]);
    assert_eq!(machine.done(&["cat", "latest", "--source", "file"]).out, b"alone");
    assert_eq!(machine.done(&["cat", "latest", "--source", "stream"]).out, b"poured");
    machine.run(&["cat", "latest", "--source", "tree"]).assert_failed(4, "say which one");
}
