//! The bytes of a scan cache.
//!
//! The cache is a file of appended records after a head of 8 bytes. One record: `length: u32` of
//! the body; the body; 16 bytes of its BLAKE3 sum. A body: `inode, size: u64`, `modified, changed:
//! i64` in nanoseconds; `path length: u32`, path; and unless the record only removes the path:
//! `chunk size: u32`; `name length: u16`, name, or 65535 for that in the path; hash; the sums of
//! the chunks if there are several; the path of the [`Tail`] without its leaf, which is read from
//! the file. All numbers little-endian. A later record of a path replaces an earlier one. The first
//! torn or damaged record ends the file.
//!
//! A record that removes the empty path, which names no file, says that the file was rewritten: of
//! all records before it the files were there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tnet_fileinfo::{
    ChunkSize, ChunkSum, FileHash, FileInfo, FileName, Geometry, MAX_FILEINFO_LEN, Tail,
};

use crate::fingerprint::FileFingerprint;

pub(super) const MAGIC: &[u8; 8] = b"tnetscn\x02";

/// Bytes of inode, size and both times.
const FINGERPRINT_LEN: usize = 32;
const SUM_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// Bytes of a record in front of the path.
const PATH_AT: usize = 4 + FINGERPRINT_LEN + 4;

/// The length field for a name that is the last component of the path.
const NAME_OF_PATH: u16 = u16::MAX;

/// Bytes of the longest path that a system accepts.
const MAX_PATH_LEN: usize = 64 * 1024;

/// Bytes of the longest record that is read: any path that a system accepts, and any description.
const MAX_RECORD_LEN: usize = FINGERPRINT_LEN + 4 + MAX_PATH_LEN + MAX_FILEINFO_LEN;

/// A hash of a path: a million paths would fill the memory.
pub(super) type Key = [u8; 16];

/// Where a record is in the file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordSpan {
    pub(super) offset: u64,
    pub(super) len: u32,
}

impl RecordSpan {
    /// The first byte after the record.
    pub(super) fn end(self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// What a body says of a file.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// It had this fingerprint and this encoded description.
    Described { path: &'a [u8], fingerprint: &'a [u8; FINGERPRINT_LEN], description: &'a [u8] },
    /// It is not remembered any more.
    Removed { path: &'a [u8] },
    /// The file was rewritten, and has only valid records before this one.
    Rewritten,
}

impl<'a> Entry<'a> {
    /// `None` if the body is none.
    pub(super) fn of(body: &'a [u8]) -> Option<Self> {
        let (fingerprint, body) = body.split_first_chunk::<FINGERPRINT_LEN>()?;
        let (len, body) = body.split_first_chunk::<4>()?;
        let (path, description) =
            body.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        Some(match (path, description) {
            ([], []) => Entry::Rewritten,
            (path, []) => Entry::Removed { path },
            (path, description) => Entry::Described { path, fingerprint, description },
        })
    }
}

/// The record that a file has this description.
///
/// # Errors
/// The path is longer than 4 GiB.
pub(super) fn described(
    path: &Path,
    fingerprint: FileFingerprint,
    info: &FileInfo,
) -> io::Result<Vec<u8>> {
    record(path.as_os_str().as_bytes(), fingerprint, &encode(info, path))
}

/// The record that removes a path.
///
/// # Errors
/// The path is longer than 4 GiB.
pub(super) fn removed(path: &Path) -> io::Result<Vec<u8>> {
    record(path.as_os_str().as_bytes(), FileFingerprint::default(), &[])
}

/// The record that the file was rewritten.
///
/// # Errors
/// Never: the path in it is empty.
pub(super) fn rewritten() -> io::Result<Vec<u8>> {
    record(&[], FileFingerprint::default(), &[])
}

fn record(path: &[u8], fingerprint: FileFingerprint, description: &[u8]) -> io::Result<Vec<u8>> {
    let path_len = u32::try_from(path.len()).map_err(io::Error::other)?;
    let body = [&to_bytes(fingerprint)[..], &path_len.to_le_bytes(), path, description].concat();
    sealed(&body)
}

/// The record with this body.
///
/// # Errors
/// It is longer than 4 GiB.
pub(super) fn sealed(body: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&len.to_le_bytes()[..], body, &sum_of(body)].concat())
}

/// Bytes of the record with this body.
pub(super) fn len_of(body: &[u8]) -> u32 {
    u32::try_from(4 + body.len() + SUM_LEN).expect("a longer body is not read")
}

/// The length of the record that begins at `offset` of a file of `end` bytes, and the path in it.
/// Its sum is not compared: the path is only looked at. `None` at the end.
///
/// # Errors
/// The file cannot be read, or there is no record.
pub(super) fn front_at(file: &File, offset: u64, end: u64) -> io::Result<Option<(u32, Vec<u8>)>> {
    if offset >= end {
        return Ok(None);
    }
    let mut front = [0; PATH_AT];
    file.read_exact_at(&mut front, offset)?;
    let (len, front) = front.split_first_chunk::<4>().expect("it is longer");
    let (_, path_len) = front.split_last_chunk::<4>().expect("it is longer");
    let body_len = u32::from_le_bytes(*len) as usize;
    let path_len = u32::from_le_bytes(*path_len) as usize;
    if body_len > MAX_RECORD_LEN || path_len > MAX_PATH_LEN || PATH_AT + path_len > 4 + body_len {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut path = vec![0; path_len];
    file.read_exact_at(&mut path, offset + PATH_AT as u64)?;
    let len = u32::try_from(4 + body_len + SUM_LEN).map_err(io::Error::other)?;
    Ok(Some((len, path)))
}

pub(super) fn to_bytes(fingerprint: FileFingerprint) -> [u8; FINGERPRINT_LEN] {
    let FileFingerprint { inode, size, modified_ns, changed_ns } = fingerprint;
    let fields = [inode, size, modified_ns.cast_unsigned(), changed_ns.cast_unsigned()];
    let mut bytes = [0; FINGERPRINT_LEN];
    for (out, field) in bytes.chunks_exact_mut(8).zip(fields) {
        out.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

fn name_in(path: &Path) -> Option<FileName> {
    path.file_name().and_then(|name| FileName::from_os_str(name).ok())
}

fn encode(info: &FileInfo, path: &Path) -> Vec<u8> {
    let mut bytes = info.geometry().chunk_size().get().to_le_bytes().to_vec();
    if info.name() == name_in(path).as_ref() {
        bytes.extend_from_slice(&NAME_OF_PATH.to_le_bytes());
    } else {
        let name = info.name().map_or("", FileName::as_str);
        let len = u16::try_from(name.len()).expect("a file name is shorter");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.extend_from_slice(info.hash().as_bytes());
    // The sum of a single chunk is the hash.
    if info.sums().len() > 1 {
        info.sums().iter().for_each(|sum| bytes.extend_from_slice(sum.as_bytes()));
    }
    info.tail().path.iter().for_each(|value| bytes.extend_from_slice(value));
    bytes
}

/// Decodes the description of a file of that size and verifies it; the last bytes of the file are
/// read for that.
pub(super) fn decode(known: &[u8], path: &Path, size: u64, file: &File) -> Option<FileInfo> {
    let (chunk_size, known) = known.split_first_chunk::<4>()?;
    let geometry =
        Geometry::new(size, ChunkSize::new(u32::from_le_bytes(*chunk_size)).ok()?).ok()?;
    let (name_len, known) = known.split_first_chunk::<2>()?;
    let (name, known) = match u16::from_le_bytes(*name_len) {
        NAME_OF_PATH => (name_in(path), known),
        0 => (None, known),
        len => {
            let (name, known) = known.split_at_checked(len.into())?;
            (Some(FileName::from_bytes(name).ok()?), known)
        }
    };
    let (hash, known) = known.split_first_chunk::<HASH_LEN>()?;
    let several = if geometry.chunk_count() > 1 { geometry.chunk_count() as usize } else { 0 };
    let (sums, tail_path) = known.split_at_checked(several.checked_mul(HASH_LEN)?)?;
    let (sums, _) = sums.as_chunks::<HASH_LEN>();
    let sums = match geometry.chunk_count() {
        1 => vec![ChunkSum::from_bytes(*hash)],
        _ => sums.iter().map(|sum| ChunkSum::from_bytes(*sum)).collect(),
    };
    let (tail_path, []) = tail_path.as_chunks::<HASH_LEN>() else { return None };
    let leaf_len = size.checked_sub(1).map_or(0, |last| last % Tail::MAX_LEAF_LEN as u64 + 1);
    let mut leaf = vec![0; usize::try_from(leaf_len).ok()?];
    file.read_exact_at(&mut leaf, size - leaf_len).ok()?;
    let tail = Tail { leaf, path: tail_path.to_vec() };
    FileInfo::from_parts(name, geometry, sums, tail, FileHash::from_bytes(*hash)).ok()
}

fn sum_of(body: &[u8]) -> [u8; SUM_LEN] {
    *blake3::hash(body).as_bytes().first_chunk().expect("a sum is longer")
}

/// The body of the next record; `None` if there is no valid one.
pub(super) fn next_record(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    let len = match input.read_exact(&mut len) {
        Ok(()) => u32::from_le_bytes(len) as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if len > MAX_RECORD_LEN {
        return Ok(None);
    }
    let mut body = Vec::new();
    input.by_ref().take((len + SUM_LEN) as u64).read_to_end(&mut body)?;
    let Some((_, sum)) = body.split_at_checked(len) else { return Ok(None) };
    let Ok(sum) = <[u8; SUM_LEN]>::try_from(sum) else { return Ok(None) };
    body.truncate(len);
    Ok((sum_of(&body) == sum).then_some(body))
}

pub(super) fn key(path: &Path) -> Key {
    key_of(path.as_os_str().as_bytes())
}

pub(super) fn key_of(path: &[u8]) -> Key {
    *blake3::hash(path).as_bytes().first_chunk().expect("a sum is longer")
}
