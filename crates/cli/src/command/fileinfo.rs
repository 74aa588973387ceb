//! Reads a `.fileinfo` that the user named, and hashes files with a progress line.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tnet_fileinfo::{FileInfo, MAX_FILEINFO_LEN, ProgressFn, ScanError};
use tokio::time::timeout;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, file_failure};
use crate::render::fit::part;
use crate::render::rate_meter::RateMeter;
use crate::render::status_line::StatusLine;
use crate::render::units::{shown_path, size};

/// Shorter work shows no bar.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// How often the progress line is updated.
const REFRESH: Duration = Duration::from_millis(100);

/// Reads and verifies a description.
pub(crate) async fn read(path: &Path) -> Result<FileInfo, Failure> {
    let path = path.to_owned();
    blocking(move || read_now(&path)).await
}

/// Opens a description for another process to read.
pub(crate) async fn open(path: &Path) -> Result<File, Failure> {
    let path = path.to_owned();
    blocking(move || open_regular(&path).map_err(|error| file_failure("read", &path, &error))).await
}

fn read_now(path: &Path) -> Result<FileInfo, Failure> {
    let shown = shown_path(path);
    let json = read_bounded(path).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory => {
            Failure::new(Exit::Integrity, format!("{shown} is a directory"))
                .or_hint("name the .fileinfo in it")
                .about(path)
        }
        io::ErrorKind::InvalidInput => {
            let cause =
                format!("{shown} is no regular file, and a description is read more than once");
            Failure::new(Exit::Integrity, cause)
                .or_hint("save it to a file, and name that")
                .about(path)
        }
        _ => file_failure("read", path, &error),
    })?;
    FileInfo::parse(&json).map_err(|error| {
        let hint = if looks_like_content(path) {
            "is it the file itself? make its description with `tnet create`, or name that"
        } else {
            "get it again from where it was made with `tnet create`"
        };
        Failure::from(error).named(path).or_hint(hint)
    })
}

/// A path without the extension `.fileinfo` is probably the content.
fn looks_like_content(path: &Path) -> bool {
    path.extension().is_none_or(|extension| extension != "fileinfo")
}

fn open_regular(path: &Path) -> io::Result<File> {
    // Asked first, because opening a pipe waits for its other end.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    // One byte more than allowed suffices for the parser to refuse it.
    open_regular(path)?.take(MAX_FILEINFO_LEN as u64 + 1).read_to_end(&mut json)?;
    Ok(json)
}

/// Hashes on all cores, with a progress line if it takes long, until it is done or a signal comes.
pub(crate) async fn hash<T: Send + 'static>(
    what: &'static str,
    total: u64,
    context: &Context,
    work: impl FnOnce(ProgressFn<'_>) -> Result<T, ScanError> + Send + 'static,
) -> Result<T, HashFailure> {
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
        Err(ScanError::Cancelled) => Err(HashFailure::Stopped),
        Err(error) => Err(HashFailure::Scan(error)),
    }
}

/// Hashing failed or was stopped.
#[derive(Debug)]
pub(crate) enum HashFailure {
    /// By a signal.
    Stopped,
    /// The file cannot be read.
    Scan(ScanError),
}

impl HashFailure {
    /// The failure for that file.
    pub(crate) fn of_file(self, path: &Path) -> Failure {
        match self {
            Self::Stopped => {
                Failure::interrupted("interrupted").or_hint("run the same command again")
            }
            Self::Scan(ScanError::Open(error)) => file_failure("open", path, &error),
            Self::Scan(error) => Failure::from(error).during(&shown_path(path)),
        }
    }
}

/// Runs blocking work in the thread pool.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The path with `.fileinfo` after it.
pub(crate) fn default_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".fileinfo");
    name.into()
}
