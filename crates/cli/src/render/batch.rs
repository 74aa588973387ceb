//! Several downloads at once: a bar for each that runs, and below them a line for all.

use std::cell::RefCell;
use std::rc::Rc;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tnet_peer::Summary;

use super::batch_totals::{BatchTotals, RowHandle};
use super::fit::cut;
use super::output::Output;
use super::progress::DownloadView;
use super::status_line::{StatusLine, columns};
use super::summary::show_summary_of_one;
use super::units::count;

pub(crate) use super::batch_totals::Tally;

/// Columns of a file's name, at most; on a narrow terminal a third of it.
const NAME_COLUMNS: usize = 24;

/// Above this number of files no line is printed for each complete one: the line for all counts
/// them.
const MOST_TOLD: usize = 256;

/// Failures that are printed, each with its reason. Of thousands the reasons are mostly the same.
const MOST_FAILURES_TOLD: usize = 64;

/// All of them.
pub(crate) struct BatchView {
    output: Output,
    bars: MultiProgress,
    totals: Rc<RefCell<BatchTotals>>,
}

impl BatchView {
    /// `bytes_known` is the sum of the sizes of those files whose size is known.
    pub(crate) fn new(output: Output, files: usize, bytes_known: u64) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let totals = BatchTotals::new(StatusLine::below(output, &bars), files, bytes_known);
        Self { output, bars, totals: Rc::new(RefCell::new(totals)) }
    }

    /// A row for a file that begins.
    pub(crate) fn row(&self, name: &str, size: Option<u64>) -> DownloadView {
        let handle = RowHandle::new(&self.totals, name, size);
        let room = NAME_COLUMNS.min(columns() / 3);
        let shown = format!("{:<room$}", cut(name, room));
        let is_one_of_very_many = self.totals.borrow().tally.files > MOST_TOLD;
        let line = if is_one_of_very_many {
            StatusLine::above_later(self.output, &self.bars, &shown)
        } else {
            StatusLine::above(self.output, &self.bars, &shown)
        };
        DownloadView::in_batch(self.output, line, name, handle)
    }

    /// A file is whole, whose size was or was not known from the start.
    pub(crate) fn complete(&self, summary: &Summary, size: Option<u64>) {
        let mut totals = self.totals.borrow_mut();
        totals.complete(summary, size);
        if totals.tally.files <= MOST_TOLD {
            totals.line.interrupt(|output| show_summary_of_one(*output, summary));
        }
    }

    /// A download failed.
    pub(crate) fn failed(&self, why: &str) {
        let mut totals = self.totals.borrow_mut();
        totals.tally.failed += 1;
        if totals.tally.failed <= MOST_FAILURES_TOLD {
            totals.line.interrupt(|output| output.complaint(why));
        }
    }

    /// Something that concerns all of them.
    pub(crate) fn tell(&self, what: &str) {
        self.totals.borrow().line.interrupt(|output| output.complaint(what));
    }

    /// Says how all of it went.
    pub(crate) fn end(&self) -> Tally {
        let tally = self.totals.borrow_mut().end();
        if let Some(more) = tally.failed.checked_sub(MOST_FAILURES_TOLD).filter(|more| *more > 0) {
            self.output.complaint(&format!("{} more failed", count(more as u64, "file")));
        }
        self.output.outcome(&tally.line());
        tally
    }
}
