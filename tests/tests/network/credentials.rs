//! Credentials that are good for a while.

use std::fs;

use tests::s3::{Config, Orders, Server};
use tests::seawall::Machine;
use tests::tls::{Authority, Valid};

use crate::{assert_restores, assert_told, order, plant, server};

/// A machine with a repository in a bucket, and one point in it.
fn machine(server: &Server) -> Machine {
    let machine = Machine::with_s3(server);
    machine.done(&["init"]);
    plant(&machine, 1, 200_000);
    machine.done(&["backup", "tree"]);
    machine
}

/// Each key is good for so many requests; a backup makes more of them.
const USES: u32 = 9;

fn keys_expire(server: &Server) {
    order(server, Orders { key_uses: Some(USES), ..Orders::default() });
}

/// Lets the machine forget the keys in its environment.
fn without_keys(machine: &mut Machine) {
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        machine.set(name, "");
    }
}

/// Backs up, restores and verifies, while keys expire all the time.
fn assert_goes_on(machine: &Machine, server: &Server, source: &str) {
    keys_expire(server);
    plant(machine, 2, 12_000_000);
    machine.done(&["backup", "tree"]);
    assert_restores(machine, &[]);
    machine.done(&["verify", "--level", "L1"]);
    let expired = server.counts().expired;
    assert!(expired >= 2, "{source}: {expired} requests met an expired key");
    assert!(expired < 100, "{source}: {expired} requests met an expired key");
}

#[test]
fn a_process_is_asked_again_when_the_server_refuses_its_keys() {
    let server = server();
    let mut machine = machine(&server);
    without_keys(&mut machine);
    let (profile, count) = (machine.at("home/.aws"), machine.at("count"));
    fs::create_dir(&profile).unwrap();
    let script = format!(
        "#!/bin/sh\necho x >> {count}\nn=$(wc -l < {count})\necho '{{\"Version\": 1, \"AccessKeyId\": \"seawall-'$n'\", \
         \"SecretAccessKey\": \"seawall-secret\", \"SessionToken\": \"t\", \"Expiration\": \"2999-01-01T00:00:00Z\"}}'\n",
        count = count.display()
    );
    fs::write(machine.at("keys.sh"), script).unwrap();
    let config = format!("[default]\ncredential_process = sh {}\n", machine.at("keys.sh").display());
    fs::write(profile.join("config"), config).unwrap();
    assert_goes_on(&machine, &server, "process");
    let asked = fs::read_to_string(&count).unwrap().lines().count();
    assert!((2..40).contains(&asked), "the process ran {asked} times");
    // What it prints is no good: the last refusal is told, and nothing is tried for ever.
    fs::write(machine.at("keys.sh"), "echo no >&2; exit 1\n").unwrap();
    let said = machine.run(&["points"]);
    assert_told(&said, 4, &["credential_process failed", "no"]);
}

#[test]
fn tokens_of_containers_and_web_identities_are_exchanged_again() {
    let server = server();
    let mut container = machine(&server);
    fs::write(container.at("token"), "a token").unwrap();
    without_keys(&mut container);
    let token = container.at("token").to_str().unwrap().to_owned();
    let place = format!("{}/-/credentials", server.endpoint());
    container.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &place);
    container.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token);
    assert_goes_on(&container, &server, "container");
    let given = server.counts().given;
    assert!(given >= 3, "{given} keys were given out");

    // A token goes out over TLS alone.
    let authority = Authority::new();
    let tls = Some(authority.certify("127.0.0.1", Valid::Now));
    let server = Server::start(Config { tls, ..Config::default() });
    let mut web = Machine::with_s3(&server);
    fs::write(web.at("ca.pem"), authority.pem()).unwrap();
    web.set("SSL_CERT_FILE", web.at("ca.pem").to_str().unwrap().to_owned().as_str());
    web.done(&["init"]);
    fs::write(web.at("token"), "a token").unwrap();
    without_keys(&mut web);
    web.set("AWS_WEB_IDENTITY_TOKEN_FILE", web.at("token").to_str().unwrap().to_owned().as_str());
    web.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
    web.set("AWS_ENDPOINT_URL_STS", &format!("{}/-/sts", server.endpoint()));
    assert_goes_on(&web, &server, "web identity");
    let given = server.counts().given;
    assert!(given >= 3, "{given} keys were given out");
}

#[test]
fn keys_in_a_file_that_another_tool_renews_are_read_again() {
    let server = server();
    let mut machine = machine(&server);
    without_keys(&mut machine);
    let profile = machine.at("home/.aws");
    fs::create_dir(&profile).unwrap();
    let write = |key: &str| {
        let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = seawall-secret\n");
        fs::write(profile.join("credentials"), text).unwrap();
    };
    write("seawall-1");
    keys_expire(&server);
    plant(&machine, 3, 12_000_000);
    // Old keys, and nobody renews them: told as that, after few requests.
    let said = machine.run(&["backup", "tree"]);
    assert_told(&said, 4, &["the credentials have expired", "ExpiredToken", "get new credentials"]);
    assert!(server.counts().expired < 100, "{:?}", server.counts());
    // Another tool writes new ones while a backup runs, and the old ones expire.
    order(&server, Orders::default());
    write("seawall-2");
    plant(&machine, 4, 30_000_000);
    let before = server.counts().writes;
    let child = machine.start(&["backup", "tree", "--limit-upload", "15M"]);
    while server.counts().writes < before + 2 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    write("seawall-3");
    order(&server, Orders { expired_keys: vec!["seawall-2".to_owned()], ..Orders::default() });
    let expired = server.counts().expired;
    let said = tests::seawall::Said::of(&["backup"], child.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said}");
    assert!(server.counts().expired > expired, "the old key was used once more");
    assert_restores(&machine, &[]);
}

#[test]
fn keys_that_nobody_renews_end_the_run_and_the_next_one_finds_what_was_stored() {
    let server = server();
    let mut machine = machine(&server);
    let key =
        |machine: &mut Machine, number: u32| machine.set("AWS_ACCESS_KEY_ID", &format!("seawall-{number}"));
    plant(&machine, 4, 36_000_000);
    keys_expire(&server);
    let mut runs = 0;
    let first = loop {
        runs += 1;
        key(&mut machine, runs);
        let before = server.counts().expired;
        let said = machine.run(&["backup", "tree", "--json"]);
        if said.code == 0 {
            break said.json();
        }
        assert_told(&machine.run(&["points"]), 4, &["the credentials have expired", "get new credentials"]);
        said.assert_failed(4, "");
        assert!(said.to_string().contains("the credentials have expired"), "{said}");
        let met = server.counts().expired - before;
        assert!(met <= 20, "{met} requests with credentials that were known to be old");
        assert!(runs < 20, "it never ends");
        if runs == 3 {
            order(&server, Orders::default());
        }
    };
    assert!(runs > 1, "the keys expired in mid-run");
    order(&server, Orders::default());
    assert_eq!(machine.points().len(), 2, "nothing half-made counts: {first}");
    assert_restores(&machine, &[]);
}

#[test]
fn a_restore_whose_keys_expire_goes_on_with_new_ones() {
    let server = server();
    let mut machine = machine(&server);
    for number in 0..20 {
        fs::write(machine.at(&format!("tree/{number}")), tests::odd::noise(50 + number, 1_000_000)).unwrap();
    }
    machine.done(&["backup", "tree"]);
    let before = server.counts().requests;
    assert_restores(&machine, &[]);
    // With the last ones a restore says that it is over.
    let uses = u32::try_from(server.counts().requests - before).unwrap() - 6;
    machine.set("AWS_ACCESS_KEY_ID", "seawall-1");
    order(&server, Orders { key_uses: Some(uses), ..Orders::default() });
    let said = machine.run(&["restore", "latest", "--into", "out"]);
    said.assert_failed(4, "the credentials have expired");
    assert!(!said.err.contains("not restored"), "one sentence for all: {said}");
    machine.set("AWS_ACCESS_KEY_ID", "seawall-2");
    order(&server, Orders::default());
    machine.done(&["restore", "latest", "--into", "out", "--resume"]);
    let truth = tests::listing::Listing::of(&machine.at("tree"));
    let back = tests::listing::Listing::of(&machine.at("out"));
    assert_eq!(back.differences(&truth), Vec::<String>::new());
}
