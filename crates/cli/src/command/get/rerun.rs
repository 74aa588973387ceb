//! The command that continues an interrupted download.

use tnet_fileinfo::shown;

/// This command line, quoted for a shell.
pub(super) fn same_command() -> String {
    let words: Vec<String> =
        std::env::args_os().map(|word| quoted(&shown(&word).to_string())).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_as_a_shell_reads_it() {
        for (word, shown) in [
            ("get", "get"),
            ("/srv/a.iso", "/srv/a.iso"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
