//! Actors that run the processes and change the files.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::RngExt;
use rustix::process::Signal;
use tnet_testkit::{Content, Running, SOON};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::contents::{Contents, Shared};
use crate::scene::{Scene, serve};

/// Files that are shared at once, at most.
const FILES: usize = 16;

/// Starts all of them.
pub(crate) fn all(scene: &Rc<Scene>, work: &mut JoinSet<()>) {
    work.spawn_local(coordinates(Rc::clone(scene)));
    work.spawn_local(seeds_now_and_then(Rc::clone(scene)));
    work.spawn_local(changes_files(Rc::clone(scene)));
    work.spawn_local(stops_those_that_stay(Rc::clone(scene)));
}

/// Whether one of so many times has come.
pub(crate) fn chance(times: u32) -> bool {
    rand::rng().random_ratio(1, times)
}

pub(crate) fn between(shortest: u64, longest: u64) -> Duration {
    Duration::from_millis(rand::rng().random_range(shortest..=longest))
}

/// So long, or until the end.
async fn pause(scene: &Scene, length: Duration) {
    let until = Instant::now() + length;
    while Instant::now() < until && !scene.is_over() {
        sleep(Duration::from_millis(50)).await;
    }
}

/// Stopped for a while, as by a debugger or a frozen container.
async fn stop(scene: &Scene, process: &Running) {
    process.signal(Signal::STOP);
    sleep(between(500, 6000)).await;
    process.signal(Signal::CONT);
    scene.counts.stops.fetch_add(1, Ordering::Relaxed);
}

/// The coordinator: stopped, killed, ended, and back a moment later. It stays until no actor needs
/// it.
async fn coordinates(scene: Rc<Scene>) {
    let cli = scene.cli("coordinator");
    let listen = scene.coordinator.to_string();
    while !scene.is_over() {
        let mut running = cli.start(["coordinator", "--json", "--listen", &listen]);
        running.prints("it is ready", SOON, |text| text.contains("\"ready\"").then_some(())).await;
        pause(&scene, between(5000, 30_000)).await;
        stop(&scene, &running).await;
        pause(&scene, between(5000, 30_000)).await;
        if scene.is_over() {
            // Actors that are still at work may need it.
            sleep(Duration::from_secs(90)).await;
        }
        if chance(2) {
            running.kill()
        } else {
            running.terminate()
        }
        let _ = running.ends(SOON).await;
        scene.counts.kills.fetch_add(1, Ordering::Relaxed);
        sleep(between(100, 3000)).await;
    }
}

/// A second seed with copies of what is kept, that comes and goes.
async fn seeds_now_and_then(scene: Rc<Scene>) {
    let cli = scene.cli("copies");
    std::fs::create_dir(cli.path("shared")).expect("our own directory");
    for number in 0..3 {
        let kept = scene.contents.any_kept();
        kept.content.write(&cli.path(&format!("shared/copy{number}"))).await;
    }
    while !scene.is_over() {
        let running = serve(&cli, &["--dir", "shared"]).await;
        pause(&scene, between(2000, 20_000)).await;
        running.kill();
        let _ = running.ends(SOON).await;
        scene.counts.kills.fetch_add(1, Ordering::Relaxed);
        pause(&scene, between(100, 3000)).await;
    }
}

/// Files come, change in place, are replaced and go.
async fn changes_files(scene: Rc<Scene>) {
    let shared = scene.cli("seed").path("shared");
    for number in 0.. {
        if scene.is_over() {
            return;
        }
        let path = shared.join(format!("file{number}"));
        let content = Contents::fresh();
        let is_full = scene.contents.len() >= FILES;
        let deed = if is_full { 0 } else { rand::rng().random_range(0..4) };
        match deed {
            0 => {
                if let Some(gone) = scene.contents.take_any() {
                    std::fs::remove_file(&gone.path).expect("our own file");
                }
            }
            1 => replace(&scene, content, None).await,
            2 => replace(&scene, content, Some(&path)).await,
            _ => {
                content.write(&path).await;
                scene.contents.add(Shared { content: Rc::new(content), is_kept: false, path });
            }
        }
        scene.counts.changes.fetch_add(1, Ordering::Relaxed);
        pause(&scene, between(300, 4000)).await;
    }
}

/// Other bytes for a file that is shared: in place, or by a rename.
async fn replace(scene: &Scene, content: Content, through: Option<&Path>) {
    let Some(old) = scene.contents.take_any() else { return };
    match through {
        None => std::fs::write(&old.path, content.payload().bytes()).expect("our own file"),
        Some(through) => {
            let through = through.with_file_name(".coming");
            content.write(&through).await;
            std::fs::rename(through, &old.path).expect("our own files");
        }
    }
    scene.contents.add(Shared { content: Rc::new(content), is_kept: false, path: old.path });
}

/// The seed and the server that are never killed.
async fn stops_those_that_stay(scene: Rc<Scene>) {
    while !scene.is_over() {
        pause(&scene, between(10_000, 40_000)).await;
        let process = if chance(2) { scene.seed() } else { scene.server() };
        stop(&scene, &*process.lock().await).await;
    }
}
