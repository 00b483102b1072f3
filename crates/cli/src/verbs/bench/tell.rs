//! What was measured, as a table for people and as one document for scripts.

use std::time::Duration;

use engine::bench::{Bound, Data, Limit, Run, Stage, Stages, Whole};
use serde_json::{Value, json};

use super::Measured;
use super::site::Site;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::show;

const STAGES: [&str; 5] = ["stage", ">MB", ">MB/s", ">core s", ">share"];
const RUNS: [&str; 9] =
    ["run", ">cores", ">MB/s", ">TB/h", ">seconds", ">CPU s", ">peak MB", ">limit MB/s", ">share of it"];

const LEGEND: &str = "limit: cores by the core seconds that a byte costs in all stages, or what the place reached alone.\n\
     More than all of it means that the machine was faster in the run than when stages were measured";
const SHORT: &str = "a run was over in less than a second: figures repeat better with more data (--size)";

/// What is over sooner says little: a neighbour's burst lasts as long.
const RUN_TIME_MIN: Duration = Duration::from_secs(1);

/// Bytes a second that no core reaches: such a stage had nothing to do.
const RATE_MAX: f64 = 1e12;

/// One run, beside what it could have been.
struct Row<'m> {
    name: &'static str,
    cores: usize,
    run: &'m Run,
    limit: Limit,
}

pub(super) fn tell(
    context: &Context,
    site: &Site,
    data: &Data,
    measured: &Measured,
) -> Result<Outcome, Error> {
    let Measured { source, stages, all, one } = measured;
    let wholes: Vec<&Whole> = [all].into_iter().chain(one).collect();
    let differing: Vec<&String> = wholes.iter().flat_map(|whole| &whole.differing).collect();
    if source.unreadable > 0 {
        let count = show::count(source.unreadable, "file");
        context.out.warning(format!("{count} could not be read and went into no figure"));
    }
    differing.iter().for_each(|what| context.out.warning(format!("came back other than it was: {what}")));
    let rows: Vec<Row> = wholes.iter().flat_map(|whole| rows(whole, stages, source.bytes)).collect();
    let (scratch, scratch_on) = site.scratch();
    let body = json!({
        "to": site.shown(),
        "file_system": site.stored_on(),
        "scratch": scratch.to_string_lossy(),
        "scratch_file_system": scratch_on,
        "data": shown(data),
        "files": source.files,
        "bytes": source.bytes,
        "bytes_stored": all.stored_bytes,
        "unreadable": source.unreadable,
        "cores": all.cores,
        "stages": { "backup": of_stages(&stages.backup), "restore": of_stages(&stages.restore) },
        "runs": rows.iter().map(of_run).collect::<Value>(),
        "differing": differing,
    });
    context.out.result("bench/1", body, |out| {
        let (files, size) = (show::count(source.files, "file"), show::size(source.bytes));
        let stored = show::size(all.stored_bytes);
        let on = |system: Option<String>| system.map(|system| format!(" ({system})")).unwrap_or_default();
        writeln!(
            out,
            "{}: {files}, {size}, stored as {stored} in {}{}",
            shown(data),
            site.shown(),
            on(site.stored_on())
        )?;
        writeln!(out, "read from and restored to {}{}", scratch.display(), on(scratch_on))?;
        for (title, stages) in [("backup", &stages.backup), ("restore", &stages.restore)] {
            writeln!(out, "\nstages of a {title}, each alone on one core")?;
            show::table(out, &STAGES, &stage_rows(stages))?;
        }
        writeln!(out, "\nwhole")?;
        show::table(out, &RUNS, &rows.iter().map(run_row).collect::<Vec<_>>())?;
        writeln!(out, "\n{LEGEND}")?;
        if rows.iter().any(|row| row.run.time < RUN_TIME_MIN) { writeln!(out, "{SHORT}") } else { Ok(()) }
    })?;
    Ok(if differing.is_empty() { Outcome::Done } else { Outcome::Damaged })
}

fn shown(data: &Data) -> String {
    match data {
        Data::Random => "random".to_owned(),
        Data::Text => "text".to_owned(),
        Data::Directory(dir) => dir.to_string_lossy().into_owned(),
    }
}

fn rows<'m>(whole: &'m Whole, stages: &Stages, bytes: u64) -> [Row<'m>; 2] {
    let limit = |stages: &[Stage], place: &str| Limit::of(stages, bytes, whole.cores, |s| s.name == place);
    let (backup, restore) = (limit(&stages.backup, Stages::STORE), limit(&stages.restore, Stages::FETCH));
    [
        Row { name: "backup", cores: whole.cores, run: &whole.backup, limit: backup },
        Row { name: "restore", cores: whole.cores, run: &whole.restore, limit: restore },
    ]
}

fn mb(bytes: f64) -> f64 {
    bytes / 1e6
}

/// Terabytes an hour, from bytes a second.
fn tb_per_hour(rate: f64) -> f64 {
    rate * 3600.0 / 1e12
}

fn of_stages(stages: &[Stage]) -> Value {
    let one = |stage: &Stage| {
        json!({
            "name": stage.name,
            "bytes": stage.bytes,
            "bytes_measured": stage.measured_bytes,
            "seconds": stage.time.as_secs_f64(),
            "cpu_seconds": stage.cpu.as_secs_f64(),
            "mb_per_second": mb(stage.rate()),
            "core_seconds": stage.core_seconds(),
        })
    };
    stages.iter().map(one).collect()
}

fn of_run(row: &Row) -> Value {
    json!({
        "what": row.name,
        "cores": row.cores,
        "bytes": row.run.bytes,
        "seconds": row.run.time.as_secs_f64(),
        "cpu_seconds": row.run.cpu.as_secs_f64(),
        "peak_bytes": row.run.peak_bytes,
        "mb_per_second": mb(row.run.rate()),
        "tb_per_hour": tb_per_hour(row.run.rate()),
        "limit_cores_mb_per_second": mb(row.limit.cores),
        "limit_place_mb_per_second": mb(row.limit.place),
        "limit_mb_per_second": mb(row.limit.rate()),
        "limit_is": bound(row),
        "share": row.run.rate() / row.limit.rate(),
    })
}

fn bound(row: &Row) -> &'static str {
    match row.limit.bound() {
        Bound::Cores => "cores",
        Bound::Place => "place",
    }
}

fn stage_rows(stages: &[Stage]) -> Vec<Vec<String>> {
    let all: f64 = stages.iter().map(Stage::core_seconds).sum();
    let row = |stage: &Stage| {
        vec![
            stage.name.to_owned(),
            format!("{:.0}", mb(stage.bytes as f64)),
            if stage.rate() > RATE_MAX { "-".to_owned() } else { format!("{:.0}", mb(stage.rate())) },
            format!("{:.2}", stage.core_seconds()),
            format!("{:.0} %", 100.0 * stage.core_seconds() / all),
        ]
    };
    stages.iter().map(row).collect()
}

fn run_row(row: &Row) -> Vec<String> {
    let rate = row.run.rate();
    vec![
        row.name.to_owned(),
        row.cores.to_string(),
        format!("{:.0}", mb(rate)),
        format!("{:.2}", tb_per_hour(rate)),
        format!("{:.2}", row.run.time.as_secs_f64()),
        format!("{:.2}", row.run.cpu.as_secs_f64()),
        row.run.peak_bytes.map_or_else(|| "-".to_owned(), |peak| format!("{:.0}", mb(peak as f64))),
        format!("{:.0} by {}", mb(row.limit.rate()), bound(row)),
        format!("{:.0} %", 100.0 * rate / row.limit.rate()),
    ]
}
