//! How places are opened: the network, its limits, and the environment that credentials come from; and the
//! one function that opens them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use world::World;

use crate::{Error, Limited, Limits, Local, Location, Measured, Patience, Retrying, Store, cloud};

/// Everything about opening a place that its location does not say.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// PEM file of further authorities whose certificates are trusted.
    pub ca_file: Option<PathBuf>,
    /// Requests in flight, and bytes per second: behind HTTP on the line itself, elsewhere per object.
    pub limits: Limits,
    /// How long to go on trying.
    pub patience: Patience,
    /// Variables that name credentials and proxies; see [`Environment::of_process`].
    pub environment: Environment,
}

/// Environment variables, as a value: read once, at the door.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process that name credentials or where to find them, and proxies.
    pub fn of_process() -> Environment {
        let ours = |name: &str| {
            name == "HOME"
                || ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix))
                || ["_PROXY", "_proxy"].iter().any(|suffix| name.ends_with(suffix))
        };
        let variables = std::env::vars_os();
        let text =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Environment(text.filter(|(name, _)| ours(name)).collect())
    }

    /// The value of a variable; an empty one counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Environment {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl std::fmt::Debug for Environment {
    /// Names only: the values are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Opens a place with retries, limits and measures around it. Sends nothing yet, and touches no object.
///
/// The timeouts of a place behind HTTP are kept by `world`: where its clock stands still, only what answers
/// at once is in time.
pub fn open(location: &Location, settings: &Settings, world: &World) -> Result<Arc<dyn Store>, Error> {
    Ok(open_measured(location, settings, world)?)
}

/// As [`open`], keeping hold of the measures. Each measured call includes its retries and its waiting for a
/// limit.
pub fn open_measured(
    location: &Location,
    settings: &Settings,
    world: &World,
) -> Result<Arc<Measured>, Error> {
    let base = open_bare(location, settings, world)?;
    let limits = match location {
        Location::Local(_) => settings.limits,
        _ => Limits { upload: None, download: None, ..settings.limits },
    };
    let limited = Arc::new(Limited::new(base, limits, world));
    let retrying = Arc::new(Retrying::new(limited, settings.patience, world));
    Ok(Arc::new(Measured::new(retrying, world)))
}

/// Opens a place with nothing around it: what fails, fails at once. Limits of bytes hold behind HTTP alone.
pub fn open_bare(location: &Location, settings: &Settings, world: &World) -> Result<Arc<dyn Store>, Error> {
    match location {
        Location::Local(path) => {
            let refused = |e: std::io::Error| Error::BadLocation {
                location: location.to_string(),
                why: format!("the current directory is not known: {e}"),
            };
            let root = std::path::absolute(path).map_err(refused)?;
            Ok(Arc::new(Local::at(&root, world)))
        }
        Location::S3(bucket) | Location::Gcs(bucket) | Location::Azure(bucket) => {
            Ok(Arc::new(cloud::open(location, bucket, settings, world)?))
        }
    }
}
