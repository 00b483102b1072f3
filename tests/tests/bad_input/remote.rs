//! A region that refuses, is away, breaks off, forgets and lies, over true HTTP.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use tests::s3::{Conditions, Config, Orders, Server};
use tests::seawall::Machine;

use crate::{House, assert_restores, assert_told};

fn server() -> Server {
    Server::start(Config::default())
}

/// Orders these faults alone.
fn order(server: &Server, orders: Orders) {
    server.order(|now| *now = orders);
}

fn no_faults(server: &Server) {
    order(server, Orders::default());
}

#[test]
fn refused_credentials_are_a_wrong_request() {
    let server = server();
    let mut house = House::remote(&server);
    order(&server, Orders { deny: true, ..Orders::default() });
    assert_told(&house.try_to_keep(&[]), 4, &["format", "s3://bucket", "access is denied", "credentials"]);
    no_faults(&server);
    house.machine.set("AWS_SECRET_ACCESS_KEY", "a wrong one");
    assert_told(&house.try_to_keep(&[]), 4, &["access is denied", "SignatureDoesNotMatch"]);
    let said = house.machine.run(&["restore", "latest", "--into", "out"]);
    assert_told(&said, 4, &["access is denied"]);
    assert!(!house.machine.at("out").exists());
    house.machine.set("AWS_SECRET_ACCESS_KEY", &server.environment()[1].1);
    house.is_whole();
}

#[test]
fn an_endpoint_where_nobody_listens_is_unavailable_within_seconds() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server();
    let mut house = House::remote(&server);
    let (right, wrong) =
        (server.location("bucket", "repository"), format!("s3://bucket/repository?endpoint=http://{free}"));
    house.machine.set("SEAWALL_REPO", &wrong);
    let begin = Instant::now();
    assert_told(&house.try_to_keep(&[]), 6, &[&free.to_string(), "refused", "tried", "later"]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    house.machine.set("SEAWALL_REPO", &right);
    house.is_whole();
}

#[test]
fn a_busy_region_is_tried_again_and_one_that_stays_busy_is_unavailable() {
    let server = server();
    let mut house = House::remote(&server);
    order(&server, Orders { unavailable_per_mille: 200, seed: 5, ..Orders::default() });
    let said = house.try_to_keep(&[]);
    assert_eq!(said.code, 0, "{said}");
    assert!(server.counts().spoiled > 0);
    order(&server, Orders { unavailable_per_mille: 1_000, ..Orders::default() });
    let said = house.try_to_keep(&["--retry-for", "3s"]);
    assert_told(&said, 6, &["503", "SlowDown", "tried", "later"]);
    no_faults(&server);
    house.is_whole();
}

#[test]
fn a_line_that_breaks_now_and_then_costs_nothing_but_time() {
    let server = server();
    let mut house = House::remote(&server);
    let breaks = Orders { cut_after: Some(1_000), cut_next: Some(3), ..Orders::default() };
    for kind in ["incremental", "full"] {
        order(&server, breaks.clone());
        let said = house.try_to_keep(&["--kind", kind]);
        assert_eq!(said.code, 0, "{said}");
    }
    order(&server, breaks);
    let (point, truth) = house.points.last().unwrap();
    assert_restores(&house.machine, point, truth);
    assert_eq!(server.counts().spoiled, 9, "each order was carried out");
    no_faults(&server);
    house.is_whole();
}

/// What is cut always at the same place is damage, whether the connection says so or not.
#[test]
fn content_that_always_comes_short_is_damage_and_no_wrong_byte_is_restored() {
    let server = server();
    let mut house = House::remote(&server);
    // Each piece is waited for.
    std::fs::write(house.machine.at("tree/large"), tests::odd::noise(2, 200_000)).unwrap();
    house.keep();
    for quietly in [false, true] {
        let cut = Orders {
            cut_after: Some(10_000),
            cut_quietly: quietly,
            only: Some("packs/".to_owned()),
            ..Orders::default()
        };
        order(&server, cut);
        let out = format!("cut-{quietly}");
        let said = house.machine.run(&["restore", "latest", "--into", &out]);
        assert_eq!(said.code, 3, "{said}");
        assert!(said.err.contains("packs/") && said.err.contains("not restored"), "{said}");
        assert!(!house.machine.at(&out).join("large").exists(), "a part is not left as if it were all");
        // What cannot be read back is stored again.
        let said = house.try_to_keep(&["--kind", "full"]);
        assert!(said.code == 0 || said.err.contains("packs/"), "{said}");
        no_faults(&server);
        house.is_whole();
    }
}

#[test]
fn what_the_region_says_it_stored_and_did_not_is_noticed_before_it_counts() {
    let server = server();
    let mut house = House::remote(&server);
    for (kind, lost) in [("sessions/", 1), ("packs/", 1), ("packs/", 9), ("runs/", 1), ("log/", 1)] {
        order(&server, Orders { lose_next: lost, only: Some(kind.to_owned()), ..Orders::default() });
        let said = house.try_to_keep(&[]);
        assert!(said.code != 0 && said.err.contains(kind), "{said}");
        assert_eq!(said.err.lines().filter(|line| line.starts_with("error:")).count(), 1, "{said}");
        no_faults(&server);
        house.is_whole();
    }
}

#[test]
fn a_region_without_room_is_told_as_that() {
    let server = server();
    let mut house = House::remote(&server);
    for kind in ["sessions/", "packs/", "runs/", "log/"] {
        order(&server, Orders { full_next: 1_000, only: Some(kind.to_owned()), ..Orders::default() });
        assert_told(&house.try_to_keep(&[]), 1, &[kind, "no room left", "507", "make space"]);
        no_faults(&server);
    }
    house.is_whole();
}

#[test]
fn a_write_that_was_done_and_said_to_have_failed_is_done_once() {
    let server = server();
    let mut house = House::remote(&server);
    for kind in ["sessions/", "packs/", "runs/", "log/"] {
        order(&server, Orders { fail_after_next: 2, only: Some(kind.to_owned()), ..Orders::default() });
        let said = house.try_to_keep(&[]);
        assert_eq!(said.code, 0, "{said}");
    }
    assert_eq!(server.counts().spoiled, 8, "each order was carried out");
    house.is_whole();
}

/// Safety rests on list-after-write, so this is a region that must not be used. Even there nothing acknowledged is lost.
#[test]
fn a_listing_that_is_behind_hides_points_only_for_as_long() {
    let server = server();
    let mut house = House::remote(&server);
    order(&server, Orders { list_behind_ms: 1_500, ..Orders::default() });
    std::thread::sleep(Duration::from_millis(1_600));
    for _ in 0..2 {
        let said = house.try_to_keep(&[]);
        assert_eq!(said.code, 0, "{said}");
    }
    std::thread::sleep(Duration::from_millis(1_600));
    let (point, truth) = house.points.last().unwrap();
    assert_restores(&house.machine, point, truth);
    no_faults(&server);
    house.is_whole();
}

#[test]
fn a_region_without_conditional_writes_is_used_without() {
    for conditions in [Conditions::Ignored, Conditions::Refused] {
        let server =
            Server::start(Config { orders: Orders { conditions, ..Orders::default() }, ..Config::default() });
        let mut house = House::remote(&server);
        house.is_whole();
        assert_told(&house.machine.run(&["init"]), 4, &["already holds"]);
    }
}

#[test]
fn a_bucket_that_is_not_there_is_a_wrong_request() {
    let server = server();
    let mut machine = Machine::with_s3(&server);
    machine.set("SEAWALL_REPO", &server.location("no-such-bucket", ""));
    assert_told(&machine.run(&["init"]), 4, &["no-such-bucket", "does not exist", "make the bucket"]);
    assert_told(&machine.run(&["backup", "home"]), 4, &["no-such-bucket", "NoSuchBucket"]);
    machine.set("SEAWALL_REPO", &server.location("bucket", "repository"));
    machine.done(&["init"]);
    House::bare(machine).is_whole();
}
