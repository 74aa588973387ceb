//! Reports that a reader waits for memory. A long wait is reported to the engine, which then judges
//! no peer silent that is not being read; and to the other side, which could not tell a waiting
//! reader from a dead connection.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tnet_proto::PeerMessage;
use tokio::time::timeout;

use super::{EventSender, ReplySender, SessionEvent};

/// Shorter waits are not reported: no peer is judged by so little.
const REPORT_AFTER: Duration = Duration::from_millis(500);

/// Interval of the `Pong`s meanwhile. A peer that sent a `Ping` waits 5 s for the answer.
const PONG_INTERVAL: Duration = Duration::from_secs(2);

/// Awaits `wait`, during which nothing is read, and reports it if it is long.
pub(super) async fn report_pause<T>(
    wait: impl Future<Output = T>,
    replies: &ReplySender,
    events: &EventSender,
) -> T {
    let mut wait = pin!(wait);
    // Mostly the wait is over at once and needs no timer.
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await {
        return done;
    }
    if let Ok(done) = timeout(REPORT_AFTER, &mut wait).await {
        return done;
    }
    events.send(SessionEvent::ReadingPaused).await;
    let done = loop {
        // Sent unasked: a `Ping` would wait unread behind what is not read now.
        replies.send(PeerMessage::Pong { nonce: 0 });
        if let Ok(done) = timeout(PONG_INTERVAL, &mut wait).await {
            break done;
        }
    };
    events.send(SessionEvent::ReadingResumed).await;
    done
}
