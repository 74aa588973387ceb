//! One row of the list of faults.

use std::pin::Pin;

use super::needs::Need;
use super::schedule::Load;
use super::soak::figures_count;

/// What a case does: returns the figure of its row, panics if the fault does harm.
pub(crate) type Run = fn() -> Pin<Box<dyn Future<Output = String>>>;

/// A fault and its test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Its number in the list.
    pub(crate) row: u8,
    /// The fault, in a few words, as the table has it.
    pub(crate) fault: &'static str,
    /// What the machine must be able to do.
    pub(crate) needs: &'static [Need],
    /// About how long it takes, in seconds. The longest cases begin first.
    pub(crate) lasts: u16,
    load: Load,
    /// Its bound leaves room for other cases beside it, its figure does not.
    is_measure: bool,
    name: &'static str,
    run: Run,
}

impl Case {
    pub(crate) const fn new(row: u8, name: &'static str, fault: &'static str, run: Run) -> Case {
        Case { row, fault, needs: &[], lasts: 0, load: Load::Waits, is_measure: false, name, run }
    }

    /// Needs this of the machine.
    pub(crate) const fn needing(mut self, needs: &'static [Need]) -> Case {
        self.needs = needs;
        self
    }

    /// Takes about so many seconds: only needed where it is more than ten.
    pub(crate) const fn lasts(mut self, seconds: u16) -> Case {
        self.lasts = seconds;
        self
    }

    /// Keeps processors busy.
    pub(crate) const fn works(mut self) -> Case {
        self.load = Load::Works;
        self
    }

    /// Keeps processors busy, and its figure is a time or a share: runs alone when figures count.
    pub(crate) const fn measures(mut self) -> Case {
        self.load = Load::Works;
        self.is_measure = true;
        self
    }

    /// Runs while no other case does: its bound does not hold beside others.
    pub(crate) const fn alone(mut self) -> Case {
        self.load = Load::Alone;
        self
    }

    /// What it does to the machine in this run.
    pub(crate) fn load(&self) -> Load {
        if self.is_measure && figures_count() { Load::Alone } else { self.load }
    }

    /// As `cargo test` shows it.
    pub(crate) fn test_name(&self) -> String {
        format!("row_{:02}_{}", self.row, self.name)
    }

    /// The first thing it needs that is not here.
    pub(crate) fn absent(&self) -> Option<Need> {
        self.needs.iter().copied().find(|need| !need.is_met())
    }

    /// Runs it to its end and returns the figure.
    pub(crate) fn run(&self) -> String {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a machine that runs tests can start threads").block_on((self.run)())
    }
}

/// The cases of a module: `cases![row "fault" function (.needing(...))*; ...]`, each named as its
/// function.
macro_rules! cases {
    ($($row:literal $fault:literal $run:ident $(. $with:ident ($($argument:expr)?))*;)*) => {
        pub(super) const CASES: &[$crate::support::case::Case] = &[$(
            $crate::support::case::Case::new($row, stringify!($run), $fault, || Box::pin($run()))
                $(. $with($($argument)?))*
        ),*];
    };
}
pub(crate) use cases;
