//! Lines of the control socket, for the fuzz targets.

use std::time::Duration;

use tokio::io::AsyncBufRead;

use super::error::Fault;
use super::json_lines::{self, ReadLineError};
use super::message::{Request, Response, parse, to_line};

/// The request that the server reads from a line, as the client would write it; or what the server
/// answers instead.
///
/// # Errors
/// The line is not understood.
pub fn request_again(line: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    match parse::<Request>(line) {
        Ok(request) => Ok(to_line(&request).expect("what was read can be written")),
        Err(error) => {
            let fault = Response::Fault(Fault::from(error));
            Err(to_line(&fault).expect("a fault can be written"))
        }
    }
}

/// The response that a client reads from a line, as the server would write it; none if it is not
/// understood.
pub fn response_again(line: &[u8]) -> Option<Vec<u8>> {
    let response = parse::<Response>(line).ok()?;
    match &response {
        Response::File(file) => drop(file.sent_copies()),
        Response::Progress(progress) => drop(progress.time.total()),
        Response::Done(summary) => drop(summary.time.total()),
        _ => {}
    }
    Some(to_line(&response).expect("what was read can be written"))
}

/// What comes next on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextLine {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// Nothing: the stream has ended.
    End,
    /// The stream ends within a line.
    CutOff,
    /// A line above the limit.
    TooLong,
}

/// Reads a line of at most `limit` bytes.
pub async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), limit: usize) -> NextLine {
    match json_lines::read_line(stream, limit, Duration::from_secs(60)).await {
        Ok(Some(line)) => NextLine::Whole(line),
        Ok(None) => NextLine::End,
        Err(ReadLineError::TooLong { .. }) => NextLine::TooLong,
        Err(ReadLineError::Io(_) | ReadLineError::TimedOut { .. }) => NextLine::CutOff,
    }
}
