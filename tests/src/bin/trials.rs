//! Trials that take longer than a test may: `simulate` plays histories of many hosts from seeds, `campaign` runs the real
//! program on many hosts and kills it.
#![expect(clippy::print_stderr, reason = "this is a program, and somebody has to hear what it needs")]

use std::process::ExitCode;

use tests::campaign::{CAMPAIGN_USAGE, campaign};
use tests::simulation::{USAGE, simulate};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let out = &mut std::io::stdout();
    let ended = match words.next().as_deref() {
        Some("simulate") => simulate(words, out),
        Some("campaign") => campaign(words, out),
        _ => {
            eprintln!("{USAGE}\n{CAMPAIGN_USAGE}");
            return ExitCode::from(4);
        }
    };
    ended.unwrap_or(ExitCode::FAILURE)
}
