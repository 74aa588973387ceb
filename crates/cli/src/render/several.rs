//! Several downloads at once: a bar for each that runs, and below them a line for all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tnet_peer::{Progress, Summary};

use super::fit::{Part, cut, part};
use super::output::Output;
use super::progress::{DownloadView, show_summary_of_one, time_left};
use super::rate_meter::RateMeter;
use super::status_line::{StatusLine, columns};
use super::units::{self, count, duration, rate, size, whole_seconds};

/// Columns of a file's name, at most; on a narrow terminal a third of it.
const NAME_COLUMNS: usize = 24;

/// Of more files than this it is not told of each that it is whole: the line for all says how many
/// are.
const MOST_TOLD: usize = 256;

/// Failures that are told, each with its reason. Of thousands the reasons are mostly the same.
const MOST_FAILURES_TOLD: usize = 64;

/// All of them.
pub(crate) struct SeveralView {
    output: Output,
    bars: MultiProgress,
    whole: Rc<RefCell<Whole>>,
}

/// What became of them so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) files: usize,
    pub(crate) complete: usize,
    pub(crate) failed: usize,
    /// Of the complete ones.
    pub(crate) bytes: u64,
    /// Of the complete ones, without what was there.
    pub(crate) downloaded: u64,
    pub(crate) wasted: u64,
    pub(crate) elapsed: Duration,
}

impl Tally {
    /// Bytes downloaded a second.
    pub(crate) fn per_second(&self) -> u64 {
        units::per_second(self.downloaded, self.elapsed)
    }
}

/// What the rows have in common.
pub(super) struct Whole {
    line: StatusLine,
    start: Instant,
    tally: Tally,
    /// Sum of the sizes that are known.
    bytes_total: u64,
    /// Of the files that are whole.
    bytes_before: u64,
    running: BTreeMap<u64, Running>,
    next: u64,
    rate: RateMeter,
}

#[derive(Default)]
struct Running {
    name: String,
    /// The size, if it was not known from the start and is now.
    learned: Option<u64>,
    size_known: bool,
    bytes_done: u64,
    waiting: Option<String>,
}

/// A row's place in the whole.
pub(super) struct Place {
    whole: Rc<RefCell<Whole>>,
    key: u64,
}

impl SeveralView {
    /// `bytes_known` is the sum of the sizes of those whose size is known.
    pub(crate) fn new(output: Output, files: usize, bytes_known: u64) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let whole = Whole {
            line: StatusLine::below(output, &bars),
            start: Instant::now(),
            tally: Tally { files, ..Tally::default() },
            bytes_total: bytes_known,
            bytes_before: 0,
            running: BTreeMap::new(),
            next: 0,
            rate: RateMeter::default(),
        };
        Self { output, bars, whole: Rc::new(RefCell::new(whole)) }
    }

    /// A row for a file that begins.
    pub(crate) fn row(&self, name: &str, size: Option<u64>) -> DownloadView {
        let key = self.whole.borrow_mut().begin(name, size.is_some());
        let place = Place { whole: Rc::clone(&self.whole), key };
        let room = NAME_COLUMNS.min(columns() / 3);
        let shown = format!("{:<room$}", cut(name, room));
        let is_one_of_very_many = self.whole.borrow().tally.files > MOST_TOLD;
        let line = if is_one_of_very_many {
            StatusLine::above_later(self.output, &self.bars, &shown)
        } else {
            StatusLine::above(self.output, &self.bars, &shown)
        };
        DownloadView::of_several(self.output, line, name, place)
    }

    /// A file is whole, whose size was or was not known from the start.
    pub(crate) fn complete(&self, summary: &Summary, size: Option<u64>) {
        let mut whole = self.whole.borrow_mut();
        whole.bytes_before += summary.bytes_total;
        if size.is_none() {
            whole.bytes_total += summary.bytes_total;
        }
        let tally = &mut whole.tally;
        tally.complete += 1;
        tally.bytes += summary.bytes_total;
        tally.downloaded += summary.bytes_total.saturating_sub(summary.bytes_resumed);
        tally.wasted += summary.traffic.bytes_wasted;
        whole.show(Instant::now());
        if whole.tally.files <= MOST_TOLD {
            whole.line.interrupt(|output| show_summary_of_one(*output, summary));
        }
    }

    /// A file could not be had.
    pub(crate) fn failed(&self, why: &str) {
        let mut whole = self.whole.borrow_mut();
        whole.tally.failed += 1;
        if whole.tally.failed <= MOST_FAILURES_TOLD {
            whole.line.interrupt(|output| output.complaint(why));
        }
    }

    /// Something that concerns all of them.
    pub(crate) fn tell(&self, what: &str) {
        self.whole.borrow().line.interrupt(|output| output.complaint(what));
    }

    /// Says how all of it went.
    pub(crate) fn end(&self) -> Tally {
        let mut whole = self.whole.borrow_mut();
        whole.tally.elapsed = whole.start.elapsed();
        whole.line.clear();
        if let Some(more) =
            whole.tally.failed.checked_sub(MOST_FAILURES_TOLD).filter(|more| *more > 0)
        {
            self.output.complaint(&format!("{} more failed", count(more as u64, "file")));
        }
        self.output.outcome(&whole.tally.line());
        whole.tally.clone()
    }
}

impl Tally {
    fn line(&self) -> String {
        let mut line = format!(
            "{} of {}: {} in {} ({}), {} wasted",
            self.complete,
            count(self.files as u64, "file"),
            size(self.bytes),
            duration(self.elapsed),
            rate(self.downloaded, self.elapsed),
            size(self.wasted),
        );
        if self.failed > 0 {
            line.push_str(&format!("; {} failed", self.failed));
        }
        line
    }
}

impl Whole {
    fn begin(&mut self, name: &str, size_known: bool) -> u64 {
        let key = self.next;
        self.next += 1;
        self.running
            .insert(key, Running { name: name.to_owned(), size_known, ..Running::default() });
        key
    }

    fn show(&mut self, now: Instant) {
        let running: u64 = self.running.values().map(|row| row.bytes_done).sum();
        let done = self.bytes_before + running;
        self.rate.add(now, done);
        let parts = self.parts(done);
        let total = self.bytes_total;
        self.line.show(now, "", done, total, &parts);
    }

    fn parts(&self, done: u64) -> Vec<Part> {
        let ended = self.tally.complete + self.tally.failed;
        let per_second = self.rate.per_second();
        let mut parts = vec![
            part(0, format!("{ended} of {}", count(self.tally.files as u64, "file"))),
            part(2, format!("{} of {}", size(done), size(self.bytes_total))),
            part(0, format!("{}/s", size(per_second))),
        ];
        if let Some(left) = time_left(done, self.bytes_total, per_second) {
            parts.push(part(1, format!("{} left", whole_seconds(left))));
        }
        // A bar of its own shows it where there are bars.
        let stuck = self.running.values().find_map(|row| Some((&row.name, row.waiting.as_ref()?)));
        if let Some((name, waiting)) = stuck.filter(|_| !self.line.is_bar()) {
            parts.push(part(1, format!("{name} waits: {waiting}")));
        }
        parts
    }
}

impl Place {
    /// Takes the latest of this row into account.
    pub(super) fn show(&self, now: Instant, progress: &Progress) {
        let mut whole = self.whole.borrow_mut();
        let whole = &mut *whole;
        if let Some(row) = whole.running.get_mut(&self.key) {
            if !row.size_known && row.learned.is_none() {
                row.learned = Some(progress.bytes_total);
                whole.bytes_total += progress.bytes_total;
            }
            row.bytes_done = progress.bytes_done;
            row.waiting = progress.waiting.map(|waiting| waiting.to_string());
        }
        whole.show(now);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut whole = self.whole.borrow_mut();
        if let Some(row) = whole.running.remove(&self.key) {
            whole.bytes_total -= row.learned.unwrap_or(0);
        }
    }
}
