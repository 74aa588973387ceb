//! What holds of a command line: its flags, then the environment, then the file of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tnet_fileinfo::shown;
use tnet_peer::parse_listen;

use crate::args::{
    Bounds, Cli, Command, parse_limit, parse_max_peers, parse_memory, parse_networks,
};
use crate::exit::Failure;
use crate::settings_file::{Found, SETTINGS, SettingsFile};

/// A value that a flag or the environment gave.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) from_environment: bool,
}

/// By the name of the argument.
pub(crate) type AllGiven = BTreeMap<&'static str, Given>;

/// The command line, for which a variable that is empty is not set.
pub(crate) fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |argument: &clap::Arg| {
        let variable = argument.get_env().and_then(std::env::var_os);
        variable.is_some_and(|value| value.is_empty())
    };
    let empty: Vec<clap::Id> = command
        .get_arguments()
        .filter(|argument| is_empty(argument))
        .map(|arg| arg.get_id().clone())
        .collect();
    empty
        .into_iter()
        .fold(command, |command, id| command.mut_arg(id, |argument| argument.env(None::<&str>)))
}

/// Fills in what the file of settings says where the user said nothing. Answers what there is to
/// note.
pub(crate) fn apply(cli: &mut Cli, matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    // The one that was started in the background was told everything by the one that the user
    // started.
    if matches!(&cli.command, Command::StartServer(args) if args.detached) {
        return Ok(Vec::new());
    }
    let Found { file, notes } = SettingsFile::find(cli.global.config.as_deref())?;
    let text = |key: &str| file.get(key).map(|written| written.text.clone());
    let of_file = Bounds {
        limit_up: file.parsed("limit-up", parse_limit)?,
        limit_down: file.parsed("limit-down", parse_limit)?,
        max_peers: file.parsed("max-peers", parse_max_peers)?,
    };
    let (listen, listen_of_coordinator) =
        (file.parsed("listen", parse_listen)?, file.parsed("coordinator-listen", parse_listen)?);
    let advertise = file.parsed("advertise", str::parse)?;
    let networks = file.parsed("allow-advertise", parse_networks)?;
    let memory = file.parsed("coordinator-memory", parse_memory)?;
    let dir = text("dir").map(PathBuf::from);
    let global = &mut cli.global;
    global.given = given(matches).into();
    global.coordinator = global.coordinator.take().or_else(|| text("coordinator"));
    global.state_dir = global.state_dir.take().or_else(|| text("state-dir").map(PathBuf::from));
    global.advertise = global.advertise.or(advertise);
    match &mut cli.command {
        Command::Coordinator(args) => {
            global.listen = global.listen.or(listen_of_coordinator);
            args.memory = args.memory.or(memory);
            if args.allow_advertise.is_empty() {
                args.allow_advertise = networks.unwrap_or_default();
            }
        }
        Command::StartServer(args) => {
            global.listen = global.listen.or(listen);
            args.dir = args.dir.take().or_else(|| dir.clone());
            args.bounds = args.bounds.or(of_file);
        }
        // A server may have that port already, and nobody has to know the one of a download.
        Command::Get(args) if args.foreground => {}
        _ => global.listen = global.listen.or(listen),
    }
    global.bounds = of_file;
    global.dir = dir;
    global.file = Rc::new(file);
    Ok(notes)
}

fn given(matches: &ArgMatches) -> AllGiven {
    let mut innermost = matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    let of_argument = |argument: &'static str| {
        // Not every command has every argument, and clap does not like to be asked for others.
        innermost.try_contains_id(argument).ok()?;
        let from_environment = match innermost.value_source(argument)? {
            ValueSource::CommandLine => false,
            ValueSource::EnvVariable => true,
            _ => return None,
        };
        let text = shown(innermost.get_raw(argument)?.next()?).to_string();
        Some((argument, Given { text, from_environment }))
    };
    SETTINGS.iter().filter_map(|setting| of_argument(setting.argument)).collect()
}
