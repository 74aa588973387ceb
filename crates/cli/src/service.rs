//! Talks to a service manager: readiness (sd_notify), and log lines in the format of its journal.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Tells the service manager, if one started this process, that the service is ready:
/// sd_notify(3).
pub(crate) fn ready(status: &str) {
    notify(&format!("READY=1\nSTATUS={status}\n"));
}

/// Tells it the state of the service.
pub(crate) fn status(status: &str) {
    notify(&format!("STATUS={status}\n"));
}

/// Tells it that the service is ending.
pub(crate) fn stopping() {
    notify("STOPPING=1\n");
}

fn notify(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = tell(&socket, state) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

fn tell(socket: &OsStr, state: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address(socket)?)?;
    Ok(())
}

/// A path, or an abstract name after an @.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::linux::net::SocketAddrExt;
        if let Some(name) = socket.as_encoded_bytes().strip_prefix(b"@") {
            return SocketAddr::from_abstract_name(name);
        }
    }
    SocketAddr::from_pathname(socket)
}

/// Whether stderr goes to the journal: `JOURNAL_STREAM` in systemd.exec(5).
pub(crate) fn logs_to_journal() -> bool {
    let named = env::var("JOURNAL_STREAM").ok();
    named.is_some_and(|named| {
        rustix::fs::fstat(io::stderr())
            .is_ok_and(|stat| is_stream(&named, stat.st_dev, stat.st_ino))
    })
}

fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    named
        .split_once(':')
        .is_some_and(|(first, second)| first.parse() == Ok(device) && second.parse() == Ok(inode))
}

/// Lines without time and colour, which the journal adds, and with the priority prefix of
/// sd-daemon(3).
pub(crate) struct JournalFormat {
    line: Format<Full, ()>,
}

impl JournalFormat {
    pub(crate) fn new() -> Self {
        Self {
            line: Format::default()
                .without_time()
                .with_level(false)
                .with_target(false)
                .with_ansi(false),
        }
    }
}

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.line.format_event(context, writer, event)
    }
}

/// The priorities of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_manager_is_notified_through_a_path_or_an_abstract_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("socket");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        tell(path.as_os_str(), "READY=1\n").expect("it listens");
        let mut heard = [0; 64];
        let len = manager.recv(&mut heard).expect("a message");
        assert_eq!(&heard[..len], b"READY=1\n");

        let name = format!("tnet-test-{}", std::process::id());
        let socket = format!("@{name}");
        let manager = UnixDatagram::bind_addr(&address(OsStr::new(&socket)).expect("a name"))
            .expect("a socket");
        tell(OsStr::new(&socket), "STOPPING=1\n").expect("it listens");
        let len = manager.recv(&mut heard).expect("a message");
        assert_eq!(&heard[..len], b"STOPPING=1\n");
        tell(OsStr::new("/not/there"), "READY=1\n").expect_err("no process listens");
    }

    #[test]
    fn the_journal_is_known_by_its_device_and_inode() {
        assert!(is_stream("8:42", 8, 42));
        for named in ["", "8", "8:43", "9:42", "8:42:1", "a:b"] {
            assert!(!is_stream(named, 8, 42), "{named}");
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_for_the_journal_has_its_priority_and_no_time() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(JournalFormat::new())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(pid = 7, "server started");
            tracing::warn!("slow disk");
        });
        let written = lines.0.lock().expect("no test panicked").clone();
        assert_eq!(
            String::from_utf8(written).expect("text"),
            "<6>server started pid=7\n<4>slow disk\n"
        );
    }
}
