//! Chunks and messages on their way out.

use super::*;

#[tokio::test]
async fn a_chunk_is_sent_in_consecutive_parts() {
    let mut rig = Rig::new();
    let (_directory, bytes, source) = shared_file();
    assert!(rig.session.order(upload(&source)));
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        let (offset, part) = rig.receive().await.expect_err("only data is sent");
        assert_eq!(offset as usize, got.len());
        got.extend(part);
    }
    assert!(got == bytes, "the bytes of the chunk differ");
    let event = rig.event().await;
    assert!(
        matches!(event, SessionEvent::UploadEnded { end: UploadEnd::Sent, failed: None, .. }),
        "{event:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn messages_pass_delayed_parts() {
    let delay = Duration::from_secs(20);
    let mut rig = Rig::with_delay(delay);
    let (_directory, _, source) = shared_file();
    let began = tokio::time::Instant::now();
    assert!(rig.session.order(upload(&source)));
    assert!(matches!(rig.receive().await, Err((0, _))), "the first part does not wait");
    rig.send(PeerMessage::Ping { nonce: 5 }).await;
    assert_eq!(rig.receive().await, Ok(PeerMessage::Pong { nonce: 5 }));
    assert!(began.elapsed() < delay, "answered after {:?}", began.elapsed());
    assert!(matches!(rig.receive().await, Err((262_144, _))));
    assert!(began.elapsed() >= delay, "sent after {:?}", began.elapsed());
}

#[tokio::test]
async fn an_upload_from_a_truncated_file_is_stopped_and_reported() {
    let mut rig = Rig::new();
    let (directory, _, source) = shared_file();
    std::fs::File::options()
        .write(true)
        .open(directory.path().join("file"))
        .unwrap()
        .set_len(10)
        .unwrap();
    assert!(rig.session.order(upload(&source)));
    assert_eq!(rig.receive().await, Ok(PeerMessage::Stopped { file: FileHandle(4), chunk: 0 }));
    let event = rig.event().await;
    assert!(
        matches!(event, SessionEvent::UploadEnded { end: UploadEnd::Stopped, failed: Some(_), .. }),
        "{event:?}"
    );
}

/// Long enough for the connection to be found fast: then chunks go by zero copy and several in a
/// turn, the end of one and a message with the head of the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_connection_keeps_chunks_and_messages_complete_and_in_order() {
    const CHUNKS: u32 = 64;
    const ROUNDS: u32 = 24;
    const MESSAGES: u32 = 500;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let bytes: Vec<u8> =
        (0..CHUNKS * CHUNK / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&path, &bytes).unwrap();
    let size = ChunkSize::new(CHUNK).unwrap();
    let info = scan_file(&path, Some(size), &|_| std::ops::ControlFlow::Continue(())).unwrap();
    let source = ChunkSource::Whole(Arc::new(FileStore::open_shared(&path, &info).unwrap()));

    let (ours, theirs) = connected().await;
    let (sender, mut sent) = over_tcp(ours);
    let (receiver, mut received) = over_tcp(theirs);

    let file = FileKey(4);
    let geometry = *info.geometry();
    let holdings = Holdings::Full;
    let open = Open {
        file: file.handle(),
        hash: [3; 32],
        size: geometry.size(),
        chunk_size: CHUNK,
        holdings,
    };
    let sender = Arc::new(sender);
    let content = Content { hash: FileHash::from_bytes([3; 32]), geometry };
    assert!(sender.order(Order::Send(PeerMessage::Open(open))));
    let uploads = async {
        let (mut ordered, mut ended) = (0, 0);
        while ended < ROUNDS * CHUNKS {
            // In small batches, so that there is always something to send.
            while ordered < (ended + 16).min(ROUNDS * CHUNKS) {
                let chunk = geometry.chunk(ordered % CHUNKS).unwrap();
                receiver.open_requests.add(OURS, content, chunk.get());
                let (source, spares) = (source.clone(), Vec::new());
                assert!(sender.order(Order::Upload(Upload {
                    file,
                    chunk,
                    len: CHUNK,
                    source,
                    spares
                })));
                ordered += 1;
            }
            match sent.recv().await {
                Some((_, SessionEvent::UploadEnded { end: UploadEnd::Sent, failed: None, .. })) => {
                    ended += 1
                }
                other => panic!("{other:?}"),
            }
        }
    };
    // From another thread, so that some come between two parts.
    let messages_sent =
        async {
            let sender = Arc::clone(&sender);
            tokio::task::spawn_blocking(move || {
                for number in 0..MESSAGES {
                    assert!(sender.order(Order::Send(PeerMessage::Ready {
                        file: file.handle(),
                        chunk: number
                    })));
                    std::thread::sleep(Duration::from_micros(100));
                }
            })
            .await
            .unwrap();
        };
    let arrivals = async {
        let (mut chunks, mut messages) = (0, Vec::new());
        while chunks < ROUNDS * CHUNKS || messages.len() < MESSAGES as usize {
            match received.recv().await {
                Some((
                    _,
                    SessionEvent::ChunkArrived { chunk, body: ChunkBody::InMemory(buffer), .. },
                )) => {
                    let chunk = geometry.chunk(chunk).unwrap();
                    assert_eq!(chunk.get(), chunks % CHUNKS);
                    assert!(info.verify(chunk, buffer.bytes()), "chunk {chunks} has other bytes");
                    chunks += 1;
                }
                Some((_, SessionEvent::Message(PeerMessage::Ready { chunk, .. }))) => {
                    messages.push(chunk)
                }
                Some((_, SessionEvent::Message(PeerMessage::Open(_)))) => {}
                other => panic!("{other:?}"),
            }
        }
        messages
    };
    let ((), (), messages) = tokio::join!(uploads, messages_sent, arrivals);
    assert_eq!(messages, (0..MESSAGES).collect::<Vec<_>>());
}
