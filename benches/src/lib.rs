//! Measurements: criterion benches, and what they share.

use std::path::Path;
use std::sync::Arc;

use format::cutter::{GENERATION, Sizes};
use format::genesis::ChunkSizes;
use format::key::{KeyFile, Lock, Unlock};
use repo::{Io, Opening, Repo, Secret};
use storage::{Memory, Region};
use world::World;

/// Bytes that nothing makes smaller; the same for the same seed.
pub fn noise(seed: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(seed).finalize_xof().fill(&mut bytes);
    bytes
}

/// Lines of words, chosen by noise: the bytes of a log, without its repetitions.
pub fn text(length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 32);
    for pick in noise(b"text", length).chunks_exact(2) {
        let word = noise(&[pick[0] % 64], 3 + usize::from(pick[0] % 8));
        text.extend(word.iter().map(|byte| b'a' + byte % 26));
        text.push(if pick[1] < 32 { b'\n' } else { b' ' });
        if text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    text
}

/// An empty repository in memory; what this host knows of it goes into `state`.
///
/// # Panics
///
/// If it cannot be made.
pub fn repository(state: &Path) -> Repo {
    let world = World::real();
    let io = Io::new(Region::new("home", Arc::new(Memory::new("bench", &world))));
    let key = KeyFile::fresh(&mut world.chance());
    let (lock, secret) = (Lock::KeyFile(key.clone()), Secret::Unlock(Unlock::KeyFile(key)));
    let sizes = Sizes::STANDARD;
    let bytes = |size: usize| u32::try_from(size).expect("chunks are at most 1 MiB long");
    let (min, normal, max) = (bytes(sizes.min()), bytes(sizes.normal()), bytes(sizes.max()));
    let chunks = ChunkSizes { generation: GENERATION, min, normal, max };
    let opening = Opening { world, io, state, secret, trust: None, host: "bench".to_owned() };
    Repo::create(opening, &lock, "bench", chunks).expect("memory takes a repository")
}
