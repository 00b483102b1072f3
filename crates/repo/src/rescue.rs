//! What helps to restore where nothing is installed, kept in the clear beside the repository; section 15 of
//! `docs/format.md`.
//!
//! Objects first, each seen in the region, then one entry of the root that brings them: so whoever knows the repository's
//! id can tell what the owner stored from what somebody put there. The program itself proves nothing about itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use format::entry::Brought;
use format::fact::Fact;
use format::id::{Hash, SessionId};
use format::limit::RESCUE_BYTES_MAX;
use storage::ObjectKey;

use crate::error::Error;
use crate::fold::{Fold, RescueRecord};
use crate::io::Io;
use crate::layout;
use crate::repo::{Link, Repo, Said};

/// How what lies in the region compares with what was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lying {
    /// As signed; as far as was looked.
    AsSigned,
    /// It was signed and is gone.
    Missing,
    /// Other bytes lie there.
    Altered,
    /// It lies there and nobody signed it.
    Unsigned,
}

/// An object that helps to restore, or pretends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RescueItem {
    /// Its name.
    pub name: String,
    /// Its size in bytes: as signed, or as it lies there where nobody signed it.
    pub size: u64,
    /// What the root signed.
    pub signed: Option<RescueRecord>,
    /// How it lies there.
    pub lying: Lying,
    /// Its bytes, where they were read and are as signed.
    pub bytes: Option<Bytes>,
}

impl Repo {
    /// Stores objects that help to restore, and signs for them. Those that are there are looked at again; those that were
    /// signed for are not signed for twice.
    pub fn store_rescue(&self, objects: &[(ObjectKey, Bytes)]) -> Result<(), Error> {
        let root = self.root_signer()?;
        self.allow("write")?;
        for (key, bytes) in objects {
            self.io.put_seen(key, bytes.clone())?;
        }
        let fold = self.refresh()?;
        let new = objects.iter().filter(|(key, _)| !fold.rescue.contains_key(key.as_str()));
        let brought = |(key, bytes): &(ObjectKey, Bytes)| Brought {
            name: key.to_string(),
            size: bytes.len() as u64,
            hash: Hash::of(bytes),
        };
        let brings: Vec<Brought> = new.map(brought).collect();
        if brings.is_empty() {
            return Ok(());
        }
        let mut chance = self.world.chance();
        let link = Link { session: SessionId(chance.bytes()), number: 0, previous: Hash::NONE };
        let local = Some(self.io.region_name().to_owned());
        self.append(&root, link, &[Fact::End], Said { brings, deps: Vec::new(), local }, &mut chance)?;
        self.refresh()?;
        Ok(())
    }
}

/// All that was signed or lies there, by name; looks at names and sizes only.
pub fn rescue_items(io: &Io, fold: &Fold) -> Result<Vec<RescueItem>, Error> {
    let there: BTreeMap<String, u64> =
        io.list(&layout::rescues())?.into_iter().map(|o| (o.key.to_string(), o.size)).collect();
    let names: BTreeSet<&String> = there.keys().chain(fold.rescue.keys()).collect();
    Ok(names.into_iter().map(|name| item(name, fold.rescue.get(name), there.get(name))).collect())
}

/// As [`rescue_items`], but reads and hashes what was signed.
pub fn rescue_items_read(io: &Io, fold: &Fold) -> Result<Vec<RescueItem>, Error> {
    let mut items = rescue_items(io, fold)?;
    for item in items.iter_mut().filter(|item| item.lying == Lying::AsSigned) {
        let key = ObjectKey::new(&item.name)?;
        match io.get_small(&key, item.size.min(RESCUE_BYTES_MAX)) {
            Ok(bytes) if item.signed.is_some_and(|signed| signed.hash == Hash::of(&bytes)) => {
                item.bytes = Some(bytes);
            }
            Ok(_) => item.lying = Lying::Altered,
            Err(Error::Storage(error)) if error.is_not_found() => item.lying = Lying::Missing,
            Err(error) if error.is_about_object() => item.lying = Lying::Altered,
            Err(error) => return Err(error),
        }
    }
    Ok(items)
}

fn item(name: &str, signed: Option<&RescueRecord>, there: Option<&u64>) -> RescueItem {
    let lying = match (signed, there) {
        (None, _) => Lying::Unsigned,
        (Some(_), None) => Lying::Missing,
        (Some(signed), Some(size)) if signed.size != *size => Lying::Altered,
        _ => Lying::AsSigned,
    };
    let size = signed.map(|signed| signed.size).or(there.copied()).unwrap_or_default();
    RescueItem { name: name.to_owned(), size, signed: signed.copied(), lying, bytes: None }
}
