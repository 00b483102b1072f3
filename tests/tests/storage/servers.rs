//! The suite against servers that others wrote: moto for S3, Azurite for Azure. Each runs as a process on a
//! free port for as long as its test; where it is not to be had, the test says so and counts as skipped.

use std::process::Command;
use std::time::Duration;

use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use storage::{Environment, Error, KeyPrefix, Location, Patience, Settings, Store, suite};
use tests::servers::{self, free_port, program, started};
use world::World;

use super::{HELLO, key};

async fn sent(request: HttpRequest) -> http::StatusCode {
    let options = object_store::ClientOptions::new().with_allow_http(true);
    let client = ReqwestConnector::default().connect(&options).unwrap();
    client.execute(request).await.unwrap().status()
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let environment: Environment = variables.iter().copied().collect();
    let patience = Patience { wait_first: Duration::from_millis(50), ..Patience::default() };
    Settings { environment, patience, ..Settings::default() }
}

async fn assert_all_kept(store: &dyn Store) {
    suite::assert_kept(store).await;
    assert_eq!(suite::one_creation_wins(store).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_the_promises() {
    let Some((_running, endpoint)) = servers::moto("moto_keeps_the_promises") else { return };
    let settings = settings(&[("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any")]);
    let open = |bucket: &str| {
        let location: Location = format!("s3://{bucket}/repo?endpoint={endpoint}").parse().unwrap();
        storage::open(&location, &settings, &World::real()).unwrap()
    };
    assert_all_kept(&*open("bucket")).await;
    let missing = open("missing").list(&KeyPrefix::all()).await.unwrap_err();
    assert!(matches!(missing, Error::NoPlace { .. }), "{missing:?}");
}

const ACCOUNT: &str = "devstoreaccount1";
/// The key that every Azurite has; it opens nothing else.
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[tokio::test(flavor = "multi_thread")]
async fn azurite_keeps_the_promises() {
    let Some(azurite) = program("SEAWALL_AZURITE", "azurite_keeps_the_promises") else { return };
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let mut command = Command::new(azurite);
    command.args([
        "--silent",
        "--skipApiVersionCheck",
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        &port.to_string(),
    ]);
    let _running = started(command.arg("--location").arg(dir.path()), port);
    let endpoint = format!("http://127.0.0.1:{port}/{ACCOUNT}");
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).unwrap());
    let container = format!("{endpoint}/container?restype=container");
    let request = http::Request::put(container).header("content-length", "0");
    let mut request = request.body(HttpRequestBody::empty()).unwrap();
    AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).unwrap();
    assert!(sent(request).await.is_success());

    let open = |container: &str, account_key: &str| {
        let typed = format!("az://{container}/repo?endpoint={endpoint}&account={ACCOUNT}");
        let settings = settings(&[("AZURE_STORAGE_ACCOUNT_KEY", account_key)]);
        storage::open(&typed.parse().unwrap(), &settings, &World::real()).unwrap()
    };
    assert_all_kept(&*open("container", ACCOUNT_KEY)).await;
    let missing = open("missing", ACCOUNT_KEY).list(&KeyPrefix::all()).await.unwrap_err();
    assert!(matches!(missing, Error::NoPlace { .. }), "{missing:?}");
    let denied = open("container", "d3Jvbmc=").put(&key("a"), HELLO).await.unwrap_err();
    assert!(matches!(denied, Error::Denied { .. }), "{denied:?}");
}
