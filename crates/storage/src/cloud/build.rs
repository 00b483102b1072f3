//! From a location and settings to a client: endpoints, credentials, checksums, timeouts.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;
use world::World;

use super::Cloud;
use super::courier::{Couriers, chain};
use super::credentials::{self, Credentials};
use super::signed::Signed;
use super::way::Way;
use crate::{Bucket, Buffers, Error, Location, Place, Settings};

const REGION_DEFAULT: &str = "us-east-1";

/// The store at `location`, which is a bucket. Sends nothing.
pub(crate) fn open(
    location: &Location,
    bucket: &Bucket,
    settings: &Settings,
    world: &World,
) -> Result<Cloud, Error> {
    let refused = |why: String| Error::BadLocation { location: location.to_string(), why };
    let endpoint = match location {
        Location::S3(_) => s3_endpoint(bucket, settings).map_err(refused)?,
        _ => bucket.endpoint.clone(),
    };
    let provider = Url::parse("https://provider").expect("this is a URL");
    let way = Way::open(endpoint.as_ref().unwrap_or(&provider), settings, world).map_err(refused)?;
    let way = Arc::new(way);
    let new = New {
        bucket: Bucket { endpoint, ..bucket.clone() },
        settings: settings.clone(),
        way: way.clone(),
        world: world.clone(),
    };
    let renewable = settings.environment.get("AWS_ACCESS_KEY_ID").is_none();
    let signed = match location {
        Location::S3(_) => Signed::new(Box::new(move || new.s3()), renewable),
        Location::Gcs(_) => Signed::new(Box::new(move || new.gcs()), true),
        Location::Azure(_) => Signed::new(Box::new(move || new.azure()), true),
        Location::Local(_) => Err("a directory is no bucket".to_owned()),
    };
    let prefix = if bucket.prefix.is_empty() { String::new() } else { format!("{}/", bucket.prefix) };
    Ok(Cloud {
        signed: signed.map_err(refused)?,
        way,
        buffers: Buffers::default(),
        prefix,
        place: Place::new(&location.to_string()),
        world: world.clone(),
        tails: !matches!(location, Location::Azure(_)),
    })
}

/// What a client is made of, again and again.
struct New {
    /// With the endpoint, wherever it was said.
    bucket: Bucket,
    settings: Settings,
    way: Arc<Way>,
    world: World,
}

impl New {
    fn couriers(&self) -> Couriers {
        Couriers(self.way.clone())
    }

    /// All but this is decided by the couriers.
    fn options(&self) -> ClientOptions {
        let plain = self.bucket.endpoint.as_ref().is_some_and(|url| url.scheme() == "http");
        ClientOptions::new().with_allow_http(plain)
    }

    fn s3(&self) -> Result<Box<dyn ObjectStore>, String> {
        let New { bucket, settings, .. } = self;
        let environment = &settings.environment;
        let found = credentials::find(environment, &self.world)?;
        let region = bucket.region.clone().or(found.region).unwrap_or_else(|| REGION_DEFAULT.to_owned());
        let mut builder = AmazonS3Builder::new()
            .with_client_options(self.options())
            .with_http_connector(self.couriers())
            .with_retry(no_retries())
            .with_bucket_name(&bucket.name)
            .with_region(region)
            .with_disable_bulk_delete(true);
        builder = match found.credentials {
            Credentials::Provider(provider) => builder.with_credentials(provider),
            Credentials::WebIdentity { token_file, role_arn } => builder
                .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file)
                .with_config(AmazonS3ConfigKey::RoleArn, role_arn),
            Credentials::Environment => S3_VARIABLES.iter().fold(builder, |builder, (variable, key)| {
                match environment.get(variable) {
                    Some(value) => builder.with_config(*key, value),
                    None => builder,
                }
            }),
        };
        builder = match &bucket.endpoint {
            Some(url) => builder.with_endpoint(url.as_str().trim_end_matches('/')),
            None => builder.with_virtual_hosted_style_request(!bucket.name.contains('.')),
        };
        // The store checks the CRC, and the signature covers it. Hashing the whole body into the signature
        // instead costs a core per 1.8 GB/s and protects from nothing more: the bytes are sealed before they come
        // here.
        if bucket.checksum {
            builder = builder.with_unsigned_payload(true).with_checksum_algorithm(Checksum::CRC64NVME);
        }
        builder.build().map(|store| Box::new(store) as _).map_err(|e| chain(&e))
    }

    fn gcs(&self) -> Result<Box<dyn ObjectStore>, String> {
        let New { bucket, settings, .. } = self;
        let variables = [
            ("GOOGLE_SERVICE_ACCOUNT", GoogleConfigKey::ServiceAccount),
            ("GOOGLE_SERVICE_ACCOUNT_KEY", GoogleConfigKey::ServiceAccountKey),
            ("GOOGLE_APPLICATION_CREDENTIALS", GoogleConfigKey::ApplicationCredentials),
        ];
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_client_options(self.options())
            .with_http_connector(self.couriers())
            .with_retry(no_retries())
            .with_bucket_name(&bucket.name);
        if let Some(url) = &bucket.endpoint {
            builder = builder.with_config(GoogleConfigKey::BaseUrl, url.as_str().trim_end_matches('/'));
        }
        for (variable, key) in variables {
            if let Some(value) = settings.environment.get(variable) {
                builder = builder.with_config(key, value);
            }
        }
        builder.build().map(|store| Box::new(store) as _).map_err(|e| chain(&e))
    }

    fn azure(&self) -> Result<Box<dyn ObjectStore>, String> {
        let New { bucket, settings, .. } = self;
        let variables = [
            ("AZURE_STORAGE_ACCOUNT_NAME", AzureConfigKey::AccountName),
            ("AZURE_STORAGE_ACCOUNT_KEY", AzureConfigKey::AccessKey),
            ("AZURE_STORAGE_SAS_KEY", AzureConfigKey::SasKey),
            ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
            ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
            ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
            ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
        ];
        let mut builder = MicrosoftAzureBuilder::new()
            .with_client_options(self.options())
            .with_http_connector(self.couriers())
            .with_retry(no_retries())
            .with_container_name(&bucket.name);
        for (variable, key) in variables {
            if let Some(value) = settings.environment.get(variable) {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(account) = &bucket.account {
            builder = builder.with_account(account);
        }
        if let Some(url) = &bucket.endpoint {
            builder = builder.with_endpoint(url.as_str().trim_end_matches('/').to_owned());
        }
        builder.build().map(|store| Box::new(store) as _).map_err(|e| chain(&e))
    }
}

fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// What the credential chain of the library takes from the environment. Its other variables would change what
/// we decide here.
const S3_VARIABLES: &[(&str, AmazonS3ConfigKey)] = &[
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
];

/// What the location says, else `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL`, which may not silently turn encryption off.
fn s3_endpoint(bucket: &Bucket, settings: &Settings) -> Result<Option<Url>, String> {
    if bucket.endpoint.is_some() {
        return Ok(bucket.endpoint.clone());
    }
    let environment = &settings.environment;
    let value = environment.get("AWS_ENDPOINT_URL_S3").or(environment.get("AWS_ENDPOINT_URL"));
    let Some(value) = value else { return Ok(None) };
    match Url::parse(value) {
        Ok(url) if url.scheme() == "https" => Ok(Some(url)),
        _ => {
            Err("AWS_ENDPOINT_URL is not https://; plain HTTP is used only where the location says so, with \
                  ?endpoint=http://host:port"
                .into())
        }
    }
}
