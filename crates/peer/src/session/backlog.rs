//! What waits to be sent on each connection, counted in bytes, and what all connections of the
//! process have waiting.
//!
//! An order counts from when it is given until its bytes have been handed to the kernel. The reader
//! looks at the answers among them: while the other side takes too few of those, none of its
//! messages are read, and TCP slows it down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tnet_proto::{Holdings, PeerMessage};
use tokio::sync::Notify;

use super::Order;

/// Bytes that wait on one connection at most; then its session ends. Both sides may have 4096 files
/// in common, and open all of them at once.
const SESSION_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that wait on all connections of a process at most. What is beyond costs the session that
/// has most waiting.
pub(crate) const PROCESS_BYTES: usize = 16 * 1024 * 1024;

/// Questions for descriptions that are not answered yet, at which no more is read. Honest clients
/// ask one at a time.
const MAX_QUESTIONS: usize = 4;

/// Other answers that wait, at which no more is read. An honest peer has fewer than half as many
/// requests open, so the reader never waits for it: two sessions that both waited for each other to
/// read would stand still.
const MAX_ANSWERS: usize = 128;

/// What a process has waiting to be sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlogs {
    bytes: Arc<AtomicUsize>,
}

/// What one connection has.
#[derive(Debug)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    answers: AtomicUsize,
    questions: AtomicUsize,
    /// An answer has been sent.
    answered: Notify,
    all: Backlogs,
}

/// What an order adds to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    bytes: usize,
    answers: usize,
    /// Questions for descriptions that it answers.
    settles: usize,
}

impl Backlogs {
    /// Whether more waits than may.
    pub(crate) fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > PROCESS_BYTES
    }

    pub(super) fn of_session(&self) -> Backlog {
        Backlog {
            bytes: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            answered: Notify::new(),
            all: self.clone(),
        }
    }
}

impl Backlog {
    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// False, and nothing is added, if it would be too much for one connection.
    pub(super) fn add(&self, load: Load) -> bool {
        if self.bytes.fetch_add(load.bytes, Ordering::Relaxed) + load.bytes > SESSION_BYTES {
            self.bytes.fetch_sub(load.bytes, Ordering::Relaxed);
            return false;
        }
        self.all.bytes.fetch_add(load.bytes, Ordering::Relaxed);
        if load.answers > 0 {
            self.answers.fetch_add(load.answers, Ordering::Relaxed);
        }
        true
    }

    /// It has been sent, or never will be.
    pub(super) fn remove(&self, load: Load) {
        self.bytes.fetch_sub(load.bytes, Ordering::Relaxed);
        self.all.bytes.fetch_sub(load.bytes, Ordering::Relaxed);
        if load.settles > 0 {
            let left = |questions: usize| Some(questions.saturating_sub(load.settles));
            let _ = self.questions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        }
        if load.answers > 0 {
            self.answers.fetch_sub(load.answers, Ordering::Relaxed);
            self.answered.notify_one();
        }
    }

    /// The other side asks for a description.
    pub(super) fn note_question(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    /// Until few enough answers wait for more questions to be read. Only the reader waits here.
    pub(super) async fn has_room(&self) {
        loop {
            let (questions, answers) = (&self.questions, &self.answers);
            if questions.load(Ordering::Relaxed) < MAX_QUESTIONS
                && answers.load(Ordering::Relaxed) < MAX_ANSWERS
            {
                return;
            }
            self.answered.notified().await;
        }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

impl Load {
    pub(super) fn of(order: &Order) -> Load {
        let mut load = Load { bytes: size_of::<Order>(), ..Load::default() };
        match order {
            Order::Send(message) => {
                load.bytes += heap_bytes(message);
                load.answers = usize::from(is_answer(message));
                load.settles = usize::from(matches!(message, PeerMessage::InfoNotFound { .. }));
            }
            Order::Describe { .. } => (load.answers, load.settles) = (1, 1),
            Order::Upload(upload) => load.bytes += size_of_val(&*upload.spares),
            Order::StopUpload { .. } | Order::Close(_) => {}
        }
        load
    }

    pub(super) fn plus(self, other: Load) -> Load {
        Load {
            bytes: self.bytes + other.bytes,
            answers: self.answers + other.answers,
            settles: self.settles + other.settles,
        }
    }
}

/// Bytes of the lists in a message.
fn heap_bytes(message: &PeerMessage) -> usize {
    match message {
        PeerMessage::Open(open) => match &open.holdings {
            Holdings::Full => 0,
            Holdings::Bitmap(bits) => bits.len(),
        },
        PeerMessage::Have { chunks, .. } => size_of_val(&**chunks),
        PeerMessage::Peers { peers, .. } => size_of_val(&**peers),
        PeerMessage::Data { bytes, .. } => bytes.0.len(),
        PeerMessage::Extension { body, .. } => body.len(),
        PeerMessage::Info(info) => {
            info.tail_leaf.len() + size_of_val(&*info.tail_path) + size_of_val(&*info.sums)
        }
        _ => 0,
    }
}

/// Whether it answers a question that costs the other side nothing.
fn is_answer(message: &PeerMessage) -> bool {
    matches!(
        message,
        PeerMessage::Busy { .. }
            | PeerMessage::Refused { .. }
            | PeerMessage::Pong { .. }
            | PeerMessage::Unsupported { .. }
            | PeerMessage::InfoNotFound { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tnet_proto::FileHandle;

    use super::*;

    fn is_ready(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn busy() -> Load {
        Load::of(&Order::Send(PeerMessage::Busy { file: FileHandle(1), chunk: 0, load: 0 }))
    }

    #[test]
    fn what_waits_is_counted_for_the_process_until_it_is_sent_or_the_session_is_gone() {
        let all = Backlogs::default();
        let (one, other) = (all.of_session(), all.of_session());
        let have = PeerMessage::Have { file: FileHandle(1), chunks: vec![0; 1000] };
        let load = Load::of(&Order::Send(have));
        assert!(load.bytes >= 4000, "{load:?}");
        assert!(one.add(load) && other.add(busy()));
        assert_eq!(all.bytes.load(Ordering::Relaxed), load.plus(busy()).bytes);
        one.remove(load);
        drop(other);
        assert_eq!(all.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_session_takes_no_more_than_its_part_and_all_together_are_told() {
        let all = Backlogs::default();
        let sessions: Vec<Backlog> = (0..8).map(|_| all.of_session()).collect();
        let load = Load { bytes: 1024 * 1024, ..Load::default() };
        let taken = (0..20).filter(|_| sessions[0].add(load)).count();
        assert_eq!(taken * load.bytes, SESSION_BYTES);
        assert!(!all.is_too_much());
        let taken =
            sessions.iter().flat_map(|session| (0..20).filter(|_| session.add(load))).count();
        assert!(all.is_too_much(), "{taken}");
    }

    #[test]
    fn with_four_questions_or_very_many_answers_no_more_is_read_until_one_is_answered() {
        let backlog = Backlogs::default().of_session();
        for _ in 0..MAX_QUESTIONS {
            assert!(is_ready(backlog.has_room()));
            backlog.note_question();
        }
        assert!(!is_ready(backlog.has_room()));
        let answer = Load::of(&Order::Send(PeerMessage::InfoNotFound { hash: [1; 32] }));
        assert!(backlog.add(answer));
        assert!(!is_ready(backlog.has_room()), "it waits to be sent");
        backlog.remove(answer);
        assert!(is_ready(backlog.has_room()));
        for _ in 0..MAX_ANSWERS {
            assert!(backlog.add(busy()));
        }
        assert!(!is_ready(backlog.has_room()));
        backlog.remove(busy());
        assert!(is_ready(backlog.has_room()));
    }

    #[test]
    fn what_is_no_answer_never_keeps_the_reader_from_reading() {
        let backlog = Backlogs::default().of_session();
        for chunk in 0..4096 {
            assert!(
                backlog.add(Load::of(&Order::Send(PeerMessage::Request {
                    file: FileHandle(1),
                    chunk
                })))
            );
        }
        assert!(is_ready(backlog.has_room()));
    }
}
