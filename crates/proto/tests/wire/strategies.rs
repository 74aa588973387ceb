//! Any message at all, for properties. Lists stay short: their limits have tests of their own.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use tnet_proto::{
    Availability, ByeReason, CallResult, CoordinatorReply, CoordinatorRequest, Families,
    FileHandle, Hello, Holder, Holdings, Info, Limit, Listed, Open, PeerId, PeerMessage, Reach,
    Refusal, ReportDigest, ReportEntry,
};

pub(crate) fn peer_message() -> impl Strategy<Value = PeerMessage> {
    let about_chunk = (file(), any::<u32>());
    prop_oneof![
        (any::<[u8; 16]>(), any::<u16>(), any::<u64>()).prop_map(
            |(id, listen_port, capabilities)| {
                PeerMessage::Hello(Hello { peer_id: PeerId(id), listen_port, capabilities })
            }
        ),
        (file(), any::<[u8; 32]>(), any::<u64>(), any::<u32>(), holdings()).prop_map(
            |(file, hash, size, chunk_size, holdings)| {
                PeerMessage::Open(Open { file, hash, size, chunk_size, holdings })
            }
        ),
        file().prop_map(|file| PeerMessage::NotFound { file }),
        file().prop_map(|file| PeerMessage::Close { file }),
        (file(), vec(any::<u32>(), 0..20))
            .prop_map(|(file, chunks)| PeerMessage::Have { file, chunks }),
        about_chunk.clone().prop_map(|(file, chunk)| PeerMessage::Request { file, chunk }),
        data(),
        (about_chunk.clone(), any::<u32>()).prop_map(|((file, chunk), load)| PeerMessage::Busy {
            file,
            chunk,
            load
        }),
        about_chunk.clone().prop_map(|(file, chunk)| PeerMessage::Ready { file, chunk }),
        about_chunk.clone().prop_map(|(file, chunk)| PeerMessage::Suggest { file, chunk }),
        about_chunk.clone().prop_map(|(file, chunk)| PeerMessage::Cancel { file, chunk }),
        about_chunk.clone().prop_map(|(file, chunk)| PeerMessage::Stopped { file, chunk }),
        about_chunk.clone().prop_map(|(file, chunk)| PeerMessage::Refused { file, chunk }),
        about_chunk.prop_map(|(file, chunk)| PeerMessage::Corrupt { file, chunk }),
        any::<([u8; 32], u32)>().prop_map(|(hash, first)| PeerMessage::InfoRequest { hash, first }),
        info().prop_map(PeerMessage::Info),
        any::<[u8; 32]>().prop_map(|hash| PeerMessage::InfoNotFound { hash }),
        (file(), vec(address(), 0..8)).prop_map(|(file, peers)| PeerMessage::Peers { file, peers }),
        any::<u64>().prop_map(|nonce| PeerMessage::Ping { nonce }),
        any::<u64>().prop_map(|nonce| PeerMessage::Pong { nonce }),
        any::<u16>().prop_map(|reason| PeerMessage::Bye { reason: ByeReason(reason) }),
        any::<u32>().prop_map(|message| PeerMessage::Unsupported { message }),
        extension().prop_map(|(kind, body)| PeerMessage::Extension { kind, body }),
    ]
}

fn reach() -> impl Strategy<Value = Reach> {
    let families = prop_oneof![Just(Families::V4), Just(Families::V6), Just(Families::Both)];
    prop_oneof![
        Just(Reach::Nowhere),
        (any::<u16>(), families).prop_map(|(port, families)| Reach::Everywhere { port, families }),
        address().prop_map(|address| Reach::At { address }),
    ]
}

fn listed() -> impl Strategy<Value = Listed> {
    let refusal = prop_oneof![
        Just(Refusal::OutsideNetworks),
        Just(Refusal::Meaningless),
        Just(Refusal::OtherFamily)
    ];
    prop_oneof![
        Just(Listed::Nowhere),
        address().prop_map(|address| Listed::At { address }),
        refusal.prop_map(|refusal| Listed::Refused { refusal }),
    ]
}

pub(crate) fn coordinator_request() -> impl Strategy<Value = CoordinatorRequest> {
    let hash = any::<[u8; 32]>();
    prop_oneof![
        (any::<[u8; 16]>(), reach(), any::<u32>(), any::<u64>()).prop_map(
            |(id, reach, report_interval_ms, capabilities)| CoordinatorRequest::Hello {
                peer_id: PeerId(id),
                reach,
                report_interval_ms,
                capabilities,
            }
        ),
        (any::<u64>(), any::<bool>(), vec(entry(), 0..8)).prop_map(|(seq, replace, entries)| {
            CoordinatorRequest::Report { seq, replace, entries }
        }),
        any::<[u8; 16]>()
            .prop_map(|digest| CoordinatorRequest::Heartbeat { digest: ReportDigest(digest) }),
        hash.prop_map(|hash| CoordinatorRequest::Lookup { hash }),
        hash.prop_map(|hash| CoordinatorRequest::Watch { hash }),
        hash.prop_map(|hash| CoordinatorRequest::Unwatch { hash }),
        Just(CoordinatorRequest::Bye),
        any::<u32>().prop_map(|message| CoordinatorRequest::Unsupported { message }),
        extension().prop_map(|(kind, body)| CoordinatorRequest::Extension { kind, body }),
        vec(
            (address(), any::<bool>())
                .prop_map(|(address, reached)| CallResult { address, reached }),
            0..8
        )
        .prop_map(|results| CoordinatorRequest::Calls { results }),
    ]
}

pub(crate) fn coordinator_reply() -> impl Strategy<Value = CoordinatorReply> {
    let holder = (address(), availability())
        .prop_map(|(address, availability)| Holder { address, availability });
    let limit = prop_oneof![
        Just(Limit::EntriesPerPeer),
        Just(Limit::EntriesTotal),
        Just(Limit::ConnectionsPerIp),
        Just(Limit::ConnectionsTotal),
        Just(Limit::WatchesPerPeer),
    ];
    prop_oneof![
        (any::<u32>(), address(), listed(), any::<[u8; 16]>(), any::<u64>()).prop_map(
            |(lease_ms, observed, listed, digest, capabilities)| CoordinatorReply::Welcome {
                lease_ms,
                observed,
                listed,
                digest: ReportDigest(digest),
                capabilities,
            }
        ),
        any::<u64>().prop_map(|seq| CoordinatorReply::Accepted { seq }),
        Just(CoordinatorReply::Renewed),
        Just(CoordinatorReply::Resync),
        (any::<[u8; 32]>(), any::<u32>(), any::<u32>(), vec(holder, 0..8)).prop_map(
            |(hash, full, partial, holders)| CoordinatorReply::Holders {
                hash,
                full,
                partial,
                holders
            }
        ),
        (limit, any::<u64>())
            .prop_map(|(limit, value)| CoordinatorReply::LimitReached { limit, value }),
        Just(CoordinatorReply::Bye),
        any::<u32>().prop_map(|message| CoordinatorReply::Unsupported { message }),
        extension().prop_map(|(kind, body)| CoordinatorReply::Extension { kind, body }),
    ]
}

/// A `Data` message whose part ends below 4 GiB.
pub(crate) fn data() -> impl Strategy<Value = PeerMessage> {
    (file(), any::<u32>(), 0..=u32::MAX - 300, vec(any::<u8>(), 1..300)).prop_map(
        |(file, chunk, offset, bytes)| PeerMessage::Data {
            file,
            chunk,
            offset,
            bytes: bytes.into(),
        },
    )
}

fn file() -> impl Strategy<Value = FileHandle> + Clone {
    any::<u32>().prop_map(FileHandle)
}

fn holdings() -> impl Strategy<Value = Holdings> {
    prop_oneof![Just(Holdings::Full), vec(any::<u8>(), 0..40).prop_map(Holdings::Bitmap)]
}

fn info() -> impl Strategy<Value = Info> {
    let sums = || vec(any::<[u8; 32]>(), 0..6);
    (any::<([u8; 32], u64, u32, u32)>(), vec(any::<u8>(), 0..40), sums(), sums()).prop_map(
        |((hash, size, chunk_size, first), tail_leaf, tail_path, sums)| Info {
            hash,
            size,
            chunk_size,
            tail_leaf,
            tail_path,
            first,
            sums,
        },
    )
}

// Flow and scope of an IPv6 address mean something on one machine only, and are not on the wire.
fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

fn availability() -> impl Strategy<Value = Availability> {
    prop_oneof![Just(Availability::None), Just(Availability::Partial), Just(Availability::Full)]
}

fn entry() -> impl Strategy<Value = ReportEntry> {
    (any::<[u8; 32]>(), any::<u64>(), availability())
        .prop_map(|(hash, size, availability)| ReportEntry { hash, size, availability })
}

fn extension() -> impl Strategy<Value = (u32, Vec<u8>)> {
    (any::<u32>(), vec(any::<u8>(), 0..40))
}
