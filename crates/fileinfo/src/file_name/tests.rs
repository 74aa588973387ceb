//! Every name that must not pass, with the reason it is refused for, and the odd ones that must.

use proptest::prelude::*;

use super::*;
use FileNameFault::*;

#[test]
fn a_name_that_is_not_one_plain_component_is_refused_for_its_reason() {
    let long = "a".repeat(256);
    let wide = "é".repeat(128);
    let table: &[(&str, FileNameFault)] = &[
        ("", Empty),
        (".", Directory),
        ("..", Directory),
        ("/", Separator),
        ("//", Separator),
        ("/etc/passwd", Separator),
        ("../escape", Separator),
        ("..\\escape", Separator),
        ("a/b", Separator),
        ("a/", Separator),
        ("./a", Separator),
        ("a/../b", Separator),
        ("\\", Separator),
        ("\\\\server\\share", Separator),
        ("\\\\?\\C:\\a", Separator),
        ("C:", Colon),
        ("C:a", Colon),
        ("c:\\a", Colon),
        ("a:stream", Colon),
        ("a::$DATA", Colon),
        (":", Colon),
        ("\0", Control),
        ("a\0", Control),
        ("a\0.txt", Control),
        ("a\nb", Control),
        ("a\rb", Control),
        ("a\tb", Control),
        ("\u{1b}[2J", Control),
        ("a\u{7f}", Control),
        ("a\u{85}b", Control),
        ("a\u{9b}b", Control),
        ("a\u{2028}b", Control),
        ("a\u{2029}b", Control),
        ("gpj.\u{202e}exe", Reordering),
        ("a\u{202a}", Reordering),
        ("a\u{202b}", Reordering),
        ("a\u{202d}", Reordering),
        ("a\u{2066}", Reordering),
        ("a\u{2069}", Reordering),
        ("a.", TrailingDotOrSpace),
        ("a...", TrailingDotOrSpace),
        ("a ", TrailingDotOrSpace),
        ("a. ", TrailingDotOrSpace),
        ("a .", TrailingDotOrSpace),
        ("...", TrailingDotOrSpace),
        (". ", TrailingDotOrSpace),
        (" ", TrailingDotOrSpace),
        ("CON", Device),
        ("con", Device),
        ("Prn", Device),
        ("AUX", Device),
        ("NUL", Device),
        ("nul.txt", Device),
        ("nul.tar.gz", Device),
        ("nul .txt", Device),
        ("COM0", Device),
        ("COM1", Device),
        ("com9.log", Device),
        ("COM\u{b9}", Device),
        ("lpt\u{b3}.txt", Device),
        ("LPT1", Device),
        ("CONIN$", Device),
        ("conout$", Device),
        (&long, TooLong),
        (&wide, TooLong),
    ];
    assert!(table.len() >= 60);
    for (name, fault) in table {
        assert_eq!(FileName::new(name).map_err(|error| error.fault()), Err(*fault), "{name:?}");
    }
}

#[test]
fn unusual_but_honest_names_pass() {
    let long = "a".repeat(255);
    let names = [
        "a",
        ".bashrc",
        "..a",
        "a..b",
        "-rf",
        "~",
        "a b",
        " a",
        "100%",
        "$HOME",
        "*",
        "what?.iso",
        "CONSOLE",
        "con1",
        "COM",
        "COM10",
        "COMA",
        "xCON",
        "null",
        "debian-12.5.0-amd64.iso",
        "é",
        "e\u{301}",
        "日本語.img",
        "שלום",
        "👩\u{200d}👩",
        &long,
    ];
    for name in names {
        let accepted = FileName::new(name).map(|accepted| accepted.as_str() == name);
        assert_eq!(accepted, Ok(true), "{name:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_and_shown_escaped() {
    for bytes in [&b"\xff"[..], b"a\xc3", b"\xc0\xaf", b"\xed\xa0\x80"] {
        let error = FileName::from_bytes(bytes).expect_err("not UTF-8");
        assert_eq!(error.fault(), NotUtf8);
        assert!(error.to_string().contains("\\x"), "{error}");
    }
}

#[test]
fn the_error_names_the_reason_and_the_name_on_one_line() {
    let error = FileName::new("a\nb\u{202e}").expect_err("a control character");
    assert_eq!(
        error.to_string(),
        "file name \"a\\nb\\u{202e}\" refused: it contains a control character"
    );
}

#[test]
fn the_error_shows_only_the_beginning_of_an_endless_name() {
    let text = FileName::new(&"x".repeat(1 << 20)).expect_err("too long").to_string();
    assert!(text.len() < 200, "{} bytes", text.len());
    let text = FileName::from_bytes(&[0xff; 1 << 20]).expect_err("not UTF-8").to_string();
    assert!(text.len() < 200, "{} bytes", text.len());
}

proptest! {
    #[test]
    fn an_accepted_name_joined_to_a_directory_is_a_file_right_in_it(name in any::<String>()) {
        if let Ok(name) = FileName::new(&name) {
            let joined = std::path::Path::new("/dir").join(&name);
            prop_assert_eq!(joined.parent(), Some(std::path::Path::new("/dir")));
            prop_assert_eq!(joined.file_name(), Some(OsStr::new(name.as_str())));
        }
    }

    #[test]
    fn an_error_prints_nothing_that_moves_the_cursor(name in any::<Vec<u8>>()) {
        if let Err(error) = FileName::from_bytes(&name) {
            prop_assert!(!error.to_string().chars().any(char::is_control));
        }
    }
}
