//! The fields of a `.fileinfo` as they stand there: each of its own type and at most once, nothing
//! held against anything else yet. Values are looked at where they lie, and no list grows past what
//! any file can have.
//!
//! Serde's usual messages repeat an offending string of any length; the visitors here never do.
//! That is why they ask for any type and check what comes: asked for a number, the parser itself
//! would complain of a string.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::error::Category;

use crate::described::Kind;
use crate::file_name::{FileName, FileNameError};
use crate::geometry::MAX_CHUNKS;
use crate::hash::{ChunkSum, FileHash};
use crate::hex;
use crate::info::FileInfoError;
use crate::shown::shown;
use crate::tail::Tail;

/// Characters of an unknown kind that an error repeats.
const MAX_SHOWN: usize = 64;

#[derive(Default)]
pub(super) struct Fields {
    pub(super) version: Option<u64>,
    pub(super) kind: Option<Result<Kind, FileInfoError>>,
    pub(super) name: Option<Result<FileName, FileNameError>>,
    pub(super) size: Option<u64>,
    pub(super) chunk_size: Option<u64>,
    pub(super) chunks: Option<u64>,
    pub(super) hash: Option<FileHash>,
    pub(super) tail: Option<Tail>,
    pub(super) sums: Option<Vec<ChunkSum>>,
}

impl Fields {
    pub(super) fn read(json: &[u8]) -> Result<Self, FileInfoError> {
        serde_json::from_slice::<Object<Self>>(json).map(|object| object.0).map_err(|error| {
            match error.classify() {
                Category::Data => FileInfoError::Malformed(error),
                Category::Syntax | Category::Eof | Category::Io => FileInfoError::NotJson(error),
            }
        })
    }
}

impl FieldByField for Fields {
    const KEYS: &'static [&'static str] =
        &["tnet_fileinfo", "kind", "name", "size", "chunk_size", "chunks", "hash", "tail", "sums"];

    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            "tnet_fileinfo" => put(&mut self.version, key, map.next_value::<Number>()?.0),
            "kind" => put(&mut self.kind, key, map.next_value::<KindOrNot>()?.0),
            "name" => put(&mut self.name, key, map.next_value::<Name>()?.0),
            "size" => put(&mut self.size, key, map.next_value::<Number>()?.0),
            "chunk_size" => put(&mut self.chunk_size, key, map.next_value::<Number>()?.0),
            "chunks" => put(&mut self.chunks, key, map.next_value::<Number>()?.0),
            "hash" => put(&mut self.hash, key, FileHash::from_bytes(map.next_value::<Hash>()?.0)),
            "tail" => {
                let TailFields { leaf, path } = map.next_value::<Object<TailFields>>()?.0;
                let leaf = leaf.ok_or_else(|| A::Error::missing_field("leaf"))?;
                let path = path.ok_or_else(|| A::Error::missing_field("path"))?;
                put(&mut self.tail, key, Tail { leaf, path })
            }
            _ => {
                let hashes = map.next_value::<Hashes<{ MAX_CHUNKS as usize }>>()?.0;
                put(&mut self.sums, key, hashes.into_iter().map(ChunkSum::from_bytes).collect())
            }
        }
    }
}

#[derive(Default)]
struct TailFields {
    leaf: Option<Vec<u8>>,
    path: Option<Vec<[u8; 32]>>,
}

impl FieldByField for TailFields {
    const KEYS: &'static [&'static str] = &["leaf", "path"];

    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            "leaf" => put(&mut self.leaf, key, map.next_value::<Leaf>()?.0),
            _ => put(&mut self.path, key, map.next_value::<Hashes<{ Tail::MAX_PATH_LEN }>>()?.0),
        }
    }
}

fn put<T, E: Error>(slot: &mut Option<T>, key: &'static str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(key)),
    }
}

/// What an object of known keys is read into.
trait FieldByField: Default {
    const KEYS: &'static [&'static str];

    /// Reads the value of one of [`Self::KEYS`].
    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        key: &'static str,
        map: &mut A,
    ) -> Result<(), A::Error>;
}

struct Object<T>(T);

impl<'de, T: FieldByField> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: FieldByField> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the fields {}", T::KEYS.join(", "))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
        Err(E::invalid_type(A_STRING, &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut fields = T::default();
        while let Some(Key(key, _)) = map.next_key::<Key<T>>()? {
            match key {
                Some(key) => fields.take(key, &mut map)?,
                None => {
                    map.next_value::<Unknown>()?;
                }
            }
        }
        Ok(fields)
    }
}

const A_STRING: Unexpected<'static> = Unexpected::Other("a string");

/// One of the known keys of `T`, or `None`.
struct Key<T>(Option<&'static str>, PhantomData<T>);

/// Any whole number; the fields' own bounds are those of the types they become.
struct Number(u64);

struct KindOrNot(Result<Kind, FileInfoError>);

struct Name(Result<FileName, FileNameError>);

struct Hash([u8; 32]);

struct Leaf(Vec<u8>);

/// At most `MAX` of them.
struct Hashes<const MAX: usize>(Vec<[u8; 32]>);

/// A value of a field we do not know. Unlike `IgnoredAny` it is subject to the parser's limit of
/// depth.
struct Unknown;

/// Reads a string where it lies. `$read` answers `None` for one that does not fit `$expecting`.
macro_rules! read_str {
    ([$($generics:tt)*] $type:ty, $expecting:literal, $read:expr) => {
        impl<'de, $($generics)*> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct StrVisitor<T>(PhantomData<T>);

                impl<$($generics)*> Visitor<'_> for StrVisitor<$type> {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        $read(text).ok_or_else(|| E::invalid_value(Unexpected::Other("another string"), &self))
                    }
                }

                deserializer.deserialize_str(StrVisitor(PhantomData))
            }
        }
    };
}

read_str!([T: FieldByField] Key<T>, "the name of a field", |text: &str| {
    Some(Key(T::KEYS.iter().copied().find(|key| *key == text), PhantomData))
});
read_str!([] KindOrNot, "the kind of what is described, in quotes", |text: &str| {
    let unknown = || FileInfoError::UnknownKind {
        kind: format!("{:?}", shown(&text.chars().take(MAX_SHOWN).collect::<String>())),
    };
    Some(KindOrNot(Kind::named(text).ok_or_else(unknown)))
});
read_str!([] Name, "a file name in quotes", |text: &str| Some(Name(FileName::new(text))));
read_str!([] Hash, "64 hexadecimal digits in quotes", |text: &str| hex::decode_32(text).map(Hash));
read_str!([] Leaf, "at most 1024 bytes as hexadecimal digits in quotes", |text: &str| {
    let len = text.len() / 2;
    let mut leaf = vec![0; len.min(Tail::MAX_LEAF_LEN)];
    hex::decode_into(text, &mut leaf).map(|()| Leaf(leaf))
});

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 to 2^64 - 1")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Number, E> {
                Err(E::invalid_type(A_STRING, &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Hashes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HashesVisitor<const MAX: usize>;

        impl<'de, const MAX: usize> Visitor<'de> for HashesVisitor<MAX> {
            type Value = Hashes<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} strings of 64 hexadecimal digits")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Hashes<MAX>, E> {
                Err(E::invalid_type(A_STRING, &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Hashes<MAX>, A::Error> {
                // No capacity is reserved by a claimed length: the list grows with what was read.
                let mut hashes = Vec::new();
                while let Some(Hash(hash)) = list.next_element()? {
                    if hashes.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    hashes.push(hash);
                }
                Ok(Hashes(hashes))
            }
        }

        deserializer.deserialize_any(HashesVisitor)
    }
}

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unknown)
    }
}

impl<'de> Visitor<'de> for Unknown {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}
