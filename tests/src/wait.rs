//! Waiting in tests: always for something to be true, never for time to pass, and never for ever.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// For what happens at once unless something is broken. Long, because the machine that runs the
/// tests may be busy with other things; a test that passes never waits this long.
pub const SOON: Duration = Duration::from_secs(20);

/// Pause between two checks of a condition that is polled.
const POLL: Duration = Duration::from_millis(15);

/// Looks again and again until the condition gives `Ok`, and returns what is in it.
///
/// # Panics
/// After `within`, with `what` and the last `Err`: what was true instead.
pub async fn eventually<T, D: Debug>(
    what: &str,
    within: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, D>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match timeout(within, condition()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(instead)) if Instant::now() > deadline => {
                panic!("not within {within:?}: {what}; instead: {instead:?}")
            }
            Ok(Err(_)) => sleep(POLL).await,
            Err(_) => panic!("not within {within:?}: {what}; looking took that long already"),
        }
    }
}

/// Looks again and again for the whole of `duration`: the way to see that something does not
/// happen.
///
/// # Panics
/// With `what` and the `Err`, as soon as the condition gives one.
pub async fn stays<D: Debug>(
    what: &str,
    duration: Duration,
    mut condition: impl AsyncFnMut() -> Result<(), D>,
) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        if let Err(instead) = condition().await {
            panic!("{what}; but: {instead:?}");
        }
        sleep(POLL).await;
    }
}

/// `Ok` if the two are equal, else what is there instead: the usual condition of [`eventually`].
///
/// # Errors
/// `actual`, if it is not what was expected.
pub fn is<T: PartialEq>(actual: T, expected: T) -> Result<(), T> {
    if actual == expected { Ok(()) } else { Err(actual) }
}

/// The future's outcome.
///
/// # Panics
/// If it takes longer than `limit`.
pub async fn within<F: Future>(what: &str, limit: Duration, future: F) -> F::Output {
    match timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let seen = eventually("the third look", SOON, async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks) }
        });
        assert_eq!(seen.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "instead: 7")]
    async fn a_condition_that_never_holds_fails_and_says_what_held_instead() {
        eventually("eight", Duration::from_millis(1), async || is(7, 8)).await;
    }

    #[tokio::test]
    #[should_panic(expected = "the first two looks; but: 3")]
    async fn what_is_to_stay_and_changes_fails() {
        let mut looks = 0;
        stays("the first two looks", SOON, async || {
            looks += 1;
            if looks < 3 { Ok(()) } else { Err(looks) }
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "looking took that long")]
    async fn a_look_that_hangs_is_not_waited_for() {
        let hang = async || -> Result<(), ()> { std::future::pending().await };
        eventually("nothing", Duration::from_millis(1), hang).await;
    }
}
