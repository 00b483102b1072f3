//! Clocks that are wrong by hours: of this host against the server, and of one backup against another.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tests::s3::Orders;
use tests::seawall::{Machine, Said};

use crate::{assert_told, order, plant, quickly, server};

#[test]
fn a_clock_that_the_server_does_not_accept_is_named_with_both_times() {
    for hours in [5, -5] {
        let server = server();
        let machine = Machine::with_s3(&server);
        machine.done(&["init"]);
        plant(&machine, 1, 1_000);
        order(&server, Orders { clock_ahead_s: hours * 3_600, ..Orders::default() });
        let before = server.counts().requests;
        for words in [&["backup", "tree"][..], &["points"], &["restore", "latest", "--into", "out"]] {
            let said = quickly(&machine, words);
            let says = ["the clock of this machine", "RequestTimeTooSkewed", "timedatectl set-ntp"];
            assert_told(&said, 4, &says);
            let (_, times) = said.err.split_once("this machine says it is ").unwrap();
            let (ours, rest) = times.split_once(", the server ").unwrap();
            let theirs = rest.split_once('Z').unwrap().0.to_owned() + "Z";
            let seconds = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
            let apart = seconds(&theirs) - seconds(ours);
            assert!((apart - hours * 3_600).abs() < 5, "{said}");
        }
        assert_eq!(server.counts().requests - before, 3, "nothing is tried again");
    }
}

/// The library that lets a program see another time.
fn faketime() -> Option<PathBuf> {
    let named = std::env::var_os("SEAWALL_FAKETIME").map(PathBuf::from);
    let usual = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let usual = usual.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    named.into_iter().chain(usual).find(|path| path.exists())
}

/// A machine whose clock can be wrong.
struct Clocked {
    machine: Machine,
    library: PathBuf,
}

impl Clocked {
    /// None, and a word about it, where there is no such library.
    fn new(test: &str) -> Option<Clocked> {
        let library = faketime();
        if library.is_none() {
            tests::skipped(&format!("{test}: there is no libfaketime here"));
        }
        let machine = Machine::new();
        machine.done(&["init"]);
        Some(Clocked { machine, library: library? })
    }

    /// Keeps this content while the clock is wrong by so much, and gives the point.
    fn keep(&self, content: &str, wrong: &str) -> String {
        fs::create_dir_all(self.machine.at("tree")).unwrap();
        fs::write(self.machine.at("tree/file"), content).unwrap();
        let words = ["backup", "tree", "--source", "s", "--json"];
        let mut command = self.machine.command(&words);
        command.env("LD_PRELOAD", &self.library).env("FAKETIME", wrong);
        let said = Said::of(&words, command.output().unwrap());
        assert_eq!(said.code, 0, "{said}");
        said.json()["point"].as_str().unwrap().to_owned()
    }

    /// What comes back as the newest, or the newest at some time.
    fn newest(&self, more: &[&str]) -> String {
        let _ = fs::remove_dir_all(self.machine.at("out"));
        self.machine.done(&[&["restore", "latest", "--into", "out"], more].concat());
        fs::read_to_string(self.machine.at("out/file")).unwrap()
    }

    /// The points that are marked as of a clock that was ahead.
    fn ahead(&self) -> Vec<String> {
        let listed = self.machine.json(&["points"]);
        let marked = listed["points"].as_array().unwrap().iter().filter(|p| p["clock_ahead"] == true);
        marked.map(|p| p["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The time of the machine, so many hours from now.
fn hours_from_now(hours: i64) -> String {
    let now = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(hours)).unwrap();
    now.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[test]
fn a_point_of_a_clock_that_was_hours_ahead_is_not_the_newest_once_there_is_another() {
    let test = "a_point_of_a_clock_that_was_hours_ahead_is_not_the_newest_once_there_is_another";
    let Some(host) = Clocked::new(test) else { return };
    let wrong = host.keep("first", "+5h");
    assert_eq!(host.newest(&[]), "first", "it is the only one");
    assert_eq!(host.ahead(), std::slice::from_ref(&wrong), "it lies in the future");
    let right = host.keep("second", "+0");
    for more in
        [&[][..], &["--at", &hours_from_now(6)], &["--at", &hours_from_now(1)], &["--at", "0 hours ago"]]
    {
        assert_eq!(host.newest(more), "second", "{more:?}");
    }
    assert_eq!(host.ahead(), std::slice::from_ref(&wrong));
    let said = host.machine.done(&["points"]);
    let (named, other) = (said.err.contains(&wrong[..12]), said.err.contains(&right[..12]));
    assert!(named && !other && said.err.contains("clock"), "{said}");
    // The next one builds on the right one.
    let third = host.machine.json(&["backup", "tree", "--source", "s"]);
    assert_eq!(third["basis"].as_str().unwrap_or_default(), right, "{third}");
    assert_eq!(host.machine.points().len(), 3);
    host.machine.done(&["verify", "--level", "L2"]);
    assert_eq!(host.ahead(), std::slice::from_ref(&wrong));
    host.machine.done(&["restore", &wrong, "--into", "by-id"]);
    assert_eq!(fs::read_to_string(host.machine.at("by-id/file")).unwrap(), "first");
}

#[test]
fn a_clock_that_was_set_back_between_two_backups_hides_neither() {
    let test = "a_clock_that_was_set_back_between_two_backups_hides_neither";
    let Some(host) = Clocked::new(test) else { return };
    let behind = host.keep("zero", "-1h");
    host.keep("one", "+0");
    assert_eq!((host.newest(&[]), host.ahead()), ("one".into(), vec![]));
    assert_eq!(host.newest(&["--at", "30 minutes ago"]), "zero", "as its clock said");
    // An hour behind again: what was made last is the newest.
    host.keep("two", "-1h");
    assert_eq!(host.newest(&[]), "two");
    host.keep("three", "+0");
    assert_eq!(host.newest(&[]), "three");
    let listed: Value = host.machine.json(&["points"]);
    assert_eq!(listed["points"].as_array().unwrap().len(), 4, "{listed}");
    host.machine.done(&["restore", &behind, "--into", "by-id"]);
    assert_eq!(fs::read_to_string(host.machine.at("by-id/file")).unwrap(), "zero");
}
