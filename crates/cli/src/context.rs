//! What every command needs besides its arguments and settings.

use tokio_util::sync::CancellationToken;

use crate::render::Output;

/// Where to print, and when to stop.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) output: Output,
    /// Cancelled by the first signal that asks for the end.
    pub(crate) stop: CancellationToken,
}
