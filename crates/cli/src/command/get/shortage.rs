//! Reports a lack of file descriptors, which otherwise looks like a download that hangs.

use std::convert::Infallible;
use std::time::Duration;

use tnet_peer::Shortage;
use tokio::time::sleep;

use super::downloader::Downloader;
use crate::render::Output;
use crate::render::output::fields;

/// Poll interval.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Reports each shortage once. Never returns.
pub(super) async fn watch(
    downloader: &Downloader,
    output: Output,
    tell: impl Fn(&str),
) -> Infallible {
    let mut told: Option<Shortage> = None;
    loop {
        sleep(LOOK_EVERY).await;
        let shortage = downloader.shortage().await;
        if let Some(shortage) = shortage.filter(|shortage| told != Some(*shortage)) {
            let message = format!("{shortage}; {}", shortage.hint());
            tell(&message);
            output.event(
                "shortage",
                fields(serde_json::json!({ "limit": shortage.limit, "message": message })),
            );
        }
        told = shortage;
    }
}
