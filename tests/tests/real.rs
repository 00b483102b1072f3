//! Real data, there and back, through every kind of repository: a Linux source tree and 2 GiB that nothing makes smaller
//! with `./test --full`, small ones of the same kinds otherwise.
//!
//! What comes back is compared by others: the tree by rsync, the file byte by byte. Times are printed with their rates;
//! they are those of the profile that the tests run in.
#![allow(clippy::print_stdout, reason = "figures are for whoever runs the tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use tests::listing::rsync_differences;
use tests::seawall::Machine;
use tests::servers;

/// The data sets, made once for all tests of this file and kept for the next run.
fn corpora(test: &str) -> Option<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match MADE.get_or_init(make) {
        Ok(folder) => Some(folder),
        Err(why) => {
            tests::skipped(&format!("{test}: {why}"));
            None
        }
    }
}

/// Only the full ones need what a machine may lack.
fn make() -> Result<PathBuf, String> {
    let full = std::env::var_os("SEAWALL_FULL").is_some();
    let scale = if full { "full" } else { "small" };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpora").join(scale);
    std::fs::create_dir_all(&folder).expect("the target folder takes data sets");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora");
    let made = Command::new(script).args(["--scale", scale]).arg(&folder).args(["tree", "random"]).output();
    let made = made.expect("tests/corpora runs; it needs python3");
    let why = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(full || made.status.success(), "small data sets need nothing: {why}");
    if made.status.success() {
        Ok(folder)
    } else {
        Err(why.lines().last().unwrap_or("no data sets").to_owned())
    }
}

/// Backs both data sets up into the machine's repository and back, and compares.
fn there_and_back(place: &str, machine: &Machine, environment: &[(String, String)], corpora: &Path) {
    let run = |words: &[&str]| {
        let mut command = machine.command(words);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let begin = Instant::now();
        let done = command.output().expect("the program runs");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        begin.elapsed().as_secs_f64()
    };
    run(&["init"]);
    for name in ["tree", "random"] {
        let original = corpora.join(name);
        let (typed, source) = (original.to_str().expect("a plain name"), format!("--source={name}"));
        let first = run(&["backup", typed, &source]);
        let again = run(&["backup", typed, &source]);
        let back = run(&["restore", "latest", &source, "--into", name]);
        println!("{place} {name}: first {first:.1} s, again {again:.1} s, restored in {back:.1} s");
        assert_same(&original, &machine.at(name));
        std::fs::remove_dir_all(machine.at(name)).expect("what was restored can be removed");
    }
    run(&["verify", "--level", "L1"]);
}

fn assert_same(original: &Path, copy: &Path) {
    if original.is_dir() {
        match rsync_differences(original, copy) {
            Some(differences) => assert_eq!(differences, ""),
            None => tests::skipped("rsync: it is not installed, so restored trees were not compared by it"),
        }
        return;
    }
    let same = Command::new("cmp").arg(original).arg(copy.join("random")).status().expect("cmp runs");
    assert!(same.success(), "{} is not what came back", original.display());
}

#[test]
fn real_data_comes_back_from_a_local_repository() {
    let Some(corpora) = corpora("real_data_comes_back_from_a_local_repository") else { return };
    there_and_back("local", &Machine::new(), &[], corpora);
}

#[test]
fn real_data_comes_back_from_an_s3_server() {
    let Some(corpora) = corpora("real_data_comes_back_from_an_s3_server") else { return };
    let machine = Machine::new();
    std::fs::create_dir(machine.at("shelf")).expect("a new folder takes folders");
    let (_running, endpoint) = servers::s3_server(env!("CARGO_BIN_EXE_s3-server"), &machine.at("shelf"));
    there_and_back("s3", &machine, &s3(&endpoint, "seawall", "seawall-secret"), corpora);
}

#[test]
fn real_data_comes_back_from_moto() {
    const NAME: &str = "real_data_comes_back_from_moto";
    let Some((_running, endpoint)) = servers::moto(NAME) else { return };
    let Some(corpora) = corpora(NAME) else { return };
    there_and_back("moto", &Machine::new(), &s3(&endpoint, "any", "any"), corpora);
}

fn s3(endpoint: &str, key: &str, secret: &str) -> Vec<(String, String)> {
    [
        ("SEAWALL_REPO", format!("s3://bucket/repository?endpoint={endpoint}")),
        ("AWS_ACCESS_KEY_ID", key.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
