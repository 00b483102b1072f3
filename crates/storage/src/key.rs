//! Names of objects, checked once where they are made.
//!
//! A key is what every store we know takes without escaping, folding case or normalising: components of `a-z
//! 0-9 . _ -` joined by `/`. A component does not begin with a dot, so neither `..` nor the hidden names that
//! a local store needs for itself can be spelled.

use std::fmt;

use crate::Error;

/// The longest key, in bytes. S3 takes 1,024; the rest is left for the prefix of a location.
pub const KEY_BYTES_MAX: usize = 512;

/// The name of an object within its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks `key`; [`Error::BadKey`] says what is wrong with it.
    pub fn new(key: &str) -> Result<ObjectKey, Error> {
        match fault_of(key) {
            None => Ok(ObjectKey(key.to_owned())),
            Some(why) => Err(Error::BadKey { key: shortened(key), why }),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ObjectKey {
    type Err = Error;

    fn from_str(key: &str) -> Result<ObjectKey, Error> {
        ObjectKey::new(key)
    }
}

/// The beginning of keys, by whole components: empty (all objects), or a key followed by `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The prefix of every key.
    pub fn all() -> KeyPrefix {
        KeyPrefix::default()
    }

    /// Checks `prefix`; [`Error::BadKey`] says what is wrong with it.
    pub fn new(prefix: &str) -> Result<KeyPrefix, Error> {
        let why = match prefix.strip_suffix('/') {
            Some(key) => fault_of(key),
            None if prefix.is_empty() => None,
            None => Some("a prefix is empty or ends with a slash"),
        };
        match why {
            None => Ok(KeyPrefix(prefix.to_owned())),
            Some(why) => Err(Error::BadKey { key: shortened(prefix), why }),
        }
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `key` lies beneath this prefix.
    pub fn covers(&self, key: &ObjectKey) -> bool {
        key.0.starts_with(&self.0)
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "all objects" } else { &self.0 })
    }
}

impl std::str::FromStr for KeyPrefix {
    type Err = Error;

    fn from_str(prefix: &str) -> Result<KeyPrefix, Error> {
        KeyPrefix::new(prefix)
    }
}

fn fault_of(key: &str) -> Option<&'static str> {
    let foreign = |c: char| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | '/');
    if key.is_empty() {
        Some("it is empty")
    } else if key.len() > KEY_BYTES_MAX {
        Some("it is longer than 512 bytes")
    } else if key.contains(foreign) {
        Some("only a-z, 0-9, '.', '_', '-' and '/' are allowed")
    } else if key.split('/').any(str::is_empty) {
        Some("a component is empty")
    } else if key.split('/').any(|component| component.starts_with('.')) {
        Some("a component begins with a dot")
    } else {
        None
    }
}

fn shortened(key: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 64;
    let mut shown: String = key.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < key.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_every_store_takes_are_taken() {
        for key in ["format", "packs/7f/7f3a.pack", "log/w-1/s_2/00000001-ab", &"a".repeat(512)] {
            assert_eq!(ObjectKey::new(key).unwrap().as_str(), key);
        }
    }

    #[test]
    fn other_keys_are_refused_with_the_reason() {
        let too_long = "a".repeat(513);
        for (key, why) in [
            ("", "empty"),
            (&too_long[..], "longer"),
            ("Packs/a", "allowed"),
            ("a b", "allowed"),
            ("é", "allowed"),
            ("a\0", "allowed"),
            ("a//b", "component is empty"),
            ("/a", "component is empty"),
            ("a/", "component is empty"),
            ("a/../b", "dot"),
            (".incoming/1", "dot"),
        ] {
            let told = ObjectKey::new(key).unwrap_err().to_string();
            assert!(told.contains(why), "{key:?}: {told}");
        }
    }

    #[test]
    fn a_prefix_is_empty_or_ends_with_a_slash() {
        for prefix in ["", "packs/", "log/w/s/"] {
            assert_eq!(KeyPrefix::new(prefix).unwrap().as_str(), prefix);
        }
        for prefix in ["packs", "/", "a//", "A/"] {
            KeyPrefix::new(prefix).unwrap_err();
        }
    }

    #[test]
    fn a_prefix_covers_whole_components_only() {
        let covers = |prefix, key| KeyPrefix::new(prefix).unwrap().covers(&ObjectKey::new(key).unwrap());
        assert!(covers("", "format") && covers("packs/", "packs/a"));
        assert!(!covers("packs/", "packs2/a"));
    }
}
