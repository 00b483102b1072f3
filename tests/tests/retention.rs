//! Forgetting by rules and by name, taking it back, pins and holds: through the program as people run it. Points of the
//! past are made by the library in a world whose clock is as wrong as a test wants it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use engine::backup::{Request, backup};
use format::id::PointId;
use repo::retention::{Guard, Reason};
use repo::{Last, Repo};
use serde_json::{Value, json};
use tests::files::{flip, largest_pack};
use tests::listing::Listing;
use tests::odd;
use tests::seawall::Machine;
use world::{Clock, Cores, World};

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;

/// Noon of yesterday, UTC.
fn noon() -> i64 {
    World::real().now_ns() / DAY * DAY - DAY / 2
}

fn with_tree() -> Machine {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/file"), "content").unwrap();
    machine
}

/// The machine's clocks, of which that on the wall is wrong by the same time always.
struct Wrong {
    right: World,
    ahead_ns: i64,
}

impl Clock for Wrong {
    fn now_ns(&self) -> i64 {
        self.right.now_ns() + self.ahead_ns
    }

    fn monotonic(&self) -> Duration {
        self.right.monotonic()
    }

    fn cpu(&self) -> Duration {
        self.right.cpu()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.right.sleep(time)
    }

    fn cores(&self) -> Option<Cores> {
        None
    }
}

/// The machine's repository as a host of this name sees it whose clock says so.
fn host_at(machine: &Machine, name: &str, now: i64) -> Repo {
    let right = World::real();
    let ahead_ns = now - right.now_ns();
    let seed = name.bytes().fold(now as u64, |seed, byte| seed.rotate_left(8) ^ u64::from(byte));
    machine.opened(World::simulated(seed, Arc::new(Wrong { right, ahead_ns })), name)
}

/// A point of the tree, made by a host at a time.
fn point_at(machine: &Machine, host: &str, source: &str, now: i64) -> String {
    let repo = host_at(machine, host, now);
    backup(&repo, Request::of(source, &machine.at("tree"), 1)).unwrap().point.to_string()
}

/// Points of source `s` at these hours before yesterday's noon, oldest first, and one of another source by another host
/// whose clock is right. So the clock of the machine is borne out.
fn with_past(hours: &[i64]) -> (Machine, Vec<String>) {
    let machine = with_tree();
    let points = hours.iter().map(|ago| point_at(&machine, "past", "s", noon() - ago * HOUR)).collect();
    let now = machine.opened(World::real(), "present");
    backup(&now, Request::of("other", &machine.at("tree"), 1)).unwrap();
    (machine, points)
}

fn ids(list: &Value) -> Vec<String> {
    let id = |v: &Value| v.as_str().or(v["point"].as_str()).or(v["id"].as_str()).unwrap().to_owned();
    list.as_array().unwrap_or_else(|| panic!("no list: {list}")).iter().map(id).collect()
}

fn listed(machine: &Machine, words: &[&str]) -> Vec<String> {
    ids(&machine.json(&[&["points"], words].concat())["points"])
}

/// The reasons that a plan gives for a point, if it keeps it.
fn reasons(plan: &Value, point: &str) -> Option<Vec<String>> {
    let kept = plan["sources"].as_array().unwrap().iter().flat_map(|s| s["kept"].as_array().unwrap());
    let found = kept.into_iter().find(|kept| kept["point"] == point)?;
    Some(found["reasons"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_owned()).collect())
}

const DAILY: [&str; 7] = ["forget", "--source", "s", "--keep-daily", "3", "--time-zone", "UTC"];

#[test]
fn a_plan_tells_why_points_stay_and_apply_carries_it_out_until_it_is_taken_back() {
    let (machine, points) = with_past(&[984, 960, 48, 27, 24, 3, 0]);
    let goes = [0, 1, 3, 5].map(|number: usize| points[number].clone());
    let stays = [2, 4, 6].map(|number: usize| points[number].clone());

    let plan = machine.json(&DAILY);
    assert_eq!((&plan["schema"], &plan["applied"]), (&"forget/1".into(), &false.into()));
    assert_eq!(ids(&plan["sources"][0]["forgotten"]), goes);
    assert_eq!(reasons(&plan, &points[4]).unwrap(), ["daily"]);
    assert_eq!(reasons(&plan, &points[6]).unwrap(), ["daily", "newest_restorable", "least"]);
    let shown = machine.done(&DAILY);
    assert!(String::from_utf8_lossy(&shown.out).contains("keep: daily"), "{shown}");
    assert!(shown.err.contains("--keep-daily 3 --apply"), "{shown}");
    assert_eq!(listed(&machine, &["--source", "s"]), points, "a plan changes nothing");

    let done = machine.json(&[&DAILY[..], &["--apply"]].concat());
    assert_eq!((&done["applied"], ids(&done["sources"][0]["forgotten"])), (&true.into(), goes.to_vec()));
    assert_eq!(listed(&machine, &["--source", "s"]), stays);
    let forgotten = machine.json(&["points", "--forgotten"]);
    assert_eq!(ids(&forgotten["points"]), goes);
    assert_eq!(forgotten["points"][0]["forgotten"][0]["reasons"][0], "--keep-daily 3");
    machine.run(&["restore", &goes[0], "--into", "gone"]).assert_failed(4, "points --repo");
    let again = machine.json(&[&DAILY[..], &["--apply"]].concat());
    assert!(ids(&again["sources"][0]["forgotten"]).is_empty(), "what a plan kept the same plan keeps again");

    let stranger = Machine::with_key_of(&machine);
    assert_eq!(listed(&stranger, &["--source", "s"]), stays, "another host sees the same");
    assert_eq!(ids(&stranger.json(&["forget", "--undo", &goes[0][..9]])["undone"]), goes[..1]);
    let undone: BTreeSet<String> = ids(&machine.json(&["forget", "--undo"])["undone"]).into_iter().collect();
    assert_eq!(undone, goes[1..].iter().cloned().collect());
    assert_eq!(listed(&machine, &["--source", "s"]), points);
    assert!(ids(&machine.json(&["forget", "--undo"])["undone"]).is_empty());
    machine.done(&["restore", &goes[0], "--into", "out"]);
    let (truth, copy) = (Listing::of(&machine.at("tree")), Listing::of(&machine.at("out")));
    assert_eq!(copy.differences(&truth), Vec::<String>::new());
    machine.done(&["log", "--verify"]);
}

#[test]
fn each_source_is_planned_by_itself_and_tags_and_lengths_of_time_keep() {
    let (machine, points) = with_past(&[72, 48, 0]);
    machine.done(&["backup", "tree", "--source", "tagged", "--tag", "tier=gold"]);
    machine.done(&["backup", "tree", "--source", "tagged"]);
    let plan = machine.json(&["forget", "--keep-within", "50h", "--keep-tag", "tier=gold"]);
    let gone: Vec<String> =
        plan["sources"].as_array().unwrap().iter().flat_map(|s| ids(&s["forgotten"])).collect();
    assert_eq!(gone, points[..1]);
    let one = machine.json(&["forget", "--keep-last", "1", "--source", "tagged"]);
    assert_eq!(
        (one["sources"].as_array().unwrap().len(), &one["sources"][0]["source"]),
        (1, &"tagged".into())
    );
    let young = machine.json(&["forget", "--keep-last", "1", "--source", "s", "--min-age", "50h"]);
    assert!(reasons(&young, &points[1]).is_none(), "stored 60 to 84 hours ago");
    let young = machine.json(&["forget", "--keep-last", "1", "--source", "s", "--min-age", "5d"]);
    assert_eq!(reasons(&young, &points[1]).unwrap(), ["young"]);
    let least = machine.json(&["forget", "--keep-last", "1", "--source", "s", "--least", "2"]);
    assert_eq!(reasons(&least, &points[1]).unwrap(), ["least"]);
}

#[test]
fn rules_that_keep_nothing_or_make_no_sense_are_refused() {
    let (machine, points) = with_past(&[24, 0]);
    let rows: [(&[&str], &str); 11] = [
        (&["--apply"], "these rules keep nothing"),
        (&["--keep-last", "0", "--apply"], "0"),
        (&["--keep-tag", "tier=gold", "--apply"], "none of its points has such a tag"),
        (&["--keep-tag", "gold", "--apply"], "KEY=VALUE"),
        (&["--keep-within", "soon", "--apply"], "no length of time"),
        (&["--keep-daily", "1", "--time-zone", "Nowhere/Land", "--apply"], "no time zone"),
        (&["--keep-daily", "1", "--source", "nobody", "--apply"], "there is no point of nobody"),
        (&[&points[0], "--keep-last", "1", "--apply"], "cannot be used with"),
        (&["--undo", "--keep-last", "1"], "cannot be used with"),
        (&["--keep-last", "1", "--even-last"], "cannot be used with"),
        (&["--even-last", "--apply"], "POINT"),
    ];
    for (words, says) in rows {
        machine.run(&[&["forget"], words].concat()).assert_failed(4, says);
    }
    assert_eq!(listed(&machine, &["--source", "s"]), points);
}

#[test]
fn named_points_go_and_the_last_that_can_be_restored_only_when_told_so() {
    let (machine, points) = with_past(&[48, 24, 0]);
    machine.done(&["forget", &points[0][..10]]);
    assert_eq!(listed(&machine, &["--source", "s"]), points, "nothing goes without --apply");
    machine.done(&["forget", &points[0][..10], "--apply", "--reason", "a mistake"]);
    assert_eq!(listed(&machine, &["--source", "s"]), points[1..]);
    let told = machine.done(&["points", "--forgotten"]);
    assert!(String::from_utf8_lossy(&told.out).contains("a mistake"), "{told}");

    let refused = machine.run(&["forget", &points[1], &points[2], "--apply"]);
    refused.assert_failed(4, "it is the newest of its source that can be restored");
    refused.assert_failed(4, "--even-last");
    machine.run(&["forget", "fffffffff", "--apply"]).assert_failed(4, "no point");
    machine.run(&["forget", "--undo", &points[1]]).assert_failed(4, "no forgotten point");
    machine.done(&["forget", &points[1], &points[2], "--apply", "--even-last"]);
    assert!(machine.json(&["points"])["points"].as_array().unwrap().iter().all(|p| p["source"] == "other"));
    machine.done(&["forget", "--undo"]);
    assert_eq!(listed(&machine, &["--source", "s"]), points[1..]);
}

#[test]
fn a_pin_keeps_a_point_from_rules_and_names_and_brings_it_back() {
    let (machine, points) = with_past(&[72, 48, 24, 0]);
    let pinned = machine.json(&["pin", &points[0], "--for", "30d"]);
    let until: jiff::Timestamp = pinned["pinned"][0]["until"].as_str().unwrap().parse().unwrap();
    let days = (i64::try_from(until.as_nanosecond()).unwrap() - World::real().now_ns()) as f64 / DAY as f64;
    assert!((29.9..30.2).contains(&days), "{days}");
    assert!(machine.json(&["pin", &points[1]])["pinned"][0]["until"].is_null());
    let plan = machine.json(&["forget", "--source", "s", "--keep-last", "1"]);
    assert_eq!(reasons(&plan, &points[0]).unwrap(), ["pinned"]);
    assert_eq!(reasons(&plan, &points[1]).unwrap(), ["pinned"]);
    assert!(reasons(&plan, &points[2]).is_none());
    machine.run(&["forget", &points[0], "--apply"]).assert_failed(4, "it is pinned");
    let shown = machine.json(&["points", "--source", "s"]);
    let columns =
        |number: usize| (shown["points"][number]["pinned"].clone(), &shown["points"][number]["pinned_until"]);
    assert_eq!(columns(0), (true.into(), &pinned["pinned"][0]["until"]));
    assert_eq!((columns(1), columns(2)), ((true.into(), &Value::Null), (false.into(), &Value::Null)));
    let text = machine.done(&["points"]);
    assert!(String::from_utf8_lossy(&text.out).contains("pinned for ever"), "{text}");

    machine.done(&["forget", &points[2], "--apply"]);
    assert_eq!(listed(&machine, &["--forgotten"]), points[2..3]);
    machine.done(&["pin", &points[2], "--for", "1h"]);
    assert_eq!(listed(&machine, &["--source", "s"]), points);
}

#[test]
fn a_hold_is_above_all_until_it_is_released() {
    let (machine, points) = with_past(&[48, 24, 0]);
    machine.run(&["hold", &points[0]]).assert_failed(4, "--reason");
    machine.run(&["hold", "nothing", "--reason", "r"]).assert_failed(4, "no point and no source nothing");
    assert_eq!(ids(&machine.json(&["hold", &points[0], "--reason", "a case"])["points"]), points[..1]);
    let plan = machine.json(&["forget", "--source", "s", "--keep-last", "1"]);
    assert_eq!(reasons(&plan, &points[0]).unwrap(), ["held"]);
    let refused = machine.run(&["forget", &points[0], "--apply", "--even-last"]);
    refused.assert_failed(4, "it is under a legal hold");
    refused.assert_failed(4, &format!("release {}", &points[0][..12]));
    let held = &machine.json(&["points", "--source", "s"])["points"][0]["holds"][0];
    assert_eq!((&held["reason"], &held["source"]), (&"a case".into(), &Value::Null));
    let released = machine.json(&["release", held["hold"].as_str().unwrap()]);
    assert_eq!(ids(&released["points"]), points[..1]);
    machine.run(&["release", &points[0]]).assert_failed(4, "there is no held point");
    machine.done(&["forget", &points[0], "--apply"]);
    machine.done(&["hold", &points[0], "--reason", "after all"]);
    assert_eq!(listed(&machine, &["--source", "s"]), points, "a hold brings back what was forgotten");
    machine.done(&["release", &points[0]]);
    assert_eq!(listed(&machine, &["--source", "s"]), points, "and its end takes nothing away");
}

#[test]
fn a_hold_on_a_source_is_for_its_points_and_those_to_come() {
    let (machine, points) = with_past(&[48, 24, 0]);
    machine.done(&["forget", &points[0], "--apply"]);
    let held = machine.done(&["hold", "s", "--reason", "a case"]);
    assert!(held.err.contains("1 point of it stay"), "{held}");
    let later = machine.json(&["backup", "tree", "--source", "s"])["point"].as_str().unwrap().to_owned();
    let plan = machine.json(&["forget", "--source", "s", "--keep-last", "1"]);
    for point in [&points[1], &points[2], &later] {
        assert!(reasons(&plan, point).unwrap().contains(&"held".to_owned()), "{plan}");
    }
    machine.run(&["release", &later]).assert_failed(4, "held with its whole source");
    let refused = machine.run(&["forget", &later, "--apply"]);
    refused.assert_failed(4, "it is under a legal hold (\"a case\")");
    assert!(refused.err.contains("`seawall release s"), "{refused}");
    let released = machine.json(&["release", "s"]);
    assert_eq!((ids(&released["points"]).len(), ids(&released["released"]).len()), (3, 3));
    machine.done(&["forget", "--source", "s", "--keep-last", "1", "--apply"]);
    assert_eq!(listed(&machine, &["--source", "s"]), [later]);
    machine.done(&["catalog", "check"]);
}

fn id_of(point: &str) -> PointId {
    let bytes: Vec<u8> = (0..16).map(|n| u8::from_str_radix(&point[2 * n..2 * n + 2], 16).unwrap()).collect();
    PointId(bytes.try_into().unwrap())
}

fn guard(now: i64) -> Guard {
    Guard { now, least: 1, young_since: i64::MAX }
}

#[test]
fn a_host_whose_clock_is_ten_years_ahead_forgets_nothing_that_is_pinned_and_its_points_push_out_no_other() {
    let (machine, points) = with_past(&[48, 24, 0]);
    machine.done(&["pin", &points[0], "--for", "30d"]);
    let far = World::real().now_ns() + 3650 * DAY;
    let ahead = host_at(&machine, "ahead", far);
    let moment = ahead.moment();
    assert!(moment.is_doubtful() && moment.believed() < World::real().now_ns() + 2 * DAY, "{moment:?}");
    let pinned = BTreeSet::from([id_of(&points[0])]);
    let refused = ahead.forget(&pinned, "old", guard(moment.believed()), Last::Stays).unwrap_err();
    assert!(matches!(refused, repo::Error::Kept { reason: Reason::Pinned, .. }), "{refused}");

    let odd = point_at(&machine, "ahead", "s", far + HOUR);
    let seen = host_at(&machine, "ahead", far + 2 * HOUR);
    let now = seen.moment().believed();
    let fold = seen.fold();
    let there = fold.candidates("home", now);
    assert!(there.iter().all(|point| point.is_ahead == (point.id == id_of(&odd))), "{there:?}");
    let plan = machine.json(&["forget", "--source", "s", "--keep-last", "1", "--keep-within", "30h"]);
    assert_eq!(reasons(&plan, &odd).unwrap(), ["clock_ahead"]);
    assert_eq!(reasons(&plan, &points[2]).unwrap(), ["last", "within", "newest_restorable", "least"]);
    assert_eq!(reasons(&plan, &points[1]).unwrap(), ["within"]);
    assert!(!plan["notes"].to_string().contains("clock"), "this host's clock is borne out: {plan}");
    assert!(plan["notes"].to_string().contains("of several hosts (ahead, past)"), "{plan}");
}

#[test]
fn a_clock_that_no_other_host_bears_out_is_told_and_believed_only_when_asked_to() {
    let machine = with_tree();
    let past = point_at(&machine, "past", "s", noon() - 400 * DAY);
    let mine: Vec<String> = (0..2)
        .map(|_| machine.json(&["backup", "tree", "--source", "s"])["point"].as_str().unwrap().to_owned())
        .collect();
    let words = ["forget", "--source", "s", "--keep-last", "1"];
    let plan = machine.json(&words);
    assert!(plan["notes"][0].as_str().unwrap().contains("--trust-clock"), "{plan}");
    assert_eq!(reasons(&plan, &mine[0]).unwrap(), ["clock_ahead"]);
    assert!(machine.done(&words).err.contains("no other host has stated a time after"));
    let plan = machine.json(&[&words[..], &["--trust-clock"]].concat());
    assert!(!plan["notes"].to_string().contains("clock"), "{plan}");
    assert_eq!(ids(&plan["sources"][0]["forgotten"]), [past, mine[0].clone()]);
}

#[test]
fn a_damaged_point_does_not_take_the_place_of_a_sound_one() {
    let machine = with_tree();
    let sound = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    fs::write(machine.at("tree/large"), odd::noise(1, 3 << 20)).unwrap();
    let damaged = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    flip(&largest_pack(&machine.repository()), [1_000_000]);
    assert_eq!(machine.run(&["verify", "--level", "L1"]).code, 3);
    let plan = machine.json(&["forget", "--keep-last", "1"]);
    assert_eq!(reasons(&plan, &sound).unwrap(), ["last", "newest_restorable", "least"]);
    assert_eq!(ids(&plan["sources"][0]["forgotten"]), [damaged]);
    machine.run(&["forget", &sound, "--apply"]).assert_failed(4, "it is the newest of its source");
    machine.done(&["forget", "--keep-last", "1", "--apply"]);
    machine.done(&["restore", "latest", "--into", "out"]);
}

#[test]
fn two_that_forget_and_one_that_backs_up_at_once_leave_what_each_of_them_keeps() {
    let (machine, points) = with_past(&[96, 72, 48, 24, 0]);
    let stranger = Machine::with_key_of(&machine);
    for _ in 0..3 {
        let words = ["forget", "--source", "s", "--keep-last", "2", "--apply"];
        let by_name = ["forget", &points[0], &points[1], "--apply"];
        let backing_up = ["backup", "tree", "--source", "s"];
        let running = [machine.start(&words), stranger.start(&by_name), machine.start(&backing_up)];
        for child in running {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(output.status.code(), Some(0 | 4)), "{:?}: {said}", output.status);
            assert!(!said.contains("panicked"), "{said}");
        }
        let left = listed(&machine, &["--source", "s"]);
        assert!((2..=3).contains(&left.len()), "{left:?}");
        machine.done(&["log", "--verify"]);
        machine.done(&["verify", "--source", "s"]);
    }
}

#[test]
fn what_a_sweep_took_is_gone_for_undo_pin_and_hold_and_nothing_is_said_of_it() {
    let machine = Machine::with_repository();
    fs::create_dir(machine.at("tree")).unwrap();
    fs::write(machine.at("tree/large"), odd::noise(1, 3 << 20)).unwrap();
    let first = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    fs::write(machine.at("tree/large"), odd::noise(2, 3 << 20)).unwrap();
    let second = machine.json(&["backup", "tree"])["point"].as_str().unwrap().to_owned();
    machine.done(&["forget", &first, "--apply"]);
    machine.done(&["sweep", "--apply"]);
    let rows: [&[&str]; 4] = [
        &["forget", "--undo"],
        &["forget", "--undo", &first],
        &["pin", &first],
        &["hold", &first, "--reason", "a case"],
    ];
    for words in rows {
        machine.run(words).assert_failed(4, "is gone: a sweep took part of what is needed");
        assert_eq!(listed(&machine, &[]), std::slice::from_ref(&second));
    }
    let forgotten = machine.json(&["points", "--forgotten"])["points"].clone();
    assert_eq!((&forgotten[0]["id"], &forgotten[0]["gone"]), (&json!(first), &json!(true)), "{forgotten}");
    machine.done(&["backup", "tree"]);
    machine.done(&["forget", &second, "--apply"]);
    let forgotten = machine.done(&["points", "--forgotten"]);
    for (point, state) in [(&first, "gone: swept"), (&second, "can come back")] {
        let line =
            forgotten.out_text().lines().find(|line| line.starts_with(&point[..12])).unwrap().to_owned();
        assert!(line.ends_with(state), "{line}");
    }
    machine.done(&["forget", "--undo"]);
    machine.done(&["verify"]);
    machine.done(&["restore", &second, "--into", "out"]);
}

#[test]
fn a_host_that_may_only_add_can_neither_forget_nor_keep() {
    let (machine, points) = with_past(&[24, 0]);
    machine.done(&["key", "export-writer", "only.key", "--name", "only"]);
    let rows: [&[&str]; 5] = [
        &["forget", &points[0], "--apply"],
        &["forget", "--undo"],
        &["pin", &points[0]],
        &["hold", "s", "--reason", "r"],
        &["release", "s"],
    ];
    for words in rows {
        let said = machine.run(&[words, &["--key-file", "only.key", "--state", "only"]].concat());
        said.assert_failed(4, "administrator");
    }
}
