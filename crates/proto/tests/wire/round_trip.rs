//! What is written is read back, and nothing is read that would not be written the same way.

use proptest::prelude::*;
use tnet_proto::{WireMessage, decode};

use crate::body_of;
use crate::samples::{coordinator_replies, coordinator_requests, hex, peer_messages};
use crate::strategies::{coordinator_reply, coordinator_request, peer_message};

fn read_back<M: WireMessage + PartialEq>(message: M) -> Result<(), TestCaseError> {
    prop_assert_eq!(decode::<M>(&body_of(&message)), Ok(message));
    Ok(())
}

fn one_way_to_write<M: WireMessage>(body: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = decode::<M>(body) {
        prop_assert_eq!(body_of(&message), body, "{:?} can be written in two ways", message);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_peer_message_is_read_back(message in peer_message()) {
        read_back(message)?;
    }

    #[test]
    fn a_coordinator_request_is_read_back(message in coordinator_request()) {
        read_back(message)?;
    }

    #[test]
    fn a_coordinator_reply_is_read_back(message in coordinator_reply()) {
        read_back(message)?;
    }

    #[test]
    fn random_bytes_never_panic_and_have_one_meaning_at_most(
        number in 0..24u8, rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let body = [&[number, 0, 0, 0], &rest[..]].concat();
        one_way_to_write::<tnet_proto::PeerMessage>(&body)?;
        one_way_to_write::<tnet_proto::CoordinatorRequest>(&body)?;
        one_way_to_write::<tnet_proto::CoordinatorReply>(&body)?;
        one_way_to_write::<tnet_proto::PeerMessage>(&rest)?;
    }

    #[test]
    fn a_changed_byte_never_panics_and_leaves_one_meaning_at_most(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), mask in 1..=255u8,
    ) {
        fn changed<M>(
            samples: &[(M, &str)], which: prop::sample::Index, at: prop::sample::Index, mask: u8,
        ) -> Vec<u8> {
            let mut body = hex(which.get(samples).1);
            *at.get_mut(&mut body) ^= mask;
            body
        }
        one_way_to_write::<tnet_proto::PeerMessage>(&changed(&peer_messages(), which, at, mask))?;
        one_way_to_write::<tnet_proto::CoordinatorRequest>(
            &changed(&coordinator_requests(), which, at, mask),
        )?;
        one_way_to_write::<tnet_proto::CoordinatorReply>(&changed(&coordinator_replies(), which, at, mask))?;
    }
}
