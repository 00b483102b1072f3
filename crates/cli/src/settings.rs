//! What was typed becomes what is meant, once: flags first, then the environment, then the user's own directories.
//!
//! A value that is empty counts as not given. HOME is needed only for what was not said otherwise.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use format::id::RepoId;
use storage::{Limits, Location, Patience};
use zeroize::Zeroizing;

use crate::args::Global;
use crate::error::Error;
use crate::show;

/// The variables of the process that settings come from.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Those of this process.
    pub(crate) fn of_process() -> Environment {
        let ours = |name: &str| name == "HOME" || name.starts_with("SEAWALL_") || name.starts_with("XDG_");
        Environment(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)).collect())
    }

    fn get(&self, name: &str) -> Option<OsString> {
        self.0.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty()).cloned()
    }

    /// Whether it is set to nothing.
    fn is_empty(&self, name: &str) -> bool {
        self.0.get(std::ffi::OsStr::new(name)).is_some_and(|value| value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// A folder of ours in one of the user's directories; a relative one does not count, as the XDG specification says.
    fn user_dir(&self, variable: &str, usual: &str) -> Option<PathBuf> {
        let set = self.path(variable).filter(|path| path.is_absolute());
        let dir = set.or_else(|| self.path("HOME").map(|home| home.join(usual)));
        dir.map(|dir| dir.join("seawall"))
    }
}

/// Where the repository is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Where {
    /// The place.
    pub(crate) location: Location,
    /// As it was typed; `None` for the user's own, embedded one.
    pub(crate) typed: Option<OsString>,
}

/// What opens the repository, not yet read.
#[derive(PartialEq, Eq)]
pub(crate) enum SecretFrom {
    /// A key file or a bundle.
    KeyFile(PathBuf),
    /// A file that holds a passphrase.
    PassphraseFile(PathBuf),
    /// The passphrase itself.
    Passphrase(Zeroizing<String>),
    /// Whoever sits at the terminal.
    Prompt,
}

/// Where the repository is.
pub(crate) fn repository(global: &Global, environment: &Environment) -> Result<Where, Error> {
    let given = global.repo.clone();
    let empty = given.as_ref().is_some_and(|value| value.is_empty());
    if empty || (given.is_none() && environment.is_empty("SEAWALL_REPO")) {
        let what = "the repository is given as an empty word, as a variable that is not set leaves it; leave out --repo \
                    and SEAWALL_REPO for the usual place";
        return Err(Error::Request(what.to_owned()));
    }
    let Some(typed) = given.or_else(|| environment.get("SEAWALL_REPO")) else {
        let dir = environment.user_dir("XDG_DATA_HOME", ".local/share");
        let dir = dir.ok_or(Error::NoHome { what: "repository", flag: "--repo" })?;
        return Ok(Where { location: Location::Local(dir.join("repository")), typed: None });
    };
    let location = match typed.to_str() {
        Some(text) => text.parse()?,
        None => Location::Local(PathBuf::from(&typed)),
    };
    Ok(Where { location, typed: Some(typed) })
}

/// What opens the repository.
pub(crate) fn secret(global: &Global, environment: &Environment) -> Result<SecretFrom, Error> {
    match (&global.key_file, &global.passphrase_file, global.passphrase) {
        (Some(path), None, false) => return Ok(SecretFrom::KeyFile(path.clone())),
        (None, Some(path), false) => return Ok(SecretFrom::PassphraseFile(path.clone())),
        (None, None, true) => return Ok(SecretFrom::Prompt),
        (None, None, false) => {}
        _ => {
            let what = "only one of --key-file, --passphrase-file and --passphrase can open the repository";
            return Err(Error::Request(what.to_owned()));
        }
    }
    if let Some(path) = environment.path("SEAWALL_KEY_FILE") {
        return Ok(SecretFrom::KeyFile(path));
    }
    if let Some(words) = environment.get("SEAWALL_PASSPHRASE") {
        let words =
            words.into_string().map_err(|_| Error::Request("SEAWALL_PASSPHRASE is not UTF-8".to_owned()))?;
        return Ok(SecretFrom::Passphrase(Zeroizing::new(words)));
    }
    let dir = environment.user_dir("XDG_CONFIG_HOME", ".config");
    let dir = dir.ok_or(Error::NoHome { what: "key file", flag: "--key-file" })?;
    Ok(SecretFrom::KeyFile(dir.join("key")))
}

/// Where this host keeps what is its own.
pub(crate) fn state(global: &Global, environment: &Environment) -> Result<PathBuf, Error> {
    let given = global.state.clone().or_else(|| environment.path("SEAWALL_STATE"));
    let dir = given.or_else(|| environment.user_dir("XDG_STATE_HOME", ".local/state"));
    let dir = dir.ok_or(Error::NoHome { what: "local state", flag: "--state" })?;
    std::path::absolute(&dir).map_err(Error::local("find", dir))
}

/// The repository that must be there.
pub(crate) fn trust(typed: Option<&str>) -> Result<Option<RepoId>, Error> {
    let parse = |text: &str| {
        let why = |error| Error::Request(format!("the fingerprint {text} is {error}"));
        RepoId::parse(&text.trim().to_ascii_lowercase()).map_err(why)
    };
    typed.map(parse).transpose()
}

/// How the place is spoken to.
pub(crate) fn network(global: &Global) -> Result<storage::Settings, Error> {
    let rate = |flag: &str, typed: &Option<String>| {
        let told = |error| Error::Request(format!("{flag}: {error}"));
        typed.as_deref().map(|typed| bytes(typed).map_err(told)).transpose()
    };
    let limits = Limits {
        upload: rate("--limit-upload", &global.limit_upload)?,
        download: rate("--limit-download", &global.limit_download)?,
        ..Limits::default()
    };
    let environment = storage::Environment::of_process();
    let patience = global.retry_for.as_deref().map(duration).transpose()?;
    let patience = patience.map(Patience::lasting).unwrap_or_default();
    Ok(storage::Settings { ca_file: global.ca_file.clone(), limits, environment, patience })
}

/// A time as people type it: `90s`, `15m`, `2h`.
pub(crate) fn duration(typed: &str) -> Result<Duration, Error> {
    let bad = || Error::Request(format!("{typed} is not a time such as 90s, 15m or 2h"));
    let digits = typed.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = typed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds: u64 = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(bad()),
    };
    number.checked_mul(seconds).filter(|total| *total > 0).map(Duration::from_secs).ok_or_else(bad)
}

/// A number of bytes as people type it: `500k`, `10M`, `1.5GiB`. Letters alone count in thousands.
pub(crate) fn bytes(typed: &str) -> Result<u64, Error> {
    let bad = || Error::Request(format!("{typed} is not a number of bytes such as 500k, 10M or 1GiB"));
    let digits = typed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(typed.len());
    let (number, unit) = typed.split_at(digits);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let unit = unit.trim().to_ascii_lowercase();
    let factor: u64 = match unit.trim_end_matches('b') {
        "" => 1,
        "k" => 1000,
        "m" => 1000_u64.pow(2),
        "g" => 1000_u64.pow(3),
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        _ => return Err(bad()),
    };
    let value = number * factor as f64;
    // A float turns into the nearest number that fits; everything below one byte is a mistake.
    if value >= 1.0 { Ok(value as u64) } else { Err(bad()) }
}

/// The settings that lead to the same repository, as a person would type them again.
pub(crate) fn shown_flags(global: &Global, environment: &Environment) -> String {
    let mut flags = String::new();
    let mut add = |flag: &str, value: Option<&Path>| {
        if let Some(value) = value {
            flags.push_str(&format!(" {flag} {}", show::shell_word(value.as_os_str())));
        }
    };
    let repo = global.repo.clone().filter(|r| !r.is_empty()).or_else(|| environment.get("SEAWALL_REPO"));
    add("--repo", repo.as_deref().map(Path::new));
    add("--key-file", global.key_file.as_deref());
    add("--passphrase-file", global.passphrase_file.as_deref());
    add("--state", global.state.as_deref());
    if global.passphrase {
        flags.push_str(" --passphrase");
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment(variables.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    fn global() -> Global {
        Global::default()
    }

    #[test]
    fn a_flag_beats_the_environment_and_that_beats_the_usual_place() {
        let usual = environment(&[("HOME", "/home/u")]);
        let place = repository(&global(), &usual).unwrap();
        assert_eq!(place.location, Location::Local("/home/u/.local/share/seawall/repository".into()));
        assert_eq!(place.typed, None);
        let set = environment(&[("HOME", "/home/u"), ("SEAWALL_REPO", "/a")]);
        assert_eq!(repository(&global(), &set).unwrap().location, Location::Local("/a".into()));
        let typed = Global { repo: Some("/b".into()), ..global() };
        assert_eq!(repository(&typed, &set).unwrap().location, Location::Local("/b".into()));
    }

    #[test]
    fn directories_of_the_user_may_be_elsewhere_but_not_relative() {
        let elsewhere = environment(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x"), ("XDG_CONFIG_HOME", "x")]);
        assert_eq!(state(&global(), &elsewhere).unwrap(), Path::new("/x/seawall"));
        let key = secret(&global(), &elsewhere).unwrap();
        assert!(key == SecretFrom::KeyFile("/h/.config/seawall/key".into()));
    }

    #[test]
    fn without_a_home_only_what_was_not_said_is_missed() {
        let nothing = environment(&[("HOME", "")]);
        assert!(matches!(repository(&global(), &nothing), Err(Error::NoHome { flag: "--repo", .. })));
        assert!(matches!(state(&global(), &nothing), Err(Error::NoHome { flag: "--state", .. })));
        let set =
            environment(&[("SEAWALL_REPO", "/r"), ("SEAWALL_STATE", "/s"), ("SEAWALL_PASSPHRASE", "p")]);
        assert!(repository(&global(), &set).is_ok() && state(&global(), &set).is_ok());
        assert!(secret(&global(), &set).unwrap() == SecretFrom::Passphrase("p".to_owned().into()));
    }

    #[test]
    fn two_secrets_at_once_are_refused() {
        let both = Global { key_file: Some("k".into()), passphrase: true, ..global() };
        assert!(matches!(secret(&both, &environment(&[])), Err(Error::Request(_))));
    }

    #[test]
    fn bytes_are_read_as_people_write_them() {
        let rows = [
            ("1", 1),
            ("500k", 500_000),
            ("10M", 10_000_000),
            ("1.5GiB", 3 << 29),
            ("2 MiB", 2 << 20),
            ("3kB", 3000),
        ];
        for (typed, expected) in rows {
            assert_eq!(bytes(typed).unwrap(), expected, "{typed}");
        }
        for bad in ["", "M", "-1", "1x", "0", "0.1", "1MM", "."] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (typed, seconds) in [("90s", 90), ("15m", 900), ("15 min", 900), ("2h", 7200)] {
            assert_eq!(duration(typed).unwrap(), Duration::from_secs(seconds), "{typed}");
        }
        for bad in ["", "5", "s", "0s", "-1s", "1.5h", "1d", "99999999999999999999s", "9999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_to_repeat_names_the_repository_unless_it_is_the_usual_one() {
        assert_eq!(shown_flags(&global(), &environment(&[("HOME", "/h")])), "");
        let typed = Global { repo: Some("/a b".into()), ..global() };
        assert_eq!(shown_flags(&typed, &environment(&[])), " --repo '/a b'");
    }
}
