//! Messages over a stream: frames come out whole, strangers stay small, and an unknown message ends
//! nothing.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tnet_proto::{
    ByeReason, CodecError, CoordinatorReply, CoordinatorRequest, DecodeError, FileHandle, Hello,
    MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN, MessageCodec, PeerId, PeerMessage, PreambleError,
    PreambleExchangeError, Protocol, Received, exchange_preamble, preamble,
};
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::timeout;
use tokio_util::codec::{Decoder, Encoder, Framed};

use crate::frame_of;
use crate::samples::peer_messages;

type PeerCodec = MessageCodec<PeerMessage, PeerMessage>;

/// No test waits for more than a stuck one would.
const STUCK: Duration = Duration::from_secs(10);

fn known() -> PeerCodec {
    let mut codec = PeerCodec::new();
    codec.hello_done();
    codec
}

#[test]
fn messages_come_out_whole_however_the_stream_is_cut() {
    let (mut codec, mut stream, mut out) = (known(), BytesMut::new(), Vec::new());
    for byte in peer_messages().iter().flat_map(|(message, _)| frame_of(message)) {
        stream.put_u8(byte);
        out.extend(codec.decode(&mut stream).expect("valid frames"));
    }
    let expected: Vec<_> =
        peer_messages().into_iter().map(|(message, _)| Received::Message(message)).collect();
    assert_eq!(out, expected);
}

#[test]
fn the_codec_writes_what_encode_writes() {
    let (mut codec, mut by_reference, mut by_value) = (known(), BytesMut::new(), BytesMut::new());
    for (message, _) in peer_messages() {
        codec.encode(&message, &mut by_reference).expect("a valid message");
        codec.encode(message, &mut by_value).expect("a valid message");
    }
    let expected: Vec<u8> =
        peer_messages().iter().flat_map(|(message, _)| frame_of(message)).collect();
    assert_eq!((&by_reference[..], &by_value[..]), (&expected[..], &expected[..]));
}

#[test]
fn a_stranger_may_not_send_what_a_known_peer_may() {
    let extension = PeerMessage::Extension { kind: 1, body: vec![0; MAX_FRAME_BEFORE_HELLO] };
    let mut stream = BytesMut::from(&frame_of(&extension)[..]);
    let found = PeerCodec::new().decode(&mut stream.clone());
    assert!(
        matches!(found, Err(CodecError::FrameTooLong { max: MAX_FRAME_BEFORE_HELLO })),
        "{found:?}"
    );
    let found = known().decode(&mut stream).expect("within the later limit");
    assert_eq!(found, Some(Received::Message(extension)));
}

#[test]
fn a_claimed_length_above_the_limit_reserves_nothing() {
    for (mut codec, max) in [(PeerCodec::new(), MAX_FRAME_BEFORE_HELLO), (known(), MAX_FRAME_LEN)] {
        for len in [u32::try_from(max + 1).expect("a small limit"), u32::MAX] {
            let mut stream = BytesMut::from(&len.to_le_bytes()[..]);
            let before = stream.capacity();
            let found = codec.decode(&mut stream);
            assert!(
                matches!(found, Err(CodecError::FrameTooLong { max: told }) if told == max),
                "{found:?}"
            );
            assert_eq!(stream.capacity(), before);
        }
    }
}

#[test]
fn a_stranger_makes_us_reserve_one_small_frame_at_most() {
    let len = u32::try_from(MAX_FRAME_BEFORE_HELLO).expect("a small limit");
    let mut stream = BytesMut::from(&len.to_le_bytes()[..]);
    assert_eq!(PeerCodec::new().decode(&mut stream).expect("at the limit"), None);
    assert!(stream.capacity() <= 2 * MAX_FRAME_BEFORE_HELLO, "{} bytes", stream.capacity());
}

#[test]
fn an_unknown_message_is_an_item_and_the_stream_goes_on() {
    let mut stream = BytesMut::new();
    stream.put_slice(&[6, 0, 0, 0, 99, 0, 0, 0, 1, 2]);
    stream.put_slice(&frame_of(&PeerMessage::Ping { nonce: 5 }));
    let mut codec = known();
    let mut next = || codec.decode(&mut stream).expect("nothing here is an error");
    assert_eq!(next(), Some(Received::Unknown { number: 99 }));
    assert_eq!(next(), Some(Received::Message(PeerMessage::Ping { nonce: 5 })));
    assert_eq!(next(), None);
}

#[test]
fn a_frame_that_is_no_message_says_why() {
    let mut stream = BytesMut::from(&[5, 0, 0, 0, 17, 0, 0, 0, 1][..]); // a Ping with one byte of its nonce
    let found = known().decode(&mut stream);
    assert!(matches!(found, Err(CodecError::Decode(DecodeError::Truncated))), "{found:?}");
}

#[test]
fn a_message_above_the_limit_is_not_written_in_part() {
    let mut out = BytesMut::from(&b"before"[..]);
    let huge = PeerMessage::Extension { kind: 1, body: vec![0; MAX_FRAME_LEN] };
    let found = known().encode(&huge, &mut out);
    assert!(matches!(found, Err(CodecError::FrameTooLong { max: MAX_FRAME_LEN })), "{found:?}");
    assert_eq!(&out[..], b"before");
}

#[tokio::test]
async fn two_sides_meet_and_talk() {
    let (mut near, mut far) = duplex(64);
    let caller = async move {
        assert_eq!(
            exchange_preamble(&mut near, Protocol::Coordinator).await.expect("both are today's"),
            1
        );
        let codec = MessageCodec::<CoordinatorRequest, CoordinatorReply>::new();
        let mut stream = Framed::new(near, codec);
        stream
            .send(&CoordinatorRequest::Lookup { hash: [1; 32] })
            .await
            .expect("the other side reads");
        stream.next().await.expect("an answer").expect("a valid answer")
    };
    let answerer = async move {
        exchange_preamble(&mut far, Protocol::Coordinator).await.expect("both are today's");
        let codec = MessageCodec::<CoordinatorReply, CoordinatorRequest>::new();
        let mut stream = Framed::new(far, codec);
        let question = stream.next().await.expect("a question").expect("a valid question");
        stream.send(CoordinatorReply::Renewed).await.expect("the other side reads");
        question
    };
    let (answer, question) = timeout(STUCK, async { tokio::join!(caller, answerer) })
        .await
        .expect("neither side is stuck");
    assert_eq!(question, Received::Message(CoordinatorRequest::Lookup { hash: [1; 32] }));
    assert_eq!(answer, Received::Message(CoordinatorReply::Renewed));
}

#[tokio::test]
async fn the_limit_rises_for_the_frame_right_behind_the_hello() {
    let hello =
        PeerMessage::Hello(Hello { peer_id: PeerId([1; 16]), listen_port: 1, capabilities: 0 });
    let long = PeerMessage::Have { file: FileHandle(1), chunks: vec![3; 4000] };
    let (near, mut far) = duplex(MAX_FRAME_LEN);
    far.write_all(&[frame_of(&hello), frame_of(&long)].concat()).await.expect("there is room");
    let mut stream = Framed::new(near, PeerCodec::new());
    let first = stream.next().await.expect("an item").expect("a valid frame");
    assert_eq!(first, Received::Message(hello));
    stream.codec_mut().hello_done();
    let second = timeout(STUCK, stream.next()).await.expect("it is there").expect("an item");
    assert_eq!(second.expect("a valid frame"), Received::Message(long));
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_an_error_and_one_that_ends_after_it_is_not() {
    let frame = frame_of(&PeerMessage::Bye { reason: ByeReason::IDLE });
    for (sent, whole) in [(frame.len(), true), (frame.len() - 1, false), (3, false)] {
        let (near, mut far) = duplex(64);
        far.write_all(&frame[..sent]).await.expect("there is room");
        drop(far);
        let items: Vec<_> = Framed::new(near, known()).collect().await;
        match &items[..] {
            [Ok(Received::Message(_))] if whole => {}
            [Err(CodecError::Io(_))] if !whole => {}
            other => panic!("{sent} bytes of {}: {other:?}", frame.len()),
        }
    }
}

#[tokio::test]
async fn both_sides_learn_that_one_called_the_wrong_port() {
    let (mut near, mut far) = duplex(64);
    let both = async {
        tokio::join!(
            exchange_preamble(&mut near, Protocol::Peer),
            exchange_preamble(&mut far, Protocol::Coordinator),
        )
    };
    let wrong = |result: Result<u16, PreambleExchangeError>| {
        matches!(result, Err(PreambleExchangeError::Preamble(PreambleError::WrongService { .. })))
    };
    let (here, there) = timeout(STUCK, both).await.expect("neither side is stuck");
    assert!(wrong(here) && wrong(there));
}

#[tokio::test]
async fn a_caller_that_hangs_up_within_its_preamble_is_a_broken_connection() {
    let (mut near, mut far) = duplex(64);
    far.write_all(&preamble(Protocol::Peer)[..11]).await.expect("there is room");
    far.shutdown().await.expect("nothing is in the way");
    let found =
        timeout(STUCK, exchange_preamble(&mut near, Protocol::Peer)).await.expect("it ended");
    assert!(matches!(found, Err(PreambleExchangeError::Io(_))), "{found:?}");
}
