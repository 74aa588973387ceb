//! How paths and hashes are written in JSON. A path is received exactly as it was sent, also when
//! it is not UTF-8.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Paths: a string, or a list of bytes where a path is not UTF-8.
pub(crate) mod path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    use super::{Deserialize, Deserializer, Path, PathBuf, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Portable {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(in super::super) fn serialize<S: Serializer>(
        path: &Path,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(serializer),
            None => path.as_os_str().as_bytes().serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<PathBuf, D::Error> {
        Ok(match Portable::deserialize(source)? {
            Portable::Text(text) => PathBuf::from(text),
            Portable::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        })
    }
}

/// Paths that may be absent; a field without one is left out.
pub(crate) mod optional_path {
    use super::{Deserializer, PathBuf, Serializer, path};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => path::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        path::deserialize(source).map(Some)
    }
}

/// Lists of paths.
pub(crate) mod paths {
    use super::{Deserialize, Deserializer, PathBuf, Serialize, Serializer, path};

    #[derive(Serialize, Deserialize)]
    struct Item(#[serde(with = "path")] PathBuf);

    pub(in super::super) fn serialize<S: Serializer>(
        paths: &[PathBuf],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().cloned().map(Item))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<Vec<PathBuf>, D::Error> {
        let items = Vec::<Item>::deserialize(source)?;
        Ok(items.into_iter().map(|Item(path)| path).collect())
    }
}

/// Hashes, as hex digits.
pub(crate) mod hash {
    use tnet_fileinfo::FileHash;

    use super::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        hash: &FileHash,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hash)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<FileHash, D::Error> {
        String::deserialize(source)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Trees, as `tree:` and hex digits.
pub(crate) mod tree {
    use tnet_fileinfo::tree::TreeHash;

    use super::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        tree: &TreeHash,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(tree)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<TreeHash, D::Error> {
        String::deserialize(source)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A path for display: with replacement characters where it is not UTF-8.
#[expect(clippy::disallowed_methods, reason = "what is shown of it is escaped there")]
pub(crate) fn shown(path: &Path) -> PathBuf {
    match path.to_str() {
        Some(_) => path.to_owned(),
        None => PathBuf::from(path.to_string_lossy().into_owned()),
    }
}
