//! Zero copy: a part of a chunk goes from the page cache to the socket without passing through our
//! memory.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tnet_fileinfo::ChunkIndex;
use tnet_store::{CachedPart, ChunkSource, FileStore, ReadError};

use super::Upload;
use super::send_half::{SENDS_FILES, SendHalf};
use super::writer::PartError;

/// Shorter parts are copied: that takes less time than the system calls of zero copy.
const MIN_LEN: u32 = 16 * 1024;

/// The last bytes of a part, which are sent only once the file is found unchanged.
const HELD_BACK: u32 = 1024;
const _: () = assert!(HELD_BACK < MIN_LEN);

pub(super) struct ZeroCopyPart<'a> {
    upload: &'a Upload,
    offset: u32,
    len: u32,
    part: CachedPart,
}

impl<'a> ZeroCopyPart<'a> {
    /// The part, if it is long enough and in the page cache.
    pub(super) fn new(upload: &'a Upload, offset: u32, len: u32) -> Option<ZeroCopyPart<'a>> {
        if !SENDS_FILES || len < MIN_LEN {
            return None;
        }
        let part = upload.source.cached_part(upload.chunk, offset, len)?;
        Some(ZeroCopyPart { upload, offset, len, part })
    }

    /// Sends `head`, which ends with the part's header, and the part except for its last bytes.
    /// Those are in `head` afterwards and must be sent next. They are read only after the rest was
    /// sent, and only if the file is unchanged: a file that changes while it is sent never makes us
    /// send a complete chunk of other content.
    pub(super) async fn send(
        self,
        output: &mut impl SendHalf,
        head: &mut Vec<u8>,
    ) -> Result<(), PartError> {
        let (start, first) = (self.part.position(), self.len - HELD_BACK);
        let mut position = start;
        let until = start + u64::from(first);
        match output.send_file(head, self.part.file(), &mut position, until).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(PartError::Unreadable(ReadError::Changed));
            }
            Err(error) if is_file_error(&error) => {
                let sent = u32::try_from(position - start).expect("within the part");
                return self.read_rest(sent, head).await;
            }
            sent => sent?,
        }
        head.clear();
        head.resize(HELD_BACK as usize, 0);
        if !self.upload.source.reread(&self.part, until, head) {
            return self.read_rest(first, head).await;
        }
        let unchanged = self.upload.source.check_unchanged(&self.part, self.upload.chunk);
        unchanged.map_err(PartError::Unreadable)
    }

    /// Some of the part was not in the page cache after all, or the disk failed. Reads the rest
    /// again, or from another file: a frame that has begun must be completed, even if the chunk was
    /// withdrawn meanwhile.
    async fn read_rest(self, sent: u32, head: &mut Vec<u8>) -> Result<(), PartError> {
        let (source, spares) = (self.upload.source.clone(), self.upload.spares.clone());
        let (chunk, offset, len) =
            (self.upload.chunk, self.offset + sent, (self.len - sent) as usize);
        let (position, part) = (self.part.position() + u64::from(sent), self.part);
        let reading = tokio::task::spawn_blocking(move || {
            let mut rest = vec![0; len];
            match part.file().read_exact_at(&mut rest, position) {
                Ok(()) => source.check_unchanged(&part, chunk)?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ReadError::Changed);
                }
                Err(_) => read_with_spares(&source, &spares, chunk, offset, &mut rest)?,
            }
            Ok(rest)
        });
        *head = reading.await.map_err(io::Error::other)?.map_err(PartError::Unreadable)?;
        Ok(())
    }
}

/// Whether an error of [`SendHalf::send_file`] is of the file rather than of the connection.
fn is_file_error(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::Interrupted
    )
}

/// Reads from the source or, if that fails, from a spare. The error is the source's.
pub(super) fn read_with_spares(
    source: &ChunkSource,
    spares: &[Arc<FileStore>],
    chunk: ChunkIndex,
    offset: u32,
    buf: &mut [u8],
) -> Result<(), ReadError> {
    source.read(chunk, offset, buf).or_else(|error| {
        let mut spares = spares.iter();
        spares.find_map(|spare| spare.read_chunk_part(chunk, offset, buf).ok()).ok_or(error)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Write;
    use std::ops::ControlFlow;

    use tnet_fileinfo::{ChunkSize, FileInfo, scan_file};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use tnet_store::Flaw;

    const LEN: u32 = 4 * 1024 * 1024;

    fn shared(content: &[u8]) -> (tempfile::NamedTempFile, Upload) {
        shared_from(tempfile::NamedTempFile::new().unwrap(), content)
    }

    fn shared_from(
        mut file: tempfile::NamedTempFile,
        content: &[u8],
    ) -> (tempfile::NamedTempFile, Upload) {
        file.write_all(content).unwrap();
        let info: FileInfo = scan_file(file.path(), Some(ChunkSize::new(LEN).unwrap()), &|_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        let store = FileStore::open_shared(file.path(), &info).unwrap();
        let (chunk, len) = (info.geometry().chunk(0).unwrap(), LEN);
        let source = ChunkSource::Whole(Arc::new(store));
        (file, Upload { file: tnet_proto::FileKey(1), chunk, len, source, spares: Vec::new() })
    }

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn a_part_longer_than_any_socket_buffer_arrives_behind_its_header() {
        let content: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
        let (_file, upload) = shared(&content);
        let (ours, mut theirs) = connected().await;
        let (_input, mut output) = ours.into_split();
        let part = ZeroCopyPart::new(&upload, 1000, LEN - 1000).expect("it was just written");
        let sending = async {
            let mut head = b"header".to_vec();
            part.send(&mut output, &mut head).await.unwrap();
            output.write_all(&head).await.unwrap();
            drop(output);
        };
        let mut heard = Vec::new();
        let (read, ()) = tokio::join!(theirs.read_to_end(&mut heard), sending);
        read.unwrap();
        assert_eq!(&heard[..6], b"header");
        assert!(heard[6..] == content[1000..], "{} bytes arrived, or others", heard.len());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_part_from_a_file_system_in_memory_waits_for_no_other_thread() {
        let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        let (_file, upload) = shared_from(file, &vec![7; LEN as usize]);
        assert!(upload.source.is_in_memory(), "/dev/shm is no file system in memory here");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (release, busy) = std::sync::mpsc::channel::<()>();
        runtime.spawn_blocking(move || busy.recv());
        runtime.block_on(async {
            let (ours, mut theirs) = connected().await;
            let (_input, mut output) = ours.into_split();
            let sending = async {
                let mut head = Vec::new();
                ZeroCopyPart::new(&upload, 0, LEN)
                    .expect("in memory")
                    .send(&mut output, &mut head)
                    .await
                    .unwrap();
                output.write_all(&head).await.unwrap();
                drop(output);
            };
            let mut heard = Vec::new();
            let both = async { tokio::join!(theirs.read_to_end(&mut heard), sending) };
            let done = tokio::time::timeout(std::time::Duration::from_secs(20), both).await;
            drop(release);
            done.expect("it waited for a thread").0.unwrap();
            assert_eq!(heard.len(), LEN as usize);
        });
    }

    #[tokio::test]
    async fn a_part_of_a_chunk_that_is_withdrawn_meanwhile_is_completed_and_no_other_begins() {
        let (_file, upload) = shared(&vec![7; LEN as usize]);
        let ChunkSource::Whole(store) = &upload.source else { unreachable!("just made") };
        let (ours, mut theirs) = connected().await;
        let (_input, mut output) = ours.into_split();
        let part = ZeroCopyPart::new(&upload, 0, LEN).expect("it was just written");
        let sending = async {
            let mut head = Vec::new();
            part.send(&mut output, &mut head).await.unwrap();
            output.write_all(&head).await.unwrap();
            drop(output);
        };
        let reading = async {
            let mut heard = vec![0; 100_000];
            theirs.read_exact(&mut heard).await.unwrap();
            store.flaws().set(store.info().geometry(), upload.chunk, Some(Flaw::Wrong));
            theirs.read_to_end(&mut heard).await.unwrap();
            heard.len()
        };
        let ((), heard) = tokio::join!(sending, reading);
        assert_eq!(heard, LEN as usize);
        assert!(ZeroCopyPart::new(&upload, 0, LEN).is_none());
    }

    #[tokio::test]
    async fn a_chunk_of_a_file_that_changes_meanwhile_is_not_sent_in_full() {
        let (file, upload) = shared(&vec![7; LEN as usize]);
        let (ours, mut theirs) = connected().await;
        let (_input, mut output) = ours.into_split();
        let part = ZeroCopyPart::new(&upload, 0, LEN).expect("it was just written");
        let sending = async {
            let result = part.send(&mut output, &mut Vec::new()).await;
            drop(output);
            result
        };
        let reading = async {
            let mut heard = vec![0; 100_000];
            theirs.read_exact(&mut heard).await.unwrap();
            file.as_file().set_len(u64::from(LEN) / 2).unwrap();
            theirs.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let (result, heard) = tokio::join!(sending, reading);
        assert!(matches!(result, Err(PartError::Unreadable(ReadError::Changed))), "{result:?}");
        assert!(heard.len() < LEN as usize, "all of it arrived");
    }
}
