//! `inject`: as many injections as one likes.

use std::io::Write;
use std::process::ExitCode;

use super::{Orders, run};

/// How the command is used.
pub const INJECTION_USAGE: &str = "inject [--injections N] [--seed S] [--first N] [--jobs N]
  --injections N  so many (1000)
  --seed S        draw all choices from it (1)
  --first N       the number of the first one (0)
  --jobs N        so many at once (2)";

/// Runs the command; what it has to say goes to `out`. Ends with 0 if nothing broke.
pub fn inject(words: impl Iterator<Item = String>, out: &mut dyn Write) -> std::io::Result<ExitCode> {
    let orders = match parsed(words) {
        Ok(orders) => orders,
        Err(why) => {
            writeln!(out, "{why}\n{INJECTION_USAGE}")?;
            return Ok(ExitCode::from(4));
        }
    };
    let outcome = run(&orders);
    writeln!(out, "{}", outcome.counts)?;
    outcome.broken.iter().try_for_each(|what| writeln!(out, "broken: {what}"))?;
    outcome.kept.iter().try_for_each(|path| writeln!(out, "kept: {}", path.display()))?;
    Ok(if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parsed(mut words: impl Iterator<Item = String>) -> Result<Orders, String> {
    let mut orders = Orders { seed: 1, first: 0, injections: 1000, jobs: 2 };
    while let Some(option) = words.next() {
        let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number = value.parse::<u64>().map_err(|_| format!("{value} is no number"))?;
        match option.as_str() {
            "--injections" => orders.injections = number,
            "--seed" => orders.seed = number,
            "--first" => orders.first = number,
            "--jobs" => orders.jobs = usize::try_from(number).unwrap_or(1).max(1),
            _ => return Err(format!("{option} is not known")),
        }
    }
    Ok(orders)
}
