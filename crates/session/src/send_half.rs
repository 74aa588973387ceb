//! The half of a stream that a session writes to: it tells when the kernel has sent what was
//! written, and sends parts of files without a copy.

use std::fs::File;
use std::future::Future;
use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// The sending half of a session's stream.
pub trait SendHalf: AsyncWrite + Unpin + Send + 'static {
    /// Returns when less than half of the limit is unsent.
    fn drained(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Sets how many bytes the kernel may hold unsent before it takes no more; not a hard limit.
    fn limit_unsent(&self, bytes: u32);

    /// Sends `head` and then the bytes of a file from `position` up to `end`, without a copy where
    /// the system can do that. More data follows at once, so the kernel may hold back an incomplete
    /// segment. Advances `position` by what was sent, also before an error.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`]: the file has become shorter.
    fn send_file(
        &mut self,
        head: &[u8],
        file: &File,
        position: &mut u64,
        end: u64,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

/// Whether [`SendHalf::send_file`] avoids a copy on this system.
pub(crate) const SENDS_FILES: bool = cfg!(any(target_os = "linux", target_os = "android"));

impl SendHalf for OwnedWriteHalf {
    async fn drained(&self) -> io::Result<()> {
        let stream: &TcpStream = self.as_ref();
        loop {
            // The runtime considers a socket writable until a write fails, so the kernel is asked.
            match stream.try_io(Interest::WRITABLE, || ask_writable(stream)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.writable().await?
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn limit_unsent(&self, bytes: u32) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = SockRef::from(self.as_ref()).set_tcp_notsent_lowat(bytes) {
            // Then messages wait longer behind data.
            tracing::debug!(%error, "the limit of unsent bytes stays as it is");
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    async fn send_file(
        &mut self,
        head: &[u8],
        file: &File,
        position: &mut u64,
        end: u64,
    ) -> io::Result<()> {
        use rustix::net::{SendFlags, send};
        let stream: &TcpStream = (*self).as_ref();
        let mut head = head;
        while !head.is_empty() {
            let sent = stream.async_io(Interest::WRITABLE, || {
                Ok(send(stream, head, SendFlags::MORE | SendFlags::NOSIGNAL)?)
            });
            head = head.get(sent.await?..).unwrap_or_default();
        }
        while *position < end {
            let left = usize::try_from(end - *position).unwrap_or(usize::MAX);
            // The kernel advances the position by what it took.
            let sent = stream.async_io(Interest::WRITABLE, || {
                Ok(rustix::fs::sendfile(stream, file, Some(&mut *position), left)?)
            });
            if sent.await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    async fn send_file(
        &mut self,
        head: &[u8],
        file: &File,
        position: &mut u64,
        end: u64,
    ) -> io::Result<()> {
        copy_file(self, head, file, position, end).await
    }
}

/// [`SendHalf::send_file`] with a copy.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
async fn copy_file(
    output: &mut (impl AsyncWrite + Unpin),
    head: &[u8],
    file: &File,
    position: &mut u64,
    end: u64,
) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    use tokio::io::AsyncWriteExt;
    let mut bytes = vec![0; usize::try_from(end - *position).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, *position)?;
    output.write_all(head).await?;
    output.write_all(&bytes).await?;
    *position = end;
    Ok(())
}

fn ask_writable(stream: &TcpStream) -> io::Result<()> {
    let mut asked = [PollFd::new(stream, PollFlags::OUT)];
    match poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
impl SendHalf for tokio::io::WriteHalf<tokio::io::DuplexStream> {
    async fn drained(&self) -> io::Result<()> {
        Ok(())
    }

    fn limit_unsent(&self, _: u32) {}

    async fn send_file(
        &mut self,
        head: &[u8],
        file: &File,
        position: &mut u64,
        end: u64,
    ) -> io::Result<()> {
        copy_file(self, head, file, position, end).await
    }
}
