//! The bytes of version 1 do not change, and no message is without golden bytes.

use tnet_proto::{DecodeError, WireMessage, decode};

use crate::samples::{coordinator_replies, coordinator_requests, hex, peer_messages};
use crate::{body_of, frame_of};

fn assert_golden<M: WireMessage + PartialEq>(samples: &[(M, &str)]) {
    for (message, golden) in samples {
        assert_eq!(body_of(message), hex(golden), "{message:?} is not written as before");
        assert_eq!(
            decode::<M>(&hex(golden)).as_ref(),
            Ok(message),
            "{golden} is not read as before"
        );
    }
}

/// Names and numbers as they are in the samples, one for each message.
fn assert_complete<M: WireMessage>(samples: &[(M, &str)]) {
    let mut seen: Vec<&str> = Vec::new();
    for (message, golden) in samples {
        let [number, ..] = hex(golden)[..] else { panic!("{message:?} has no number") };
        assert_eq!(M::NAMES[usize::from(number)], message.name(), "the name table is out of order");
        assert_eq!(u32::from(number), message.number(), "{}", message.name());
        if seen.last() != Some(&message.name()) {
            seen.push(message.name());
        }
    }
    assert_eq!(seen, M::NAMES, "a message without golden bytes, or samples out of order");
}

#[test]
fn peer_messages_keep_their_bytes() {
    assert_golden(&peer_messages());
}

#[test]
fn coordinator_requests_keep_their_bytes() {
    assert_golden(&coordinator_requests());
}

#[test]
fn coordinator_replies_keep_their_bytes() {
    assert_golden(&coordinator_replies());
}

#[test]
fn every_message_has_golden_bytes_under_its_number() {
    assert_complete(&peer_messages());
    assert_complete(&coordinator_requests());
    assert_complete(&coordinator_replies());
}

#[test]
fn a_frame_is_the_length_of_its_body_and_the_body() {
    for (message, golden) in peer_messages() {
        let body = hex(golden);
        let prefix = u32::try_from(body.len()).expect("a short sample").to_le_bytes();
        assert_eq!(frame_of(&message), [&prefix[..], &body].concat());
    }
}

#[test]
fn the_first_number_after_the_last_message_is_unknown() {
    fn assert_unknown<M: WireMessage + PartialEq>() {
        let number = u32::try_from(M::NAMES.len()).expect("few messages");
        for body in [number.to_le_bytes().to_vec(), [&number.to_le_bytes()[..], &[9; 70]].concat()]
        {
            assert_eq!(decode::<M>(&body), Err(DecodeError::UnknownMessage { number }));
        }
    }
    assert_unknown::<tnet_proto::PeerMessage>();
    assert_unknown::<tnet_proto::CoordinatorRequest>();
    assert_unknown::<tnet_proto::CoordinatorReply>();
}

#[test]
fn messages_are_shown_without_their_bulk() {
    use tnet_proto::{Holdings, PeerId, PeerMessage};
    let shown: Vec<String> =
        peer_messages().iter().map(|(message, _)| format!("{message:?}")).collect();
    let data = shown.iter().find(|text| text.starts_with("Data")).expect("a sample of Data");
    assert!(data.contains("3 bytes") && !data.contains("222"), "{data}");
    let info = shown.iter().find(|text| text.starts_with("Info(")).expect("a sample of Info");
    assert!(info.contains("2 sums") && !info.contains("68, 68"), "{info}");
    assert_eq!(format!("{:?}", Holdings::Bitmap(vec![0; 131_072])), "Bitmap(131072 bytes)");
    assert_eq!(format!("{:?}", PeerId([0xa0; 16])), "PeerId(a0a0a0a0)");
    assert_eq!(PeerMessage::Ping { nonce: 1 }.name(), "Ping");
}
