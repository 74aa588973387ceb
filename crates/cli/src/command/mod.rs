//! One file for each command. A command returns its report or a failure; it neither exits nor
//! prints errors itself.

mod change;
mod config;
mod coordinator;
mod create;
mod create_tree;
mod demo;
mod description;
mod fileinfo;
mod generate;
mod get;
mod hashing;
mod kill_server;
mod ls;
mod share;
mod show;
mod start_server;
mod status;
mod verify;
mod verify_tree;
mod who;

use crate::config::Config;
use crate::config::typed::{Command, ConfigCommand};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::logging::{self, LogDefault};
use crate::render::Output;
use crate::render::output::Report;
use crate::signals::{self, Role};
use change::FileAction;

impl Command {
    /// The name as it is typed.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Create(_) => "create",
            Self::Show(_) => "show",
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
            Self::Share(_) => "share",
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
    fn log_default(&self) -> Option<LogDefault> {
        match self {
            Self::StartServer(args) if args.detached => None,
            Self::StartServer(args) if args.foreground => Some(LogDefault::Log),
            Self::Coordinator(_) => Some(LogDefault::Log),
            _ => Some(LogDefault::Else),
        }
    }
}

/// Runs a command.
pub(crate) async fn run(
    command: Command,
    config: &Config,
    output: Output,
) -> Result<Report, Failure> {
    if let Some(log_default) = command.log_default() {
        logging::to_stderr(log_default, config.verbose, config.quiet);
    }
    let signals = signals::listen(command.role()).map_err(|error| {
        Failure::new(Exit::Other, format!("cannot listen for signals: {error}"))
    })?;
    let context = &Context { output, stop: signals.stop.clone() };
    match command {
        Command::Demo(args) => Box::pin(demo::run(args, context)).await,
        Command::Create(args) => create::run(args, context).await,
        Command::Show(args) => show::run(args, context).await,
        Command::Verify(args) => verify::run(args, context).await,
        Command::Coordinator(_) => coordinator::run(config, context, signals).await,
        Command::StartServer(args) => {
            Box::pin(start_server::run(args, config, context, signals)).await
        }
        Command::Get(args) => Box::pin(get::run(args, config, context)).await,
        Command::Who(args) => unless_stopped(context, who::run(args, config, context)).await,
        Command::Status(args) => status::run(args, config, context).await,
        Command::Ls => unless_stopped(context, ls::run(config, context)).await,
        Command::Limit(args) => unless_stopped(context, change::limit(args, config, context)).await,
        Command::Pause(files) => {
            unless_stopped(context, change::apply(files, FileAction::Pause, config, context)).await
        }
        Command::Resume(files) => {
            unless_stopped(context, change::apply(files, FileAction::Resume, config, context)).await
        }
        Command::Priority(args) => {
            let action = FileAction::Priority(args.level);
            unless_stopped(context, change::apply(args.files, action, config, context)).await
        }
        Command::Share(args) => Box::pin(share::run(args, config, context)).await,
        Command::Rm(files) => {
            unless_stopped(context, change::apply(files, FileAction::Remove, config, context)).await
        }
        Command::Completions { shell } => Ok(generate::completions(shell, output)),
        Command::Man { dir } => generate::man(&dir, output),
        Command::Config { command } => {
            config::run(command.unwrap_or(ConfigCommand::Show), config, context)
        }
        Command::KillServer => kill_server::run(config, context).await,
    }
}

/// Runs a command that leaves nothing behind when it is dropped in the middle.
async fn unless_stopped(
    context: &Context,
    command: impl Future<Output = Result<Report, Failure>>,
) -> Result<Report, Failure> {
    context
        .stop
        .run_until_cancelled(command)
        .await
        .unwrap_or_else(|| Err(Failure::interrupted("interrupted")))
}
