//! Sizes on the wire: messages by formula, which a test compares with the encoder, and packets with
//! the headers of TCP, IP and Ethernet.

use bytes::BytesMut;
use tnet_proto::{DATA_HEADER_LEN, Holdings, PREFIX_LEN, PeerMessage, WireMessage, encode};

/// Payload of a full packet.
pub(crate) const SEGMENT_LEN: u64 = 1448;

/// Ethernet, IP and TCP with timestamps, as traffic shapers count.
pub(crate) const HEADERS_LEN: u64 = 14 + 20 + 32;

/// The header before the bytes of a part of a chunk.
pub(crate) const PART_HEADER_LEN: u32 = 28;
const _: () = assert!(PART_HEADER_LEN as usize == PREFIX_LEN + DATA_HEADER_LEN);

/// Preamble and hello, each way.
pub(crate) const GREETING_LEN: u64 = 12 + 4 + 4 + 16 + 2 + 8;

/// Whether packets have headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    /// Only payload counts: results compare with theory.
    Ignored,
    /// As on Ethernet: results compare with a shaped network.
    Counted,
}

impl Headers {
    /// The bytes on the wire of `payload` bytes sent at once.
    pub(crate) fn wire_len(self, payload: u64) -> u64 {
        match self {
            Headers::Ignored => payload,
            Headers::Counted => payload + payload.div_ceil(SEGMENT_LEN) * HEADERS_LEN,
        }
    }

    /// The bytes in the other direction that acknowledge one batch.
    pub(crate) fn acknowledgement(self) -> u64 {
        match self {
            Headers::Ignored => 0,
            Headers::Counted => HEADERS_LEN,
        }
    }
}

/// Bytes of the message's frame, length prefix included.
pub(crate) fn message_len(message: &PeerMessage) -> u64 {
    const HEAD: usize = PREFIX_LEN + 4;
    const COUNT: usize = 8;
    let len = match message {
        PeerMessage::Request { .. }
        | PeerMessage::Ready { .. }
        | PeerMessage::Suggest { .. }
        | PeerMessage::Cancel { .. }
        | PeerMessage::Stopped { .. }
        | PeerMessage::Refused { .. } => HEAD + 8,
        PeerMessage::Busy { .. } => HEAD + 12,
        PeerMessage::Have { chunks, .. } => HEAD + 4 + COUNT + 4 * chunks.len(),
        PeerMessage::NotFound { .. } | PeerMessage::Close { .. } => HEAD + 4,
        PeerMessage::Bye { .. } => HEAD + 2,
        PeerMessage::Open(open) => {
            let holdings = match &open.holdings {
                Holdings::Full => 0,
                Holdings::Bitmap(bits) => COUNT + bits.len(),
            };
            HEAD + 4 + 32 + 8 + 4 + 4 + holdings
        }
        PeerMessage::Peers { peers, .. } => {
            let address = |peer: &std::net::SocketAddr| if peer.is_ipv4() { 10 } else { 22 };
            HEAD + 4 + COUNT + peers.iter().map(address).sum::<usize>()
        }
        // Rare, or never sent here.
        _ => return encoded_len(message),
    };
    len as u64
}

/// Bytes of any message's frame, by encoding it.
pub(crate) fn encoded_len<M: WireMessage>(message: &M) -> u64 {
    let mut frame = BytesMut::new();
    encode(message, &mut frame);
    frame.len() as u64
}

#[cfg(test)]
mod tests {
    use tnet_proto::{ByeReason, FileHandle, Hello, Open, PREAMBLE_LEN, PeerId, data_header};

    use super::*;

    #[test]
    fn the_formulas_say_what_the_encoder_writes() {
        let (file, chunk) = (FileHandle(7), 1000);
        let open = |holdings| {
            PeerMessage::Open(Open {
                file,
                hash: [1; 32],
                size: 1 << 40,
                chunk_size: 1 << 20,
                holdings,
            })
        };
        let v6 = "[2001:db8::1]:7401".parse().expect("an address");
        let v4 = "10.0.0.1:7401".parse().expect("an address");
        let messages = [
            PeerMessage::Request { file, chunk },
            PeerMessage::Ready { file, chunk },
            PeerMessage::Suggest { file, chunk },
            PeerMessage::Cancel { file, chunk },
            PeerMessage::Stopped { file, chunk },
            PeerMessage::Refused { file, chunk },
            PeerMessage::Busy { file, chunk, load: 3 },
            PeerMessage::Have { file, chunks: vec![] },
            PeerMessage::Have { file, chunks: vec![1, 2, 3] },
            PeerMessage::NotFound { file },
            PeerMessage::Close { file },
            PeerMessage::Bye { reason: ByeReason::IDLE },
            open(Holdings::Full),
            open(Holdings::Bitmap(vec![0; 129])),
            PeerMessage::Peers { file, peers: vec![v4, v6] },
            PeerMessage::Ping { nonce: 1 },
        ];
        for message in messages {
            assert_eq!(message_len(&message), encoded_len(&message), "{message:?}");
        }
    }

    #[test]
    fn a_part_has_the_header_that_the_real_writer_puts_before_it() {
        assert_eq!(PART_HEADER_LEN as usize, data_header(FileHandle(1), 2, 3, 4).len());
    }

    #[test]
    fn a_greeting_is_a_preamble_and_a_hello() {
        let hello = Hello { peer_id: PeerId([0; 16]), listen_port: 1, capabilities: 0 };
        assert_eq!(GREETING_LEN, PREAMBLE_LEN as u64 + encoded_len(&PeerMessage::Hello(hello)));
    }

    #[test]
    fn full_packets_carry_957_bytes_of_a_thousand() {
        let goodput = SEGMENT_LEN * 1000 / Headers::Counted.wire_len(SEGMENT_LEN);
        assert_eq!(goodput, 956);
    }
}
