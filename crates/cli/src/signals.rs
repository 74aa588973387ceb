//! Ctrl-C and SIGTERM. The first asks for a clean end, the second ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Listens for signals from here on. The token is cancelled by the first.
///
/// # Errors
/// The system does not let us.
pub(crate) fn listen() -> io::Result<CancellationToken> {
    let mut signals =
        Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        first.cancel();
        signals.next().await;
        // Whatever hangs, the user wants out. Journals make that safe at any moment.
        std::process::exit(Exit::Interrupted.code().into());
    });
    Ok(stop)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
