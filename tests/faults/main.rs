//! Every fault that a peer, a disk, a network or a coordinator can have, injected for real: one
//! named test for each row of `docs/faults.md`, which this suite writes.
//!
//! ```sh
//! # What can be injected here; the rest is "ignored".
//! cargo test -p tnet-testkit --test faults
//! # One row.
//! cargo test -p tnet-testkit --test faults -- row_42
//! # All, and writes the table.
//! TNET_FAULTS_TABLE=docs/faults.md cargo test -p tnet-testkit --test faults
//! # One row at full length.
//! TNET_SOAK=1 cargo test -p tnet-testkit --test faults -- row_41
//! # How long each case took, the longest first.
//! TNET_FAULTS_TIMES=1 cargo test -p tnet-testkit --test faults
//! ```
//!
//! A case panics when the fault does harm, and returns the figure of its row. What it needs of the
//! machine is checked before: a case that cannot run is reported as ignored, never as passed.
//!
//! Cases run side by side as far as their bounds allow: `support/schedule.rs`. A case is `alone` if
//! its bound would not hold beside others, and `measures` if only its figure would be another.

#![expect(
    clippy::disallowed_methods,
    reason = "what a test shows, its own files included, is for developers"
)]

mod cases;
mod support;
mod table;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use libtest_mimic::{Arguments, Trial};
use tnet_testkit::Cli;

use support::case::Case;
use support::schedule::Schedule;
use support::soak::TABLE;
use table::{Outcome, Table};

/// Prints how long each case took.
const TIMES: &str = "TNET_FAULTS_TIMES";

/// What all cases of a run share.
#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    schedule: Schedule,
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    let shared = Arc::new(Shared::default());
    let mut cases = cases::all();
    cases.sort_by_key(|case| std::cmp::Reverse(case.lasts));
    let trials: Vec<Trial> =
        cases.into_iter().enumerate().map(|(rank, case)| trial(case, rank, &shared)).collect();
    if !args.list {
        // Builds the command before a case measures anything.
        Cli::at(Path::new(".")).command(["--version"]);
    }
    // The schedule decides which cases run: every case has a thread in which it waits for its turn.
    args.test_threads = args.test_threads.or(Some(trials.len()));
    let conclusion = libtest_mimic::run(&args, trials);
    let table = shared.table.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = std::env::var_os(TABLE).filter(|_| !args.list) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        if let Err(error) = table.write(&root.join(path), &cases::all()) {
            let _ = writeln!(std::io::stderr(), "the table of faults cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    if !args.list {
        let times = std::env::var_os(TIMES).map(|_| table.times()).unwrap_or_default();
        let _ = writeln!(std::io::stdout(), "{times}{}", table.summary());
    }
    conclusion.exit_code()
}

fn trial(case: Case, rank: usize, shared: &Arc<Shared>) -> Trial {
    let absent = case.absent();
    if let Some(need) = absent {
        shared.note(&case, Outcome::Skipped(need.missing().to_owned()));
    }
    let (name, shared) = (case.test_name(), Arc::clone(shared));
    let run = move || {
        let _turn = shared.schedule.turn(case.load(), rank);
        let began = Instant::now();
        shared.note(&case, Outcome::Failed);
        let figure = case.run();
        shared.note(&case, Outcome::Passed { figure, took: began.elapsed() });
        Ok(())
    };
    Trial::test(name, run).with_ignored_flag(absent.is_some())
}

impl Shared {
    fn note(&self, case: &Case, outcome: Outcome) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).note(case, outcome);
    }
}
