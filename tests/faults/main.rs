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
//! ```
//!
//! A case panics when the fault does harm, and returns the figure of its row. What it needs of the
//! machine is looked at before: a case that cannot run is reported as ignored, never as passed.

#![allow(
    clippy::disallowed_methods,
    reason = "what a test shows, its own files included, is for developers"
)]

mod cases;
mod support;
mod table;

use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use libtest_mimic::{Arguments, Trial};

use support::case::Case;
use table::{Outcome, Table};

/// Most cases wait for something nearly all of their time.
const AT_ONCE: usize = 6;

/// Where to keep the table, relative to the root of the project.
const TABLE: &str = "TNET_FAULTS_TABLE";

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = args.test_threads.or(Some(AT_ONCE));
    let table = Arc::new(Mutex::new(Table::default()));
    // Who measures takes it for writing: nobody else runs meanwhile.
    let quiet = Arc::new(RwLock::new(()));
    let trials = cases::all().into_iter().map(|case| trial(case, &table, &quiet)).collect();
    let conclusion = libtest_mimic::run(&args, trials);
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = std::env::var_os(TABLE).filter(|_| !args.list) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        if let Err(error) = table.write(&root.join(path), &cases::all()) {
            let _ = writeln!(std::io::stderr(), "the table of faults cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    if !args.list {
        let _ = writeln!(std::io::stdout(), "{}", table.summary());
    }
    conclusion.exit_code()
}

fn trial(case: Case, table: &Arc<Mutex<Table>>, quiet: &Arc<RwLock<()>>) -> Trial {
    let absent = case.absent();
    if let Some(need) = absent {
        note(table, &case, Outcome::Skipped(need.missing().to_owned()));
    }
    let (name, table, quiet) = (case.test_name(), Arc::clone(table), Arc::clone(quiet));
    let run = move || {
        // A case that failed while it held the lock has said so already.
        let _quiet = case.is_alone.then(|| quiet.write().unwrap_or_else(PoisonError::into_inner));
        let _shared =
            (!case.is_alone).then(|| quiet.read().unwrap_or_else(PoisonError::into_inner));
        note(&table, &case, Outcome::Failed);
        let figure = case.run();
        note(&table, &case, Outcome::Passed(figure));
        Ok(())
    };
    Trial::test(name, run).with_ignored_flag(absent.is_some())
}

fn note(table: &Mutex<Table>, case: &Case, outcome: Outcome) {
    table.lock().unwrap_or_else(PoisonError::into_inner).note(case, outcome);
}
