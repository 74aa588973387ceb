//! Serves the description (`.fileinfo`) of every content that is here, in whole or in part, to any
//! peer that knows its hash.

use tnet_fileinfo::FileHash;
use tnet_proto::PeerMessage;
use tnet_session::Order;
use tnet_swarm::PeerKey;

use super::{Engine, keys_of};

impl Engine {
    pub(super) fn answer_info(&mut self, peer: PeerKey, hash: [u8; 32], first: u32) {
        let keys = keys_of(&self.by_hash, &FileHash::from_bytes(hash));
        let entry = keys.first().and_then(|file| self.files.get(file));
        let answer = match entry {
            None => Order::Send(PeerMessage::InfoNotFound { hash }),
            Some(entry) => Order::Describe { info: entry.info.clone(), first },
        };
        self.order(peer, answer);
    }
}
