//! A real S3 server for tests: the true protocol over true HTTP, with faults to order.
//!
//! It keeps what it was given in memory or in a directory, checks signatures and checksums, pages listings at
//! 1,000 keys and honours conditions, so that plain tests use the same path as a user's bucket. Orders
//! ([`Orders`]) make it slow, busy, cut off, forgetful or lying. It runs on threads of its own: a test may
//! block, and a test that measures speed starts the binary `s3-server` instead, which is this and nothing
//! more.

mod orders;
mod shelf;
mod trips;
mod verbs;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

pub use orders::{Conditions, Orders};
pub use trips::{Asked, chain};
pub use wire::Counts;

use orders::Desk;
use shelf::Shelf;
use wire::Wire;

use crate::tls::Certificate;

/// Access keys `seawall-1`, `seawall-2` and so on are good too, up to this one.
const KEYS_GIVEN_MAX: u32 = 1_000;

/// What a server begins with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Access key that requests are signed with.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Buckets that are there from the start.
    pub buckets: Vec<String>,
    /// Where objects are kept; none is in memory.
    pub directory: Option<PathBuf>,
    /// Faults from the start.
    pub orders: Orders,
    /// Port on 127.0.0.1; 0 is any free one.
    pub port: u16,
    /// The certificate of a server that speaks TLS and nothing else.
    pub tls: Option<Certificate>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            access_key: "seawall".to_owned(),
            secret_key: "seawall-secret".to_owned(),
            buckets: vec!["bucket".to_owned()],
            directory: None,
            orders: Orders::default(),
            port: 0,
            tls: None,
        }
    }
}

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    config: Config,
    desk: Arc<Desk>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server and returns once it answers.
    ///
    /// # Panics
    ///
    /// If it cannot listen or cannot use its directory: no test could go on.
    pub fn start(config: Config) -> Server {
        let desk = Arc::new(Desk::new(config.orders.clone()));
        let shelf =
            Arc::new(Shelf::open(config.directory.as_deref()).expect("the server's directory is usable"));
        for bucket in &config.buckets {
            shelf.add_bucket(bucket).expect("the server's directory is writable");
        }
        let mut builder =
            S3ServiceBuilder::new(verbs::Verbs { shelf, desk: desk.clone(), uploads: Default::default() });
        let mut keys = SimpleAuth::from_single(config.access_key.clone(), config.secret_key.clone());
        for number in 1..=KEYS_GIVEN_MAX {
            keys.register(format!("seawall-{number}"), wire::SECRET.into());
        }
        builder.set_auth(keys);
        let wire = Arc::new(Wire { service: builder.build(), desk: desk.clone() });

        let listener =
            std::net::TcpListener::bind(("127.0.0.1", config.port)).expect("127.0.0.1 has the port");
        listener.set_nonblocking(true).expect("a listener can be polled");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stop, stopped) = oneshot::channel();
        let tls = config.tls.as_ref().map(Certificate::acceptor);
        let thread = std::thread::spawn(move || serve(listener, wire, tls, stopped));
        Server { address, config, desk, stop: Some(stop), thread: Some(thread) }
    }

    /// Its URL, as in `http://127.0.0.1:4711`.
    pub fn endpoint(&self) -> String {
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// A location in one of its buckets.
    pub fn location(&self, bucket: &str, prefix: &str) -> String {
        let path = if prefix.is_empty() { bucket.to_owned() } else { format!("{bucket}/{prefix}") };
        format!("s3://{path}?endpoint={}", self.endpoint())
    }

    /// The environment variables that a client needs.
    pub fn environment(&self) -> [(String, String); 3] {
        [
            ("AWS_ACCESS_KEY_ID".to_owned(), self.config.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), self.config.secret_key.clone()),
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ]
    }

    /// Changes the orders.
    pub fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.desk.change(change);
    }

    /// All requests so far, in the order in which they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.desk.asked()
    }

    /// Requests so far, by what became of them.
    pub fn counts(&self) -> Counts {
        self.desk.counts()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the server has already been printed, and a test that it hurt has failed.
            let _ = thread.join();
        }
    }
}

fn serve(
    listener: std::net::TcpListener,
    wire: Arc<Wire>,
    tls: Option<TlsAcceptor>,
    mut stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("the listener can be polled");
        loop {
            let accepted = tokio::select! {
                _ = &mut stopped => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            // Latency is ordered, never an accident of small packets.
            let _ = stream.set_nodelay(true);
            let (wire, tls) = (wire.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => connection(stream, wire).await,
                    Some(tls) => {
                        // Who does not like the certificate hangs up.
                        if let Ok(stream) = tls.accept(stream).await {
                            connection(stream, wire).await;
                        }
                    }
                }
            });
        }
    });
    runtime.shutdown_background();
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, wire: Arc<Wire>) {
    let answer = hyper::service::service_fn(move |request| {
        let wire = wire.clone();
        async move { wire.answer(request).await }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    // Clients hang up, and bodies are cut on order; both end here as errors that nobody needs.
    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
}
