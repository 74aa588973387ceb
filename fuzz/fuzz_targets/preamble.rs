//! The first bytes of a connection. A version is agreed on only with the right magic and only one
//! that both sides support; both sides come to the same result; exactly 12 bytes are read, and ours
//! are always sent.

#![no_main]

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use tnet_fuzz::pieces::InPieces;
use tnet_proto::{
    PREAMBLE_LEN, PreambleError, PreambleExchangeError, Protocol, exchange_preamble, negotiate,
    preamble,
};

fuzz_target!(|data: &[u8]| {
    let [first_len, second_len, stream @ ..] = data else { return };
    for protocol in [Protocol::Peer, Protocol::Coordinator] {
        let mut input = InPieces::new(stream, [*first_len, *second_len]);
        let mut output = Vec::new();
        let outcome = exchange_preamble(&mut tokio::io::join(&mut input, &mut output), protocol)
            .now_or_never()
            .expect("there is nothing to wait for");
        let left = input.rest().len();
        assert_eq!(output, preamble(protocol));
        match stream.first_chunk::<PREAMBLE_LEN>() {
            None => assert!(matches!(outcome, Err(PreambleExchangeError::Io(_)))),
            Some(theirs) => {
                assert_eq!(left, stream.len() - PREAMBLE_LEN);
                check(protocol, theirs);
                match (outcome, negotiate(protocol, theirs)) {
                    (Ok(version), Ok(expected)) => assert_eq!(version, expected),
                    (Err(PreambleExchangeError::Preamble(error)), Err(expected)) => {
                        assert_eq!(error, expected)
                    }
                    (outcome, expected) => panic!("{outcome:?} where {expected:?} was due"),
                }
            }
        }
    }
});

fn check(protocol: Protocol, theirs: &[u8; PREAMBLE_LEN]) {
    let other = match protocol {
        Protocol::Peer => Protocol::Coordinator,
        Protocol::Coordinator => Protocol::Peer,
    };
    let ours = preamble(protocol);
    let (magic, versions) = theirs.split_at(8);
    let version = |at: usize| u16::from_le_bytes([versions[at], versions[at + 1]]);
    let (min, max) = (version(0), version(2));
    match negotiate(protocol, theirs) {
        Ok(agreed) => {
            assert_eq!(magic, &ours[..8]);
            assert!((min..=max).contains(&agreed));
            assert_eq!(agreed, 1, "the only version there is");
        }
        Err(PreambleError::NotTnet) => {
            assert!(magic != &ours[..8] && magic != &preamble(other)[..8]);
        }
        Err(PreambleError::WrongService { expected, found }) => {
            assert_eq!((expected, found), (protocol, other));
            assert_eq!(magic, &preamble(other)[..8]);
        }
        Err(PreambleError::VersionMismatch { theirs, .. }) => {
            assert_eq!(magic, &ours[..8]);
            assert_eq!((theirs.min, theirs.max), (min, max));
            assert!(!(min..=max).contains(&1));
        }
        Err(error) => panic!("no other error is known here: {error}"),
    }
}
