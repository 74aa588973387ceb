//! How a session ends.

use super::*;

#[tokio::test]
async fn a_closed_session_says_goodbye_and_leaves_no_task() {
    let mut rig = Rig::new();
    rig.session.close(ByeReason::IDLE);
    let mut rest = Vec::new();
    rig.other.read_to_end(&mut rest).await.unwrap();
    assert_eq!(
        decode::<PeerMessage>(&rest[4..]).unwrap(),
        PeerMessage::Bye { reason: ByeReason::IDLE }
    );
    rig.tasks.close();
    tokio::time::timeout(Duration::from_secs(10), rig.tasks.wait()).await.expect("the task ends");
}

/// Over TCP: a peer that writes to a closed socket gets an error, and may not read what was sent
/// last.
#[tokio::test]
async fn a_peer_that_still_sends_can_read_the_goodbye() {
    let (mut other, ours) = connected().await;
    let (session, _events) = over_tcp(ours);
    session.close(ByeReason::IDLE);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.write_all(&[0; 1000]).await.unwrap();
    }
    let mut heard = Vec::new();
    other.read_to_end(&mut heard).await.unwrap();
    assert_eq!(
        decode::<PeerMessage>(&heard[4..]).unwrap(),
        PeerMessage::Bye { reason: ByeReason::IDLE }
    );
}
