//! Restoring over what is there: only what differs is fetched and written, and what comes out is the point.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

use tests::listing::Listing;
use tests::odd;
use tests::seawall::{Machine, Said};

const BLOCK: usize = 4096;

/// 64 MiB that looks like a disk: blocks that differ, runs of zeros.
fn image() -> Vec<u8> {
    let mut bytes = odd::noise(5, 64 << 20);
    bytes[10 << 20..20 << 20].fill(0);
    bytes
}

#[test]
fn between_two_states_of_an_image_only_the_changed_blocks_are_written() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    let mut bytes = image();
    fs::write(machine.at("tree/disk"), &bytes).unwrap();
    let first = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    let mut changed = 0;
    for cluster in 0..16_usize {
        let at = ((cluster * 4) << 20) + cluster * 3 * BLOCK;
        let fresh = odd::noise(100 + cluster as u64, 10 * BLOCK);
        bytes[at..at + fresh.len()].copy_from_slice(&fresh);
        changed += fresh.len() as u64;
    }
    fs::write(machine.at("tree/disk"), &bytes).unwrap();
    let second = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    machine.done(&["restore", &first, "--into", "out"]);
    assert_eq!(fs::read(machine.at("out/disk")).unwrap(), image());
    let inode = fs::metadata(machine.at("out/disk")).unwrap().ino();
    for (point, truth) in [(&second, &bytes), (&first, &image()), (&second, &bytes)] {
        let words = ["restore", point, "--into", "out", "--existing", "differences", "--read-back"];
        let told = machine.json(&words);
        assert!(fs::read(machine.at("out/disk")).unwrap() == *truth);
        let (written, fetched) =
            (told["written_bytes"].as_u64().unwrap(), told["fetched_bytes"].as_u64().unwrap());
        assert!(written <= changed * 12 / 10, "{written} bytes were written for {changed}");
        assert!(fetched < 32 << 20, "{fetched} bytes were fetched for {changed}");
    }
    assert_eq!(fs::metadata(machine.at("out/disk")).unwrap().ino(), inode, "it was changed as it stands");
    let told = machine.json(&["restore", &second, "--into", "out", "--existing", "differences"]);
    assert_eq!((told["written_bytes"].as_u64(), told["fetched_bytes"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn a_tree_that_went_its_own_way_becomes_the_point_again() {
    let machine = Machine::with_repository();
    odd::make(&machine.at("tree"));
    machine.done(&["backup", "tree"]);
    machine.done(&["restore", "latest", "--into", "out"]);
    let out = machine.at("out");
    fs::write(out.join("plain"), "changed").unwrap();
    fs::write(out.join("zeros"), odd::noise(3, 4 << 20)).unwrap();
    let large = fs::OpenOptions::new().write(true).open(out.join("large")).unwrap();
    large.write_all_at(b"in the middle", 7_000_000).unwrap();
    large.set_len(15 << 20).unwrap();
    fs::remove_file(out.join("empty")).unwrap();
    fs::remove_file(out.join("links/to-file")).unwrap();
    symlink("elsewhere", out.join("links/to-file")).unwrap();
    fs::remove_file(out.join("links/two")).unwrap();
    fs::write(out.join("links/two"), "no longer the same file").unwrap();
    fs::create_dir_all(out.join("extra/below")).unwrap();
    fs::write(out.join("extra/below/file"), "x").unwrap();
    fs::write(out.join("deep/also-extra"), "x").unwrap();
    fs::remove_dir(out.join("nothing-in-it")).unwrap();
    fs::write(out.join("nothing-in-it"), "a file where a directory belongs").unwrap();
    let truth = Listing::of(&machine.at("tree")).without_top();
    let refused = machine.run(&["restore", "latest", "--into", "out", "--remove-others"]);
    refused.assert_failed(4, "--existing differences");
    machine.done(&["restore", "latest", "--into", "out", "--existing", "differences"]);
    let differences = Listing::of(&out).without_top().differences(&truth);
    assert!(out.join("extra/below/file").exists() && out.join("deep/also-extra").exists(), "others stay");
    let others = |line: &&String| !line.starts_with("extra") && !line.starts_with("deep/also-extra");
    assert_eq!(differences.iter().filter(others).count(), 0, "{differences:?}");
    let told =
        machine.json(&["restore", "latest", "--into", "out", "--existing", "differences", "--remove-others"]);
    assert_eq!(told["removed"], 4, "{told}");
    let left: Vec<String> = Listing::of(&out).without_top().differences(&truth);
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_restore_that_was_killed_goes_on_where_it_was() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for number in 0..24 {
        fs::write(machine.at(&format!("tree/{number}")), odd::noise(number, 8 << 20)).unwrap();
    }
    machine.done(&["backup", "tree"]);
    let mut child = machine.start(&["restore", "latest", "--into", "out"]);
    let some = || machine.at("out").is_dir() && fs::read_dir(machine.at("out")).unwrap().count() > 8;
    while !some() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    machine.run(&["restore", "latest", "--into", "out"]).assert_failed(4, "not empty");
    let told = machine.json(&["restore", "latest", "--into", "out", "--resume"]);
    assert!(told["bytes"].as_u64().unwrap() == (24 * 8) << 20, "{told}");
    assert_eq!(
        Listing::of(&machine.at("out")).differences(&Listing::of(&machine.at("tree"))),
        Vec::<String>::new()
    );
}

#[test]
fn what_is_wanted_first_comes_first() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for name in ["a", "b", "config", "z"] {
        fs::write(machine.at(&format!("tree/{name}")), odd::noise(1, 100_000)).unwrap();
    }
    machine.done(&["backup", "tree"]);
    machine.done(&["restore", "latest", "--into", "out", "--first", "z", "--first", "config"]);
    assert_eq!(
        Listing::of(&machine.at("out")).differences(&Listing::of(&machine.at("tree"))),
        Vec::<String>::new()
    );
    let changed = |name: &str| {
        let meta = fs::metadata(machine.at("out").join(name)).unwrap();
        (meta.ctime(), meta.ctime_nsec())
    };
    assert!(changed("z") <= changed("config") && changed("config") <= changed("a"));
}

/// A disk that forgets is found by reading again.
#[test]
fn what_reads_back_other_than_it_was_written_is_told() {
    let machine = Machine::with_repository();
    odd::make(&machine.at("tree"));
    machine.done(&["backup", "tree"]);
    let told = machine.json(&["restore", "latest", "--into", "out", "--read-back"]);
    assert_eq!((told["read_back"].as_bool(), told["problems"].as_array().unwrap().len()), (Some(true), 0));
}

/// Files of several names are never opened to be written, as a name may lie outside; right ones stay as they are.
#[test]
fn names_of_one_file_that_are_right_are_left_alone() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/a"), odd::noise(1, 5 << 20)).unwrap();
    fs::hard_link(machine.at("tree/a"), machine.at("tree/b")).unwrap();
    machine.done(&["backup", "tree"]);
    machine.done(&["restore", "latest", "--into", "out"]);
    let inode = |name: &str| fs::metadata(machine.at("out").join(name)).unwrap().ino();
    let before = inode("a");
    let words = ["restore", "latest", "--into", "out", "--existing", "differences"];
    let again = machine.json(&words);
    assert_eq!(
        (again["written_bytes"].as_u64(), inode("a"), inode("b")),
        (Some(0), before, before),
        "{again}"
    );
    // One that is not ours, planted with the same content and another mode, is not touched.
    fs::remove_file(machine.at("out/a")).unwrap();
    fs::remove_file(machine.at("out/b")).unwrap();
    fs::copy(machine.at("tree/a"), machine.at("outside")).unwrap();
    fs::set_permissions(machine.at("outside"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(machine.at("outside"), machine.at("out/a")).unwrap();
    machine.done(&words);
    assert_eq!(fs::metadata(machine.at("outside")).unwrap().mode() & 0o777, 0o640);
    let (truth, back) = (Listing::of(&machine.at("tree")), Listing::of(&machine.at("out")));
    assert_eq!(back.without_top().differences(&truth.without_top()), Vec::<String>::new());
}

#[test]
fn what_is_immutable_as_the_point_says_is_restored_again_without_a_complaint() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let machine = Machine::with_repository();
    fs::create_dir_all(machine.at("tree/folder")).unwrap();
    fs::write(machine.at("tree/folder/file"), "content").unwrap();
    fs::write(machine.at("tree/log"), "lines").unwrap();
    let flag = |name: &str, flags: IFlags| {
        let file = fs::File::open(machine.at(name)).unwrap();
        ioctl_getflags(&file)
            .and_then(|old| ioctl_setflags(&file, (old - IFlags::IMMUTABLE - IFlags::APPEND) | flags))
    };
    if !rustix::process::geteuid().is_root() || flag("tree/log", IFlags::APPEND).is_err() {
        return tests::skipped(
            "what_is_immutable_as_the_point_says_is_restored_again_without_a_complaint: no flags here",
        );
    }
    flag("tree/folder", IFlags::IMMUTABLE).unwrap();
    machine.done(&["backup", "tree"]);
    machine.done(&["restore", "latest", "--into", "out"]);
    let said: Vec<Said> = [&["--resume"][..], &["--existing", "differences"], &["--existing", "replace"]]
        .map(|more| machine.run(&[&["restore", "latest", "--into", "out"], more].concat()))
        .into();
    let still = fs::write(machine.at("out/log"), "other").is_err();
    for name in ["tree/log", "tree/folder", "out/log", "out/folder"] {
        flag(name, IFlags::empty()).unwrap();
    }
    assert!(still, "the flag is back");
    said.iter().for_each(|said| assert_eq!(said.code, 0, "{said}"));
}
