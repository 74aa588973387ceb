//! The example programs do what they say.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tnet_coordinator::{Config, Coordinator};
use tnet_peer::fileinfo::{scan::unwatched, scan_file};

/// Cargo puts them beside the tests.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    Command::new(path)
}

/// Whoever runs this test alone has not built them. With the workspace's features, as all tests are
/// built: nothing is compiled twice.
fn build() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--workspace"]);
    let built = cargo.args(["--example", "download", "--example", "seed_dir"]).status();
    assert!(built.unwrap().success());
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_program_seeds_a_directory_and_the_other_downloads_from_it() {
    tokio::task::spawn_blocking(build).await.unwrap();
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    let coordinator = Coordinator::bind(config).unwrap().spawn();
    let address = coordinator.local_addr().to_string();
    let dir = tempfile::tempdir().unwrap();
    let (shared, copy) = (dir.path().join("shared"), dir.path().join("copy"));
    std::fs::create_dir(&shared).unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(shared.join("file"), &content).unwrap();
    let hash = scan_file(&shared.join("file"), None, &unwatched).unwrap().hash().to_string();

    let mut seeding = example("seed_dir");
    seeding.arg(&address).arg(&shared).arg("50000000").stdout(Stdio::piped());
    let mut seed = Running(seeding.spawn().unwrap());
    let mut said = String::new();
    // Kept, or what it says next would go nowhere.
    let mut says = BufReader::new(seed.0.stdout.take().unwrap());
    says.read_line(&mut said).unwrap();
    assert!(said.starts_with("peers on "), "{said}");

    let mut downloading = example("download");
    downloading.args([&address, &hash]).arg(&copy);
    let output = tokio::task::spawn_blocking(move || downloading.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("12000000 bytes in "), "{text}");
    assert!(std::fs::read(&copy).unwrap() == content, "the same bytes");
    drop((seed, says));
    coordinator.shutdown().await;
}
