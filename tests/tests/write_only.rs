//! A host that may add and nothing else: what it sends comes back for those who may read, and whoever takes its key can
//! neither read, list, forget nor let others in.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::fs;
use std::path::PathBuf;

use format::entry::{Clear, Entry, LogicalTime};
use format::fact::{Fact, Grant};
use format::genesis::Genesis;
use format::id::{Hash, SessionId, WriterId};
use format::key::Bundle;
use format::seal::Signer;
use tests::listing::Listing;
use tests::odd;
use tests::s3::{Config, Server};
use tests::seawall::Machine;
use world::World;

/// An administrator's machine, and a host's with the key that was exported for it.
fn pair(more: &[&str]) -> (Machine, Machine) {
    let admin = Machine::with_repository();
    let host = Machine::new();
    std::os::unix::fs::symlink(admin.repository(), host.repository()).unwrap();
    let key = key_of(&host);
    let words = [&["key", "export-writer", key.to_str().unwrap(), "--name", "web"], more].concat();
    admin.done(&words);
    (admin, host)
}

fn key_of(host: &Machine) -> PathBuf {
    host.at("writer.key")
}

fn backup<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["backup", "tree", "--key-file", "writer.key", "--source", "web"], more].concat()
}

#[test]
fn what_it_adds_is_stored_once_and_comes_back_exactly() {
    let (admin, host) = pair(&[]);
    odd::make(&host.at("tree"));
    let first = host.json(&backup(&[]));
    assert_eq!((first["kind"].as_str(), first["problems"].as_array().unwrap().len()), (Some("full"), 0));
    let again = host.json(&backup(&[]));
    assert_eq!(
        (again["kind"].as_str(), again["bytes_new"].as_u64()),
        (Some("incremental"), Some(0)),
        "{again}"
    );
    fs::write(host.at("tree/more"), odd::noise(7, 300_000)).unwrap();
    let third = host.json(&backup(&["--kind", "differential"]));
    let new = third["bytes_new"].as_u64().unwrap();
    assert!((300_000..1_000_000).contains(&new), "{new} bytes were sent for a file of 300,000");
    let full = host.json(&backup(&["--kind", "full"]));
    assert!(
        full["bytes_new"].as_u64() > first["bytes_new"].as_u64(),
        "what cannot be read back is not relied on"
    );

    let truth = Listing::of(&host.at("tree"));
    for (number, point) in admin.points().iter().enumerate().skip(2) {
        let out = format!("out{number}");
        admin.done(&["restore", point, "--into", &out]);
        assert_eq!(Listing::of(&admin.at(&out)).differences(&truth), Vec::<String>::new(), "point {number}");
    }
    assert_eq!(admin.points().len(), 4);
    for level in ["L0", "L1", "L2"] {
        admin.done(&["verify", "--level", level]);
    }
}

/// Another host's backups never rely on what this one sent.
#[test]
fn nobody_else_relies_on_what_it_sent() {
    let (admin, host) = pair(&[]);
    fs::create_dir(host.at("tree")).unwrap();
    fs::write(host.at("tree/file"), odd::noise(9, 2_000_000)).unwrap();
    host.done(&backup(&[]));
    let same = host.at("tree");
    let kept = admin.json(&["backup", same.to_str().unwrap()]);
    assert!(kept["bytes_new"].as_u64().unwrap() >= 2_000_000, "{kept}");
}

#[test]
fn it_neither_reads_nor_lists_nor_rules() {
    let (admin, host) = pair(&[]);
    fs::create_dir(host.at("tree")).unwrap();
    fs::write(host.at("tree/secret-name"), "secret content").unwrap();
    let point = host.json(&backup(&[]))["point"].as_str().unwrap().to_owned();
    let writer = admin.json(&["writer", "list"])["writers"][0]["id"].as_str().unwrap().to_owned();
    for words in [
        &["points"][..],
        &["ls", &point],
        &["ls", "latest"],
        &["find", "secret-name"],
        &["cat", &point, "secret-name"],
        &["restore", &point, "--into", "out"],
        &["restore", "latest", "--into", "out"],
        &["verify"],
        &["key", "add", "--new-key-file", "mine"],
        &["key", "export-writer", "other", "--name", "other"],
        &["writer", "revoke", &writer, "--reason", "mine now"],
    ] {
        let said = host.run(&[words, &["--key-file", "writer.key"]].concat());
        assert_eq!(said.code, 4, "{said}");
        assert!(said.err.contains("hint"), "{said}");
    }
    assert!(!host.at("out").exists() && !host.at("other").exists());
    assert_eq!(admin.points().len(), 1);
}

/// Its key in other hands, with a program that asks nobody.
#[test]
fn whoever_takes_its_key_opens_nothing_and_is_not_believed() {
    let (admin, host) = pair(&["--source", "web"]);
    fs::create_dir(host.at("tree")).unwrap();
    fs::write(host.at("tree/file"), "content").unwrap();
    let point = host.json(&backup(&[]))["point"].as_str().unwrap().to_owned();
    host.run(&["backup", "tree", "--key-file", "writer.key", "--source", "db"])
        .assert_failed(4, "of this source");

    let text = fs::read_to_string(key_of(&host)).unwrap();
    let bundle = Bundle::from_text(&text).unwrap();
    assert!(bundle.root.is_none());
    for keys in &bundle.generations {
        assert!(keys.index.is_none() && keys.data.is_none() && keys.catalog.is_none());
    }
    let forged = [
        Fact::Grant(Grant {
            public_key: [7; 32],
            name: "me".into(),
            rights: 7,
            sources: None,
            time: i64::MAX,
        }),
        Fact::Forget(format::fact::Forget {
            points: vec![format::id::PointId::parse(&point).unwrap()],
            regions: None,
            reason: "gone".into(),
        }),
    ];
    for (number, fact) in forged.iter().enumerate() {
        forge(&admin, &bundle, fact, u8::try_from(number).unwrap());
    }
    assert_eq!(admin.points(), [point]);
    let said = admin.run(&["log", "--verify"]);
    assert!(said.code == 3 && said.err.contains("may not state"), "{said}");
    assert_eq!(admin.json(&["writer", "list"])["writers"].as_array().unwrap().len(), 2);
}

/// Puts an entry that states `fact` into the repository, signed with the bundle's key.
fn forge(admin: &Machine, bundle: &Bundle, fact: &Fact, session: u8) {
    let signer = Signer::from_seed(bundle.writer.as_ref().unwrap());
    let genesis = Genesis::decode(&fs::read(admin.repository().join("format")).unwrap()).unwrap();
    let (clear_facts, sealed) =
        if fact.is_clear() { (vec![fact.encode()], vec![]) } else { (vec![], vec![fact.encode()]) };
    let clear = Clear {
        repo: genesis.id,
        writer: WriterId::of(&signer.public()),
        session: SessionId([session; 16]),
        number: 0,
        previous: Hash::NONE,
        time: LogicalTime { time: World::real().now_ns(), counter: 0 },
        epoch: 0,
        public_key: signer.public(),
        regions: vec!["home".into()],
        brings: Vec::new(),
        deps: Vec::new(),
        heads: Vec::new(),
        facts: clear_facts,
        local: None,
    };
    let keys = (bundle.domain, bundle.newest());
    let (hash, object) = Entry::create(&clear, &sealed, keys, &signer, &mut World::real().chance());
    let place = admin.repository().join(repo::layout::entry(clear.id(), hash).as_str());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, object.as_bytes()).unwrap();
}

#[test]
fn a_writer_that_was_revoked_adds_nothing_more() {
    let (admin, host) = pair(&[]);
    fs::create_dir(host.at("tree")).unwrap();
    host.done(&backup(&[]));
    let writers = admin.json(&["writer", "list"]);
    let writers = writers["writers"].as_array().unwrap();
    let web =
        writers.iter().find(|writer| writer["name"] == "web").unwrap()["id"].as_str().unwrap().to_owned();
    admin.done(&["writer", "revoke", &web, "--reason", "stolen"]);
    host.run(&backup(&[])).assert_failed(4, "revoked");
    assert_eq!(admin.points().len(), 1);
}

/// A credential that cannot delete is enough.
#[test]
fn it_never_deletes() {
    let server = Server::start(Config::default());
    let (admin, host) = (Machine::new(), Machine::new());
    let place = server.location("bucket", "repository");
    let run = |machine: &Machine, words: &[&str]| {
        let mut command = machine.command(&[words, &["--repo", &place]].concat());
        let done = command.envs(server.environment()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    run(&admin, &["init"]);
    run(&admin, &["key", "export-writer", key_of(&host).to_str().unwrap(), "--name", "web"]);
    fs::create_dir(host.at("tree")).unwrap();
    for number in 0..3 {
        fs::write(host.at("tree/file"), odd::noise(number, 3_000_000)).unwrap();
        run(&host, &backup(&[]));
    }
    run(&admin, &["restore", "latest", "--into", "out"]);
    assert_eq!(fs::read(admin.at("out/file")).unwrap(), odd::noise(2, 3_000_000));
    assert_eq!(server.counts().deletes, 0);
}
