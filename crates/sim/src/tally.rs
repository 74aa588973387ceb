//! Messages and bytes by kind.

use std::collections::BTreeMap;

use serde::Serialize;
use tnet_proto::{PeerMessage, WireMessage};

/// Of one kind of message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub messages: u64,
    /// Their frames.
    pub bytes: u64,
}

/// Messages between peers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    /// By number of the message.
    by_kind: [Count; PeerMessage::NAMES.len()],
    /// Chunks named in all `Have` messages.
    pub(crate) announced: u64,
    pub(crate) parts: u64,
    pub(crate) part_bytes: u64,
    pub(crate) part_header_bytes: u64,
    pub(crate) greetings: u64,
    pub(crate) greeting_bytes: u64,
}

impl Traffic {
    pub(crate) fn count(&mut self, message: &PeerMessage, len: u64) {
        let count = &mut self.by_kind[message.number() as usize];
        count.messages += 1;
        count.bytes += len;
        if let PeerMessage::Have { chunks, .. } = message {
            self.announced += chunks.len() as u64;
        }
    }

    /// By name, those that occurred. Data is counted in parts, without its headers.
    pub(crate) fn by_name(&self) -> BTreeMap<&'static str, Count> {
        let names = PeerMessage::NAMES.iter().copied().zip(self.by_kind);
        let mut named: BTreeMap<_, _> = names.filter(|(_, count)| count.messages > 0).collect();
        named.insert("Data", Count { messages: self.parts, bytes: self.part_bytes });
        named.insert("DataHeader", Count { messages: self.parts, bytes: self.part_header_bytes });
        named.insert("Greeting", Count { messages: self.greetings, bytes: self.greeting_bytes });
        named
    }

    /// Bytes of everything that is not the content of a chunk.
    pub(crate) fn overhead_bytes(&self) -> u64 {
        let messages: u64 = self.by_kind.iter().map(|count| count.bytes).sum();
        messages + self.part_header_bytes + self.greeting_bytes
    }
}

#[cfg(test)]
mod tests {
    use tnet_proto::FileHandle;

    use super::*;

    #[test]
    fn a_message_is_counted_under_its_own_name() {
        let (file, chunk) = (FileHandle(1), 2);
        let messages = [
            PeerMessage::Have { file, chunks: vec![1, 2] },
            PeerMessage::Request { file, chunk },
            PeerMessage::Busy { file, chunk, load: 1 },
            PeerMessage::Ready { file, chunk },
            PeerMessage::Suggest { file, chunk },
            PeerMessage::Cancel { file, chunk },
            PeerMessage::Extension { kind: 1, body: Vec::new() },
        ];
        let mut traffic = Traffic::default();
        for message in &messages {
            traffic.count(message, 10);
        }
        let counted = traffic.by_name();
        for message in &messages {
            assert_eq!(
                counted.get(message.name()),
                Some(&Count { messages: 1, bytes: 10 }),
                "{message:?}"
            );
        }
        assert_eq!(traffic.announced, 2);
    }
}
