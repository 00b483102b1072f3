//! Ways in which data was lost, or a success told that was none, before somebody tried: each stays closed.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::files::{below, flip, largest_pack};
use tests::listing::Listing;
use tests::odd;
use tests::s3::{Config, Server};
use tests::seawall::{Machine, Said};

/// All objects of a repository below a folder of it.
fn objects(machine: &Machine, folder: &str) -> Vec<PathBuf> {
    below(&machine.repository().join(folder))
}

fn assert_restores(machine: &Machine, point: &str, truth: &Listing, into: &str) {
    machine.done(&["restore", point, "--into", into]);
    assert_eq!(Listing::of(&machine.at(into)).differences(truth), Vec::<String>::new());
}

#[test]
fn a_full_backup_uses_no_tree_node_that_it_did_not_read_back() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for number in 0..2000 {
        fs::write(machine.at(&format!("tree/file-{number}")), odd::noise(number, 90)).unwrap();
    }
    machine.done(&["backup", "tree"]);
    for pack in objects(&machine, "packs") {
        let end = usize::try_from(fs::metadata(&pack).unwrap().len()).unwrap() - 8_000;
        flip(&pack, (20..end).step_by(500));
    }
    machine.done(&["backup", "tree", "--kind", "full"]);
    assert_restores(&machine, "latest", &Listing::of(&machine.at("tree")), "out");
}

#[test]
fn an_unchanged_file_of_any_size_whose_pack_is_gone_is_read_again() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for mib in [1, 3, 6, 20, 40] {
        fs::write(machine.at(&format!("tree/{mib}")), odd::noise(mib, (mib as usize) << 20)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    machine.done(&["backup", "tree"]);
    assert_eq!(machine.json(&["backup", "tree"])["bytes_new"], 0, "large files are known again");
    fs::remove_file(largest_pack(&machine.repository())).unwrap();
    let dry = machine.run(&["restore", "latest", "--into", "dry", "--dry-run"]);
    assert_eq!(dry.code, 3, "a dry run names what would not come back: {dry}");
    let kept = machine.json(&["backup", "tree"]);
    assert!(kept["bytes_new"].as_u64().unwrap() > 0, "{kept}");
    assert_restores(&machine, "latest", &Listing::of(&machine.at("tree")), "out");
}

/// A machine whose only point leans on a pack that was damaged since, and the point.
fn damaged() -> (Machine, String) {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for number in 0..40 {
        fs::write(machine.at(&format!("tree/{number}")), odd::noise(number, 300_000)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    let point = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    flip(&largest_pack(&machine.repository()), [1_000_000, 5_000_000]);
    (machine, point)
}

/// Damage that a check found makes the next point a full one, which heals the others too.
#[test]
fn damage_that_was_found_is_healed_by_the_next_backup_and_then_told_to_be() {
    let (machine, first) = damaged();
    let found = machine.run(&["verify", "--level", "L1"]);
    assert!(found.code == 3 && found.err.contains("files are lost"), "{found}");
    let later = machine.run(&["verify"]);
    assert_eq!(later.code, 3, "L2 reads no content, so it cannot say that L1 was wrong: {later}");
    let healed = machine.run(&["backup", "tree", "--json"]);
    assert!(healed.code == 0 && healed.err.contains("found damaged"), "{healed}");
    assert_eq!(healed.json()["kind"], "full");
    assert!(healed.json()["bytes_new"].as_u64().unwrap() < 4_000_000, "only what is lost is stored again");
    machine.done(&["verify", "--level", "L1"]);
    assert!(
        machine.json(&["points"])["points"].as_array().unwrap().iter().all(|p| p["regions"][0] == "home")
    );
    let truth = Listing::of(&machine.at("tree"));
    assert_restores(&machine, &first, &truth, "first");
    assert_eq!(machine.json(&["backup", "tree"])["kind"], "incremental");
    assert_restores(&machine, "latest", &truth, "last");
}

/// A host that lost its state, or never made a backup, finds damage: whoever backs up next must know of it.
#[test]
fn damage_that_a_stranger_found_is_known_to_the_next_backup() {
    let (machine, _) = damaged();
    let stranger = Machine::with_key_of(&machine);
    let found = stranger.run(&["verify", "--level", "L1", "--json"]);
    assert!(found.code == 3 && found.json()["points"][0]["unwritten"].is_null(), "{found}");
    let healed = machine.run(&["backup", "tree", "--json"]);
    assert!(healed.code == 0 && healed.err.contains("found damaged"), "{healed}");
    assert_restores(&machine, "latest", &Listing::of(&machine.at("tree")), "out");
    assert_eq!(machine.json(&["writer", "list"])["writers"].as_array().unwrap().len(), 2);
}

/// Where the finding cannot be written down, the person must know.
#[test]
fn damage_that_cannot_be_noted_is_told_as_that() {
    let (machine, _) = damaged();
    fs::write(machine.at("file"), "no folder").unwrap();
    let found = machine.run(&["verify", "--level", "L1", "--state", "file/state"]);
    found.assert_failed(3, "could not be written into the history");
    found.assert_failed(3, "hint:  run `seawall verify");
}

#[test]
fn packs_that_points_share_are_hashed_once() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), odd::noise(1, 8 << 20)).unwrap();
    for _ in 0..4 {
        machine.done(&["backup", "tree"]);
    }
    let verified = machine.json(&["verify", "--level", "L1"]);
    let read: Vec<u64> =
        verified["points"].as_array().unwrap().iter().map(|p| p["bytes"].as_u64().unwrap()).collect();
    assert!(read[0] > 8 << 20 && read[1..].iter().sum::<u64>() < 2 << 20, "{read:?}");
}

/// The region lost the entry that let this host in, or was put back from an older copy.
#[test]
fn a_host_whose_entry_is_lost_is_let_in_again_before_it_adds() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "content").unwrap();
    let first = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    let writer = machine.json(&["writer", "list"])["writers"][0]["id"].as_str().unwrap().to_owned();
    for entry in objects(&machine, "log") {
        if !entry.to_str().unwrap().contains(&writer) {
            fs::remove_file(entry).unwrap();
        }
    }
    assert_eq!(machine.run(&["backup", "tree"]).code, 3, "the history shows a fault");
    let other = Machine::with_key_of(&machine);
    let listed = other.run(&["points", "--json"]);
    let points = listed.json()["points"].as_array().unwrap().len();
    assert_eq!(points, 2, "{listed}");
    other.run(&["restore", &first, "--into", "out"]);
    assert_eq!(fs::read(other.at("out/file")).unwrap(), b"content");
}

#[test]
fn a_backup_whose_writer_is_shut_out_meanwhile_is_not_acknowledged() {
    let server = Server::start(Config::default());
    let machine = Machine::with_s3(&server);
    machine.done(&["init"]);
    let mut other = Machine::with_s3(&server);
    other.set("SEAWALL_KEY_FILE", machine.key_file().to_str().unwrap());
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), odd::noise(1, 4_000_000)).unwrap();
    let before = server.counts().writes;
    let child = machine.start(&["backup", "tree"]);
    wait_until(|| server.counts().writes > before);
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    let id = machine.json(&["writer", "list"])["writers"][0]["id"].as_str().unwrap().to_owned();
    let revoked = other.run(&["writer", "revoke", &id, "--reason", "stolen"]);
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    let said = Said::of(&["backup", "tree"], child.wait_with_output().unwrap());
    assert_eq!(revoked.code, 0, "{revoked}");
    let listed = other.json(&["points"])["points"].as_array().unwrap().len();
    assert_eq!(said.code == 0, listed == 1, "acknowledged and there, or neither: {said}");
    assert!(said.code == 0 || said.err.contains("shut out") || said.err.contains("revoked"), "{said}");
}

fn wait_until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it never came to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn two_who_remove_the_last_two_key_slots_at_once_leave_one() {
    let server = Server::start(Config::default());
    let machine = Machine::with_s3(&server);
    machine.done(&["init"]);
    machine.done(&["key", "add", "--new-key-file", "second"]);
    machine.run(&["key", "add", "--new-key-file", "second"]).assert_failed(4, "already");
    let slots = machine.json(&["key", "list"]);
    let ids: Vec<&str> =
        slots["slots"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    server.order(|orders| orders.latency_ms = 100);
    let removing = [machine.start(&["key", "remove", ids[0]]), machine.start(&["key", "remove", ids[1]])];
    let ended: Vec<bool> = removing.map(|child| child.wait_with_output().unwrap().status.success()).into();
    server.order(|orders| orders.latency_ms = 0);
    let opens = |key: &Path| machine.run(&["points", "--key-file", key.to_str().unwrap()]).code == 0;
    assert!(opens(&machine.key_file()) || opens(&machine.at("second")), "{ended:?}");
}

#[test]
fn an_empty_word_for_the_repository_is_no_repository() {
    let machine = Machine::with_repository();
    machine.run(&["points", "--repo", ""]).assert_failed(4, "empty word");
    for words in [
        &["points", "--source", "nope"][..],
        &["verify", "--source", "nope"],
        &["find", "x", "--source", "nope"],
    ] {
        fs::create_dir_all(machine.at("tree")).unwrap();
        machine.done(&["backup", "tree"]);
        machine.run(words).assert_failed(4, "there is no point of nope");
    }
}

#[test]
fn a_directory_that_was_there_keeps_its_own_mode_and_time() {
    let machine = Machine::with_repository();
    machine.fed(&["backup", "--stdin", "dump", "--source", "stream"], b"poured");
    fs::create_dir(machine.at("shared")).unwrap();
    fs::write(machine.at("shared/theirs"), "x").unwrap();
    fs::set_permissions(machine.at("shared"), fs::Permissions::from_mode(0o1777)).unwrap();
    machine.done(&["restore", "latest", "--into", "shared", "--existing", "replace"]);
    assert_eq!(fs::metadata(machine.at("shared")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::read(machine.at("shared/dump")).unwrap(), b"poured");
}

#[test]
fn a_pattern_that_matches_nothing_is_told() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/a"), "a").unwrap();
    machine.done(&["backup", "tree"]);
    machine
        .run(&["restore", "latest", "--into", "one", "--include", "a", "--include", "nope"])
        .assert_failed(2, "nope");
    for nothing in ["", "/", "."] {
        machine
            .run(&["restore", "latest", "--into", "two", "--include", nothing])
            .assert_failed(4, "no pattern");
    }
    machine
        .run(&["restore", "latest", "--into", "two", "--include", "nope", "--dry-run"])
        .assert_failed(4, "nope");
    machine.run(&["restore", "latest", "--into", "one", "--dry-run"]).assert_failed(4, "not empty");
}

/// Another name of a file that could not be brought back is not made a link to what stood there before.
#[test]
fn a_second_name_of_a_lost_file_is_lost_with_it() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/a"), odd::noise(1, 400_000)).unwrap();
    fs::hard_link(machine.at("tree/a"), machine.at("tree/b")).unwrap();
    machine.done(&["backup", "tree"]);
    fs::remove_file(largest_pack(&machine.repository())).unwrap();
    fs::create_dir(machine.at("out")).unwrap();
    fs::write(machine.at("out/a"), "something older").unwrap();
    let said = machine.run(&["restore", "latest", "--into", "out", "--existing", "replace"]);
    assert_eq!(said.code, 3, "{said}");
    assert!(said.err.contains("not restored: a:") && said.err.contains("not restored: b:"), "{said}");
    assert!(!machine.at("out/b").exists());
    assert_eq!(
        fs::read(machine.at("out/a")).unwrap(),
        b"something older",
        "what is there stays until its successor is whole"
    );
}

/// A disk that is not mounted: whoever does not say where backups go must not get a second repository beneath it.
#[test]
fn the_own_repository_that_is_away_is_missed_and_not_begun_anew() {
    let machine = Machine::new();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "content").unwrap();
    let run =
        |words: &[&str]| Said::of(words, machine.command(words).env_remove("SEAWALL_REPO").output().unwrap());
    let first = run(&["backup", "tree"]);
    assert_eq!(first.code, 0, "{first}");
    let (own, away) = (machine.at("home/.local/share/seawall/repository"), machine.at("away"));
    fs::rename(&own, &away).unwrap();
    for is_empty in [false, true] {
        if is_empty {
            fs::create_dir(&own).unwrap();
        }
        for words in [&["backup", "tree"][..], &["points"]] {
            let missed = run(words);
            missed.assert_failed(6, "not there any more");
            assert!(missed.err.contains("seawall init"), "{missed}");
        }
        assert_eq!(own.exists(), is_empty, "nothing was made");
    }
    fs::remove_dir(&own).unwrap();
    fs::rename(&away, &own).unwrap();
    assert_eq!(run(&["backup", "tree"]).code, 0);
    fs::rename(&own, &away).unwrap();
    let begun = run(&["init"]);
    assert_eq!((begun.code, run(&["backup", "tree"]).code), (0, 0), "on purpose it is possible: {begun}");
}

#[test]
fn a_repository_without_its_first_object_is_damaged_and_not_absent() {
    let machine = Machine::with_repository();
    fs::rename(machine.repository().join("format"), machine.at("format")).unwrap();
    let said = machine.run(&["points"]);
    said.assert_failed(3, "format");
    assert!(said.err.contains("put that object back"), "{said}");
    fs::rename(machine.at("format"), machine.repository().join("format")).unwrap();
    machine.done(&["points"]);
}

/// Whoever looks at the exit code alone, as cron does, hears that points are missing.
#[test]
fn a_backup_beside_a_lost_history_is_kept_and_does_not_pass_for_well() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "content").unwrap();
    machine.done(&["backup", "tree"]);
    for entry in objects(&machine, "log") {
        fs::remove_file(entry).unwrap();
    }
    let said = machine.run(&["backup", "tree", "--json"]);
    assert_eq!(said.code, 3, "{said}");
    let point = said.json()["point"].as_str().unwrap().to_owned();
    machine.run(&["restore", &point, "--into", "out"]);
    assert_eq!(fs::read(machine.at("out/file")).unwrap(), b"content");
}

/// A backup of a folder that holds the repository would keep all backups in each backup.
#[test]
fn the_repository_is_no_part_of_a_backup_into_it() {
    let machine = Machine::with_repository();
    fs::write(machine.at("home/file"), odd::noise(1, 1_000_000)).unwrap();
    let everything = machine.at("").to_str().unwrap().to_owned();
    machine.done(&["backup", &everything, "--source", "all"]);
    fs::write(machine.at("home/file"), odd::noise(2, 1_000_000)).unwrap();
    let kept = machine.json(&["backup", &everything, "--source", "all"]);
    assert!(kept["bytes_new"].as_u64().unwrap() < 1_900_000, "{kept}");
    let listed = String::from_utf8(machine.done(&["ls", "latest"]).out).unwrap();
    assert!(listed.contains("home/file") && !listed.contains("repository/packs"), "{listed}");
}

/// Packs that cannot be read back because the region is away are not lost, and nothing is stored in their place.
#[test]
fn a_full_backup_takes_a_region_that_is_away_for_no_loss() {
    let server = Server::start(Config::default());
    let machine = Machine::with_s3(&server);
    machine.done(&["init"]);
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), odd::noise(1, 3_000_000)).unwrap();
    machine.done(&["backup", "tree"]);
    server.order(|orders| orders.unreadable = Some("packs/".to_owned()));
    let said = machine.run(&["backup", "tree", "--kind", "full"]);
    server.order(|orders| *orders = Default::default());
    assert_eq!(said.code, 6, "{said}");
    assert_eq!(machine.points().len(), 1);
    assert_eq!(machine.json(&["backup", "tree", "--kind", "full"])["bytes_new"], 0);
}

/// What a damaged list names is not looked at by that list; the tree, stored again since, leads there all the same.
#[test]
fn every_damaged_pack_is_named_although_the_list_that_leads_there_is_damaged_too() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    for number in 0..3 {
        fs::write(machine.at(&format!("tree/{number}")), odd::noise(number, 900_000)).unwrap();
    }
    let first = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    let packs = below(&machine.repository().join("packs"));
    let (data, tree) = (largest_pack(&machine.repository()), packs.iter().min_by_key(|p| length(p)).unwrap());
    let end = usize::try_from(length(tree)).unwrap();
    flip(tree, (end - 600..end - 500).step_by(7));
    machine.done(&["backup", "tree", "--kind", "full"]);
    assert_restores(&machine, &first, &Listing::of(&machine.at("tree")), "out");
    fs::remove_file(&data).unwrap();
    let id = data.file_name().unwrap().to_str().unwrap();
    for level in ["L0", "L1", "L2"] {
        let said = machine.run(&["verify", &first, "--level", level]);
        assert_eq!(said.code, 3, "{level}: {said}");
        assert!(said.err.contains(id) && said.err.contains("3 files are lost"), "{level}: {said}");
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// The system makes up the maps of a process as they are read, and lists them as empty: a process of many maps has one of
/// megabytes, whose beginning must not pass for the whole.
#[test]
fn a_file_that_the_system_makes_up_is_kept_whole() {
    const MAPS: &str = "import mmap, sys\n\
        maps = [mmap.mmap(-1, 4096, prot=1 + 2 * (n % 2)) for n in range(18000)]\n\
        print('ready', flush=True)\nsys.stdin.read()";
    let started =
        Command::new("python3").args(["-c", MAPS]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut process) = started else {
        return tests::skipped("a_file_that_the_system_makes_up_is_kept_whole: there is no python3");
    };
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    let smaps = format!("/proc/{}/smaps", process.id());
    let is_long = fs::read(&smaps).unwrap().len() > 8 << 20;
    let machine = Machine::with_repository();
    fs::write(machine.at("beside"), "kept").unwrap();
    let said = machine.run(&["backup", &smaps, "beside"]);
    drop(process.stdin.take());
    process.wait().unwrap();
    assert!(is_long, "the maps are long enough to tell");
    assert_eq!(said.code, 0, "{said}");
    machine.done(&["restore", "latest", "--into", "out"]);
    let kept = fs::read_to_string(
        below(&machine.at("out")).into_iter().find(|path| path.ends_with("smaps")).unwrap(),
    );
    let kept = kept.unwrap();
    assert!(kept.len() > 8 << 20 && kept.contains("[stack]"), "{} bytes", kept.len());
}
