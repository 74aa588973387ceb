//! The head of a frame from any bytes: the same result for any number of available bytes, refused
//! from the prefix alone when it is too long, and consistent with decoding the whole frame.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tnet_proto::{
    FrameError, FrameHead, HEAD_LEN, MAX_DATA_LEN, MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN,
    PREFIX_LEN, PeerMessage, data_header, decode,
};

fuzz_target!(|data: &[u8]| {
    for max in [MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN] {
        let parsed = FrameHead::parse(data, max);
        check_beginnings(data, max, parsed);
        match parsed {
            Ok(Some(head)) => check_head(data, max, head),
            Ok(None) => assert!(data.len() < HEAD_LEN, "{HEAD_LEN} bytes always suffice"),
            Err(FrameError::TooLong { .. }) => {}
            Err(error) => check_refused(data, error),
        }
    }
});

/// Decoding the whole frame refuses it, too.
fn check_refused(data: &[u8], error: FrameError) {
    let Some((prefix, rest)) = data.split_first_chunk::<PREFIX_LEN>() else { return };
    let Some(body) = rest.get(..u32::from_le_bytes(*prefix) as usize) else { return };
    let decoded = decode::<PeerMessage>(body);
    assert!(decoded.is_err(), "{error:?} by its head, {decoded:?} when decoded");
}

/// A result from some bytes stays the same when more of them arrive.
fn check_beginnings(data: &[u8], max: usize, whole: Result<Option<FrameHead>, FrameError>) {
    for len in 0..data.len().min(HEAD_LEN) {
        match FrameHead::parse(&data[..len], max) {
            Ok(None) => {}
            told => assert_eq!(told, whole, "after {len} bytes"),
        }
    }
    if let Some(prefix) = data.first_chunk::<PREFIX_LEN>() {
        let len = u32::from_le_bytes(*prefix);
        let too_long = Err(FrameError::TooLong { len, max });
        assert_eq!(FrameHead::parse(prefix, max) == too_long, len as usize > max);
    }
}

fn check_head(data: &[u8], max: usize, head: FrameHead) {
    let prefix = data.first_chunk::<PREFIX_LEN>().expect("without a prefix there is no head");
    let len = u32::from_le_bytes(*prefix) as usize;
    assert_eq!(head.head_len() + head.body_len(), PREFIX_LEN + len, "head and body are the frame");
    assert!(len <= max);
    if let FrameHead::Data { file, chunk, offset, len } = head {
        assert!((1..=MAX_DATA_LEN).contains(&(len as usize)));
        assert!(offset.checked_add(len).is_some());
        assert_eq!(data_header(file, chunk, offset, len), data[..HEAD_LEN]);
    }
    let Some(body) = data.get(PREFIX_LEN..PREFIX_LEN + len) else { return };
    match (head, decode::<PeerMessage>(body)) {
        (
            FrameHead::Data { file, chunk, offset, len },
            Ok(PeerMessage::Data { file: decoded, chunk: index, offset: begin, bytes }),
        ) => {
            assert_eq!((file, chunk, offset), (decoded, index, begin));
            assert_eq!(bytes.0.len(), len as usize);
            assert_eq!(bytes.0, data[HEAD_LEN..PREFIX_LEN + body.len()]);
        }
        (FrameHead::Data { .. }, decoded) => panic!("data by its head, {decoded:?} when decoded"),
        (FrameHead::Message { .. }, Ok(PeerMessage::Data { .. })) => {
            panic!("data without a head of data")
        }
        (FrameHead::Message { .. }, _) => {}
    }
}
