//! A wanted file that is on this machine already, under another name: the two share their blocks where the file system can do
//! that, else it is copied chunk by chunk. Each chunk is verified either way.

use std::sync::Arc;

use crate::source::Source;
use crate::store::{Download, FileStore};

/// The finished copy. None if the source is not what it was; then what was copied stays, and the rest is downloaded.
pub(crate) async fn copy(source: Source, download: Arc<Download>) -> Option<FileStore> {
    tokio::task::spawn_blocking(move || copy_now(&source, &download)).await.ok()?
}

fn copy_now(source: &Source, download: &Download) -> Option<FileStore> {
    let Source::Whole(whole) = source else { return None };
    let info = download.info();
    let mut buffer = Vec::new();
    if download.share_blocks(whole) {
        for chunk in info.geometry().chunks() {
            if !download.adopt_chunk(chunk, &mut buffer).ok()? {
                return None;
            }
        }
        return download.finish().ok();
    }
    let recut = Source::Recut { whole: Arc::clone(whole), geometry: *info.geometry() };
    for chunk in download.stored().missing() {
        // What an earlier attempt left need not be copied again if it is right.
        if download.check_chunk(chunk) {
            continue;
        }
        buffer.resize(info.geometry().chunk_len(chunk) as usize, 0);
        recut.read(chunk, 0, &mut buffer).ok()?;
        if !info.verify(chunk, &buffer) {
            return None;
        }
        download.write_chunk(chunk, &buffer).ok()?;
    }
    download.finish().ok()
}
