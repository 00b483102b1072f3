//! Trials that take longer than a test may: `simulate` plays histories of many hosts from seeds. And `keep DIR` makes the
//! repository that is kept of a format's version; see `fixtures/formats/README.md`.
#![expect(clippy::print_stderr, reason = "this is a program, and somebody has to hear what it needs")]

use std::path::Path;
use std::process::ExitCode;

use tests::simulation::{USAGE, simulate};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.len()) {
        (Some("simulate"), _) => {}
        (Some("keep"), 1) => return keep(words.next().unwrap_or_default().as_ref()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(4);
        }
    }
    simulate(words, &mut std::io::stdout().lock()).unwrap_or(ExitCode::FAILURE)
}

fn keep(place: &Path) -> ExitCode {
    match tests::kept::make(place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", place.display());
            ExitCode::FAILURE
        }
    }
}
