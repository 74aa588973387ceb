//! The `tnet` command: reads arguments, calls the libraries, shows what happens, and ends with an
//! exit code. What an embedder would need, too, is in the libraries.

mod background;
mod command;
mod config;
mod context;
mod duration;
mod error_fields;
mod exit;
mod failure;
mod local_peer;
mod log_fields;
mod logging;
mod memory;
mod render;
mod rlimit;
mod service;
mod signals;
mod usage;
mod wait_for_exit;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use config::typed::{self, Cli};
use config::{Config, Merged};
use exit::Exit;
use failure::Failure;
use render::Output;
use render::output::Flags;

/// How long abandoned background work, such as hashing a file, may delay the end.
const LAST_WORK: Duration = Duration::from_millis(500);

/// Returns memory to the system after many peers have left, which the C library's allocator does
/// not: docs/adr/022.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    rlimit::raise_limit();
    let parsed = typed::definition().try_get_matches().and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, matches))
    });
    let exit = match parsed {
        Ok((cli, matches)) => run(cli, &matches),
        Err(error) => complain(&error),
    };
    ExitCode::from(exit.code())
}

fn run(cli: Cli, matches: &ArgMatches) -> Exit {
    let output = Output::new(Flags {
        json: cli.global.json,
        quiet: cli.global.quiet,
        verbose: cli.global.verbose > 0,
    });
    let name = cli.command.name();
    let result = resolve(&cli, matches, output).and_then(|config| {
        let runtime = runtime()
            .map_err(|error| Failure::new(Exit::Other, format!("cannot start: {error}")))?;
        let result = runtime.block_on(command::run(cli.command, &config, output));
        // Before the runtime ends, which may take a moment: a script waits for this line.
        Ok((result, runtime))
    });
    match result {
        Ok((result, runtime)) => {
            let exit = output.result(name, result);
            runtime.shutdown_timeout(LAST_WORK);
            exit
        }
        Err(failure) => output.result(name, Err(failure)),
    }
}

fn resolve(cli: &Cli, matches: &ArgMatches, output: Output) -> Result<Config, Failure> {
    let merged = Merged::new(cli, matches)?;
    let config = Config::resolve(cli, merged)?;
    config.merged.notes.iter().for_each(|note| output.note(note));
    Ok(config)
}

/// Sockets are served by one thread on a small machine; hashing and the disk have threads of their
/// own everywhere. Two would mostly wake each other up: 16 receivers at 100 Mbit/s take 8.4 CPU
/// seconds per GiB with two, 7.5 with one, and one receiver without a limit is as fast.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = match cores {
        ..=4 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// Prints requested help, or reports a command line that cannot be understood.
fn complain(error: &clap::Error) -> Exit {
    // A closed pipe is no error in any of this.
    let failure = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return render::output::print_help(error);
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = writeln!(io::stderr(), "{}", Cli::command().render_help());
            Failure::new(Exit::Usage, "no command was given")
                .or_hint("`tnet demo` is a good first one")
        }
        _ => usage::failure(error, std::env::args_os()),
    };
    // The last line is the result, also if other arguments beside --json cannot be parsed.
    let json = std::env::args_os().any(|argument| argument == "--json");
    let output = Output::new(Flags { json, quiet: false, verbose: false });
    output.result("", Err(failure))
}
