//! A proxy that forwards, opens tunnels and writes down what it was asked for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

/// A running proxy; it stops when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    noted: Arc<Noted>,
    runtime: Option<Runtime>,
}

/// What it writes down.
#[derive(Debug, Default)]
struct Noted {
    asked: Mutex<Vec<String>>,
    up: AtomicU64,
    down: AtomicU64,
}

/// What it does with requests.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// `Proxy-Authorization` without which everything is answered with 407.
    pub wants: Option<String>,
    /// Everything is answered with this status.
    pub refuses: Option<u16>,
}

impl Proxy {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If it cannot listen.
    pub fn start(manners: Manners) -> Proxy {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("threads can be started");
        let listener = runtime.block_on(async { listen() }).expect("the loopback has a port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let noted = Arc::new(Noted::default());
        let shared = noted.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manners, noted) = (manners.clone(), shared.clone());
                // Clients and servers hang up, which nobody needs to know.
                tokio::spawn(async move { serve(stream, &manners, &noted).await.ok() });
            }
        });
        Proxy { address, noted, runtime: Some(runtime) }
    }

    /// Its host and port.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The first line of each request since this was asked last.
    ///
    /// # Panics
    ///
    /// If the proxy panicked.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.noted.asked.lock().expect("no holder of this lock panics"))
    }

    /// Bytes that were passed on so far, to servers and from them.
    pub fn bytes(&self) -> (u64, u64) {
        (self.noted.up.load(Ordering::Relaxed), self.noted.down.load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Listens with small buffers, so that what was passed on has nearly arrived.
fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(64 << 10)?;
    socket.set_recv_buffer_size(64 << 10)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    socket.listen(128)
}

async fn serve(mut client: TcpStream, manners: &Manners, noted: &Noted) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    noted.asked.lock().expect("no holder of this lock panics").push(first.to_owned());
    let is = |line: &&str, name: &str| {
        line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
    };
    let login = rest.lines().find(|line| is(line, "proxy-authorization"));
    let login = login.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned());
    let status = if manners.wants.is_some() && manners.wants != login { Some(407) } else { manners.refuses };
    if let Some(status) = status {
        let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        client.write_all(answer.as_bytes()).await?;
        // What it still sends is read, so that it sees the answer.
        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
        return Ok(());
    }
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, _] = words[..] else { return Ok(()) };
    if method == "CONNECT" {
        let server = TcpStream::connect(target).await?;
        client.write_all(b"HTTP/1.1 200 Go ahead\r\n\r\n").await?;
        return passed_on(client, server, noted).await;
    }
    let plain = target.trim_start_matches("http://");
    let (host, path) = plain.split_once('/').unwrap_or((plain, ""));
    let mut server = TcpStream::connect(host).await?;
    let ours = |line: &&str| !is(line, "proxy-authorization") && !is(line, "connection") && !line.is_empty();
    let kept: Vec<&str> = rest.lines().filter(ours).collect();
    // One request for each connection, so that every one is seen.
    let request = format!("{method} /{path} HTTP/1.1\r\n{}\r\nConnection: close\r\n\r\n", kept.join("\r\n"));
    server.write_all(request.as_bytes()).await?;
    passed_on(client, server, noted).await
}

async fn passed_on(client: TcpStream, server: TcpStream, noted: &Noted) -> std::io::Result<()> {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let up = counted(from_client, to_server, &noted.up);
    let down = counted(from_server, to_client, &noted.down);
    tokio::try_join!(up, down).map(drop)
}

async fn counted(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, bytes: &AtomicU64) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        bytes.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(&buffer[..read]).await?;
    }
}
