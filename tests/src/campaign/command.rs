//! `campaign`: a campaign as long as one likes.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::orders::{Goal, Orders, Place};
use super::run;

/// How the command is used.
pub const CAMPAIGN_USAGE: &str = "campaign [--seconds N] [--seed S] [--s3]
  --seconds N     go on for so long (60); what is checked at the end comes on top
  --seed S        draw all choices from it (1)
  --s3            in a bucket of the tests' own S3 server instead of a local directory";

/// Runs the command; what it has to say goes to `out`. Ends with 0 if nothing broke, each kind of
/// event happened, and half of what was forgotten is gone.
pub fn campaign(words: impl Iterator<Item = String>, out: &mut dyn Write) -> std::io::Result<ExitCode> {
    let orders = match parsed(words) {
        Ok(orders) => orders,
        Err(why) => {
            writeln!(out, "{why}\n{CAMPAIGN_USAGE}")?;
            return Ok(ExitCode::from(4));
        }
    };
    let outcome = run(&orders);
    writeln!(out, "{}", outcome.counts)?;
    outcome.broken.iter().try_for_each(|what| writeln!(out, "broken: {what}"))?;
    outcome.kept.iter().try_for_each(|path| writeln!(out, "kept: {}", path.display()))?;
    outcome.counts.missing().iter().try_for_each(|kind| writeln!(out, "never happened: {kind}"))?;
    let won = outcome.broken.is_empty() && outcome.counts.missing().is_empty() && outcome.counts.freed_half();
    Ok(if won { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parsed(mut words: impl Iterator<Item = String>) -> Result<Orders, String> {
    let time = Duration::from_secs(60);
    let mut orders =
        Orders { seed: 1, place: Place::Local, at_least: time, at_most: time, goal: Goal::default() };
    while let Some(option) = words.next() {
        if option == "--s3" {
            orders.place = Place::S3;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number = value.parse::<u64>().map_err(|_| format!("{value} is no number"))?;
        match option.as_str() {
            "--seconds" => {
                (orders.at_least, orders.at_most) = (Duration::from_secs(number), Duration::from_secs(number))
            }
            "--seed" => orders.seed = number,
            _ => return Err(format!("{option} is not known")),
        }
    }
    Ok(orders)
}
