//! Any bytes on the control socket: split into lines exactly where they end, none above its limit;
//! a parsed line is the same when it is written again; any other line is answered with one line
//! that fits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tnet_control::fuzzing::{NextLine, read_line, request_again, response_again};
use tnet_control::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN};
use tnet_fuzz::pieces::{InPieces, block_on};
use tokio::io::BufReader;

fuzz_target!(|data: &[u8]| {
    let [limit, first_len, second_len, stream @ ..] = data else { return };
    let limit = if *limit == 0 { MAX_REQUEST_LEN } else { usize::from(*limit) };
    check_reading(stream, [*first_len, *second_len], limit);
    stream.split(|byte| *byte == b'\n').for_each(check_line);
});

fn check_reading(stream: &[u8], lens: [u8; 2], limit: usize) {
    let mut rest = stream;
    block_on(async {
        let mut reader = BufReader::new(InPieces::new(stream, lens));
        loop {
            let read = read_line(&mut reader, limit).await;
            let len = rest.iter().position(|byte| *byte == b'\n');
            let expected = match len {
                Some(len) if len <= limit => NextLine::Whole(rest[..len].to_vec()),
                _ if rest.len() > limit => NextLine::TooLong,
                _ if rest.is_empty() => NextLine::End,
                _ => NextLine::CutOff,
            };
            assert_eq!(read, expected, "with a limit of {limit}");
            match (read, len) {
                (NextLine::Whole(_), Some(len)) => rest = &rest[len + 1..],
                _ => return,
            }
        }
    });
}

fn check_line(line: &[u8]) {
    if line.len() <= MAX_REQUEST_LEN {
        match request_again(line) {
            Ok(again) => {
                assert_is_line(&again);
                assert_eq!(request_again(&again).as_ref(), Ok(&again));
            }
            Err(answer) => {
                assert_is_line(&answer);
                assert!(
                    answer.len() <= MAX_RESPONSE_LEN + 1,
                    "an answer of {} bytes",
                    answer.len()
                );
                assert_eq!(
                    response_again(&answer).as_ref(),
                    Some(&answer),
                    "the client understands it"
                );
            }
        }
    }
    if let Some(again) = response_again(line) {
        assert_is_line(&again);
        assert_eq!(response_again(&again).as_ref(), Some(&again));
    }
}

fn assert_is_line(line: &[u8]) {
    assert_eq!(
        line.iter().position(|byte| *byte == b'\n'),
        line.len().checked_sub(1),
        "one line, and whole"
    );
}
