//! A process that has no file descriptors left does not seem to do anything. It is said why.

use std::convert::Infallible;
use std::time::Duration;

use tnet_peer::Shortage;
use tokio::time::sleep;

use super::downloader::Downloader;
use crate::render::Output;
use crate::render::output::fields;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Tells of each shortage once, for as long as this is waited for.
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
            tell(&shortage.to_string());
            let message = shortage.to_string();
            output.event(
                "shortage",
                fields(serde_json::json!({ "limit": shortage.limit, "message": message })),
            );
        }
        told = shortage;
    }
}
