//! Any bytes as a file name. An accepted name is one harmless path component: joined to a directory
//! it stays in it, and so do the names derived from it. A refused name is printed on one line,
//! escaped and shortened.

#![no_main]

use std::ffi::OsString;
use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use tnet_fileinfo::{FileInfo, FileName, FileNameError};
use tnet_fuzz::truth::TRUTHS;
use tnet_store::fuzzing::companions;

/// 64 characters, each escaped, and the reason.
const LONGEST_REFUSAL: usize = 64 * "\\u{10ffff}".len() + 128;

fuzz_target!(|data: &[u8]| {
    match FileName::from_bytes(data) {
        Ok(name) => {
            assert_eq!(name.as_str().as_bytes(), data);
            check_name(name.as_str());
            check_output(&name);
            check_described(&name);
        }
        Err(error) => check_refusal(data, &error),
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(FileName::new(text).ok(), FileName::from_bytes(data).ok());
        assert_eq!(text.parse::<FileName>().ok(), FileName::from_bytes(data).ok());
    }
});

/// Written independently of the tested code: what is safe on any file system and on a terminal.
fn check_name(name: &str) {
    assert!((1..=255).contains(&name.len()));
    assert!(!name.chars().any(is_harmful), "{name:?}");
    assert!(!name.contains(['/', '\\', ':']), "{name:?}");
    assert_eq!(name.trim_end_matches(['.', ' ']), name, "Windows would call it otherwise");
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ').to_uppercase();
    for device in ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"] {
        assert_ne!(stem, device);
    }
    for port in ["COM", "LPT"] {
        assert!(!"0123456789¹²³".chars().any(|digit| stem == format!("{port}{digit}")), "{name:?}");
    }
}

fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// As `tnet get` does it: the name in the directory of the user's choice.
fn check_output(name: &FileName) {
    let directory = Path::new("/");
    let out = std::path::absolute(directory.join(name)).expect("a path");
    assert_eq!(out.parent(), Some(directory));
    assert_eq!(out.file_name(), Some(name.as_str().as_ref()));
    let names = companions(&out).expect("the directory is there");
    let suffixes = ["", ".partial", ".partial.journal"];
    let expected = suffixes.map(|suffix| OsString::from(format!("{name}{suffix}")));
    assert_eq!(names, expected);
    for companion in names {
        let mut components = Path::new(&companion).components();
        assert_eq!(components.next(), Some(Component::Normal(&companion)));
        assert_eq!(components.next(), None);
    }
}

/// It comes through a `.fileinfo` as it is.
fn check_described(name: &FileName) {
    let info = TRUTHS[1].info().clone().with_name(Some(name.clone()));
    let read = FileInfo::parse(info.to_json().as_bytes()).expect("what we wrote");
    assert_eq!(read.name(), Some(name));
}

fn check_refusal(data: &[u8], error: &FileNameError) {
    let said = error.to_string();
    assert!(said.len() <= LONGEST_REFUSAL, "{} bytes for a name of {}", said.len(), data.len());
    assert!(!said.chars().any(is_harmful), "{said:?}");
}
