use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{ChunkSize, FileHash, Geometry, MAX_CHUNKS, MIN_CHUNK_SIZE};

fn hash_of(bytes: &[u8]) -> FileHash {
    FileHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

fn payload(size: u64) -> Geometry {
    Geometry::new(size, ChunkSize::new(MIN_CHUNK_SIZE).expect("valid")).expect("valid")
}

/// A manifest of these entries, in this order, as an attacker would write it.
fn raw(entries: &[(u8, &[u8], &[u8])], size: u64) -> Vec<u8> {
    let mut bytes = b"tnettree\x01\0\0\0".to_vec();
    bytes.extend(u32::try_from(entries.len()).expect("valid").to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(MIN_CHUNK_SIZE.to_le_bytes());
    bytes.extend([7; 32]);
    for (kind, path, rest) in entries {
        bytes.push(*kind);
        bytes.extend(u16::try_from(path.len()).expect("valid").to_le_bytes());
        bytes.extend(*path);
        bytes.extend(*rest);
    }
    bytes
}

fn file(size: u64) -> Vec<u8> {
    [&size.to_le_bytes()[..], hash_of(b"").as_bytes()].concat()
}

fn link(target: &[u8]) -> Vec<u8> {
    [&u16::try_from(target.len()).expect("valid").to_le_bytes()[..], target].concat()
}

fn fault_of(bytes: Vec<u8>) -> EntryFault {
    match Manifest::parse(bytes) {
        Err(ManifestError::Entry { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// One entry of each kind.
fn example() -> Manifest {
    let mut builder = ManifestBuilder::default();
    builder.link(b"latest", b"bin/run");
    builder.file(b"bin/run", 3, hash_of(b"abc"), true);
    builder.file(b"README", 2, hash_of(b"hi"), false);
    builder.directory(b"bin");
    builder.finish(payload(5), hash_of(b"hiabc")).expect("valid")
}

#[test]
fn the_bytes_are_as_documented() {
    let manifest = example();
    let expected = [
        b"tnettree".as_slice(),
        &[1, 0, 0, 0],
        &[4, 0, 0, 0],
        &[5, 0, 0, 0, 0, 0, 0, 0],
        &MIN_CHUNK_SIZE.to_le_bytes(),
        hash_of(b"hiabc").as_bytes(),
        &[2, 6, 0],
        b"README",
        &[2, 0, 0, 0, 0, 0, 0, 0],
        hash_of(b"hi").as_bytes(),
        &[1, 3, 0],
        b"bin",
        &[3, 7, 0],
        b"bin/run",
        &[3, 0, 0, 0, 0, 0, 0, 0],
        hash_of(b"abc").as_bytes(),
        &[4, 6, 0],
        b"latest",
        &[7, 0],
        b"bin/run",
    ]
    .concat();
    assert_eq!(manifest.bytes(), expected);
    assert_eq!(manifest.hash().manifest(), hash_of(&expected));
}

#[test]
fn an_empty_directory_is_a_tree() {
    let manifest = ManifestBuilder::default().finish(payload(0), hash_of(b"")).expect("valid");
    assert_eq!((manifest.len(), manifest.bytes().len()), (0, 60));
    assert!(manifest.is_empty() && manifest.entries().next().is_none());
}

#[test]
fn the_hash_of_a_tree_is_not_taken_for_that_of_a_file() {
    let hash = example().hash();
    let text = hash.to_string();
    assert_eq!(text, format!("tree:{}", hash.manifest()));
    assert_eq!(text.parse(), Ok(hash));
    for wrong in ["", "tree:", &text[5..], &text[..68], "TREE:", &format!("{text}0")] {
        assert_eq!(wrong.parse::<TreeHash>(), Err(ParseTreeHashError), "{wrong}");
    }
}

#[test]
fn an_entry_is_found_by_its_path() {
    let manifest = example();
    for entry in manifest.entries() {
        assert_eq!(manifest.find(entry.path), Some(entry));
    }
    for path in [&b""[..], b"bi", b"bin/", b"bin/rum", b"zzz"] {
        assert_eq!(manifest.find(path), None);
    }
}

#[test]
fn paths_that_lead_elsewhere_or_that_systems_refuse_are_refused() {
    let long = vec![b'a'; MAX_COMPONENT_LEN + 1];
    let deep = [b"a".as_slice(); MAX_DEPTH + 1].join(&b'/');
    let wide = [vec![b'a'; 250].as_slice(); 17].join(&b'/');
    let cases: [(&[u8], EntryFault); 19] = [
        (b"", EntryFault::EmptyPath),
        (b"/", EntryFault::AbsolutePath),
        (b"/etc", EntryFault::AbsolutePath),
        (b"//a", EntryFault::AbsolutePath),
        (b"a/", EntryFault::EmptyComponent),
        (b"a//b", EntryFault::EmptyComponent),
        (b".", EntryFault::DotComponent),
        (b"..", EntryFault::DotComponent),
        (b"./a", EntryFault::DotComponent),
        (b"../a", EntryFault::DotComponent),
        (b"a/.", EntryFault::DotComponent),
        (b"a/..", EntryFault::DotComponent),
        (b"a/../b", EntryFault::DotComponent),
        (b"a/./b", EntryFault::DotComponent),
        (b"a\0b", EntryFault::Nul),
        (b"\0", EntryFault::Nul),
        (&long, EntryFault::ComponentTooLong),
        (&deep, EntryFault::TooDeep),
        (&wide, EntryFault::PathTooLong),
    ];
    for (path, fault) in cases {
        let rests: [(u8, Vec<u8>); 4] = [(1, vec![]), (2, file(0)), (3, file(0)), (4, link(b"x"))];
        for (kind, rest) in rests {
            assert_eq!(fault_of(raw(&[(kind, path, &rest)], 0)), fault, "{}", path.escape_ascii());
        }
    }
}

#[test]
fn names_that_only_look_strange_are_taken() {
    let names: [&[u8]; 7] = [b"\n", b" ", b"-rf", b"...", b".hidden", b"a\\b", &[0xff, 0xfe]];
    for name in names {
        let manifest = Manifest::parse(raw(&[(2, name, &file(0))], 0)).expect("valid");
        assert_eq!(manifest.entries().next().map(|entry| entry.path), Some(name));
    }
}

#[test]
fn another_order_and_the_same_path_twice_are_refused() {
    for kind in [1, 2, 3, 4] {
        let rest = match kind {
            1 => vec![],
            4 => link(b"x"),
            _ => file(0),
        };
        let two = |a: &[u8], b: &[u8]| fault_of(raw(&[(kind, a, &rest), (kind, b, &rest)], 0));
        assert_eq!(two(b"b", b"a"), EntryFault::NotSorted);
        assert_eq!(two(b"ab", b"a"), EntryFault::NotSorted);
        assert_eq!(two(b"a", b"A"), EntryFault::NotSorted);
        assert_eq!(two(b"a", b"a"), EntryFault::Twice);
    }
}

#[test]
fn an_entry_is_in_a_directory_of_the_tree() {
    for (kind, rest) in [(2, file(0)), (3, file(0)), (4, link(b"x"))] {
        let below = raw(&[(kind, b"a", &rest), (1, b"a/b", b"")], 0);
        assert_eq!(fault_of(below), EntryFault::NoDirectory);
    }
    let nowhere: [&[u8]; 2] = [b"a/b", b"a/b/c"];
    for path in nowhere {
        assert_eq!(fault_of(raw(&[(1, path, b"")], 0)), EntryFault::NoDirectory);
        let skips = raw(&[(1, b"Z", b""), (1, path, b"")], 0);
        assert_eq!(fault_of(skips), EntryFault::NoDirectory);
    }
    // Others sort between a directory and what is in it.
    let apart = [(1, &b"a"[..], &b""[..]), (1, b"a-b", b""), (1, b"a-b/c", b""), (1, b"a/b", b"")];
    assert_eq!(Manifest::parse(raw(&apart, 0)).expect("valid").len(), 4);
}

#[test]
fn sizes_and_targets_that_cannot_be_are_refused() {
    let no_hash = [&0u64.to_le_bytes()[..], &[1; 32]].concat();
    assert_eq!(fault_of(raw(&[(2, b"a", &no_hash)], 0)), EntryFault::EmptyFileHash);
    let huge = raw(&[(2, b"a", &file(u64::MAX)), (2, b"b", &file(1))], 0);
    assert_eq!(fault_of(huge), EntryFault::SizeOverflow);
    assert_eq!(fault_of(raw(&[(4, b"a", &link(b""))], 0)), EntryFault::EmptyTarget);
    assert_eq!(fault_of(raw(&[(4, b"a", &link(b"b\0"))], 0)), EntryFault::Nul);
    let long = vec![b'a'; MAX_PATH_LEN + 1];
    assert_eq!(fault_of(raw(&[(4, b"a", &link(&long))], 0)), EntryFault::TargetTooLong);
    for kind in [0, 5, 255] {
        assert_eq!(fault_of(raw(&[(kind, b"a", b"")], 0)), EntryFault::Kind(kind));
    }
    assert_eq!(
        Manifest::parse(raw(&[(2, b"a", &file(3))], 4)),
        Err(ManifestError::PayloadSize { files: 3, payload: 4 })
    );
}

#[test]
fn a_head_that_cannot_be_is_refused() {
    assert_eq!(Manifest::parse(b"{}".to_vec()), Err(ManifestError::NotManifest));
    let mut later = raw(&[], 0);
    later[8] = 2;
    let version = ManifestError::Version { found: 2, supported: 1 };
    assert_eq!(Manifest::parse(later), Err(version));
    let mut many = raw(&[], 0);
    many[12..16].copy_from_slice(&(MAX_ENTRIES + 1).to_le_bytes());
    let count = MAX_ENTRIES + 1;
    assert_eq!(Manifest::parse(many.clone()), Err(ManifestError::TooManyEntries { count }));
    many[12..16].copy_from_slice(&MAX_ENTRIES.to_le_bytes());
    assert_eq!(Manifest::parse(many), Err(ManifestError::Truncated { entries: 0 }));
    for chunk_size in [0, 1, MIN_CHUNK_SIZE + 1, u32::MAX] {
        let mut bytes = raw(&[], 0);
        bytes[24..28].copy_from_slice(&chunk_size.to_le_bytes());
        assert!(matches!(Manifest::parse(bytes), Err(ManifestError::Payload(_))));
    }
    let large = (u64::from(MAX_CHUNKS) + 1) * u64::from(MIN_CHUNK_SIZE);
    let refused = Manifest::parse(raw(&[(2, b"a", &file(large))], large));
    assert!(matches!(refused, Err(ManifestError::Payload(_))));
}

#[test]
fn an_error_names_the_path_escaped_and_not_at_length() {
    let path = [b"\x1b[2J\n".as_slice(), &[b'a'; 245], b"/", &[b'b'; 200], b"/../x"].concat();
    let text = Manifest::parse(raw(&[(1, &path, b"")], 0)).expect_err("refused").to_string();
    assert!(text.starts_with("\"\\u{1b}[2J\\naaa") && text.len() < 400, "{text}");
}

#[test]
fn links_that_may_lead_outside_are_named() {
    let links: [(&[u8], &[u8], bool); 16] = [
        (b"a", b"b", true),
        (b"a", b"missing/deep", true),
        (b"a", b"./d/e/../..", true),
        (b"a", b"/etc/passwd", false),
        (b"a", b"..", false),
        (b"a", b"../x", false),
        (b"a", b"d/../../x", false),
        (b"a", b"missing/..", false),
        (b"d/a", b"..", true),
        (b"d/a", b"../d", true),
        (b"d/a", b"../..", false),
        (b"d/e/a", b"../../b", true),
        (b"d/e/a", b"../../../b", false),
        // Behind a link to the top, `..` is above it.
        (b"a", b"d/top/..", false),
        (b"a", b"d/top/../b", false),
        (b"a", b"d/top/b", true),
    ];
    for (path, target, stays) in links {
        let mut builder = ManifestBuilder::default();
        builder.directory(b"d");
        builder.directory(b"d/e");
        builder.link(b"d/top", b"..");
        builder.link(path, target);
        let manifest = builder.finish(payload(0), hash_of(b"")).expect("valid");
        let outside: Vec<_> = manifest.links_to_outside().map(|entry| entry.path).collect();
        let text = target.escape_ascii();
        assert_eq!(outside.is_empty(), stays, "{} -> {text}", path.escape_ascii());
    }
}

/// Contents of a tree by path: of a file its size, of a link its target.
fn trees() -> impl Strategy<Value = BTreeMap<Vec<u8>, (u8, u64, Vec<u8>)>> {
    let name = prop::collection::vec(prop::sample::select(b"ab-.\xffZ".to_vec()), 1..4);
    let name = name.prop_filter("not a dot component", |name| {
        name.as_slice() != b"." && name.as_slice() != b".."
    });
    let path = prop::collection::vec(name, 1..4);
    let entry = (path, 1u8..=4, 0u64..5, prop::collection::vec(1u8..255, 1..5));
    prop::collection::vec(entry, 0..12).prop_map(|entries| {
        let mut tree = BTreeMap::new();
        for (path, kind, size, target) in entries {
            let blocked = (1..path.len()).any(|len| {
                let above = tree.get(&path[..len].join(&b'/'));
                above.is_some_and(|(kind, ..): &(u8, u64, Vec<u8>)| *kind != 1)
            });
            if blocked || tree.contains_key(&path.join(&b'/')) {
                continue;
            }
            for len in 1..path.len() {
                tree.insert(path[..len].join(&b'/'), (1, 0, Vec::new()));
            }
            tree.insert(path.join(&b'/'), (kind, size, target));
        }
        tree
    })
}

fn build(tree: &BTreeMap<Vec<u8>, (u8, u64, Vec<u8>)>, backwards: bool) -> Manifest {
    let mut builder = ManifestBuilder::default();
    let mut entries: Vec<_> = tree.iter().collect();
    if backwards {
        entries.reverse();
    }
    let mut sum = 0;
    for (path, (kind, size, target)) in entries {
        match kind {
            1 => builder.directory(path),
            4 => builder.link(path, target),
            kind => {
                let bytes = vec![b'x'; usize::try_from(*size).expect("valid")];
                builder.file(path, *size, hash_of(&bytes), *kind == 3);
                sum += size;
            }
        }
    }
    builder.finish(payload(sum), hash_of(b"any")).expect("valid")
}

proptest! {
    #[test]
    fn a_manifest_says_what_was_put_in_whatever_the_order(tree in trees()) {
        let manifest = build(&tree, false);
        prop_assert_eq!(&build(&tree, true), &manifest);
        prop_assert_eq!(&Manifest::parse(manifest.bytes().to_vec()), &Ok(manifest.clone()));
        let read: BTreeMap<Vec<u8>, (u8, u64, Vec<u8>)> = manifest
            .entries()
            .map(|entry| {
                let what = match entry.kind {
                    EntryKind::Directory => (1, 0, Vec::new()),
                    EntryKind::File { size, is_executable, .. } => {
                        (if is_executable { 3 } else { 2 }, size, Vec::new())
                    }
                    EntryKind::Link { target } => (4, 0, target.to_vec()),
                };
                (entry.path.to_vec(), what)
            })
            .collect();
        let expected = tree.into_iter().map(|(path, (kind, size, target))| {
            let is_file = kind == 2 || kind == 3;
            let target = if kind == 4 { target } else { Vec::new() };
            (path, (kind, if is_file { size } else { 0 }, target))
        });
        prop_assert_eq!(read, expected.collect());
    }

    /// Against the plainest way: path by path, in both.
    #[test]
    fn trees_differ_where_their_entries_do(one in trees(), other in trees()) {
        let (expected, found) = (build(&one, false), build(&other, false));
        let mut paths: Vec<_> = one.keys().chain(other.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        let plain = paths.into_iter().filter_map(|path| {
            let kind = match (expected.find(path), found.find(path)) {
                (Some(a), Some(b)) if a == b => return None,
                (None, _) => DifferenceKind::Extra,
                (_, None) => DifferenceKind::Missing,
                (Some(_), Some(_)) => match (&one[path], &other[path]) {
                    ((4, ..), (4, ..)) => DifferenceKind::Target,
                    ((2 | 3, size, _), (2 | 3, other, _)) if size == other => DifferenceKind::Mode,
                    ((2 | 3, ..), (2 | 3, ..)) => DifferenceKind::Content,
                    _ => DifferenceKind::Kind,
                },
            };
            Some(Difference { path, kind })
        });
        let plain: Vec<Difference<'_>> = plain.collect();
        prop_assert_eq!(expected.differences(&found).collect::<Vec<_>>(), plain);
        prop_assert_eq!(expected.differences(&expected).count(), 0);
    }

    #[test]
    fn a_manifest_in_chunks_of_another_size_is_as_if_built_so(tree in trees()) {
        let (manifest, size) = (build(&tree, false), ChunkSize::new(1 << 20).expect("valid"));
        let mut cut = manifest.clone();
        cut.set_chunk_size(size).expect("fewer chunks");
        prop_assert_eq!(&Manifest::parse(cut.bytes().to_vec()), &Ok(cut.clone()));
        prop_assert_eq!(cut.payload().chunk_size(), size);
        prop_assert_eq!(manifest.differences(&cut).count(), 0);
        cut.set_chunk_size(manifest.payload().chunk_size()).expect("as before");
        prop_assert_eq!(cut, manifest);
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused(tree in trees(), more in 1usize..5) {
        let bytes = build(&tree, false).bytes().to_vec();
        for len in 0..bytes.len() {
            prop_assert!(Manifest::parse(bytes[..len].to_vec()).is_err());
        }
        let longer = [&bytes[..], &vec![1; more]].concat();
        let trailing = ManifestError::TrailingBytes { len: more };
        prop_assert_eq!(Manifest::parse(longer), Err(trailing));
    }

    /// Whatever is accepted is canonical: to build it anew from its entries gives the same bytes.
    #[test]
    fn nothing_but_canonical_bytes_is_accepted(
        tree in trees(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = build(&tree, false).bytes().to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(manifest) = Manifest::parse(bytes.clone()) {
            let mut builder = ManifestBuilder::default();
            for Entry { path, kind } in manifest.entries() {
                match kind {
                    EntryKind::Directory => builder.directory(path),
                    EntryKind::File { size, hash, is_executable } => {
                        builder.file(path, size, hash, is_executable);
                    }
                    EntryKind::Link { target } => builder.link(path, target),
                }
            }
            let again = builder.finish(*manifest.payload(), manifest.payload_hash()).expect("valid");
            prop_assert_eq!(again.bytes(), &bytes[..]);
        }
    }
}
