//! What each signal means, decided in one place: none but KILL ends a process without a goodbye.
//!
//! | signal | a server, a coordinator | every other command |
//! |---|---|---|
//! | INT, TERM, QUIT, XCPU, PWR | a clean end; INT, TERM or QUIT once more: the end at once | the same |
//! | HUP | reads the settings again; a clean end if the terminal it runs in is gone | a clean end |
//! | USR1 | a line in the log that says how it does | nothing |
//! | TSTP, TTIN, TTOU, CONT, WINCH | as the system has it | the same |
//! | all others that a program may decide about | nothing | nothing |
//!
//! A signal that is ignored when the process starts, as HUP under `nohup`, stays ignored; only the
//! server in the background keeps nothing of whoever started it. Those that ask for the end are
//! listened to all the same: a shell ignores INT and QUIT for what a script runs in the background,
//! and the script would have no word to end it with. Signals by which the system tells of a fault
//! (SEGV, BUS, ABRT and the like) are left to it.

use std::fs;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// The part of a command that signals may have a word with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs until it is stopped, and reads its settings again when it is asked to.
    Service,
    /// A service that nobody watches: nothing of who started it holds.
    Detached,
    /// Ends by itself.
    Command,
}

/// What signals have asked for.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// Cancelled by the first that asks for the end.
    pub(crate) stop: CancellationToken,
    /// Woken when the settings are to be read again.
    pub(crate) reload: Arc<Notify>,
    /// Woken when the state is to be told.
    pub(crate) report: Arc<Notify>,
}

/// Signals that would end a process and have nothing to say here. Writes tell of a closed pipe and
/// of a file that is too long; nobody sets timers or asks for news of descriptors. Of real-time
/// signals none has a meaning.
fn meaningless() -> impl Iterator<Item = i32> {
    let named =
        [Number::PIPE, Number::ALARM, Number::VTALARM, Number::PROF, Number::XFSZ, Number::USR2];
    let named = named.map(Number::as_raw).into_iter();
    named.chain([SignalKind::io().as_raw_value()]).chain(of_linux())
}

#[cfg(target_os = "linux")]
fn of_linux() -> impl Iterator<Item = i32> {
    /// The C library keeps those before for itself.
    const FIRST_REAL_TIME: i32 = 34;
    const LAST_REAL_TIME: i32 = 64;
    std::iter::once(Number::STKFLT.as_raw()).chain(FIRST_REAL_TIME..=LAST_REAL_TIME)
}

#[cfg(not(target_os = "linux"))]
fn of_linux() -> impl Iterator<Item = i32> {
    std::iter::empty()
}

/// Listens for signals from here on.
///
/// # Errors
/// The system does not let us.
pub(crate) fn listen(role: Role) -> io::Result<Signals> {
    let ignored = match role {
        Role::Detached => Ignored::default(),
        Role::Service | Role::Command => Ignored::at_start(),
    };
    let kind = |signal: Number| SignalKind::from_raw(signal.as_raw());
    // Once listened for, a signal never again does what the system would do.
    for number in meaningless().filter(|number| !ignored.has(*number)) {
        // What cannot be listened for is left to the system: it is no reason not to start.
        let _ = signal(SignalKind::from_raw(number));
    }
    let open = |number: Number| match ignored.has(number.as_raw()) {
        true => Ok(None),
        false => signal(kind(number)).map(Some),
    };
    let always = |number: Number| signal(kind(number)).map(Some);
    let mut ends = Ends {
        interrupt: always(Number::INT)?,
        terminate: always(Number::TERM)?,
        quit: always(Number::QUIT)?,
        limit: always(Number::XCPU)?,
        power: power()?,
    };
    let (mut hangup, mut user) = (open(Number::HUP)?, open(Number::USR1)?);
    let signals =
        Signals { stop: CancellationToken::new(), reload: Arc::default(), report: Arc::default() };
    let listening = signals.clone();
    let terminal = Terminal::now();
    tokio::spawn(async move {
        let Signals { stop, reload, report } = listening;
        loop {
            tokio::select! {
                urgency = ends.next() => match urgency {
                    // Whatever hangs, the user wants out. Journals make that safe at any moment.
                    Urgency::Now if stop.is_cancelled() => std::process::exit(Exit::Interrupted.code().into()),
                    Urgency::Now | Urgency::Clean => stop.cancel(),
                },
                () = next(&mut hangup) => match role {
                    Role::Service | Role::Detached if !terminal.is_gone() => reload.notify_one(),
                    // Never the second that ends it at once: some systems send HUP together with
                    // TERM.
                    Role::Service | Role::Detached | Role::Command => stop.cancel(),
                },
                () = next(&mut user) => report.notify_one(),
            }
        }
    });
    Ok(signals)
}

#[cfg(target_os = "linux")]
fn power() -> io::Result<Option<Signal>> {
    signal(SignalKind::from_raw(Number::POWER.as_raw())).map(Some)
}

#[cfg(not(target_os = "linux"))]
fn power() -> io::Result<Option<Signal>> {
    Ok(None)
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        // It has no end.
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// How an end is asked for.
enum Urgency {
    /// The second time it comes at once.
    Now,
    Clean,
}

/// Those that ask for the end.
struct Ends {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    quit: Option<Signal>,
    limit: Option<Signal>,
    power: Option<Signal>,
}

impl Ends {
    async fn next(&mut self) -> Urgency {
        tokio::select! {
            () = next(&mut self.interrupt) => Urgency::Now,
            () = next(&mut self.terminate) => Urgency::Now,
            () = next(&mut self.quit) => Urgency::Now,
            // The system sends it each second.
            () = next(&mut self.limit) => Urgency::Clean,
            () = next(&mut self.power) => Urgency::Clean,
        }
    }
}

/// The signals that were ignored when the process started: a bit for each, the lowest is number 1.
#[derive(Debug, Default, Clone, Copy)]
struct Ignored(u64);

impl Ignored {
    /// None where the system does not tell.
    fn at_start() -> Self {
        Self::of_status(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn of_status(status: &str) -> Self {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default())
    }

    fn has(self, number: i32) -> bool {
        let bit = u32::try_from(number).ok().and_then(|number| number.checked_sub(1));
        bit.and_then(|bit| self.0.checked_shr(bit)).is_some_and(|bits| bits & 1 == 1)
    }
}

/// The terminal that somebody watches us in.
#[derive(Debug, Clone, Copy)]
struct Terminal {
    was_there: bool,
}

impl Terminal {
    fn now() -> Self {
        Self { was_there: is_there() }
    }

    /// A terminal that was hung up controls nobody any more.
    fn is_gone(self) -> bool {
        self.was_there && !is_there()
    }
}

/// Whether a terminal controls this process, wherever what it writes goes.
fn is_there() -> bool {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match open("/dev/tty", flags, Mode::empty()) {
        Ok(_) => true,
        // That of a session without one. Whatever else is said, its own output may tell.
        Err(Errno::NXIO) => false,
        Err(_) => rustix::termios::isatty(io::stderr()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ignored_at_the_start_is_read_from_the_status() {
        // As the system writes it: PIPE (13) and HUP (1).
        let ignored = Ignored::of_status(
            "Name:\ttnet\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n",
        );
        assert!(ignored.has(1) && ignored.has(13));
        assert!(!ignored.has(2) && !ignored.has(0) && !ignored.has(64) && !ignored.has(65));
        assert!(Ignored(1 << 63).has(64));
        for status in ["", "SigIgn:", "SigIgn:\tnone"] {
            assert!((1..=64).all(|number| !Ignored::of_status(status).has(number)), "{status:?}");
        }
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn no_signal_that_means_nothing_ends_the_process() {
        let _signals = listen(Role::Detached).expect("the system lets us");
        for number in meaningless() {
            let signal = Number::from_named_raw(number);
            if let Some(signal) = signal {
                let me = rustix::process::getpid();
                rustix::process::kill_process(me, signal).expect("ourselves");
            }
        }
        tokio::task::yield_now().await;
    }
}
