//! Waits of a reader for memory of ours. One that takes a while is told: to the engine, which then
//! takes nobody for silent whom we do not read; and to the other side, which could not tell a
//! reader that waits from a connection that is dead.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tnet_proto::PeerMessage;
use tokio::time::timeout;

use super::{Answers, Reports, SessionEvent};

/// Shorter waits are of no interest: nobody is judged by so little.
const TOLD_AFTER: Duration = Duration::from_millis(500);

/// A sign of life is given so often. Who asks for one waits for 5 s.
const SIGN_EVERY: Duration = Duration::from_secs(2);

/// What comes of the wait, in which nothing is read.
pub(super) async fn told<T>(
    wait: impl Future<Output = T>,
    answers: &Answers,
    report: &Reports,
) -> T {
    let mut wait = pin!(wait);
    // Mostly it is over at once, and needs no timer.
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await {
        return done;
    }
    if let Ok(done) = timeout(TOLD_AFTER, &mut wait).await {
        return done;
    }
    report.send(SessionEvent::ReadingPaused).await;
    let done = loop {
        // As if it had been asked for, which it may have been: the question would wait with the
        // rest.
        answers.send(PeerMessage::Pong { nonce: 0 });
        if let Ok(done) = timeout(SIGN_EVERY, &mut wait).await {
            break done;
        }
    };
    report.send(SessionEvent::ReadingResumed).await;
    done
}
