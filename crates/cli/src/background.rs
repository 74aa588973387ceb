//! Starts a server in the background: this program again, in its own session, with its log in the
//! state directory. It inherits no descriptor, working directory, terminal, umask or ignored
//! signal, and only those environment variables that describe the user. The process that starts it
//! waits until it answers or says why it cannot, with a deadline.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::Mode;
use serde::Deserialize;
use tnet_control::{Client, ConnectError, Hello, make_state_dir};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::config::typed::PeerLimits;
use crate::config::{Config, absolute};
use crate::context::Context;
use crate::error_fields::ErrorFields;
use crate::exit::Exit;
use crate::failure::{Failure, Reason, file_failure};
use crate::local_peer::PortConflict;
use crate::logging::{self, LOG_NAME};
use crate::render::Output;
use crate::render::units::shown_path;

/// How long the new server may take until it answers. It looks up its coordinator and scans its
/// directory once.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The first descriptor after stdin, stdout and stderr.
const FIRST_TO_CLOSE: i32 = 3;

/// What to do when a server is in the way.
pub(crate) const STOP_FIRST: &str = "stop it first with `tnet kill-server`";

/// Bytes of the startup report of a new server at most.
const MAX_REPORT: u64 = 64 * 1024;

/// How the server is to be started.
pub(crate) struct Launch {
    /// Shares it; absolute.
    pub(crate) dir: Option<PathBuf>,
    /// Absolute.
    pub(crate) state_dir: PathBuf,
    pub(crate) on_conflict: PortConflict,
    /// Arguments given as flags or variables, which a reloaded config file does not override.
    pub(crate) explicit: Vec<&'static str>,
}

/// Variables that the server inherits: those that describe the user, and those that the program may
/// need to start.
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

/// Poll interval while another process starts or ends a server.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The usual umask, whatever that of the process that started the server. Downloads use the umask
/// of the user who asks for them.
const UMASK: u32 = 0o022;

/// A server that answers.
pub(crate) struct Started {
    pub(crate) hello: Hello,
    /// None if the log cannot be written.
    pub(crate) log: Option<PathBuf>,
}

/// A server that was found, or was started because there was none.
pub(crate) enum ServerAccess {
    Found(Client),
    Started(Started),
}

/// Uses the running server, or starts one. If several processes do that at once, one wins, and all
/// use its server.
pub(crate) async fn find_or_start(
    launch: Launch,
    config: &Config,
    context: &Context,
) -> Result<ServerAccess, Failure> {
    let deadline = Instant::now() + START_DEADLINE;
    let mut lost_the_race = None;
    loop {
        let failure: Failure = match Client::connect(&launch.state_dir).await {
            Ok(client) => return Ok(ServerAccess::Found(client)),
            Err(ConnectError::NotRunning { .. }) => {
                match start(&launch, config, context).await {
                    Ok(started) => return Ok(ServerAccess::Started(started)),
                    // Another process was faster, or a server is still ending.
                    Err(StartFailure::Taken(failure)) => lost_the_race.insert(failure).clone(),
                    Err(StartFailure::Other(failure)) => return Err(failure),
                }
            }
            // It has the socket and still scans its directory.
            Err(error @ ConnectError::NoAnswer(_)) if lost_the_race.is_some() => error.into(),
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= deadline {
            return Err(failure.or_hint(STOP_FIRST));
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = context.stop.cancelled() => {
                return Err(Failure::interrupted("interrupted before the server answered"));
            }
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
        match failure.reason {
            Some(Reason::ServerRunning) => Self::Taken(failure),
            None => Self::Other(failure),
        }
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
    config: &Config,
    context: &Context,
) -> Result<Started, StartFailure> {
    let log = launch.state_dir.join(LOG_NAME);
    let (mut child, is_logged) = spawn(launch, config, &log, context.output)?;
    let with_log = |cause: &str| {
        let failure = Failure::new(Exit::Other, cause);
        if is_logged {
            failure.or_hint(format!("see its log, {}", shown_path(&log)))
        } else {
            failure
        }
    };
    let (answer, words) = oneshot::channel();
    if let Some(stdout) = child.stdout.take() {
        // A thread, because it waits for the other process; it ends with that.
        std::thread::spawn(move || answer.send(startup_report(stdout)));
    }
    let waited = tokio::select! {
        words = timeout(START_DEADLINE, words) => words,
        () = context.stop.cancelled() => {
            give_up(&mut child);
            return Err(Failure::interrupted("interrupted before the server answered").or_hint("it was stopped").into());
        }
    };
    match waited {
        Ok(Ok(StartupReport::Ready)) => {}
        Ok(Ok(StartupReport::Failed(failure))) => {
            return Err(failure.during("the server could not start").into());
        }
        Ok(Ok(StartupReport::None) | Err(_)) => {
            return Err(with_log("the server ended before it answered").into());
        }
        Err(_) => {
            give_up(&mut child);
            let cause =
                format!("the server did not answer within {START_DEADLINE:.0?} and was stopped");
            return Err(with_log(&cause).into());
        }
    }
    let client = Client::connect(&launch.state_dir).await.map_err(Failure::from)?;
    Ok(Started { hello: client.hello().clone(), log: is_logged.then_some(log) })
}

/// Ends our own child, which has not answered, so that no other process uses it.
fn give_up(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The server, and whether it has a log.
fn spawn(
    launch: &Launch,
    config: &Config,
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
            file_failure("open the log", log, &error)
        ));
        Stdio::null()
    });
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Other, format!("cannot find this program to start it again: {error}"))
    })?;
    // Our own are close-on-exec; inherited ones, as the lock of flock(1), would stay open in the
    // server.
    close_fds::set_fds_cloexec(FIRST_TO_CLOSE, &[]);
    let started = Command::new(&program)
        .args(arguments(launch, config))
        // Settings in the environment were read already and are in the arguments.
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn();
    let child = started.map_err(|error| file_failure("start", &program, &error))?;
    Ok((child, is_logged))
}

fn arguments(launch: &Launch, config: &Config) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["start-server", "--detached", "--json", "--state-dir"].map(Into::into).into();
    arguments.push(launch.state_dir.clone().into());
    if launch.on_conflict == PortConflict::UseAnyPort {
        arguments.push("--any-port".into());
    }
    if let Some(coordinator) = &config.coordinator {
        arguments.extend(["--coordinator".into(), coordinator.into()]);
    }
    if let Some(listen) = config.listen {
        arguments.extend(["--listen".into(), listen.to_string().into()]);
    }
    if let Some(address) = config.advertise {
        arguments.extend(["--advertise".into(), address.to_string().into()]);
    }
    if let Some(delay) = config.demo_delay {
        arguments.extend(["--demo-delay".into(), format!("{}ms", delay.as_millis()).into()]);
    }
    if let Some(dir) = &launch.dir {
        arguments.extend(["--dir".into(), dir.clone().into()]);
    }
    let PeerLimits { limit_up, limit_down, max_peers } = config.peer_limits;
    for (flag, rate) in [("--limit-up", limit_up), ("--limit-down", limit_down)] {
        if let Some(rate) = rate.flatten() {
            arguments.extend([flag.into(), rate.to_string().into()]);
        }
    }
    if let Some(most) = max_peers {
        arguments.extend(["--max-peers".into(), most.to_string().into()]);
    }
    if let Some(file) = config.config_file.as_deref().and_then(|file| absolute(file).ok()) {
        arguments.extend(["--config".into(), file.into()]);
    }
    arguments
        .extend(launch.explicit.iter().flat_map(|argument| ["--explicit".into(), argument.into()]));
    arguments.extend((0..config.verbose).map(|_| "-v".into()));
    arguments
}

/// What the server reports of its start, through its stdout.
#[derive(Debug, PartialEq)]
enum StartupReport {
    Ready,
    Failed(Failure),
    /// Nothing that makes sense.
    None,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum StartupEvent {
    Ready,
    Result {
        error: Option<ErrorFields>,
    },
    #[serde(other)]
    Other,
}

fn startup_report(stdout: impl Read) -> StartupReport {
    for line in BufReader::new(stdout.take(MAX_REPORT)).lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(StartupEvent::Ready) => return StartupReport::Ready,
            Ok(StartupEvent::Result { error: Some(error) }) => {
                return StartupReport::Failed(error.into());
            }
            _ => {}
        }
    }
    StartupReport::None
}

/// Leaves the terminal and the working directory of the process that started this one, and logs to
/// the state directory.
pub(crate) fn detach(state_dir: &Path, verbose: u8) -> Result<(), Failure> {
    let failed =
        |what: &str, error: io::Error| Failure::new(Exit::Other, format!("cannot {what}: {error}"));
    rustix::process::setsid().map_err(|errno| failed("start a session", errno.into()))?;
    std::env::set_current_dir("/").map_err(|error| failed("leave the directory", error))?;
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    make_state_dir(state_dir)?;
    // The process that started this one has reported it if the log cannot be written.
    let _ = logging::to_file(&state_dir.join(LOG_NAME), verbose);
    Ok(())
}

/// Closes the pipe to the process that started this one, which reads no more.
pub(crate) fn close_stdout() {
    let opened = File::options().write(true).open("/dev/null");
    // Writing to a pipe without a reader would fail.
    let _ = opened.map(|nowhere| rustix::stdio::dup2_stdout(&nowhere));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_ready_or_says_why_not_is_understood() {
        let ready = "{\"v\":1,\"event\":\"ready\",\"pid\":1}\n";
        let failed = "{\"v\":1,\"event\":\"result\",\"ok\":false,\"error\":{\"kind\":\"network\",\"message\":\"in use; go\",\"cause\":\"in use\",\"hint\":\"go\",\"subject\":\"/s\",\"exit_code\":5}}\n";
        let ended = "{\"v\":1,\"event\":\"result\",\"ok\":true}\n";
        assert_eq!(startup_report(ready.as_bytes()), StartupReport::Ready);
        let failure = Failure::new(Exit::Network, "in use").or_hint("go").about("/s");
        assert_eq!(startup_report(failed.as_bytes()), StartupReport::Failed(failure));
        for nothing in ["", "nonsense\n", ended, "{\"v\":1,\"event\":\"sing\"}"] {
            assert_eq!(startup_report(nothing.as_bytes()), StartupReport::None, "{nothing:?}");
        }
        assert_eq!(
            startup_report(format!("{{\"event\":\"later\"}}\n{ready}").as_bytes()),
            StartupReport::Ready
        );
    }
}
