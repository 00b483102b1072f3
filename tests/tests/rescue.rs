//! The program of last resort: kept beside the backups, told from one that somebody put there, and run where there is
//! nothing else.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tests::files;
use tests::listing::rsync_differences;
use tests::odd;
use tests::s3::{Config, Server};
use tests::seawall::{Machine, Said};

/// A file that passes for a static program of ours: a header, one program header, and the mark.
fn stand_in(filler: u8) -> Vec<u8> {
    let mut file = vec![0; 64 + 56];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    (file[18], file[32], file[54], file[56], file[64]) = (62, 64, 56, 1, 1);
    file.extend_from_slice(b"[seawall program 9.8.7]");
    file.extend_from_slice(&vec![filler; 100_000]);
    file
}

fn stored(machine: &Machine, filler: u8) -> Value {
    fs::write(machine.at("program"), stand_in(filler)).unwrap();
    machine.json(&["rescue", "store", "--program", "program"])
}

fn name(stored: &Value, what: &str) -> String {
    let parts = stored["stored"].as_array().unwrap();
    parts.iter().find(|part| part["what"] == what).unwrap()["name"].as_str().unwrap().to_owned()
}

fn states(said: &Said) -> Vec<String> {
    let objects = said.json();
    objects["objects"].as_array().unwrap().iter().map(|o| o["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_program_is_kept_beside_the_backups_and_proven_without_a_key() {
    let machine = Machine::with_repository();
    let first = stored(&machine, 1);
    let program = name(&first, "program");
    assert!(program.starts_with("rescue/seawall-9.8.7-x86_64-"), "{program}");
    assert_eq!(fs::read(machine.repository().join(&program)).unwrap(), stand_in(1));
    let format = fs::read_to_string(machine.repository().join(name(&first, "format"))).unwrap();
    assert!(format.starts_with("# The repository format"));
    let readme = fs::read_to_string(machine.repository().join(name(&first, "instructions"))).unwrap();
    let sha256 = Command::new("sha256sum").arg(machine.at("program")).output().unwrap();
    let sha256 = String::from_utf8(sha256.stdout).unwrap()[..64].to_owned();
    let fingerprint = first["fingerprint"].as_str().unwrap();
    for part in [&program, &sha256, fingerprint, machine.repository().to_str().unwrap()] {
        assert!(readme.contains(part), "{part} is not in {readme}");
    }
    assert_eq!(first["stored"][0]["sha256"], *sha256);

    stored(&machine, 1);
    stored(&machine, 2);
    fs::remove_dir_all(machine.at("home/.config")).unwrap();
    let checked = machine.done(&["rescue", "check", "--json"]);
    assert_eq!(states(&checked), ["signed"; 5], "the format is stored once: {checked}");
    assert_eq!(states(&machine.done(&["rescue", "list", "--json"])), ["signed"; 5]);
    let stranger = Machine::new();
    symlink(machine.repository(), stranger.repository()).unwrap();
    let unproven = stranger.done(&["rescue", "check"]);
    assert!(unproven.err.contains("--trust"), "{unproven}");
    assert!(stranger.done(&["rescue", "check", "--trust", fingerprint]).err.is_empty());
}

#[test]
fn what_somebody_else_put_there_is_named_and_nothing_else_suffers() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), b"content").unwrap();
    machine.done(&["backup", "tree"]);
    let mine = machine.repository().join(name(&stored(&machine, 1), "program"));
    let theirs = machine.repository().join("rescue/seawall-9.9.9-x86_64-evil");

    fs::write(&theirs, stand_in(3)).unwrap();
    let unsigned = machine.run(&["rescue", "check", "--json"]);
    assert_eq!((unsigned.code, states(&unsigned).last().map(String::as_str)), (3, Some("unsigned")));
    assert!(unsigned.err.contains("do not run it"), "{unsigned}");
    fs::remove_file(&theirs).unwrap();

    fs::set_permissions(&mine, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&mine, stand_in(4)).unwrap();
    assert_eq!(machine.run(&["rescue", "list"]).code, 0, "names and sizes are the same");
    machine.run(&["rescue", "check"]).assert_failed(3, "other bytes lie there");
    fs::remove_file(&mine).unwrap();
    machine.run(&["rescue", "list"]).assert_failed(3, "is gone");

    for words in [&["verify"][..], &["log", "--verify"], &["restore", "latest", "--into", "back"]] {
        machine.done(words);
    }
    stored(&machine, 1);
    machine.done(&["rescue", "check"]);
}

#[test]
fn what_cannot_help_is_refused_before_anything_is_stored() {
    let machine = Machine::with_repository();
    fs::write(machine.at("script"), "#!/bin/sh\n").unwrap();
    machine.run(&["rescue", "store", "--program", "script"]).assert_failed(4, "./build-rescue");
    machine.run(&["rescue", "store"]).assert_failed(4, "not static");
    machine.run(&["rescue", "store", "--program", "absent"]).assert_failed(1, "absent");
    assert!(!machine.repository().join("rescue").exists());

    fs::write(machine.at("program"), stand_in(1)).unwrap();
    machine.done(&["key", "export-writer", "web.key", "--name", "web"]);
    let words = ["rescue", "store", "--program", "program", "--key-file", "web.key"];
    machine.run(&words).assert_failed(4, "administrator's key");
    assert!(!machine.repository().join("rescue").exists());
}

/// What a restore needs that is made here, and where there is nothing else: no `/etc`, `/dev`, `/proc`.
struct Bare {
    root: tempfile::TempDir,
}

impl Bare {
    fn new(program: &Path, key: &Path) -> Bare {
        let root = tempfile::tempdir().unwrap();
        fs::copy(program, root.path().join("seawall-rescue")).unwrap();
        fs::copy(key, root.path().join("key")).unwrap();
        fs::set_permissions(root.path().join("seawall-rescue"), fs::Permissions::from_mode(0o755)).unwrap();
        Bare { root }
    }

    fn run(&self, repo: &str, variables: &[(String, String)], words: &[&str]) -> Output {
        let mut command = Command::new("chroot");
        command.arg(self.root.path()).arg("/seawall-rescue").args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(variables.iter().cloned());
        command.args(["--repo", repo, "--key-file", "key", "--state", "state"]).output().unwrap()
    }

    fn done(&self, repo: &str, variables: &[(String, String)], words: &[&str]) -> String {
        let output = self.run(repo, variables, words);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {said}");
        said
    }
}

/// The program as ./build-rescue makes it; none where nobody asked for the long tests, or where it cannot run.
fn last_resort(test: &str) -> Option<PathBuf> {
    if std::env::var_os("SEAWALL_FULL").is_none() {
        tests::skipped(&format!("{test}: a static release build takes minutes (./test --full)"));
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        tests::skipped(&format!("{test}: only root may change the root directory"));
        return None;
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = Command::new(top.join("build-rescue")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = String::from_utf8(built.stdout).unwrap();
    Some(PathBuf::from(said.split_once(": ").unwrap().0))
}

/// All that comes back with nothing but system calls; what needs `/proc` is in the documents.
fn plain_tree(top: &Path) {
    fs::create_dir_all(top.join("folder/deeper")).unwrap();
    fs::write(top.join("large"), odd::noise(3, 9 << 20)).unwrap();
    fs::write(top.join("folder/deeper/small"), b"small").unwrap();
    fs::hard_link(top.join("large"), top.join("folder/again")).unwrap();
    symlink("deeper/small", top.join("folder/link")).unwrap();
    fs::set_permissions(top.join("folder/deeper"), fs::Permissions::from_mode(0o2751)).unwrap();
    odd::set_time(&top.join("large"), 1_234_567_890, 123_456_789);
    odd::set_time(&top.join("folder/link"), -5, 7);
}

/// What lies under a name in a region.
fn fetch(place: &str, environment: [(String, String); 3], name: &str) -> Vec<u8> {
    let settings = storage::Settings { environment: environment.into_iter().collect(), ..Default::default() };
    let store = storage::open(&place.parse().unwrap(), &settings, &world::World::real()).unwrap();
    repo::Io::new(storage::Region::new("home", store)).get(&name.parse().unwrap()).unwrap().to_vec()
}

#[test]
fn it_restores_where_there_is_nothing_else() {
    let Some(program) = last_resort("it_restores_where_there_is_nothing_else") else { return };
    let server = Server::start(Config::default());
    for machine in [Machine::new(), Machine::with_s3(&server)] {
        plain_tree(&machine.at("tree"));
        machine.done(&["init"]);
        machine.done(&["backup", "tree"]);
        let told = machine.json(&["rescue", "store", "--program", program.to_str().unwrap()]);
        let name = name(&told, "program");
        let is_local = machine.repository().exists();
        let place = match is_local {
            true => machine.repository().to_str().unwrap().to_owned(),
            false => server.location("bucket", "repository"),
        };
        fs::write(machine.at("fetched"), fetch(&place, server.environment(), &name)).unwrap();
        let bare = Bare::new(&machine.at("fetched"), &machine.key_file());
        let (repo, variables) = match is_local {
            true => {
                files::copy_all(&machine.repository(), &bare.root.path().join("repository"));
                ("repository".to_owned(), Vec::new())
            }
            false => (place, server.environment().to_vec()),
        };
        let trust = told["fingerprint"].as_str().unwrap();
        assert!(bare.done(&repo, &variables, &["points", "--trust", trust]).contains("tree"));
        for words in
            [&["ls", "latest"][..], &["verify", "--level", "L1"], &["log", "--verify"], &["key", "list"]]
        {
            bare.done(&repo, &variables, words);
        }
        bare.done(&repo, &variables, &["restore", "latest", "--into", "back"]);
        let differences = rsync_differences(&machine.at("tree"), &bare.root.path().join("back"));
        assert_eq!(differences.as_deref(), Some(""));
        assert_eq!(
            bare.run(&repo, &variables, &["backup", "key"]).status.code(),
            Some(4),
            "it only restores"
        );
        assert_eq!(states(&machine.done(&["rescue", "check", "--json"])), ["signed"; 3]);
    }
}
