//! Bytes that wait to be sent, on each connection and on all connections of the process.
//!
//! An order counts from when it is queued until its bytes are in the kernel. Back-pressure: while
//! too many answers among them wait, the reader reads no messages of that peer, and TCP slows it
//! down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes that may wait on one connection; beyond that its session ends. Both sides may have 4096
/// files in common and open all of them at once.
const MAX_SESSION_BACKLOG: usize = 8 * 1024 * 1024;

/// Bytes that may wait on all connections of a process; beyond that the engine ends the session
/// with most bytes waiting.
pub const MAX_PROCESS_BACKLOG: usize = 16 * 1024 * 1024;

/// Unanswered requests for descriptions at which reading stops. Honest clients send one at a time.
const MAX_INFO_REQUESTS: usize = 4;

/// Waiting answers at which reading stops. An honest peer has fewer than half as many requests
/// open, so the reader never waits because of it: two sessions that waited for each other to read
/// would deadlock.
const MAX_ANSWERS: usize = 128;
const _: () = assert!(MAX_ANSWERS >= 2 * tnet_proto::MAX_UNANSWERED);

/// Bytes that wait to be sent in the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessBacklog {
    bytes: Arc<AtomicUsize>,
}

/// What waits to be sent on one connection.
#[derive(Debug)]
pub(super) struct SessionBacklog {
    bytes: AtomicUsize,
    answers: AtomicUsize,
    info_requests: AtomicUsize,
    /// An answer has been sent.
    answered: Notify,
    process: ProcessBacklog,
}

/// What an order adds to the backlog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OrderCost {
    pub(super) bytes: usize,
    /// Answers to messages that cost the other side nothing.
    pub(super) answers: usize,
    /// Answers to requests for descriptions.
    pub(super) info_answers: usize,
}

impl ProcessBacklog {
    pub(crate) fn exceeds_limit(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > MAX_PROCESS_BACKLOG
    }

    pub(super) fn of_session(&self) -> SessionBacklog {
        SessionBacklog {
            bytes: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            info_requests: AtomicUsize::new(0),
            answered: Notify::new(),
            process: self.clone(),
        }
    }
}

impl SessionBacklog {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// False, and adds nothing, if the connection would exceed its limit.
    pub(super) fn add(&self, cost: OrderCost) -> bool {
        if self.bytes.fetch_add(cost.bytes, Ordering::Relaxed) + cost.bytes > MAX_SESSION_BACKLOG {
            self.bytes.fetch_sub(cost.bytes, Ordering::Relaxed);
            return false;
        }
        self.process.bytes.fetch_add(cost.bytes, Ordering::Relaxed);
        if cost.answers > 0 {
            self.answers.fetch_add(cost.answers, Ordering::Relaxed);
        }
        true
    }

    /// For an order that has been sent, or never will be.
    pub(super) fn remove(&self, cost: OrderCost) {
        self.bytes.fetch_sub(cost.bytes, Ordering::Relaxed);
        self.process.bytes.fetch_sub(cost.bytes, Ordering::Relaxed);
        if cost.info_answers > 0 {
            let left = |requests: usize| Some(requests.saturating_sub(cost.info_answers));
            let _ = self.info_requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        }
        if cost.answers > 0 {
            self.answers.fetch_sub(cost.answers, Ordering::Relaxed);
            self.answered.notify_one();
        }
    }

    /// The other side has requested a description.
    pub(super) fn add_info_request(&self) {
        self.info_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when few enough answers wait for the next message to be read. Only one task, the
    /// reader, may wait here.
    pub(super) async fn room(&self) {
        loop {
            if self.info_requests.load(Ordering::Relaxed) < MAX_INFO_REQUESTS
                && self.answers.load(Ordering::Relaxed) < MAX_ANSWERS
            {
                return;
            }
            self.answered.notified().await;
        }
    }
}

impl Drop for SessionBacklog {
    fn drop(&mut self) {
        self.process.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

impl OrderCost {
    pub(super) fn plus(self, other: OrderCost) -> OrderCost {
        OrderCost {
            bytes: self.bytes + other.bytes,
            answers: self.answers + other.answers,
            info_answers: self.info_answers + other.info_answers,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tnet_proto::{FileHandle, PeerMessage};

    use super::super::Order;
    use super::*;

    fn is_ready(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn busy() -> OrderCost {
        Order::Send(PeerMessage::Busy { file: FileHandle(1), chunk: 0, load: 0 }).cost()
    }

    #[test]
    fn bytes_count_for_the_process_until_they_are_sent_or_the_session_ends() {
        let all = ProcessBacklog::default();
        let (one, other) = (all.of_session(), all.of_session());
        let have = PeerMessage::Have { file: FileHandle(1), chunks: vec![0; 1000] };
        let cost = Order::Send(have).cost();
        assert!(cost.bytes >= 4000, "{cost:?}");
        assert!(one.add(cost) && other.add(busy()));
        assert_eq!(all.bytes.load(Ordering::Relaxed), cost.plus(busy()).bytes);
        one.remove(cost);
        drop(other);
        assert_eq!(all.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_session_and_the_process_have_a_limit_each() {
        let all = ProcessBacklog::default();
        let sessions: Vec<SessionBacklog> = (0..8).map(|_| all.of_session()).collect();
        let cost = OrderCost { bytes: 1024 * 1024, ..OrderCost::default() };
        let taken = (0..20).filter(|_| sessions[0].add(cost)).count();
        assert_eq!(taken * cost.bytes, MAX_SESSION_BACKLOG);
        assert!(!all.exceeds_limit());
        let taken =
            sessions.iter().flat_map(|session| (0..20).filter(|_| session.add(cost))).count();
        assert!(all.exceeds_limit(), "{taken}");
    }

    #[test]
    fn with_four_info_requests_or_very_many_answers_reading_waits() {
        let backlog = ProcessBacklog::default().of_session();
        for _ in 0..MAX_INFO_REQUESTS {
            assert!(is_ready(backlog.room()));
            backlog.add_info_request();
        }
        assert!(!is_ready(backlog.room()));
        let answer = Order::Send(PeerMessage::InfoNotFound { hash: [1; 32] }).cost();
        assert!(backlog.add(answer));
        assert!(!is_ready(backlog.room()), "the answer waits to be sent");
        backlog.remove(answer);
        assert!(is_ready(backlog.room()));
        for _ in 0..MAX_ANSWERS {
            assert!(backlog.add(busy()));
        }
        assert!(!is_ready(backlog.room()));
        backlog.remove(busy());
        assert!(is_ready(backlog.room()));
    }

    #[test]
    fn only_answers_stop_the_reader() {
        let backlog = ProcessBacklog::default().of_session();
        for chunk in 0..4096 {
            assert!(
                backlog
                    .add(Order::Send(PeerMessage::Request { file: FileHandle(1), chunk }).cost())
            );
        }
        assert!(is_ready(backlog.room()));
    }
}
