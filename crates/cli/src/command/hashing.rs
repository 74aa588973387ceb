//! Hashes files with a progress line.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tnet_fileinfo::{ProgressFn, ScanError};
use tnet_peer::store::tree::TreeScanError;
use tokio::time::timeout;

use crate::context::Context;
use crate::failure::{Failure, file_failure};
use crate::render::fit::part;
use crate::render::rate_meter::RateMeter;
use crate::render::status_line::StatusLine;
use crate::render::units::{shown_path, size};

/// Shorter work shows no bar.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// How often the progress line is updated.
const REFRESH: Duration = Duration::from_millis(100);

/// Hashes on all cores, with a progress line if it takes long, until it is done or a signal comes.
pub(crate) async fn hash<T: Send + 'static, E: Stoppable>(
    what: &'static str,
    total: u64,
    context: &Context,
    work: impl FnOnce(ProgressFn<'_>) -> Result<T, E> + Send + 'static,
) -> Result<T, HashFailure<E>> {
    let (done, stopped) = (Arc::new(AtomicU64::new(0)), context.stop.clone());
    let counter = Arc::clone(&done);
    let work = move || {
        work(&|bytes| {
            counter.fetch_add(bytes, Ordering::Relaxed);
            if stopped.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    let mut task = tokio::task::spawn_blocking(work);
    let (start, mut line, mut rate) = (Instant::now(), None, RateMeter::default());
    let result = loop {
        match timeout(REFRESH, &mut task).await {
            Ok(result) => break result,
            Err(_) => {
                let (now, bytes) = (Instant::now(), done.load(Ordering::Relaxed));
                rate.add(now, bytes);
                if now.duration_since(start) >= SHOW_AFTER {
                    let line = line.get_or_insert_with(|| StatusLine::new(context.output));
                    let parts = [
                        part(2, what),
                        part(1, format!("{} of {}", size(bytes), size(total))),
                        part(0, format!("{}/s", size(rate.per_second()))),
                    ];
                    line.show(now, "", bytes, total, &parts);
                }
            }
        }
    };
    match result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
        Ok(value) => Ok(value),
        Err(error) if error.is_stop() => Err(HashFailure::Stopped),
        Err(error) => Err(HashFailure::Scan(error)),
    }
}

/// An error of hashing that may say no more than that it was told to stop.
pub(crate) trait Stoppable: Into<Failure> + Send + 'static {
    /// Whether it says so.
    fn is_stop(&self) -> bool;

    /// What the system said when what was named was opened.
    fn opening(&self) -> Option<&io::Error>;
}

impl Stoppable for ScanError {
    fn is_stop(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    fn opening(&self) -> Option<&io::Error> {
        if let Self::Open(error) = self { Some(error) } else { None }
    }
}

impl Stoppable for TreeScanError {
    fn is_stop(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    fn opening(&self) -> Option<&io::Error> {
        if let Self::Open(error) = self { Some(error) } else { None }
    }
}

/// Hashing failed or was stopped.
#[derive(Debug)]
pub(crate) enum HashFailure<E> {
    /// By a signal.
    Stopped,
    /// Something cannot be read.
    Scan(E),
}

impl<E: Stoppable> HashFailure<E> {
    /// The failure for that file or directory.
    pub(crate) fn of(self, path: &Path) -> Failure {
        match self {
            Self::Stopped => {
                Failure::interrupted("interrupted").or_hint("run the same command again")
            }
            Self::Scan(error) => scan_failure(error, path),
        }
    }
}

/// The failure for that file or directory.
pub(crate) fn scan_failure(error: impl Stoppable, path: &Path) -> Failure {
    match error.opening() {
        Some(error) => file_failure("open", path, error),
        None => error.into().during(&shown_path(path)),
    }
}
