//! A small network at work for as long as one likes, with everything that goes wrong in weeks:
//! processes are killed, stopped and started again, files come, change and go, a disk is full,
//! descriptors run out. What arrives is compared, every command ends in time with a code that fits,
//! and in the end nothing has grown.
//!
//! ```sh
//! TNET_SOAK_MINUTES=30 cargo test --release -p tnet-testkit --test soak -- --ignored --nocapture
//! ```

#![expect(clippy::print_stdout, reason = "what it sees is what it is run for")]
#![expect(
    clippy::disallowed_methods,
    reason = "what a test shows, its own files included, is for developers"
)]

mod contents;
mod getters;
mod keepers;
mod sample;
mod scene;

use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};

use sample::{Sample, directory_bytes};
use scene::Scene;

/// Part of the time after which everything has its usual size.
const WARM_AFTER: f64 = 0.15;

/// Another part, from which on what grows is no cache that fills.
const LATE_AFTER: f64 = 0.6;

/// How much more a process may have in the end than when it was warm, and than it had late.
const MORE_KIB: u64 = 24 * 1024;
const MORE_KIB_LATE: u64 = 8 * 1024;
const MORE_DESCRIPTORS: usize = 16;
const MORE_THREADS: usize = 4;

/// How much longer than twice a fresh one a state directory may be: a short file is not rewritten
/// for each change.
const STATE_MORE_BYTES: u64 = 4 * 1024;

/// Until what is not used any more has gone back.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "takes ten minutes"]
async fn a_network_with_churn_loses_nothing_and_grows_nowhere() {
    LocalSet::new().run_until(churn()).await;
}

async fn churn() {
    let minutes =
        std::env::var("TNET_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10.0);
    let lasts = Duration::from_secs_f64(60.0 * minutes);
    let scene = Scene::set(lasts).await;
    let mut work = JoinSet::new();
    keepers::all(&scene, &mut work);
    getters::all(&scene, &mut work);

    tokio::time::sleep(lasts.mul_f64(WARM_AFTER)).await;
    let sample = || scene.steady_processes().into_iter().map(Sample::of).collect::<Vec<_>>();
    let warm = sample();
    println!("warm:  {warm:?}");
    tokio::time::sleep(lasts.mul_f64(LATE_AFTER - WARM_AFTER)).await;
    let late = sample();
    println!("late:  {late:?}");
    while let Some(ended) = work.join_next().await {
        if let Err(error) = ended {
            // With all others, and all processes.
            std::panic::resume_unwind(error.into_panic());
        }
    }
    scene.quiet().await;
    let mut last = warm.clone();
    tnet_testkit::eventually("nothing has grown", GIVEN_BACK_WITHIN, async || {
        last = sample();
        let is_back = |((warm, late), last): ((&Sample, &Sample), &Sample)| {
            last.kib <= warm.kib + MORE_KIB
                && last.kib <= late.kib + MORE_KIB_LATE
                && last.descriptors <= warm.descriptors + MORE_DESCRIPTORS
                && last.threads <= warm.threads + MORE_THREADS
        };
        if warm.iter().zip(&late).zip(&last).all(is_back) {
            Ok(())
        } else {
            Err((warm.clone(), late.clone(), last.clone()))
        }
    })
    .await;
    println!("last:  {last:?}");
    let fresh = scene.state_of_a_fresh_seed().await;
    // The server shares nothing any more, and a fresh one of that kind has written nothing down.
    for (whose, state, fresh) in
        [("seed", scene.state_of_seed(), fresh), ("server", scene.state_of_server(), 0)]
    {
        let bound = 2 * fresh + STATE_MORE_BYTES;
        tnet_testkit::eventually("the state directory is small", GIVEN_BACK_WITHIN, async || {
            let worn = directory_bytes(&state);
            if worn <= bound { Ok(()) } else { Err((whose, worn, bound)) }
        })
        .await;
        let worn = directory_bytes(&state);
        println!("state directory of the {whose}: {worn} bytes, a fresh one {fresh}");
    }
    println!("{}", scene.summary());
}
