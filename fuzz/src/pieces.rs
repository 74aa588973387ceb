//! A stream that comes in pieces of chosen lengths, as TCP may cut it anywhere.

use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};

/// The pieces of `stream`: their lengths are those of two bytes, in turn, and at least one.
pub fn pieces(stream: &[u8], lens: [u8; 2]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    let mut lens = lens.into_iter().cycle();
    std::iter::from_fn(move || {
        let len = usize::from(lens.next()?) + 1;
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The same as a reader.
#[derive(Debug)]
pub struct InPieces<'a> {
    rest: &'a [u8],
    lens: [u8; 2],
    reads: usize,
}

impl<'a> InPieces<'a> {
    /// Each read answers with one piece at most.
    pub fn new(stream: &'a [u8], lens: [u8; 2]) -> InPieces<'a> {
        InPieces { rest: stream, lens, reads: 0 }
    }

    /// The bytes that were not read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl AsyncRead for InPieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = usize::from(self.lens[self.reads % 2]) + 1;
        let (piece, after) = self.rest.split_at(len.min(into.remaining()).min(self.rest.len()));
        into.put_slice(piece);
        self.rest = after;
        self.reads += 1;
        Poll::Ready(Ok(()))
    }
}

/// Runs a future that waits only for its input.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime on this thread needs nothing")
    });
    RUNTIME.block_on(future)
}
