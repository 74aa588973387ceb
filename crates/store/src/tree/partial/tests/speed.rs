//! What many small files cost. Run it alone, optimised, with the directory to write to in `TMPDIR`:
//! `cargo test --release -p tnet-store tree::partial::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

const FILES: usize = 20_000;
const SIZE: usize = 8192;

#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "it prints figures")]
fn twenty_thousand_small_files() {
    let mut paths: Vec<String> = (0..200).map(|at| format!("d{at:03}")).collect();
    paths.extend((0..FILES).map(|at| format!("d{:03}/file-{at:05}.txt", at / 100)));
    let entries: Vec<_> = paths
        .iter()
        .map(|path| (path.as_str(), if path.len() == 4 { Is::Directory } else { Is::File(SIZE) }))
        .collect();
    let sample = Sample::new(&entries);
    let tree = sample.begin();
    let chunk = 512 * 1024;
    let step = |what: &str, step: &mut dyn FnMut()| {
        let (began, before) = (Instant::now(), processor_seconds());
        step();
        let used = processor_seconds() - before;
        eprintln!("{what}: {:.3} s, {used:.3} s of processor", began.elapsed().as_secs_f64());
    };
    let len = sample.payload.len();
    step("write", &mut || {
        for start in (0..len).step_by(chunk) {
            sample.write(&tree, start..len.min(start + chunk));
        }
    });
    step("sync", &mut || tree.sync_data().expect("the disk works"));
    let mut buf = vec![0; chunk];
    step("read", &mut || {
        for start in (0..len).step_by(chunk) {
            let part = &mut buf[..chunk.min(len - start)];
            tree.read_exact_at(part, start as u64).expect("just written");
        }
    });
    step("finish", &mut || drop(tree.finish().expect("all is there")));
    step("reopen", &mut || drop(sample.begin()));
    step("discard", &mut || tree.discard().expect("ours"));
}

/// Of this process until now.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).expect("not negative"),
        u32::try_from(time.tv_nsec).expect("less than a second"),
    )
    .as_secs_f64()
}
