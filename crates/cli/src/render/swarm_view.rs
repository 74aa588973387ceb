//! Several downloads side by side: a bar for each, or lines.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use tnet_peer::{Phase, Progress};

use super::output::{Output, Style};
use super::progress::phase_name;
use super::rate_meter::RateMeter;
use super::status_line::bar_style;
use super::units::{count, percent, size};

/// Time between plain lines. Shorter than that of a single download: this one is over in seconds.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// A line is also written after this much more of the total, since a small swarm is done within a
/// second.
const LINE_PER_PERCENT: u64 = 20;

/// A view of named downloads.
pub(crate) struct SwarmView {
    output: Output,
    rows: Vec<Row>,
    line_written: Option<Instant>,
    percent_written: u64,
}

struct Row {
    name: String,
    rate: RateMeter,
    bar: Option<ProgressBar>,
}

impl SwarmView {
    pub(crate) fn new(output: Output, names: &[String]) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let row = |name: &String| Row {
            name: name.clone(),
            rate: RateMeter::default(),
            bar: (output.style() == Style::Bars).then(|| {
                let bar = bars.add(ProgressBar::new(0).with_style(bar_style(true)));
                bar.set_prefix(format!("{name}  "));
                bar
            }),
        };
        Self {
            output,
            rows: names.iter().map(row).collect(),
            line_written: None,
            percent_written: 0,
        }
    }

    /// Shows the latest of all of them, in the order of their names.
    pub(crate) fn show(&mut self, now: Instant, latest: &[Progress]) {
        for (row, progress) in self.rows.iter_mut().zip(latest) {
            row.rate.add(now, progress.bytes_done);
            if let Some(bar) = &row.bar {
                bar.set_length(progress.bytes_total);
                bar.set_position(progress.bytes_done);
                bar.set_message(row.words(progress));
            }
        }
        let (done, total) = latest.iter().fold((0, 0), |(done, total), progress| {
            (done + progress.bytes_done, total + progress.bytes_total)
        });
        let reached = percent(done, total);
        let due = self.line_written.is_none_or(|written| now.duration_since(written) >= LINE_EVERY)
            || reached >= self.percent_written + LINE_PER_PERCENT;
        if self.output.style() == Style::Lines && due {
            self.line_written = Some(now);
            self.percent_written = reached;
            self.output.note(&self.line(latest));
        }
    }

    /// Ends the bars and leaves them in place.
    pub(crate) fn finish(&self) {
        for bar in self.rows.iter().filter_map(|row| row.bar.as_ref()) {
            bar.abandon();
        }
    }

    fn line(&self, latest: &[Progress]) -> String {
        let row = |(row, progress): (&Row, &Progress)| {
            format!("{} {:>3} %", row.name, percent(progress.bytes_done, progress.bytes_total))
        };
        let downloads: Vec<String> = self.rows.iter().zip(latest).map(row).collect();
        let rate: u64 = self.rows.iter().map(|row| row.rate.per_second()).sum();
        format!("{}   {}/s together", downloads.join("   "), size(rate))
    }
}

impl Row {
    fn words(&self, progress: &Progress) -> String {
        match progress.phase {
            Phase::Downloading | Phase::Finishing => format!(
                "{:>10}/s from {}",
                size(self.rate.per_second()),
                count(progress.traffic.sources.into(), "peer")
            ),
            Phase::Complete => {
                format!("whole, from {}", count(progress.traffic.sources.into(), "peer"))
            }
            phase => phase_name(phase).to_owned(),
        }
    }
}
