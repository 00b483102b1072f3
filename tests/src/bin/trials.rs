//! Trials that take longer than a test may: `simulate` plays histories of many hosts from seeds, `campaign` runs the real
//! program on many hosts and kills it, `inject` harms repositories. And `keep DIR` makes the repository that is kept of a format's version; see
//! `fixtures/formats/README.md`.
#![expect(clippy::print_stderr, reason = "this is a program, and somebody has to hear what it needs")]

use std::path::Path;
use std::process::ExitCode;

use tests::campaign::{CAMPAIGN_USAGE, campaign};
use tests::injection::{INJECTION_USAGE, inject};
use tests::simulation::{USAGE, simulate};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let out = &mut std::io::stdout();
    let ended = match (words.next().as_deref(), words.len()) {
        (Some("simulate"), _) => simulate(words, out),
        (Some("campaign"), _) => campaign(words, out),
        (Some("inject"), _) => inject(words, out),
        (Some("keep"), 1) => return keep(words.next().unwrap_or_default().as_ref()),
        _ => {
            eprintln!("{USAGE}\n{CAMPAIGN_USAGE}\n{INJECTION_USAGE}");
            return ExitCode::from(4);
        }
    };
    ended.unwrap_or(ExitCode::FAILURE)
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
