//! A folder as the region: full, closed, missing, something else; and keys that are not the right ones.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tests::disk::Small;
use tests::listing::Listing;
use tests::odd;
use tests::seawall::Machine;

use crate::{House, as_nobody, assert_restores, assert_told, give_away};

#[test]
fn a_full_disk_stops_a_backup_and_room_lets_the_next_one_go_on() {
    let mut machine = Machine::new();
    let Some(disk) = Small::mounted(2 << 20) else {
        return tests::skipped(
            "a_full_disk_stops_a_backup_and_room_lets_the_next_one_go_on: nothing can be mounted",
        );
    };
    machine.set("SEAWALL_REPO", disk.at("repository").to_str().unwrap());
    machine.done(&["init"]);
    let mut house = House::bare(machine);
    fs::rename(house.machine.at("tree/large"), house.machine.at("large")).unwrap();
    house.keep();
    fs::rename(house.machine.at("large"), house.machine.at("tree/large")).unwrap();
    assert_told(&house.try_to_keep(&[]), 1, &["store packs/", "no room left", "make space"]);
    let (point, truth) = house.points.last().unwrap();
    assert_restores(&house.machine, point, truth);
    disk.grow(64 << 20);
    house.is_whole();
}

#[test]
fn a_full_target_stops_a_restore_and_leaves_no_part_of_a_file() {
    let mut house = House::local();
    for number in 0..5 {
        fs::write(house.machine.at(&format!("tree/{number}")), odd::noise(number + 50, 900_000)).unwrap();
    }
    house.keep();
    let Some(disk) = Small::mounted(2 << 20) else {
        return tests::skipped(
            "a_full_target_stops_a_restore_and_leaves_no_part_of_a_file: nothing can be mounted",
        );
    };
    let out = disk.at("out");
    let into = out.to_str().unwrap();
    let said = house.machine.run(&["restore", "latest", "--into", into]);
    assert_told(&said, 1, &[into, "No space left", "make space"]);
    let truth = house.truth();
    for (path, there) in Listing::of(&out).0 {
        assert_eq!(there.content, truth.0[&path].content, "{}", path.escape_ascii());
    }
    disk.grow(64 << 20);
    house.machine.done(&["restore", "latest", "--into", into, "--existing", "replace"]);
    assert_eq!(Listing::of(&out).without_top().differences(&truth.without_top()), Vec::<String>::new());
    house.is_whole();
}

/// What reads a repository succeeds on a host that can keep nothing in `state`, and says why it cannot; a backup is refused
/// there, as it must be signed.
fn assert_reads_without_state(house: &House, state: &str, why: &str) {
    let run = |words: &[&str]| house.machine.run(&[words, &["--state", state]].concat());
    let (point, truth) = house.points.last().unwrap();
    for words in [&["points"][..], &["restore", point, "--into", "without-state"], &["verify"]] {
        let said = run(words);
        assert_eq!(said.code, 0, "{said}");
        ["cannot remember", "without a catalog", why]
            .iter()
            .for_each(|part| assert!(said.err.contains(part), "{said}"));
    }
    let out = house.machine.at("without-state");
    assert_eq!(Listing::of(&out).differences(truth), Vec::<String>::new());
    fs::remove_dir_all(out).unwrap();
    assert_told(&run(&["backup", "tree"]), 1, &[state, why, "--state DIR"]);
    assert_told(&run(&["catalog", "rebuild"]), 1, &["catalog.sqlite"]);
}

#[test]
fn a_host_that_can_keep_nothing_still_reads_and_restores() {
    let mut house = House::local();
    fs::write(house.machine.at("file"), "no folder").unwrap();
    assert_reads_without_state(&house, "file/state", "Not a directory");
    assert_eq!(fs::read(house.machine.at("file")).unwrap(), b"no folder");
    let Some(disk) = Small::mounted(256 << 10) else {
        return tests::skipped(
            "a_host_that_can_keep_nothing_still_reads_and_restores: nothing can be mounted",
        );
    };
    assert!(fs::write(disk.at("other"), vec![1; 1 << 20]).is_err(), "the disk is full");
    assert_reads_without_state(&house, disk.at("state").to_str().unwrap(), "No space left");
    // Nothing half written stays there, however often it was tried.
    let parts =
        Listing::of(&disk.at("state")).0.into_keys().filter(|name| name.windows(5).any(|at| at == b".part"));
    assert_eq!(parts.count(), 0);
    house.is_whole();
}

#[test]
fn a_host_whose_state_is_full_goes_on_with_what_it_has() {
    let Some(disk) = Small::mounted(1 << 20) else {
        return tests::skipped("a_host_whose_state_is_full_goes_on_with_what_it_has: nothing can be mounted");
    };
    let mut machine = Machine::new();
    machine.set("SEAWALL_STATE", disk.at("state").to_str().unwrap());
    machine.done(&["init"]);
    let mut house = House::bare(machine);
    house.keep();
    assert!(fs::write(disk.at("other"), vec![1; 1 << 20]).is_err(), "the disk is full");
    let said = house.try_to_keep(&[]);
    assert!(
        said.code == 0 && said.err.contains("the next backup may have to read everything again"),
        "{said}"
    );
    let (point, truth) = house.points.last().unwrap();
    assert_restores(&house.machine, point, truth);
    let another = ["init", "--repo", "another"];
    assert_told(&house.machine.run(&another), 1, &["writer.key", "--state DIR"]);
    fs::remove_file(disk.at("other")).unwrap();
    house.machine.done(&another);
    house.is_whole();
}

/// Somebody typed a wrong name: no command that writes over what is there is put into his hand.
#[test]
fn a_target_that_is_refused_is_not_offered_to_be_gone_on_with() {
    let mut house = House::local();
    fs::create_dir(house.machine.at("photos")).unwrap();
    fs::write(house.machine.at("photos/note"), "mine").unwrap();
    for (words, code) in [(&["--into", "photos"][..], 4), (&["--into", "tree", "--include", "nowhere"], 4)] {
        let said = house.machine.run(&[&["restore", "latest"], words].concat());
        assert!(said.code == code && !said.err.contains("to go on: `"), "{said}");
    }
    assert_eq!(fs::read(house.machine.at("photos/note")).unwrap(), b"mine");
    house.is_whole();
}

#[test]
fn what_a_full_target_holds_of_a_large_file_is_gone_on_with() {
    let mut house = House::local();
    fs::write(house.machine.at("tree/disk.img"), odd::noise(9, 70 << 20)).unwrap();
    house.keep();
    let Some(disk) = Small::mounted(40 << 20) else {
        return tests::skipped(
            "what_a_full_target_holds_of_a_large_file_is_gone_on_with: nothing can be mounted",
        );
    };
    let (point, truth) = house.points.last().unwrap();
    let (out, short) = (disk.at("out"), &point[..12]);
    let into = out.to_str().unwrap();
    let said = house.machine.run(&["restore", "latest", "--into", into]);
    assert_told(
        &said,
        1,
        &["No space left", &format!("to go on: `seawall restore {short} --into {into} --resume")],
    );
    let part = out.join(format!(".seawall-part-{short}-of-disk.img"));
    let held = fs::metadata(&part).unwrap().blocks() * 512;
    assert!(held > 16 << 20 && !out.join("disk.img").exists(), "{held}");
    disk.grow(100 << 20);
    let went_on = house.machine.json(&["restore", short, "--into", into, "--resume"]);
    assert!(went_on["written_bytes"].as_u64().unwrap() < (74 << 20) - held / 2, "{held} {went_on}");
    assert_eq!(Listing::of(&out).differences(truth), Vec::<String>::new());
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Sets the modes of all folders and files below.
fn set_modes(path: &Path, folders: u32, files: u32) {
    set_mode(path, folders);
    for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { set_modes(&entry, folders, files) } else { set_mode(&entry, files) }
    }
}

#[test]
fn a_repository_that_may_not_be_read_or_written_is_told_as_that() {
    let mut house = House::local();
    let repository = house.machine.repository();
    give_away(&house.machine.at(""));
    if !rustix::process::geteuid().is_root() {
        return tests::skipped(
            "a_repository_that_may_not_be_read_or_written_is_told_as_that: somebody else must own it",
        );
    }
    std::os::unix::fs::chown(&repository, Some(0), Some(0)).unwrap();
    house.change();
    let closed = as_nobody(&house.machine, &["backup", "tree"]);
    assert_told(&closed, 4, &["format in", repository.to_str().unwrap(), "denied", "owns that folder"]);
    set_modes(&repository, 0o555, 0o444);
    let said = as_nobody(&house.machine, &["backup", "tree"]);
    assert_told(&said, 4, &["store sessions/", "Permission denied", "owns that folder"]);
    let (point, truth) = &house.points[0];
    let read = as_nobody(&house.machine, &["restore", point, "--into", "as-nobody"]);
    assert_eq!(read.code, 2, "nobody may give files to root: {read}");
    let differences = Listing::of(&house.machine.at("as-nobody")).differences(truth);
    assert!(!differences.is_empty() && differences.iter().all(|line| line.ends_with(": owner")), "{read}");
    set_modes(&repository, 0o700, 0o600);
    house.is_whole();
}

#[test]
fn what_is_no_repository_is_named_and_left_as_it_is() {
    let mut house = House::local();
    let machine = &house.machine;
    fs::create_dir(machine.at("photos")).unwrap();
    fs::write(machine.at("photos/one.jpg"), "a photo").unwrap();
    fs::create_dir(machine.at("empty")).unwrap();
    fs::write(machine.at("file"), "a file").unwrap();
    for (place, why) in [
        ("photos", "there is no repository in"),
        ("empty", "there is no repository in"),
        ("nowhere", "is not a directory"),
        ("file", "is not a directory"),
    ] {
        for words in [
            &["backup", "tree"][..],
            &["restore", "latest", "--into", "out"],
            &["points"],
            &["verify"],
            &["log"],
        ] {
            let said = machine.run(&[words, &["--repo", place]].concat());
            assert_told(&said, 4, &[why, place, "seawall init --repo"]);
        }
    }
    assert_told(&machine.run(&["init", "--repo", "photos"]), 4, &["photos", "already holds"]);
    assert_told(&machine.run(&["init", "--repo", "file"]), 4, &["file", "not a directory"]);
    assert_eq!(fs::read_dir(machine.at("photos")).unwrap().count(), 1);
    assert_eq!(fs::read(machine.at("file")).unwrap(), b"a file");
    assert!(!machine.at("nowhere").exists() && !machine.at("out").exists());
    house.is_whole();
}

/// Each object begins with ten bytes, the last two of which are the version of the format.
#[test]
fn a_repository_of_a_later_format_is_neither_read_nor_changed() {
    let mut house = House::local();
    let format = house.machine.repository().join("format");
    let today = fs::read(&format).unwrap();
    let mut later = today.clone();
    later[8..10].copy_from_slice(&7_u16.to_le_bytes());
    fs::write(&format, later).unwrap();
    let before = Listing::of(&house.machine.repository());
    for words in [&["backup", "tree"][..], &["points"], &["restore", "latest", "--into", "out"], &["verify"]]
    {
        assert_told(&house.machine.run(words), 4, &["format in", "7", "use the version of seawall"]);
    }
    assert_eq!(house.machine.run(&["init"]).code, 4);
    assert_eq!(Listing::of(&house.machine.repository()).differences(&before), Vec::<String>::new());
    fs::write(&format, today).unwrap();
    house.is_whole();
}

#[test]
fn a_wrong_or_missing_key_opens_nothing_and_no_new_one_is_made() {
    let mut house = House::local();
    let machine = &house.machine;
    let stranger = Machine::with_repository();
    let key = machine.key_file();
    let right = fs::read(&key).unwrap();
    fs::write(machine.at("garbage"), "no key").unwrap();
    fs::write(machine.at("half"), &right[..right.len() - 9]).unwrap();
    fs::write(machine.at("words"), "a passphrase that locks nothing\n").unwrap();
    let other = stranger.key_file();
    let rows: [(&[&str], &[&str]); 5] = [
        (&["--key-file", other.to_str().unwrap()], &["opens none of the 1 key slots", "a new key would not"]),
        (&["--key-file", "nowhere"], &["there is no key file nowhere", "--key-file"]),
        (&["--key-file", "garbage"], &["garbage", "copy"]),
        (&["--key-file", "half"], &["half", "copy"]),
        (&["--passphrase-file", "words"], &["opens none of the 1 key slots"]),
    ];
    for (flags, says) in rows {
        for words in [&["backup", "tree"][..], &["restore", "latest", "--into", "out"]] {
            assert_told(&machine.run(&[words, flags].concat()), 4, says);
        }
    }
    fs::rename(&key, machine.at("elsewhere")).unwrap();
    assert_told(&machine.run(&["backup", "tree"]), 4, &["there is no key file", "--key-file"]);
    assert!(!key.exists() && !machine.at("out").exists() && !machine.at("nowhere").exists());
    fs::rename(machine.at("elsewhere"), &key).unwrap();
    house.is_whole();
}
