//! Servers that tests start as processes: our S3 server, and those that others wrote. Each listens on a free port of the
//! loopback and ends with its test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process that ends when this is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// The process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

/// A port that nobody listens on.
///
/// # Panics
///
/// If there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Starts `command` and waits until `port` takes connections.
///
/// # Panics
///
/// If it ends at once, or does not listen after a minute.
pub fn started(command: &mut Command, port: u16) -> Running {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut running = Running(child.unwrap_or_else(|why| panic!("{command:?}: {why}")));
    for _ in 0..600 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return running;
        }
        let ended = running.0.try_wait().expect("a child can be asked");
        assert!(ended.is_none(), "{command:?} ended at once");
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{command:?} does not listen after a minute");
}

/// The program that a variable names; none, and a word about it, where it names none.
pub fn program(variable: &str, test: &str) -> Option<String> {
    let program = std::env::var(variable).ok().filter(|path| Path::new(path).exists());
    if program.is_none() {
        crate::skipped(&format!("{test}: {variable} names no program"));
    }
    program
}

/// moto with a bucket `bucket`, and its endpoint; none where it is not installed.
///
/// # Panics
///
/// If it does not work.
pub fn moto(test: &str) -> Option<(Running, String)> {
    let moto = program("SEAWALL_MOTO_SERVER", test)?;
    let port = free_port();
    let running = started(Command::new(moto).args(["-H", "127.0.0.1", "-p", &port.to_string()]), port);
    let answer = put(port, "/bucket");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Some((running, format!("http://127.0.0.1:{port}")))
}

/// Our S3 server in a process of its own with a bucket `bucket` that is kept in `folder`, and its endpoint. `binary` is
/// the path of `s3-server`.
///
/// # Panics
///
/// If it does not start.
pub fn s3_server(binary: &str, folder: &Path) -> (Running, String) {
    let mut command = Command::new(binary);
    command.arg("--dir").arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the server starts");
    let mut endpoint = String::new();
    let out = child.stdout.take().expect("its output is a pipe");
    BufReader::new(out).read_line(&mut endpoint).expect("it says where it listens");
    (Running(child), endpoint.trim().to_owned())
}

/// Sends a request without a body and without credentials.
fn put(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    let request =
        format!("PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    answer
}
