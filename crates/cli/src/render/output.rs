//! Where text goes. Results on stdout, the rest on stderr; with `--json` one event a line on stdout
//! and nothing else there, the last of them the result. A reader that went away is no error: what
//! was asked for is done all the same. Any other failure to write to stdout is: what was asked for
//! is done too, and the exit code says that its answer is lost.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::{Map, Value};
use tnet_control::FaultKind;

use super::plain::{plain_json, plain_line, plain_lines};

use crate::exit::{Exit, Failure};

/// The first failure to write to stdout, of which a process has one. Told at the end.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Version of the events.
const EVENT_VERSION: u32 = 1;

/// What a command has to say at its end, for `--json`.
pub(crate) type Report = Map<String, Value>;

/// How to show what goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Moving bars: somebody watches a terminal.
    Bars,
    /// A line now and then.
    Lines,
    /// Not at all.
    Silent,
}

/// How much is said and in which form.
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

/// What the user asked for with flags that concern the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Log lines on stderr, which would tear bars apart.
    pub(crate) verbose: bool,
}

impl Output {
    pub(crate) fn new(flags: Flags) -> Self {
        // Events tell scripts everything; bars between them would help nobody.
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

    /// What was asked for: on stdout, even if quiet.
    pub(crate) fn data(&self, line: &str) {
        if self.form == Form::Text {
            print_out(line);
        }
    }

    /// As [`data`](Self::data), for what goes on for as long as somebody reads.
    pub(crate) fn try_data(&self, text: &str) -> io::Result<()> {
        if self.form == Form::Text { try_print_out(text) } else { Ok(()) }
    }

    /// How it went: on stdout, unless quiet.
    pub(crate) fn outcome(&self, line: &str) {
        if self.form == Form::Text && self.volume == Volume::Normal {
            print_out(line);
        }
    }

    /// Two parts of how it went: a line each on a terminal, which is narrow, else one line.
    pub(crate) fn outcome_of_two(&self, first: &str, second: &str) {
        if io::stdout().is_terminal() {
            self.outcome(first);
            self.outcome(second);
        } else {
            self.outcome(&format!("{first}; {second}"));
        }
    }

    /// What is good to know meanwhile: on stderr, for people, unless quiet.
    pub(crate) fn note(&self, line: &str) {
        if self.volume == Volume::Normal {
            print(io::stderr(), line);
        }
    }

    /// What went wrong: on stderr, even if quiet.
    pub(crate) fn complaint(&self, message: &str) {
        print(io::stderr(), &format!("tnet: {}", plain_line(message)));
    }

    /// What a script may want to know meanwhile.
    pub(crate) fn event(&self, name: &str, fields: Report) {
        if self.form == Form::Json {
            print_out(&event_line(name, fields));
        }
    }

    /// As [`event`](Self::event), for what goes on for as long as somebody reads.
    pub(crate) fn try_event(&self, name: &str, fields: Report) -> io::Result<()> {
        if self.form == Form::Json { try_print_out(&event_line(name, fields)) } else { Ok(()) }
    }

    /// The end, in whichever form; answers the code to exit with.
    pub(crate) fn result(&self, command: &str, result: Result<Report, Failure>) -> Exit {
        let failure = result.as_ref().err();
        if let Some(failure) = failure {
            self.complaint(&failure.message);
        }
        let exit = failure.map_or(Exit::Ok, |failure| failure.exit);
        if self.form == Form::Json {
            print_out(&result_line(command, result));
        }
        match LOST.get() {
            None => exit,
            Some(error) => {
                let lost = lost_output(error);
                self.complaint(&lost.message);
                if exit == Exit::Ok { lost.exit } else { exit }
            }
        }
    }
}

/// Prints what clap has to say to who asked for help or the version; answers the code to exit with.
pub(crate) fn print_help(help: &clap::Error) -> Exit {
    note_lost(help.print().and_then(|()| io::stdout().flush()));
    Output::new(Flags { json: false, quiet: true, verbose: false }).result("", Ok(Report::new()))
}

/// What was printed is not where it should be.
fn lost_output(error: &io::Error) -> Failure {
    let exit = FaultKind::of_io(error).map_or(Exit::Other, Exit::from);
    Failure::new(exit, format!("cannot write to stdout: {error}; what was to be printed is lost"))
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

/// The last event. Its first fields are the same for every command.
#[derive(Serialize)]
struct ResultEvent<'a> {
    v: u32,
    event: &'a str,
    /// Empty if the command line did not get that far.
    #[serde(skip_serializing_if = "str::is_empty")]
    command: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorFields>,
    #[serde(flatten)]
    fields: Report,
}

#[derive(Serialize)]
struct ErrorFields {
    kind: &'static str,
    message: String,
    exit_code: u8,
}

fn result_line(command: &str, result: Result<Report, Failure>) -> String {
    let (ok, (fields, error)) = match result {
        Ok(fields) => (true, (fields, None)),
        Err(Failure { exit, message }) => {
            let error = ErrorFields { kind: exit.kind(), message, exit_code: exit.code() };
            (false, (Report::new(), Some(error)))
        }
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

/// Whether stderr is a terminal that somebody wants things to move on.
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
    // Where complaints go nobody is left to be told.
    let _ = try_print(stream, line);
}

fn print_out(line: &str) {
    // It is told at the end.
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
        // `tnet ls | head -1`: whoever read is gone, and nobody is left to be told.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(LOST.set(error)),
        _ => {}
    }
}

/// One write for each line, so that lines of several processes do not mix. Foreign text in it stays
/// text.
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
        let failure = Failure::new(Exit::NoHolder, "no peer holds this file");
        assert_eq!(
            result_line("get", Err(failure)),
            "{\"v\":1,\"event\":\"result\",\"command\":\"get\",\"ok\":false,\"error\":\
             {\"kind\":\"no_holder\",\"message\":\"no peer holds this file\",\"exit_code\":4}}"
        );
    }

    #[test]
    fn lost_output_is_a_failure_of_what_it_was_written_to() {
        let full =
            lost_output(&io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        assert!(full.exit == Exit::Disk && full.message.contains("stdout"), "{full:?}");
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
