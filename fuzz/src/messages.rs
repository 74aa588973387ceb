//! A stream of messages, decoded by the codec in pieces and by a reference reader at once.

use bytes::BytesMut;
use tnet_proto::{
    CodecError, DecodeError, MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN, MessageCodec, PREFIX_LEN,
    Received, WireMessage, decode, encode,
};
use tokio_util::codec::Decoder;

use crate::memory::counted;
use crate::pieces::pieces;

/// An address takes 10 bytes on the wire and 32 in memory; nothing else grows as much.
const GROWTH: usize = 4;

/// What follows the last whole message of a stream.
#[derive(Debug, PartialEq)]
enum End {
    Incomplete,
    TooLong { max: usize },
    NoMessage(DecodeError),
}

/// The first byte says whether the hello is done, the next two how the stream is cut; the rest is
/// the stream.
///
/// # Panics
/// If the codec differs from the reference reader, reserves more than the frames may have, a list
/// is above its limit, or a message has other bytes when it is encoded again.
pub fn check_stream<M: WireMessage + PartialEq>(
    data: &[u8],
    is_within_limits: impl Fn(&M) -> bool,
) {
    let [hello_done, first_len, second_len, stream @ ..] = data else { return };
    let is_hello_done = hello_done & 1 == 1;
    let max = if is_hello_done { MAX_FRAME_LEN } else { MAX_FRAME_BEFORE_HELLO };
    let (expected, expected_end) = by_hand(stream, max, is_within_limits);

    let mut codec = MessageCodec::<M, M>::new();
    if is_hello_done {
        codec.hello_done();
    }
    let (mut received, mut end) = (Vec::new(), End::Incomplete);
    let mut buffer = BytesMut::new();
    'stream: for piece in pieces(stream, [*first_len, *second_len]) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(item)) => received.push(item),
                Ok(None) => break,
                Err(CodecError::FrameTooLong { max }) => end = End::TooLong { max },
                Err(CodecError::Decode(error)) => end = End::NoMessage(error),
                Err(error) => panic!("nothing else can fail here: {error}"),
            }
            if end != End::Incomplete {
                break 'stream;
            }
        }
        // A growing buffer doubles; what stands in it is less than a frame and a piece.
        let most = 2 * (PREFIX_LEN + max + piece.len());
        assert!(
            buffer.capacity() <= most,
            "{} bytes reserved, frames have {max}",
            buffer.capacity()
        );
    }
    assert_eq!(received, expected);
    assert_eq!(end, expected_end);
}

fn by_hand<M: WireMessage + PartialEq>(
    mut stream: &[u8],
    max: usize,
    is_within_limits: impl Fn(&M) -> bool,
) -> (Vec<Received<M>>, End) {
    let mut received = Vec::new();
    loop {
        let Some((prefix, rest)) = stream.split_first_chunk::<PREFIX_LEN>() else {
            return (received, End::Incomplete);
        };
        let len = u32::from_le_bytes(*prefix) as usize;
        if len > max {
            return (received, End::TooLong { max });
        }
        let Some((body, after)) = rest.split_at_checked(len) else {
            return (received, End::Incomplete);
        };
        let (decoded, allocated) = counted(|| decode::<M>(body));
        assert!(allocated <= GROWTH * len, "{allocated} bytes allocated for {len} received");
        match decoded {
            Ok(message) => {
                assert!(is_within_limits(&message), "{message:?}");
                assert_is_encoded(&message, &stream[..PREFIX_LEN + len]);
                received.push(Received::Message(message));
            }
            Err(DecodeError::UnknownMessage { number }) => {
                assert!(number as usize >= M::NAMES.len(), "number {number} has a name");
                received.push(Received::Unknown { number });
            }
            Err(error) => return (received, End::NoMessage(error)),
        }
        stream = after;
    }
}

/// A message has exactly one encoding, which begins with its number.
fn assert_is_encoded<M: WireMessage>(message: &M, frame: &[u8]) {
    let mut again = BytesMut::new();
    encode(message, &mut again);
    assert_eq!(again, frame, "{message:?}");
    let number =
        frame[PREFIX_LEN..].first_chunk().map_or(u32::MAX, |number| u32::from_le_bytes(*number));
    assert_eq!(M::NAMES.get(number as usize), Some(&message.name()));
}
