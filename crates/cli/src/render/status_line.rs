//! One line that says how something long is going: a bar that moves, or a plain line now and then, or nothing. It is
//! written to stderr only, and gone when the work is done.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{Output, Style};
use super::units;

/// What is done sooner needs no plain line: the sentence at its end says it all.
const FIRST_LINE_AFTER: Duration = Duration::from_secs(1);

/// Time between plain lines, other than when something begins.
const LINE_EVERY: Duration = Duration::from_secs(10);

const TEMPLATE: &str = "{prefix}{percent:>3} % {wide_bar:.cyan/dim} {msg}";

/// The line.
pub(crate) struct StatusLine {
    output: Output,
    line: Line,
}

enum Line {
    Bar(ProgressBar),
    Plain { since: Instant, written: Option<Instant>, topic: String },
    None,
}

impl StatusLine {
    pub(crate) fn new(output: Output) -> Self {
        let line = match output.style() {
            Style::Bars => Line::Bar(bar()),
            Style::Lines => Line::Plain { since: Instant::now(), written: None, topic: String::new() },
            Style::Silent => Line::None,
        };
        Self { output, line }
    }

    /// Shows how far it is. `topic` is what is being done; a plain line is written when it changes, and each ten
    /// seconds.
    pub(crate) fn show(&mut self, now: Instant, topic: &str, done: u64, total: u64, details: &str) {
        match &mut self.line {
            Line::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(words(topic, details));
            }
            Line::Plain { since, .. } if now.duration_since(*since) < FIRST_LINE_AFTER => {}
            Line::Plain { written, topic: last, .. } => {
                let due = written.is_none_or(|written| now.duration_since(written) >= LINE_EVERY);
                if due || last != topic {
                    (*written, *last) = (Some(now), topic.to_owned());
                    let percent = units::percent(done, total);
                    self.output.note(&format!("{percent:>3} %  {}", words(topic, details)));
                }
            }
            Line::None => {}
        }
    }

    /// A line of its own, above the bar.
    pub(crate) fn interrupt(&self, line: &str) {
        match &self.line {
            Line::Bar(bar) => bar.suspend(|| self.output.note(line)),
            Line::Plain { .. } | Line::None => self.output.note(line),
        }
    }

    /// Takes the bar away, so that what follows has the terminal for itself.
    pub(crate) fn clear(&mut self) {
        if let Line::Bar(bar) = &self.line {
            bar.finish_and_clear();
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

fn words(topic: &str, details: &str) -> String {
    match (topic, details) {
        ("", words) | (words, "") => words.to_owned(),
        _ => format!("{topic}: {details}"),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.set_style(bar_style());
    bar
}

/// The look of every bar.
pub(crate) fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template(TEMPLATE).expect("our own template is valid").progress_chars("█▉▊▋▌▍▎▏ ")
}
