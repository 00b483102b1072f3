//! Servers whose certificate is of an authority of their own.

use std::fs;

use tests::s3::{Config, Server};
use tests::seawall::Machine;
use tests::tls::{Authority, Certificate, Valid};

use crate::{assert_restores, assert_told, plant, quickly};

fn server(certificate: Certificate) -> Server {
    Server::start(Config { tls: Some(certificate), ..Config::default() })
}

/// A machine that has the authority's certificate as `ca.pem` and does not know it yet.
fn machine(server: &Server, authority: &Authority) -> Machine {
    let machine = Machine::with_s3(server);
    fs::write(machine.at("ca.pem"), authority.pem()).unwrap();
    plant(&machine, 1, 200_000);
    machine
}

#[test]
fn an_authority_of_ones_own_is_trusted_when_it_is_named_and_only_then() {
    let authority = Authority::new();
    let server = server(authority.certify("127.0.0.1", Valid::Now));
    let machine = machine(&server, &authority);
    let trusting = ["--ca-file", "ca.pem"];
    let refused = ["authority that is not trusted", &server.endpoint(), "--ca-file FILE"];
    assert_told(&quickly(&machine, &["init"]), 4, &refused);
    assert_eq!(server.counts().requests, 0, "nothing was asked of it");
    machine.done(&[&["init"][..], &trusting].concat());
    machine.done(&[&["backup", "tree"][..], &trusting].concat());
    assert_restores(&machine, &trusting);
    for words in [&["backup", "tree"][..], &["points"], &["restore", "latest", "--into", "out"], &["verify"]]
    {
        assert_told(&quickly(&machine, words), 4, &refused);
    }
    fs::write(machine.at("other.pem"), Authority::new().pem()).unwrap();
    assert_told(&quickly(&machine, &["points", "--ca-file", "other.pem"]), 4, &refused);
    let both = fs::read_to_string(machine.at("other.pem")).unwrap() + &authority.pem();
    fs::write(machine.at("both.pem"), both).unwrap();
    machine.done(&["points", "--ca-file", "both.pem"]);
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_is_named() {
    let authority = Authority::new();
    let server = server(authority.certify("127.0.0.1", Valid::Now));
    let machine = machine(&server, &authority);
    fs::create_dir(machine.at("folder")).unwrap();
    fs::write(machine.at("empty"), "").unwrap();
    fs::write(machine.at("prose"), "no certificate\n").unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    fs::write(machine.at("broken"), broken).unwrap();
    let cut = authority.pem();
    fs::write(machine.at("cut"), &cut[..cut.len() / 2]).unwrap();
    for (name, why) in [
        ("absent", "No such file"),
        ("folder", "directory"),
        ("empty", "holds no certificate"),
        ("prose", "holds no certificate"),
        ("broken", "authority file"),
        ("cut", "authority file"),
    ] {
        let said = quickly(&machine, &["points", "--ca-file", name]);
        said.assert_failed(4, why);
        said.assert_failed(4, &format!("the authority file {name}"));
    }
    assert_eq!(server.counts().requests, 0);
}

#[test]
fn a_certificate_for_another_host_and_one_that_ran_out_are_told_apart() {
    let authority = Authority::new();
    let words = ["init", "--ca-file", "ca.pem"];
    let other = server(authority.certify("store.example", Valid::Now));
    let said = quickly(&machine(&other, &authority), &words);
    assert_told(&said, 4, &["for another host name", "store.example", "host name of the certificate"]);
    let old = server(authority.certify("127.0.0.1", Valid::Once));
    let said = quickly(&machine(&old, &authority), &words);
    assert_told(&said, 4, &["certificate is not valid now", "expired", "clock"]);
    assert_eq!(other.counts().requests + old.counts().requests, 0);
}

#[test]
fn https_never_becomes_http() {
    let plain = Server::start(Config::default());
    let mut machine = Machine::with_s3(&plain);
    let endpoint = plain.endpoint().replace("http://", "https://");
    machine.set("SEAWALL_REPO", &format!("s3://bucket/repository?endpoint={endpoint}"));
    assert_told(&quickly(&machine, &["init"]), 4, &["does not speak TLS", "http://"]);
    machine.set("SEAWALL_REPO", "s3://bucket/repository");
    machine.set("AWS_ENDPOINT_URL", &plain.endpoint());
    quickly(&machine, &["init"]).assert_failed(4, "AWS_ENDPOINT_URL is not https://");
    assert_eq!(plain.counts().requests, 0);
}
