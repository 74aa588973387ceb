//! What the downloads of a batch add up to, and the status line for all of them. Each running
//! download has a [`RowHandle`] through which it reports.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tnet_peer::{Progress, Summary};

use super::fit::{Part, part};
use super::rate_meter::RateMeter;
use super::status_line::StatusLine;
use super::units::{self, count, duration, rate, size, time_left, whole_seconds};

/// The outcome so far.
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

    /// The sentence at the end.
    pub(super) fn line(&self) -> String {
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

/// The running downloads of a batch together with those that ended.
pub(super) struct BatchTotals {
    pub(super) line: StatusLine,
    start: Instant,
    pub(super) tally: Tally,
    /// Sum of the sizes that are known.
    bytes_total: u64,
    /// Of the files that are whole.
    bytes_before: u64,
    running: BTreeMap<u64, RunningRow>,
    next: u64,
    rate: RateMeter,
}

#[derive(Default)]
struct RunningRow {
    name: String,
    /// The size, if it was not known from the start and is now.
    learned: Option<u64>,
    size_known: bool,
    bytes_done: u64,
    waiting: Option<String>,
}

/// A running file's row in the batch; dropping it removes the row.
pub(super) struct RowHandle {
    totals: Rc<RefCell<BatchTotals>>,
    key: u64,
}

impl BatchTotals {
    /// `bytes_known` is the sum of the sizes of those files whose size is known.
    pub(super) fn new(line: StatusLine, files: usize, bytes_known: u64) -> Self {
        Self {
            line,
            start: Instant::now(),
            tally: Tally { files, ..Tally::default() },
            bytes_total: bytes_known,
            bytes_before: 0,
            running: BTreeMap::new(),
            next: 0,
            rate: RateMeter::default(),
        }
    }

    /// A file is whole, whose size was or was not known from the start.
    pub(super) fn complete(&mut self, summary: &Summary, size: Option<u64>) {
        self.bytes_before += summary.bytes_total;
        if size.is_none() {
            self.bytes_total += summary.bytes_total;
        }
        self.tally.complete += 1;
        self.tally.bytes += summary.bytes_total;
        self.tally.downloaded += summary.bytes_total.saturating_sub(summary.bytes_resumed);
        self.tally.wasted += summary.traffic.bytes_wasted;
        self.show(Instant::now());
    }

    /// Takes the line away; answers what became of all files.
    pub(super) fn end(&mut self) -> Tally {
        self.tally.elapsed = self.start.elapsed();
        self.line.clear();
        self.tally.clone()
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
        if let Some(left) = time_left(self.bytes_total.saturating_sub(done), per_second) {
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

impl RowHandle {
    /// A row for a file that begins.
    pub(super) fn new(totals: &Rc<RefCell<BatchTotals>>, name: &str, size: Option<u64>) -> Self {
        let key = {
            let mut totals = totals.borrow_mut();
            let key = totals.next;
            totals.next += 1;
            let size_known = size.is_some();
            let row = RunningRow { name: name.to_owned(), size_known, ..RunningRow::default() };
            totals.running.insert(key, row);
            key
        };
        Self { totals: Rc::clone(totals), key }
    }

    /// Takes the latest of this row into account.
    pub(super) fn show(&self, now: Instant, progress: &Progress) {
        let mut totals = self.totals.borrow_mut();
        let totals = &mut *totals;
        if let Some(row) = totals.running.get_mut(&self.key) {
            if !row.size_known && row.learned.is_none() {
                row.learned = Some(progress.bytes_total);
                totals.bytes_total += progress.bytes_total;
            }
            row.bytes_done = progress.bytes_done;
            row.waiting = progress.waiting.map(|waiting| waiting.to_string());
        }
        totals.show(now);
    }
}

impl Drop for RowHandle {
    fn drop(&mut self) {
        let mut totals = self.totals.borrow_mut();
        if let Some(row) = totals.running.remove(&self.key) {
            totals.bytes_total -= row.learned.unwrap_or(0);
        }
    }
}
