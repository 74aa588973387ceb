//! Where each message of a peer goes: a request for a description to the info server, all others to
//! the core.

use tnet_proto::PeerMessage;
use tnet_swarm::{Input, PeerKey};

use super::Engine;

impl Engine {
    pub(super) fn on_message(&mut self, peer: PeerKey, message: PeerMessage) {
        match message {
            PeerMessage::InfoRequest { hash, first } => self.answer_info(peer, hash, first),
            PeerMessage::Open(open) => {
                let made = self.offer_recut(peer, &open);
                self.feed(Input::Message { peer, message: PeerMessage::Open(open) });
                // The core may not have taken it.
                if made.is_some_and(|file| !self.swarm.is_linked(file)) {
                    self.recuts.note_leaving();
                }
            }
            PeerMessage::Close { .. } | PeerMessage::NotFound { .. } => {
                self.feed(Input::Message { peer, message });
                self.recuts.note_leaving();
            }
            message => self.feed(Input::Message { peer, message }),
        }
    }
}
