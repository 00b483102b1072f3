//! The server of the tests itself: what it can do beyond what our store asks of it, and the program around
//! it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::{HttpConnector, HttpRequestBody, ReqwestConnector};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion, WriteMultipart};
use tests::s3::{Config, Counts, Orders, Server};

fn client(server: &Server) -> AmazonS3 {
    let builder = AmazonS3Builder::new().with_endpoint(server.endpoint()).with_allow_http(true);
    let builder = builder.with_access_key_id("seawall").with_secret_access_key("seawall-secret");
    builder.with_bucket_name("bucket").with_region("r").build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_becomes_one_object() {
    let server = Server::start(Config::default());
    let (client, path) = (client(&server), Path::from("large"));
    let whole: Vec<u8> = (0..12_000_000_u32).map(|n| (n >> 8) as u8).collect();
    let mut upload = WriteMultipart::new(client.put_multipart(&path).await.unwrap());
    upload.write(&whole);
    upload.finish().await.unwrap();
    assert_eq!(client.get(&path).await.unwrap().bytes().await.unwrap(), whole);
    let mut given_up = client.put_multipart(&Path::from("given-up")).await.unwrap();
    given_up.put_part("part".into()).await.unwrap();
    given_up.abort().await.unwrap();
    assert_eq!(client.list(None).count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_deletions_in_bulk_are_as_in_s3() {
    let server = Server::start(Config::default());
    let client = client(&server);
    let names = (0..2_500).map(|n| Path::from(format!("f{}/{n:04}", n % 3))).chain([Path::from("plain")]);
    let names: Vec<Path> = names.collect();
    for name in &names {
        client.put(name, "x".into()).await.unwrap();
    }
    let top = client.list_with_delimiter(None).await.unwrap();
    let folders: Vec<&str> = top.common_prefixes.iter().map(Path::as_ref).collect();
    assert_eq!((folders, top.objects.len()), (vec!["f0", "f1", "f2"], 1));
    let all = futures::stream::iter(names.into_iter().map(Ok)).boxed();
    assert_eq!(client.delete_stream(all).try_collect::<Vec<_>>().await.unwrap().len(), 2_501);
    assert_eq!(client.list(None).count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_with_a_stale_tag_fails_and_one_of_eight_racers_wins() {
    let server = Server::start(Config::default());
    let (client, path) = (Arc::new(client(&server)), Path::from("head"));
    let first = client.put(&path, "1".into()).await.unwrap();
    let updates = (0..8).map(|n| {
        let mode = PutMode::Update(UpdateVersion { e_tag: first.e_tag.clone(), version: None });
        let (client, path) = (client.clone(), path.clone());
        async move { client.put_opts(&path, format!("racer {n}").into(), mode.into()).await }
    });
    let outcomes = futures::future::join_all(updates).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_match_its_checksum_is_refused() {
    let server = Server::start(Config::default());
    let credential =
        AwsCredential { key_id: "seawall".into(), secret_key: "seawall-secret".into(), token: None };
    let http = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
    let put = async |checksum: &str| {
        let request = http::Request::put(format!("{}/bucket/a", server.endpoint()));
        let request = request.header("x-amz-checksum-crc64nvme", checksum).header("content-length", "5");
        let mut request = request.body(HttpRequestBody::from(Bytes::from_static(b"hello"))).unwrap();
        AwsAuthorizer::new(&credential, "s3", "r").try_authorize(&mut request, None).unwrap();
        http.execute(request).await.unwrap().status().as_u16()
    };
    assert_eq!(put("AAAAAAAAAAA=").await, 400);
    assert_eq!(put(&crc64nvme_base64(b"hello")).await, 200);
}

/// CRC-64/NVME by the book, bit by bit: reflected polynomial 0x9a6c9329ac4bc9b5, all ones before and after.
fn crc64nvme_base64(bytes: &[u8]) -> String {
    let mut crc = u64::MAX;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x9a6c_9329_ac4b_c9b5 } else { crc >> 1 };
        }
    }
    base64(&(!crc).to_be_bytes())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = three
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let digits = (0..4).map(move |n| DIGITS[bits >> (18 - 6 * n) & 63] as char);
        let kept = three.len() + 1;
        digits.enumerate().map(move |(n, digit)| if n < kept { digit } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// One plain HTTP request; the status line and the body.
fn asked(endpoint: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_program_takes_orders_over_http_and_ends_with_its_input() {
    let program = env!("CARGO_BIN_EXE_s3-server");
    let orders = Orders { latency_ms: 1, ..Orders::default() };
    let mut command = Command::new(program);
    command.args([
        "--bucket",
        "one",
        "--bucket",
        "two",
        "--orders",
        &serde_json::to_string(&orders).unwrap(),
    ]);
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut endpoint = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
    let endpoint = endpoint.trim();

    let (status, body) = asked(endpoint, "GET /-/orders HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert_eq!(
        (status.as_str(), serde_json::from_str::<Orders>(&body).unwrap()),
        ("HTTP/1.1 200 OK", orders)
    );
    let put = |json: &str| {
        let head = format!("content-length: {}\r\nconnection: close", json.len());
        asked(endpoint, &format!("PUT /-/orders HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n{json}")).0
    };
    assert_eq!(put(r#"{"deny": true}"#), "HTTP/1.1 200 OK");
    assert_eq!(put(r#"{"denny": true}"#), "HTTP/1.1 400 Bad Request");
    let (status, _) = asked(endpoint, "GET /one/a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 403 Forbidden");
    let (_, body) = asked(endpoint, "GET /-/counts HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    let counts: Counts = serde_json::from_str(&body).unwrap();
    assert_eq!((counts.requests, counts.spoiled), (1, 1));

    drop(running.stdin.take());
    assert!(running.wait().unwrap().success());
}

#[test]
fn the_program_refuses_what_it_does_not_know() {
    let ended = Command::new(env!("CARGO_BIN_EXE_s3-server")).args(["--prot", "1"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&ended.stderr).starts_with("--prot is not known"));
}
