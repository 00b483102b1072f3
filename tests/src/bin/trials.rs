//! Trials that take longer than a test may: `simulate` plays histories of many hosts from seeds.
#![expect(clippy::print_stderr, reason = "this is a program, and somebody has to hear what it needs")]

use std::process::ExitCode;

use tests::simulation::{USAGE, simulate};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some("simulate") {
        eprintln!("{USAGE}");
        return ExitCode::from(4);
    }
    simulate(words, &mut std::io::stdout().lock()).unwrap_or(ExitCode::FAILURE)
}
