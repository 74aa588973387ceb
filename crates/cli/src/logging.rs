//! Log lines: to stderr in the foreground, to a file of bounded size for a background server.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use crate::log_fields::PlainFields;
use crate::render::output::wants_colour;
use crate::service::{self, JournalFormat};

/// A log file of this length is renamed to `.old`, which replaces the one before: together they
/// never take more than twice as much.
const MAX_LOG_LEN: u64 = 8 * 1024 * 1024;

/// Name of the server's log in the state directory.
pub(crate) const LOG_NAME: &str = "server.log";

/// What a command shows by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogDefault {
    /// The log: it runs until it is stopped.
    Log,
    /// Something else; the log only with -v.
    Else,
}

/// Logs to stderr.
pub(crate) fn to_stderr(log_default: LogDefault, verbose: u8, quiet: bool) {
    let level = match (log_default, verbose) {
        (LogDefault::Log, 0) if quiet => "warn",
        (LogDefault::Else, 0) => return,
        (LogDefault::Log, 0) | (LogDefault::Else, 1) => "info",
        (LogDefault::Log, 1) | (LogDefault::Else, 2) => "debug",
        _ => "trace",
    };
    if service::logs_to_journal() {
        let lines =
            tracing_subscriber::fmt().with_env_filter(filter(level)).with_writer(io::stderr);
        // A log that cannot be written stops nothing, and to say so on stderr would panic.
        let lines = lines.log_internal_errors(false);
        let lines = lines.fmt_fields(PlainFields);
        lines.event_format(JournalFormat::new()).init();
        return;
    }
    let ansi = io::stderr().is_terminal() && wants_colour();
    tracing_subscriber::fmt()
        .fmt_fields(PlainFields)
        .with_env_filter(filter(level))
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .with_ansi(ansi)
        .with_target(level == "trace")
        .init();
}

/// Logs to a file.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn to_file(path: &Path, verbose: u8) -> io::Result<()> {
    let log = LogFile::open(path)?;
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .fmt_fields(PlainFields)
        .with_env_filter(filter(level))
        .with_writer(Mutex::new(log))
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(level == "trace")
        .init();
    Ok(())
}

/// Our own crates at that level, others from warnings up.
fn filter(level: &str) -> EnvFilter {
    // It is the beginning of the name of each of them.
    EnvFilter::new(format!("warn,tnet={level}"))
}

/// Opens a log for appending; only the user may read it, since it names files. A link in its place,
/// which other users may have created, is not followed; opening a pipe in its place does not block.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let log =
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(path)?;
    if log.metadata()?.is_file() {
        Ok(log)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open_log(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, len })
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".old");
        match fs::rename(&self.path, old).and_then(|()| Self::open(&self.path)) {
            Ok(next) => *self = next,
            // Where there is no second name the new lines are worth more than the old ones.
            Err(_) => {
                self.file.set_len(0)?;
                self.len = 0;
            }
        }
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.len >= MAX_LOG_LEN {
            self.put_aside()?;
        }
        let written = self.file.write(line)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_takes_more_than_twice_its_limit() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(LOG_NAME);
        let mut log = LogFile::open(&path).expect("opens");
        let line = vec![b'x'; 1024 * 1024];
        for _ in 0..20 {
            log.write_all(&line).expect("written");
        }
        let sizes: Vec<u64> = fs::read_dir(dir.path())
            .expect("there")
            .map(|entry| entry.and_then(|entry| entry.metadata()).expect("there").len())
            .collect();
        assert_eq!(sizes.len(), 2, "the log and the one before");
        assert!(sizes.iter().all(|size| *size <= MAX_LOG_LEN), "{sizes:?}");
    }

    #[test]
    fn a_pipe_in_the_place_of_the_log_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(LOG_NAME);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo is everywhere").success());
        open_log(&path).expect_err("no process reads it");
        let _reader = OpenOptions::new().read(true).write(true).open(&path).expect("ours");
        open_log(&path).expect_err("it is no file");
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_begins_anew() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(LOG_NAME);
        // A directory that is not empty cannot be replaced.
        fs::create_dir_all(dir.path().join("server.log.old/full")).expect("writable");
        let mut log = LogFile::open(&path).expect("opens");
        let line = vec![b'x'; 1024 * 1024];
        for _ in 0..20 {
            log.write_all(&line).expect("written");
        }
        assert!(fs::metadata(&path).expect("there").len() <= MAX_LOG_LEN);
    }

    #[test]
    fn a_log_goes_on_where_an_earlier_server_ended() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(LOG_NAME);
        for line in ["one\n", "two\n"] {
            LogFile::open(&path).expect("opens").write_all(line.as_bytes()).expect("written");
        }
        assert_eq!(fs::read_to_string(&path).expect("text"), "one\ntwo\n");
    }
}
