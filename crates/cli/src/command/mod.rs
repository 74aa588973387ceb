//! One file for each command. A command answers what it has to report, or why it failed; it neither
//! exits nor prints errors itself.

mod change;
mod config;
mod coordinator;
mod create;
mod demo;
mod fileinfo;
mod get;
mod kill_server;
mod ls;
mod papers;
mod peer;
pub(crate) use peer::OnTaken;
mod start_server;
mod status;
mod verify;
mod who;

use tokio_util::sync::CancellationToken;

use crate::args::{Cli, Command, ConfigCommand};
use crate::exit::{Exit, Failure};
use crate::logging::{self, Talk};
use crate::render::Output;
use crate::render::output::Report;
use crate::signals::{self, Role};
use change::Treatment;

impl Command {
    /// As it is typed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Create(_) => "create",
            Self::Verify(_) => "verify",
            Self::Coordinator(_) => "coordinator",
            Self::StartServer(_) => "start-server",
            Self::Get(_) => "get",
            Self::Who(_) => "who",
            Self::Status(_) => "status",
            Self::Ls => "ls",
            Self::Limit(_) => "limit",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Priority(_) => "priority",
            Self::Rm(_) => "rm",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
            Self::Config { .. } => "config",
            Self::KillServer => "kill-server",
        }
    }

    fn role(&self) -> Role {
        match self {
            Self::StartServer(args) if args.detached => Role::Detached,
            Self::StartServer(args) if args.foreground => Role::Service,
            Self::Coordinator(_) => Role::Service,
            _ => Role::Command,
        }
    }

    /// A detached server logs to its file, which it opens itself.
    fn talk(&self) -> Option<Talk> {
        match self {
            Self::StartServer(args) if args.detached => None,
            Self::StartServer(args) if args.foreground => Some(Talk::Log),
            Self::Coordinator(_) => Some(Talk::Log),
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
    let signals = signals::listen(command.role()).map_err(|error| {
        Failure::new(Exit::Other, format!("cannot listen for signals: {error}"))
    })?;
    let stop = signals.stop.clone();
    match command {
        Command::Demo(args) => Box::pin(demo::run(args, output, stop)).await,
        Command::Create(args) => create::run(args, output, stop).await,
        Command::Verify(args) => verify::run(args, output, stop).await,
        Command::Coordinator(args) => coordinator::run(&args, &global, output, signals).await,
        Command::StartServer(args) => {
            Box::pin(start_server::run(args, &global, output, signals)).await
        }
        Command::Get(args) => Box::pin(get::run(args, &global, output, stop)).await,
        Command::Who(args) => unless(&stop, who::run(args, &global, output)).await,
        Command::Status(args) => status::run(args, &global, output, stop).await,
        Command::Ls => unless(&stop, ls::run(&global, output)).await,
        Command::Limit(args) => unless(&stop, change::limit(args, &global, output)).await,
        Command::Pause(args) => {
            unless(&stop, change::treat(args, Treatment::Pause, &global, output)).await
        }
        Command::Resume(args) => {
            unless(&stop, change::treat(args, Treatment::Resume, &global, output)).await
        }
        Command::Priority(args) => {
            let treatment = Treatment::Priority(args.level);
            unless(&stop, change::treat(args.files, treatment, &global, output)).await
        }
        Command::Rm(args) => {
            unless(&stop, change::treat(args, Treatment::Remove, &global, output)).await
        }
        Command::Completions { shell } => Ok(papers::completions(shell, output)),
        Command::Man { dir } => papers::man(&dir, output),
        Command::Config { command } => {
            config::run(command.unwrap_or(ConfigCommand::Show), &global, output)
        }
        Command::KillServer => kill_server::run(&global, output, stop).await,
    }
}

/// What leaves nothing behind when it is ended in the middle.
async fn unless(
    stop: &CancellationToken,
    command: impl Future<Output = Result<Report, Failure>>,
) -> Result<Report, Failure> {
    stop.run_until_cancelled(command)
        .await
        .unwrap_or_else(|| Err(Failure::interrupted("interrupted")))
}
