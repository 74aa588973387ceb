//! Reads and writes lines over a stream, each with a maximum length and a deadline.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes of the longest request. Paths have at most 4096 bytes each, four times that as a list of
/// bytes.
pub const MAX_REQUEST_LEN: usize = 64 * 1024;

/// Bytes of the longest response: a file with a thousand peers in its swarm.
pub const MAX_RESPONSE_LEN: usize = 1024 * 1024;

/// How long the other side may take to read a line. It is a process on this machine: if it takes
/// longer, it hangs.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// A line could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadLineError {
    #[error("the line is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the line did not come within {within:.0?}")]
    TimedOut { within: Duration },
    #[error("reading from the control socket")]
    Io(#[from] io::Error),
}

/// The next line without its end; none at the end of the stream.
pub(crate) async fn read_line(
    stream: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
    within: Duration,
) -> Result<Option<Vec<u8>>, ReadLineError> {
    let mut line = Vec::new();
    let mut bounded = stream.take(limit as u64 + 1);
    timeout(within, bounded.read_until(b'\n', &mut line))
        .await
        .map_err(|_| ReadLineError::TimedOut { within })??;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() >= limit => Err(ReadLineError::TooLong { limit }),
        Some(_) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// Writes a line that has its end.
pub(crate) async fn write_line(
    stream: &mut (impl AsyncWrite + Unpin),
    line: &[u8],
    within: Duration,
) -> io::Result<()> {
    timeout(within, stream.write_all(line)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_line_may_have_exactly_the_limit_and_no_byte_more() {
        // Shorter; exactly as long; one more; nothing at all; cut off.
        for (sent, expected) in [
            ("abc\nnext\n", Some("abc")),
            ("abcd\n", Some("abcd")),
            ("abcde\n", None),
            ("\n", Some("")),
            ("abc", None),
        ] {
            let mut stream = sent.as_bytes();
            let line = read_line(&mut stream, 4, SOON).await.ok().flatten();
            assert_eq!(line.as_deref(), expected.map(str::as_bytes), "{sent:?}");
        }
        assert!(matches!(read_line(&mut &b""[..], 4, SOON).await, Ok(None)));
        let endless =
            read_line(&mut tokio::io::BufReader::new(tokio::io::repeat(b'x')), 4, SOON).await;
        assert!(matches!(endless, Err(ReadLineError::TooLong { limit: 4 })));
    }

    #[tokio::test]
    async fn reading_a_line_has_a_deadline() {
        let (near, _far) = tokio::io::duplex(16);
        let mut near = tokio::io::BufReader::new(near);
        let waited = read_line(&mut near, 16, Duration::from_millis(20)).await;
        assert!(matches!(waited, Err(ReadLineError::TimedOut { .. })));
    }
}
