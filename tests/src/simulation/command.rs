//! `simulate`: as many histories as time allows, on as many cores as are given, and what broke.
//!
//! A history that breaks is shrunk and told step by step, with what it takes to see it again.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::history::{Outcome, play};
use super::plan::{FAULTS, Plan};
use super::plant::Plant;
use super::run::{Orders, Run, room};
use super::shrink::{Shrunk, shrink};

/// How the command is used.
pub const USAGE: &str = "simulate [--seconds N] [--histories N] [--seed S] [--jobs N] [--plant BUG] [--trace]
  --seconds N     play as long as this (60)
  --histories N   play so many, however long it takes
  --seed S        the first seed (1)
  --jobs N        histories at once (2)
  --plant BUG     plant a bug, which must be found
  --trace         play one history and show every step";

/// Steps that are shown of a history that breaks.
const STEPS_SHOWN: usize = 200;

/// Runs the command; what it has to say goes to `out`. Ends with 0 if nothing broke, or if a planted bug was found.
pub fn simulate(words: impl Iterator<Item = String>, out: &mut dyn Write) -> std::io::Result<ExitCode> {
    let (orders, shows_steps) = match parsed(words) {
        Ok(orders) => orders,
        Err(why) => {
            writeln!(out, "{why}\n{USAGE}")?;
            return Ok(ExitCode::from(4));
        }
    };
    if shows_steps {
        return trace(&orders, out);
    }
    let run = Run::of(&orders, &|counts, time| {
        // Nobody reads it: the run goes on all the same.
        let _ = writeln!(std::io::stderr(), "after {:.0} s: {counts}", time.as_secs_f64());
    });
    writeln!(out, "{}\ntime {:.1} s", run.counts, run.time.as_secs_f64())?;
    match (&run.broken, orders.plant) {
        (Some((seed, outcome)), plant) => {
            tell(*seed, outcome, &shrink(*seed, plant, &room()), plant, out)?;
            Ok(if plant.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        (None, Some(plant)) => {
            writeln!(out, "the planted bug {} was not found", plant.name())?;
            Ok(ExitCode::FAILURE)
        }
        (None, None) => told_missing(&run, out),
    }
}

fn told_missing(run: &Run, out: &mut dyn Write) -> std::io::Result<ExitCode> {
    let missing = run.counts.missing(&FAULTS);
    if missing.is_empty() && run.thin.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "never happened: {}; histories with too little in them: {:?}",
        missing.join(", "),
        run.thin
    )?;
    Ok(ExitCode::FAILURE)
}

fn parsed(mut words: impl Iterator<Item = String>) -> Result<(Orders, bool), String> {
    let time_max = Duration::from_secs(60);
    let mut orders = Orders { seed: 1, histories: u64::MAX, time_max, jobs: 2, plant: None };
    let mut shows_steps = false;
    while let Some(option) = words.next() {
        if option == "--trace" {
            shows_steps = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{value} is no number"));
        match option.as_str() {
            "--seconds" => orders.time_max = Duration::from_secs(number()?),
            "--histories" => (orders.histories, orders.time_max) = (number()?, Duration::MAX),
            "--seed" => orders.seed = number()?,
            "--jobs" => orders.jobs = usize::try_from(number()?).unwrap_or(1).max(1),
            "--plant" => orders.plant = Some(Plant::parse(&value).ok_or_else(|| format!("no bug {value}"))?),
            _ => return Err(format!("{option} is not known")),
        }
    }
    Ok((orders, shows_steps))
}

fn tell(
    seed: u64,
    outcome: &Outcome,
    shrunk: &Shrunk,
    plant: Option<Plant>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    writeln!(out, "seed {seed} breaks after {} steps:", outcome.counts.steps)?;
    outcome.broken.iter().take(5).try_for_each(|what| writeln!(out, "  {what}"))?;
    let cut = &shrunk.cut;
    writeln!(
        out,
        "shrunk to {} steps, without actors {:?} and faults {:?}:",
        shrunk.outcome.counts.steps, cut.actors, cut.faults
    )?;
    let lines = &shrunk.outcome.lines;
    let shown = &lines[lines.len().saturating_sub(STEPS_SHOWN)..];
    shown.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    shrunk.outcome.broken.iter().take(5).try_for_each(|what| writeln!(out, "  {what}"))?;
    let plant = plant.map(|plant| format!(" --plant {}", plant.name())).unwrap_or_default();
    writeln!(out, "again: cargo run -p tests --release -- simulate --histories 1 --seed {seed}{plant}")
}

/// One history with every step.
fn trace(orders: &Orders, out: &mut dyn Write) -> std::io::Result<ExitCode> {
    let plan = Plan::draw(orders.seed, orders.plant);
    writeln!(out, "{plan:#?}")?;
    let outcome = play(&plan, &room(), true);
    outcome.lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "{}\ntrace {}", outcome.counts, outcome.trace)?;
    outcome.broken.iter().try_for_each(|what| writeln!(out, "broken: {what}"))?;
    Ok(if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
