//! `tnet status --watch`: repeats the status. A terminal shows each in the place of the last;
//! elsewhere, and with `--json`, each follows the last. It runs until the user or the server ends
//! it.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::snapshot::{Snapshot, SnapshotError};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::screen::Screen;
use crate::render::terminal::{Layout, is_dumb, stdout_size};

pub(super) async fn run(
    state_dir: &Path,
    every: Duration,
    context: &Context,
) -> Result<Report, Failure> {
    let Context { output, stop } = context;
    let output = *output;
    let mut resized = signal(SignalKind::window_change()).map_err(|error| {
        Failure::new(Exit::Other, format!("cannot listen for signals: {error}"))
    })?;
    let mut ticks = interval(every);
    // Missed ticks are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Without a first answer there is nothing to watch, and the terminal is left as it is.
    let mut latest = tokio::select! {
        taken = Snapshot::take(state_dir, output) => taken?,
        () = stop.cancelled() => return Ok(report(0)),
    };
    ticks.tick().await;
    let mut view = View::new(output);
    let (mut shown, mut is_new) = (0_u64, true);
    // It fails when the reader has closed the pipe.
    while view.show(&latest, is_new).is_ok() {
        shown += u64::from(is_new);
        tokio::select! {
            () = stop.cancelled() => break,
            _ = resized.recv() => is_new = false,
            _ = ticks.tick() => {
                let pid = latest.hello.pid;
                tokio::select! {
                    () = stop.cancelled() => break,
                    taken = Snapshot::take(state_dir, output) => latest = taken.map_err(|error| ended(pid, error))?,
                }
                is_new = true;
            }
        }
    }
    Ok(report(shown))
}

fn report(shown: u64) -> Report {
    fields(serde_json::json!({ "shown": shown }))
}

fn ended(pid: u32, error: SnapshotError) -> Failure {
    if error.is_end() {
        return Failure::new(Exit::NotFound, format!("the server, pid {pid}, ended"));
    }
    error.into()
}

enum View {
    /// Drawn over the last one.
    Screen(Screen),
    /// One after the other.
    Pages { output: Output, is_first: bool },
}

impl View {
    fn new(output: Output) -> View {
        let is_screen = stdout_size().is_some() && !is_dumb() && !output.is_json();
        match is_screen.then(Screen::enter) {
            Some(Ok(screen)) => View::Screen(screen),
            Some(Err(_)) | None => View::Pages { output, is_first: true },
        }
    }

    /// An old status is drawn again only on a screen, whose size has changed.
    fn show(&mut self, snapshot: &Snapshot, is_new: bool) -> io::Result<()> {
        match self {
            View::Screen(screen) => {
                let layout = Layout { fits_paths: true, ..Layout::of_stdout() };
                screen.draw(&snapshot.lines(layout), layout)
            }
            View::Pages { .. } if !is_new => Ok(()),
            View::Pages { output, .. } if output.is_json() => {
                output.try_event("status", snapshot.report())
            }
            View::Pages { output, is_first } => {
                let between = if std::mem::take(is_first) { "" } else { "\n" };
                output.try_data(&format!(
                    "{between}{}",
                    snapshot.lines(Layout::of_stdout()).join("\n")
                ))
            }
        }
    }
}
