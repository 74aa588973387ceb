//! Hands out the `.fileinfo` of what is held here, whole or in part, to whoever knows the hash.

use tnet_fileinfo::FileHash;
use tnet_proto::PeerMessage;
use tnet_swarm::{Input, PeerKey};

use super::{Engine, keys_of};
use crate::session::Order;

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

    fn answer_info(&mut self, peer: PeerKey, hash: [u8; 32], first: u32) {
        let keys = keys_of(&self.by_hash, &FileHash::from_bytes(hash));
        let entry = keys.first().and_then(|file| self.files.get(file));
        let answer = match entry {
            None => Order::Send(PeerMessage::InfoNotFound { hash }),
            Some(entry) => Order::Describe { info: entry.info.clone(), first },
        };
        self.order(peer, answer);
    }
}
