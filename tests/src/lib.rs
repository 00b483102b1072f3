//! What the tests of the whole system share: servers to test against, and how a test says that it could not
//! run.

pub mod campaign;
pub mod disk;
pub mod files;
pub mod injection;
pub mod kept;
pub mod listing;
pub mod odd;
pub mod proxy;
pub mod s3;
pub mod seawall;
pub mod servers;
pub mod simulation;
pub mod tls;
pub mod truth;

use std::io::Write;

/// Says that a test cannot have what it needs; the test then returns. `what` is `NAME: REASON`, and where
/// NAME is the test's own, it counts as skipped and not as passed.
///
/// # Panics
///
/// If the file that `SEAWALL_SKIPPED` names cannot be written: a silent skip would look like a pass.
pub fn skipped(what: &str) {
    let Some(path) = std::env::var_os("SEAWALL_SKIPPED") else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    // One write, so that lines of tests that run at once do not mix.
    file.and_then(|mut file| file.write_all(format!("{what}\n").as_bytes()))
        .expect("the list of skipped tests takes a line");
}
