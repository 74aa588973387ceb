//! Actors that download, each in its own way.

use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::RngExt;
use tnet_testkit::{Cli, Finished, Running};
use tokio::task::JoinSet;

use crate::contents::Shared;
use crate::keepers::{between, chance};
use crate::scene::Scene;

/// Given up when nothing arrives for this long: longer than the coordinator is ever away.
const TIMEOUT: &str = "30s";

/// Within this time every command has ended, whatever happens.
const ENDS_WITHIN: Duration = Duration::from_secs(100);

/// How a download is made.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// In a process of its own.
    Alone,
    /// By a server that runs all the time.
    ByServer,
    /// With a handful of descriptors.
    FewDescriptors,
    /// Into a file system with room for little.
    FullDisk,
}

/// Starts all of them.
pub(crate) fn all(scene: &Rc<Scene>, work: &mut JoinSet<()>) {
    let is_root = rustix::process::geteuid().is_root();
    let manners = [
        Manner::Alone,
        Manner::Alone,
        Manner::ByServer,
        Manner::ByServer,
        Manner::FewDescriptors,
        Manner::FullDisk,
    ];
    for (number, manner) in manners.into_iter().enumerate() {
        match manner {
            Manner::FullDisk if !is_root => println!("no full disk: needs root"),
            _ => drop(work.spawn_local(gets(Rc::clone(scene), manner, number))),
        }
    }
}

async fn gets(scene: Rc<Scene>, manner: Manner, number: usize) {
    let cli = match manner {
        Manner::ByServer => scene.cli("server"),
        _ => scene.cli(&format!("getter{number}")),
    };
    let out = cli.path(&format!("out{number}"));
    std::fs::create_dir(&out).expect("our own directory");
    let _disk = matches!(manner, Manner::FullDisk).then(|| Disk::at(&out));
    for round in 0.. {
        if scene.is_over() {
            return;
        }
        let wanted = scene.contents.any();
        let target = out.join(format!("copy{round}"));
        // Broken off, and begun again.
        let is_second = chance(8);
        if is_second {
            let running = start(&cli, manner, &wanted, &target);
            tokio::time::sleep(between(5, 400)).await;
            if rand::rng().random() {
                running.kill()
            } else {
                running.interrupt()
            }
            let _ = running.ends(ENDS_WITHIN).await;
            scene.counts.broken_off.fetch_add(1, Ordering::Relaxed);
        }
        let began = Instant::now();
        let finished = start(&cli, manner, &wanted, &target).ends(ENDS_WITHIN).await;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        scene.counts.longest_ms.fetch_max(took, Ordering::Relaxed);
        judge(&scene, (manner, is_second), &wanted, &target, &finished).await;
        clear(&cli, manner, &out, &target).await;
    }
}

fn start(cli: &Cli, manner: Manner, wanted: &Shared, target: &Path) -> Running {
    // Beside the directory of the copies, which may be on a full disk.
    let described =
        target.parent().map(|out| out.with_extension("fileinfo")).expect("it is in a directory");
    let what = if chance(2) {
        wanted.content.write_info(&described);
        described.to_string_lossy().into_owned()
    } else {
        wanted.content.hash().to_string()
    };
    let out = target.to_string_lossy();
    let get = ["get", &what, "-o", &out, "--timeout", TIMEOUT, "--json"];
    let alone = ["--foreground", "--linger", "0s", "--listen", "127.0.0.1:0"];
    match manner {
        Manner::ByServer => cli.start(get),
        Manner::Alone | Manner::FullDisk => cli.start([&get[..], &alone[..]].concat()),
        Manner::FewDescriptors => {
            let inner = cli.command([&get[..], &alone[..]].concat());
            let mut command = Command::new("prlimit");
            let descriptors = rand::rng().random_range(24..64);
            command.arg(format!("--nofile={descriptors}:{descriptors}")).arg("--");
            command
                .arg(inner.get_program())
                .args(inner.get_args())
                .env_clear()
                .stdin(Stdio::null());
            command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
            command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.current_dir(cli.home());
            cli.start_command(command)
        }
    }
}

/// What is there is right, and the code fits.
async fn judge(
    scene: &Scene,
    (manner, is_second): (Manner, bool),
    wanted: &Shared,
    target: &Path,
    finished: &Finished,
) {
    let say = || {
        format!(
            "{manner:?}, kept {}, still shared {}: {finished:?}",
            wanted.is_kept,
            scene.contents.has(&wanted.content)
        )
    };
    match finished.code {
        Some(0) => {
            wanted.content.is_at(target).await;
            scene.counts.right.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Some(1) if matches!(manner, Manner::FewDescriptors) => {}
        Some(8) if matches!(manner, Manner::FullDisk) => {}
        // Another getter of the same server has removed the content.
        Some(7) if matches!(manner, Manner::ByServer) && finished.stderr.contains("`tnet rm`") => {}
        // Gone, or changed, before or while it was fetched, its holder too; not yet seen by the
        // seed.
        Some(4..=7) if !wanted.is_kept => {}
        _ => panic!("{}", say()),
    }
    if target.exists() {
        // A server goes on after the command that was broken off, and a command may have been
        // done when it was.
        assert!(is_second || matches!(manner, Manner::ByServer), "{}", say());
        wanted.content.is_at(target).await;
    }
    scene.counts.gone.fetch_add(1, Ordering::Relaxed);
}

/// What was fetched goes away, sometimes with a word to the server.
async fn clear(cli: &Cli, manner: Manner, out: &Path, target: &Path) {
    if matches!(manner, Manner::ByServer) && target.exists() && chance(2) {
        let path = target.to_string_lossy().into_owned();
        let finished = cli.run_within(ENDS_WITHIN, ["rm", &path]).await;
        assert!(matches!(finished.code, Some(0 | 3)), "{finished:?}");
    }
    for entry in std::fs::read_dir(out).expect("our own directory").flatten() {
        let _ = std::fs::remove_file(entry.path());
    }
}

/// A small file system in memory.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn at(path: &Path) -> Disk<'_> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tnet-soak"])
            .arg(path)
            .status();
        assert!(mounted.is_ok_and(|status| status.success()), "a file system in memory");
        Disk(path)
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
