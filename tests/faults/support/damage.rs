//! What can become of a `.partial` and its journal between two attempts, by accident or on purpose.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use rustix::fs::{FallocateFlags, fallocate};

/// The two files of an interrupted download, and what there was of them earlier and elsewhere.
pub(crate) struct Pair<'a> {
    pub(crate) partial: &'a Path,
    pub(crate) journal: &'a Path,
    /// The size of the whole file, and of its chunks.
    pub(crate) size: u64,
    pub(crate) chunk: u64,
    /// As both were some chunks earlier.
    pub(crate) earlier: &'a (Vec<u8>, Vec<u8>),
    /// Those of another download, which was interrupted later.
    pub(crate) others: &'a (Vec<u8>, Vec<u8>),
}

/// One kind of damage. All but the last few leave the inode, its birth and the length as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Zeroed,
    ZeroedInPart,
    BitFlipped,
    EarlierPartial,
    EarlierJournal,
    ChunksSwapped,
    HolePunched,
    CutAndLengthened,
    RandomBytes,
    OtherPartial,
    OtherJournal,
    BothOfAnother,
    JournalBitFlipped,
    JournalCut,
    RecordsSwapped,
    Cut,
    Lengthened,
    /// A new file under the name, with the same bytes but one bit.
    Replaced,
}

impl Damage {
    pub(crate) const ALL: [Damage; 18] = [
        Damage::Zeroed,
        Damage::ZeroedInPart,
        Damage::BitFlipped,
        Damage::EarlierPartial,
        Damage::EarlierJournal,
        Damage::ChunksSwapped,
        Damage::HolePunched,
        Damage::CutAndLengthened,
        Damage::RandomBytes,
        Damage::OtherPartial,
        Damage::OtherJournal,
        Damage::BothOfAnother,
        Damage::JournalBitFlipped,
        Damage::JournalCut,
        Damage::RecordsSwapped,
        Damage::Cut,
        Damage::Lengthened,
        Damage::Replaced,
    ];

    /// Bytes that a journal has before its records, and in each of them.
    const HEADER: u64 = 80;
    const RECORD: u64 = 16;

    pub(crate) fn strike(self, pair: &Pair<'_>, luck: &mut StdRng) {
        let (from, len) = (luck.random_range(0..pair.size), luck.random_range(1..3 * pair.chunk));
        let len = len.min(pair.size - from);
        let zeroes = |len: u64| vec![0; usize::try_from(len).expect("small")];
        match self {
            Damage::Zeroed => overwrite(pair.partial, 0, &zeroes(pair.size)),
            Damage::ZeroedInPart => overwrite(pair.partial, from, &zeroes(len)),
            Damage::BitFlipped => flip(pair.partial, from, luck),
            Damage::EarlierPartial => overwrite(pair.partial, 0, &pair.earlier.0),
            Damage::EarlierJournal => overwrite(pair.journal, 0, &pair.earlier.1),
            Damage::ChunksSwapped => {
                let chunks = pair.size / pair.chunk;
                let (a, b) = (luck.random_range(0..chunks), luck.random_range(0..chunks));
                swap(pair.partial, a * pair.chunk, b * pair.chunk, pair.chunk);
            }
            Damage::HolePunched => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let _ = fallocate(writable(pair.partial), flags, from, len);
            }
            Damage::CutAndLengthened => {
                set_len(pair.partial, from);
                set_len(pair.partial, pair.size);
            }
            Damage::RandomBytes => {
                let mut bytes = zeroes(len);
                luck.fill_bytes(&mut bytes);
                overwrite(pair.partial, from, &bytes);
            }
            Damage::OtherPartial => overwrite(pair.partial, 0, &pair.others.0),
            Damage::OtherJournal => overwrite(pair.journal, 0, &pair.others.1),
            Damage::BothOfAnother => {
                overwrite(pair.partial, 0, &pair.others.0);
                overwrite(pair.journal, 0, &pair.others.1);
            }
            Damage::JournalBitFlipped => {
                flip(pair.journal, luck.random_range(0..Self::HEADER + 4 * Self::RECORD), luck)
            }
            Damage::JournalCut => {
                set_len(pair.journal, luck.random_range(0..Self::HEADER + 4 * Self::RECORD))
            }
            Damage::RecordsSwapped => {
                let record = |number| Self::HEADER + number * Self::RECORD;
                swap(pair.journal, record(0), record(luck.random_range(1..4)), Self::RECORD);
            }
            Damage::Cut => set_len(pair.partial, from),
            Damage::Lengthened => set_len(pair.partial, pair.size + len),
            Damage::Replaced => {
                let copy = pair.partial.with_extension("copy");
                fs::copy(pair.partial, &copy).expect("copied");
                flip(&copy, from, luck);
                fs::rename(copy, pair.partial).expect("replaced");
            }
        }
    }
}

fn writable(path: &Path) -> File {
    File::options().read(true).write(true).open(path).expect("there")
}

/// In place, and only where the file has bytes.
fn overwrite(path: &Path, from: u64, bytes: &[u8]) {
    let file = writable(path);
    let room = file.metadata().expect("open").len().saturating_sub(from);
    let room = usize::try_from(room).expect("small").min(bytes.len());
    file.write_all_at(&bytes[..room], from).expect("writable");
}

fn flip(path: &Path, at: u64, luck: &mut StdRng) {
    let (file, mut byte) = (writable(path), [0]);
    if file.read_exact_at(&mut byte, at).is_ok() {
        file.write_all_at(&[byte[0] ^ (1 << luck.random_range(0..8))], at).expect("writable");
    }
}

fn swap(path: &Path, a: u64, b: u64, len: u64) {
    let bytes = fs::read(path).expect("there");
    let part = |at: u64| {
        let at = usize::try_from(at).expect("small").min(bytes.len());
        let end = bytes.len().min(at + usize::try_from(len).expect("small"));
        bytes[at..end].to_vec()
    };
    overwrite(path, a, &part(b));
    overwrite(path, b, &part(a));
}

fn set_len(path: &Path, len: u64) {
    writable(path).set_len(len).expect("resizes");
}
