//! Any bytes as the manifest of a tree: reading ends and allocates in proportion to them; an
//! accepted manifest is canonical, none of its paths leads out of a directory, and each entry is
//! found again. An error is one line that no input can make long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tnet_fileinfo::tree::{Entry, EntryKind, Manifest, ManifestBuilder};
use tnet_fuzz::memory::counted;

/// Four bytes for where each entry begins, of which none is shorter than three; and an error.
const GROWTH: usize = 2;
const ALWAYS: usize = 16 * 1024;

/// 256 characters of up to four bytes of a path, and the rule.
const LONGEST_ERROR: usize = 1200;

fuzz_target!(|data: &[u8]| {
    let bytes = data.to_vec();
    let (parsed, allocated) = counted(|| Manifest::parse(bytes));
    assert!(
        allocated <= GROWTH * data.len() + ALWAYS,
        "{allocated} bytes allocated for {}",
        data.len()
    );
    match parsed {
        Ok(manifest) => check(&manifest, data),
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() <= LONGEST_ERROR, "{} bytes: {said}", said.len());
            assert!(!said.chars().any(char::is_control), "{said:?}");
        }
    }
});

fn check(manifest: &Manifest, data: &[u8]) {
    assert_eq!(manifest.bytes(), data);
    let mut builder = ManifestBuilder::default();
    let mut files = 0;
    for entry in manifest.entries() {
        assert_eq!(manifest.find(entry.path), Some(entry));
        let Entry { path, kind } = entry;
        for component in path.split(|byte| *byte == b'/') {
            assert!(!component.is_empty() && component != b"." && component != b"..");
            assert!(!component.contains(&0));
        }
        match kind {
            EntryKind::Directory => builder.directory(path),
            EntryKind::File { size, hash, is_executable } => {
                files += size;
                builder.file(path, size, hash, is_executable);
            }
            EntryKind::Link { target } => builder.link(path, target),
        }
    }
    assert_eq!(files, manifest.payload().size());
    let outside = manifest.links_to_outside().count();
    assert!(outside <= manifest.len());
    let again = builder.finish(*manifest.payload(), manifest.payload_hash());
    assert_eq!(again.as_ref().map(Manifest::bytes), Ok(data));
}
