//! Passes open files over the socket with a request (`SCM_RIGHTS`). Another process may see other
//! files under the same paths, as a service with a private `/tmp` does; an open file is the same
//! for both.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::json_lines::ReadLineError;

/// Open files of one request at most: a description and a directory. More are closed.
pub(crate) const MOST_HANDED: usize = 2;

/// Bytes read at once.
const PIECE: usize = 4096;

/// Sends the beginning of a line with open files. Returns how many bytes were sent.
pub(crate) async fn send(
    stream: &UnixStream,
    line: &[u8],
    files: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_HANDED))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Ok(sendmsg(stream.as_fd(), &[IoSlice::new(line)], &mut ancillary, no_signal())?)
        })
        .await
}

/// Suppresses SIGPIPE where the system can; elsewhere the process ignores it.
fn no_signal() -> SendFlags {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return SendFlags::NOSIGNAL;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    return SendFlags::empty();
}

/// A line without its end, and the open files that came with it.
pub(crate) type Received = (Vec<u8>, Vec<OwnedFd>);

/// Receives the first line of a stream, with the open files that come with it; none at the end of
/// the stream. Bytes after the line are discarded: a client sends one line.
pub(crate) async fn receive(
    stream: &UnixStream,
    limit: usize,
    within: Duration,
) -> Result<Option<Received>, ReadLineError> {
    let received = async {
        let (mut line, mut files) = (Vec::new(), Vec::new());
        loop {
            let piece =
                stream.async_io(Interest::READABLE, || receive_piece(stream, &mut files)).await?;
            let end = piece.iter().position(|byte| *byte == b'\n');
            line.extend(piece.iter().take(end.unwrap_or(piece.len())));
            if line.len() > limit {
                return Err(ReadLineError::TooLong { limit });
            }
            match end {
                Some(_) => return Ok(Some((line, files))),
                None if !piece.is_empty() => {}
                None if line.is_empty() => return Ok(None),
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        }
    };
    timeout(within, received).await.map_err(|_| ReadLineError::TimedOut { within })?
}

/// Empty at the end of the stream.
fn receive_piece(stream: &UnixStream, files: &mut Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PIECE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_HANDED))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(stream.as_fd(), into, &mut ancillary, closed_on_exec())?;
    let before = files.len();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(handed) = message {
            files.extend(handed);
        }
    }
    // There was space for as many as a request has, so the process lacked descriptors.
    if received.flags.contains(ReturnFlags::CTRUNC) && files.len() - before < MOST_HANDED {
        return Err(Errno::MFILE.into());
    }
    // Closes the rest.
    files.truncate(MOST_HANDED);
    bytes.truncate(received.bytes);
    Ok(bytes)
}

fn closed_on_exec() -> RecvFlags {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    return RecvFlags::empty();
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use tokio::io::AsyncWriteExt;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_open_file_arrives_with_the_line_it_was_sent_with() {
        let (mut near, far) = UnixStream::pair().expect("two sockets");
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(b"content").expect("writable");
        let sent = send(&near, b"li", &[file.as_fd()]).await.expect("there is room");
        near.write_all(&b"line\n"[sent..]).await.expect("there is room");
        let (line, files) = receive(&far, 16, SOON).await.expect("a line").expect("not the end");
        assert_eq!((line.as_slice(), files.len()), (&b"line"[..], 1));
        let mut handed = File::from(files.into_iter().next().expect("one"));
        let mut text = String::new();
        handed.rewind().expect("a file");
        handed.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "content");
    }

    #[tokio::test]
    async fn files_beyond_what_a_request_needs_are_closed() {
        let (near, far) = UnixStream::pair().expect("two sockets");
        let file = tempfile::tempfile().expect("a temporary file");
        for _ in 0..5 {
            send(&near, b"x", &[file.as_fd(), file.as_fd()]).await.expect("there is room");
        }
        send(&near, b"\n", &[]).await.expect("there is room");
        let (line, files) = receive(&far, 16, SOON).await.expect("a line").expect("not the end");
        assert_eq!((line.len(), files.len()), (5, MOST_HANDED));
    }

    /// Set in the child process, whose descriptor limit is used up.
    const IS_ALONE: &str = "TNET_TEST_WITHOUT_DESCRIPTORS";

    #[tokio::test]
    async fn files_for_which_there_is_no_descriptor_are_told_apart_from_none() {
        const NAME: &str = "files_for_which_there_is_no_descriptor_are_told_apart_from_none";
        if std::env::var_os(IS_ALONE).is_none() {
            // The limit holds for a whole process.
            let (_, module) = module_path!().split_once("::").expect("a module of this crate");
            let this = std::env::current_exe().expect("this test");
            let alone = std::process::Command::new(this)
                .args([&format!("{module}::{NAME}"), "--exact"])
                .env(IS_ALONE, "1")
                .output();
            let alone = alone.expect("it can be started");
            let said = String::from_utf8_lossy(&alone.stdout);
            return assert!(alone.status.success() && said.contains("1 passed"), "{said}");
        }
        let (near, far) = UnixStream::pair().expect("two sockets");
        let file = tempfile::tempfile().expect("a temporary file");
        send(&near, b"line\n", &[file.as_fd()]).await.expect("there is room");
        let none = rustix::process::Rlimit { current: Some(3), maximum: Some(3) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, none)
            .expect("less is allowed");
        let received = receive(&far, 16, SOON).await;
        let Err(ReadLineError::Io(error)) = received else { panic!("{received:?}") };
        assert!(tnet_peer::descriptors::shortage_of(&error).is_some(), "{error}");
    }

    #[tokio::test]
    async fn a_line_has_its_limit_and_its_time() {
        let cases: [(&[u8], Option<&[u8]>); 4] =
            [(b"abcd\n", Some(b"abcd")), (b"abcde\n", None), (b"\n", Some(b"")), (b"abc", None)];
        for (sent, expected) in cases {
            let (mut near, far) = UnixStream::pair().expect("two sockets");
            near.write_all(sent).await.expect("there is room");
            drop(near);
            let line = receive(&far, 4, SOON).await.ok().flatten().map(|(line, _)| line);
            assert_eq!(line.as_deref(), expected, "{sent:?}");
        }
        let (_near, far) = UnixStream::pair().expect("two sockets");
        let silent = receive(&far, 4, Duration::from_millis(20)).await;
        assert!(matches!(silent, Err(ReadLineError::TimedOut { .. })));
    }
}
