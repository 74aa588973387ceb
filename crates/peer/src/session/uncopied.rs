//! A part of a chunk that goes from the page cache to the kernel's network without passing through
//! our memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tnet_fileinfo::ChunkIndex;

use super::Upload;
use super::outlet::{Outlet, SENDS_FILES};
use crate::source::Source;
use crate::store::sys::read_cached;
use crate::store::{FileStore, ReadError};

/// A shorter part is copied in less time than the system calls for sending it without a copy take.
const WORTH_IT: u32 = 16 * 1024;

/// Bytes of a part that are sent when the file is seen not to have changed.
const HELD_BACK: u32 = 1024;
const _: () = assert!(HELD_BACK < WORTH_IT);

pub(super) struct Uncopied<'a> {
    upload: &'a Upload,
    offset: u32,
    len: u32,
    file: Arc<File>,
    position: u64,
}

/// Why a part was not sent.
#[derive(Debug)]
pub(super) enum SendError {
    Io(io::Error),
    /// The file is not what it was, or cannot be read. A piece of a frame is out: the connection is
    /// of no more use.
    Unreadable(ReadError),
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> SendError {
        SendError::Io(error)
    }
}

impl<'a> Uncopied<'a> {
    /// The part, if it is worth it and no disk has to be waited for.
    pub(super) fn of(upload: &'a Upload, offset: u32, len: u32) -> Option<Uncopied<'a>> {
        if !SENDS_FILES || len < WORTH_IT {
            return None;
        }
        let (file, position) = upload.source.cached_part(upload.chunk, offset, len)?;
        Some(Uncopied { upload, offset, len, file, position })
    }

    /// Sends `head`, which ends with the part's header, and the part but for its last bytes, which
    /// `head` has afterwards. They are to go out next; they are there only if the file is found
    /// unchanged after all others went: who changes a file while it is sent has not made us send a
    /// whole chunk of something else.
    pub(super) async fn send(
        self,
        output: &mut impl Outlet,
        head: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let (start, first) = (self.position, self.len - HELD_BACK);
        let mut position = start;
        match output.send_file(head, &self.file, &mut position, start + u64::from(first)).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(SendError::Unreadable(ReadError::Changed));
            }
            Err(error) if is_of_the_file(&error) => {
                let sent = u32::try_from(position - start).expect("within the part");
                return self.read_rest(sent, head).await;
            }
            sent => sent?,
        }
        head.clear();
        head.resize(HELD_BACK as usize, 0);
        // The page was in memory a moment ago. A file system that is all memory cannot be asked
        // whether it still is.
        let position = start + u64::from(first);
        let is_read = match self.upload.source.is_in_memory() {
            true => self.file.read_exact_at(head, position).is_ok(),
            false => read_cached(&self.file, head, position),
        };
        if !is_read {
            return self.read_rest(first, head).await;
        }
        let unchanged = self.upload.source.check_unchanged(&self.file, self.upload.chunk);
        unchanged.map_err(SendError::Unreadable)
    }

    /// Some of the part was not in memory after all, or the disk failed. What is missing of it may
    /// be had by reading once more, or from another file: a frame that has begun is to be ended,
    /// though the chunk was withdrawn meanwhile.
    async fn read_rest(self, sent: u32, head: &mut Vec<u8>) -> Result<(), SendError> {
        let (source, spares) = (self.upload.source.clone(), self.upload.spares.clone());
        let (chunk, offset, len) =
            (self.upload.chunk, self.offset + sent, (self.len - sent) as usize);
        let (file, position) = (self.file, self.position + u64::from(sent));
        let reading = tokio::task::spawn_blocking(move || {
            let mut rest = vec![0; len];
            match file.read_exact_at(&mut rest, position) {
                Ok(()) => source.check_unchanged(&file, chunk)?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ReadError::Changed);
                }
                Err(_) => read_somewhere(&source, &spares, chunk, offset, &mut rest)?,
            }
            Ok(rest)
        });
        *head = reading.await.map_err(io::Error::other)?.map_err(SendError::Unreadable)?;
        Ok(())
    }
}

/// Whether a failure to send a file's bytes is the disk's and not the connection's.
fn is_of_the_file(error: &io::Error) -> bool {
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

/// From the source, or from a spare if the source fails; then the source's error is no news.
pub(super) fn read_somewhere(
    source: &Source,
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
    use crate::store::Flaw;

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
        let source = Source::Whole(Arc::new(store));
        (file, Upload { file: tnet_swarm::FileKey(1), chunk, len, source, spares: Vec::new() })
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
        let part = Uncopied::of(&upload, 1000, LEN - 1000).expect("it was just written");
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
    fn a_part_from_a_file_system_that_is_all_memory_waits_for_no_other_thread() {
        let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        let (_file, upload) = shared_from(file, &vec![7; LEN as usize]);
        assert!(upload.source.is_in_memory(), "/dev/shm is not what it is elsewhere");
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
                Uncopied::of(&upload, 0, LEN)
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
    async fn a_part_of_a_chunk_that_is_withdrawn_meanwhile_is_ended_and_no_other_begins() {
        let (_file, upload) = shared(&vec![7; LEN as usize]);
        let Source::Whole(store) = &upload.source else { unreachable!("just made") };
        let (ours, mut theirs) = connected().await;
        let (_input, mut output) = ours.into_split();
        let part = Uncopied::of(&upload, 0, LEN).expect("it was just written");
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
        assert!(Uncopied::of(&upload, 0, LEN).is_none());
    }

    #[tokio::test]
    async fn a_chunk_of_a_file_that_changes_meanwhile_is_not_sent_in_full() {
        let (file, upload) = shared(&vec![7; LEN as usize]);
        let (ours, mut theirs) = connected().await;
        let (_input, mut output) = ours.into_split();
        let part = Uncopied::of(&upload, 0, LEN).expect("it was just written");
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
        assert!(matches!(result, Err(SendError::Unreadable(ReadError::Changed))), "{result:?}");
        assert!(heard.len() < LEN as usize, "all of it arrived");
    }
}
