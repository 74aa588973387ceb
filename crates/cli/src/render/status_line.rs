//! One line with the progress of long work: a moving bar, or a plain line at intervals, or nothing.
//! It is written to stderr, and a bar is removed when the work is done.

use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::fit::{Part, fitted, joined};
use super::output::{Output, Style};
use super::plain::plain_line;
use super::units;

/// Shorter work writes no plain line: the line at its end suffices.
const FIRST_LINE_AFTER: Duration = Duration::from_secs(1);

/// Time between plain lines, other than when something begins.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// One of very many gets a bar of its own when it takes longer than this.
const WORTH_A_BAR_AFTER: Duration = Duration::from_secs(1);

/// The line.
pub(crate) struct StatusLine {
    output: Output,
    line: Line,
}

enum Line {
    Bar {
        bar: ProgressBar,
        prefix: usize,
        has_bar: bool,
    },
    /// A bar above others, once it takes long enough.
    Later {
        bars: MultiProgress,
        name: String,
        since: Instant,
    },
    Plain {
        since: Instant,
        written: Option<Instant>,
        topic: String,
    },
    None,
}

impl StatusLine {
    pub(crate) fn new(output: Output) -> Self {
        let bar = || ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        Self { output, line: Line::of(output, bar) }
    }

    /// The last of several lines.
    pub(crate) fn below(output: Output, bars: &MultiProgress) -> Self {
        Self { output, line: Line::of(output, || bars.add(ProgressBar::new(0))) }
    }

    /// A bar with a name above the last of several; nothing where there are no bars, since the last
    /// line stands for all.
    pub(crate) fn above(output: Output, bars: &MultiProgress, name: &str) -> Self {
        let line = match output.style() {
            Style::Bars => Line::bar(bars.insert_from_back(1, ProgressBar::new(0)), name),
            Style::Lines | Style::Silent => Line::None,
        };
        Self { output, line }
    }

    /// As [`above`](Self::above), for one of very many: it has a bar only when it takes a while, or
    /// a terminal would have to draw thousands of them.
    pub(crate) fn above_later(output: Output, bars: &MultiProgress, name: &str) -> Self {
        let line = match output.style() {
            Style::Bars => {
                Line::Later { bars: bars.clone(), name: name.to_owned(), since: Instant::now() }
            }
            Style::Lines | Style::Silent => Line::None,
        };
        Self { output, line }
    }

    /// Shows how far it is. `topic` is what is being done; a plain line is written when it changes,
    /// and each ten seconds. A bar says by itself that it goes on, so the topic that needs no words
    /// is left out there.
    pub(crate) fn show(
        &mut self,
        now: Instant,
        topic: &str,
        done: u64,
        total: u64,
        parts: &[Part],
    ) {
        if let Line::Later { bars, name, since } = &self.line
            && now.duration_since(*since) >= WORTH_A_BAR_AFTER
        {
            self.line = Line::bar(bars.insert_from_back(1, ProgressBar::new(0)), name);
        }
        match &mut self.line {
            Line::Bar { bar, prefix, has_bar } => {
                let words = fitted(parts, columns(), *prefix);
                if *has_bar != words.bar {
                    *has_bar = words.bar;
                    bar.set_style(bar_style(words.bar));
                }
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(plain_line(&words.words).into_owned());
            }
            Line::Plain { since, .. } if now.duration_since(*since) < FIRST_LINE_AFTER => {}
            Line::Plain { written, topic: last, .. } => {
                let due = written.is_none_or(|written| now.duration_since(written) >= LINE_EVERY);
                if due || last != topic {
                    (*written, *last) = (Some(now), topic.to_owned());
                    let percent = units::percent(done, total);
                    self.output.note(&format!("{percent:>3} %  {}", words(topic, &joined(parts))));
                }
            }
            Line::Later { .. } | Line::None => {}
        }
    }

    /// Whether it is a bar.
    pub(crate) fn is_bar(&self) -> bool {
        matches!(self.line, Line::Bar { .. } | Line::Later { .. })
    }

    /// Says something above the bar.
    pub(crate) fn interrupt(&self, say: impl FnOnce(&Output)) {
        match &self.line {
            Line::Bar { bar, .. } => bar.suspend(|| say(&self.output)),
            Line::Later { bars, .. } => bars.suspend(|| say(&self.output)),
            Line::Plain { .. } | Line::None => say(&self.output),
        }
    }

    /// Removes the bar.
    pub(crate) fn clear(&mut self) {
        if let Line::Bar { bar, .. } = &self.line {
            bar.finish_and_clear();
        }
    }
}

impl Line {
    fn of(output: Output, bar: impl FnOnce() -> ProgressBar) -> Self {
        match output.style() {
            Style::Bars => Self::bar(bar(), ""),
            Style::Lines => {
                Self::Plain { since: Instant::now(), written: None, topic: String::new() }
            }
            Style::Silent => Self::None,
        }
    }

    fn bar(bar: ProgressBar, name: &str) -> Self {
        let prefix =
            if name.is_empty() { String::new() } else { format!("{}  ", plain_line(name)) };
        bar.set_style(bar_style(true));
        bar.set_prefix(prefix.clone());
        Self::Bar { bar, prefix: prefix.chars().count(), has_bar: true }
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

/// The width of the terminal at stderr.
pub(crate) fn columns() -> usize {
    Term::stderr().size().1.into()
}

/// The style of every line, with a bar if there is room for one.
pub(crate) fn bar_style(has_bar: bool) -> ProgressStyle {
    let template = match has_bar {
        true => "{prefix}{percent:>3} % {wide_bar:.cyan/dim} {msg}",
        false => "{prefix}{percent:>3} % {msg}",
    };
    ProgressStyle::with_template(template)
        .expect("our own template is valid")
        .progress_chars("█▉▊▋▌▍▎▏ ")
}
