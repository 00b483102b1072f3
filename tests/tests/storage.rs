//! Storage over real HTTP: the conformance suite against S3 servers, and every way a server can fail or lie.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::{Environment, Error, KeyPrefix, Location, ObjectKey, Patience, Settings, Store, Verb, suite};
use tests::s3::{Conditions, Config, Server};
use world::{Remedied, Remedy, SimulatedClock, World};

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

fn settings(server: &Server) -> Settings {
    let ms = Duration::from_millis;
    let patience = Patience { tries_max: 10, wait_first: ms(2), wait_max: ms(20), ..Patience::default() };
    let environment = server.environment().into_iter().collect();
    Settings { patience, environment, ..Settings::default() }
}

fn location(server: &Server, prefix: &str) -> Location {
    server.location("bucket", prefix).parse().unwrap()
}

/// A store on the server, with retries.
fn patient(server: &Server) -> Arc<dyn Store> {
    storage::open(&location(server, "repo"), &settings(server), &World::real()).unwrap()
}

/// A store on the server that fails at once.
fn bare(server: &Server) -> Arc<dyn Store> {
    storage::open_bare(&location(server, "repo"), &settings(server), &World::real()).unwrap()
}

const HELLO: Bytes = Bytes::from_static(b"hello, storage");

#[tokio::test(flavor = "multi_thread")]
async fn a_local_directory_keeps_the_promises() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::from(dir.path().join("repo"));
    let store = storage::open(&location, &Settings::default(), &World::real()).unwrap();
    suite::assert_kept(&*store).await;
    assert_eq!(suite::one_creation_wins(&*store).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_promises_with_and_without_retries_prefix_and_checksum() {
    let server = Server::start(Config::default());
    for prefix in ["", "a", "deep/er/place"] {
        for store in [
            storage::open(&location(&server, prefix), &settings(&server), &World::real()).unwrap(),
            storage::open_bare(&location(&server, prefix), &settings(&server), &World::real()).unwrap(),
        ] {
            suite::assert_kept(&*store).await;
            assert_eq!(suite::one_creation_wins(&*store).await, Ok(()));
        }
    }
    let counts = server.counts();
    assert!(counts.with_checksum > counts.writes / 2, "uploads carry a checksum: {counts:?}");
    let plain = format!("{}&checksum=none", server.location("bucket", "plain")).parse().unwrap();
    let store = storage::open(&plain, &settings(&server), &World::real()).unwrap();
    suite::assert_kept(&*store).await;
    assert_eq!(server.counts().with_checksum, counts.with_checksum, "and none where it was switched off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_directory_keeps_objects_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::start(Config { directory: Some(dir.path().to_owned()), ..Config::default() });
    let server = start();
    suite::assert_kept(&*bare(&server)).await;
    for name in ["packs/a", "packs/a/b"] {
        bare(&server).put(&key(name), HELLO).await.unwrap();
    }
    drop(server);
    let server = start();
    assert_eq!(bare(&server).get(&key("packs/a")).await.unwrap(), HELLO);
    assert_eq!(bare(&server).list(&KeyPrefix::new("packs/").unwrap()).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prefixes_of_a_bucket_do_not_see_each_other() {
    let server = Server::start(Config::default());
    let open =
        |prefix| storage::open(&location(&server, prefix), &settings(&server), &World::real()).unwrap();
    let (short, long) = (open("prod"), open("prod2"));
    long.put(&key("a"), HELLO).await.unwrap();
    assert_eq!(short.list(&KeyPrefix::all()).await.unwrap(), []);
    assert!(short.get(&key("a")).await.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_until_it_answers() {
    let server = Server::start(Config::default());
    server.order(|orders| orders.unavailable_next = 3);
    patient(&server).put(&key("a"), HELLO).await.unwrap();
    assert_eq!(server.counts().requests, 4);
    server.order(|orders| orders.unavailable_per_mille = 100);
    suite::assert_kept(&*patient(&server)).await;
    assert!(server.counts().spoiled > 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_busy_is_given_up_on_with_the_number_of_tries() {
    let server = Server::start(Config::default());
    server.order(|orders| orders.unavailable_per_mille = 1_000);
    let error = patient(&server).get(&key("packs/a")).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry);
    let told = error.to_string();
    let wanted = format!(
        "read packs/a in s3://bucket/repo?endpoint={}: the place is too busy \
         (503: SlowDown: Busy on order.); tried 10 times in ",
        server.endpoint()
    );
    assert!(told.starts_with(&wanted), "{told}");
    assert_eq!(server.counts().requests, 10, "retries beneath ours would multiply");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_though_it_was_said_to_have_failed_does_no_harm() {
    let server = Server::start(Config::default());
    let store = patient(&server);
    for verb in [Verb::Put, Verb::Create, Verb::Delete] {
        server.order(|orders| orders.fail_after_next = 1);
        match verb {
            Verb::Put => store.put(&key("a"), HELLO).await.unwrap(),
            Verb::Create => store.create(&key("format"), HELLO).await.unwrap(),
            _ => store.delete(&key("a")).await.unwrap(),
        }
    }
    assert_eq!(server.counts().spoiled, 3);
    assert_eq!(store.get(&key("format")).await.unwrap(), HELLO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_is_an_error_or_read_again_and_never_short_data() {
    let server = Server::start(Config::default());
    let whole = Bytes::from(vec![7; 300_000]);
    bare(&server).put(&key("a"), whole.clone()).await.unwrap();
    for after in [0, 1, 100_000, 299_999] {
        server.order(|orders| (orders.cut_after, orders.cut_next) = (Some(after), None));
        let failures = [
            bare(&server).get(&key("a")).await.unwrap_err(),
            bare(&server).get_range(&key("a"), 0..300_000).await.unwrap_err(),
            bare(&server).get_tail(&key("a"), 400_000).await.unwrap_err(),
        ];
        for failure in failures {
            assert!(matches!(failure, Error::CutShort { promised: 300_000, .. }), "{after}: {failure:?}");
            assert_eq!(failure.remedy(), Remedy::Retry);
        }
        let given_up = patient(&server).get(&key("a")).await.unwrap_err();
        assert_eq!(given_up.remedy(), Remedy::Repair, "{given_up}");
        server.order(|orders| orders.cut_next = Some(2));
        assert_eq!(patient(&server).get(&key("a")).await.unwrap(), whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_comes_shorter_than_it_says_is_noticed() {
    let server = Server::start(Config::default());
    bare(&server).put(&key("a"), Bytes::from(vec![7; 1_000])).await.unwrap();
    server.order(|orders| (orders.cut_after, orders.cut_quietly) = (Some(10), true));
    let part = bare(&server).get_range(&key("a"), 100..200).await.unwrap_err();
    assert!(matches!(part, Error::CutShort { promised: 100, got: 10, .. }), "{part:?}");
    let tail = bare(&server).get_tail(&key("a"), 50).await.unwrap_err();
    assert!(matches!(tail, Error::CutShort { promised: 50, got: 10, .. }), "{tail:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_said_and_not_tried_again() {
    let server = Server::start(Config::default());
    server.order(|orders| orders.deny = true);
    let store = patient(&server);
    let errors = [
        store.put(&key("a"), HELLO).await.unwrap_err(),
        store.create(&key("a"), HELLO).await.unwrap_err(),
        store.get(&key("a")).await.unwrap_err(),
        store.size(&key("a")).await.unwrap_err(),
        store.list(&KeyPrefix::all()).await.unwrap_err(),
        store.delete(&key("a")).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Denied { .. }) && error.remedy() == Remedy::Correct, "{error:?}");
    }
    // A refusal of a HEAD does not say why, so the size is asked for once more by reading.
    assert_eq!(server.counts().requests, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_denied_by_the_signature() {
    let server = Server::start(Config::default());
    let mut settings = settings(&server);
    settings.environment =
        [("AWS_ACCESS_KEY_ID", "seawall"), ("AWS_SECRET_ACCESS_KEY", "wrong")].into_iter().collect();
    let store = storage::open(&location(&server, ""), &settings, &World::real()).unwrap();
    let error = store.put(&key("a"), HELLO).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
    assert!(!format!("{store:?}").contains("wrong"), "a secret is never shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_file_and_a_process_give_credentials_that_work() {
    let server = Server::start(Config::default());
    let dir = tempfile::tempdir().unwrap();
    let (keys, config) = (dir.path().join("credentials"), dir.path().join("config"));
    std::fs::write(&keys, "[filed]\naws_access_key_id=seawall\naws_secret_access_key=seawall-secret\n")
        .unwrap();
    let printed = r#"{"Version":1,"AccessKeyId":"seawall","SecretAccessKey":"seawall-secret"}"#;
    let process = format!(
        "[profile asked]\ncredential_process = echo '{printed}'\n[profile broken]\n\
                           credential_process = false\n[profile sso]\nsso_session = corp\n"
    );
    std::fs::write(&config, process).unwrap();
    let open = |profile: &str| {
        let variables = [
            ("AWS_SHARED_CREDENTIALS_FILE", keys.to_str().unwrap()),
            ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ("AWS_PROFILE", profile),
        ];
        let settings = Settings { environment: variables.into_iter().collect(), ..settings(&server) };
        storage::open(&location(&server, ""), &settings, &World::real())
    };
    for profile in ["filed", "asked"] {
        open(profile).unwrap().put(&key(profile), HELLO).await.unwrap();
    }
    let broken = open("broken").unwrap().get(&key("a")).await.unwrap_err();
    assert!(
        matches!(&broken, Error::Denied { detail, .. } if detail.contains("credential_process")),
        "{broken:?}"
    );
    let sso = open("sso").unwrap_err().to_string();
    assert!(sso.contains("profile sso uses single sign-on"), "{sso}");
}

#[tokio::test(flavor = "multi_thread")]
async fn done_but_not_stored_is_seen_by_whoever_looks() {
    let server = Server::start(Config::default());
    let store = patient(&server);
    server.order(|orders| orders.lose_next = 1);
    store.put(&key("a"), HELLO).await.unwrap();
    assert!(store.size(&key("a")).await.unwrap_err().is_not_found());
    server.order(|orders| orders.lose_next = 1);
    store.create(&key("format"), HELLO).await.expect("a creation looks, and tries again");
    assert_eq!(store.get(&key("format")).await.unwrap(), HELLO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_is_safe_whatever_the_server_does_with_conditions() {
    for conditions in [Conditions::Honoured, Conditions::Ignored, Conditions::Refused] {
        let server = Server::start(Config::default());
        server.order(|orders| orders.conditions = conditions);
        let store = patient(&server);
        store.create(&key("format"), HELLO).await.unwrap();
        store.create(&key("format"), HELLO).await.unwrap();
        let clash = store.create(&key("format"), Bytes::from_static(b"other")).await.unwrap_err();
        assert!(matches!(clash, Error::Exists { .. }), "{conditions:?}: {clash:?}");
        assert_eq!(store.get(&key("format")).await.unwrap(), HELLO, "{conditions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_is_told_from_a_busy_one() {
    let server = Server::start(Config::default());
    server.order(|orders| orders.full_next = 1);
    let full = patient(&server).put(&key("a"), HELLO).await.unwrap_err();
    assert!(matches!(full, Error::Full { .. }) && full.remedy() == Remedy::Stop, "{full:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_is_an_error_and_never_an_empty_listing() {
    let server = Server::start(Config::default());
    let elsewhere: Location = server.location("missing", "").parse().unwrap();
    let store = storage::open(&elsewhere, &settings(&server), &World::real()).unwrap();
    let errors = [
        store.list(&KeyPrefix::all()).await.unwrap_err(),
        store.get(&key("format")).await.unwrap_err(),
        store.put(&key("a"), HELLO).await.unwrap_err(),
        store.create(&key("format"), HELLO).await.unwrap_err(),
        store.delete(&key("a")).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::NoPlace { .. }) && error.remedy() == Remedy::Correct, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_lags_is_complete_later() {
    let server = Server::start(Config::default());
    let store = patient(&server);
    store.put(&key("a"), HELLO).await.unwrap();
    server.order(|orders| orders.list_behind_ms = 3_600_000);
    assert_eq!(store.list(&KeyPrefix::all()).await.unwrap(), []);
    let lagging = suite::check(&*store).await;
    assert!(lagging.iter().any(|finding| finding.promise.contains("listing") && finding.broken.is_some()));
    server.order(|orders| orders.list_behind_ms = 0);
    assert!(store.list(&KeyPrefix::all()).await.unwrap().iter().any(|listed| listed.key == key("a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_other_end_is_unavailable() {
    let server = Server::start(Config::default());
    let store = bare(&server);
    drop(server);
    let error = store.get(&key("a")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.remedy() == Remedy::Retry, "{error:?}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answered_gets_time_by_the_size_of_the_body() {
    let server = Server::start(Config::default());
    server.order(|orders| orders.latency_ms = 60_000);
    for (bytes, seconds) in [(0, 20), (1 << 20, 28), (32 << 20, 276)] {
        let clock = Arc::new(SimulatedClock::at(0));
        let world = World::simulated(1, clock);
        let store = storage::open_bare(&location(&server, ""), &settings(&server), &world).unwrap();
        let late = store.put(&key("a"), Bytes::from(vec![0; bytes])).await.unwrap_err();
        assert!(late.to_string().contains(&format!("no answer within {seconds} s")), "{late}");
        assert_eq!((late.remedy(), world.monotonic()), (Remedy::Retry, Duration::from_secs(seconds)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_over_http() {
    let server = Server::start(Config::default());
    let mut settings = settings(&server);
    settings.limits.download = Some(1_000_000);
    let store = storage::open_measured(&location(&server, ""), &settings, &World::real()).unwrap();
    store.put(&key("a"), Bytes::from(vec![1; 500_000])).await.unwrap();
    for _ in 0..4 {
        store.get(&key("a")).await.unwrap();
    }
    let got = store.snapshot()[&Verb::Get];
    assert_eq!((got.done, got.bytes_down), (4, 2_000_000));
    assert!(
        got.total >= Duration::from_millis(900),
        "two million bytes at one million a second, one saved: {got:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_and_bandwidth_are_what_was_ordered() {
    let server = Server::start(Config::default());
    let store = storage::open_measured(&location(&server, ""), &settings(&server), &World::real()).unwrap();
    store.put(&key("a"), Bytes::from(vec![1; 1_000_000])).await.unwrap();
    server.order(|orders| (orders.latency_ms, orders.bytes_per_second) = (50, Some(4_000_000)));
    store.size(&key("a")).await.unwrap();
    store.get(&key("a")).await.unwrap();
    let measures = store.snapshot();
    assert!(measures[&Verb::Size].shortest >= Duration::from_millis(50), "{measures:?}");
    assert!(measures[&Verb::Get].shortest >= Duration::from_millis(290), "{measures:?}");
}

#[test]
fn plain_http_from_the_environment_alone_is_refused() {
    let variables = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    let settings = Settings { environment: variables.into_iter().collect(), ..Settings::default() };
    let refused = storage::open(&"s3://b".parse().unwrap(), &settings, &World::real()).unwrap_err();
    assert!(refused.to_string().contains("plain HTTP is used only where the location says so"), "{refused}");
}

#[test]
fn an_authority_file_that_is_missing_or_empty_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for file in [empty, dir.path().join("missing.pem")] {
        let settings = Settings { ca_file: Some(file), ..Settings::default() };
        let refused =
            storage::open(&"s3://b?region=r".parse().unwrap(), &settings, &World::real()).unwrap_err();
        assert!(refused.to_string().contains(".pem"), "{refused}");
        assert_eq!(refused.remedy(), Remedy::Correct);
    }
}

#[test]
fn every_location_opens_without_sending_anything() {
    let google = r#"{"gcs_base_url": "http://localhost:1", "disable_oauth": true, "client_email": "",
                       "private_key": "", "private_key_id": ""}"#;
    let variables = [
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "acct"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", google),
    ];
    let environment: Environment = variables.into_iter().collect();
    let settings = Settings { environment, ..Settings::default() };
    for typed in ["/nowhere/yet", "s3://bucket/p", "gs://bucket/p", "az://bucket/p"] {
        let location: Location = typed.parse().unwrap();
        let store = storage::open(&location, &settings, &World::real()).unwrap();
        assert_eq!(store.place().to_string(), typed);
    }
}

#[path = "storage/own.rs"]
mod own;
#[path = "storage/servers.rs"]
mod servers;
