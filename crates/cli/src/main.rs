//! The `tnet` command: reads arguments, calls the libraries, shows what happens, and ends with a
//! code that says how it went. Nothing is decided here that an embedder of the libraries would need
//! too.

mod args;
mod background;
mod command;
mod descriptors;
mod duration;
mod exit;
mod log_fields;
mod logging;
mod memory;
mod preferences;
mod process_end;
mod reload;
mod render;
mod service;
mod settings;
mod settings_file;
mod signals;
mod usage;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use args::Cli;
use exit::{Exit, Failure};
use render::Output;
use render::output::Flags;

/// How long work in the background that nobody waits for any more, such as hashing a file, may hold
/// up the end.
const LAST_WORK: Duration = Duration::from_millis(500);

/// Gives memory back to the system after a crowd has left, which the C library's does not:
/// docs/adr/022.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    descriptors::raise_limit();
    let definition = preferences::without_empty_variables(Cli::command());
    let parsed = definition.try_get_matches().and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, matches))
    });
    let exit = match parsed {
        Ok((cli, matches)) => run(cli, &matches),
        Err(error) => complain(&error),
    };
    ExitCode::from(exit.code())
}

fn run(mut cli: Cli, matches: &ArgMatches) -> Exit {
    let output = Output::new(Flags {
        json: cli.global.json,
        quiet: cli.global.quiet,
        verbose: cli.global.verbose > 0,
    });
    let name = cli.command.name();
    match preferences::apply(&mut cli, matches) {
        Ok(notes) => notes.iter().for_each(|note| output.note(note)),
        Err(failure) => return output.result(name, Err(failure)),
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output
                .result(name, Err(Failure::new(Exit::Other, format!("cannot start: {error}"))));
        }
    };
    let result = runtime.block_on(command::run(cli, output));
    let exit = output.result(name, result);
    runtime.shutdown_timeout(LAST_WORK);
    exit
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

/// Help that was asked for, or an argument that makes no sense.
fn complain(error: &clap::Error) -> Exit {
    // In all of this: whoever read through a pipe may have seen enough.
    let message = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return render::output::print_help(error);
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = writeln!(io::stderr(), "{}", Cli::command().render_help());
            "no command was given; `tnet demo` is a good first one".to_owned()
        }
        _ => usage::one_line(&error.to_string()),
    };
    let failure = Failure::new(Exit::Usage, message);
    // The last line is the result, also where the flag that says so came with others that cannot be
    // read.
    let json = std::env::args_os().any(|argument| argument == "--json");
    let output = Output::new(Flags { json, quiet: false, verbose: false });
    output.result("", Err(failure))
}
