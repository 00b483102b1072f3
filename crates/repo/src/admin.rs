//! Acts of administrators: key slots and revocations; and the check that needs no key at all.

use format::fact::{Fact, Grant, Revoke};
use format::genesis::Genesis;
use format::id::{RepoId, SlotId, WriterId};
use format::key::{Bundle, Lock, Slot, SlotLabel, Unlock, fresh};
use format::limit::SMALL_OBJECT_BYTES_MAX;
use format::seal::Signer;

use crate::error::Error;
use crate::fold::{Finding, Fold};
use crate::io::Io;
use crate::layout;
use crate::log::{BadEntry, Log, Reading};
use crate::repo::{Repo, read_genesis};
use crate::unlock::{damaged_slots, slots};

/// What anybody can tell of a repository's history with public keys only.
#[derive(Debug)]
pub struct Audit {
    /// The genesis object, whose hash is the trust anchor.
    pub genesis: Genesis,
    /// The log.
    pub log: Log,
    /// What it says, but for sealed facts.
    pub fold: Fold,
}

impl Audit {
    /// What is wrong with the history.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.fold.findings.iter()
    }

    /// Objects under `log/` that are no entries.
    pub fn bad(&self) -> &[BadEntry] {
        &self.log.bad
    }
}

/// Reads and checks a history without any key; `trust` is the repository that must be there.
pub fn audit(io: &Io, trust: Option<RepoId>) -> Result<Audit, Error> {
    let genesis = read_genesis(io)?;
    if let Some(expected) = trust.filter(|expected| *expected != genesis.id) {
        return Err(Error::not_trusted(io.place(), expected, genesis.id));
    }
    let mut log = Log::default();
    log.refresh(io, &Reading { repo: genesis.id, bundle: None })?;
    let fold = Fold::of(log.entries.values(), WriterId::of(&genesis.root_public));
    Ok(Audit { genesis, log, fold })
}

impl Repo {
    /// All key slots, oldest first.
    pub fn slots(&self) -> Result<Vec<Slot>, Error> {
        slots(&self.io, &self.genesis, &mut Vec::new())
    }

    /// What is wrong with key slots that do not read as they should, each as a sentence.
    pub fn damaged_slots(&self) -> Result<Vec<String>, Error> {
        damaged_slots(&self.io, &self.genesis)
    }

    /// Seals the keys at hand for one more secret.
    pub fn add_slot(&self, lock: &Lock, label: &str) -> Result<SlotId, Error> {
        self.must_have_newest_keys()?;
        let root = self.root_signer()?;
        let mut chance = self.world.chance();
        let slot = SlotId(chance.bytes());
        let about = SlotLabel { slot, region: None, label: label.to_owned(), created: self.world.now_ns() };
        let sealed = Slot::seal(&self.bundle, lock, about, &root, &mut chance).map_err(Error::Keys)?;
        self.io.put_seen(&layout::slot(self.bundle.domain, slot), sealed.into_bytes().into())?;
        Ok(slot)
    }

    /// Deletes a slot; the last one with the newest keys stays. Whoever opened it before may have kept the keys. Where two are
    /// removed at once, both look again afterwards, and put back what they took if nothing is left.
    pub fn remove_slot(&self, slot: SlotId) -> Result<(), Error> {
        let slots = self.slots()?;
        let found = slots.iter().find(|s| s.id() == slot);
        let found = found.ok_or_else(|| Error::NoSlot(slot.to_string()))?;
        if slots.iter().all(|other| other.id() == slot || !self.is_whole(other)) {
            return Err(Error::LastSlot(slot.to_string()));
        }
        let key = layout::slot(found.domain(), slot);
        let bytes = self.io.get_small(&key, SMALL_OBJECT_BYTES_MAX as u64)?;
        self.io.delete(&key)?;
        if !self.slots()?.iter().any(|other| self.is_whole(other)) {
            self.io.put_seen(&key, bytes)?;
            return Err(Error::LastSlot(slot.to_string()));
        }
        Ok(())
    }

    /// Whether a slot has the newest keys, and with them all others.
    pub fn is_whole(&self, slot: &Slot) -> bool {
        let newest = self.fold().newest_keys(slot.domain()).map(|keys| keys.generation);
        slot.generation() >= newest.unwrap_or_default()
    }

    /// The slot that the secret at hand opened, if one did.
    pub fn opened_by(&self) -> Option<SlotId> {
        self.opened_by
    }

    /// The slot with the newest keys that this secret opens already, if there is one.
    pub fn slot_of(&self, unlock: &Unlock) -> Result<Option<SlotId>, Error> {
        let opens = |slot: &&Slot| self.is_whole(slot) && slot.open(unlock).is_ok();
        Ok(self.slots()?.iter().find(opens).map(Slot::id))
    }

    /// All that a host needs which may add points and nothing else: it neither reads them back nor forgets any. It counts
    /// once [`Repo::let_in`] was told.
    pub fn write_only_bundle(&self) -> Result<Bundle, Error> {
        self.root_signer()?;
        self.must_have_newest_keys()?;
        Ok(self.bundle.write_only(fresh(&mut self.world.chance())))
    }

    /// Lets the writer of a bundle add points, named `name`, of `sources` only where some are named.
    pub fn let_in(
        &self,
        bundle: &Bundle,
        name: &str,
        sources: Option<Vec<String>>,
    ) -> Result<WriterId, Error> {
        let root = self.root_signer()?;
        let seed = bundle.writer.as_ref().ok_or(Error::Keys(format::Error::NoKey("signing")))?;
        let public_key = Signer::from_seed(seed).public();
        let time = self.world.now_ns();
        let grant = Grant { public_key, name: name.to_owned(), rights: Grant::ADD, sources, time };
        self.state_as_root(&root, vec![Fact::Grant(grant)])?;
        Ok(WriterId::of(&public_key))
    }

    /// States that nothing which this writer adds from now on counts.
    pub fn revoke(&self, writer: WriterId, reason: &str) -> Result<(), Error> {
        let root = self.root_signer()?;
        let fold = self.refresh()?;
        if !fold.writers.contains_key(&writer) {
            return Err(Error::NotAllowed { writer, act: "be revoked: it was never let in" });
        }
        let heads = fold.heads.values().filter(|head| head.writer == writer);
        let counts = heads.map(|head| (head.session, head.number, head.hash)).collect();
        self.state_as_root(&root, vec![Fact::Revoke(Revoke { writer, counts, reason: reason.to_owned() })])
    }

    pub(crate) fn root_signer(&self) -> Result<Signer, Error> {
        let seed = self.bundle.root.as_ref();
        seed.map(Signer::from_seed).ok_or(Error::Keys(format::Error::NoKey("administering")))
    }
}
