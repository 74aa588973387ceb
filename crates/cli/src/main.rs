//! The `tnet` command: reads arguments, calls the libraries, shows what happens, and ends with a code that says how it
//! went. Nothing is decided here that an embedder of the libraries would need too.

mod args;
mod background;
mod command;
mod duration;
mod exit;
mod logging;
mod process_end;
mod render;
mod settings;
mod signals;
mod usage;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use args::Cli;
use exit::{Exit, Failure};
use render::Output;
use render::output::Flags;

/// How long work in the background that nobody waits for any more, such as hashing a file, may hold up the end.
const LAST_WORK: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) => complain(&error),
    };
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> Exit {
    let output = Output::new(Flags {
        json: cli.global.json,
        quiet: cli.global.quiet,
        verbose: cli.global.verbose > 0,
    });
    let name = cli.command.name();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output.result(name, Err(Failure::new(Exit::Other, format!("cannot start: {error}"))));
        }
    };
    let result = runtime.block_on(command::run(cli, output));
    let exit = output.result(name, result);
    runtime.shutdown_timeout(LAST_WORK);
    exit
}

/// Help that was asked for, or an argument that makes no sense.
fn complain(error: &clap::Error) -> Exit {
    // In all of this: whoever read through a pipe may have seen enough.
    let message = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return Exit::Ok;
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = writeln!(io::stderr(), "{}", Cli::command().render_help());
            "no command was given; `tnet demo` is a good first one".to_owned()
        }
        _ => usage::one_line(&error.to_string()),
    };
    let failure = Failure::new(Exit::Usage, message);
    // The last line is the result, also where the flag that says so came with others that cannot be read.
    let json = std::env::args_os().any(|argument| argument == "--json");
    let output = Output::new(Flags { json, quiet: false, verbose: false });
    output.result("", Err(failure))
}
