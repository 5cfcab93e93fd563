//! Being asked to end: SIGTERM, or SIGINT from a terminal.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Exit, Failure};

/// The exit code of a program that SIGINT has ended, as shells report it.
const INTERRUPTED: i32 = 130;

/// The signals that ask a process to end. From its creation on it misses no signal, and no signal ends the process by
/// itself.
pub(crate) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let one = |kind| {
            signal(kind)
                .map_err(|error| Failure::new("WL0614", Exit::Usage, format!("failed to listen to signals: {error}")))
        };
        // With SIGXFSZ handled, a write beyond the limit on file sizes fails with an error that the program reports.
        // By default, the signal would end the process without a message.
        let _handled = one(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        Ok(Self { terminate: one(SignalKind::terminate())?, interrupt: one(SignalKind::interrupt())? })
    }

    /// Completes at the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// One more signal ends the process at once: everything that was acknowledged is durable.
    pub(crate) fn end_at_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(INTERRUPTED);
        });
    }

    /// A token that is cancelled at the next signal; one more ends the process at once.
    pub(crate) fn into_token(mut self) -> CancellationToken {
        let token = CancellationToken::new();
        let ending = token.clone();
        tokio::spawn(async move {
            self.next().await;
            ending.cancel();
            self.end_at_next();
        });
        token
    }
}
