//! Where a session writes to, and how it learns that the kernel has sent what was written.

use std::future::Future;
use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// The writing half of a session's stream.
pub(crate) trait Outlet: AsyncWrite + Unpin + Send + 'static {
    /// Until less than half of the limit is unsent.
    fn drained(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// How many bytes the kernel may take on before it has sent what it has; not a hard limit.
    fn limit_unsent(&self, bytes: u32);
}

impl Outlet for OwnedWriteHalf {
    async fn drained(&self) -> io::Result<()> {
        let stream: &TcpStream = self.as_ref();
        loop {
            // The runtime takes a socket for writable until a write fails, so the kernel is asked.
            match stream.try_io(Interest::WRITABLE, || ask_writable(stream)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
    }

    fn limit_unsent(&self, bytes: u32) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = SockRef::from(self.as_ref()).set_tcp_notsent_lowat(bytes) {
            // Messages wait longer behind data then; nothing is lost.
            tracing::debug!(%error, "the limit of unsent bytes stays as it is");
        }
    }
}

fn ask_writable(stream: &TcpStream) -> io::Result<()> {
    let mut asked = [PollFd::new(stream, PollFlags::OUT)];
    match poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
impl Outlet for tokio::io::WriteHalf<tokio::io::DuplexStream> {
    async fn drained(&self) -> io::Result<()> {
        Ok(())
    }

    fn limit_unsent(&self, _: u32) {}
}
