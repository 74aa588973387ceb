//! What a service manager hears and reads of us: that the service is ready, and log lines as its
//! journal likes them.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Tells the service manager, if one has started us, that the service does its work now. As
/// sd_notify(3) has it.
pub(crate) fn ready(status: &str) {
    notify(&format!("READY=1\nSTATUS={status}\n"));
}

/// Tells it how the service does.
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
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

fn tell(socket: &OsStr, state: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address(socket)?)?;
    Ok(())
}

/// A path, or, after an @, a name that is in no directory.
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

/// Whether what we write to stderr goes to the journal, as systemd.exec(5) has it.
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

/// Lines without time and colour, which the journal has itself, and with a priority in front, as
/// sd-daemon(3) has it.
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

/// As syslog counts.
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
    fn the_manager_hears_what_it_is_told_through_a_path_or_a_name() {
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
        tell(OsStr::new("/not/there"), "READY=1\n").expect_err("nobody listens");
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
            self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_for_the_journal_has_its_priority_and_nothing_that_the_journal_knows() {
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
        let written = lines.0.lock().expect("nobody panicked").clone();
        assert_eq!(
            String::from_utf8(written).expect("text"),
            "<6>server started pid=7\n<4>slow disk\n"
        );
    }
}
