//! Randomness as streams: each caller gets its own, forked from one spring.
//!
//! A stream is the extendable output of BLAKE3 keyed with 32 bytes. In the real world the machine's generator gives
//! those bytes for every fork, so a stream is fit for keys and no two processes or clones of a host share one. In a
//! simulated world they follow from the seed and the number of the fork, so a run repeats.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_core::{TryCryptoRng, TryRng};

#[derive(Clone)]
pub(crate) enum Spring {
    Machine,
    Seeded { seed: u64, forks: Arc<AtomicU64> },
}

impl Spring {
    pub(crate) fn machine() -> Spring {
        Spring::Machine
    }

    pub(crate) fn seeded(seed: u64) -> Spring {
        Spring::Seeded { seed, forks: Arc::new(AtomicU64::new(0)) }
    }

    pub(crate) fn fork(&self) -> Chance {
        match self {
            Spring::Machine => Chance::from_key(machine_bytes()),
            Spring::Seeded { seed, forks } => {
                let fork = forks.fetch_add(1, Ordering::Relaxed);
                let mut material = [0; 16];
                material[..8].copy_from_slice(&seed.to_le_bytes());
                material[8..].copy_from_slice(&fork.to_le_bytes());
                Chance::from_key(blake3::derive_key("seawall simulated chance", &material))
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one door to the machine's randomness")]
fn machine_bytes() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .expect("the kernel has randomness once it has started");
    }
    bytes
}

/// One stream of randomness; implements the generator traits of `rand_core`.
pub struct Chance {
    stream: blake3::OutputReader,
}

impl Chance {
    /// A stream that follows from `key` alone; tests and golden vectors use it.
    pub fn from_key(key: [u8; 32]) -> Chance {
        Chance { stream: blake3::Hasher::new_keyed(&key).finalize_xof() }
    }

    /// The next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.fill(&mut bytes);
        bytes
    }

    /// A number below `bound` (0 when `bound` is 0), uniform but for a bias under 2^-64 times `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(u64::from_le_bytes(self.bytes())) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a product of two u64")
    }
}

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.stream.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Chance {}
