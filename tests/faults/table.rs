//! The table of faults, tests and last figures, one line for each test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use crate::support::case::Case;

const INTRODUCTION: &str = "\
# Faults

Written by the suite itself: `TNET_FAULTS_TABLE=docs/faults.md cargo test -p tnet-testkit --test
faults` runs every case and replaces the lines of those that ran. Each row is a fault that a test
injects for real, and the figure is what the last run measured; the suite fails if the fault does
harm.

After every row: no byte that fails its sum is ever visible under the final name (I1); the final
file is identical or absent (I2); verified bytes are not downloaded again, but for one chunk per
slot and crash (I3); the process ends with 0 or with its own code and a one-line cause (I4);
memory, descriptors and tasks return to where they were (I5); giving up takes bounded time (I6).

| row | fault | test | result | figure |
| --- | --- | --- | --- | --- |
";

/// How a case went.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Passed { figure: String, took: Duration },
    Failed,
    Skipped(String),
}

/// What was seen in this run.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By the name of the test: several tests may share a row.
    seen: BTreeMap<String, (String, Outcome)>,
}

impl Table {
    pub(crate) fn note(&mut self, case: &Case, outcome: Outcome) {
        self.seen.insert(case.test_name(), (line(case, &outcome), outcome));
    }

    /// How long each case took, a line each, the longest first.
    pub(crate) fn times(&self) -> String {
        let passed = self.seen.iter().filter_map(|(name, (_, outcome))| match outcome {
            Outcome::Passed { took, .. } => Some((*took, name)),
            Outcome::Failed | Outcome::Skipped(_) => None,
        });
        let mut times: Vec<_> = passed.collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let mut text = String::new();
        for (took, name) in times {
            let _ = writeln!(text, "{:7.2} s {name}", took.as_secs_f64());
        }
        text
    }

    /// How many cases passed, and what was skipped.
    pub(crate) fn summary(&self) -> String {
        let count = |is: fn(&Outcome) -> bool| {
            self.seen.values().filter(|(_, outcome)| is(outcome)).count()
        };
        let passed = count(|outcome| matches!(outcome, Outcome::Passed { .. }));
        let failed = count(|outcome| matches!(outcome, Outcome::Failed));
        let mut text = format!("{passed} cases passed, {failed} failed");
        for (name, (_, outcome)) in &self.seen {
            if let Outcome::Skipped(why) = outcome {
                let _ = write!(text, "\nSKIPPED: {name} {why}");
            }
        }
        text
    }

    /// Rewrites the table: lines of cases that did not run now stay as they are, lines of cases
    /// that are gone are removed.
    pub(crate) fn write(&self, path: &Path, cases: &[Case]) -> io::Result<()> {
        let old = fs::read_to_string(path).unwrap_or_default();
        let mut text = INTRODUCTION.to_owned();
        for case in cases {
            let name = case.test_name();
            let seen = self.seen.get(&name).map(|(line, _)| line.as_str());
            let kept = || old.lines().find(|line| line.contains(&format!("| `{name}` |")));
            if let Some(line) = seen.or_else(kept) {
                text.push_str(line);
                text.push('\n');
            }
        }
        fs::write(path, text)
    }
}

fn line(case: &Case, outcome: &Outcome) -> String {
    let (result, figure) = match outcome {
        Outcome::Passed { figure, .. } => ("passed", figure.as_str()),
        Outcome::Failed => ("**failed**", ""),
        Outcome::Skipped(why) => ("skipped", why.as_str()),
    };
    format!("| {} | {} | `{}` | {result} | {figure} |", case.row, case.fault, case.test_name())
}
