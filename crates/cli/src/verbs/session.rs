//! `session`: who is at work in the repository, and how one ends who is not.

use clap::{Args, Subcommand};
use format::session::Purpose;
use repo::AtWork;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::{show, time};

/// List and end sessions
#[derive(Args)]
pub(crate) struct Session {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// List who is at work
    ///
    /// Times are by the clocks of the hosts that work.
    List,
    /// Let sweeps no longer wait for a session whose process is dead
    ///
    /// If it is alive after all, nothing is lost: a backup then ends with 5 and is run again.
    Expire {
        /// The session's id, or the first digits of it
        id: String,
    },
}

impl Session {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Error> {
        match self.act {
            Act::List => list(context),
            Act::Expire { id } => expire(context, &id),
        }
    }
}

fn list(context: &Context) -> Result<Outcome, Error> {
    let repo = context.open()?;
    let sessions = repo.at_work()?;
    let body = json!({ "sessions": sessions.iter().map(document).collect::<Value>() });
    context.out.result("session/1", body, |out| {
        let running: Vec<Vec<String>> = sessions.iter().filter(|one| !one.is_over).map(row).collect();
        let over = sessions.len() - running.len();
        match running.is_empty() {
            true => writeln!(out, "nobody is at work")?,
            false => {
                show::table(out, &["session", "host", "does", "begun", "last seen", ">points"], &running)?
            }
        }
        match over as u64 {
            0 => Ok(()),
            over => writeln!(out, "{} over; the next sweep tidies up", show::count(over, "session")),
        }
    })?;
    Ok(Outcome::Done)
}

fn expire(context: &Context, asked: &str) -> Result<Outcome, Error> {
    let repo = context.open()?;
    let one = repo.expire_session(asked)?;
    let body = json!({ "expired": one.session.to_string() });
    context.out.summary("session/1", body, |out| {
        writeln!(
            out,
            "session {} of {} is given up; no sweep waits for it",
            show::short(one.session),
            host(&one)
        )
    })?;
    Ok(Outcome::Done)
}

fn host(one: &AtWork) -> String {
    if one.host.is_empty() { show::short(one.writer) } else { show::bytes(one.host.as_bytes()) }
}

fn purpose(one: &AtWork) -> String {
    match one.purpose {
        Purpose::Write => "write",
        Purpose::Read => "read",
        Purpose::Sweep => "sweep",
        Purpose::Replicate => "replicate",
        Purpose::Other(number) => return format!("other ({number})"),
    }
    .to_owned()
}

fn row(one: &AtWork) -> Vec<String> {
    vec![
        show::short(one.session),
        host(one),
        purpose(one),
        time::local(one.begun),
        time::local(one.renewed),
        one.roots.len().to_string(),
    ]
}

fn document(one: &AtWork) -> Value {
    let state = match (one.is_expired, one.is_over) {
        (true, _) => "expired",
        (_, true) => "ended",
        _ => "at work",
    };
    json!({
        "session": one.session.to_string(),
        "writer": one.writer.to_string(),
        "host": one.host,
        "purpose": purpose(one),
        "begun": time::rfc3339(one.begun),
        "renewed": time::rfc3339(one.renewed),
        "points": one.roots.iter().map(ToString::to_string).collect::<Value>(),
        "state": state,
    })
}
