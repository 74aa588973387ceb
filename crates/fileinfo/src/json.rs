//! The `.fileinfo` format: JSON that a person can read. Reading takes any bytes and ends in a
//! [`FileInfo`] that proves itself or in a typed error; what it allocates is bounded by the length
//! of the input, and that by [`MAX_FILEINFO_LEN`].
//!
//! ```json
//! {
//!   "tnet_fileinfo": 1,
//!   "name": "hello.txt",
//!   "size": 5,
//!   "chunk_size": 65536,
//!   "chunks": 1,
//!   "hash": "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
//!   "tail": {
//!     "leaf": "68656c6c6f",
//!     "path": []
//!   },
//!   "sums": [
//!     "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f"
//!   ]
//! }
//! ```
//!
//! That of a tree has `"kind": "tree"` after the version, and describes the manifest of the tree.
//!
//! The order of the fields is free; `name` may be absent, and `kind`, which then is `file`. Unknown
//! fields are ignored, so that a later program may add some; what an older reader must not ignore
//! gets a higher version, which an older reader refuses.

mod fields;

use serde::{Deserialize, Serialize, Serializer};

use crate::chunk_size::ChunkSize;
use crate::described::{Described, Kind};
use crate::geometry::{Geometry, GeometryError, MAX_CHUNKS};
use crate::hex;
use crate::info::{FileInfo, FileInfoError};
use fields::Fields;

/// Version of the format that is written and read.
const FORMAT_VERSION: u64 = 1;

/// Bytes of one sum in the list: 64 digits, quotes, comma, line end, and indentation with some to
/// spare.
const MAX_SUM_LEN: usize = 80;

/// Bytes of everything but the sums, with room for fields of later versions.
const MAX_HEAD_LEN: usize = 64 * 1024;

/// The longest `.fileinfo` that is read, in bytes: that of a file with [`MAX_CHUNKS`] chunks.
pub const MAX_FILEINFO_LEN: usize = MAX_CHUNKS as usize * MAX_SUM_LEN + MAX_HEAD_LEN;

impl Described {
    /// Reads the `.fileinfo` format and checks that the description proves itself.
    ///
    /// # Errors
    /// The bytes are no such description, or it is inconsistent, or does not prove itself; see
    /// [`FileInfoError`].
    pub fn parse(json: &[u8]) -> Result<Self, FileInfoError> {
        if json.len() > MAX_FILEINFO_LEN {
            return Err(FileInfoError::TooLong { len: json.len(), limit: MAX_FILEINFO_LEN });
        }
        Fields::read(json).and_then(assemble).map_err(|error| other_version(json).unwrap_or(error))
    }

    /// Writes the `.fileinfo` format, one sum a line, ending with a line end.
    pub fn to_json(&self) -> String {
        match self {
            Self::File(info) => write(None, info),
            Self::Tree(manifest) => write(Some(Kind::Tree), manifest),
        }
    }
}

impl FileInfo {
    /// Reads the `.fileinfo` of a file, as [`Described::parse`].
    ///
    /// # Errors
    /// As [`Described::parse`], and [`FileInfoError::Tree`] for that of a tree.
    pub fn parse(json: &[u8]) -> Result<Self, FileInfoError> {
        Described::parse(json).and_then(Described::file)
    }

    /// Writes the `.fileinfo` of a file, as [`Described::to_json`].
    pub fn to_json(&self) -> String {
        write(None, self)
    }
}

fn write(kind: Option<Kind>, info: &FileInfo) -> String {
    let hash = info.hash();
    let document = Document {
        tnet_fileinfo: FORMAT_VERSION,
        kind: kind.map(Kind::name),
        name: info.name().map(AsRef::as_ref),
        size: info.size(),
        chunk_size: info.geometry().chunk_size().get(),
        chunks: info.geometry().chunk_count(),
        hash: Hex(hash.as_bytes()),
        tail: TailDocument {
            leaf: Hex(&info.tail().leaf),
            path: info.tail().path.iter().map(|value| Hex(value)).collect(),
        },
        sums: info.sums().iter().map(|sum| Hex(sum.as_bytes())).collect(),
    };
    let mut json = serde_json::to_string_pretty(&document)
        .expect("numbers, strings and lists of them always serialize into memory");
    json.push('\n');
    json
}

/// Checks the fields against each other; the proof itself is [`FileInfo::from_parts`].
fn assemble(fields: Fields) -> Result<Described, FileInfoError> {
    // First, so that input that is no description at all is not refused for a missing detail.
    let version = fields.version.ok_or(FileInfoError::MissingField("tnet_fileinfo"))?;
    if version != FORMAT_VERSION {
        return Err(mismatch(version));
    }
    let kind = fields.kind.transpose()?.unwrap_or(Kind::File);
    let size = fields.size.ok_or(FileInfoError::MissingField("size"))?;
    let chunk_size = fields.chunk_size.ok_or(FileInfoError::MissingField("chunk_size"))?;
    let geometry = geometry(size, chunk_size)?;
    let claimed = fields.chunks.ok_or(FileInfoError::MissingField("chunks"))?;
    if claimed != u64::from(geometry.chunk_count()) {
        return Err(FileInfoError::ChunkCount { claimed, expected: geometry.chunk_count() });
    }
    let hash = fields.hash.ok_or(FileInfoError::MissingField("hash"))?;
    let sums = fields.sums.ok_or(FileInfoError::MissingField("sums"))?;
    let tail = fields.tail.ok_or(FileInfoError::MissingField("tail"))?;
    let info = FileInfo::from_parts(fields.name.transpose()?, geometry, sums, tail, hash)?;
    Described::of_kind(kind, info)
}

fn geometry(size: u64, chunk_size: u64) -> Result<Geometry, GeometryError> {
    let chunk_size = u32::try_from(chunk_size)
        .map_err(|_| GeometryError::ChunkSize { bytes: chunk_size })
        .and_then(ChunkSize::new)?;
    Geometry::new(size, chunk_size)
}

/// Another version may differ in anything. So if the description names another version, that is the
/// error, whatever else is wrong with it.
fn other_version(json: &[u8]) -> Option<FileInfoError> {
    #[derive(Deserialize)]
    struct VersionOnly {
        tnet_fileinfo: u64,
    }
    let VersionOnly { tnet_fileinfo: version } = serde_json::from_slice(json).ok()?;
    (version != FORMAT_VERSION).then(|| mismatch(version))
}

fn mismatch(found: u64) -> FileInfoError {
    FileInfoError::VersionMismatch { found, supported: FORMAT_VERSION }
}

#[derive(Serialize)]
struct Document<'a> {
    tnet_fileinfo: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    size: u64,
    chunk_size: u32,
    chunks: u32,
    hash: Hex<'a>,
    tail: TailDocument<'a>,
    // Last, so that a reader finds the other fields at the top.
    sums: Vec<Hex<'a>>,
}

#[derive(Serialize)]
struct TailDocument<'a> {
    leaf: Hex<'a>,
    path: Vec<Hex<'a>>,
}

struct Hex<'a>(&'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests;
