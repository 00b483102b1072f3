//! How an object reaches a durable place, and comes back.
//!
//! An object is a name and bytes; this crate never looks inside. A place is a local directory, a bucket of S3
//! or of a store that speaks its protocol, of Google Cloud Storage or Azure. All are one trait, [`Store`],
//! and so is everything around them. What `put` acknowledged is durable and whole; what comes back is as long
//! as it was said to be; a listing is complete or an error. Whether the bytes are the right ones is for the
//! caller to prove.

mod buffers;
mod cloud;
mod error;
mod key;
mod local;
mod location;
mod memory;
mod meter;
mod settings;
mod store;
pub mod suite;
mod wrap;

pub use buffers::Buffers;
pub use error::{Act, Error, Obstacle, Place, Verb};
pub use key::{KEY_BYTES_MAX, KeyPrefix, ObjectKey};
pub use local::Local;
pub use location::{Bucket, Location};
pub use memory::Memory;
pub use settings::{Environment, Settings, open, open_bare, open_measured};
pub use store::{Listed, Region, Store};
pub use wrap::{
    Fault, Faulty, Limited, Limits, Measured, Measures, Odds, Patience, Recorded, Retrying, Taken, Tally,
};
