//! The proxies that a site puts between its hosts and the world.

use tests::proxy::{Manners, Proxy};
use tests::s3::{Config, Server};
use tests::seawall::Machine;
use tests::servers::free_port;
use tests::tls::{Authority, Valid};

use crate::{assert_restores, assert_told, plant, quickly, server};

/// `Basic` and `user:hunter2` in Base64.
const LOGIN: &str = "Basic dXNlcjpodW50ZXIy";

fn machine(server: &Server) -> Machine {
    let machine = Machine::with_s3(server);
    plant(&machine, 1, 200_000);
    machine
}

#[test]
fn plain_http_goes_through_the_proxy_in_upper_and_lower_case_unless_the_host_is_excepted() {
    let (server, proxy) = (server(), Proxy::start(Manners::default()));
    let mut direct = machine(&server);
    direct.done(&["init"]);
    assert_eq!(proxy.asked(), Vec::<String>::new());
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let server = crate::server();
        let mut machine = machine(&server);
        machine.set(variable, &proxy.authority());
        machine.done(&["init"]);
        let asked = proxy.asked();
        assert_eq!(asked.len() as u64, server.counts().requests, "{variable}");
        assert!(asked.iter().all(|line| line.contains(&server.endpoint())), "{asked:?}");
    }
    let machine = &mut direct;
    machine.set("HTTP_PROXY", &format!("http://{}", proxy.authority()));
    machine.done(&["backup", "tree"]);
    assert_restores(machine, &[]);
    assert!(proxy.asked().len() > 10);
    machine.set("HTTPS_PROXY", &proxy.authority());
    for (variable, host) in
        [("NO_PROXY", "127.0.0.1"), ("no_proxy", "localhost,127.0.0.0/8"), ("NO_PROXY", "*")]
    {
        machine.set(variable, host);
        machine.done(&["points"]);
        machine.set(variable, "");
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn tls_goes_through_a_tunnel_and_the_certificate_is_still_the_servers() {
    let authority = Authority::new();
    let tls = Some(authority.certify("127.0.0.1", Valid::Now));
    let server = Server::start(Config { tls, ..Config::default() });
    let proxy = Proxy::start(Manners { wants: Some(LOGIN.to_owned()), ..Manners::default() });
    let mut machine = machine(&server);
    std::fs::write(machine.at("ca.pem"), authority.pem()).unwrap();
    machine.set("HTTPS_PROXY", &format!("http://user:hunter2@{}", proxy.authority()));
    assert_told(&quickly(&machine, &["init"]), 4, &["authority that is not trusted", "through the proxy"]);
    machine.done(&["init", "--ca-file", "ca.pem"]);
    machine.done(&["backup", "tree", "--ca-file", "ca.pem"]);
    assert_restores(&machine, &["--ca-file", "ca.pem"]);
    let asked = proxy.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line.starts_with("CONNECT 127.0.0.1:")),
        "{asked:?}"
    );
}

#[test]
fn a_proxy_that_wants_other_credentials_is_named_and_they_are_not_shown() {
    let proxy = Proxy::start(Manners { wants: Some(LOGIN.to_owned()), ..Manners::default() });
    let plain = server();
    let authority = Authority::new();
    let tls = Some(authority.certify("127.0.0.1", Valid::Now));
    let secure = Server::start(Config { tls, ..Config::default() });
    for (server, variable) in [(&plain, "HTTP_PROXY"), (&secure, "HTTPS_PROXY")] {
        let mut machine = machine(server);
        for login in ["", "user:hunter3@", "hunter3@"] {
            machine.set(variable, &format!("http://{login}{}", proxy.authority()));
            let said = quickly(&machine, &["init", "-v"]);
            let place = format!("http://{}, which {variable} names", proxy.authority());
            assert_told(&said, 4, &["the proxy wants other credentials", &place, "USER:PASSWORD"]);
            assert!(!said.to_string().contains("hunter3"), "{said}");
        }
        assert_eq!(server.counts().requests, 0);
    }
    let mut machine = machine(&plain);
    machine.set("HTTP_PROXY", &format!("http://user:hunter2@{}", proxy.authority()));
    machine.done(&["init"]);
}

#[test]
fn a_proxy_that_is_away_or_does_not_let_through_is_what_is_named() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let strict = Proxy::start(Manners { refuses: Some(502), ..Manners::default() });
    let authority = Authority::new();
    let tls = Some(authority.certify("127.0.0.1", Valid::Now));
    let secure = Server::start(Config { tls, ..Config::default() });
    let plain = server();
    for (server, variable, proxy, says) in [
        (&plain, "HTTP_PROXY", nobody.clone(), "the proxy does not lead there"),
        (&secure, "HTTPS_PROXY", nobody, "the proxy does not lead there"),
        (&secure, "HTTPS_PROXY", strict.authority(), "the proxy does not lead there"),
        // Whether it is the proxy or the store that says so, the answer does not tell.
        (&plain, "HTTP_PROXY", strict.authority(), "502"),
    ] {
        let mut machine = machine(server);
        machine.set(variable, &format!("http://user:hunter2@{proxy}"));
        let said = machine.run(&["init", "--retry-for", "1s"]);
        assert_told(&said, 6, &[says, &format!("through the proxy http://{proxy}, which {variable} names")]);
        assert!(!said.to_string().contains("hunter2"), "{said}");
        assert_eq!(server.counts().requests, 0);
    }
}

#[test]
fn a_proxy_that_cannot_be_spoken_to_is_refused_and_not_passed_by() {
    let server = server();
    let mut machine = machine(&server);
    for (value, says) in
        [("socks5://user:hunter2@127.0.0.1:1080", "socks5 proxy"), ("http://", "names no proxy")]
    {
        machine.set("ALL_PROXY", value);
        let said = quickly(&machine, &["init"]);
        said.assert_failed(4, says);
        said.assert_failed(4, "ALL_PROXY");
        assert!(!said.to_string().contains("hunter2"), "{said}");
    }
    assert_eq!(server.counts().requests, 0);
    machine.set("NO_PROXY", "127.0.0.1");
    machine.done(&["init"]);
}
