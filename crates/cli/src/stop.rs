//! What Ctrl-C and a request to terminate do.
//!
//! A verb that can come to an end in order is asked to, and says so; asked again, or where a verb has nothing to put in
//! order, the process ends at once. Both end with exit code 130.

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
            let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
            let (Ok(interrupt), Ok(terminate)) = signals else { return };
            wait(interrupt, terminate, &world, &orderly, out).await;
        });
    });
}

async fn wait(mut interrupt: Signal, mut terminate: Signal, world: &World, orderly: &Orderly, out: Out) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if world.is_stopped() || !orderly.0.load(Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        world.stop();
        out.warning("stopping; what is done stays done. Once more ends it at once");
    }
}
