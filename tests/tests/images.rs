//! Images and block devices: kept in blocks, with maps of what changed, and brought back onto what is there.
//!
//! What comes back is compared by `cmp`. Devices are loop devices; where there are none, or no right to make them, a test
//! says so.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

#[path = "images/devices.rs"]
mod devices;
#[path = "images/disk.rs"]
mod disk;
#[path = "images/hooks.rs"]
mod hooks;
#[path = "images/maps.rs"]
mod maps;
#[path = "images/onto.rs"]
mod onto;
