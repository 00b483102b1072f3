//! Names that lead nowhere, and servers that say nothing.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tests::s3::{Orders, Server};
use tests::seawall::{Machine, Said, program};
use tests::servers::free_port;

use crate::{assert_told, order, plant, quickly, server};

/// A machine whose repository is at an endpoint that may be wrong.
fn machine_at(endpoint: &str) -> Machine {
    let mut machine = Machine::with_s3(&server());
    machine.set("SEAWALL_REPO", &format!("s3://bucket/repository?endpoint={endpoint}"));
    machine
}

/// A running program, and when it said what.
struct Watched {
    child: Child,
    lines: mpsc::Receiver<(Duration, String)>,
}

impl Watched {
    fn start(machine: &Machine, words: &[&str]) -> Watched {
        program();
        let begin = Instant::now();
        let mut child = machine.command(words).stdout(Stdio::null()).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                if told.send((begin.elapsed(), line)).is_err() {
                    return;
                }
            }
        });
        Watched { child, lines }
    }

    /// What it says first, within the two seconds that a person waits, and a moment for slow machines.
    fn first(&self) -> String {
        let (at, line) = self.lines.recv_timeout(Duration::from_secs(10)).expect("it says something");
        assert!(at < Duration::from_millis(2_900), "after {at:?}: {line}");
        line
    }

    /// Ends it as Ctrl-C does, and gives its exit code.
    fn interrupt(mut self) -> i32 {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let begin = Instant::now();
        let code = self.child.wait().unwrap().code();
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        code.unwrap()
    }
}

/// Where names cannot be looked up at all, that is a fault which may pass, and is tried again; `.invalid` is no name
/// anywhere.
#[test]
fn a_host_name_that_leads_nowhere_is_told_at_once() {
    let machine = machine_at("https://no-such-host.invalid:9000");
    let watched = Watched::start(&machine, &["points"]);
    let first = watched.first();
    assert!(first.contains("no-such-host.invalid:9000") && first.contains("lookup address"), "{first}");
    let said = machine.run(&["points", "--retry-for", "1s"]);
    said.assert_failed(6, "no-such-host.invalid:9000");
    if !first.contains("Temporary failure") {
        let said = quickly(&machine, &["points"]);
        assert_told(&said, 6, &["there is no host of this name", "correct the endpoint"]);
        assert!(!said.err.contains("tried"), "{said}");
    }
}

#[test]
fn a_port_where_nobody_listens_is_told_within_two_seconds_and_ctrl_c_ends_the_wait() {
    let port = free_port();
    let machine = machine_at(&format!("http://127.0.0.1:{port}"));
    let watched = Watched::start(&machine, &["points", "--retry-for", "10m"]);
    let first = watched.first();
    assert!(first.starts_with("note:") && first.contains("refused") && first.contains("600 s"), "{first}");
    assert_eq!(watched.interrupt(), 130);
    let begin = Instant::now();
    let said = machine.run(&["points"]);
    assert_told(&said, 6, &[&port.to_string(), "refused", "tried", "try again later"]);
    assert_eq!(said.err.matches("note:").count(), 1, "told once: {said}");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn a_server_that_takes_the_connection_and_says_nothing_is_told_too() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let machine = machine_at(&format!("http://{address}"));
    let watched = Watched::start(&machine, &["points"]);
    let first = watched.first();
    assert!(first.contains(&address.to_string()) && first.contains("does not answer yet"), "{first}");
    assert_eq!(watched.interrupt(), 130);
}

#[test]
fn who_waits_for_a_server_that_comes_up_later_gets_the_backup() {
    let port = free_port();
    let machine = machine_at(&format!("http://127.0.0.1:{port}"));
    plant(&machine, 1, 100_000);
    let watched = Watched::start(&machine, &["init", "--retry-for", "1m"]);
    watched.first();
    let config = tests::s3::Config { port, ..tests::s3::Config::default() };
    let _server = Server::start(config);
    let mut watched = watched;
    assert_eq!(watched.child.wait().unwrap().code(), Some(0));
    machine.done(&["backup", "tree"]);
}

#[test]
fn a_server_that_goes_away_in_mid_run_is_named_after_two_seconds_and_waited_for() {
    let server = server();
    let machine = Machine::with_s3(&server);
    machine.done(&["init"]);
    plant(&machine, 1, 100_000);
    order(&server, Orders { unavailable_next: 6, busy_after: 8, ..Orders::default() });
    let said = machine.run(&["backup", "tree"]);
    assert_eq!(said.code, 0, "{said}");
    assert!(said.err.matches("it is tried again").count() <= 1, "{said}");
}

#[test]
fn a_time_that_is_none_is_a_wrong_request() {
    let machine = machine_at("http://127.0.0.1:9");
    for bad in ["", "5", "soon", "0s", "-1s"] {
        let said: Said = quickly(&machine, &["points", &format!("--retry-for={bad}")]);
        said.assert_failed(4, "is not a time such as 90s, 15m or 2h");
    }
}

/// A request is signed for one host; what it carries is nobody else's, whoever sends us there.
#[test]
fn whoever_sends_us_elsewhere_is_not_followed() {
    use std::io::Write;
    let (here, there) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (from, to) = (here.local_addr().unwrap(), there.local_addr().unwrap());
    let mut machine = machine_at(&format!("http://{from}"));
    machine.set("AWS_SESSION_TOKEN", "a token for one host");
    std::thread::spawn(move || {
        for stream in here.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while head.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                line.clear();
            }
            let answer = format!(
                "HTTP/1.1 307 Elsewhere\r\nLocation: http://{to}/steal\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let said = quickly(&machine, &["points"]);
    assert!(said.code == 4 && said.err.contains("307"), "{said}");
    there.set_nonblocking(true).unwrap();
    assert!(there.accept().is_err(), "nobody came there");
}
