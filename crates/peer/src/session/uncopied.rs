//! A part of a chunk that goes from the page cache to the kernel's network without passing through our memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tnet_fileinfo::ChunkIndex;

use super::outlet::{Outlet, SENDS_FILES};
use crate::source::Source;
use crate::store::ReadError;

/// A shorter part is copied in less time than the system calls for sending it without a copy take.
const WORTH_IT: u32 = 16 * 1024;

/// Bytes of a part that are sent when the file is seen not to have changed.
const HELD_BACK: u32 = 1024;
const _: () = assert!(HELD_BACK < WORTH_IT);

pub(super) struct Uncopied<'a> {
    source: &'a Source,
    chunk: ChunkIndex,
    offset: u32,
    len: u32,
    file: Arc<File>,
    position: u64,
}

/// Why a part was not sent.
#[derive(Debug)]
pub(super) enum SendError {
    Io(io::Error),
    /// The file is not what it was. A piece of a frame is out: the connection is of no more use.
    Changed(ReadError),
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> SendError {
        SendError::Io(error)
    }
}

impl<'a> Uncopied<'a> {
    /// The part, if it is worth it and no disk has to be waited for.
    pub(super) fn of(source: &'a Source, chunk: ChunkIndex, offset: u32, len: u32) -> Option<Uncopied<'a>> {
        if !SENDS_FILES || len < WORTH_IT {
            return None;
        }
        let (file, position) = source.cached_part(chunk, offset, len)?;
        Some(Uncopied { source, chunk, offset, len, file, position })
    }

    /// Sends `head`, which ends with the part's header, and the part but for its last bytes, which `head` has afterwards. They
    /// are to go out next; they are there only if the file is found unchanged after all others went: who changes a file
    /// while it is sent has not made us send a whole chunk of something else.
    pub(super) async fn send(self, output: &mut impl Outlet, head: &mut Vec<u8>) -> Result<(), SendError> {
        let first = self.len - HELD_BACK;
        match output.send_file(head, &self.file, self.position, first as usize).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(SendError::Changed(ReadError::Changed));
            }
            sent => sent?,
        }
        head.clear();
        head.resize(HELD_BACK as usize, 0);
        // The page was in memory a moment ago.
        self.source.read(self.chunk, self.offset + first, head).map_err(SendError::Changed)
    }
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
    use crate::store::FileStore;

    const LEN: u32 = 4 * 1024 * 1024;

    fn shared(content: &[u8]) -> (tempfile::NamedTempFile, Source) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let info: FileInfo =
            scan_file(file.path(), Some(ChunkSize::new(LEN).unwrap()), &|_| ControlFlow::Continue(()))
                .unwrap();
        let store = FileStore::open_shared(file.path(), &info).unwrap();
        (file, Source::Whole(Arc::new(store)))
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
        let (_file, source) = shared(&content);
        let (ours, mut theirs) = connected().await;
        let (_input, mut output) = ours.into_split();
        let chunk = source.info().unwrap().geometry().chunk(0).unwrap();
        let part = Uncopied::of(&source, chunk, 1000, LEN - 1000).expect("it was just written");
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

    #[tokio::test]
    async fn a_chunk_of_a_file_that_changes_meanwhile_is_not_sent_in_full() {
        let (file, source) = shared(&vec![7; LEN as usize]);
        let (ours, mut theirs) = connected().await;
        let (_input, mut output) = ours.into_split();
        let chunk = source.info().unwrap().geometry().chunk(0).unwrap();
        let part = Uncopied::of(&source, chunk, 0, LEN).expect("it was just written");
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
        assert!(matches!(result, Err(SendError::Changed(ReadError::Changed))), "{result:?}");
        assert!(heard.len() < LEN as usize, "all of it arrived");
    }
}
