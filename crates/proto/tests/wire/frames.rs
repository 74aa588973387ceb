//! A session that parses frames itself sees the same messages as the codec.

use proptest::prelude::*;
use tnet_proto::{
    DATA_HEADER_LEN, FileHandle, FrameError, FrameHead, HEAD_LEN, Info, MAX_DATA_LEN,
    MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN, PREFIX_LEN, PeerMessage, data_header, decode, info_head,
};

use crate::frame_of;
use crate::samples::{hex, peer_messages};
use crate::strategies::{data, peer_message};

fn parse(bytes: &[u8]) -> Result<Option<FrameHead>, FrameError> {
    FrameHead::parse(bytes, MAX_FRAME_LEN)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short body");
    [&len.to_le_bytes()[..], body].concat()
}

proptest! {
    #[test]
    fn a_header_and_the_raw_bytes_are_the_whole_encoding(message in data()) {
        let PeerMessage::Data { file, chunk, offset, bytes } = &message else { unreachable!("data()") };
        let len = u32::try_from(bytes.0.len()).expect("a short sample");
        let by_hand = [&data_header(*file, *chunk, *offset, len)[..], &bytes.0].concat();
        prop_assert_eq!(by_hand, frame_of(&message));
    }

    #[test]
    fn a_head_names_what_follows(message in peer_message()) {
        let frame = frame_of(&message);
        let head = parse(&frame).expect("a valid frame").expect("all of it is there");
        prop_assert_eq!(head.head_len() + head.body_len(), frame.len());
        let body = &frame[head.head_len()..];
        match (head, &message) {
            (FrameHead::Data { file, chunk, offset, .. }, PeerMessage::Data { bytes, .. }) => {
                prop_assert_eq!(body, &bytes.0[..]);
                let again = PeerMessage::Data { file, chunk, offset, bytes: body.to_vec().into() };
                prop_assert_eq!(&again, &message);
            }
            (FrameHead::Message { .. }, _) => {
                prop_assert_eq!(decode::<PeerMessage>(body), Ok(message));
            }
            (FrameHead::Data { .. }, _) => prop_assert!(false, "{message:?} was taken for data"),
        }
    }

    #[test]
    fn a_data_frame_is_good_here_exactly_when_decode_takes_it(
        file in any::<u32>(), offset in prop_oneof![any::<u32>(), Just(u32::MAX)],
        claimed in prop_oneof![0..12u64, any::<u64>()], bytes in proptest::collection::vec(any::<u8>(), 0..12),
        cut in 0..40usize,
    ) {
        let mut body = [6u32, file, 3, offset].map(u32::to_le_bytes).concat();
        body.extend(claimed.to_le_bytes());
        body.extend(bytes);
        body.truncate(body.len().saturating_sub(cut).max(4));
        let taken_apart = matches!(parse(&framed(&body)), Ok(Some(FrameHead::Data { .. })));
        prop_assert_eq!(taken_apart, decode::<PeerMessage>(&body).is_ok());
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(Some(head)) = parse(&bytes) {
            prop_assert!(head.head_len() + head.body_len() <= PREFIX_LEN + MAX_FRAME_LEN);
        }
    }
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_awaited_and_never_mistaken() {
    for (message, golden) in peer_messages() {
        let frame = framed(&hex(golden));
        let head = parse(&frame).expect("a valid frame").expect("all of it is there");
        let needed = match head {
            FrameHead::Data { .. } => HEAD_LEN,
            FrameHead::Message { .. } => PREFIX_LEN + 4, // the message number
        };
        for there in 0..frame.len() {
            let expected = (there >= needed).then_some(head);
            assert_eq!(parse(&frame[..there]), Ok(expected), "{message:?}, {there} bytes there");
        }
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_at_its_prefix() {
    for max in [MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN] {
        let over = u32::try_from(max + 1).expect("a small limit");
        for len in [over, u32::MAX] {
            let found = FrameHead::parse(&len.to_le_bytes(), max);
            assert_eq!(found, Err(FrameError::TooLong { len, max }));
        }
        let at_the_limit = (over - 1).to_le_bytes();
        assert_eq!(FrameHead::parse(&at_the_limit, max), Ok(None));
    }
}

#[test]
fn a_frame_without_room_for_its_fields_is_too_short() {
    for len in 0..4u32 {
        assert_eq!(parse(&len.to_le_bytes()), Err(FrameError::TooShort { len }));
    }
    let header = u32::try_from(DATA_HEADER_LEN).expect("a short header");
    for len in 4..header {
        let frame = [len.to_le_bytes(), 6u32.to_le_bytes()].concat();
        assert_eq!(parse(&frame), Err(FrameError::TooShort { len }));
    }
}

#[test]
fn data_of_a_wrong_length_is_refused_before_it_is_read() {
    let head = |frame: u32, len: u64, offset: u32| {
        let words = [frame, 6, 1, 2, offset].map(u32::to_le_bytes).concat();
        [&words[..], &len.to_le_bytes()].concat()
    };
    let max = MAX_DATA_LEN as u64;
    for len in [0, max + 1, 1 << 32 | 5, u64::MAX] {
        assert_eq!(parse(&head(29, len, 0)), Err(FrameError::DataLength { len }));
    }
    assert_eq!(parse(&head(29, 6, 0)), Err(FrameError::LengthsDisagree { frame: 29, data: 6 }));
    assert_eq!(parse(&head(29, 4, 0)), Err(FrameError::LengthsDisagree { frame: 29, data: 4 }));
    let offset = u32::MAX - 4; // 5 bytes from here end at 4 GiB, one more than a u32 can name
    assert_eq!(parse(&head(29, 5, offset)), Err(FrameError::OffsetOverflow { offset, len: 5 }));
    let last = FrameHead::Data { file: FileHandle(1), chunk: 2, offset: offset - 1, len: 5 };
    assert_eq!(parse(&head(29, 5, offset - 1)), Ok(Some(last)));
}

#[test]
fn a_head_and_the_sums_are_the_whole_description() {
    for message in peer_messages().into_iter().map(|(message, _)| message) {
        let PeerMessage::Info(info) = &message else { continue };
        let head = info_head(Info { sums: Vec::new(), ..info.clone() }, info.sums.len());
        assert_eq!([&head[..], info.sums.as_flattened()].concat(), frame_of(&message));
    }
}
