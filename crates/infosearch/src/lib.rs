//! Finds the description of a file among the peers that hold it, most of which may be silent, slow
//! or lying: several are asked side by side, and the first description that proves itself is taken.

// Network input must never be used as an index: use `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod askers;
mod asking;
mod fault;
mod plan;
mod unreached;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tnet_fileinfo::{FileHash, FileInfo};
use tnet_proto::Time;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

pub use askers::Askers;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use asking::fuzzing;
pub use fault::UselessHolders;
pub use unreached::Unreached;

use asking::{Begun, InfoError, Question};
use plan::{AT_ONCE, Plan, Step};

/// Pause between questions to the coordinator while all that are known have been asked.
const LOOK_UP_AGAIN: Duration = Duration::from_millis(500);

/// Most that one question says of what has begun.
const BEGINS: usize = 3;

/// One search. What it has learned stays when it is interrupted.
#[derive(Debug)]
pub struct InfoSearch {
    hash: FileHash,
    askers: Askers,
    began: Time,
    plan: Plan,
    /// Peers that have the whole file, when the coordinator said so last.
    full: u32,
}

/// Who holds a file, by the coordinator.
#[derive(Debug, Clone)]
pub struct Found {
    /// Peers that have the whole file.
    pub full: u32,
    /// Some holders, those who have a part among them.
    pub addresses: Vec<SocketAddr>,
}

type Answer = (SocketAddr, Result<FileInfo, InfoError>);

/// The questions that are open.
struct Questions {
    tasks: JoinSet<Answer>,
    open: HashMap<SocketAddr, AbortHandle>,
    begins: mpsc::Sender<(SocketAddr, Begun)>,
}

impl InfoSearch {
    /// For the description of that file.
    pub fn new(hash: FileHash, askers: Askers) -> InfoSearch {
        InfoSearch { hash, began: askers.clock.now(), askers, plan: Plan::default(), full: 0 }
    }

    /// Goes on until there is a description. `look_up` asks who holds the file; `asked` counts the
    /// questions.
    ///
    /// # Errors
    /// That of `look_up`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn run<F, E>(
        &mut self,
        asked: &AtomicUsize,
        mut look_up: impl FnMut() -> F,
    ) -> Result<FileInfo, E>
    where
        F: Future<Output = Result<Found, E>>,
    {
        let (begins, mut begun) = mpsc::channel(BEGINS * AT_ONCE);
        let mut questions = Questions { tasks: JoinSet::new(), open: HashMap::new(), begins };
        let mut looking_up = std::pin::pin!(None);
        let clock = self.askers.clock.clone();
        let mut look_up_from = clock.now();
        loop {
            while let Some(step) = self.plan.next(self.now()) {
                match step {
                    Step::Ask(address) => {
                        asked.fetch_add(1, Ordering::Relaxed);
                        self.ask(&mut questions, address);
                    }
                    Step::GiveUp(address) => questions.give_up(address),
                }
            }
            let is_short = self.plan.needs_holders();
            if is_short && looking_up.is_none() && clock.now() >= look_up_from {
                looking_up.set(Some(look_up()));
            }
            let is_looking_up = looking_up.is_some();
            let again = (is_short && !is_looking_up).then_some(look_up_from);
            let due = self
                .plan
                .next_wake(self.now())
                .map(|due| self.began + due)
                .into_iter()
                .chain(again)
                .min();
            tokio::select! {
                Some(ended) = questions.tasks.join_next() => {
                    // One that was given up has no answer.
                    if let Ok((address, outcome)) = ended
                        && questions.open.remove(&address).is_some()
                    {
                        match outcome {
                            Ok(info) => return Ok(info),
                            Err(error) => {
                                tracing::debug!(%address, %error, "no description from this peer");
                                match error.fault() {
                                    Some(fault) => self.plan.ended(self.now(), address, fault),
                                    None => self.plan.not_asked(self.now(), address),
                                }
                            }
                        }
                    }
                }
                Some((address, begun)) = begun.recv() => self.plan.begun(address, begun),
                found = async { looking_up.as_mut().as_pin_mut().expect("looked at before").await }, if is_looking_up => {
                    looking_up.set(None);
                    look_up_from = clock.now() + LOOK_UP_AGAIN;
                    let Found { full, addresses } = found?;
                    self.full = full;
                    self.plan.learn(self.now(), addresses);
                }
                () = clock.sleep_until(due.unwrap_or(look_up_from)), if due.is_some() => {}
            }
        }
    }

    /// Why those that were asked were of no use.
    pub fn useless(&self) -> UselessHolders {
        self.plan.faults().collect()
    }

    /// Those who hold the file, if there are some and none of them can be reached.
    pub fn unreached(&self) -> Option<Unreached> {
        let calls = self.plan.unreached()?;
        (self.full > 0 || !calls.is_empty()).then_some(Unreached { full: self.full, calls })
    }

    fn now(&self) -> Duration {
        self.askers.clock.now() - self.began
    }

    fn ask(&self, questions: &mut Questions, address: SocketAddr) {
        let question = Question { hash: self.hash, askers: self.askers.clone() };
        let begins = questions.begins.clone();
        let begins = move |begun| {
            // There is room for what all that are open at once have to say.
            let _ = begins.try_send((address, begun));
        };
        let task = async move { (address, asking::ask(address, question, begins).await) };
        questions.open.insert(address, questions.tasks.spawn(task));
    }
}

impl Questions {
    fn give_up(&mut self, address: SocketAddr) {
        if let Some(task) = self.open.remove(&address) {
            task.abort();
        }
    }
}
