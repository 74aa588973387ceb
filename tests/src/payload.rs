//! What files are made of. The same payload is the same bytes on every run and every machine.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use tnet_fileinfo::{ChunkIndex, ChunkSize, ChunkSum, FileInfo, Geometry, Tail, chunk_sum, root};

/// Bytes made or compared at a time.
const BLOCK: usize = 256 * 1024;

/// A file's content, described rather than stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Pseudo-random bytes: no two blocks alike, nothing to compress.
    Random {
        /// How many bytes.
        len: u64,
        /// Another seed makes other bytes.
        seed: u64,
    },
    /// Zeros, which take no space where they are written.
    Sparse {
        /// How many bytes.
        len: u64,
    },
}

/// Pseudo-random bytes; another seed makes other bytes.
pub fn payload(len: u64, seed: u64) -> Payload {
    Payload::Random { len, seed }
}

impl Payload {
    /// Bytes in it.
    pub fn len(self) -> u64 {
        match self {
            Payload::Random { len, .. } | Payload::Sparse { len } => len,
        }
    }

    /// Whether there is no byte in it.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// All of it in memory.
    ///
    /// # Panics
    /// If it does not fit there.
    pub fn bytes(self) -> Vec<u8> {
        let len =
            usize::try_from(self.len()).expect("a payload held in memory is far below its size");
        let mut bytes = vec![0; len];
        self.stream().read_exact(&mut bytes).expect("a payload is as long as it says");
        bytes
    }

    /// Writes it to a new file.
    ///
    /// # Errors
    /// From the system; also if there is a file already.
    pub fn write(self, path: &Path) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        match self {
            Payload::Sparse { len } => file.set_len(len),
            Payload::Random { .. } => {
                io::copy(&mut self.stream(), &mut file).and_then(|_| file.flush())
            }
        }
    }

    /// Where the file first differs, in bytes from the start; `None` if it is this payload, byte
    /// for byte.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn first_difference(self, path: &Path) -> io::Result<Option<u64>> {
        let mut file = BufReader::with_capacity(BLOCK, File::open(path)?);
        let mut expected = self.stream();
        let (mut here, mut there) = (vec![0; BLOCK], vec![0; BLOCK]);
        let mut offset = 0;
        loop {
            let wanted = read_block(&mut expected, &mut here)?;
            let found = read_block(&mut file, &mut there)?;
            if here[..wanted] != there[..found] {
                let same =
                    here[..wanted].iter().zip(&there[..found]).take_while(|(a, b)| a == b).count();
                return Ok(Some(offset + same as u64));
            }
            if wanted == 0 {
                return Ok(None);
            }
            offset += wanted as u64;
        }
    }

    /// What a `.fileinfo` of it says, made from the bytes alone: no file, no scanner.
    ///
    /// # Panics
    /// If it is too long for the chunk size.
    pub fn describe(self, chunk_size: ChunkSize) -> FileInfo {
        describe(&self.bytes(), chunk_size)
    }

    fn stream(self) -> Box<dyn Read> {
        match self {
            Payload::Random { len, seed } => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&seed.to_le_bytes());
                // A generator that is compiled into this crate would not be optimised in tests.
                Box::new(hasher.finalize_xof().take(len))
            }
            Payload::Sparse { len } => Box::new(io::repeat(0).take(len)),
        }
    }
}

/// What a `.fileinfo` of these bytes says.
///
/// # Panics
/// If there are too many for the chunk size.
pub fn describe(bytes: &[u8], chunk_size: ChunkSize) -> FileInfo {
    let geometry =
        Geometry::new(bytes.len() as u64, chunk_size).expect("a test's file fits its chunk size");
    let sums: Vec<ChunkSum> = geometry
        .chunks()
        .map(|chunk| chunk_sum(&geometry, chunk, part(&geometry, bytes, chunk)))
        .collect();
    let last = geometry.last_chunk().map_or(&[][..], |chunk| part(&geometry, bytes, chunk));
    let tail = Tail::of(&geometry, last);
    let hash = root(&geometry, &sums);
    FileInfo::from_parts(None, geometry, sums, tail, hash)
        .expect("all parts were made from the same bytes")
}

/// The bytes of one chunk.
pub(crate) fn part<'a>(geometry: &Geometry, bytes: &'a [u8], chunk: ChunkIndex) -> &'a [u8] {
    let range = geometry.range(chunk);
    let index = |offset| usize::try_from(offset).expect("inside of bytes that are in memory");
    &bytes[index(range.start)..index(range.end)]
}

fn read_block(from: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing; one byte; one below, at and above a word, a block and a chunk.
    const LENGTHS: [u64; 10] =
        [0, 1, 7, 8, 9, 65_535, 65_536, 65_537, BLOCK as u64, BLOCK as u64 + 1];

    fn chunk_size() -> ChunkSize {
        ChunkSize::new(64 * 1024).expect("a power of two in range")
    }

    #[test]
    fn a_payload_is_the_same_in_memory_and_on_disk_and_has_the_hash_of_its_scan() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for len in LENGTHS {
            for content in [payload(len, 5), Payload::Sparse { len }] {
                let path = dir.path().join(format!("{content:?}"));
                content.write(&path).expect("a new file");
                assert_eq!(
                    std::fs::read(&path).expect("just written"),
                    content.bytes(),
                    "{content:?}"
                );
                assert_eq!(content.first_difference(&path).expect("readable"), None, "{content:?}");
                let scanned = tnet_fileinfo::scan_file(
                    &path,
                    Some(chunk_size()),
                    &tnet_fileinfo::scan::unwatched,
                );
                let scanned = scanned.expect("a readable file");
                assert_eq!(content.describe(chunk_size()).hash(), scanned.hash(), "{content:?}");
            }
        }
    }

    #[test]
    fn the_first_wrong_missing_or_extra_byte_is_found() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("file");
        let content = payload(BLOCK as u64 * 2, 1);
        let at = BLOCK + 77;
        let mut wrong = content.bytes();
        wrong[at] ^= 1;
        for (bytes, expected) in [
            (wrong.clone(), at as u64),
            (content.bytes()[..at].to_vec(), at as u64),
            ([content.bytes(), vec![0]].concat(), content.len()),
        ] {
            std::fs::write(&path, bytes).expect("writable");
            assert_eq!(content.first_difference(&path).expect("readable"), Some(expected));
        }
    }

    #[test]
    fn another_seed_makes_other_bytes() {
        assert_ne!(payload(32, 1).bytes(), payload(32, 2).bytes());
    }
}
