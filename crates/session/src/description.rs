//! A description on its way out. Its sums are copied a few at a time, as the kernel takes them: a
//! message of 128 KiB that the other side does not read costs no more memory than a small one.

use std::io;

use tnet_fileinfo::FileInfo;
use tnet_proto::{Info, MAX_INFO_SUMS, info_head};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Sums copied at a time: 8 KiB.
const SUMS_AT_A_TIME: usize = 256;

/// An `Info` message, encoded while it is written.
#[derive(Debug)]
pub(super) struct OutgoingDescription {
    info: FileInfo,
    first: u32,
}

impl OutgoingDescription {
    /// With the sums from `first` on, as many as fit into a message.
    pub(super) fn new(info: FileInfo, first: u32) -> OutgoingDescription {
        OutgoingDescription { info, first }
    }

    pub(super) async fn write(&self, output: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let OutgoingDescription { info, first } = self;
        let sums = info.sums().get(*first as usize..).unwrap_or_default();
        let sums = sums.get(..MAX_INFO_SUMS).unwrap_or(sums);
        let head = Info {
            hash: *info.hash().as_bytes(),
            size: info.size(),
            chunk_size: info.geometry().chunk_size().get(),
            tail_leaf: info.tail().leaf.clone(),
            tail_path: info.tail().path.clone(),
            first: *first,
            sums: Vec::new(),
        };
        let mut piece = info_head(head, sums.len());
        for part in sums.chunks(SUMS_AT_A_TIME) {
            part.iter().for_each(|sum| piece.extend_from_slice(sum.as_bytes()));
            output.write_all(&piece).await?;
            piece.clear();
        }
        output.write_all(&piece).await
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE, scan_file};
    use tnet_proto::{PREFIX_LEN, PeerMessage, decode};

    use super::*;

    #[tokio::test]
    async fn the_pieces_form_one_message_with_all_sums_that_fit() {
        let chunks = u32::try_from(MAX_INFO_SUMS).unwrap() + 300;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(u64::from(chunks) * u64::from(MIN_CHUNK_SIZE) - 5).unwrap();
        let size = Some(ChunkSize::new(MIN_CHUNK_SIZE).unwrap());
        let info = scan_file(file.path(), size, &|_| std::ops::ControlFlow::Continue(())).unwrap();
        for (first, expected) in
            [(0, MAX_INFO_SUMS), (301, MAX_INFO_SUMS - 1), (4000, 396), (chunks, 0), (u32::MAX, 0)]
        {
            let mut frame = Vec::new();
            OutgoingDescription::new(info.clone(), first).write(&mut frame).await.unwrap();
            let body = frame.split_off(PREFIX_LEN);
            assert_eq!(frame, u32::try_from(body.len()).unwrap().to_le_bytes());
            let PeerMessage::Info(told) = decode(&body).unwrap() else { panic!("an Info") };
            assert_eq!(
                (told.first, told.size, &told.tail_leaf),
                (first, info.size(), &info.tail().leaf)
            );
            assert_eq!(told.sums.len(), expected, "from {first}");
            let sums = info.sums().iter().skip(first as usize).zip(&told.sums);
            assert!(sums.into_iter().all(|(sum, told)| sum.as_bytes() == told));
        }
    }
}
