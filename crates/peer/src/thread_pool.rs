//! Blocking work, done in tokio's thread pool.

use std::ops::ControlFlow;

use tokio_util::sync::CancellationToken;

use crate::api::PeerGone;

/// Whether blocking work that asks now and then is to go on.
pub(crate) fn go_on_until(stop: &CancellationToken) -> ControlFlow<()> {
    if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Runs what may block where that is allowed.
pub(crate) async fn blocking<T: Send + 'static, E: From<PeerGone> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(PeerGone.into()))
}
