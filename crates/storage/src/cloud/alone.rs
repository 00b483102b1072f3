//! What a machine with nothing installed does not give: the authorities to trust, and a way to look names up.
//!
//! The authorities are those that Mozilla trusts, beside whatever the machine has and `--ca-file` names. Names are looked
//! up without the C library, because a static one would load modules of another version from the machine it runs on:
//! first in `/etc/hosts`, then at the servers of `/etc/resolv.conf`. Where there is no such file, public servers are asked,
//! as a restore that finds no server is worse than one that tells a stranger the name of the store.

use std::net::IpAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{CLOUDFLARE, LookupIpStrategy, QUAD9, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use object_store::client::{DnsFuture, DnsResolver};
use object_store::{Certificate, ClientOptions};

/// Gives a client what the machine may not have.
pub(super) fn equip(options: ClientOptions) -> Result<ClientOptions, String> {
    let mut options = options.with_dns_resolver(std::sync::Arc::new(Names));
    for authority in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let certificate =
            Certificate::from_der(authority).map_err(|e| format!("a built-in authority: {e}"))?;
        options = options.with_root_certificate(certificate);
    }
    Ok(options)
}

/// Looks names up anew for each connection, so that what is mended in `/etc` meanwhile is seen.
#[derive(Debug)]
struct Names;

impl DnsResolver for Names {
    fn resolve(&self, host: &str) -> DnsFuture {
        let host = host.to_owned();
        Box::pin(async move { Ok(look_up(&host).await?) })
    }
}

async fn look_up(host: &str) -> Result<Vec<IpAddr>, NetError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|_| public());
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let found = builder.build()?.lookup_ip(host).await?;
    Ok(found.iter().collect())
}

fn public() -> hickory_resolver::ResolverBuilder<TokioRuntimeProvider> {
    let mut config = ResolverConfig::udp_and_tcp(&QUAD9);
    for server in ResolverConfig::udp_and_tcp(&CLOUDFLARE).name_servers() {
        config.add_name_server(server.clone());
    }
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}
