//! The way out: the proxies that `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` name, and the hosts that `NO_PROXY` excepts,
//! in upper or lower case, as other tools read them.
//!
//! A proxy that is named and cannot be used is refused and never passed by: whoever named it may have no other way, or
//! may not want one. Link-local addresses, where machines ask for their credentials, are always spoken to directly.
//! Credentials in a proxy's URL go to the proxy alone and are in no message.

use std::net::IpAddr;

use url::Url;

use crate::Environment;

/// A proxy and the variable that names it.
#[derive(Clone)]
pub(super) struct Proxy {
    variable: &'static str,
    url: Url,
}

impl std::fmt::Display for Proxy {
    /// Without credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, host) = (self.url.scheme(), self.url.host_str().unwrap_or_default());
        let port = self.url.port_or_known_default().unwrap_or_default();
        write!(f, "{scheme}://{host}:{port}, which {} names", self.variable)
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Proxy {
    /// With credentials.
    pub(super) fn url(&self) -> Url {
        self.url.clone()
    }

    fn parse(variable: &'static str, value: &str) -> Result<Proxy, String> {
        let whole = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let url = Url::parse(&whole).map_err(|why| format!("{variable} names no proxy: {why}"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Proxy { variable, url }),
            scheme => Err(format!(
                "{variable} names a {scheme} proxy; only http://host:port and https://host:port work"
            )),
        }
    }
}

/// Which proxy leads where.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    plain: Option<Result<Proxy, String>>,
    tls: Option<Result<Proxy, String>>,
    excepted: Vec<Excepted>,
}

const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];

impl Proxies {
    pub(super) fn of(environment: &Environment) -> Proxies {
        let named = |own: [&'static str; 2]| {
            let mut variables = own.into_iter().chain(ALL);
            variables.find_map(|name| Some(Proxy::parse(name, environment.get(name)?)))
        };
        let excepted = environment.get("NO_PROXY").or(environment.get("no_proxy")).unwrap_or_default();
        let words = excepted.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
        Proxies {
            plain: named(["HTTP_PROXY", "http_proxy"]),
            tls: named(["HTTPS_PROXY", "https_proxy"]),
            excepted: words.map(Excepted::parse).collect(),
        }
    }

    /// The proxy to `url`; the error is a sentence for people.
    fn find(&self, url: &Url) -> Result<Option<&Proxy>, String> {
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let port = url.port_or_known_default().unwrap_or_default();
        let direct = |excepted: &Excepted| excepted.holds(host, address, port);
        if address.is_some_and(is_link_local) || self.excepted.iter().any(direct) {
            return Ok(None);
        }
        let proxy = if url.scheme() == "http" { &self.plain } else { &self.tls };
        proxy.as_ref().map(|proxy| proxy.as_ref().map_err(Clone::clone)).transpose()
    }

    /// Refuses a way to `url` that cannot be gone.
    pub(super) fn check(&self, url: &Url) -> Result<(), String> {
        self.find(url).map(drop)
    }

    /// The proxy to `url`, which was checked.
    pub(super) fn to(&self, url: &Url) -> Option<&Proxy> {
        self.find(url).ok().flatten()
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        // What Amazon answers at under IPv6.
        IpAddr::V6(address) => address.segments()[..2] == [0xfd00, 0xec2],
    }
}

/// One word of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
enum Excepted {
    All,
    /// Addresses whose first bits are these.
    Net(IpAddr, u32),
    /// A host and all below it, at one port or at all.
    Domain(String, Option<u16>),
}

impl Excepted {
    fn parse(word: &str) -> Excepted {
        if word == "*" {
            return Excepted::All;
        }
        let (address, bits) = word.split_once('/').unwrap_or((word, "128"));
        let address = address.trim_start_matches('[').trim_end_matches(']');
        if let (Ok(address), Ok(bits)) = (address.parse(), bits.parse()) {
            return Excepted::Net(address, bits);
        }
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (word, None),
        };
        match host.parse() {
            Ok(address) if port.is_none() => Excepted::Net(address, 128),
            _ => {
                let host = host.trim_start_matches('*').trim_start_matches('.');
                Excepted::Domain(host.to_ascii_lowercase(), port)
            }
        }
    }

    fn holds(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Excepted::All => true,
            Excepted::Net(net, bits) => address.is_some_and(|address| same_start(*net, address, *bits)),
            Excepted::Domain(domain, at) => {
                let host = host.to_ascii_lowercase();
                let below = host.strip_suffix(domain.as_str());
                at.is_none_or(|at| at == port) && below.is_some_and(|b| b.is_empty() || b.ends_with('.'))
            }
        }
    }
}

fn same_start(a: IpAddr, b: IpAddr, bits: u32) -> bool {
    let differing = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(32_u32.saturating_sub(bits))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            return (a.to_bits() ^ b.to_bits()).checked_shr(128_u32.saturating_sub(bits)).unwrap_or(0) == 0;
        }
        _ => return false,
    };
    differing.unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The proxy to `url`, without the variable's name.
    fn way(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = Proxies::of(&variables.iter().copied().collect());
        let proxy = proxies.find(&Url::parse(url).unwrap()).unwrap().map(ToString::to_string);
        proxy.map(|shown| shown.split(", ").next().unwrap().to_owned())
    }

    #[test]
    fn each_scheme_has_its_variable_in_upper_or_lower_case_and_one_is_for_all() {
        let some = |text: &str| Some(text.to_owned());
        for (variables, plain, tls) in [
            (&[("HTTP_PROXY", "http://p:1")][..], some("http://p:1"), None),
            (&[("https_proxy", "p:2")], None, some("http://p:2")),
            (&[("all_proxy", "https://p")], some("https://p:443"), some("https://p:443")),
            (&[("ALL_PROXY", "a:1"), ("HTTPS_PROXY", "b:2")], some("http://a:1"), some("http://b:2")),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "b:2")], None, some("http://b:2")),
        ] {
            assert_eq!(way(variables, "http://store.example/x"), plain, "{variables:?}");
            assert_eq!(way(variables, "https://store.example/x"), tls, "{variables:?}");
        }
    }

    #[test]
    fn excepted_hosts_are_spoken_to_directly() {
        let direct = |excepted: &str, url: &str| {
            let variables = [("ALL_PROXY", "p:1"), ("no_proxy", excepted)];
            way(&variables, url).is_none()
        };
        for (excepted, url) in [
            ("*", "https://any.example"),
            ("store.example", "https://store.example:9000/x"),
            ("a.b, .example", "https://Bucket.store.example"),
            ("*.example", "https://store.example"),
            ("store.example:9000", "https://store.example:9000"),
            ("10.1.2.3", "http://10.1.2.3:9000"),
            ("10.0.0.0/8", "http://10.1.2.3"),
            ("0.0.0.0/0", "http://10.1.2.3"),
            ("::1", "http://[::1]:9000"),
            ("fd00::/16", "http://[fd00:1::2]"),
            ("", "http://169.254.169.254/latest"),
            ("", "http://[fd00:ec2::254]/latest"),
        ] {
            assert!(direct(excepted, url), "{excepted} {url}");
        }
        for (excepted, url) in [
            ("", "https://store.example"),
            ("store.example", "https://otherstore.example"),
            ("store.example:9000", "https://store.example"),
            ("10.0.0.0/8", "http://11.1.2.3"),
            ("10.0.0.0/8", "http://10.example"),
            ("10.1.2.3", "http://10.1.2.4"),
        ] {
            assert!(!direct(excepted, url), "{excepted} {url}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_by_its_variable_unless_it_is_not_needed() {
        let url = Url::parse("https://store.example").unwrap();
        for (value, hint) in [
            ("socks5://u:hunter2@p:1080", "socks5"),
            ("http://u:hunter2@:8/", "no proxy"),
            ("::", "no proxy"),
        ] {
            let proxies = Proxies::of(&[("HTTPS_PROXY", value)].into_iter().collect());
            let refused = proxies.check(&url).unwrap_err();
            assert!(refused.contains(hint) && refused.contains("HTTPS_PROXY"), "{refused}");
            assert!(!format!("{refused}{proxies:?}").contains("hunter2"), "{refused}");
            let variables = [("HTTPS_PROXY", value), ("NO_PROXY", "example")];
            assert_eq!(Proxies::of(&variables.into_iter().collect()).check(&url), Ok(()));
        }
        let with_secret = Proxies::of(&[("HTTPS_PROXY", "http://u:hunter2@p:1")].into_iter().collect());
        assert!(!format!("{with_secret:?}").contains("hunter2"));
        assert_eq!(with_secret.to(&url).unwrap().url().password(), Some("hunter2"));
    }
}
