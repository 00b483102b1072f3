//! New keys: a generation that whoever has only the keys from before cannot open.
//!
//! First the slots, then the entry that puts the new keys to use, then the old slots go. Killed before the entry, nothing is
//! sealed under keys that somebody lacks; killed after it, every secret that was to have the new keys opens them. Old keys stay in
//! every bundle, so nobody loses what was stored before. Run again, it makes one more generation and tidies up.

use std::collections::BTreeSet;

use format::Malformed;
use format::fact::{DomainKeys, Fact};
use format::id::SlotId;
use format::key::{Bundle, Generation, Lock, Slot, SlotLabel, Unlock};
use format::seal::Signer;
use world::Chance;

use crate::error::Error;
use crate::layout;
use crate::repo::Repo;

/// A secret at hand: what it opens, and how slots are sealed for it.
pub struct AtHand {
    /// Opens its slots.
    pub unlock: Unlock,
    /// Seals new ones.
    pub lock: Lock,
}

/// What to do about slots that nothing at hand can seal anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Renew nothing while there are any.
    Refuse,
    /// Remove them: their secrets open nothing any more.
    Remove,
}

/// What a renewal does; nothing is done yet.
pub struct Renewal {
    /// All that the secrets at hand open.
    keys: Bundle,
    /// Generations that the history stated when this was planned.
    known: BTreeSet<u32>,
    carried: Vec<Carried>,
    /// Slots that are removed without another in their place.
    pub shut_out: Vec<Slot>,
    /// Slots that do not read, so nobody knows who is shut out with them; each as a sentence.
    pub damaged: Vec<String>,
}

/// A secret that is to have the new keys.
struct Carried {
    lock: Lock,
    /// Its slots so far, the oldest first; never empty.
    slots: Vec<Slot>,
}

/// What a renewal did.
pub struct Renewed {
    /// The new generation of keys.
    pub generation: u32,
    /// The new slots.
    pub slots: Vec<SlotId>,
    /// Slots that should have gone and stayed, and why. They do not hold the new keys.
    pub stayed: Vec<(SlotId, String)>,
}

impl Renewal {
    /// A slot of each secret that is to have the new keys.
    pub fn carried(&self) -> impl Iterator<Item = &Slot> {
        self.carried.iter().filter_map(|carried| carried.slots.first())
    }
}

/// Whether this secret was given before.
fn is_among(carried: &[Carried], unlock: &Unlock) -> bool {
    carried.iter().flat_map(|one| &one.slots).any(|slot| slot.open(unlock).is_ok())
}

impl Repo {
    /// Says for whom new keys would be sealed: for the secrets at hand, the first of them first, and for all recipients.
    pub fn plan_renewal(&self, at_hand: Vec<AtHand>, others: Others) -> Result<Renewal, Error> {
        self.allow("write")?;
        self.root_signer()?;
        match self.must_have_newest_keys() {
            Ok(()) | Err(Error::HalfRenewed(_)) => {}
            Err(error) => return Err(error),
        }
        let known = self.fold().domains.keys().map(|(_, number)| *number).collect();
        let mut damaged = Vec::new();
        let mut left = crate::unlock::slots(&self.io, &self.genesis, &mut damaged)?;
        let mut keys = Bundle { writer: None, ..self.bundle.clone() };
        let (all, mut carried) = (left.len(), Vec::new());
        for AtHand { unlock, lock } in at_hand {
            let mut slots = Vec::new();
            for slot in std::mem::take(&mut left) {
                match slot.open(&unlock) {
                    Ok(opened) => {
                        keys = keys.merged(opened);
                        slots.push(slot);
                    }
                    Err(_) => left.push(slot),
                }
            }
            if slots.is_empty() && is_among(&carried, &unlock) {
                continue;
            }
            if slots.is_empty() {
                let (secret, place) = (unlock.name(), self.io.place());
                return Err(Error::WrongKey { secret, slots: all, place });
            }
            carried.push(Carried { lock, slots });
        }
        while let Some(public) = left.iter().find_map(Slot::recipient).cloned() {
            let (slots, others) = left.into_iter().partition(|slot| slot.recipient() == Some(&public));
            left = others;
            carried.push(Carried { lock: Lock::Recipient(public), slots });
        }
        // Whose keys a damaged slot held nobody knows.
        damaged.extend(
            left.iter()
                .map(|slot| format!("the {} of slot {:.12}", slot.kind().name(), slot.id().to_string())),
        );
        if others == Others::Refuse && !damaged.is_empty() {
            return Err(Error::WouldShutOut(damaged));
        }
        damaged.truncate(damaged.len().saturating_sub(left.len()));
        Ok(Renewal { keys, known, carried, shut_out: left, damaged })
    }

    /// Makes new keys and puts them to use.
    pub fn renew(&self, plan: &Renewal) -> Result<Renewed, Error> {
        let root = self.root_signer()?;
        let mut chance = self.world.chance();
        let bundle = self.renewed_bundle(plan, &mut chance)?;
        let mut slots = Vec::new();
        for carried in &plan.carried {
            slots.push(self.carry(&bundle, carried, &root, &mut chance)?);
        }
        let newest = bundle.newest();
        self.state_as_root(&root, vec![Fact::Domain(DomainKeys::of(bundle.domain, newest))])?;
        self.check_is_alone(&bundle, &plan.known)?;
        Ok(Renewed { generation: newest.number, slots, stayed: self.remove_old(plan)? })
    }

    /// The keys at hand and new ones, with a number that nothing here has had.
    fn renewed_bundle(&self, plan: &Renewal, chance: &mut Chance) -> Result<Bundle, Error> {
        let stated = plan.known.last().copied();
        let sealed = self.slots()?.iter().map(Slot::generation).max();
        let highest = plan.keys.newest().number.max(stated.max(sealed).unwrap_or_default());
        let number = Generation::number_after(highest, chance).ok_or_else(|| {
            Malformed::new("the history", "states the highest generation of keys that there can be")
        })?;
        let mut bundle = plan.keys.clone();
        bundle.generations.push(Generation::fresh(number, chance));
        Ok(bundle)
    }

    fn carry(
        &self,
        bundle: &Bundle,
        carried: &Carried,
        root: &Signer,
        chance: &mut Chance,
    ) -> Result<SlotId, Error> {
        let slot = SlotId(chance.bytes());
        let first = carried.slots.first();
        let about = SlotLabel {
            slot,
            region: first.and_then(Slot::region).map(str::to_owned),
            label: first.map(Slot::label).unwrap_or_default().to_owned(),
            created: self.world.now_ns(),
        };
        let sealed = Slot::seal(bundle, &carried.lock, about, root, chance).map_err(Error::Keys)?;
        self.io.put_seen(&layout::slot(bundle.domain, slot), sealed.into_bytes().into())?;
        Ok(slot)
    }

    /// Whether nobody else stated new keys since this was planned: then nothing is removed, as two slots together hold what
    /// neither has alone.
    fn check_is_alone(&self, bundle: &Bundle, known: &BTreeSet<u32>) -> Result<(), Error> {
        let fold = self.fold();
        let mut since = fold.domains.values().filter(|keys| {
            let ours = bundle.generation(keys.generation).map(|ours| DomainKeys::of(bundle.domain, ours));
            keys.domain == bundle.domain && !known.contains(&keys.generation) && ours.as_ref() != Ok(*keys)
        });
        match since.next() {
            None => Ok(()),
            Some(_) => Err(Error::Raced("somebody else renewed the keys at the same time".to_owned())),
        }
    }

    /// Removes the slots that the plan replaces or shuts out, but for those with keys that are not in the new slots. One
    /// that somebody else removed first is gone as well.
    fn remove_old(&self, plan: &Renewal) -> Result<Vec<(SlotId, String)>, Error> {
        let replaced = plan.carried.iter().flat_map(|carried| &carried.slots);
        let mut stayed = Vec::new();
        for slot in replaced.chain(&plan.shut_out) {
            if plan.keys.generation(slot.generation()).is_err() {
                stayed.push((slot.id(), "it has keys of a renewal that was not ended".to_owned()));
                continue;
            }
            match self.io.delete(&layout::slot(slot.domain(), slot.id())) {
                Ok(()) => {}
                Err(Error::Storage(error)) if error.is_not_found() => {}
                Err(error @ Error::Storage(_)) => stayed.push((slot.id(), error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(stayed)
    }
}
