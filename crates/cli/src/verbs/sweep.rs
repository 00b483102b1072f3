//! `sweep`: deletes what nothing needs any more, beside whoever is at work.

use std::time::Duration;

use repo::Repo;
use repo::sweep::{Options, Plan, Sweep as Sweeping, Swept};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{settings, show, verbs};

/// Delete what nothing needs any more
///
/// Without --apply it says what would be deleted. Backups, restores and other sweeps may run meanwhile. What nothing needs
/// is condemned first, and deleted once every session that was at work by then has ended or has looked again; if that takes
/// longer than --wait, the next sweep deletes it, and the exit code is 5.
#[derive(clap::Args)]
pub(crate) struct Sweep {
    /// Do it
    #[arg(long)]
    apply: bool,
    /// Pack again what is still needed of packs of which less than so many percent is; 0 leaves all as they are
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100))]
    repack_below: u32,
    /// Copy at most so much for that in one sweep, such as 20GiB
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = size)]
    repack_at_most: u64,
    /// How long to wait for sessions at work, such as 90s, 15m or 2h; 0 does not wait
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time)]
    wait: Duration,
    /// Give up a session that shows no sign of life for so long while this sweep waits
    #[arg(long, value_name = "TIME", default_value = "25h", value_parser = time)]
    expire_after: Duration,
}

fn size(typed: &str) -> Result<u64, String> {
    settings::bytes(typed).map_err(|error| error.to_string())
}

fn time(typed: &str) -> Result<Duration, String> {
    match typed {
        "0" | "0s" => Ok(Duration::ZERO),
        typed => settings::duration(typed).map_err(|error| error.to_string()),
    }
}

impl Sweep {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let repo = context.open()?;
        let options = Options {
            repack_below: self.repack_below,
            repack_bytes_max: self.repack_at_most,
            wait: self.wait,
            expire_after: self.expire_after,
        };
        let mut sweep = Sweeping::new(&repo, options)?;
        let plan = sweep.plan()?;
        if !self.apply {
            let body = json!({ "applied": false, "plan": document(&plan) });
            context.out.summary("sweep/1", body, |out| {
                tell_plan(out, &plan)?;
                if plan.is_empty() { Ok(()) } else { writeln!(out, "nothing was deleted: --apply does it") }
            })?;
            return Ok(verbs::of_history(&repo));
        }
        context.stops_in_order();
        let swept = sweep.apply(&plan).map_err(|error| match error {
            repo::Error::GivenUp => Error::Interrupted,
            error => error.into(),
        })?;
        context.finish();
        let body = json!({ "applied": true, "plan": document(&plan), "swept": done(&swept) });
        context.out.summary("sweep/1", body, |out| tell_done(out, &swept))?;
        if !swept.spared.is_empty() {
            tell_spared(context, &repo, &swept);
            return Ok(Outcome::Damaged);
        }
        if swept.waits_for.is_empty() && swept.for_sessions.0 == 0 {
            return Ok(verbs::of_history(&repo));
        }
        let flags = context.shown_flags();
        context.out.hint(&format!(
            "`seawall session list{flags}` shows who is at work; run `seawall sweep --apply{flags}` again when they are done. \
             One whose process is dead ends with `seawall session expire ID{flags}`"
        ));
        Ok(Outcome::Waiting)
    }
}

/// Says which packs rotted.
fn tell_spared(context: &Context, repo: &Repo, swept: &Swept) {
    let (place, flags) = (repo.io().place(), context.shown_flags());
    for pack in &swept.spared {
        context.out.warning(format!(
            "{} in {place} is not as it was stored; it holds what is needed, and stays",
            repo::layout::pack(*pack)
        ));
    }
    context.out.hint(&format!(
        "`seawall verify --level L1{flags}` says which points it is about; the next backup of their sources stores again what \
         it finds there"
    ));
}

fn packs((count, bytes): (u64, u64)) -> String {
    format!("{} of {}", show::count(count, "pack"), show::size(bytes))
}

fn tell_plan(out: &mut dyn std::io::Write, plan: &Plan) -> std::io::Result<()> {
    writeln!(out, "{} in the repository", packs(plan.packs))?;
    let rows = [
        ("nothing needs", plan.unneeded),
        ("were condemned before", plan.condemned),
        ("are mostly dead and would be packed again", plan.repacked),
        ("belong to sessions at work and stay", plan.under_way),
        ("are needed by sessions at work alone and stay until these end", plan.for_sessions),
    ];
    for (what, amount) in rows.into_iter().filter(|(_, amount)| amount.0 > 0) {
        writeln!(out, "  {} {what}", packs(amount))?;
    }
    let points = show::count(plan.forgotten, "forgotten point");
    writeln!(
        out,
        "{} would be freed, {} copied, with about {}; {points} in the history",
        show::size(plan.freed),
        show::size(plan.copied),
        show::count(plan.requests, "request"),
    )?;
    match plan.unverified {
        0 => Ok(()),
        some => writeln!(
            out,
            "{} never verified at L2: a sweep relies on lists that `seawall verify` compares with the trees",
            if some == 1 { "1 point was".to_owned() } else { format!("{some} points were") }
        ),
    }
}

fn tell_done(out: &mut dyn std::io::Write, swept: &Swept) -> std::io::Result<()> {
    writeln!(out, "condemned {}, deleted {}", packs(swept.condemned), packs(swept.deleted))?;
    if swept.moved.0 > 0 {
        let frames = show::count(swept.moved.0, "frame");
        writeln!(out, "packed {frames} of {} again", show::size(swept.moved.1))?;
    }
    for (_, session) in &swept.expired {
        writeln!(
            out,
            "gave up session {}: its process died, or shows no sign of life",
            show::short(session)
        )?;
    }
    if swept.for_sessions.0 > 0 {
        writeln!(
            out,
            "{} of forgotten points stay until those at work with them end",
            packs(swept.for_sessions)
        )?;
    }
    for (_, session) in &swept.waits_for {
        writeln!(
            out,
            "session {} is at work: what is condemned is deleted by a later sweep",
            show::short(session)
        )?;
    }
    Ok(())
}

fn amount((count, bytes): (u64, u64)) -> Value {
    json!({ "packs": count, "bytes": bytes })
}

fn document(plan: &Plan) -> Value {
    json!({
        "packs": amount(plan.packs),
        "unneeded": amount(plan.unneeded),
        "orphans": amount(plan.orphans),
        "under_way": amount(plan.under_way),
        "for_sessions": amount(plan.for_sessions),
        "condemned": amount(plan.condemned),
        "repacked": amount(plan.repacked),
        "bytes_copied": plan.copied,
        "bytes_freed": plan.freed,
        "requests": plan.requests,
        "points_forgotten": plan.forgotten,
        "points_unverified": plan.unverified,
    })
}

fn done(swept: &Swept) -> Value {
    let ids = |sessions: &[(format::id::WriterId, format::id::SessionId)]| -> Value {
        sessions.iter().map(|(_, session)| session.to_string()).collect()
    };
    json!({
        "condemned": amount(swept.condemned),
        "deleted": amount(swept.deleted),
        "moved": { "frames": swept.moved.0, "bytes": swept.moved.1 },
        "spared": swept.spared.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "for_sessions": amount(swept.for_sessions),
        "expired": ids(&swept.expired),
        "waits_for": ids(&swept.waits_for),
    })
}
