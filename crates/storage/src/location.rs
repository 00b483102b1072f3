//! The name of a place, as people type it: a path or a URL. Parsed once, here; what it cannot mean is refused
//! with what it could have been.
//!
//! A location never holds a secret, so it may be shown, logged and signed. One that was typed with a secret
//! in it (`s3://key:secret@bucket`) is refused without repeating it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use crate::Error;

/// Where a region's objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Local(PathBuf),
    /// A bucket of S3, or of a store that speaks its protocol.
    S3(Bucket),
    /// A bucket of Google Cloud Storage.
    Gcs(Bucket),
    /// A container of Azure Blob Storage.
    Azure(Bucket),
}

/// A bucket or container, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Path within it, without slashes at its ends; empty for all of it.
    pub prefix: String,
    /// The server, where it is not the provider's own.
    pub endpoint: Option<Url>,
    /// S3's region.
    pub region: Option<String>,
    /// Azure's account.
    pub account: Option<String>,
    /// Whether uploads carry a CRC-64/NVME for the store to check; some old stores refuse it.
    pub checksum: bool,
}

impl Location {
    /// The path of a local place.
    pub fn as_local(&self) -> Option<&Path> {
        match self {
            Location::Local(path) => Some(path),
            _ => None,
        }
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Location {
        Location::Local(path)
    }
}

const ACCEPTED: &str = "a path, file:///path, s3://bucket/prefix?endpoint=http://host:port&region=r, \
                        gs://bucket/prefix or az://container/prefix?account=a is accepted";

impl FromStr for Location {
    type Err = Error;

    fn from_str(typed: &str) -> Result<Location, Error> {
        let refused = |why: String| Error::BadLocation { location: without_secrets(typed), why };
        if typed.is_empty() {
            return Err(refused(format!("it is empty; {ACCEPTED}")));
        }
        if typed.contains('\0') {
            return Err(refused("it contains a zero byte".into()));
        }
        let Some((scheme, _)) = typed.split_once("://") else {
            return local(typed).map_err(refused);
        };
        let url = Url::parse(typed).map_err(|e| refused(format!("{e}; {ACCEPTED}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused(
                "credentials do not belong into a location; set them in the environment".into(),
            ));
        }
        match scheme {
            "file" => file(&url),
            "s3" => bucket(&url, &["endpoint", "region", "checksum"]).map(Location::S3),
            "gs" => bucket(&url, &["endpoint"]).map(Location::Gcs),
            "az" => bucket(&url, &["endpoint", "account"]).map(Location::Azure),
            _ => Err(format!("{scheme}:// is not known; {ACCEPTED}")),
        }
        .map_err(refused)
    }
}

fn local(typed: &str) -> Result<Location, String> {
    for scheme in ["file:", "s3:", "gs:", "az:"] {
        if let Some(rest) = typed.strip_prefix(scheme) {
            let rest = rest.trim_start_matches('/');
            // What stands before an @ may be a secret, which is never repeated.
            let shown = if rest.contains('@') { "BUCKET/PREFIX" } else { rest };
            return Err(format!(
                "two slashes are missing, as in {scheme}//{shown}; a path may begin with ./"
            ));
        }
    }
    Ok(Location::Local(PathBuf::from(typed)))
}

fn file(url: &Url) -> Result<Location, String> {
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a file URL has no ? and no #; write %3F and %23".into());
    }
    let path = url.to_file_path();
    path.map(Location::Local).map_err(|()| "a file URL names no host: file:///path has three slashes".into())
}

fn bucket(url: &Url, accepted: &[&str]) -> Result<Bucket, String> {
    let name = url.host_str().unwrap_or_default();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(format!("a bucket's name is missing or wrong; {ACCEPTED}"));
    }
    if url.port().is_some() {
        return Err("a bucket has no port; the server goes into ?endpoint=".into());
    }
    if url.fragment().is_some() {
        return Err("it has a #, which no part of it can hold".into());
    }
    let mut bucket = Bucket {
        name: name.to_owned(),
        prefix: prefix(url.path())?,
        endpoint: None,
        region: None,
        account: None,
        checksum: true,
    };
    for (option, value) in url.query_pairs() {
        if !accepted.contains(&&*option) {
            return Err(format!("the option {option} is not known; {} is accepted", accepted.join(", ")));
        }
        match &*option {
            "endpoint" => bucket.endpoint = Some(endpoint(&value)?),
            "region" => bucket.region = Some(word("region", &value)?),
            "account" => bucket.account = Some(word("account", &value)?),
            _ => bucket.checksum = checksum(&value)?,
        }
    }
    Ok(bucket)
}

fn prefix(path: &str) -> Result<String, String> {
    let prefix = path.trim_matches('/');
    let plain = |component: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "._-=+@,!".contains(c);
        !component.is_empty() && component != "." && component != ".." && component.chars().all(known)
    };
    const PREFIX_BYTES_MAX: usize = 256;
    if prefix.is_empty() || (prefix.len() <= PREFIX_BYTES_MAX && prefix.split('/').all(plain)) {
        Ok(prefix.to_owned())
    } else {
        Err("a prefix has at most 256 letters, digits and . _ - = + @ , ! between single slashes".into())
    }
}

fn endpoint(value: &str) -> Result<Url, String> {
    let url = Url::parse(value)
        .map_err(|_| "the endpoint is no URL: it begins with http:// or https://".to_owned())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        Ok(url)
    } else {
        Err("an endpoint is http://host:port or https://host:port, without credentials".into())
    }
}

fn word(option: &str, value: &str) -> Result<String, String> {
    if !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        Ok(value.to_owned())
    } else {
        Err(format!("the {option} is not made of letters, digits and -"))
    }
}

fn checksum(value: &str) -> Result<bool, String> {
    match value {
        "crc64nvme" => Ok(true),
        "none" => Ok(false),
        _ => Err("checksum is crc64nvme or none".into()),
    }
}

/// What was typed, without anything before an `@` and without values of options.
fn without_secrets(typed: &str) -> String {
    let Some((scheme, rest)) = typed.split_once("://") else { return typed.replace('\0', "\\0") };
    let (place, options) = rest.split_once('?').map_or((rest, ""), |(place, options)| (place, options));
    let place = place.rsplit_once('@').map_or(place.to_owned(), |(_, host)| format!("...@{host}"));
    let options = if options.is_empty() { "" } else { "?..." };
    format!("{scheme}://{place}{options}")
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(path) => write!(f, "{}", path.display()),
            Location::S3(bucket) => write!(f, "s3://{bucket}"),
            Location::Gcs(bucket) => write!(f, "gs://{bucket}"),
            Location::Azure(bucket) => write!(f, "az://{bucket}"),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        let endpoint = self.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        let options = [("endpoint", endpoint.as_ref()), ("region", self.region.as_ref())];
        let options = options.into_iter().chain([("account", self.account.as_ref())]);
        let mut joint = '?';
        for (option, value) in options.filter_map(|(option, value)| Some((option, value?))) {
            write!(f, "{joint}{option}={value}")?;
            joint = '&';
        }
        if !self.checksum {
            write!(f, "{joint}checksum=none")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::{Remedied, Remedy};

    #[test]
    fn what_is_shown_can_be_typed_again() {
        for typed in [
            "/srv/backups",
            "relative/dir",
            "./s3:odd",
            "s3://backups",
            "s3://backups/prod/db",
            "s3://backups/prod?endpoint=http://127.0.0.1:9000&region=eu-1",
            "s3://backups?region=eu-central-1&checksum=none",
            "gs://backups/team=a",
            "az://backups/x?account=seawall",
            "az://backups?endpoint=http://127.0.0.1:10000/devstoreaccount1&account=devstoreaccount1",
        ] {
            let location: Location = typed.parse().unwrap();
            assert_eq!(location.to_string(), typed);
            assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
        }
    }

    #[test]
    fn a_file_url_is_a_path() {
        assert_eq!("file:///srv/a%20b".parse::<Location>().unwrap(), PathBuf::from("/srv/a b").into());
    }

    #[test]
    fn slashes_around_a_prefix_do_not_count() {
        assert_eq!("s3://b/p/q/".parse::<Location>().unwrap().to_string(), "s3://b/p/q");
        assert_eq!("s3://b/".parse::<Location>().unwrap().to_string(), "s3://b");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_is_accepted() {
        for (typed, hint) in [
            ("", "s3://bucket/prefix"),
            ("ftp://host/x", "ftp:// is not known; a path, file:///path, s3://"),
            ("s3:bucket/x", "s3://bucket/x"),
            ("s3://", "bucket's name"),
            ("s3://b:9000/x", "?endpoint="),
            ("s3://b/x//y", "single slashes"),
            ("s3://b/a%20b", "a prefix has"),
            ("s3://b/x?endpont=http://h", "the option endpont is not known; endpoint, region"),
            ("s3://b/x?endpoint=ftp://h", "http://host:port"),
            ("s3://b/x?endpoint=h:9000", "http://host:port"),
            ("s3://b/x?region=a b", "the region"),
            ("s3://b/x?checksum=md5", "crc64nvme or none"),
            ("gs://b?region=x", "the option region is not known"),
            ("file://host/x", "three slashes"),
            ("a\0b", "zero byte"),
        ] {
            let refused = typed.parse::<Location>().unwrap_err();
            assert!(refused.to_string().contains(hint), "{typed}: {refused}");
            assert_eq!(refused.remedy(), Remedy::Correct);
        }
    }

    #[test]
    fn a_secret_in_a_location_is_refused_and_never_shown() {
        for typed in [
            "s3://AKIA:hunter2@bucket/x",
            "s3://b/x?secret_access_key=hunter2",
            "s3://b/x?endpoint=http://u:hunter2@h",
            "ftp://u:hunter2@h/x",
            "s3://b/x?endpoint=http://u:hunter2@h:1:2",
        ] {
            let refused = typed.parse::<Location>().unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused:?}");
        }
    }
}
