//! Sweeps of real repositories by the real program: what nothing needs goes, what anything needs stays, whoever is at work.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use format::entry::LogicalTime;
use format::id::{SweepId, WriterId};
use format::seal::Signer;
use format::session::SweepPart;
use repo::verify::{Level, Verifier};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::files::{below, flip, largest_pack};
use tests::listing::Listing;
use tests::odd;
use tests::s3::{Config, Orders, Server};
use tests::seawall::{Machine, Said};
use world::World;

fn packs(machine: &Machine) -> Vec<PathBuf> {
    below(&machine.repository().join("packs"))
}

fn stored(machine: &Machine) -> u64 {
    packs(machine).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum()
}

/// Makes a point of the folder `tree` and answers its id.
fn backed_up(machine: &Machine) -> String {
    machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned()
}

fn write(machine: &Machine, name: &str, seed: u64, bytes: usize) {
    fs::create_dir_all(machine.at("tree")).unwrap();
    fs::write(machine.at("tree").join(name), odd::noise(seed, bytes)).unwrap();
}

fn swept(machine: &Machine) -> Value {
    machine.json(&["sweep", "--apply"])["swept"].clone()
}

fn assert_restores(machine: &Machine, point: &str, truth: &Listing, into: &str) {
    machine.done(&["restore", point, "--into", into]);
    assert_eq!(Listing::of(&machine.at(into)).differences(truth), Vec::<String>::new());
    fs::remove_dir_all(machine.at(into)).unwrap();
}

/// A machine with two points, of which the first alone needs `old` and both need `both`.
fn with_two_points() -> (Machine, String, String) {
    let machine = Machine::with_repository();
    write(&machine, "both", 1, 3 << 20);
    write(&machine, "old", 2, 5 << 20);
    let first = backed_up(&machine);
    fs::remove_file(machine.at("tree/old")).unwrap();
    write(&machine, "new", 3, 1 << 20);
    let second = backed_up(&machine);
    (machine, first, second)
}

/// Makes two points, the first of which is forgotten, so that of every pack a third is needed, and answers the second.
fn sparse(machine: &Machine) -> String {
    (0..60).for_each(|number| write(machine, &format!("{number:02}"), number, 100_000));
    let first = backed_up(machine);
    (0..60).filter(|number| number % 3 > 0).for_each(|number| {
        fs::remove_file(machine.at("tree").join(format!("{number:02}"))).unwrap();
    });
    let second = backed_up(machine);
    machine.done(&["forget", &first, "--apply"]);
    second
}

#[test]
fn what_was_forgotten_goes_and_what_is_needed_stays() {
    let (machine, first, second) = with_two_points();
    let truth = Listing::of(&machine.at("tree"));
    let untouched = machine.json(&["sweep", "--repack-below", "0"]);
    assert_eq!(untouched["plan"]["unneeded"]["packs"], 0, "{untouched}");
    machine.done(&["forget", "--apply", &first]);
    let before = stored(&machine);
    let dry = machine.json(&["sweep"]);
    assert_eq!((dry["applied"].as_bool(), stored(&machine)), (Some(false), before), "{dry}");
    let did = swept(&machine);
    let freed = before - stored(&machine);
    assert!(freed >= 5 << 20, "what only the first point needs is gone: {freed} of {before}, {did}");
    let planned = dry["plan"]["bytes_freed"].as_u64().unwrap();
    assert!(freed.abs_diff(planned) <= planned / 8, "planned {planned}, freed {freed}");
    assert_restores(&machine, &second, &truth, "out");
    for level in ["L0", "L1", "L2"] {
        machine.done(&["verify", "--level", level]);
    }
    let again = swept(&machine);
    assert_eq!((&again["deleted"]["packs"], &again["moved"]["frames"]), (&0.into(), &0.into()), "{again}");
    machine.run(&["restore", &first, "--into", "gone"]).assert_failed(4, "no point");
}

#[test]
fn what_was_moved_is_found_by_restores_backups_and_the_next_move() {
    let machine = Machine::with_repository();
    let sizes = [("a", 1u64), ("b", 2), ("c", 3), ("d", 4)];
    sizes.iter().for_each(|(name, seed)| write(&machine, name, *seed, 2 << 20));
    let (mut last, mut moved) = (backed_up(&machine), 0);
    for (gone, _) in &sizes[..3] {
        fs::remove_file(machine.at("tree").join(gone)).unwrap();
        let next = backed_up(&machine);
        machine.done(&["forget", "--apply", &last]);
        let did = machine.json(&["sweep", "--apply", "--repack-below", "100"]);
        moved += did["swept"]["moved"]["frames"].as_u64().unwrap();
        assert_restores(&machine, &next, &Listing::of(&machine.at("tree")), "out");
        last = next;
    }
    assert!(moved > 2, "{moved} frames were moved");
    machine.done(&["verify", "--level", "L1"]);
    machine.done(&["verify", "--level", "L2"]);
    let again = machine.json(&["backup", "tree"]);
    assert_eq!(again["bytes_new"], 0, "what was moved is known: {again}");
    fs::create_dir(machine.at("copy")).unwrap();
    fs::copy(machine.at("tree/d"), machine.at("copy/d")).unwrap();
    let copy = machine.json(&["backup", "copy"]);
    assert!(copy["bytes_new"].as_u64().unwrap() < 100_000, "also by its content: {copy}");
    let full = machine.json(&["backup", "tree", "--kind", "full"]);
    assert!(full["bytes_new"].as_u64().unwrap() < 100_000, "and by whoever reads it back: {full}");
    let other = Machine::with_key_of(&machine);
    assert_restores(&other, full["point"].as_str().unwrap(), &Listing::of(&machine.at("tree")), "out");
}

#[test]
fn undo_brings_back_what_was_not_swept_and_says_what_was() {
    let (machine, first, _) = with_two_points();
    fs::remove_file(machine.at("tree/new")).unwrap();
    machine.done(&["forget", "--apply", &first]);
    machine.done(&["forget", "--undo", &first]);
    assert_eq!(swept(&machine)["deleted"]["packs"], 0);
    machine.done(&["restore", &first, "--into", "out"]);
    machine.done(&["forget", "--apply", &first]);
    assert!(swept(&machine)["deleted"]["packs"].as_u64().unwrap() > 0);
    let gone = machine.run(&["forget", "--undo", &first]);
    assert!(gone.code != 0, "part of it was deleted: {gone}");
    let points = machine.points();
    assert!(!points.contains(&first), "{points:?}");
}

/// Waits until a session that does this is at work, and answers its id.
fn at_work(machine: &Machine, purpose: &str) -> String {
    let since = Instant::now();
    loop {
        let listed = machine.json(&["session", "list"]);
        let mut sessions = listed["sessions"].as_array().unwrap().iter();
        let found = sessions.rfind(|s| s["state"] == "at work" && s["purpose"] == purpose);
        if let Some(session) = found {
            return session["session"].as_str().unwrap().to_owned();
        }
        assert!(since.elapsed() < Duration::from_secs(60), "nobody is at work: {listed}");
    }
}

fn ended(child: Child) -> Said {
    Said::of(&["(started before)"], child.wait_with_output().unwrap())
}

#[test]
fn a_restore_at_work_loses_nothing_to_a_sweep_that_waits_for_it() {
    let machine = Machine::with_repository();
    write(&machine, "a", 1, 6 << 20);
    let first = backed_up(&machine);
    let truth = Listing::of(&machine.at("tree"));
    fs::remove_file(machine.at("tree/a")).unwrap();
    write(&machine, "b", 2, 1 << 20);
    backed_up(&machine);
    let restore = machine.start(&["restore", &first, "--into", "out", "--limit-download", "2M"]);
    at_work(&machine, "read");
    machine.done(&["forget", "--apply", &first]);
    let early = machine.run(&["sweep", "--apply", "--wait", "0", "--repack-below", "0"]);
    assert!([0, 5].contains(&early.code), "{early}");
    let said = ended(restore);
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(Listing::of(&machine.at("out")).differences(&truth), Vec::<String>::new());
    swept(&machine);
    assert!(swept(&machine)["deleted"]["packs"] == 0, "all is gone by now");
    assert!(stored(&machine) < 5 << 20, "{} bytes are left", stored(&machine));
}

#[test]
fn a_backup_at_work_keeps_its_basis_and_what_it_stored() {
    let machine = Machine::with_repository();
    write(&machine, "a", 1, 6 << 20);
    let first = backed_up(&machine);
    write(&machine, "b", 2, 60 << 20);
    let backup = machine.start(&["backup", "tree", "--limit-upload", "8M", "--json"]);
    at_work(&machine, "write");
    machine.done(&["forget", "--apply", &first, "--even-last"]);
    let early = machine.run(&["sweep", "--apply", "--wait", "0", "--repack-below", "0"]);
    assert!([0, 5].contains(&early.code), "{early}");
    let said = ended(backup);
    assert_eq!(said.code, 0, "{said}");
    swept(&machine);
    machine.done(&["verify", "--level", "L1"]);
    let point = said.json()["point"].as_str().unwrap().to_owned();
    assert_restores(&machine, &point, &Listing::of(&machine.at("tree")), "out");
}

/// Kills a backup of this host in its middle, and answers its session.
fn killed_backup(machine: &Machine) -> String {
    write(machine, "more", 4, 40 << 20);
    let mut dies = machine.start(&["backup", "tree", "--limit-upload", "1M"]);
    let session = at_work(machine, "write");
    std::thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&dies), Signal::KILL).unwrap();
    dies.wait().unwrap();
    session
}

#[test]
fn a_process_that_died_on_this_host_holds_up_nobody() {
    let (machine, first, second) = with_two_points();
    let truth = Listing::of(&machine.at("tree"));
    killed_backup(&machine);
    machine.done(&["forget", "--apply", &first]);
    let before = stored(&machine);
    machine.done(&["sweep", "--apply", "--wait", "0"]);
    assert!(stored(&machine) + (5 << 20) <= before, "{} of {before}", stored(&machine));
    let dead = killed_backup(&machine);
    fs::remove_file(machine.at("tree/more")).unwrap();
    backed_up(&machine);
    let sessions = machine.json(&["session", "list"])["sessions"].clone();
    let state = |id: &str| {
        sessions.as_array().unwrap().iter().find(|one| one["session"] == id).unwrap()["state"].clone()
    };
    assert_eq!(state(&dead), "expired", "the next backup gave it up: {sessions}");
    assert_restores(&machine, &second, &truth, "out");
}

#[test]
fn what_only_a_process_that_died_on_this_host_needed_is_deleted_at_once() {
    let (machine, first, _) = with_two_points();
    let mut dies = machine.start(&["restore", &first, "--into", "part", "--limit-download", "1M"]);
    let session = at_work(&machine, "read");
    kill_process(Pid::from_child(&dies), Signal::KILL).unwrap();
    dies.wait().unwrap();
    machine.done(&["forget", "--apply", &first]);
    let did = swept(&machine);
    assert!(did["deleted"]["bytes"].as_u64().unwrap() > 5 << 20, "{did}");
    assert_eq!(
        (&did["for_sessions"]["packs"], &did["expired"]),
        (&0.into(), &Value::from(vec![session])),
        "{did}"
    );
}

#[test]
fn a_process_of_this_host_that_lives_is_not_given_up() {
    let (machine, first, _) = with_two_points();
    write(&machine, "more", 4, 6 << 20);
    let backup = machine.start(&["backup", "tree", "--limit-upload", "2M"]);
    at_work(&machine, "write");
    let idle = machine.done(&["sweep", "--apply", "--wait", "0"]);
    assert!(!idle.out_text().contains("at work"), "where nothing is condemned nobody is waited for: {idle}");
    machine.done(&["forget", "--apply", &first]);
    machine.run(&["sweep", "--apply", "--wait", "0"]).assert_failed(5, "session list");
    backed_up(&machine);
    let said = ended(backup);
    assert_eq!(said.code, 0, "{said}");
    swept(&machine);
    assert_restores(&machine, "latest", &Listing::of(&machine.at("tree")), "out");
}

#[test]
fn what_only_a_dead_session_needs_is_told() {
    let (machine, first, _) = with_two_points();
    let other = Machine::with_key_of(&machine);
    let mut dies = other.start(&["restore", &first, "--into", "out", "--limit-download", "1M"]);
    at_work(&machine, "read");
    kill_process(Pid::from_child(&dies), Signal::KILL).unwrap();
    dies.wait().unwrap();
    machine.done(&["forget", "--apply", &first]);
    let plan = machine.json(&["sweep"])["plan"].clone();
    assert!(plan["for_sessions"]["bytes"].as_u64().unwrap() > 5 << 20, "{plan}");
    machine.run(&["sweep", "--apply", "--wait", "0"]).assert_failed(5, "session list");
    other.done(&["backup", "out", "--source", "other"]);
    machine.done(&["sweep", "--apply", "--wait", "0"]);
    assert_eq!(machine.json(&["sweep"])["plan"]["for_sessions"]["packs"], 0);
}

#[test]
fn a_dead_session_is_waited_for_until_somebody_lets_it_expire() {
    let (machine, first, second) = with_two_points();
    let truth = Listing::of(&machine.at("tree"));
    let other = Machine::with_key_of(&machine);
    let session = killed_backup(&other);
    machine.done(&["forget", "--apply", &first]);
    let waits = machine.run(&["sweep", "--apply", "--wait", "0"]);
    waits.assert_failed(5, "session list");
    let named = waits.out_text().matches("is at work").count();
    assert_eq!(named, 1, "sessions that are over are not named: {waits}");
    let before = stored(&machine);
    machine.run(&["session", "expire", "ffff"]).assert_failed(4, "session list");
    machine.done(&["session", "expire", &session[..10]]);
    swept(&machine);
    assert!(stored(&machine) + (5 << 20) <= before, "{} of {before}", stored(&machine));
    swept(&machine);
    let listed = machine.json(&["session", "list"]);
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 0, "objects of what is over are gone: {listed}");
    assert_restores(&machine, &second, &truth, "out");
}

#[test]
fn a_session_that_shows_no_sign_of_life_is_given_up() {
    let (machine, first, _) = with_two_points();
    let other = Machine::with_key_of(&machine);
    let session = killed_backup(&other);
    machine.done(&["forget", "--apply", &first]);
    let did = machine.json(&["sweep", "--apply", "--wait", "1m", "--expire-after", "2s"]);
    assert_eq!(did["swept"]["expired"], Value::from(vec![session]), "{did}");
    assert!(did["swept"]["deleted"]["bytes"].as_u64().unwrap() > 5 << 20, "{did}");
    killed_backup(&other);
    let did = machine.json(&["sweep", "--apply", "--wait", "1m", "--expire-after", "1s"]);
    assert_eq!(
        did["swept"]["expired"].as_array().unwrap().len(),
        1,
        "also where nothing is condemned: {did}"
    );
}

#[test]
fn a_backup_that_was_given_up_while_at_work_does_not_claim_its_point() {
    let machine = Machine::with_repository();
    write(&machine, "a", 1, 20 << 20);
    let backup = machine.start(&["backup", "tree", "--limit-upload", "4M"]);
    let session = at_work(&machine, "write");
    machine.done(&["session", "expire", &session]);
    let said = ended(backup);
    said.assert_failed(5, "was given up before its work counted");
    assert_eq!(
        machine.points(),
        Vec::<String>::new(),
        "nobody was told to have it, and a sweep may take parts of it"
    );
    let forgotten = machine.json(&["points", "--forgotten"])["points"].clone();
    assert_eq!(forgotten[0]["forgotten"][0]["reasons"][0], "its backup was given up before it counted");
    let point = backed_up(&machine);
    swept(&machine);
    assert_restores(&machine, &point, &Listing::of(&machine.at("tree")), "out");
    machine.done(&["verify", &point, "--level", "L1"]);
}

#[test]
fn killed_sweeps_lose_nothing_and_the_next_one_goes_on() {
    let machine = Machine::with_repository();
    let mut last = String::new();
    let (mut killed, mut pause) = (0, Duration::from_millis(10));
    for round in 0..12u64 {
        for file in 0..6 {
            if (file + round) % 3 == 0 {
                write(&machine, &format!("{file}"), round * 10 + file, 700_000);
            }
        }
        let point = backed_up(&machine);
        if !last.is_empty() {
            machine.done(&["forget", "--apply", &last]);
        }
        last = point;
        let mut sweep = machine.start(&["sweep", "--apply", "--repack-below", "100", "--wait", "0"]);
        std::thread::sleep(pause);
        // Later each time, until one has ended before.
        if sweep.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&sweep), Signal::KILL).unwrap();
            killed += 1;
            pause += Duration::from_millis(12);
        } else {
            pause /= 3;
        }
        sweep.wait().unwrap();
        assert_restores(&machine, &last, &Listing::of(&machine.at("tree")), "out");
    }
    assert!(killed > 3, "only {killed} sweeps were killed");
    for session in machine.json(&["session", "list"])["sessions"].as_array().unwrap() {
        if session["state"] == "at work" {
            machine.done(&["session", "expire", session["session"].as_str().unwrap()]);
        }
    }
    swept(&machine);
    swept(&machine);
    machine.done(&["verify", "--level", "L1"]);
    machine.done(&["verify", "--level", "L2"]);
    assert_restores(&machine, &last, &Listing::of(&machine.at("tree")), "out");
    let tree: u64 = below(&machine.at("tree")).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(stored(&machine) < 2 * tree, "{} for {tree}", stored(&machine));
}

#[test]
fn two_sweeps_at_once_do_no_harm() {
    let (machine, first, second) = with_two_points();
    machine.done(&["forget", "--apply", &first]);
    let words = ["sweep", "--apply", "--repack-below", "100", "--wait", "20s"];
    let both = [machine.start(&words), machine.start(&words)];
    for sweep in both {
        let said = ended(sweep);
        assert!([0, 5].contains(&said.code), "{said}");
    }
    assert_restores(&machine, &second, &Listing::of(&machine.at("tree")), "out");
    machine.done(&["verify", "--level", "L1"]);
}

#[test]
fn where_a_list_of_needed_frames_is_lost_nothing_is_deleted() {
    let (machine, first, _) = with_two_points();
    machine.done(&["forget", "--apply", &first]);
    let length = |pack: &PathBuf| usize::try_from(fs::metadata(pack).unwrap().len()).unwrap();
    let needed = packs(&machine).into_iter().find(|pack| (3 << 20..4 << 20).contains(&length(pack))).unwrap();
    let size = length(&needed);
    flip(&needed, [size - 2_500, size - 3_000, size - 3_500]);
    let before = stored(&machine);
    machine.run(&["sweep", "--apply"]).assert_failed(3, "verify");
    machine.run(&["sweep"]).assert_failed(3, "nothing may be deleted");
    assert_eq!(stored(&machine), before);
}

#[test]
fn what_healed_a_point_stays_as_long_as_the_point() {
    let machine = Machine::with_repository();
    (0..8).for_each(|file| write(&machine, &format!("{file}"), file, 900_000));
    let first = backed_up(&machine);
    let truth = Listing::of(&machine.at("tree"));
    let pack = largest_pack(&machine.repository());
    let size = usize::try_from(fs::metadata(&pack).unwrap().len()).unwrap();
    flip(&pack, [1_000, 2_000_000, 4_000_000, size - 2_500]);
    assert_eq!(machine.run(&["verify", "--level", "L1"]).code, 3);
    let healing = backed_up(&machine);
    machine.done(&["restore", &first, "--into", "healed"]);
    fs::write(machine.at("tree/later"), b"later").unwrap();
    backed_up(&machine);
    machine.done(&["forget", "--apply", &healing]);
    let did = machine.run(&["sweep", "--apply", "--repack-below", "0"]);
    assert_eq!(did.code, 0, "{did}");
    assert_restores(&machine, &first, &truth, "out");
}

#[test]
fn a_host_that_may_only_add_sweeps_nothing() {
    let (machine, first, _) = with_two_points();
    machine.done(&["forget", "--apply", &first]);
    machine.done(&["key", "export-writer", "writer.key", "--name", "web"]);
    let mut adds = Machine::with_key_of(&machine);
    adds.set("SEAWALL_KEY_FILE", machine.at("writer.key").to_str().unwrap());
    let before = stored(&machine);
    for words in [&["sweep"][..], &["sweep", "--apply"], &["session", "expire", "00"]] {
        let said = adds.run(words);
        assert_eq!(said.code, 4, "{said}");
    }
    assert_eq!(stored(&machine), before);
}

#[test]
fn a_history_that_lost_an_entry_deletes_nothing() {
    let (machine, first, second) = with_two_points();
    machine.done(&["forget", "--apply", &first]);
    let lost = below(&machine.repository().join("log")).into_iter().find(|entry| {
        let (name, bytes) = (entry.to_str().unwrap().to_owned(), fs::read(entry).unwrap());
        fs::remove_file(entry).unwrap();
        let hit = machine.run(&["sweep", "--apply"]);
        fs::write(entry, bytes).unwrap();
        hit.assert_failed(3, "log --verify");
        !name.is_empty()
    });
    assert!(lost.is_some());
    machine.done(&["sweep", "--apply"]);
    assert_restores(&machine, &second, &Listing::of(&machine.at("tree")), "out");
}

#[test]
fn a_repository_that_came_back_from_an_old_copy_is_not_swept() {
    let (machine, first, second) = with_two_points();
    let copied =
        std::process::Command::new("cp").arg("-a").arg(machine.repository()).arg(machine.at("old")).status();
    assert!(copied.unwrap().success());
    write(&machine, "later", 7, 1 << 20);
    backed_up(&machine);
    machine.done(&["forget", "--apply", &first]);
    fs::rename(machine.repository(), machine.at("lost")).unwrap();
    fs::rename(machine.at("old"), machine.repository()).unwrap();
    let before = stored(&machine);
    machine.run(&["sweep", "--apply"]).assert_failed(3, "was here before and is gone");
    assert_eq!(stored(&machine), before);
    fs::remove_file(machine.at("tree/later")).unwrap();
    machine.run(&["restore", &second, "--into", "out"]);
    assert_eq!(fs::read(machine.at("out/new")).unwrap(), fs::read(machine.at("tree/new")).unwrap());
}

#[test]
fn a_host_that_was_cloned_loses_nothing_to_its_twin() {
    let (machine, first, second) = with_two_points();
    let truth = Listing::of(&machine.at("tree"));
    let twin = Machine::with_key_of(&machine);
    fs::remove_dir(twin.at("state")).unwrap();
    let copied =
        std::process::Command::new("cp").arg("-a").arg(machine.at("state")).arg(twin.at("state")).status();
    assert!(copied.unwrap().success());
    write(&twin, "own", 9, 2 << 20);
    let mut both = vec![machine.start(&["backup", "tree"]), twin.start(&["backup", "tree"])];
    machine.done(&["forget", "--apply", &first]);
    both.push(twin.start(&["sweep", "--apply", "--wait", "20s", "--repack-below", "100"]));
    both.push(machine.start(&["sweep", "--apply", "--wait", "20s", "--repack-below", "100"]));
    for child in both {
        let said = ended(child);
        assert!([0, 5].contains(&said.code), "{said}");
    }
    assert_restores(&machine, &second, &truth, "out");
    machine.done(&["verify", "--level", "L1"]);
    machine.done(&["verify", "--level", "L2"]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let (machine, first, _) = with_two_points();
    machine.done(&["forget", "--apply", &first]);
    let all = || below(&machine.repository()).into_iter().collect::<std::collections::BTreeSet<PathBuf>>();
    let before = all();
    let other = Machine::with_key_of(&machine);
    for host in [&machine, &other] {
        let said = host.done(&["sweep"]);
        let told = said.out_text();
        assert!(told.contains("--apply") && told.contains("never verified"), "{told}");
        assert_eq!(all(), before);
    }
    machine.done(&["verify"]);
    assert_eq!(machine.json(&["sweep"])["plan"]["points_unverified"], 0);
}

/// What a sweep moves it cannot read, as it has no key for it, and what it has moved it deletes: it must not take a misread
/// for the frame, nor throw away the good half of a pack that rotted.
#[test]
fn a_bit_that_flips_on_its_way_is_not_moved_into_a_new_pack() {
    let server = Server::start(Config::default());
    let machine = Machine::with_s3(&server);
    machine.done(&["init"]);
    let second = sparse(&machine);
    let truth = Listing::of(&machine.at("tree"));
    let only = Some("/packs/".to_owned());
    server
        .order(|orders| *orders = Orders { flip_at: Some(100_000), flip_next: 1, only, ..Orders::default() });
    let swept = machine.json(&["sweep", "--apply", "--repack-below", "100"]);
    assert_eq!(server.counts().spoiled, 1, "the bit was flipped");
    assert_eq!(swept["swept"]["spared"], serde_json::json!([]));
    assert!(swept["swept"]["moved"]["frames"].as_u64().unwrap() > 0);
    assert_restores(&machine, &second, &truth, "back");
}

/// Condemns all packs that the backup of this point stored: as a sweep does that did not see yet that the point was brought
/// back.
fn condemn(machine: &Machine, point: &str) {
    let opened = machine.opened(World::real(), "condemns");
    let fold = opened.fold();
    let record = fold.points.values().find(|record| record.point.id.to_string() == point).unwrap();
    let session = record.entry.session;
    let signer = Signer::from_seed(opened.bundle().root.as_ref().unwrap());
    let record = SweepPart {
        repo: opened.id(),
        writer: WriterId::of(&signer.public()),
        public_key: signer.public(),
        region: "home".to_owned(),
        incarnation: opened.incarnation(),
        number: 1,
        sweep: SweepId([7; 16]),
        part: 0,
        packs: fold.packs.keys().copied().filter(|pack| pack.session() == session).collect(),
        time: LogicalTime { time: World::real().now_ns(), counter: 0 },
    };
    let bytes = record.seal(&signer).into_bytes();
    opened.io().put(&repo::layout::sweep_part(record.id()), bytes.into()).unwrap();
}

/// A point that was forgotten and brought back may have lost something to a sweep; but what does not read is not lost, and
/// its good bytes are not to be deleted for it.
#[test]
fn a_directory_that_does_not_read_for_a_while_costs_a_point_that_was_brought_back_nothing() {
    let machine = Machine::with_repository();
    write(&machine, "old", 1, 300_000);
    let point = backed_up(&machine);
    let truth = Listing::of(&machine.at("tree"));
    write(&machine, "new", 2, 300_000);
    backed_up(&machine);
    machine.done(&["forget", "--apply", &point]);
    machine.done(&["forget", "--undo", &point]);
    condemn(&machine, &point);
    let before = packs(&machine);
    for pack in &before {
        let directory = fs::metadata(pack).unwrap().len() as usize - 100;
        flip(pack, [directory]);
        machine.run(&["sweep", "--apply"]).assert_failed(3, "packs/");
        flip(pack, [directory]);
    }
    assert!(before.iter().all(|pack| pack.exists()), "nobody could say what is needed of it");
    swept(&machine);
    assert!(before.iter().any(|pack| !pack.exists()), "what was condemned was moved");
    assert_restores(&machine, &point, &truth, "back");
}

#[test]
fn a_point_that_was_swept_while_it_is_verified_is_not_called_damaged() {
    let (machine, first, _) = with_two_points();
    let opened = machine.opened(World::real(), "looks");
    let record = opened.find_point(&first, None).unwrap();
    machine.done(&["forget", "--apply", &first]);
    swept(&machine);
    let verdict = Verifier::new(&opened).unwrap().verify(&record, Level::L1).unwrap();
    assert!(verdict.is_forgotten && verdict.problems.is_empty(), "{verdict:?}");
    let forgotten = machine.json(&["points", "--forgotten"])["points"].clone();
    assert_eq!(forgotten[0]["verification_problems"], Value::Null, "{forgotten}");
}

/// What sweeps moved lies in one place only, for points that were forgotten once too.
#[test]
fn a_moved_pack_that_is_away_for_a_while_costs_no_point_anything() {
    let acts: [&[&str]; 3] =
        [&["forget", "--undo"], &["hold", "--reason", "a case"], &["pin", "--for", "30d"]];
    for act in acts {
        let machine = Machine::with_repository();
        // Names that make several nodes of the tree.
        let name = |kind: &str, number: u64| {
            format!("{kind}-{number}-{:02x?}", odd::noise(number, 50)).replace(", ", "")
        };
        for kind in ["goes", "stays"] {
            (0..1500).for_each(|number| {
                write(&machine, &name(kind, number), 2 * number + u64::from(kind == "goes"), 2000)
            });
        }
        let first = backed_up(&machine);
        (0..1500).for_each(|number| fs::remove_file(machine.at("tree").join(name("goes", number))).unwrap());
        let second = backed_up(&machine);
        let truth = Listing::of(&machine.at("tree"));
        machine.done(&["forget", "--apply", "--even-last", &first, &second]);
        machine.done(&[act, &[second.as_str()]].concat());
        let before = packs(&machine);
        machine.done(&["sweep", "--apply", "--repack-below", "100"]);
        let moved: Vec<PathBuf> = packs(&machine).into_iter().filter(|pack| !before.contains(pack)).collect();
        assert_eq!(moved.len(), 2, "content and tree were moved");
        write(&machine, "new", 99, 300_000);
        let third = backed_up(&machine);
        machine.done(&["forget", "--apply", "--even-last", &third]);
        for pack in &moved {
            fs::rename(pack, machine.at("away")).unwrap();
            let there = packs(&machine);
            machine.run(&["sweep", "--apply"]).assert_failed(3, "nothing may be deleted");
            assert_eq!(packs(&machine), there, "{act:?}");
            fs::rename(machine.at("away"), pack).unwrap();
        }
        swept(&machine);
        assert_restores(&machine, &second, &truth, "back");
    }
}

#[test]
fn a_directory_that_is_misread_is_read_again() {
    let server = Server::start(Config::default());
    let machine = Machine::with_s3(&server);
    machine.done(&["init"]);
    write(&machine, "old", 1, 300_000);
    let first = backed_up(&machine);
    write(&machine, "old", 2, 300_000);
    let second = backed_up(&machine);
    let truth = Listing::of(&machine.at("tree"));
    machine.done(&["forget", "--apply", &first]);
    let only = Some("/packs/".to_owned());
    server
        .order(|orders| *orders = Orders { flip_at: Some(16_284), flip_next: 2, only, ..Orders::default() });
    let swept = swept(&machine);
    assert_eq!(server.counts().spoiled, 2, "two directories were misread, or one twice");
    assert!(swept["deleted"]["packs"].as_u64().unwrap() > 0, "{swept}");
    assert_restores(&machine, &second, &truth, "back");
}

/// Neither a directory, nor a node, nor content, nor a whole pack counts as damaged for one bit that flipped on its way.
#[test]
fn what_is_misread_once_is_restored_and_verified_all_the_same() {
    let server = Server::start(Config::default());
    let machine = Machine::with_s3(&server);
    machine.done(&["init"]);
    write(&machine, "file", 1, 3 << 20);
    let point = backed_up(&machine);
    let truth = Listing::of(&machine.at("tree"));
    let mut spoiled = 0;
    // In a node and in content, in the tail of the small pack, and in the middle of the large one.
    for flip_at in [200, 16_284, 1 << 20] {
        for words in
            [["verify", "--level", "L1"], ["verify", "--level", "L2"], ["restore", "latest", "--into=back"]]
        {
            let only = Some("/packs/".to_owned());
            server.order(|o| *o = Orders { flip_at: Some(flip_at), flip_next: 1, only, ..Orders::default() });
            machine.done(&words);
        }
        assert_eq!(Listing::of(&machine.at("back")).differences(&truth), Vec::<String>::new());
        fs::remove_dir_all(machine.at("back")).unwrap();
        assert!(server.counts().spoiled > spoiled, "nothing was misread at {flip_at}");
        spoiled = server.counts().spoiled;
    }
    assert_restores(&machine, &point, &truth, "back");
}

#[test]
fn a_pack_that_is_not_as_it_was_stored_is_spared_and_named() {
    let machine = Machine::with_repository();
    let second = sparse(&machine);
    let of_data = |pack: &PathBuf| fs::metadata(pack).unwrap().len() > 1 << 20;
    let rotten: Vec<PathBuf> = packs(&machine).into_iter().filter(of_data).collect();
    rotten.iter().for_each(|pack| flip(pack, [100_000]));
    let sweep = machine.run(&["sweep", "--apply", "--repack-below", "100"]);
    sweep.assert_failed(3, "is not as it was stored");
    assert!(sweep.err.contains("seawall verify"), "{}", sweep.err);
    assert!(rotten.iter().all(|pack| pack.exists()), "nobody can tell what of it is whole");
    let again = machine.run(&["sweep", "--apply", "--repack-below", "100"]);
    again.assert_failed(3, "is not as it was stored");
    machine.run(&["verify", "--level", "L1"]).assert_failed(3, "damaged");
    machine.done(&["backup", "tree"]);
    let truth = Listing::of(&machine.at("tree"));
    assert_restores(&machine, &second, &truth, "back");
}

/// Reports of packs that a sweep deleted would never go away, and would make rules forget what is whole.
#[test]
fn what_rots_after_it_was_moved_is_named_where_it_lies_and_heals() {
    let machine = Machine::with_repository();
    let second = sparse(&machine);
    let truth = Listing::of(&machine.at("tree"));
    let before = packs(&machine);
    machine.done(&["sweep", "--apply", "--repack-below", "100"]);
    machine.done(&["verify", "--level", "L1"]);
    let moved = packs(&machine).into_iter().filter(|pack| !before.contains(pack));
    let moved = moved.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    flip(&moved, [100_000]);
    let verify = machine.run(&["verify", "--level", "L1"]);
    verify.assert_failed(3, "files are lost with it");
    let name = moved.file_name().unwrap().to_str().unwrap();
    assert!(verify.err.contains(name) && !verify.err.contains("it is not there"), "{}", verify.err);
    let third = backed_up(&machine);
    machine.done(&["verify", "--level", "L1", "latest"]);
    machine.done(&["verify", "--level", "L1"]);
    for point in [&second, &third] {
        assert_restores(&machine, point, &truth, "back");
    }
    machine.done(&["forget", "--keep-last", "1", "--apply"]);
    assert_eq!(machine.points(), [third], "the newest can be restored, so it is the one that stays");
}
