//! What a machine with nothing installed does not give: the authorities to trust, and a way to look names up.
//!
//! The authorities are those that Mozilla trusts, beside whatever the machine has and `--ca-file` names. Names are looked
//! up without the C library, because a static one would load modules of another version from the machine it runs on:
//! first in `/etc/hosts`, then at the servers of `/etc/resolv.conf`. Where there is no such file nobody is asked: which
//! strangers may learn the name of the store is for people to say.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Where servers for names are written down.
const SERVERS: &str = "/etc/resolv.conf";

/// Gives a client what the machine may not have.
pub(super) fn equip(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, String> {
    let read =
        |der: &_| reqwest::Certificate::from_der(der).map_err(|e| format!("a built-in authority: {e}"));
    let authorities: Vec<_> =
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| read(der)).collect::<Result<_, _>>()?;
    Ok(builder.tls_certs_merge(authorities).dns_resolver(Arc::new(Names)))
}

/// Looks names up anew for each connection, so that what is mended in `/etc` meanwhile is seen.
#[derive(Debug)]
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move { look_up(name.as_str()).await })
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn look_up(host: &str) -> Result<Addrs, Failure> {
    let (mut builder, unserved) = match TokioResolver::builder_tokio() {
        Ok(builder) => (builder, None),
        Err(error) => {
            let nobody = ResolverConfig::default();
            let builder = TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default());
            (builder, Some(error))
        }
    };
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let found = match (builder.build()?.lookup_ip(host).await, unserved) {
        (Ok(found), _) => found,
        (Err(_), Some(error)) => {
            let why = format!(
                "no server for names can be had from {SERVERS} ({error}): write `nameserver ADDRESS` into it, or the \
                 address of {host} into /etc/hosts"
            );
            return Err(why.into());
        }
        (Err(error), None) => return Err(error.into()),
    };
    let addresses: Vec<SocketAddr> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
    Ok(Box::new(addresses.into_iter()))
}
