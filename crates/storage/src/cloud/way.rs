//! What all requests to one place share: trusted authorities, proxies, limits of bytes on the line, and the HTTP clients
//! that follow from them.
//!
//! Limits are kept here and not around the store, because an object is as large as seconds of a slow line: paid for as
//! a whole, it would fill the line while it moves and leave it empty after.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use object_store::ClientOptions;
use object_store::client::ClientConfigKey;
use url::Url;
use world::World;

use super::courier::chain;
use super::proxies::Proxies;
use crate::meter::{Meter, Meters};
use crate::{Environment, Settings};

pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Where no instance metadata are, nobody shall wait for them.
const METADATA_CONNECT_MAX: Duration = Duration::from_secs(1);
/// Shorter than the minute after which many servers and balancers close an idle connection.
const IDLE_MAX: Duration = Duration::from_secs(45);
/// An upload slower than 128 KiB/s (1 Mbit/s) is taken for a broken line.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 128 * 1024;
/// Bytes that are sent at once where there is a limit.
const STEP_BYTES: usize = 32 * 1024;
/// The most that one read of a body brings.
const READ_BYTES_MAX: u64 = 512 * 1024;

#[derive(Debug)]
pub(super) struct Way {
    pub(super) world: World,
    pub(super) proxies: Arc<Proxies>,
    pub(super) meters: Meters,
    /// Requests that share a limit.
    in_flight: u64,
    authorities: Vec<reqwest::Certificate>,
    /// Places beside the usual ones that give credentials.
    givers: Vec<Url>,
    /// Whether any answer has come yet.
    pub(super) known: AtomicBool,
    clients: Mutex<Vec<(Kind, reqwest::Client)>>,
}

/// What clients of one place differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    plain: bool,
    connect_max: Duration,
}

impl Way {
    /// The way that `settings` describe to `endpoint`, which is checked.
    pub(super) fn open(endpoint: &Url, settings: &Settings, world: &World) -> Result<Way, String> {
        let environment = &settings.environment;
        let proxies = Proxies::of(environment);
        proxies.check(endpoint)?;
        let way = Way {
            world: world.clone(),
            proxies: Arc::new(proxies),
            meters: Meters::of(&settings.limits),
            in_flight: settings.limits.in_flight as u64,
            authorities: settings.ca_file.as_deref().map(authorities).transpose()?.unwrap_or_default(),
            givers: givers(environment),
            known: AtomicBool::new(false),
            clients: Mutex::default(),
        };
        let kind = Kind { plain: endpoint.scheme() == "http", connect_max: CONNECT_MAX };
        way.client(kind).map_err(|why| match &settings.ca_file {
            Some(file) => format!("the authority file {}: {why}", file.display()),
            None => why,
        })?;
        Ok(way)
    }

    /// The client that the library asks for. Its options matter only in what it changes by itself.
    pub(super) fn client_for(&self, options: &ClientOptions) -> Result<reqwest::Client, String> {
        let asked = |key| options.get_config_value(&key);
        let metadata = asked(ClientConfigKey::ConnectTimeout).as_deref() == Some("1s");
        self.client(Kind {
            plain: asked(ClientConfigKey::AllowHttp).as_deref() == Some("true"),
            connect_max: if metadata { METADATA_CONNECT_MAX } else { CONNECT_MAX },
        })
    }

    fn client(&self, kind: Kind) -> Result<reqwest::Client, String> {
        let mut clients = self.clients.lock().expect("no holder of this lock panics");
        if let Some((_, client)) = clients.iter().find(|(made, _)| *made == kind) {
            return Ok(client.clone());
        }
        let proxies = self.proxies.clone();
        // Ours decide about time and repetition; plain HTTP only where the location says so.
        let builder = reqwest::Client::builder()
            .user_agent(concat!("seawall/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(kind.connect_max)
            .pool_idle_timeout(IDLE_MAX)
            .http1_only()
            // Where a server sends us is not where the location says, and a request is signed for one host only.
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!kind.plain)
            .tls_certs_merge(self.authorities.iter().cloned())
            .proxy(reqwest::Proxy::custom(move |url| proxies.to(url).map(super::proxies::Proxy::url)));
        #[cfg(feature = "alone")]
        let builder = super::alone::equip(builder)?;
        let client = builder.build().map_err(|e| chain(&e))?;
        clients.push((kind, client.clone()));
        Ok(client)
    }

    /// Whether this is asked for credentials, and not for objects of the same server.
    pub(super) fn is_giver(&self, url: &Url) -> bool {
        let is = |giver: &Url| giver.authority() == url.authority() && giver.path() == url.path();
        self.givers.iter().any(is)
    }

    /// How long sending `bytes` may take. Under a limit, all others in flight may be served before.
    pub(super) fn upload_max(&self, bytes: u64) -> Duration {
        let shared = self.meters.up.as_ref().map_or(Duration::ZERO, |up| self.shared(up, bytes));
        Duration::from_secs(bytes / UPLOAD_BYTES_PER_SECOND_MIN).max(shared)
    }

    /// How long a body that comes may be silent because others are served before.
    pub(super) fn silence_max(&self) -> Duration {
        self.meters.down.as_ref().map_or(Duration::ZERO, |down| self.shared(down, READ_BYTES_MAX))
    }

    fn shared(&self, meter: &Meter, bytes: u64) -> Duration {
        meter.cost(bytes.saturating_mul(self.in_flight))
    }

    /// A body as it goes out.
    pub(super) fn outgoing(&self, bytes: Bytes) -> reqwest::Body {
        match &self.meters.up {
            Some(up) if !bytes.is_empty() => {
                reqwest::Body::wrap_stream(paced(bytes, up.clone(), self.world.clone()))
            }
            _ => bytes.into(),
        }
    }
}

/// `bytes` in small steps, each paid for before it goes.
fn paced(
    bytes: Bytes,
    meter: Arc<Meter>,
    world: World,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::unfold(bytes, move |mut left| {
        let (meter, world) = (meter.clone(), world.clone());
        async move {
            if left.is_empty() {
                return None;
            }
            let step = left.split_to(left.len().min(STEP_BYTES));
            meter.pay(&world, step.len() as u64).await;
            Some((Ok(step), left))
        }
    })
}

/// The certificates in a PEM file.
fn authorities(file: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let told = |why: String| format!("the authority file {}: {why}", file.display());
    let pem = std::fs::read(file).map_err(|e| told(e.to_string()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| told(chain(&e)))?;
    if certificates.is_empty() {
        return Err(told("it holds no certificate in PEM form (BEGIN CERTIFICATE)".into()));
    }
    Ok(certificates)
}

/// Where the environment says that credentials come from.
fn givers(environment: &Environment) -> Vec<Url> {
    let variables = ["AWS_ENDPOINT_URL_STS", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    variables.iter().filter_map(|name| Url::parse(environment.get(name)?).ok()).collect()
}
