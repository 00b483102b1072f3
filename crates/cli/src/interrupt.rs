//! Ctrl-C: said as what it is, with the exit code that scripts know for it.
//!
//! Whatever the program is at, it may stop there: what is in the region is written bottom-up and never half, and what a
//! restore has not finished is for its owner only. So nothing is cleaned up here. Where the program was started with
//! that signal ignored, as shells do for jobs in the background, it stays ignored.

use std::io;
use std::sync::Arc;

use tokio::runtime::Builder;

use crate::error::Error;
use crate::hint;
use crate::out::Out;
use crate::progress::Watcher;

/// SIGINT's bit among the ignored signals.
const SIGINT: u64 = 1 << (2 - 1);

/// Waits for the signal on a thread of its own. Where that cannot be started, Ctrl-C ends the program without a word.
pub(crate) fn watch(out: Out, watcher: Arc<Watcher>) {
    if is_ignored() {
        return;
    }
    let thread = std::thread::Builder::new().name("seawall-interrupt".to_owned());
    let _ = thread.spawn(move || {
        if wait().is_ok() {
            watcher.finish();
            let error = Error::Interrupted;
            out.error(&error, hint::of(&error, "").as_deref());
            std::process::exit(error.exit_code().into());
        }
    });
}

fn wait() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(tokio::signal::ctrl_c())
}

fn is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignored(&status) & SIGINT != 0)
}

/// The ignored signals that `/proc/PID/status` states in hexadecimal.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "Name:\tseawall\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001002\n";
        assert_eq!(ignored(status), 0x1002);
        assert_eq!(ignored("Name:\tseawall\n"), 0);
    }
}
