//! A wanted file that is on this machine already, under another name, is copied chunk by chunk; each is verified.

use std::sync::Arc;

use crate::source::Source;
use crate::store::{Download, FileStore};

/// The finished copy. None if the source is not what it was; then what was copied stays, and the rest is downloaded.
pub(crate) async fn copy(source: Source, download: Arc<Download>) -> Option<FileStore> {
    tokio::task::spawn_blocking(move || copy_now(&source, &download)).await.ok()?
}

fn copy_now(source: &Source, download: &Download) -> Option<FileStore> {
    let info = download.info();
    let recut = match source {
        Source::Whole(whole) => Source::Recut { whole: Arc::clone(whole), geometry: *info.geometry() },
        _ => return None,
    };
    let mut buffer = Vec::new();
    for chunk in download.stored().missing() {
        buffer.resize(info.geometry().chunk_len(chunk) as usize, 0);
        recut.read(chunk, 0, &mut buffer).ok()?;
        if !info.verify(chunk, &buffer) {
            return None;
        }
        download.write_chunk(chunk, &buffer).ok()?;
    }
    download.finish().ok()
}
