//! What is wrong with a command line, in one line: the cause, then where to read how it is written.
//! The words are made of the parser's structured error, never of its text.

use std::error::Error as _;
use std::ffi::OsString;
use std::fmt;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::typed::Cli;
use crate::exit::Exit;
use crate::failure::Failure;

/// What to say of a command line that cannot be understood.
pub(crate) fn failure(error: &clap::Error, args: impl IntoIterator<Item = OsString>) -> Failure {
    // What was typed may hold line ends.
    let failure = Failure::new(Exit::Usage, cause(error).replace(['\n', '\r'], " "));
    let failure = match similar(error) {
        Some(similar) => failure.and_hint(similar),
        None => failure,
    };
    failure.and_hint(format!("see `{} --help`", command_of(args)))
}

fn cause(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let number = |kind| match error.get(kind) {
        Some(ContextValue::Number(number)) => Some(*number),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg);
    let value = text(ContextKind::InvalidValue);
    let said = match (error.kind(), argument, value) {
        (ErrorKind::UnknownArgument, Some(argument), _) => {
            Some(format!("unexpected argument '{argument}' found"))
        }
        (ErrorKind::InvalidSubcommand, ..) => text(ContextKind::InvalidSubcommand)
            .map(|command| format!("unrecognized subcommand '{command}'")),
        (ErrorKind::InvalidValue, Some(argument), Some("")) => Some(format!(
            "a value is required for '{argument}' but none was supplied{}",
            Possible(error)
        )),
        (ErrorKind::InvalidValue, Some(argument), Some(value)) => {
            Some(format!("invalid value '{value}' for '{argument}'{}", Possible(error)))
        }
        (ErrorKind::ValueValidation, Some(argument), Some(value)) => {
            let why = error.source().map(|why| format!(": {why}")).unwrap_or_default();
            Some(format!("invalid value '{value}' for '{argument}'{why}"))
        }
        (ErrorKind::TooManyValues, Some(argument), Some(value)) => Some(format!(
            "unexpected value '{value}' for '{argument}' found; no more were expected"
        )),
        (ErrorKind::TooFewValues, Some(argument), _) => number(ContextKind::MinValues)
            .map(|least| format!("{least} values required by '{argument}'")),
        (ErrorKind::WrongNumberOfValues, Some(argument), _) => {
            number(ContextKind::ExpectedNumValues)
                .map(|expected| format!("{expected} values required for '{argument}'"))
        }
        (ErrorKind::NoEquals, Some(argument), _) => {
            Some(format!("equal sign is needed when assigning values to '{argument}'"))
        }
        (ErrorKind::ArgumentConflict, Some(argument), _) => Some(conflict(error, argument)),
        (ErrorKind::MissingRequiredArgument, ..) => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) => Some(format!(
                "the following required arguments were not provided: {}",
                missing.join(" ")
            )),
            _ => None,
        },
        _ => None,
    };
    said.unwrap_or_else(|| error.kind().to_string())
}

fn conflict(error: &clap::Error, argument: &str) -> String {
    match error.get(ContextKind::PriorArg) {
        Some(ContextValue::String(other)) if other == argument => {
            format!("the argument '{argument}' cannot be used multiple times")
        }
        Some(ContextValue::String(other)) => {
            format!("the argument '{argument}' cannot be used with '{other}'")
        }
        Some(ContextValue::Strings(others)) => {
            format!("the argument '{argument}' cannot be used with: {}", others.join(" "))
        }
        _ => format!("the argument '{argument}' cannot be used here"),
    }
}

/// The values that may stand there, if they are a list.
struct Possible<'a>(&'a clap::Error);

impl fmt::Display for Possible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) if !values.is_empty() => {
                write!(f, " [possible values: {}]", values.join(", "))
            }
            _ => Ok(()),
        }
    }
}

/// What was perhaps meant. The parser's other tips explain how to pass a flag as a value, which
/// does not help here.
fn similar(error: &clap::Error) -> Option<String> {
    let nouns = [
        (ContextKind::SuggestedSubcommand, "subcommand"),
        (ContextKind::SuggestedArg, "argument"),
        (ContextKind::SuggestedValue, "value"),
    ];
    nouns.into_iter().find_map(|(kind, noun)| match error.get(kind)? {
        ContextValue::String(one) => Some(format!("a similar {noun} exists: '{one}'")),
        ContextValue::Strings(several) => match several.as_slice() {
            [] => None,
            [one] => Some(format!("a similar {noun} exists: '{one}'")),
            several => {
                let quoted: Vec<String> = several.iter().map(|one| format!("'{one}'")).collect();
                Some(format!("some similar {noun}s exist: {}", quoted.join(", ")))
            }
        },
        _ => None,
    })
}

/// The command that was meant, with its subcommands, as far as the parser can tell: `tnet get`.
fn command_of(args: impl IntoIterator<Item = OsString>) -> String {
    let mut words = vec!["tnet".to_owned()];
    let lenient = Cli::command().ignore_errors(true).try_get_matches_from(args);
    if let Ok(matches) = lenient {
        let mut below = matches.subcommand();
        while let Some((name, matches)) = below {
            words.push(name.to_owned());
            below = matches.subcommand();
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn complaint(line: &str) -> String {
        let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
        failure(&error, line.split(' ').map(OsString::from)).message()
    }

    #[test]
    fn a_usage_error_is_one_line_that_names_the_help() {
        for (line, told) in [
            (
                "tnet get --frobnicate x",
                "unexpected argument '--frobnicate' found; see `tnet get --help`",
            ),
            (
                "tnet get x --overwrit",
                "unexpected argument '--overwrit' found; a similar argument exists: '--overwrite'; see `tnet get --help`",
            ),
            (
                "tnet verfy",
                "unrecognized subcommand 'verfy'; a similar subcommand exists: 'verify'; see `tnet --help`",
            ),
            (
                "tnet config shwo",
                "unrecognized subcommand 'shwo'; a similar subcommand exists: 'show'; see `tnet config --help`",
            ),
            (
                "tnet verify a",
                "the following required arguments were not provided: <FILEINFO>; see `tnet verify --help`",
            ),
            (
                "tnet verify",
                "the following required arguments were not provided: <PATH> <FILEINFO>; see `tnet verify --help`",
            ),
            (
                "tnet priority urgent a",
                "invalid value 'urgent' for '<LEVEL>' [possible values: low, normal, high]; see `tnet priority --help`",
            ),
            (
                "tnet demo a --size 1M",
                "the argument '[FILE]' cannot be used with '--size <SIZE>'; see `tnet demo --help`",
            ),
            (
                "tnet get a --timeout 1s --timeout 2s",
                "the argument '--timeout <DUR>' cannot be used multiple times; see `tnet get --help`",
            ),
            (
                "tnet get a -o",
                "a value is required for '--output <OUT>' but none was supplied; see `tnet get --help`",
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

    #[test]
    fn every_usage_error_of_this_command_line_has_words_of_its_own() {
        for line in ["tnet get --frobnicate", "tnet verfy", "tnet verify", "tnet get a -o"] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_ne!(cause(&error), error.kind().to_string(), "{line}");
        }
    }
}
