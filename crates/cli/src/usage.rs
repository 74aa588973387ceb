//! What is wrong with a command line, in one line: the cause, then where to read how it is written.

/// The message of the argument parser, which speaks in paragraphs.
pub(crate) fn one_line(message: &str) -> String {
    let mut paragraphs = message.split("\n\n").map(joined);
    let cause = paragraphs.next().unwrap_or_default();
    let cause = cause.trim_start_matches("error: ").to_owned();
    let (mut tip, mut command) = (None, "tnet".to_owned());
    for paragraph in paragraphs {
        if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            command = words_of_command(usage);
        } else if let Some(text) =
            paragraph.strip_prefix("tip: ").filter(|text| text.contains("similar"))
        {
            // The other kind explains how to pass such a thing as a value, which nobody wanted.
            tip = Some(text.to_owned());
        }
    }
    let tip = tip.map(|tip| format!("; {tip}")).unwrap_or_default();
    format!("{cause}{tip}; see `{command} --help`")
}

/// One line of several.
fn joined(paragraph: &str) -> String {
    let lines: Vec<&str> =
        paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// `tnet get` of `tnet get [OPTIONS] <FILE>`.
fn words_of_command(usage: &str) -> String {
    let is_word = |word: &&str| {
        word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
    };
    let words: Vec<&str> = usage.split(' ').take_while(is_word).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn complaint(line: &str) -> String {
        let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
        one_line(&error.to_string())
    }

    #[test]
    fn a_mistake_is_told_in_one_line_that_names_the_help() {
        for (line, told) in [
            (
                "tnet get --frobnicate x",
                "unexpected argument '--frobnicate' found; see `tnet get --help`",
            ),
            (
                "tnet verfy",
                "unrecognized subcommand 'verfy'; a similar subcommand exists: 'verify'; see `tnet --help`",
            ),
            (
                "tnet verify a",
                "the following required arguments were not provided: <FILEINFO>; see `tnet verify --help`",
            ),
        ] {
            assert_eq!(complaint(line), told);
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_is_told_with_how_it_is_written() {
        let told = complaint("tnet get x --timeout soon");
        assert!(told.contains("'soon'") && told.contains("write it like 10s"), "{told}");
        let told = complaint("tnet create x --chunk-size 3K");
        assert!(told.contains("power of two"), "{told}");
        let told = complaint("tnet ls --listen nowhere");
        assert!(told.contains("0.0.0.0:7401"), "{told}");
    }
}
