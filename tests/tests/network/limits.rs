//! Bytes per second, as they are asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::proxy::{Manners, Proxy};
use tests::s3::Server;
use tests::seawall::Machine;

use crate::{assert_same, plant, quickly, server};

const RATE: u64 = 2_000_000;

/// The bytes that passed while this ran, sampled: the highest rate over a second, and the whole.
fn watched(passed: impl Fn() -> u64 + Sync, work: impl FnOnce()) -> (u64, u64, Duration) {
    let ended = AtomicBool::new(false);
    let (begin, first) = (Instant::now(), passed());
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut samples = vec![first];
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                samples.push(passed());
            }
            samples.windows(11).map(|second| second[10] - second[0]).max().unwrap_or(0)
        });
        work();
        let took = begin.elapsed();
        ended.store(true, Ordering::Relaxed);
        (sampler.join().unwrap(), passed() - first, took)
    })
}

/// Asserts that so many bytes took as long as the limit says, with 15 % of freedom and half a second of start and end.
fn assert_rate(what: &str, bytes: u64, took: Duration) {
    let expected = bytes as f64 / RATE as f64;
    let (low, high) = (expected * 0.85, expected * 1.15 + 0.7);
    assert!(
        (low..high).contains(&took.as_secs_f64()),
        "{what}: {bytes} bytes took {took:?}, not {expected} s"
    );
}

fn through_proxy(server: &Server) -> (Machine, Proxy) {
    let proxy = Proxy::start(Manners::default());
    let mut machine = Machine::with_s3(server);
    machine.done(&["init"]);
    plant(&machine, 1, 1);
    machine.set("HTTP_PROXY", &proxy.authority());
    (machine, proxy)
}

/// Uploads of several packs, and downloads of many ranges, run at once.
#[test]
fn over_the_network_limits_hold_both_ways_and_for_all_requests_together() {
    let server = server();
    let (machine, proxy) = through_proxy(&server);
    std::fs::remove_file(machine.at("tree/noise")).unwrap();
    for number in 0..10 {
        let noise = tests::odd::noise(number, 900_000);
        std::fs::write(machine.at(&format!("tree/{number}")), noise).unwrap();
    }
    let (peak, sent, took) = watched(
        || proxy.bytes().0,
        || {
            machine.done(&["backup", "tree", "--limit-upload", "2M"]);
        },
    );
    assert!(sent > 9_000_000, "{sent}");
    assert_rate("up", sent, took);
    // The line's own buffers swallow some at the start.
    assert!(peak < RATE * 7 / 4, "up: {peak} bytes in one second");
    let (peak, fetched, took) = watched(
        || proxy.bytes().1,
        || {
            machine.done(&["restore", "latest", "--into", "out", "--limit-download", "2M"]);
        },
    );
    assert!(fetched > 9_000_000, "{fetched}");
    assert_rate("down", fetched, took);
    assert!(peak < RATE * 4, "down: {peak} bytes in one second");
    assert_same(&machine);
}

#[test]
fn on_a_disk_limits_hold_both_ways() {
    let machine = Machine::with_repository();
    plant(&machine, 3, 8_000_000);
    let begin = Instant::now();
    machine.done(&["backup", "tree", "--limit-upload", "2M"]);
    assert_rate("up", 8_000_000, begin.elapsed());
    let begin = Instant::now();
    machine.done(&["restore", "latest", "--into", "out", "--limit-download", "2M"]);
    assert_rate("down", 8_000_000, begin.elapsed());
    assert_same(&machine);
}

#[test]
fn a_rate_that_cannot_be_read_is_a_wrong_request() {
    let machine = Machine::with_repository();
    for flag in ["--limit-upload", "--limit-download"] {
        for bad in ["", "fast", "-1M", "0", "1X", "2M/s", "1e6"] {
            let said = quickly(&machine, &["points", &format!("{flag}={bad}")]);
            said.assert_failed(4, &format!("{bad} is not a number of bytes"));
            said.assert_failed(4, flag);
        }
    }
}

/// What waits for its turn under a limit is given up at once by whoever is told to stop.
#[test]
fn a_limit_keeps_nobody_waiting_who_asked_to_stop() {
    use rustix::process::{Pid, Signal, kill_process};
    let machine = Machine::with_repository();
    plant(&machine, 3, 60_000_000);
    let child = machine.start(&["backup", "tree", "--limit-upload", "1M"]);
    std::thread::sleep(Duration::from_secs(3));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let begin = Instant::now();
    let said = tests::seawall::Said::of(&["backup"], child.wait_with_output().unwrap());
    assert_eq!(said.code, 130, "{said}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}: {said}", begin.elapsed());
}
