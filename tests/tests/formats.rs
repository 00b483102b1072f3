//! What becomes of repositories of other versions of the format: the draft before version 1 is refused by name.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use format::id::Hash;
use tests::files::{below, copy_all};
use tests::seawall::Machine;

/// The draft from before version 1.
fn draft() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fixtures/v0/small")
}

/// Names and hashes of all files, hashed.
fn of_all(folder: &Path) -> String {
    let line = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        format!("{name} {}\n", Hash::of(&fs::read(&path).unwrap()))
    };
    Hash::of(below(folder).into_iter().map(line).collect::<String>().as_bytes()).to_string()
}

/// A machine with a copy of the kept repository, and of the secrets beside it.
fn machine(of: &Path) -> Machine {
    let machine = Machine::new();
    copy_all(&of.join("repository"), &machine.repository());
    for secret in below(of).iter().filter(|path| path.parent() == Some(of)) {
        let copy = machine.at(secret.file_name().unwrap().to_str().unwrap());
        fs::copy(secret, &copy).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
    }
    machine
}

/// Version 0 was a draft. It is named, nothing of it is changed, and where to turn is said.
#[test]
fn the_draft_before_version_1_is_refused_by_name_and_left_as_it_is() {
    const SAYS: &str = "is of format version 0, a draft that this program does not read";
    let (machine, known) = (machine(&draft()), Machine::with_repository());
    let before = of_all(&machine.repository());
    let key = known.key_file();
    fs::create_dir(machine.at("tree")).unwrap();
    for secret in [["--key-file", "key"], ["--key-file", key.to_str().unwrap()]] {
        for words in [
            &["points"][..],
            &["restore", "latest", "--into", "out"],
            &["verify"],
            &["log"],
            &["backup", "tree"],
            &["sweep", "--apply"],
        ] {
            let said = machine.run(&[words, &secret].concat());
            said.assert_failed(4, SAYS);
            for part in ["the last program that reads version 0", "docs/format.md, \"Versions and upgrades\""]
            {
                assert!(said.err.contains(part), "{said}");
            }
        }
    }
    assert_eq!(of_all(&machine.repository()), before);
    assert!(!machine.at("out").exists());
}
