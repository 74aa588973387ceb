//! What was typed together with what the config file says: for each setting its value and where
//! that comes from. A flag wins over the environment, that over the file, that over the default.

use std::collections::BTreeMap;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tnet_fileinfo::shown;

use super::file::{ConfigFile, Found, SETTINGS, Setting};
use super::typed::{Cli, Command};
use crate::failure::Failure;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The flag with this name.
    Flag(String),
    /// The environment variable with this name.
    Environment(&'static str),
    /// This line of the config file, as `path:line`.
    File(String),
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File(place) => f.write_str(place),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Every setting's sources.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// By the name of the argument.
    typed: BTreeMap<&'static str, Typed>,
    pub(crate) file: ConfigFile,
    /// What the user should know about the files that were looked for.
    pub(crate) notes: Vec<String>,
}

/// A value that a flag or the environment gave.
#[derive(Debug, Clone)]
struct Typed {
    text: String,
    is_from_environment: bool,
}

impl Merged {
    /// Merges a parsed command line with the config file.
    ///
    /// # Errors
    /// The file cannot be understood, or was named and cannot be read.
    pub(crate) fn new(cli: &Cli, matches: &ArgMatches) -> Result<Self, Failure> {
        // A detached server got all settings as arguments from the process that started it.
        if matches!(&cli.command, Command::StartServer(args) if args.detached) {
            return Ok(Self::default());
        }
        let Found { file, notes } = ConfigFile::find(cli.global.config.as_deref())?;
        Ok(Self { typed: typed(matches), file, notes })
    }

    /// Names of the arguments that were typed or in the environment.
    pub(crate) fn typed_arguments(&self) -> impl Iterator<Item = &'static str> {
        self.typed.keys().copied()
    }

    /// The text of a setting; none if the default holds.
    pub(crate) fn value(&self, setting: &Setting) -> (Option<&str>, Origin) {
        if let Some(typed) = self.typed.get(setting.argument) {
            let origin = match setting.variable {
                Some(variable) if typed.is_from_environment => Origin::Environment(variable),
                _ => Origin::Flag(setting.argument.replace('_', "-")),
            };
            return (Some(&typed.text), origin);
        }
        match self.file.get(setting.key) {
            Some(written) => (Some(&written.text), Origin::File(self.file.place(written.line))),
            None => (None, Origin::Default),
        }
    }
}

fn typed(matches: &ArgMatches) -> BTreeMap<&'static str, Typed> {
    let mut innermost = matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    let of_argument = |argument: &'static str| {
        // Asking the parser for an argument that this command does not have is an error.
        innermost.try_contains_id(argument).ok()?;
        let is_from_environment = match innermost.value_source(argument)? {
            ValueSource::CommandLine => false,
            ValueSource::EnvVariable => true,
            _ => return None,
        };
        let text = shown(innermost.get_raw(argument)?.next()?).to_string();
        Some((argument, Typed { text, is_from_environment }))
    };
    SETTINGS.iter().filter_map(|setting| of_argument(setting.argument)).collect()
}
