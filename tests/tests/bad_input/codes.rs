//! The exit codes of races and of Ctrl-C.
//!
//! A backup that loses a race (5) needs a sweep or an expiry beside it; neither is there yet, so the only race so far is
//! for a place.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::listing::Listing;
use tests::odd;
use tests::s3::{Config, Orders, Server};
use tests::seawall::{Machine, Said};

use crate::{House, assert_told};

#[test]
fn who_makes_a_repository_a_moment_too_late_has_lost_a_race() {
    let orders = Orders { latency_ms: 150, ..Orders::default() };
    let server = Server::start(Config { orders, ..Config::default() });
    let machines = [Machine::with_s3(&server), Machine::with_s3(&server)];
    // A key file that is made first would take longer on one machine than on the other.
    let words = ["init", "--key-file", "key"];
    let spare = Machine::with_repository();
    for machine in &machines {
        std::fs::copy(spare.key_file(), machine.at("key")).unwrap();
    }
    let children = machines.each_ref().map(|machine| machine.start(&words));
    let mut said: Vec<(usize, Said)> = children
        .into_iter()
        .map(|child| Said::of(&words, child.wait_with_output().unwrap()))
        .enumerate()
        .collect();
    said.sort_by_key(|(_, said)| said.code);
    assert_eq!(said[0].1.code, 0, "{}", said[0].1);
    assert_told(&said[1].1, 5, &["somebody else made a repository in s3://bucket", "just now"]);
    server.order(|orders| *orders = Orders::default());
    let [first, second] = machines;
    let (winner, loser) = if said[0].0 == 0 { (first, second) } else { (second, first) };
    assert_told(&loser.run(&words), 4, &["already holds"]);
    let mut winner = winner;
    winner.set("SEAWALL_KEY_FILE", winner.at("key").to_str().unwrap());
    House::bare(winner).is_whole();
}

#[test]
fn of_many_who_make_one_repository_at_once_one_succeeds() {
    let machines: Vec<Machine> = (0..4).map(|_| Machine::new()).collect();
    let place = machines[0].at("shared");
    let words = ["init", "--repo", place.to_str().unwrap()];
    let children: Vec<Child> = machines.iter().map(|machine| machine.start(&words)).collect();
    let said: Vec<Said> =
        children.into_iter().map(|child| Said::of(&words, child.wait_with_output().unwrap())).collect();
    let winners: Vec<usize> = (0..said.len()).filter(|&n| said[n].code == 0).collect();
    assert_eq!(winners.len(), 1, "{}", said.iter().map(Said::to_string).collect::<String>());
    for (number, said) in said.iter().enumerate().filter(|(number, _)| *number != winners[0]) {
        assert_told(said, if said.code == 4 { 4 } else { 5 }, &["shared"]);
        let points = ["points", "--repo", place.to_str().unwrap()];
        assert_eq!(machines[number].run(&points).code, 4, "its key opens nothing");
    }
    let mut machines = machines;
    let mut winner = machines.remove(winners[0]);
    winner.set("SEAWALL_REPO", place.to_str().unwrap());
    House::bare(winner).is_whole();
}

/// Starts the program as a terminal would: a job in the background, as a test may be, ignores Ctrl-C.
fn started(machine: &Machine, words: &[&str]) -> Child {
    let ours = machine.command(words);
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(ours.get_program()).args(words);
    command.current_dir(machine.at("")).env_clear();
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupted(machine: &Machine, words: &[&str], begun: impl Fn() -> bool) -> Said {
    let child = started(machine, words);
    let begin = Instant::now();
    while !begun() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it never began");
        std::thread::sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let said = Said::of(words, child.wait_with_output().unwrap());
    assert!(begin.elapsed() < Duration::from_secs(30), "it goes at once");
    said
}

#[test]
fn a_backup_that_is_interrupted_says_so_and_the_next_one_succeeds() {
    let server = Server::start(Config::default());
    let mut house = House::remote(&server);
    std::fs::write(house.machine.at("tree/more"), odd::noise(8, 8_000_000)).unwrap();
    for json in [&[][..], &["--json"]] {
        house.change();
        server.order(|orders| orders.bytes_per_second = Some(1_000_000));
        let before = server.counts().writes;
        let words = [&["backup", "tree"], json].concat();
        let said = interrupted(&house.machine, &words, || server.counts().writes > before + 1);
        assert_told(&said, 130, &["interrupted", "run the same command again"]);
        assert!(json.is_empty() || said.json()["exit"] == 130, "{said}");
    }
    server.order(|orders| *orders = Orders::default());
    house.is_whole();
}

#[test]
fn what_an_interrupted_restore_has_of_a_large_file_is_gone_on_with() {
    let server = Server::start(Config::default());
    let mut house = House::remote(&server);
    fs::write(house.machine.at("tree/disk.img"), odd::noise(9, 70 << 20)).unwrap();
    house.keep();
    server.order(|orders| orders.bytes_per_second = Some(16 << 20));
    let point = house.points.last().unwrap().0.clone();
    let whole = house.machine.at("out/disk.img");
    let part = house.machine.at(&format!("out/.seawall-part-{:.12}-of-disk.img", point));
    let came = || fs::metadata(&part).is_ok_and(|part| part.blocks() * 512 > 30 << 20);
    let goes_on = format!("to go on: `seawall restore {point:.12} --into out --resume");
    interrupted(&house.machine, &["restore", "latest", "--into", "out"], came).assert_failed(130, &goes_on);
    server.order(|orders| *orders = Orders::default());
    assert!(!whole.exists(), "a part does not look like the whole");
    let went_on = house.machine.json(&["restore", "latest", "--into", "out", "--resume"]);
    assert!(went_on["fetched_bytes"].as_u64().unwrap() < 50 << 20, "{went_on}");
    assert!(!part.exists());
    assert_eq!(Listing::of(&house.machine.at("out")).differences(&house.truth()), Vec::<String>::new());
}

#[test]
fn a_restore_that_is_interrupted_says_so_and_the_next_one_succeeds() {
    let server = Server::start(Config::default());
    let mut house = House::remote(&server);
    server.order(|orders| orders.bytes_per_second = Some(1_000_000));
    let words = ["restore", "latest", "--into", "out"];
    let out = house.machine.at("out");
    let said = interrupted(&house.machine, &words, || out.exists());
    assert_told(&said, 130, &["interrupted", "--existing replace"]);
    server.order(|orders| *orders = Orders::default());
    house.machine.done(&["restore", "latest", "--into", "out", "--existing", "replace"]);
    assert_eq!(
        Listing::of(&out).without_top().differences(&house.truth().without_top()),
        Vec::<String>::new()
    );
    house.is_whole();
}
