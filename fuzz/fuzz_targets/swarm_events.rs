//! Any events in any order, from hostile peers and a failing disk, into the core of a peer: nothing
//! panics, its invariants hold, its memory stays bounded, and at the end one honest seed is enough
//! to complete every file.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tnet_fuzz::hostile::{CONTENTS, Stored, World};
use tnet_proto::{ByeReason, FileHandle, Holdings, PeerMessage};
use tnet_swarm::{Direction, UploadEnd};

/// Bytes that the core may reserve for four small files, a dozen peers and some addresses.
const MOST_RESERVED: usize = 256 * 1024;

/// Steps in one history; longer ones find nothing more and take longer.
const MOST_DEEDS: usize = 200;

fuzz_target!(|data: &[u8]| {
    let Some((seed, story)) = data.split_first() else { return };
    let mut world = World::new((*seed).into());
    let mut u = Unstructured::new(story);
    for _ in 0..MOST_DEEDS {
        if u.is_empty() || deed(&mut world, &mut u).is_err() {
            break;
        }
    }
    world.end_well();
    let reserved = world.reserved();
    assert!(reserved <= MOST_RESERVED, "the core has reserved {reserved} bytes");
});

fn deed(world: &mut World, u: &mut Unstructured<'_>) -> Result<()> {
    let (what, who, which): (u8, u8, u8) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
    let (peer, number) = (world.peer(who), usize::from(which));
    match what % 32 {
        0 => {
            let (content, bits): (u8, u32) = (which % 4, u.arbitrary()?);
            world.add_file(content.into(), |chunk| who % 4 == 0 || bits >> (chunk % 32) & 1 == 1);
        }
        1 => world.remove_file(number),
        2..5 => {
            let direction = if who % 4 == 0 { Direction::Outbound } else { Direction::Inbound };
            // The middle of the ids is the core's own. The IP is where the connection comes from;
            // only the port is a claim, and none is no address.
            let address = (who % 8 != 7).then(|| address(which % 254));
            world.connect(120 + which % 16, address, direction);
        }
        5 => world.lose(peer),
        6 => world.fail_call(number),
        7 => world.answer_call(number, 120 + who % 16),
        8 => world.violate(peer),
        9..13 => world.answer_request(number, who),
        13 => world.send_chunk(peer, FileHandle(u32::from(which % 8)), u.arbitrary::<u8>()?.into()),
        14..17 => {
            let how = match who % 8 {
                0 => Stored::Corrupt,
                1 => Stored::Lost,
                _ => Stored::Well,
            };
            world.settle_store(number, how);
        }
        17 => world.lose_chunks(number, who.into()),
        18 | 19 => {
            let end = if who % 4 == 0 { UploadEnd::Stopped } else { UploadEnd::Sent };
            world.end_upload(number, end);
        }
        20 => world
            .name_holders(number, (0..who % 50).map(|n| address(n.wrapping_add(which))).collect()),
        21 | 22 => world.wait(pause(which)),
        _ => {
            let message = message(which, u)?;
            world.say(peer, message);
        }
    }
    Ok(())
}

fn pause(which: u8) -> Duration {
    let milliseconds = [0, 1, 50, 200, 600, 1_000, 3_000, 10_000, 31_000, 700_000];
    Duration::from_millis(milliseconds[usize::from(which) % milliseconds.len()])
}

/// Few hosts, including ports that cannot be connected to.
fn address(which: u8) -> SocketAddr {
    match which {
        255 => SocketAddr::from(([0, 0, 0, 0], 7401)),
        254 => SocketAddr::from(([10, 0, 0, 1], 0)),
        which => SocketAddr::from(([10, 0, 0, which / 64], 1000 + u16::from(which % 64))),
    }
}

fn message(which: u8, u: &mut Unstructured<'_>) -> Result<PeerMessage> {
    let (file, chunk) = (FileHandle(u32::from(u.arbitrary::<u8>()? % 8)), u.arbitrary::<u8>()?);
    let chunk = if chunk == 255 { u32::MAX } else { u32::from(chunk % 24) };
    Ok(match which % 24 {
        0..6 => PeerMessage::Open(open(file, u)?),
        6 => PeerMessage::NotFound { file },
        7 => PeerMessage::Close { file },
        8 | 9 => {
            let more = usize::from(u.arbitrary::<u8>()? % 8);
            let chunks =
                (0..more).map(|at| chunk.saturating_add(u32::try_from(at).unwrap_or(0))).collect();
            PeerMessage::Have { file, chunks }
        }
        10..14 => PeerMessage::Request { file, chunk },
        14 => PeerMessage::Cancel { file, chunk },
        15 => PeerMessage::Busy { file, chunk, load: u.arbitrary()? },
        16 => PeerMessage::Ready { file, chunk },
        17 => PeerMessage::Suggest { file, chunk },
        18 => PeerMessage::Stopped { file, chunk },
        19 => PeerMessage::Refused { file, chunk },
        20 => {
            let count = u.arbitrary::<u8>()? % 51;
            PeerMessage::Peers {
                file,
                peers: (0..count).map(|n| address(n.wrapping_mul(5))).collect(),
            }
        }
        21 => PeerMessage::Bye { reason: ByeReason(u.arbitrary()?) },
        22 => PeerMessage::Ping { nonce: 1 },
        _ => PeerMessage::Unsupported { message: u.arbitrary()? },
    })
}

fn open(file: FileHandle, u: &mut Unstructured<'_>) -> Result<tnet_proto::Open> {
    let (content, kind, bits): (u8, u8, u32) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
    let content = usize::from(content) % CONTENTS.len();
    let chunks = CONTENTS[content];
    let mut open = World::open(content, file, Holdings::Full);
    match kind % 16 {
        0 => open.size = open.size.wrapping_add(1),
        1 => open.chunk_size = bits,
        2 => open.hash = [77; 32],
        3 => open.holdings = Holdings::Bitmap(bits.to_le_bytes().to_vec()),
        4..8 => {}
        _ => {
            let kept = bits & ((1 << chunks) - 1);
            let bytes = kept.to_le_bytes()[..chunks.div_ceil(8) as usize].to_vec();
            open.holdings = Holdings::Bitmap(bytes);
        }
    }
    Ok(open)
}
