//! The view of a running download: its status line and its events, which say the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tnet_peer::{CoordinatorState, Phase, Progress, Waiting};

use super::batch_totals::RowHandle;
use super::fit::{Part, part};
use super::output::{Output, Report, fields};
use super::rate_meter::RateMeter;
use super::status_line::StatusLine;
use super::summary::corrupt_peer_words;
use super::units::{count, duration, size, time_left, whole_seconds};

/// Time between events for scripts.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// A download being watched.
pub(crate) struct DownloadView {
    output: Output,
    line: StatusLine,
    rate: RateMeter,
    last_event: Option<(Instant, Phase)>,
    /// Bans that were reported.
    banned: BTreeSet<Option<SocketAddr>>,
    /// Lost large packets were reported.
    is_narrow_told: bool,
    member: Option<BatchMember>,
}

struct BatchMember {
    name: String,
    row: RowHandle,
}

impl DownloadView {
    pub(crate) fn new(output: Output) -> Self {
        Self::on(output, StatusLine::new(output), None)
    }

    pub(super) fn in_batch(output: Output, line: StatusLine, name: &str, row: RowHandle) -> Self {
        Self::on(output, line, Some(BatchMember { name: name.to_owned(), row }))
    }

    fn on(output: Output, line: StatusLine, member: Option<BatchMember>) -> Self {
        let rate = RateMeter::default();
        Self {
            output,
            line,
            rate,
            last_event: None,
            banned: BTreeSet::new(),
            is_narrow_told: false,
            member,
        }
    }

    /// Shows the latest.
    pub(crate) fn show(&mut self, now: Instant, progress: &Progress) {
        self.rate.add(now, progress.bytes_done);
        let per_second = self.rate.per_second();
        self.tell_bans(progress);
        self.tell_narrow(progress);
        // The outcome is printed in a line of its own.
        if !matches!(progress.phase, Phase::Complete | Phase::Failed) {
            let parts = parts(progress, per_second, self.line.is_bar());
            // A plain line is written whenever this changes.
            let topic = if self.line.is_bar() { "" } else { topic(progress) };
            self.line.show(now, topic, progress.bytes_done, progress.bytes_total, &parts);
        }
        if let Some(member) = &self.member {
            member.row.show(now, progress);
        }
        let due = self.last_event.is_none_or(|(at, phase)| {
            phase != progress.phase || now.duration_since(at) >= EVENT_EVERY
        });
        if due {
            self.last_event = Some((now, progress.phase));
            let mut event = event(progress, per_second);
            if let Some(member) = &self.member {
                event.insert("name".to_owned(), member.name.as_str().into());
            }
            self.output.event("progress", event);
        }
    }

    /// Reports each ban once, when it happens: that peer's disk or memory should be checked.
    fn tell_bans(&mut self, progress: &Progress) {
        for peer in progress.corrupt_peers.iter().filter(|peer| peer.banned) {
            if self.banned.insert(peer.address) {
                self.line.interrupt(|output| {
                    output.note(&format!("banned {}", corrupt_peer_words(peer)))
                });
            }
        }
    }

    /// Reports lost large packets once; the download goes on.
    fn tell_narrow(&mut self, progress: &Progress) {
        if progress.large_packets_lost && !std::mem::replace(&mut self.is_narrow_told, true) {
            self.line.interrupt(|output| output.note(&Waiting::LargePackets.to_string()));
        }
    }

    /// Removes the status line.
    pub(crate) fn clear(&mut self) {
        self.line.clear();
    }
}

fn topic(progress: &Progress) -> &'static str {
    match progress.phase {
        Phase::FindingPeers | Phase::Downloading | Phase::Checking | Phase::Finishing
            if progress.waiting.is_some() =>
        {
            "waiting"
        }
        phase => phase_name(phase),
    }
}

/// What a phase is called.
pub(super) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::FindingPeers => "looking for peers",
        Phase::Downloading => "downloading",
        Phase::Checking => "checking",
        Phase::Finishing => "finishing",
        Phase::Complete => "complete",
        Phase::Failed => "failed",
        Phase::Paused => "paused",
    }
}

/// The parts of the status line, the most important ones with the lowest ranks. Beside a bar, the
/// phase `downloading` is left out.
fn parts(progress: &Progress, per_second: u64, has_bar: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    match progress.waiting {
        Some(waiting) => parts.push(part(0, format!("{waiting} ({})", duration(progress.quiet)))),
        None if has_bar && progress.phase != Phase::Downloading => {
            parts.push(part(0, topic(progress)))
        }
        None => {}
    }
    parts.push(part(3, format!("{} of {}", size(progress.bytes_done), size(progress.bytes_total))));
    if progress.bytes_checked < progress.bytes_to_check {
        // What an earlier attempt left.
        let (checked, all) = (size(progress.bytes_checked), size(progress.bytes_to_check));
        parts.push(part(2, format!("checked {checked} of {all}")));
    }
    if progress.phase == Phase::Downloading {
        if progress.waiting.is_none() {
            parts.push(part(0, format!("{}/s", size(per_second))));
        }
        parts.push(part(2, count(progress.peers.into(), "peer")));
        if let Some(left) =
            time_left(progress.bytes_total.saturating_sub(progress.bytes_done), per_second)
        {
            parts.push(part(1, format!("{} left", whole_seconds(left))));
        }
        let is_told = matches!(progress.waiting, Some(Waiting::HolderOfChunks { .. }));
        if progress.chunks_without_holder > 0 && !is_told {
            let chunks = count(progress.chunks_without_holder.into(), "chunk");
            parts.push(part(4, format!("no peer has {chunks}")));
        }
    }
    match progress.coordinator {
        // It is in the line already.
        _ if progress.waiting == Some(Waiting::Coordinator) => {}
        CoordinatorState::Unreachable => parts.push(part(4, "coordinator unreachable")),
        CoordinatorState::OtherVersion => parts.push(part(4, "coordinator of another version")),
        CoordinatorState::NotCoordinator => parts.push(part(4, "no coordinator at its address")),
        CoordinatorState::None | CoordinatorState::Connecting | CoordinatorState::Connected => {}
    }
    parts
}

fn event(progress: &Progress, per_second: u64) -> Report {
    fields(json!({
        "phase": progress.phase,
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
        "bytes_resumed": progress.bytes_resumed,
        "bytes_to_check": progress.bytes_to_check,
        "bytes_checked": progress.bytes_checked,
        "bytes_damaged": progress.bytes_damaged,
        "chunks_done": progress.chunks_done,
        "chunks_total": progress.chunks_total,
        "peers": progress.peers,
        "full_peers": progress.full_peers,
        "chunks_without_holder": progress.chunks_without_holder,
        "coordinator": progress.coordinator,
        "seconds": progress.elapsed.as_secs_f64(),
        "quiet_seconds": progress.quiet.as_secs_f64(),
        "waiting": progress.waiting,
        "waiting_text": progress.waiting.map(|waiting| waiting.to_string()),
        "bytes_per_second": per_second,
        "traffic": progress.traffic,
        "large_packets_lost": progress.large_packets_lost,
        "corrupt_peers": progress.corrupt_peers,
    }))
}

#[cfg(test)]
mod tests {
    use tnet_peer::{TimeShares, Traffic};

    use super::super::documented::undocumented;
    use super::super::fit::{fitted, joined};
    use super::*;

    /// A quarter of a file of 4 MiB is here.
    fn resuming() -> Progress {
        Progress {
            phase: Phase::Downloading,
            bytes_done: 1 << 20,
            bytes_total: 4 << 20,
            bytes_resumed: 0,
            bytes_to_check: 0,
            bytes_checked: 0,
            bytes_damaged: 0,
            chunks_done: 16,
            chunks_total: 64,
            peers: 2,
            full_peers: 0,
            chunks_without_holder: 0,
            coordinator: CoordinatorState::Connected,
            quiet: Duration::ZERO,
            waiting: None,
            elapsed: Duration::from_secs(20),
            time: TimeShares::default(),
            traffic: Traffic::default(),
            large_packets_lost: false,
            corrupt_peers: Vec::new(),
        }
    }

    #[test]
    fn the_wait_of_a_download_comes_first() {
        let progress = Progress {
            chunks_without_holder: 5,
            quiet: Duration::from_secs(12),
            waiting: Some(Waiting::HolderOfChunks { chunks: 5 }),
            ..resuming()
        };
        assert_eq!(topic(&progress), "waiting");
        assert_eq!(
            joined(&parts(&progress, 0, false)),
            "no peer has 5 of the missing chunks (12.0 s), 1 MiB of 4 MiB, 2 peers"
        );
        assert_eq!(
            fitted(&parts(&progress, 0, true), 60, 0).words,
            "no peer has 5 of the missing chunks (12.0 s)"
        );
        let event = event(&progress, 0);
        assert_eq!(event["waiting"], json!({ "what": "holder_of_chunks", "chunks": 5 }));
        let goes_on = Progress { waiting: None, quiet: Duration::ZERO, ..progress };
        assert_eq!(topic(&goes_on), "downloading");
    }

    #[test]
    fn verification_is_shown_beside_the_rest_until_it_is_complete() {
        let progress = Progress {
            phase: Phase::Downloading,
            bytes_done: 3 << 20,
            bytes_to_check: 2 << 20,
            bytes_checked: 1 << 20,
            ..resuming()
        };
        assert_eq!(
            joined(&parts(&progress, 0, false)),
            "3 MiB of 4 MiB, checked 1 MiB of 2 MiB, 0 B/s, 2 peers"
        );
        assert_eq!(event(&progress, 0)["bytes_checked"], 1 << 20);
        let alone = Progress { phase: Phase::Checking, bytes_done: 4 << 20, ..progress.clone() };
        assert_eq!(topic(&alone), "checking");
        assert_eq!(
            joined(&parts(&alone, 0, true)),
            "checking, 4 MiB of 4 MiB, checked 1 MiB of 2 MiB"
        );
        let done = Progress { bytes_checked: 2 << 20, ..progress };
        assert_eq!(joined(&parts(&done, 0, false)), "3 MiB of 4 MiB, 0 B/s, 2 peers");
    }

    #[test]
    fn every_field_of_the_event_is_documented() {
        let waiting = Some(Waiting::HolderOfChunks { chunks: 5 });
        let report = event(&Progress { waiting, ..resuming() }, 0);
        assert_eq!(undocumented(&report.into()), Vec::<String>::new());
    }
}
