//! Any bytes as a `.fileinfo`: reading ends and allocates in proportion to them, and an accepted
//! file verifies and is the same when it is written and read again. An error is one line that no
//! input can make long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tnet_fileinfo::{Described, FileInfo, FileInfoError, root};
use tnet_fuzz::memory::counted;

/// Two digits make a byte; lists grow by doubling, and the parser copies what has escapes in it.
const GROWTH: usize = 8;

/// An error is made anew at each level of nesting, of which there are at most 128.
const ALWAYS: usize = 16 * 1024;

/// Of an error with all its causes: the longest repeats 64 characters of a name, each escaped.
const LONGEST_ERROR: usize = 1500;

fuzz_target!(|data: &[u8]| {
    let (parsed, allocated) = counted(|| Described::parse(data));
    assert!(
        allocated <= GROWTH * data.len() + ALWAYS,
        "{allocated} bytes allocated for {}",
        data.len()
    );
    match parsed {
        Ok(described) => check(&described),
        Err(error) => check_error(&error),
    }
});

fn check(described: &Described) {
    let info = described.info();
    assert_eq!(info.sums().len(), info.geometry().chunk_count() as usize);
    assert_eq!(root(info.geometry(), info.sums()), info.hash());
    let parts = (*info.geometry(), info.sums().to_vec(), info.tail().clone());
    let again = FileInfo::from_parts(info.name().cloned(), parts.0, parts.1, parts.2, info.hash());
    assert_eq!(again.ok().as_ref(), Some(info));
    let json = described.to_json();
    let read = Described::parse(json.as_bytes()).expect("what we wrote");
    assert_eq!(&read, described);
    assert_eq!(read.to_json(), json);
}

fn check_error(error: &FileInfoError) {
    let mut causes = vec![error as &dyn std::error::Error];
    while let Some(cause) = causes.last().and_then(|error| error.source()) {
        causes.push(cause);
    }
    let said: String = causes.iter().map(ToString::to_string).collect();
    assert!(said.len() <= LONGEST_ERROR, "{} bytes: {said}", said.len());
    assert!(!said.chars().any(char::is_control), "{said:?}");
}
