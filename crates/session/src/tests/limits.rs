//! Back-pressure and time limits of a session.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_wait_for_memory_is_reported_to_the_engine_and_the_other_side() {
    let mut rig = Rig::new();
    rig.open(1).await;
    let other = Claimant::new([10, 0, 0, 1].into());
    let memory = rig.ingest.buffers.allocate(1 << 20, &other, Arc::default()).await;
    rig.send_part(0, 0, &[1; 10_000]).await;
    assert!(matches!(rig.event().await, SessionEvent::ReadingPaused));
    // Sent unasked.
    for _ in 0..4 {
        assert_eq!(rig.receive().await, Ok(PeerMessage::Pong { nonce: 0 }));
    }
    drop(memory);
    assert!(matches!(rig.event().await, SessionEvent::ReadingResumed));
    assert!(matches!(rig.event().await, SessionEvent::DataReceived { bytes: 10_000 }));
}

/// Sends `bytes` at each interval until the session ends. Returns how long that took.
async fn time_to_end(
    mut rig: Rig,
    interval: Duration,
    at_most: Duration,
    bytes: impl Fn() -> Vec<u8>,
) -> Duration {
    let began = tokio::time::Instant::now();
    loop {
        let _ = rig.other.write_all(&bytes()).await;
        tokio::time::sleep(interval).await;
        while let Ok((_, event)) = rig.events.try_recv() {
            if matches!(event, SessionEvent::Ended) {
                return began.elapsed();
            }
        }
        assert!(began.elapsed() < at_most, "it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_dripping_bytes_nor_pings_put_off_the_deadline_of_a_chunk() {
    let second = Duration::from_secs(1);
    for is_within_part in [true, false] {
        let mut rig = Rig::new();
        rig.open(1).await;
        rig.other.write_all(&data_header(HANDLE, 0, 0, CHUNK / 2)).await.unwrap();
        if !is_within_part {
            rig.other.write_all(&[0; CHUNK as usize / 2]).await.unwrap();
        }
        let mut ping = BytesMut::new();
        encode(&PeerMessage::Ping { nonce: 1 }, &mut ping);
        let bytes = || if is_within_part { vec![0; 300] } else { ping.to_vec() };
        let lasted = time_to_end(rig, second, 100 * second, bytes).await;
        assert!(
            lasted >= 80 * second && lasted <= 90 * second,
            "{lasted:?}: 20 s and 64 KiB at 1 KiB/s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn dripping_bytes_do_not_put_off_the_deadline_of_a_message() {
    let second = Duration::from_secs(1);
    for in_head in [true, false] {
        let mut rig = Rig::new();
        if !in_head {
            rig.other.write_all(&4000_u32.to_le_bytes()).await.unwrap();
        }
        let lasted = time_to_end(rig, 25 * second, 200 * second, || vec![0]).await;
        assert!(lasted <= 80 * second, "{lasted:?}");
    }
}

#[tokio::test]
async fn four_unanswered_info_requests_stop_the_reader_until_one_is_answered() {
    let mut rig = Rig::new();
    for first in 0..6 {
        rig.send(PeerMessage::InfoRequest { hash: [1; 32], first }).await;
    }
    for asked in 0..4 {
        let event = rig.event().await;
        assert!(
            matches!(event, SessionEvent::Message(PeerMessage::InfoRequest { first, .. }) if first == asked)
        );
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(rig.events.try_recv().is_err(), "the fifth waits");
    assert!(rig.session.order(Order::Send(PeerMessage::InfoNotFound { hash: [1; 32] })));
    assert!(matches!(
        rig.event().await,
        SessionEvent::Message(PeerMessage::InfoRequest { first: 4, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn reading_byte_by_byte_does_not_prolong_the_write_timeout() {
    let mut rig = Rig::new();
    let began = tokio::time::Instant::now();
    // More than the stream buffers.
    for _ in 0..100 {
        let chunks = vec![0; 4096];
        assert!(rig.session.order(Order::Send(PeerMessage::Have { file: HANDLE, chunks })));
    }
    let mut byte = [0];
    while !matches!(rig.events.try_recv(), Ok((_, SessionEvent::Ended))) {
        let _ = rig.other.read(&mut byte).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(began.elapsed() < Duration::from_secs(70), "it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_although_the_other_side_does_not_read() {
    let mut rig = Rig::new();
    let (_directory, _, source) = shared_file();
    for _ in 0..8 {
        assert!(rig.session.order(upload(&source)), "the queue has room for it");
    }
    rig.session.close(ByeReason::SHUTDOWN);
    loop {
        let event = tokio::time::timeout(Duration::from_secs(600), rig.events.recv())
            .await
            .expect("it ends");
        if matches!(event, Some((_, SessionEvent::Ended))) {
            break;
        }
    }
    rig.stop.cancel();
}
