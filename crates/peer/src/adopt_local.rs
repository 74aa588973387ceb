//! A wanted file that is on this machine already, under another name: the two share their blocks
//! where the file system can do that, else it is copied chunk by chunk. Each chunk is verified
//! either way.

use std::sync::Arc;

use tnet_store::ChunkSource;
use tokio_util::sync::CancellationToken;

use crate::store::{Download, FileStore, ReadError};

/// Chunks in a row that a disk does not give, which may take it a minute each, before it is not
/// asked any more.
const FAILED_AT_MOST: u32 = 4;

/// The finished copy. None if the source is not what it was, or at the stop; then what was copied
/// stays, and the rest is downloaded.
pub(crate) async fn copy(
    source: ChunkSource,
    download: Arc<Download>,
    stop: CancellationToken,
) -> Option<FileStore> {
    tokio::task::spawn_blocking(move || copy_now(&source, &download, &stop)).await.ok()?
}

fn copy_now(
    source: &ChunkSource,
    download: &Download,
    stop: &CancellationToken,
) -> Option<FileStore> {
    let ChunkSource::Whole(whole) = source else { return None };
    let info = download.info();
    let mut buffer = Vec::new();
    if download.share_blocks(whole) {
        for chunk in info.geometry().chunks() {
            if stop.is_cancelled() {
                return None;
            }
            // One that is wrong or cannot be read is fetched; the others are here.
            let _ = download.adopt_chunk(chunk, &mut buffer);
        }
        return download.finish().ok();
    }
    let recut = ChunkSource::Rechunked { whole: Arc::clone(whole), geometry: *info.geometry() };
    let mut failed_in_a_row = 0;
    for chunk in download.stored().missing() {
        if stop.is_cancelled() {
            return None;
        }
        // What an earlier attempt left need not be copied again if it is right.
        if download.check_chunk(chunk) {
            continue;
        }
        buffer.resize(info.geometry().chunk_len(chunk) as usize, 0);
        match recut.read(chunk, 0, &mut buffer) {
            Ok(()) if info.verify(chunk, &buffer) => {
                download.write_chunk(chunk, &buffer).ok()?;
                failed_in_a_row = 0;
            }
            Err(ReadError::Io { .. }) if failed_in_a_row < FAILED_AT_MOST => failed_in_a_row += 1,
            Ok(()) | Err(ReadError::Withdrawn { .. }) => {}
            Err(_) => return None,
        }
    }
    download.finish().ok()
}
