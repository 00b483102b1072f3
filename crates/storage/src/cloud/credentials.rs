//! Where S3 credentials come from, in the order that Amazon's own tools use: environment, profile files (keys
//! or a `credential_process`), web identity, container, instance metadata. The library below does the first
//! and the last three; this file reads profiles.
//!
//! What a profile can ask for and we cannot do (single sign-on, assuming a role through another profile) is
//! refused by name, never skipped: falling through to somebody else's credentials would write into the wrong
//! account.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::sync::Mutex;
use world::World;

use super::courier::{Heard, hear, within};
use crate::Environment;

/// What was found out before anything is sent.
pub(super) struct Found {
    pub(super) credentials: Credentials,
    /// The region that environment or profile name.
    pub(super) region: Option<String>,
}

pub(super) enum Credentials {
    /// A profile's keys or process.
    Provider(Arc<dyn CredentialProvider<Credential = AwsCredential>>),
    /// A profile that names a role and a token.
    WebIdentity { token_file: String, role_arn: String },
    /// The chain of variables and metadata services.
    Environment,
}

/// Looks for credentials; the error is a sentence for people.
pub(super) fn find(environment: &Environment, world: &World) -> Result<Found, String> {
    let named = environment.get("AWS_REGION").or(environment.get("AWS_DEFAULT_REGION")).map(str::to_owned);
    let files = Files::of(environment);
    let profile = files.profile()?;
    let region = named.or(profile.get("region").cloned());
    let credentials = if environment.get("AWS_ACCESS_KEY_ID").is_some() {
        Credentials::Environment
    } else {
        of_profile(&files, &profile, world)?
    };
    if matches!(credentials, Credentials::Environment) {
        something_answers(environment)?;
    }
    Ok(Found { credentials, region })
}

fn of_profile(files: &Files, profile: &Profile, world: &World) -> Result<Credentials, String> {
    let name = &files.name;
    if profile.contains_key("aws_access_key_id") {
        let source = Source::Files(files.clone());
        return Ok(Credentials::Provider(Arc::new(Provider::new(source, world))));
    }
    if let Some(command) = profile.get("credential_process") {
        let source = Source::Process(command.clone());
        return Ok(Credentials::Provider(Arc::new(Provider::new(source, world))));
    }
    if let Some(option) =
        profile.keys().find(|option| option.starts_with("sso_") || *option == "login_session")
    {
        return Err(format!(
            "profile {name} uses single sign-on ({option}), which is not supported; give it a \
             credential_process, as in `aws configure export-credentials --profile {name}`"
        ));
    }
    match (profile.get("web_identity_token_file"), profile.get("role_arn")) {
        (Some(token_file), Some(role_arn)) => {
            Ok(Credentials::WebIdentity { token_file: token_file.clone(), role_arn: role_arn.clone() })
        }
        (None, Some(_)) => Err(format!(
            "profile {name} assumes a role through other credentials, which is not supported; give it a \
             credential_process, as in `aws configure export-credentials --profile {name}`"
        )),
        _ => Ok(Credentials::Environment),
    }
}

/// Without this, a machine outside any cloud would wait for metadata services that are switched off.
fn something_answers(environment: &Environment) -> Result<(), String> {
    let sources = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let off = environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if off && sources.iter().all(|variable| environment.get(variable).is_none()) {
        return Err("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE".into());
    }
    Ok(())
}

type Profile = BTreeMap<String, String>;

/// The two files of profiles, and which profile counts.
#[derive(Clone, Debug)]
struct Files {
    name: String,
    /// Whether somebody asked for this profile.
    asked: bool,
    credentials: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Files {
    fn of(environment: &Environment) -> Files {
        let home = environment.get("HOME").map(|home| Path::new(home).join(".aws"));
        let path = |variable, name| {
            let given = environment.get(variable).map(PathBuf::from);
            given.or(home.as_ref().map(|home| home.join(name)))
        };
        let asked = environment.get("AWS_PROFILE").filter(|name| !name.is_empty());
        Files {
            name: asked.unwrap_or("default").to_owned(),
            asked: asked.is_some(),
            credentials: path("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: path("AWS_CONFIG_FILE", "config"),
        }
    }

    /// The profile from both files; what the credentials file says counts more.
    fn profile(&self) -> Result<Profile, String> {
        let config_section =
            if self.name == "default" { self.name.clone() } else { format!("profile {}", self.name) };
        let from_config = section_of(self.config.as_deref(), &config_section)?;
        let from_credentials = section_of(self.credentials.as_deref(), &self.name)?;
        if self.asked && from_config.is_none() && from_credentials.is_none() {
            return Err(format!("there is no profile {}, which AWS_PROFILE names", self.name));
        }
        let mut profile = from_config.unwrap_or_default();
        profile.extend(from_credentials.unwrap_or_default());
        Ok(profile)
    }
}

fn section_of(file: Option<&Path>, section: &str) -> Result<Option<Profile>, String> {
    let Some(file) = file else { return Ok(None) };
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(section_in(&text, section)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("the profile file {} cannot be read: {e}", file.display())),
    }
}

/// The settings of one section; nested ones (indented lines) are none of ours.
fn section_in(text: &str, section: &str) -> Option<Profile> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines() {
        let plain = line.trim();
        if let Some(header) = plain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            inside = header.0.split_whitespace().eq(section.split_whitespace());
            if inside {
                found.get_or_insert_with(Profile::new);
            }
        } else if inside && !line.starts_with([' ', '\t', '#', ';']) {
            let setting = plain.split_once('=').zip(found.as_mut());
            if let Some(((name, value), profile)) = setting {
                profile.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
    }
    found
}

/// Where a provider looks when what it has is used up.
#[derive(Debug)]
enum Source {
    /// The files again: other tools renew the keys in them.
    Files(Files),
    /// A command that prints credentials as JSON.
    Process(String),
}

/// Credentials that are fetched when they are needed and again before they expire.
#[derive(Debug)]
struct Provider {
    source: Source,
    world: World,
    /// What was fetched last, and until when it counts, in nanoseconds since 1970.
    last: Mutex<Option<(Arc<AwsCredential>, i64)>>,
}

const SECOND_NS: i64 = 1_000_000_000;
/// Files are looked at again this often.
const FILES_AGAIN_NS: i64 = 60 * SECOND_NS;
/// Renewed this long before they expire, so that no request in flight outlives them.
const BEFORE_EXPIRY_NS: i64 = 5 * 60 * SECOND_NS;
const PROCESS_MAX: Duration = Duration::from_secs(60);

impl Provider {
    fn new(source: Source, world: &World) -> Provider {
        Provider { source, world: world.clone(), last: Mutex::new(None) }
    }

    async fn fetch(&self) -> Result<(AwsCredential, i64), String> {
        let now_ns = self.world.now_ns();
        match &self.source {
            Source::Files(files) => Ok((keys_of(files)?, now_ns.saturating_add(FILES_AGAIN_NS))),
            Source::Process(command) => {
                let run = within(&self.world, PROCESS_MAX, printed_by(command));
                let printed = run.await.ok_or("credential_process did not end within 60 s")??;
                let (credential, expires_ns) = parsed(&printed)?;
                let until_ns = expires_ns.map_or(i64::MAX, |at| at.saturating_sub(BEFORE_EXPIRY_NS));
                // Credentials that live shorter than the margin are fetched each time, not refused.
                Ok((credential, until_ns))
            }
        }
    }
}

#[async_trait]
impl CredentialProvider for Provider {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().await;
        if let Some((credential, until_ns)) = &*last
            && self.world.now_ns() < *until_ns
        {
            return Ok(credential.clone());
        }
        let (credential, until_ns) = self.fetch().await.map_err(|text| {
            hear(Some(Heard::NoCredentials { text: text.clone() }));
            object_store::Error::Generic { store: "S3", source: text.into() }
        })?;
        let credential = Arc::new(credential);
        *last = Some((credential.clone(), until_ns));
        Ok(credential)
    }
}

fn keys_of(files: &Files) -> Result<AwsCredential, String> {
    let profile = files.profile()?;
    let value = |option: &str| {
        let missing = || format!("profile {} has no {option}", files.name);
        profile.get(option).filter(|value| !value.is_empty()).cloned().ok_or_else(missing)
    };
    Ok(AwsCredential {
        key_id: value("aws_access_key_id")?,
        secret_key: value("aws_secret_access_key")?,
        token: value("aws_session_token").ok(),
    })
}

async fn printed_by(command: &str) -> Result<Vec<u8>, String> {
    let mut shell = tokio::process::Command::new("sh");
    let ended =
        shell.arg("-c").arg(command).stdin(std::process::Stdio::null()).kill_on_drop(true).output().await;
    let ended = ended.map_err(|e| format!("credential_process cannot be run: {e}"))?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().last().unwrap_or_default();
    Err(format!("credential_process failed ({}): {said}", ended.status))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// Credentials and when they expire, from what a process printed. What it printed is in no message: it is
/// secret.
fn parsed(printed: &[u8]) -> Result<(AwsCredential, Option<i64>), String> {
    let printed: Printed = serde_json::from_slice(printed).map_err(|e| {
        format!("credential_process printed no credentials (line {}, column {})", e.line(), e.column())
    })?;
    if printed.version != 1 {
        return Err(format!("credential_process printed version {}, and only 1 is known", printed.version));
    }
    let expires_ns = printed.expiration.map(|at| {
        let at: jiff::Timestamp = at.parse().map_err(|_| "credential_process printed no RFC 3339 time")?;
        Ok::<_, String>(i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX))
    });
    let credential = AwsCredential {
        key_id: printed.access_key_id,
        secret_key: printed.secret_access_key,
        token: printed.session_token,
    };
    Ok((credential, expires_ns.transpose()?))
}

#[cfg(test)]
mod tests;
