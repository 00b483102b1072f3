//! From slots to keys: which slots of a repository read as they should, and what a secret opens of them.

use format::genesis::Genesis;
use format::id::SlotId;
use format::key::{Bundle, Slot, Unlock};
use format::limit::SMALL_OBJECT_BYTES_MAX;

use crate::error::Error;
use crate::io::Io;
use crate::layout;
use crate::repo::Secret;

/// All slots of the repository that read as they should; the others become notices.
pub(crate) fn slots(io: &Io, genesis: &Genesis, notices: &mut Vec<String>) -> Result<Vec<Slot>, Error> {
    let mut others = Others::default();
    let slots = read_slots(io, genesis, &mut others)?;
    notices.extend(others.damaged.into_iter().chain(others.later));
    Ok(slots)
}

/// What is wrong with slots that do not read as they should, each as a sentence.
pub(crate) fn damaged_slots(io: &Io, genesis: &Genesis) -> Result<Vec<String>, Error> {
    let mut others = Others::default();
    read_slots(io, genesis, &mut others)?;
    Ok(others.damaged)
}

/// Slots that are not to be used, each as a sentence.
#[derive(Default)]
struct Others {
    damaged: Vec<String>,
    /// Of a later program.
    later: Vec<String>,
}

fn read_slots(io: &Io, genesis: &Genesis, others: &mut Others) -> Result<Vec<Slot>, Error> {
    let (mut slots, mut foreign) = (Vec::new(), Vec::new());
    for (key, bytes) in io.get_listed(&layout::slots(), SMALL_OBJECT_BYTES_MAX as u64)? {
        let slot = match bytes {
            Ok(_) if !layout::slots_of(genesis.domain).covers(&key) => {
                foreign.push(format!("{key} is a slot of another repository"));
                continue;
            }
            Ok(bytes) => match Slot::decode(&bytes, &genesis.id, &genesis.root_public) {
                Err(error) if error.is_of_later_program() => {
                    others.later.push(format!("{key} is not for this program: {error}"));
                    continue;
                }
                slot => slot.map_err(|error| error.to_string()),
            },
            Err(error) if error.is_about_object() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        match slot {
            Ok(slot) if layout::slot(slot.domain(), slot.id()) != key => {
                others.damaged.push(format!("{key} is damaged: it is the object of another name"));
            }
            Ok(slot) => slots.push(slot),
            Err(why) => others.damaged.push(format!("{key} is damaged: {why}")),
        }
    }
    // A slot of another repository was left by somebody who lost the race to make this one, unless ours is gone.
    if slots.is_empty() {
        others.damaged.append(&mut foreign);
    }
    slots.sort_by_key(|slot| (slot.created(), slot.id()));
    Ok(slots)
}

/// The keys that a secret opens, and by which slot.
pub(crate) fn unlock(
    io: &Io,
    genesis: &Genesis,
    secret: Secret,
    notices: &mut Vec<String>,
) -> Result<(Bundle, Option<SlotId>), Error> {
    let unlock = match secret {
        Secret::Bundle(bundle) if bundle.repo == genesis.id => return Ok((*bundle, None)),
        Secret::Bundle(bundle) => return Err(Error::not_trusted(io.place(), bundle.repo, genesis.id)),
        Secret::Unlock(unlock) => unlock,
    };
    let mut others = Others::default();
    let mut slots = read_slots(io, genesis, &mut others)?;
    let Others { mut damaged, mut later } = others;
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.generation()));
    if let Some((bundle, id)) = open_all(&slots, &unlock, &mut damaged) {
        notices.append(&mut damaged);
        notices.append(&mut later);
        return Ok((bundle, Some(id)));
    }
    let (secret, place) = (unlock.name(), io.place());
    if damaged.is_empty() && !later.is_empty() {
        return Err(Error::NoKnownSlotOpens { secret, place, others: later.join("; ") });
    }
    if damaged.is_empty() && !slots.is_empty() {
        return Err(Error::WrongKey { secret, slots: slots.len(), place });
    }
    if damaged.is_empty() {
        damaged.push("there is none".to_owned());
    }
    Err(Error::NoSlotOpens { secret, place, damage: damaged.join("; ") })
}

/// All keys that the secret opens, and the slot with the newest. Where two people renewed the keys at once, each of two
/// slots holds what the other lacks; one whose newest keys are at hand already is not opened.
fn open_all(slots: &[Slot], unlock: &Unlock, damaged: &mut Vec<String>) -> Option<(Bundle, SlotId)> {
    let mut opened: Option<(Bundle, SlotId)> = None;
    for slot in slots {
        if opened.as_ref().is_some_and(|(keys, _)| keys.generation(slot.generation()).is_ok()) {
            continue;
        }
        match (slot.open(unlock), opened.take()) {
            (Ok(bundle), None) => opened = Some((bundle, slot.id())),
            (Ok(bundle), Some((keys, id))) => opened = Some((keys.merged(bundle), id)),
            (Err(format::Error::WrongKey(_)), before) => opened = before,
            (Err(error), before) => {
                damaged.push(format!("key slot {} does not open: {error}", slot.id()));
                opened = before;
            }
        }
    }
    opened
}
