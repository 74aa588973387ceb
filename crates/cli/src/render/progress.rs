//! A download as it is watched: its status line, its events, and the sentence at its end. All three
//! tell the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tnet_peer::{CoordinatorState, CorruptPeer, Phase, Progress, Summary, TimeShares, Waiting};

use super::fit::{Part, part};
use super::output::{Output, Report, fields};
use super::rate_meter::RateMeter;
use super::several::Place;
use super::status_line::StatusLine;
use super::units::{self, count, duration, rate, size, whole_seconds};

/// Time between events for scripts.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// A download being watched.
pub(crate) struct DownloadView {
    output: Output,
    line: StatusLine,
    rate: RateMeter,
    last_event: Option<(Instant, Phase)>,
    /// Bans that were told.
    banned: BTreeSet<Option<SocketAddr>>,
    /// It was told that large packets get lost.
    is_narrow_told: bool,
    several: Option<OneOfSeveral>,
}

struct OneOfSeveral {
    name: String,
    place: Place,
}

impl DownloadView {
    pub(crate) fn new(output: Output) -> Self {
        Self::on(output, StatusLine::new(output), None)
    }

    pub(super) fn of_several(output: Output, line: StatusLine, name: &str, place: Place) -> Self {
        Self::on(output, line, Some(OneOfSeveral { name: name.to_owned(), place }))
    }

    fn on(output: Output, line: StatusLine, several: Option<OneOfSeveral>) -> Self {
        let rate = RateMeter::default();
        Self {
            output,
            line,
            rate,
            last_event: None,
            banned: BTreeSet::new(),
            is_narrow_told: false,
            several,
        }
    }

    /// Shows the latest.
    pub(crate) fn show(&mut self, now: Instant, progress: &Progress) {
        self.rate.add(now, progress.bytes_done);
        let per_second = self.rate.per_second();
        self.tell_bans(progress);
        self.tell_narrow(progress);
        // How it ended is said in a sentence of its own.
        if !matches!(progress.phase, Phase::Complete | Phase::Failed) {
            let parts = parts(progress, per_second, self.line.is_bar());
            // Of plain lines there is a new one whenever this changes.
            let topic = if self.line.is_bar() { "" } else { topic(progress) };
            self.line.show(now, topic, progress.bytes_done, progress.bytes_total, &parts);
        }
        if let Some(several) = &self.several {
            several.place.show(now, progress);
        }
        let due = self.last_event.is_none_or(|(at, phase)| {
            phase != progress.phase || now.duration_since(at) >= EVENT_EVERY
        });
        if due {
            self.last_event = Some((now, progress.phase));
            let mut event = event(progress, per_second);
            if let Some(several) = &self.several {
                event.insert("name".to_owned(), several.name.as_str().into());
            }
            self.output.event("progress", event);
        }
    }

    /// Each once, when it happens: whoever runs the peer should look after its disk or memory.
    fn tell_bans(&mut self, progress: &Progress) {
        for peer in progress.corrupt_peers.iter().filter(|peer| peer.banned) {
            if self.banned.insert(peer.address) {
                self.line.interrupt(|output| {
                    output.note(&format!("banned {}", corrupt_peer_words(peer)))
                });
            }
        }
    }

    /// Once: the download goes on, and who runs the network should know.
    fn tell_narrow(&mut self, progress: &Progress) {
        if progress.large_packets_lost && !std::mem::replace(&mut self.is_narrow_told, true) {
            self.line.interrupt(|output| output.note(&Waiting::LargePackets.to_string()));
        }
    }

    /// Leaves the terminal to what follows.
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
        Phase::FindingPeers => "looking for peers",
        Phase::Downloading => "downloading",
        Phase::Checking => "checking",
        Phase::Finishing => "finishing",
        Phase::Complete => "complete",
        Phase::Failed => "failed",
        Phase::Paused => "paused",
    }
}

/// What there is to say, the most important parts with the lowest ranks. A bar says by itself that
/// it moves.
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
        if let Some(left) = time_left(progress.bytes_done, progress.bytes_total, per_second) {
            parts.push(part(1, format!("{} left", whole_seconds(left))));
        }
        let is_told = matches!(progress.waiting, Some(Waiting::HolderOfChunks { .. }));
        if progress.chunks_without_holder > 0 && !is_told {
            let chunks = count(progress.chunks_without_holder.into(), "chunk");
            parts.push(part(4, format!("nobody has {chunks}")));
        }
    }
    match progress.coordinator {
        // It was said already.
        _ if progress.waiting == Some(Waiting::Coordinator) => {}
        CoordinatorState::Unreachable => parts.push(part(4, "coordinator unreachable")),
        CoordinatorState::OtherVersion => parts.push(part(4, "coordinator of another version")),
        CoordinatorState::NotCoordinator => parts.push(part(4, "no coordinator at its address")),
        CoordinatorState::None | CoordinatorState::Connecting | CoordinatorState::Connected => {}
    }
    parts
}

/// Only when there is a rate to believe; in whole seconds, which do not flicker.
pub(super) fn time_left(done: u64, total: u64, per_second: u64) -> Option<Duration> {
    units::time_left(total.saturating_sub(done), per_second)
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

/// Who sent wrong bytes, how many chunks of them.
fn corrupt_peer_words(peer: &CorruptPeer) -> String {
    let address = match peer.address {
        Some(address) => address.to_string(),
        None => "a peer that accepts no connections".to_owned(),
    };
    format!(
        "{address}: it sent {} with wrong bytes, which were thrown away",
        count(peer.corrupt.into(), "chunk")
    )
}

/// Who sent wrong bytes to a download that is complete all the same; none if nobody did.
fn corrupt_peers_line(summary: &Summary) -> Option<String> {
    let first = summary.corrupt_peers.first()?;
    let more = match summary.corrupt_peers.len() - 1 {
        0 => String::new(),
        others => format!("; and {}", count(others as u64, "other peer")),
    };
    let verb = if first.banned { "banned" } else { "beware of" };
    Some(format!("{verb} {}{more}", corrupt_peer_words(first)))
}

/// Nothing had to be fetched: the file, or all of it, was here.
fn was_there(summary: &Summary) -> bool {
    summary.traffic.arrived == 0 && summary.bytes_resumed == summary.bytes_total
}

/// The sentence at the end.
fn summary_line(summary: &Summary) -> String {
    let path = units::shown_path(&summary.path);
    let total = size(summary.bytes_total);
    if was_there(summary) {
        return format!("{path} is complete and verified ({total}); nothing had to be downloaded");
    }
    let fetched = summary.bytes_total.saturating_sub(summary.bytes_resumed);
    let mut line = format!(
        "{path}: {total} in {} ({}) from {}",
        duration(summary.elapsed),
        rate(fetched, summary.elapsed),
        count(summary.traffic.sources.into(), "peer"),
    );
    if summary.bytes_resumed > 0 {
        line.push_str(&format!(", {} resumed", size(summary.bytes_resumed)));
    }
    if summary.bytes_damaged > 0 {
        line.push_str(&format!(
            ", {} damaged on disk and fetched again",
            size(summary.bytes_damaged)
        ));
    }
    line.push_str(&format!(", {} wasted", size(summary.traffic.bytes_wasted)));
    line
}

/// Where the time went; none if nothing was downloaded.
fn time_line(summary: &Summary) -> Option<String> {
    let TimeShares { wire, peers, disk, verification } = summary.time;
    let [wire, peers, disk, verification] = units::shares([wire, peers, disk, verification]);
    (!was_there(summary)).then(|| {
        format!(
            "time: {wire} % wire, {peers} % peers, {disk} % disk, {verification} % verification"
        )
    })
}

/// Says how a download went.
pub(crate) fn show_summary(output: Output, summary: &Summary) {
    let line = summary_line(summary);
    show_notes(output, summary);
    match time_line(summary) {
        Some(time) => output.outcome_of_two(&line, &time),
        None => output.outcome(&line),
    }
}

/// Says how one of several went, shortly.
pub(super) fn show_summary_of_one(output: Output, summary: &Summary) {
    show_notes(output, summary);
    output.outcome(&summary_line(summary));
}

fn show_notes(output: Output, summary: &Summary) {
    for note in corrupt_peers_line(summary).iter().chain(&summary.notes) {
        output.note(note);
    }
}

/// The same for scripts.
pub(crate) fn summary_report(summary: &Summary) -> Report {
    let fetched = summary.bytes_total.saturating_sub(summary.bytes_resumed);
    let mut report = fields(json!({
        "path": units::json_path(&summary.path),
        "bytes_total": summary.bytes_total,
        "bytes_resumed": summary.bytes_resumed,
        "bytes_damaged": summary.bytes_damaged,
        "bytes_wasted": summary.traffic.bytes_wasted,
        "sources": summary.traffic.sources,
        "from": summary.sources,
        "seconds": summary.elapsed.as_secs_f64(),
        "time": {
            "wire_seconds": summary.time.wire.as_secs_f64(),
            "peers_seconds": summary.time.peers.as_secs_f64(),
            "disk_seconds": summary.time.disk.as_secs_f64(),
            "verification_seconds": summary.time.verification.as_secs_f64(),
        },
        "verify_busy_seconds": summary.verify_busy.as_secs_f64(),
        "bytes_per_second": units::per_second(fetched, summary.elapsed),
        "already_complete": was_there(summary),
        "traffic": summary.traffic,
        "corrupt_peers": summary.corrupt_peers,
    }));
    if !summary.notes.is_empty() {
        report.insert("notes".to_owned(), json!(summary.notes));
    }
    report
}

#[cfg(test)]
mod tests {
    use tnet_peer::Traffic;

    use super::super::fit::{fitted, joined};
    use super::*;

    fn summary(resumed: u64) -> Summary {
        Summary {
            path: "/a".into(),
            bytes_total: 4 << 20,
            bytes_resumed: resumed,
            bytes_damaged: 0,
            elapsed: Duration::from_secs(2),
            time: TimeShares {
                wire: Duration::from_millis(1500),
                peers: Duration::from_millis(480),
                disk: Duration::from_millis(15),
                verification: Duration::from_millis(5),
            },
            verify_busy: Duration::from_millis(40),
            traffic: Traffic { arrived: 3, sources: 2, bytes_wasted: 512, ..Traffic::default() },
            sources: Vec::new(),
            corrupt_peers: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn peer(banned: bool) -> CorruptPeer {
        CorruptPeer { address: Some(([10, 0, 0, 7], 7401).into()), corrupt: 2, banned }
    }

    #[test]
    fn whoever_sent_wrong_bytes_is_named() {
        assert_eq!(corrupt_peers_line(&summary(0)), None);
        let lied_to = |corrupt_peers| {
            corrupt_peers_line(&Summary { corrupt_peers, ..summary(0) }).expect("somebody lied")
        };
        assert_eq!(
            lied_to(vec![peer(true)]),
            "banned 10.0.0.7:7401: it sent 2 chunks with wrong bytes, which were thrown away"
        );
        let two = lied_to(vec![peer(false), peer(false)]);
        assert!(
            two.starts_with("beware of 10.0.0.7:7401") && two.ends_with("; and 1 other peer"),
            "{two}"
        );
    }

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
    fn what_a_download_waits_for_comes_first() {
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
    fn the_last_line_says_time_rate_peers_and_waste() {
        assert_eq!(
            summary_line(&summary(0)),
            "/a: 4 MiB in 2.0 s (2 MiB/s) from 2 peers, 512 B wasted"
        );
    }

    #[test]
    fn the_last_line_says_where_the_time_went() {
        let line = time_line(&summary(0)).expect("something was downloaded");
        assert_eq!(line, "time: 75 % wire, 24 % peers, 1 % disk, 0 % verification");
        assert!(line.len() <= 80);
        let report = summary_report(&summary(0));
        assert_eq!(
            (&report["time"]["wire_seconds"], &report["seconds"]),
            (&1.5.into(), &2.0.into())
        );
    }

    #[test]
    fn resumed_bytes_are_named_and_not_counted_as_speed() {
        assert_eq!(
            summary_line(&summary(2 << 20)),
            "/a: 4 MiB in 2.0 s (1 MiB/s) from 2 peers, 2 MiB resumed, 512 B wasted"
        );
        assert_eq!(summary_report(&summary(2 << 20))["bytes_per_second"], 1 << 20);
    }

    #[test]
    fn what_is_being_checked_is_told_beside_the_rest_until_it_is_all() {
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
    fn bytes_that_were_damaged_on_the_disk_are_named() {
        let damaged = Summary { bytes_damaged: 64 << 10, ..summary(1 << 20) };
        assert!(summary_line(&damaged).contains(", 64 KiB damaged on disk and fetched again"));
        assert_eq!(summary_report(&damaged)["bytes_damaged"], 64 << 10);
    }

    #[test]
    fn a_file_that_was_there_is_not_called_downloaded() {
        let there = Summary { traffic: Traffic::default(), ..summary(4 << 20) };
        assert!(summary_line(&there).contains("nothing had to be downloaded"));
        assert_eq!(time_line(&there), None);
        assert_eq!(summary_report(&there)["already_complete"], true);
        assert_eq!(summary_report(&summary(0))["already_complete"], false);
    }
}
