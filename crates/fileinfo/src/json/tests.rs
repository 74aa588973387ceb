//! The format is read as it is written, and all other input is refused with the right error.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chunk_size::{MAX_CHUNK_SIZE, MIN_CHUNK_SIZE};
use crate::file_name::FileNameFault;
use crate::hash::{ChunkSum, FileHash};
use crate::hash_tree::{chunk_sum, root};
use crate::tail::{Tail, TailError};
use crate::testing::{BOUNDARY_SIZES, info};
use crate::tree::{MAX_MANIFEST_LEN, TreeHash};

const CHUNK: usize = MIN_CHUNK_SIZE as usize;

/// A valid description of three chunks, ready to be spoilt.
fn valid() -> Value {
    serde_json::from_str(&info(2 * CHUNK + 3000).to_json()).expect("our own JSON")
}

fn parse(value: &Value) -> Result<FileInfo, FileInfoError> {
    FileInfo::parse(value.to_string().as_bytes())
}

/// The error for the valid description with one field set to another value.
fn with(field: &str, value: Value) -> FileInfoError {
    let mut document = valid();
    document[field] = value;
    parse(&document).expect_err("spoilt")
}

fn without(field: &str) -> Result<FileInfo, FileInfoError> {
    let mut document = valid();
    document.as_object_mut().expect("an object").remove(field).expect("the field was there");
    parse(&document)
}

#[test]
fn a_description_is_read_as_it_was_written_at_every_boundary() {
    for size in BOUNDARY_SIZES {
        let info = info(size);
        let named =
            info.clone().with_name(Some("a \"quoted\" é.txt".parse().expect("a valid name")));
        for info in [info, named] {
            let json = info.to_json();
            let read = FileInfo::parse(json.as_bytes()).expect("what we wrote");
            assert_eq!(read, info, "{size}");
            assert_eq!(read.to_json(), json);
        }
    }
}

#[test]
fn the_format_is_the_one_documented() {
    let documented: String = include_str!("../json.rs")
        .lines()
        .skip_while(|line| *line != "//! ```json")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| format!("{}\n", &line[4..]))
        .collect();
    let info = FileInfo::parse(documented.as_bytes()).expect("the example is true");
    assert_eq!(info.to_json(), documented);
    assert_eq!(info.name().map(AsRef::as_ref), Some("hello.txt"));
}

#[test]
fn a_description_says_whether_it_is_of_a_file_or_a_tree() {
    let info = info(CHUNK + 5).with_name(Some("d".parse().expect("a valid name")));
    let tree = Described::Tree(info.clone());
    let json = tree.to_json();
    assert!(
        json.starts_with("{\n  \"tnet_fileinfo\": 1,\n  \"kind\": \"tree\",\n  \"name\": \"d\",")
    );
    assert_eq!(Described::parse(json.as_bytes()).expect("what we wrote"), tree);
    assert_eq!(tree.tree().map(TreeHash::manifest), Some(info.hash()));
    assert!(matches!(FileInfo::parse(json.as_bytes()), Err(FileInfoError::Tree)));

    let file = Described::File(info.clone());
    assert_eq!((file.to_json(), file.tree()), (info.to_json(), None));
    let said = json.replace("\"tree\"", "\"file\"");
    assert_eq!(Described::parse(said.as_bytes()).expect("a file is a file"), file);
}

#[test]
fn a_kind_that_nobody_knows_is_refused_by_its_name() {
    for (kind, shown) in
        [("image", "\"image\""), ("", "\"\""), ("a\n\u{202e}", "\"a\\n\\u{202e}\"")]
    {
        let error = with("kind", json!(kind)).to_string();
        assert!(error.starts_with(&format!("it describes a {shown}, ")), "{error}");
    }
    let long = with("kind", json!("\u{202e}".repeat(100_000)));
    assert!(long.to_string().len() < 700, "{long}");
}

#[test]
fn the_manifest_of_a_tree_is_not_longer_than_any() {
    let longest = MAX_MANIFEST_LEN as u64;
    for (size, fits) in [(longest, true), (longest + 1, false)] {
        let largest = ChunkSize::new(MAX_CHUNK_SIZE).expect("the largest size");
        let geometry = Geometry::new(size, largest).expect("few chunks");
        let last = geometry.last_chunk().expect("not empty");
        let zeroes = vec![0; geometry.chunk_len(last) as usize];
        // What is in the other chunks does not matter.
        let mut sums = vec![ChunkSum::from_bytes([7; 32]); last.index()];
        sums.push(chunk_sum(&geometry, last, &zeroes));
        let (tail, hash) = (Tail::of(&geometry, &zeroes), root(&geometry, &sums));
        let info = FileInfo::from_parts(None, geometry, sums, tail, hash).expect("its own parts");
        match Described::parse(Described::Tree(info).to_json().as_bytes()) {
            Ok(_) => assert!(fits),
            Err(FileInfoError::ManifestTooLong { len }) => assert!(!fits && len == size),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_missing_field_is_named() {
    for field in ["tnet_fileinfo", "size", "chunk_size", "chunks", "hash", "tail", "sums"] {
        match without(field) {
            Err(FileInfoError::MissingField(missing)) => assert_eq!(missing, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_in_every_field() {
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!("x"),
        json!([1]),
        json!({}),
        json!([["x"]]),
    ];
    for field in
        ["tnet_fileinfo", "kind", "name", "size", "chunk_size", "chunks", "hash", "tail", "sums"]
    {
        for value in &wrong {
            if ["kind", "name"].contains(&field) && value.is_string() {
                continue;
            }
            let error = with(field, value.clone());
            assert!(matches!(error, FileInfoError::Malformed(_)), "{field} = {value}: {error:?}");
        }
    }
}

#[test]
fn a_field_that_is_there_twice_is_refused() {
    let json = info(100).to_json();
    let twice = json.replacen("\"size\": 100,", "\"size\": 100, \"size\": 100,", 1);
    assert_ne!(json, twice);
    assert!(matches!(FileInfo::parse(twice.as_bytes()), Err(FileInfoError::Malformed(_))));
    let tail_twice = json.replacen("\"path\": []", "\"path\": [], \"path\": []", 1);
    assert_ne!(json, tail_twice);
    assert!(matches!(FileInfo::parse(tail_twice.as_bytes()), Err(FileInfoError::Malformed(_))));
}

#[test]
fn json_that_is_no_object_is_refused() {
    for json in ["[]", "5", "\"text\"", "null", "true", "[1, 2, 3]"] {
        assert!(
            matches!(FileInfo::parse(json.as_bytes()), Err(FileInfoError::Malformed(_))),
            "{json}"
        );
    }
}

#[test]
fn every_beginning_of_a_description_is_not_json() {
    let json = info(CHUNK + 1).to_json();
    let whole = json.trim_end().len();
    for len in 0..whole {
        let read = FileInfo::parse(&json.as_bytes()[..len]);
        assert!(matches!(read, Err(FileInfoError::NotJson(_))), "{len} of {whole}: {read:?}");
    }
    let followed = format!("{json}x");
    assert!(matches!(FileInfo::parse(followed.as_bytes()), Err(FileInfoError::NotJson(_))));
}

#[test]
fn unknown_fields_are_ignored_wherever_they_stand() {
    let mut document = valid();
    let unknown = json!([null, true, 1, -1, 1.5, "x", {"a": [{}]}]);
    document["a_first"] = unknown.clone();
    document["zz_last"] = unknown.clone();
    document["tail"]["more"] = unknown;
    assert!(parse(&document).is_ok());
}

#[test]
fn another_version_is_refused_as_such_whatever_else_it_changes() {
    for version in [0, 2, u64::MAX] {
        let mut document = valid();
        document["tnet_fileinfo"] = json!(version);
        // Keys are sorted here, so `chunks` and `hash` fail before the version is seen.
        for (field, value) in [
            ("zz", json!(1)),
            ("chunks", json!("many")),
            ("hash", json!({"sha256": "x"})),
            ("size", json!(0)),
        ] {
            let mut changed = document.clone();
            changed[field] = value;
            match parse(&changed) {
                Err(FileInfoError::VersionMismatch { found, supported: 1 }) => {
                    assert_eq!(found, version)
                }
                other => panic!("{version}, {field}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_impossible_geometry_is_refused() {
    for chunk_size in
        [0_u64, 1, 8192, 65_537, 1 << 25, 1 << 31, 1 << 32, (1 << 32) + 16_384, u64::MAX]
    {
        let error = with("chunk_size", json!(chunk_size));
        assert!(
            matches!(error, FileInfoError::Geometry(GeometryError::ChunkSize { bytes }) if bytes == chunk_size)
        );
    }
    for size in [1_u64 << 63, u64::MAX, (u64::from(MAX_CHUNKS) << 14) + 1] {
        let error = with("size", json!(size));
        assert!(
            matches!(error, FileInfoError::Geometry(GeometryError::TooManyChunks { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn counts_that_contradict_each_other_are_refused() {
    for chunks in [0_u64, 2, 4, 1 << 32, (1 << 32) + 3, u64::MAX] {
        let error = with("chunks", json!(chunks));
        assert!(
            matches!(error, FileInfoError::ChunkCount { claimed, expected: 3 } if claimed == chunks)
        );
    }
    let sum = "0".repeat(64);
    for count in [0, 2, 4, 1000] {
        let error = with("sums", json!(vec![&sum; count]));
        assert!(
            matches!(error, FileInfoError::SumCount { found, expected: 3 } if found == count),
            "{error:?}"
        );
    }
}

#[test]
fn sums_of_another_file_do_not_prove_the_hash() {
    let error = with("hash", json!("0".repeat(64)));
    let claimed = FileHash::from_bytes([0; 32]);
    assert!(
        matches!(error, FileInfoError::HashMismatch { claimed: c, .. } if c == claimed),
        "{error:?}"
    );
    let mut document = valid();
    document["sums"][0] = json!("0".repeat(64));
    assert!(matches!(parse(&document), Err(FileInfoError::HashMismatch { .. })));
}

#[test]
fn a_size_that_keeps_the_number_of_chunks_is_still_refused() {
    for size in [2 * CHUNK + 1, 2 * CHUNK + 2999, 2 * CHUNK + 3001, 3 * CHUNK] {
        assert!(matches!(with("size", json!(size)), FileInfoError::Tail(_)), "{size}");
    }
    let mut document = valid();
    let leaf = document["tail"]["leaf"].as_str().expect("hex").to_owned();
    document["tail"]["leaf"] = json!(format!("{leaf}00"));
    document["size"] = json!(2 * CHUNK + 3001);
    assert!(matches!(parse(&document), Err(FileInfoError::Tail(TailError::Mismatch))));
}

#[test]
fn a_name_that_is_no_file_name_is_refused_with_its_reason() {
    let error = with("name", json!("../../etc/passwd"));
    assert!(matches!(error, FileInfoError::Name(name) if name.fault() == FileNameFault::Separator));
}

#[test]
fn lists_longer_than_any_file_can_have_are_refused() {
    // Compact, so that they pass the limit of length: one sum more than the most possible.
    let sums = vec![format!("\"{}\"", "0".repeat(64)); MAX_CHUNKS as usize + 1].join(",");
    let json = format!("{{\"sums\":[{sums}]}}");
    assert!(json.len() < MAX_FILEINFO_LEN);
    assert!(matches!(FileInfo::parse(json.as_bytes()), Err(FileInfoError::Malformed(_))));
    let mut document = valid();
    document["tail"]["path"] = json!(vec!["0".repeat(64); Tail::MAX_PATH_LEN + 1]);
    assert!(matches!(parse(&document), Err(FileInfoError::Malformed(_))));
    document = valid();
    document["tail"]["leaf"] = json!("00".repeat(Tail::MAX_LEAF_LEN + 1));
    assert!(matches!(parse(&document), Err(FileInfoError::Malformed(_))));
}

#[test]
fn an_input_longer_than_the_largest_description_is_not_even_read() {
    let spaces = vec![b' '; MAX_FILEINFO_LEN + 1];
    assert!(matches!(FileInfo::parse(&spaces), Err(FileInfoError::TooLong { .. })));
    assert!(matches!(FileInfo::parse(&spaces[1..]), Err(FileInfoError::NotJson(_))));
}

#[test]
fn endless_nesting_is_refused_without_recursion() {
    const DEPTH: usize = 1 << 20;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nest = format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
        for json in [
            nest.clone(),
            format!("{{\"x\":{nest}}}"),
            format!("{{\"sums\":{nest}}}"),
            format!("{{\"tail\":{nest}}}"),
        ] {
            let error = FileInfo::parse(json.as_bytes()).expect_err("too deep");
            assert!(
                matches!(error, FileInfoError::NotJson(_) | FileInfoError::Malformed(_)),
                "{error:?}"
            );
        }
    }
}

#[test]
fn an_error_never_repeats_an_endless_value() {
    let endless = json!("x".repeat(1 << 20));
    for field in ["tnet_fileinfo", "name", "size", "chunk_size", "chunks", "hash", "tail", "sums"] {
        let mut error: &dyn std::error::Error = &with(field, endless.clone());
        while let Some(source) = error.source() {
            error = source;
            assert!(error.to_string().len() < 300, "{field}: {} bytes", error.to_string().len());
        }
        assert!(error.to_string().len() < 300 && !error.to_string().contains('\n'), "{field}");
    }
    let text = endless.to_string();
    for json in [
        text.clone(),
        format!("{{{text}:1}}"),
        format!("{{\"x\":{text}}}"),
        format!("{{\"sums\":[{text}]}}"),
    ] {
        let error = FileInfo::parse(json.as_bytes()).expect_err("no description");
        assert!(format!("{error:?}").len() < 300);
    }
}

#[test]
fn the_description_of_the_largest_file_is_read_within_the_limit() {
    let hash = "0".repeat(64);
    // Four spaces, quotes, comma, line end: what we write for each sum.
    let written = 4 + 2 + hash.len() + 2;
    assert!(MAX_CHUNKS as usize * written + 8192 < MAX_FILEINFO_LEN);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_end_in_an_error_not_a_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(FileInfo::parse(&bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_is_refused_or_changes_nothing_that_is_proven(
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let info = info(2 * CHUNK + 3000);
        let mut json = info.to_json().into_bytes();
        let at = at.index(json.len());
        json[at] ^= 1 << bit;
        if let Ok(read) = FileInfo::parse(&json) {
            prop_assert_eq!(read.with_name(None), info.with_name(None));
        }
    }
}
