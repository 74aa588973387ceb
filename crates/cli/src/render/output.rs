//! Where text goes. Results on stdout, the rest on stderr; with `--json` one event a line on stdout and nothing else
//! there, the last of them the result. A reader that went away is no error: what was asked for is done all the same.

use std::env;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use super::plain::{plain_json, plain_line, plain_lines};
use crate::exit::{Exit, Failure};

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
            print(io::stdout(), line);
        }
    }

    /// As [`data`](Self::data), for what goes on for as long as somebody reads.
    pub(crate) fn try_data(&self, text: &str) -> io::Result<()> {
        if self.form == Form::Text { try_print(io::stdout(), text) } else { Ok(()) }
    }

    /// How it went: on stdout, unless quiet.
    pub(crate) fn outcome(&self, line: &str) {
        if self.form == Form::Text && self.volume == Volume::Normal {
            print(io::stdout(), line);
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
            print(io::stdout(), &event_line(name, fields));
        }
    }

    /// As [`event`](Self::event), for what goes on for as long as somebody reads.
    pub(crate) fn try_event(&self, name: &str, fields: Report) -> io::Result<()> {
        if self.form == Form::Json { try_print(io::stdout(), &event_line(name, fields)) } else { Ok(()) }
    }

    /// The end, in whichever form; answers the code to exit with.
    pub(crate) fn result(&self, command: &str, result: Result<Report, Failure>) -> Exit {
        let failure = result.as_ref().err();
        if let Some(failure) = failure {
            self.complaint(&failure.message);
        }
        let exit = failure.map_or(Exit::Ok, |failure| failure.exit);
        if self.form == Form::Json {
            print(io::stdout(), &result_line(command, result));
        }
        exit
    }
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
    io::stderr().is_terminal() && wants_colour() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether `NO_COLOR` is not set; empty counts as not set.
pub(crate) fn wants_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn print(stream: impl Write, line: &str) {
    // `tnet ls | head -1`: whoever read is gone, and nobody is left to be told.
    let _ = try_print(stream, line);
}

/// One write for each line, so that lines of several processes do not mix. Foreign text in it stays text.
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
    fn a_success_carries_its_report_and_no_error() {
        assert_eq!(
            result_line("create", Ok(fields(json!({ "chunks": 2 })))),
            "{\"v\":1,\"event\":\"result\",\"command\":\"create\",\"ok\":true,\"chunks\":2}"
        );
    }
}
