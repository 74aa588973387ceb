//! What the reader accepts, and what ends the session as a violation.

use super::*;

#[tokio::test]
async fn a_chunk_in_parts_is_reported_when_it_is_complete() {
    let mut rig = Rig::new();
    rig.open(2).await;
    let (first, second) = (vec![1; 40_000], vec![2; CHUNK as usize - 40_000]);
    rig.send_part(1, 0, &first).await;
    assert!(matches!(rig.event().await, SessionEvent::DataReceived { bytes: 40_000 }));
    rig.send(PeerMessage::Ready { file: HANDLE, chunk: 0 }).await;
    assert!(matches!(rig.event().await, SessionEvent::Message(PeerMessage::Ready { .. })));
    rig.send_part(1, 40_000, &second).await;
    let SessionEvent::ChunkArrived { handle, chunk, last_part, body: ChunkBody::InMemory(buffer) } =
        rig.event().await
    else {
        panic!("no chunk")
    };
    assert_eq!((handle, chunk, last_part), (HANDLE, 1, CHUNK - 40_000));
    assert_eq!(buffer.bytes(), [first, second].concat());
}

#[tokio::test]
async fn parts_out_of_order_end_the_session() {
    let mut rig = Rig::new();
    rig.open(1).await;
    rig.send_part(0, 0, &[0; 100]).await;
    rig.send_part(0, 200, &[0; 100]).await;
    assert!(matches!(rig.event().await, SessionEvent::DataReceived { bytes: 100 }));
    rig.assert_violation().await;
}

#[tokio::test]
async fn a_part_past_the_end_of_its_chunk_ends_the_session() {
    let mut rig = Rig::new();
    rig.open(1).await;
    rig.send_part(0, 0, &[0; CHUNK as usize + 1]).await;
    rig.assert_violation().await;
}

#[tokio::test]
async fn data_for_a_file_that_was_not_announced_ends_the_session() {
    let mut rig = Rig::new();
    rig.send_part(0, 0, &[0; 10]).await;
    rig.assert_violation().await;
}

#[tokio::test]
async fn a_chunk_that_was_not_requested_ends_the_session_before_memory_is_allocated() {
    for chunk in [0, 1] {
        let mut rig = Rig::new();
        rig.open(1).await;
        let size = 2 * u64::from(CHUNK);
        let open =
            Open { file: HANDLE, hash: [4; 32], size, chunk_size: CHUNK, holdings: Holdings::Full };
        rig.send(PeerMessage::Open(open)).await;
        assert!(matches!(rig.event().await, SessionEvent::Message(_)));
        rig.other.write_all(&data_header(HANDLE, chunk, 0, 1000)).await.unwrap();
        let ingest = rig.ingest.clone();
        rig.assert_violation().await;
        assert_eq!(ingest.buffers.used_bytes(), 0);
    }
}

#[tokio::test]
async fn a_chunk_may_arrive_once_for_each_request() {
    let mut rig = Rig::new();
    rig.open(1).await;
    rig.send_part(0, 0, &[8; CHUNK as usize]).await;
    assert!(matches!(rig.event().await, SessionEvent::ChunkArrived { chunk: 0, .. }));
    rig.send_part(0, 0, &[8]).await;
    rig.assert_violation().await;
}

#[tokio::test]
async fn after_a_chunk_was_stopped_another_may_begin() {
    let mut rig = Rig::new();
    rig.open(2).await;
    rig.send_part(0, 0, &[9; 10]).await;
    assert!(matches!(rig.event().await, SessionEvent::DataReceived { bytes: 10 }));
    rig.send(PeerMessage::Stopped { file: HANDLE, chunk: 0 }).await;
    assert!(matches!(rig.event().await, SessionEvent::Message(PeerMessage::Stopped { .. })));
    rig.send_part(1, 0, &[8; CHUNK as usize]).await;
    assert!(matches!(rig.event().await, SessionEvent::ChunkArrived { chunk: 1, .. }));
}

#[tokio::test]
async fn an_unknown_message_is_answered_and_the_session_goes_on() {
    let mut rig = Rig::new();
    rig.other.write_all(&[4, 0, 0, 0, 0xe7, 3, 0, 0]).await.unwrap();
    assert_eq!(rig.receive().await, Ok(PeerMessage::Unsupported { message: 999 }));
    rig.send(PeerMessage::Ping { nonce: 5 }).await;
    assert_eq!(rig.receive().await, Ok(PeerMessage::Pong { nonce: 5 }));
}

#[tokio::test]
async fn an_oversized_frame_ends_the_session_at_its_prefix() {
    let mut rig = Rig::new();
    rig.other.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    rig.assert_violation().await;
}

#[tokio::test]
async fn ignored_long_messages_are_skipped_and_others_are_read() {
    let mut rig = Rig::new();
    rig.send(PeerMessage::Extension { kind: 7, body: vec![1; 60_000] }).await;
    let mut unknown = 200_000_u32.to_le_bytes().to_vec();
    unknown.extend(999_u32.to_le_bytes());
    unknown.resize(200_004, 0);
    rig.other.write_all(&unknown).await.unwrap();
    let chunks: Vec<u32> = (0..4000).collect();
    rig.send(PeerMessage::Have { file: HANDLE, chunks: chunks.clone() }).await;
    let SessionEvent::LongMessage(long) = rig.event().await else { panic!("a long message") };
    assert_eq!(long.0, PeerMessage::Have { file: HANDLE, chunks });
    assert_eq!(rig.receive().await, Ok(PeerMessage::Unsupported { message: 999 }));
}
