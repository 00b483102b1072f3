//! `seawall`: how people and scripts see and drive the engine.
//!
//! Results go to standard output, as text or as one JSON document; everything else goes to standard error. The exit code
//! says what a script should do next and is the same for every verb; it follows from what an error asks of its caller.

#![cfg_attr(
    not(feature = "write"),
    allow(dead_code, reason = "what only verbs that write need is left out by the linker")
)]

mod args;
mod context;
mod error;
mod hint;
mod out;
mod program;
mod progress;
mod secret;
mod settings;
mod show;
mod stop;
mod time;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::context::Context;
use crate::error::Error;
use crate::out::Out;

/// What the system's allocator gives back and asks for again at each large buffer costs a tenth of the time. The program that
/// only restores is built where this one cannot be.
#[cfg(feature = "write")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    let context = Context::new(cli.global);
    let result = cli.verb.run(&context);
    context.finish();
    match result {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            let hint = hint::of(&error, &context.shown_flags());
            context.out.error(&error, hint.as_deref());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Help and version are answers; everything else that was misread is a wrong request.
fn misread(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let request = Error::Request(text.trim().trim_start_matches("error: ").to_owned());
        Out::for_scripts().error(&request, None);
        return ExitCode::from(request.exit_code());
    }
    // A terminal that is gone cannot be told anything, and the exit code says the same.
    let _ = error.print();
    ExitCode::from(error::exit_code(world::Remedy::Correct))
}
