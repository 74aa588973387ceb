//! One file for each command. A command answers what it has to report, or why it failed; it neither exits nor prints
//! errors itself.

mod coordinator;
mod create;
mod demo;
mod fileinfo;
mod get;
mod kill_server;
mod ls;
mod peer;
pub(crate) use peer::OnTaken;
mod start_server;
mod status;
mod verify;
mod who;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::logging::{self, Talk};
use crate::render::Output;
use crate::render::output::Report;
use crate::signals;

impl Command {
    /// As it is typed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Create(_) => "create",
            Self::Verify(_) => "verify",
            Self::Coordinator => "coordinator",
            Self::StartServer(_) => "start-server",
            Self::Get(_) => "get",
            Self::Who(_) => "who",
            Self::Status => "status",
            Self::Ls => "ls",
            Self::KillServer => "kill-server",
        }
    }

    /// A detached server logs to its file, which it opens itself.
    fn talk(&self) -> Option<Talk> {
        match self {
            Self::StartServer(args) if args.detached => None,
            Self::StartServer(args) if args.foreground => Some(Talk::Log),
            Self::Coordinator => Some(Talk::Log),
            _ => Some(Talk::Else),
        }
    }
}

/// Does what the command line says.
pub(crate) async fn run(cli: Cli, output: Output) -> Result<Report, Failure> {
    let Cli { command, global } = cli;
    if let Some(talk) = command.talk() {
        logging::to_stderr(talk, global.verbose, global.quiet);
    }
    let stop = signals::listen()
        .map_err(|error| Failure::new(Exit::Other, format!("cannot listen for signals: {error}")))?;
    match command {
        Command::Demo(args) => Box::pin(demo::run(args, output, stop)).await,
        Command::Create(args) => create::run(args, output, stop).await,
        Command::Verify(args) => verify::run(args, output, stop).await,
        Command::Coordinator => coordinator::run(&global, output, stop).await,
        Command::StartServer(args) => Box::pin(start_server::run(args, &global, output, stop)).await,
        Command::Get(args) => Box::pin(get::run(args, &global, output, stop)).await,
        Command::Who(args) => who::run(args, &global, output).await,
        Command::Status => status::run(&global, output).await,
        Command::Ls => ls::run(&global, output).await,
        Command::KillServer => kill_server::run(&global, output, stop).await,
    }
}
