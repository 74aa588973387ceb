//! A description from untrusted peers: a true one with wrong parts, assembled here and as `Info`
//! messages from a holder. For a known hash only the true description is accepted, its size
//! included, and it always is.

#![no_main]

use arbitrary::{Result, Unstructured};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tnet_fileinfo::{
    ChunkSize, ChunkSum, FileHash, FileInfo, Geometry, MIN_CHUNK_SIZE, Tail, root,
};
use tnet_fuzz::pieces::{InPieces, block_on};
use tnet_fuzz::truth::{TRUTHS, Truth, describe};
use tnet_infosearch::fuzzing::description_from;
use tnet_proto::{Info, MAX_INFO_SUMS, PeerMessage, encode};

fuzz_target!(|data: &[u8]| {
    // Too few bytes: the history ends early.
    let _ = tell(&mut Unstructured::new(data));
});

/// A hostile peer's claims about a file.
#[derive(Debug, Clone)]
struct Claim {
    hash: FileHash,
    size: u64,
    chunk_size: u32,
    sums: Vec<[u8; 32]>,
    tail: Tail,
}

fn tell(u: &mut Unstructured<'_>) -> Result<()> {
    let truth = &TRUTHS[usize::from(u.arbitrary::<u8>()?) % TRUTHS.len()];
    let mut claim = Claim::of(&truth.infos[usize::from(u.arbitrary::<u8>()? % 3)]);
    let lies = u.arbitrary::<u8>()? % 5;
    for _ in 0..lies {
        claim.lie(u)?;
    }
    check_parts(&claim, truth, lies);
    check_messages(&claim, truth, lies == 0, u)
}

impl Claim {
    fn of(info: &FileInfo) -> Claim {
        Claim {
            hash: info.hash(),
            size: info.size(),
            chunk_size: info.geometry().chunk_size().get(),
            sums: info.sums().iter().map(|sum| *sum.as_bytes()).collect(),
            tail: info.tail().clone(),
        }
    }

    fn lie(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.arbitrary::<u8>()? % 14 {
            0 => self.size = u.arbitrary()?,
            1 => self.size = self.size.wrapping_add_signed(u.arbitrary::<i8>()?.into()),
            2 => self.size ^= 1 << (u.arbitrary::<u8>()? % 64),
            3 => self.chunk_size = u.arbitrary()?,
            4 => self.chunk_size = MIN_CHUNK_SIZE << (u.arbitrary::<u8>()? % 12),
            5 => flip(self.sums.iter_mut().flatten(), u.arbitrary()?),
            6 => self.sums.truncate(u.arbitrary::<u8>()?.into()),
            7 => self.sums.extend(u.arbitrary::<Option<[u8; 32]>>()?),
            8 => flip(self.tail.leaf.iter_mut(), u.arbitrary()?),
            9 => self.tail.leaf.resize(usize::from(u.arbitrary::<u16>()?) % 2048, 0),
            10 => flip(self.tail.path.iter_mut().flatten(), u.arbitrary()?),
            11 => self.tail.path.truncate(u.arbitrary::<u8>()?.into()),
            12 => {
                // The leaf and the path of another file, and its sums.
                let other = &TRUTHS[usize::from(u.arbitrary::<u8>()?) % TRUTHS.len()];
                self.tail = other.info().tail().clone();
            }
            _ => self.make_up_a_hash(),
        }
        Ok(())
    }

    /// The hash that follows from the sums: then only the tail can reveal the wrong size.
    fn make_up_a_hash(&mut self) {
        if let Some(geometry) = self.geometry()
            && geometry.chunk_count() as usize == self.sums.len()
        {
            self.hash = root(&geometry, &self.sums());
        }
    }

    fn geometry(&self) -> Option<Geometry> {
        Geometry::new(self.size, ChunkSize::new(self.chunk_size).ok()?).ok()
    }

    fn sums(&self) -> Vec<ChunkSum> {
        self.sums.iter().copied().map(ChunkSum::from_bytes).collect()
    }
}

/// Changes one bit of one of the bytes, if there is any.
fn flip<'a>(bytes: impl Iterator<Item = &'a mut u8>, which: u16) {
    let mut bytes: Vec<&mut u8> = bytes.collect();
    if !bytes.is_empty() {
        let at = usize::from(which >> 3) % bytes.len();
        *bytes[at] ^= 1 << (which & 7);
    }
}

fn check_parts(claim: &Claim, truth: &Truth, lies: u8) {
    let believed = claim.geometry().and_then(|geometry| {
        FileInfo::from_parts(None, geometry, claim.sums(), claim.tail.clone(), claim.hash).ok()
    });
    assert!(lies > 0 || believed.is_some(), "the truth is believed: {claim:?}");
    check_believed(believed.as_ref(), claim.hash, truth);
}

fn check_believed(believed: Option<&FileInfo>, asked: FileHash, truth: &Truth) {
    let Some(info) = believed else { return };
    assert_eq!(info.hash(), asked);
    assert_eq!(root(info.geometry(), info.sums()), asked, "it proves itself");
    if asked == truth.info().hash() {
        assert_eq!(info.size(), truth.content.len() as u64);
        let chunk_size = info.geometry().chunk_size();
        let known = truth.infos.iter().find(|known| known.geometry().chunk_size() == chunk_size);
        let expected = known.cloned().unwrap_or_else(|| describe(&truth.content, chunk_size.get()));
        assert_eq!(info, &expected);
    }
}

/// The same from a holder that answers in messages, among whatever else it says.
fn check_messages(
    claim: &Claim,
    truth: &Truth,
    is_true: bool,
    u: &mut Unstructured<'_>,
) -> Result<()> {
    let mut stream = BytesMut::new();
    let (mut first, mut is_honest) = (0, is_true);
    loop {
        let rest = claim.sums.get(first..).unwrap_or_default();
        let most = if u.arbitrary()? { MAX_INFO_SUMS } else { usize::from(u.arbitrary::<u8>()?) };
        let mut info = Info {
            hash: *claim.hash.as_bytes(),
            size: claim.size,
            chunk_size: claim.chunk_size,
            tail_leaf: claim.tail.leaf.clone(),
            tail_path: claim.tail.path.clone(),
            first: u32::try_from(first).unwrap_or(u32::MAX),
            sums: rest[..most.min(rest.len())].to_vec(),
        };
        first += info.sums.len();
        let is_last = first >= claim.sums.len() || info.sums.is_empty();
        is_honest &= info.sums.len() == rest.len().min(MAX_INFO_SUMS);
        is_honest &= !is_last || first == claim.sums.len();
        match u.arbitrary::<u8>()? {
            what @ 0..5 => {
                is_honest = false;
                match what {
                    0 => info.first = u.arbitrary()?,
                    1 => info.size = u.arbitrary()?,
                    2 => info.hash[0] ^= 1,
                    3 => encode(&PeerMessage::InfoNotFound { hash: info.hash }, &mut stream),
                    _ => stream.extend_from_slice(&u.arbitrary::<[u8; 16]>()?),
                }
            }
            5 => encode(&PeerMessage::Ping { nonce: 7 }, &mut stream),
            _ => {}
        }
        encode(&PeerMessage::Info(info), &mut stream);
        if is_last {
            break;
        }
    }
    let believed = block_on(description_from(InPieces::new(&stream, u.arbitrary()?), claim.hash));
    assert!(!is_honest || believed.is_some(), "the truth is believed: {claim:?}");
    check_believed(believed.as_ref(), claim.hash, truth);
    Ok(())
}
