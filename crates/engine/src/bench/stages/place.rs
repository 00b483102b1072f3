//! What a place takes and gives: packs stored and fetched with as many requests in flight as in earnest.

use bytes::Bytes;
use format::id::{PackId, SessionId};
use repo::{Repo, layout};

use super::Spent;
use crate::budget::{FETCH_BYTES, RANGE_BYTES};
use crate::error::Error;

/// Bytes of the object that a place is tried with.
const PROBE_BYTES: usize = 8 << 20;

/// What a place reached, in bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// When something was stored.
    pub store: f64,
    /// When it was fetched.
    pub fetch: f64,
}

/// A first look: one object of 8 MiB there and back.
pub fn probe(repo: &Repo) -> Result<Rates, Error> {
    let mut chance = repo.world().chance();
    let object = (0..PROBE_BYTES / 4096).flat_map(|_| chance.bytes::<4096>()).collect();
    let (store, fetch) = measure(repo, vec![object], PROBE_BYTES as u64)?;
    let rate = |spent: &Spent| spent.bytes as f64 / spent.time.as_secs_f64();
    Ok(Rates { store: rate(&store), fetch: rate(&fetch) })
}

/// Stores objects like those of `material`, in turns, until at least `bytes` are there; fetches and removes them.
pub(super) fn measure(repo: &Repo, material: Vec<Vec<u8>>, bytes: u64) -> Result<(Spent, Spent), Error> {
    let material: Vec<Bytes> = material.into_iter().map(Bytes::from).collect();
    let (world, io) = (repo.world(), repo.io());
    let (mut objects, mut planned) = (Vec::new(), 0);
    let mut chance = world.chance();
    let session = SessionId(chance.bytes());
    for object in material.iter().cycle().take_while(|object| !object.is_empty()) {
        if planned >= bytes {
            break;
        }
        planned += object.len() as u64;
        objects.push((PackId::new(session, chance.bytes()), object.clone()));
    }
    let (mut store, mut fetch) = (Spent::default(), Spent::default());
    let total = usize::try_from(planned).unwrap_or(usize::MAX);
    let stored = store.on(world, total, || store_all(repo, &objects));
    let fetched = stored.and_then(|()| fetch.on(world, total, || fetch_all(repo, &objects)));
    // What was stored before a failure goes too; that something was never there is no failure.
    let removed: Vec<_> = objects.iter().map(|(id, _)| io.delete(&layout::pack(*id))).collect();
    fetched?;
    removed.into_iter().collect::<Result<(), _>>()?;
    Ok((store, fetch))
}

fn store_all(repo: &Repo, objects: &[(PackId, Bytes)]) -> Result<(), Error> {
    let uploads = repo.io().uploads(repo.world());
    for (id, object) in objects {
        uploads.start(layout::pack(*id), object.clone(), || {})?;
    }
    uploads.drain()?;
    if repo.world().is_stopped() {
        return Err(Error::Stopped);
    }
    Ok(uploads.check_complete()?)
}

fn fetch_all(repo: &Repo, objects: &[(PackId, Bytes)]) -> Result<(), Error> {
    let ranges = objects.iter().flat_map(|(id, object)| {
        let size = object.len() as u64;
        (0..size.div_ceil(RANGE_BYTES)).map(move |number| {
            let from = number * RANGE_BYTES;
            ((), layout::pack(*id), from..size.min(from + RANGE_BYTES))
        })
    });
    let wanted = ranges.take_while(|_| !repo.world().is_stopped());
    let mut failed = None;
    repo.io().get_ranges(wanted, FETCH_BYTES, |(), bytes| {
        if let Err(error) = bytes {
            failed.get_or_insert(error);
        }
    });
    match failed {
        Some(error) => Err(error.into()),
        None if repo.world().is_stopped() => Err(Error::Stopped),
        None => Ok(()),
    }
}
