//! Formats the fields of a log line as escaped text: the name of a file can neither begin a new
//! line (and forge a time or a priority) nor control the terminal.

use std::fmt::{self, Debug, Write as _};

use tnet_fileinfo::write_escaped;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

const NAME: &str = "\x1b[3m";
const EQUALS: &str = "\x1b[2m";
const NORMAL: &str = "\x1b[0m";

/// Formats fields as `message name=value ...`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PlainFields;

impl<'writer> FormatFields<'writer> for PlainFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { writer, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.write(field.name(), value);
        }
    }
}

impl Visitor<'_> {
    fn write(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !std::mem::replace(&mut self.is_first, false) {
            self.writer.write_char(' ')?;
        }
        if name != "message" {
            match self.writer.has_ansi_escapes() {
                true => write!(self.writer, "{NAME}{name}{NORMAL}{EQUALS}={NORMAL}")?,
                false => write!(self.writer, "{name}=")?,
            }
        }
        write!(Plain(&mut self.writer), "{value:?}")
    }
}

/// Escapes what goes through it.
struct Plain<'a, 'writer>(&'a mut Writer<'writer>);

impl fmt::Write for Plain<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| write_escaped(self.0, c))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panicked while it wrote").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_value_and_no_message_ends_its_line_or_drives_a_terminal() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(PlainFields)
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let name = "a\n<3>forged\u{1b}]0;x\u{7}\u{202e}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(path = %name, n = 1, "sharing {name}");
        });
        let written = lines.0.lock().expect("no test panicked while it wrote").clone();
        let shown = r"a\n<3>forged\u{1b}]0;x\u{7}\u{202e}";
        assert_eq!(
            String::from_utf8(written).expect("text"),
            format!(" INFO sharing {shown} path={shown} n=1\n")
        );
    }
}
