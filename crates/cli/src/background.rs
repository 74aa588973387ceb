//! A server in the background: this program once more, in a session of its own, with its log in the
//! state directory. It keeps nothing of whoever starts it: no descriptor, directory, terminal,
//! umask, ignored signal, and of the environment only what says who and where the user is. Whoever
//! starts it waits, for a bounded time, until it answers or says why it cannot.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::Mode;
use serde::Deserialize;
use tnet_control::{Client, ConnectError, FaultKind, Hello, make_state_dir};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::args::{Bounds, Global};
use crate::command::OnTaken;
use crate::exit::{Exit, Failure, file_failure};
use crate::logging::{self, LOG_NAME};
use crate::render::Output;
use crate::render::units::shown_path;
use crate::settings;

/// How long the new server may take until it answers. It looks up its coordinator and looks through
/// its directory once.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The first descriptor that is none of the three that every process has.
const FIRST_TO_CLOSE: i32 = 3;

/// Bytes of what the new server says of its start.
const MAX_WORDS: u64 = 64 * 1024;

/// What the server is to do.
pub(crate) struct Launch {
    /// Shares it; absolute.
    pub(crate) dir: Option<PathBuf>,
    /// Absolute.
    pub(crate) state_dir: PathBuf,
    pub(crate) on_taken: OnTaken,
    pub(crate) bounds: Bounds,
    /// Arguments that a flag or the environment gave, whatever a file of settings says later.
    pub(crate) decided: Vec<&'static str>,
}

/// Variables that the server needs: who the user is and where his things are, and what the program
/// itself may need to start.
const ENVIRONMENT: [&str; 15] = [
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "RUST_BACKTRACE",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_LIBRARY_PATH",
];

/// Pause between two looks at a server that somebody else is starting or ending.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Files are readable for others as on most systems, whoever started the server; only what its user
/// asks for is not.
const UMASK: u32 = 0o022;

/// A server that answers.
pub(crate) struct Started {
    pub(crate) hello: Hello,
    /// None if it cannot be written.
    pub(crate) log: Option<PathBuf>,
}

/// A server that was found, or was started because there was none.
pub(crate) enum Running {
    Found(Client),
    Started(Started),
}

/// Uses the server that runs, or starts one. Of many who do that at once one wins, and all use that
/// one's server.
pub(crate) async fn find_or_start(
    launch: Launch,
    global: &Global,
    output: Output,
    stop: &CancellationToken,
) -> Result<Running, Failure> {
    let deadline = Instant::now() + START_DEADLINE;
    let mut lost_the_race = None;
    loop {
        let failure: Failure = match Client::connect(&launch.state_dir).await {
            Ok(client) => return Ok(Running::Found(client)),
            Err(ConnectError::NotRunning { .. }) => {
                match start(&launch, global, output, stop).await {
                    Ok(started) => return Ok(Running::Started(started)),
                    // Somebody else was faster, or a server is still ending.
                    Err(StartFailure::Taken(failure)) => lost_the_race.insert(failure).clone(),
                    Err(StartFailure::Other(failure)) => return Err(failure),
                }
            }
            // It has the socket, and is still looking through its directory.
            Err(error @ ConnectError::NoAnswer(_)) if lost_the_race.is_some() => error.into(),
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= deadline {
            return Err(failure.or_hint("stop it first with `tnet kill-server`"));
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return Err(Failure::interrupted("interrupted before the server answered")),
        }
    }
}

/// Why there is no new server.
pub(crate) enum StartFailure {
    /// Another process has the state directory.
    Taken(Failure),
    Other(Failure),
}

impl From<Failure> for StartFailure {
    fn from(failure: Failure) -> Self {
        // The server was told to take what is free, so nothing else can be in its way.
        if failure.exit == Exit::Exists { Self::Taken(failure) } else { Self::Other(failure) }
    }
}

impl From<StartFailure> for Failure {
    fn from(failure: StartFailure) -> Self {
        match failure {
            StartFailure::Taken(failure) | StartFailure::Other(failure) => failure,
        }
    }
}

/// Starts a server and waits until it answers.
pub(crate) async fn start(
    launch: &Launch,
    global: &Global,
    output: Output,
    stop: &CancellationToken,
) -> Result<Started, StartFailure> {
    let log = launch.state_dir.join(LOG_NAME);
    let (mut child, is_logged) = spawn(launch, global, &log, output)?;
    let see_log =
        if is_logged { format!("; see its log, {}", shown_path(&log)) } else { String::new() };
    let (answer, words) = oneshot::channel();
    if let Some(stdout) = child.stdout.take() {
        // A thread, because it waits for the other process; it ends with that.
        std::thread::spawn(move || answer.send(first_words(stdout)));
    }
    let waited = tokio::select! {
        words = timeout(START_DEADLINE, words) => words,
        () = stop.cancelled() => {
            give_up(&mut child);
            return Err(Failure::interrupted("interrupted before the server answered; it was stopped").into());
        }
    };
    match waited {
        Ok(Ok(Words::Ready)) => {}
        Ok(Ok(Words::Failed(failure))) => {
            return Err(failure.during("the server could not start").into());
        }
        Ok(Ok(Words::None) | Err(_)) => {
            let message = format!("the server ended before it answered{see_log}");
            return Err(Failure::new(Exit::Other, message).into());
        }
        Err(_) => {
            give_up(&mut child);
            let message = format!(
                "the server did not answer within {START_DEADLINE:.0?} and was stopped{see_log}"
            );
            return Err(Failure::new(Exit::Other, message).into());
        }
    }
    let client = Client::connect(&launch.state_dir).await.map_err(Failure::from)?;
    Ok(Started { hello: client.hello().clone(), log: is_logged.then_some(log) })
}

/// Our own child, which has not answered: nobody else knows of it.
fn give_up(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The server, and whether it has a log.
fn spawn(
    launch: &Launch,
    global: &Global,
    log: &Path,
    output: Output,
) -> Result<(Child, bool), Failure> {
    let state_dir = &launch.state_dir;
    make_state_dir(state_dir)?;
    // A log that cannot be written is no reason to have no server.
    let opened = logging::open_log(log);
    let is_logged = opened.is_ok();
    let stderr = opened.map(Stdio::from).unwrap_or_else(|error| {
        output.note(&format!(
            "{}; the server runs without one",
            file_failure("open the log", log, &error).message
        ));
        Stdio::null()
    });
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Other, format!("cannot find this program to start it again: {error}"))
    })?;
    // Ours are closed by themselves; those that somebody gave us, as the lock of flock(1), would
    // stay open in the server.
    close_fds::set_fds_cloexec(FIRST_TO_CLOSE, &[]);
    let started = Command::new(&program)
        .args(arguments(launch, global))
        // What else the environment says was read already and is in the arguments.
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn();
    let child = started.map_err(|error| file_failure("start", &program, &error))?;
    Ok((child, is_logged))
}

fn arguments(launch: &Launch, global: &Global) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["start-server", "--detached", "--json", "--state-dir"].map(Into::into).into();
    arguments.push(launch.state_dir.clone().into());
    if launch.on_taken == OnTaken::AnyPort {
        arguments.push("--any-port".into());
    }
    if let Some(coordinator) = &global.coordinator {
        arguments.extend(["--coordinator".into(), coordinator.into()]);
    }
    if let Some(listen) = global.listen {
        arguments.extend(["--listen".into(), listen.to_string().into()]);
    }
    if let Some(address) = global.advertise {
        arguments.extend(["--advertise".into(), address.to_string().into()]);
    }
    if let Some(delay) = global.demo_delay {
        arguments.extend(["--demo-delay".into(), format!("{}ms", delay.as_millis()).into()]);
    }
    if let Some(dir) = &launch.dir {
        arguments.extend(["--dir".into(), dir.clone().into()]);
    }
    let Bounds { limit_up, limit_down, max_peers } = launch.bounds;
    for (flag, rate) in [("--limit-up", limit_up), ("--limit-down", limit_down)] {
        if let Some(rate) = rate.flatten() {
            arguments.extend([flag.into(), rate.to_string().into()]);
        }
    }
    if let Some(most) = max_peers {
        arguments.extend(["--max-peers".into(), most.to_string().into()]);
    }
    if let Some(config) =
        global.config.as_deref().and_then(|config| settings::absolute(config).ok())
    {
        arguments.extend(["--config".into(), config.into()]);
    }
    arguments
        .extend(launch.decided.iter().flat_map(|argument| ["--decided".into(), argument.into()]));
    arguments.extend((0..global.verbose).map(|_| "-v".into()));
    arguments
}

/// What the server says first, through its stdout.
#[derive(Debug, PartialEq)]
enum Words {
    Ready,
    Failed(Failure),
    /// Nothing that makes sense.
    None,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Ready,
    Result {
        error: Option<ErrorFields>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct ErrorFields {
    kind: String,
    message: String,
}

fn first_words(stdout: impl Read) -> Words {
    for line in BufReader::new(stdout.take(MAX_WORDS)).lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Event::Ready) => return Words::Ready,
            Ok(Event::Result { error: Some(error) }) => return Words::Failed(failure(error)),
            _ => {}
        }
    }
    Words::None
}

fn failure(error: ErrorFields) -> Failure {
    let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == error.kind);
    Failure::new(kind.map_or(Exit::Other, Exit::from), error.message)
}

/// Leaves the terminal and the working directory of whoever started us, and logs to the state
/// directory.
pub(crate) fn detach(state_dir: &Path, verbose: u8) -> Result<(), Failure> {
    let failed =
        |what: &str, error: io::Error| Failure::new(Exit::Other, format!("cannot {what}: {error}"));
    rustix::process::setsid().map_err(|errno| failed("start a session", errno.into()))?;
    std::env::set_current_dir("/").map_err(|error| failed("leave the directory", error))?;
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    make_state_dir(state_dir)?;
    // Whoever started us has said so if it cannot be written.
    let _ = logging::to_file(&state_dir.join(LOG_NAME), verbose);
    Ok(())
}

/// Whoever started us was told all, and reads no more.
pub(crate) fn let_go_of_stdout() {
    let opened = File::options().write(true).open("/dev/null");
    // The pipe that stays otherwise has nobody at its other end.
    let _ = opened.map(|nowhere| rustix::stdio::dup2_stdout(&nowhere));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_ready_or_says_why_not_is_understood() {
        let ready = "{\"v\":1,\"event\":\"ready\",\"pid\":1}\n";
        let failed = "{\"v\":1,\"event\":\"result\",\"ok\":false,\"error\":{\"kind\":\"network\",\"message\":\"in use\",\"exit_code\":5}}\n";
        let ended = "{\"v\":1,\"event\":\"result\",\"ok\":true}\n";
        assert_eq!(first_words(ready.as_bytes()), Words::Ready);
        let failure = Failure::new(Exit::Network, "in use");
        assert_eq!(first_words(failed.as_bytes()), Words::Failed(failure));
        for nothing in ["", "nonsense\n", ended, "{\"v\":1,\"event\":\"sing\"}"] {
            assert_eq!(first_words(nothing.as_bytes()), Words::None, "{nothing:?}");
        }
        assert_eq!(
            first_words(format!("{{\"event\":\"later\"}}\n{ready}").as_bytes()),
            Words::Ready
        );
    }
}
