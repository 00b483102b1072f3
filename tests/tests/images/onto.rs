//! Content written onto a device or a file: only what differs where that was asked for, and never by accident.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tests::odd;
use tests::seawall::Machine;

use super::disk::{BLOCK, Loop, done, empty, image, number, point, run, same_files, text, write};

/// An ext4 file system with some files in it, made without mounting it.
fn ext4(machine: &Machine, disk: &Path, size: u64) {
    let tree = machine.at("content");
    odd::make(&tree);
    for number in 0..size >> 26 {
        fs::write(tree.join(format!("more-{number}")), odd::noise(number, 32 << 20)).unwrap();
    }
    empty(disk, size);
    done("mkfs.ext4", &["-q", "-F", "-d", text(&tree), text(disk)]);
    fs::remove_dir_all(tree).unwrap();
}

/// Rewrites one block in a hundred, in clusters; answers how many bytes that were.
fn rewrite(disk: &Path, size: u64) -> u64 {
    let (clusters, mut changed) = (16, 0);
    let each = usize::try_from(size / 100 / clusters / 4096 * 4096).unwrap();
    for cluster in 0..clusters {
        write(disk, (size / clusters * cluster + 12_288) / 4096 * 4096, &odd::noise(700 + cluster, each));
        changed += each as u64;
    }
    changed
}

#[test]
fn both_states_of_a_disk_come_back_onto_a_device_with_little_written() {
    let test = "both_states_of_a_disk_come_back_onto_a_device_with_little_written";
    if run_missing(test, "mkfs.ext4") {
        return;
    }
    let full = std::env::var_os("SEAWALL_FULL").is_some();
    let size: u64 = if full { 2 << 30 } else { 96 << 20 };
    let machine = Machine::with_repository();
    let disk = machine.at("disk");
    ext4(&machine, &disk, size);
    fs::copy(&disk, machine.at("before")).unwrap();
    let Some(source) = Loop::over(test, &disk) else { return };
    let first = point(&machine.json(&["backup", source.name()]));
    let changed = rewrite(source.path(), size);
    done("sync", &[source.name()]);
    let second = machine.json(&["backup", source.name()]);
    assert!(number(&second, "bytes_new") < changed * 12 / 10 + 32 * BLOCK, "{second}");
    let second = point(&second);
    // What is behind the content stays; what was there before goes.
    empty(&machine.at("target"), size + BLOCK);
    write(&machine.at("target"), 5 * BLOCK, &odd::noise(8, 9 << 20));
    write(&machine.at("target"), size, b"behind the content");
    let target = Loop::over(test, &machine.at("target")).expect("there was one before");
    let restore = |point: &str, existing: &str| {
        let words = ["restore", point, "--into", target.name(), "--existing", existing, "--read-back"];
        machine.json(&words)
    };
    restore(&first, "replace");
    assert_same_start(&machine.at("before"), target.path(), size);
    for (point, truth) in [(&second, disk.clone()), (&first, machine.at("before"))] {
        let told = restore(point, "differences");
        assert_same_start(&truth, target.path(), size);
        let written = number(&told, "written_bytes");
        assert!((1..=changed * 12 / 10).contains(&written), "{changed} bytes had changed: {told}");
    }
    let told = restore(&first, "differences");
    assert_eq!((number(&told, "written_bytes"), number(&told, "fetched_bytes")), (0, 0), "{told}");
    drop(target);
    let mut end = vec![0; 18];
    std::os::unix::fs::FileExt::read_exact_at(&fs::File::open(machine.at("target")).unwrap(), &mut end, size)
        .unwrap();
    assert_eq!(end, b"behind the content");
}

fn assert_same_start(truth: &Path, other: &Path, size: u64) {
    let compared = run("cmp", &["--bytes", &size.to_string(), text(truth), text(other)]);
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
}

/// Whether a program is missing, which is then said for `test`.
fn run_missing(test: &str, program: &str) -> bool {
    let missing = std::process::Command::new(program).arg("-V").output().is_err();
    if missing {
        tests::skipped(&format!("{test}: there is no {program}"));
    }
    missing
}

#[test]
fn a_device_that_is_small_mounted_or_not_meant_is_left_alone() {
    let test = "a_device_that_is_small_mounted_or_not_meant_is_left_alone";
    if run_missing(test, "mkfs.ext4") {
        return;
    }
    let machine = Machine::with_repository();
    image(&machine.at("disk"), 100);
    machine.done(&["backup", "--image", "disk"]);
    empty(&machine.at("target"), 101 * BLOCK);
    let Some(target) = Loop::over(test, &machine.at("target")) else { return };
    let said = machine.run(&["restore", "latest", "--into", target.name()]);
    said.assert_failed(4, "it is a block device, and what it holds would be overwritten");
    assert!(said.err.contains("--existing differences"), "{said}");
    let words = ["restore", "latest", "--existing", "differences", "--into", target.name()];
    machine.run(&[&words[..], &["--remove-others"]].concat()).assert_failed(4, "only a directory");
    let plan = machine.json(&[&words[..], &["--dry-run"]].concat());
    assert_eq!((number(&plan, "files"), plan["dry_run"].as_bool()), (1, Some(true)), "{plan}");
    done("mkfs.ext4", &["-q", target.name()]);
    fs::create_dir(machine.at("mounted")).unwrap();
    let mounted = run("mount", &[target.name(), text(&machine.at("mounted"))]);
    if mounted.status.success() {
        let more: [&[&str]; 2] = [&[], &["--dry-run"]];
        let said = more.map(|more| machine.run(&[&words[..], more].concat()));
        done("umount", &[text(&machine.at("mounted"))]);
        said.iter().for_each(|said| said.assert_failed(4, "it is in use"));
    } else {
        let why = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
        tests::skipped(&format!("a mounted device: {why}"));
    }
    drop(target);
    empty(&machine.at("small"), 99 * BLOCK);
    let small = Loop::over(test, &machine.at("small")).expect("there was one before");
    for more in [&[][..], &["--dry-run"]] {
        let words = ["restore", "latest", "--existing", "replace", "--into", small.name()];
        machine.run(&[&words[..], more].concat()).assert_failed(4, "it has 6488064 bytes");
    }
    drop(small);
    assert_eq!(fs::metadata(machine.at("small")).unwrap().blocks(), 0, "nothing was written");
}

#[test]
fn the_content_of_one_file_is_written_onto_a_file_that_keeps_all_else() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    image(&machine.at("tree/disk"), 64);
    fs::write(machine.at("tree/tiny"), "tiny").unwrap();
    machine.done(&["backup", "tree"]);
    let out = machine.at("out");
    fs::write(&out, odd::noise(1, 9 << 20)).unwrap();
    fs::set_permissions(&out, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    fs::hard_link(&out, machine.at("second name")).unwrap();
    let restore = |words: &[&str]| machine.run(&[&["restore", "latest", "--into", "out"], words].concat());
    restore(&[]).assert_failed(4, "it is a file");
    let several = restore(&["--existing", "replace"]);
    several.assert_failed(4, "only one file can be written onto a device or file: there is disk and more");
    assert!(several.err.contains("--include"), "{several}");
    restore(&["--existing", "replace", "--include", "none"]).assert_failed(4, "nothing in the point matches");
    assert!(fs::read(&out).unwrap() == odd::noise(1, 9 << 20), "nothing was written");
    for existing in ["replace", "differences"] {
        for name in ["disk", "tiny"] {
            let said = restore(&["--existing", existing, "--include", name, "--read-back"]);
            assert_eq!(said.code, 0, "{said}");
            assert!(same_files(&out, &machine.at("tree").join(name)), "{existing} {name}");
        }
    }
    let meta = fs::metadata(machine.at("second name")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.nlink(), meta.len()), (0o640, 2, 4), "it is the same file");
}

/// What a device holds where the point has holes becomes zeros, and is counted.
#[test]
fn holes_of_the_point_become_zeros() {
    let machine = Machine::with_repository();
    image(&machine.at("disk"), 30);
    machine.done(&["backup", "--image", "disk"]);
    fs::copy(machine.at("disk"), machine.at("out")).unwrap();
    write(&machine.at("out"), 12 * BLOCK + 4096, &[1; 4096]);
    for existing in ["differences", "replace"] {
        write(&machine.at("out"), 15 * BLOCK, &[1; 8192]);
        let told =
            machine.json(&["restore", "latest", "--into", "out", "--existing", existing, "--read-back"]);
        assert!(same_files(&machine.at("disk"), &machine.at("out")), "{existing}");
        if existing == "differences" {
            assert_eq!(number(&told, "written_bytes"), 12_288, "{told}");
        }
    }
}
