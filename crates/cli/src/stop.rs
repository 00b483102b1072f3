//! What Ctrl-C, a request to terminate and a terminal that hangs up do.
//!
//! A verb that can come to an end in order is asked to, and says so; asked again, or where a verb has nothing to put in
//! order, the process ends at once. Both end with exit code 130. A signal that the program was started to ignore, as
//! shells do for jobs in the background, stays ignored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use world::World;

use crate::error::INTERRUPTED;
use crate::out::Out;

/// Whether the verb at work comes to an end in order when it is asked to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orderly(Arc<AtomicBool>);

impl Orderly {
    /// The verb at work does.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Listens from now on. Where the system has no thread or no signals for us, its own way of ending a process stays.
pub(crate) fn listen(world: World, orderly: Orderly, out: Out) {
    // Without a listener a signal still ends the process, which every verb survives.
    let _ = std::thread::Builder::new().name("seawall-stop".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            wait(kinds.map(wanted), &world, &orderly, out).await;
        });
    });
}

/// A signal to wait for, unless it is ignored.
fn wanted(kind: SignalKind) -> Option<Signal> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bit = 1 << (kind.as_raw_value() - 1);
    if ignored(&status) & bit == 0 { signal(kind).ok() } else { None }
}

/// The ignored signals that `/proc/PID/status` states in hexadecimal.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

async fn wait(signals: [Option<Signal>; 3], world: &World, orderly: &Orderly, out: Out) {
    let [mut interrupt, mut terminate, mut hangup] = signals;
    loop {
        tokio::select! {
            () = next(&mut interrupt) => {}
            () = next(&mut terminate) => {}
            () = next(&mut hangup) => {}
        }
        if world.is_stopped() || !orderly.0.load(Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        world.stop();
        out.warning("stopping; what is done stays done. Once more ends it at once");
    }
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
