//! Commands before and after a backup, and what they are for: snapshots.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tests::listing::Listing;
use tests::odd;
use tests::seawall::Machine;

use super::disk::{Loop, done, empty, run, text};

/// Writes down what it is told.
const TELL: &str =
    "echo \"$SEAWALL_SOURCE $SEAWALL_OUTCOME ${SEAWALL_POINT:-none}\" >>told; echo heard; echo heard >&2";

fn machine() -> Machine {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), odd::noise(1, 100_000)).unwrap();
    machine
}

fn told(machine: &Machine) -> String {
    fs::read_to_string(machine.at("told")).unwrap_or_default()
}

const BACKUP: [&str; 6] = ["backup", "tree", "--source", "s", "--after", TELL];

#[test]
fn what_is_run_after_a_backup_is_told_how_it_went() {
    let machine = machine();
    let before = "test -z \"${SEAWALL_POINT+x}${SEAWALL_OUTCOME+x}\" && echo \"$SEAWALL_SOURCE\" >told && date +%s.%N >time";
    let said = machine.done(&[&BACKUP[..], &["--before", before, "--json"]].concat());
    let point = said.json()["point"].as_str().unwrap().to_owned();
    assert_eq!(told(&machine), format!("s\ns done {point}\n"));
    assert_eq!(said.err.matches("heard").count(), 2, "what hooks print is shown: {said}");
    let listed = machine.json(&["points"]);
    let of = listed["points"][0]["as_of"].as_str().unwrap().to_owned();
    let ran = done(
        "date",
        &["-u", "-d", &format!("@{}", fs::read_to_string(machine.at("time")).unwrap().trim()), "+%FT%T.%N"],
    );
    assert!(of[..23] >= ran[..23] && of[..16] == ran[..16], "{of} is when the command had returned: {ran}");
    fs::remove_dir_all(machine.at("tree")).unwrap();
    machine.run(&BACKUP).assert_failed(4, "open tree");
    assert!(told(&machine).ends_with("s failed none\n"), "{}", told(&machine));
    let said = machine.run(&["backup", "tree", "--after", "exit 7"]);
    said.assert_failed(4, "open tree");
    assert!(said.err.contains("after the backup failed (exit status: 7)"), "{said}");
}

#[test]
fn if_what_is_run_before_fails_there_is_no_point_and_nothing_else_is_run() {
    let machine = machine();
    let said = machine.run(&[&BACKUP[..], &["--before", "echo no room >&2; exit 3"]].concat());
    said.assert_failed(1, "the command before the backup failed (exit status: 3)");
    assert!(said.err.contains("no room") && said.err.contains("sh -c"), "{said}");
    assert_eq!((told(&machine), machine.points().len()), (String::new(), 0));
}

#[test]
fn if_what_is_run_after_fails_the_point_is_kept_and_that_is_told() {
    let machine = machine();
    let said = machine.run(&["backup", "tree", "--after", "exit 9", "--json", "--quiet"]);
    assert_eq!(said.code, 2, "{said}");
    assert!(said.err.contains("exit status: 9") && said.err.contains("The point is kept"), "{said}");
    assert!(said.json()["after"].as_str().unwrap().contains("exit 9"), "{said}");
    assert_eq!(machine.points().len(), 1);
}

#[test]
fn what_is_run_after_is_run_when_somebody_ends_the_backup() {
    let machine = machine();
    let hooks = ["--before", "true", "--after", TELL];
    let child =
        machine.start(&[&["backup", "--command", "x", "--source", "s"], &hooks[..], &["--", "yes"]].concat());
    let growing =
        || fs::read_dir(machine.at("repository/sessions")).is_ok_and(|mut found| found.next().is_some());
    while !growing() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((told(&machine), machine.points().len()), ("s interrupted none\n".to_owned(), 0));
}

#[test]
fn a_dry_run_and_a_wrong_request_run_no_commands() {
    let machine = machine();
    machine.done(&[&BACKUP[..], &["--before", TELL, "--dry-run"]].concat());
    machine
        .run(&[&BACKUP[..], &["--before", TELL, "--map", "map"]].concat())
        .assert_failed(4, "no point yet");
    assert_eq!(told(&machine), "");
}

/// A map may be made by the command that makes the snapshot.
#[test]
fn a_map_is_read_after_the_command_that_writes_it() {
    let machine = Machine::with_repository();
    super::disk::image(&machine.at("disk"), 50);
    machine.done(&["backup", "--image", "disk"]);
    let told = machine.json(&["backup", "disk", "--map", "map", "--before", "echo 0 1 >map"]);
    assert_eq!(told["map"]["bytes_changed"], 65536, "{told}");
}

/// The example of `docs/snapshots.md` on a loop device; `./test --full` installs what it needs.
#[test]
fn a_snapshot_of_btrfs_is_backed_up_while_the_files_change() {
    let test = "a_snapshot_of_btrfs_is_backed_up_while_the_files_change";
    if std::process::Command::new("mkfs.btrfs").arg("--version").output().is_err() {
        return tests::skipped(&format!("{test}: there is no mkfs.btrfs, which ./test --full installs"));
    }
    let machine = Machine::with_repository();
    empty(&machine.at("disk"), 256 << 20);
    let Some(device) = Loop::over(test, &machine.at("disk")) else { return };
    done("mkfs.btrfs", &["-q", device.name()]);
    let place = machine.at("btrfs");
    fs::create_dir(&place).unwrap();
    let mounted = run("mount", &[device.name(), text(&place)]);
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
        return tests::skipped(&format!("{test}: btrfs cannot be mounted: {why}"));
    }
    let outcome = std::panic::catch_unwind(|| snapshot(&machine, &place));
    done("umount", &[text(&place)]);
    outcome.unwrap();
}

fn snapshot(machine: &Machine, place: &Path) {
    let data = place.join("data");
    done("btrfs", &["subvolume", "create", text(&data)]);
    odd::make(&data.join("tree"));
    let truth = Listing::of(&data.join("tree"));
    // Whatever is written once the snapshot stands is not in it.
    let before = format!(
        "btrfs subvolume delete {0}/.seawall 2>/dev/null; btrfs subvolume snapshot -r {0}/data {0}/.seawall && \
         echo later >{0}/data/tree/plain",
        place.display()
    );
    let after = format!("btrfs subvolume delete {}/.seawall", place.display());
    let snapshot = place.join(".seawall");
    let words = ["backup", text(&snapshot), "--source", "data", "--before", &before, "--after", &after];
    let told = machine.json(&words);
    assert!(!snapshot.exists(), "it was removed again");
    assert_eq!(fs::read(data.join("tree/plain")).unwrap(), b"later\n");
    machine.done(&["restore", told["point"].as_str().unwrap(), "--into", "out"]);
    assert_eq!(Listing::of(&machine.at("out/tree")).differences(&truth), Vec::<String>::new());
    let again = machine.json(&words);
    assert!(again["bytes_read"].as_u64().unwrap() < 1 << 20, "unchanged files are known again: {again}");
}
