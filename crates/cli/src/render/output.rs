//! Writes to stdout and stderr: results on stdout, the rest on stderr; with `--json` only events on
//! stdout, one per line, the last of them the result. A closed pipe is no error; the command goes
//! on. After any other failed write to stdout the command goes on too, and the exit code says that
//! its output is lost.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::{Map, Value};
use tnet_control::FaultKind;

use super::plain::{plain_json, plain_line, plain_lines};

use crate::error_fields::ErrorFields;
use crate::exit::Exit;
use crate::failure::Failure;

/// The first failed write to stdout, of which a process has one. Reported at the end.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Version of the events.
const EVENT_VERSION: u32 = 1;

/// The result of a command, for `--json`.
pub(crate) type Report = Map<String, Value>;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Moving bars, on a terminal.
    Bars,
    /// A line at intervals.
    Lines,
    /// Not at all.
    Silent,
}

/// Form and amount of output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    form: Form,
    volume: Volume,
    style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Volume {
    Quiet,
    Normal,
}

/// The flags that concern the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Log lines on stderr, which would tear bars apart.
    pub(crate) verbose: bool,
}

impl Output {
    pub(crate) fn new(flags: Flags) -> Self {
        // Scripts get events instead of bars.
        let silent = flags.quiet || flags.json;
        let style = if silent {
            Style::Silent
        } else if flags.verbose || !takes_bars() {
            Style::Lines
        } else {
            Style::Bars
        };
        Self {
            form: if flags.json { Form::Json } else { Form::Text },
            volume: if silent { Volume::Quiet } else { Volume::Normal },
            style,
        }
    }

    pub(crate) fn style(&self) -> Style {
        self.style
    }

    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// Requested data: on stdout, even if quiet.
    pub(crate) fn data(&self, line: &str) {
        if self.form == Form::Text {
            print_out(line);
        }
    }

    /// As [`data`](Self::data), but fails when the reader has closed the pipe.
    pub(crate) fn try_data(&self, text: &str) -> io::Result<()> {
        if self.form == Form::Text { try_print_out(text) } else { Ok(()) }
    }

    /// The outcome: on stdout, unless quiet.
    pub(crate) fn outcome(&self, line: &str) {
        if self.form == Form::Text && self.volume == Volume::Normal {
            print_out(line);
        }
    }

    /// Two parts of the outcome: a line each on a terminal, which is narrow, else one line.
    pub(crate) fn outcome_of_two(&self, first: &str, second: &str) {
        if io::stdout().is_terminal() {
            self.outcome(first);
            self.outcome(second);
        } else {
            self.outcome(&format!("{first}; {second}"));
        }
    }

    /// A note for people: on stderr, unless quiet.
    pub(crate) fn note(&self, line: &str) {
        if self.volume == Volume::Normal {
            print(io::stderr(), line);
        }
    }

    /// An error: on stderr, even if quiet.
    pub(crate) fn complaint(&self, message: &str) {
        print(io::stderr(), &format!("tnet: {}", plain_line(message)));
    }

    /// An event for scripts.
    pub(crate) fn event(&self, name: &str, fields: Report) {
        if self.form == Form::Json {
            print_out(&event_line(name, fields));
        }
    }

    /// As [`event`](Self::event), but fails when the reader has closed the pipe.
    pub(crate) fn try_event(&self, name: &str, fields: Report) -> io::Result<()> {
        if self.form == Form::Json { try_print_out(&event_line(name, fields)) } else { Ok(()) }
    }

    /// Reports the result of the command; returns its exit code.
    pub(crate) fn result(&self, command: &str, result: Result<Report, Failure>) -> Exit {
        let failure = result.as_ref().err();
        if let Some(failure) = failure {
            self.complaint(&failure.message());
        }
        let exit = failure.map_or(Exit::Ok, |failure| failure.exit);
        if self.form == Form::Json {
            print_out(&result_line(command, result));
        }
        match LOST.get() {
            None => exit,
            Some(error) => {
                let lost = lost_output(error);
                self.complaint(&lost.message());
                if exit == Exit::Ok { lost.exit } else { exit }
            }
        }
    }
}

/// Prints the help or the version; returns the exit code.
pub(crate) fn print_help(help: &clap::Error) -> Exit {
    note_lost(help.print().and_then(|()| io::stdout().flush()));
    Output::new(Flags { json: false, quiet: true, verbose: false }).result("", Ok(Report::new()))
}

/// The failure when output was lost.
fn lost_output(error: &io::Error) -> Failure {
    let exit = FaultKind::of_io(error).map_or(Exit::Other, Exit::from);
    Failure::new(exit, format!("cannot write to stdout: {error}"))
        .or_hint("what was to be printed is lost")
}

#[derive(Serialize)]
struct Event<'a> {
    v: u32,
    event: &'a str,
    #[serde(flatten)]
    fields: Report,
}

fn event_line(name: &str, fields: Report) -> String {
    let event = Event { v: EVENT_VERSION, event: name, fields };
    plain_json(serde_json::to_string(&event).expect("JSON values under text keys always serialize"))
}

/// The last event. Its first fields are the same for all commands.
#[derive(Serialize)]
struct ResultEvent<'a> {
    v: u32,
    event: &'a str,
    /// Empty if the command line could not be parsed.
    #[serde(skip_serializing_if = "str::is_empty")]
    command: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorFields>,
    #[serde(flatten)]
    fields: Report,
}

fn result_line(command: &str, result: Result<Report, Failure>) -> String {
    let (ok, (fields, error)) = match result {
        Ok(fields) => (true, (fields, None)),
        Err(failure) => (false, (Report::new(), Some(ErrorFields::from(&failure)))),
    };
    let event = ResultEvent { v: EVENT_VERSION, event: "result", command, ok, error, fields };
    plain_json(serde_json::to_string(&event).expect("JSON values under text keys always serialize"))
}

/// Fields of an event or a report from a JSON object.
pub(crate) fn fields(object: Value) -> Report {
    match object {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

/// Whether stderr is a terminal for moving bars.
fn takes_bars() -> bool {
    io::stderr().is_terminal()
        && wants_colour()
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether `NO_COLOR` is not set; empty counts as not set.
pub(crate) fn wants_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn print(stream: impl Write, line: &str) {
    // A failed write to stderr cannot be reported.
    let _ = try_print(stream, line);
}

fn print_out(line: &str) {
    // A failure is reported at the end.
    let _ = try_print_out(line);
}

fn try_print_out(line: &str) -> io::Result<()> {
    let printed = try_print(io::stdout(), line);
    if let Err(error) = &printed {
        let copy =
            error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
        note_lost(Err(copy));
    }
    printed
}

fn note_lost(printed: io::Result<()>) {
    match printed {
        // `tnet ls | head -1`: a reader that has closed the pipe is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(LOST.set(error)),
        _ => {}
    }
}

/// One write for each line, so that lines of several processes do not mix. Control characters are
/// escaped.
fn try_print(mut stream: impl Write, line: &str) -> io::Result<()> {
    stream.write_all(format!("{}\n", plain_lines(line)).as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line_with_its_version_first() {
        let line = event_line("progress", fields(json!({ "path": "a\nb", "bytes_done": 1 })));
        let parsed: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(parsed["v"], 1);
        assert_eq!(parsed["event"], "progress");
        assert_eq!(parsed["path"], "a\nb");
        assert!(line.starts_with("{\"v\":1,\"event\":\"progress\""), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }

    #[test]
    fn a_failure_is_a_result_too() {
        let failure = Failure::new(Exit::NoHolder, "no peer holds this file").or_hint("wait");
        assert_eq!(
            result_line("get", Err(failure)),
            "{\"v\":1,\"event\":\"result\",\"command\":\"get\",\"ok\":false,\"error\":\
             {\"kind\":\"no_holder\",\"message\":\"no peer holds this file; wait\",\
             \"cause\":\"no peer holds this file\",\"hint\":\"wait\",\"exit_code\":4}}"
        );
    }

    #[test]
    fn lost_output_is_a_failure_of_what_it_was_written_to() {
        let full =
            lost_output(&io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        assert!(full.exit == Exit::Disk && full.cause.contains("stdout"), "{full:?}");
        let closed =
            lost_output(&io::Error::from_raw_os_error(rustix::io::Errno::BADF.raw_os_error()));
        assert_eq!(closed.exit, Exit::Other);
    }

    #[test]
    fn a_success_carries_its_report_and_no_error() {
        assert_eq!(
            result_line("create", Ok(fields(json!({ "chunks": 2 })))),
            "{\"v\":1,\"event\":\"result\",\"command\":\"create\",\"ok\":true,\"chunks\":2}"
        );
    }
}
