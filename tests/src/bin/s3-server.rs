//! The S3 server of the tests as a process of its own, for measurements and for trying things by hand.
//!
//! Prints its endpoint as one line, then serves until it is told to end (SIGTERM, SIGINT) or the pipe at its
//! standard input is closed, as it is when the process that started it ends.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program, and its endpoint is its output"
)]

use std::io::{Read, Write};
use std::process::ExitCode;

use tests::s3::{Config, Server};
use tests::tls::{Authority, Certificate, Valid};

const USAGE: &str =
    "s3-server [--port N] [--dir DIR] [--bucket NAME]... [--access-key K] [--secret-key S] [--orders JSON]
          [--tls FILE]   speak TLS with a certificate of an authority made for this run, whose own is put into FILE
While it runs: PUT JSON to ENDPOINT/-/orders, GET ENDPOINT/-/orders, GET ENDPOINT/-/counts, GET ENDPOINT/-/asked";

fn main() -> ExitCode {
    let config = match parsed(std::env::args().skip(1)) {
        Ok(config) => config,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(4);
        }
    };
    let server = Server::start(config);
    println!("{}", server.endpoint());
    std::io::stdout().flush().expect("whoever started this reads the endpoint");
    wait_for_the_end();
    ExitCode::SUCCESS
}

fn parsed(mut args: impl Iterator<Item = String>) -> Result<Config, String> {
    let mut config = Config { buckets: Vec::new(), ..Config::default() };
    while let Some(option) = args.next() {
        let value = args.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--port" => config.port = value.parse().map_err(|_| format!("{value} is no port"))?,
            "--dir" => config.directory = Some(value.into()),
            "--bucket" => config.buckets.push(value),
            "--access-key" => config.access_key = value,
            "--secret-key" => config.secret_key = value,
            "--tls" => config.tls = Some(certified(&value)?),
            "--orders" => config.orders = serde_json::from_str(&value).map_err(|e| e.to_string())?,
            _ => return Err(format!("{option} is not known")),
        }
    }
    if config.buckets.is_empty() {
        config.buckets = Config::default().buckets;
    }
    Ok(config)
}

/// A certificate for 127.0.0.1 of a new authority, whose own goes into `file`.
fn certified(file: &str) -> Result<Certificate, String> {
    let authority = Authority::new();
    std::fs::write(file, authority.pem()).map_err(|e| format!("{file}: {e}"))?;
    Ok(authority.certify("127.0.0.1", Valid::Now))
}

fn wait_for_the_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a thread can wait").block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate()).expect("signals can be waited for");
        let mut int = signal(SignalKind::interrupt()).expect("signals can be waited for");
        let (closed, mut input) = tokio::sync::mpsc::channel::<()>(1);
        if is_pipe() {
            std::thread::spawn(move || {
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                drop(closed);
            });
        } else {
            std::mem::forget(closed);
        }
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = input.recv() => {}
        }
    });
}

/// Whether somebody holds the other end of standard input; a file or `/dev/null` would seem closed at once.
fn is_pipe() -> bool {
    rustix::fs::fstat(std::io::stdin())
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo)
}
