//! What each signal does. Only KILL ends a process without a clean shutdown.
//!
//! | signal | a server, a coordinator | every other command |
//! |---|---|---|
//! | INT, TERM, QUIT, XCPU, PWR | a clean end; INT, TERM or QUIT once more: the end at once | the same |
//! | HUP | reads the settings again; a clean end if the terminal it runs in is gone | a clean end |
//! | USR1 | logs its state in one line | nothing |
//! | TSTP, TTIN, TTOU, CONT, WINCH | the system's default | the same |
//! | all others that can be handled | nothing | nothing |
//!
//! A signal that is ignored when the process starts, as HUP under `nohup`, stays ignored, except in
//! the background server, which inherits nothing. Signals that ask for the end are handled in any
//! case: a shell ignores INT and QUIT for the background commands of a script, which could not end
//! them otherwise. Signals for faults (SEGV, BUS, ABRT and the like) keep the system's default.

use std::fs;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// How a command reacts to signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs until it is stopped, and reloads its settings on HUP.
    Service,
    /// A background service, which inherits no ignored signals.
    Detached,
    /// Ends by itself.
    Command,
}

/// What signals have asked for.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// Cancelled by the first that asks for the end.
    pub(crate) stop: CancellationToken,
    /// Woken when the settings are to be reloaded.
    pub(crate) reload: Arc<Notify>,
    /// Woken when the state is to be logged.
    pub(crate) report: Arc<Notify>,
}

/// Signals that would end a process and have no meaning here. Writes report a closed pipe and a
/// file that is too long as errors; no timers are set, no signal-driven IO is used, and no
/// real-time signal has a meaning.
fn meaningless() -> impl Iterator<Item = i32> {
    let named =
        [Number::PIPE, Number::ALARM, Number::VTALARM, Number::PROF, Number::XFSZ, Number::USR2];
    let named = named.map(Number::as_raw).into_iter();
    named.chain([SignalKind::io().as_raw_value()]).chain(of_linux())
}

#[cfg(target_os = "linux")]
fn of_linux() -> impl Iterator<Item = i32> {
    /// The C library uses the ones before.
    const FIRST_REAL_TIME: i32 = 34;
    const LAST_REAL_TIME: i32 = 64;
    std::iter::once(Number::STKFLT.as_raw()).chain(FIRST_REAL_TIME..=LAST_REAL_TIME)
}

#[cfg(not(target_os = "linux"))]
fn of_linux() -> impl Iterator<Item = i32> {
    std::iter::empty()
}

/// Handles signals from here on.
///
/// # Errors
/// The system refuses a handler.
pub(crate) fn listen(role: Role) -> io::Result<Signals> {
    let ignored = match role {
        Role::Detached => Ignored::default(),
        Role::Service | Role::Command => Ignored::at_start(),
    };
    let kind = |signal: Number| SignalKind::from_raw(signal.as_raw());
    // Once handled, a signal never has the system's default effect again.
    for number in meaningless().filter(|number| !ignored.has(*number)) {
        // A signal that cannot be handled is no reason not to start.
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
                    // A second signal ends the process at once. Journals make that safe.
                    Urgency::Now if stop.is_cancelled() => std::process::exit(Exit::Interrupted.code().into()),
                    Urgency::Now | Urgency::Clean => stop.cancel(),
                },
                () = next(&mut hangup) => match role {
                    Role::Service | Role::Detached if !terminal.is_gone() => reload.notify_one(),
                    // Never counts as the second signal that ends it at once: some systems send HUP
                    // together with TERM.
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

/// How urgent a signal for the end is.
enum Urgency {
    /// A second one ends the process at once.
    Now,
    Clean,
}

/// The signals that ask for the end.
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
            // XCPU: the system sends it each second.
            () = next(&mut self.limit) => Urgency::Clean,
            () = next(&mut self.power) => Urgency::Clean,
        }
    }
}

/// The signals that were ignored at the start: one bit each, the lowest is signal 1.
#[derive(Debug, Default, Clone, Copy)]
struct Ignored(u64);

impl Ignored {
    /// None where the system has no `/proc`.
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

/// The controlling terminal.
#[derive(Debug, Clone, Copy)]
struct Terminal {
    was_there: bool,
}

impl Terminal {
    fn now() -> Self {
        Self { was_there: is_there() }
    }

    /// A terminal that was hung up no longer controls the process.
    fn is_gone(self) -> bool {
        self.was_there && !is_there()
    }
}

/// Whether a terminal controls this process, wherever its output goes.
fn is_there() -> bool {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match open("/dev/tty", flags, Mode::empty()) {
        Ok(_) => true,
        // The session has none. For other errors, stderr decides.
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
