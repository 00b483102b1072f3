//! How meaning becomes bytes and how bytes are sealed. No input or output, no clock, no chance: randomness and time are
//! arguments, so the same call gives the same bytes.
//!
//! `docs/format.md` is the promise; each module here is one of its sections. Decoders take whatever a hostile store
//! hands them and answer with an error, never with a panic or with more memory than the limits allow.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::arithmetic_side_effects)
)]

mod cbor;
pub mod compress;
pub mod cutter;
pub mod entry;
mod error;
pub mod fact;
pub mod genesis;
pub mod id;
pub mod key;
#[cfg(test)]
mod later;
pub mod limit;
pub mod local;
pub mod meta;
pub mod object;
pub mod pack;
pub mod path;
pub mod reference;
pub mod run;
pub mod seal;
pub mod session;
pub mod tree;

pub use cbor::Malformed;
pub use error::Error;
