//! Why a call to a peer failed, in words for users.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why no peer could be reached at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CallFailure {
    /// No answer to the connection attempt.
    TimedOut,
    /// The host is there, and no process listens.
    Refused,
    /// There is no route to the host.
    NoRoute,
    /// The connection was accepted, and no peer of `tnet` answered.
    NoPeer,
    /// A peer of another protocol version answered.
    OtherVersion,
    /// The connection was accepted, and no handshake came in time.
    Silent,
    /// Anything else.
    Failed,
}

impl From<&io::Error> for CallFailure {
    fn from(error: &io::Error) -> CallFailure {
        match error.kind() {
            io::ErrorKind::TimedOut => CallFailure::TimedOut,
            io::ErrorKind::ConnectionRefused => CallFailure::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                CallFailure::NoRoute
            }
            _ if Errno::from_io_error(error) == Some(Errno::INVAL) => CallFailure::NoRoute,
            _ => CallFailure::Failed,
        }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallFailure::TimedOut => "timed out",
            CallFailure::Refused => "refused",
            CallFailure::NoRoute => "no route to it",
            CallFailure::NoPeer => "no peer answers there",
            CallFailure::OtherVersion => "it speaks another version",
            CallFailure::Silent => "it accepts and does not answer",
            CallFailure::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_a_call_has_its_word() {
        for (errno, failure) in [
            (Errno::CONNREFUSED, CallFailure::Refused),
            (Errno::HOSTUNREACH, CallFailure::NoRoute),
            (Errno::NETUNREACH, CallFailure::NoRoute),
            (Errno::TIMEDOUT, CallFailure::TimedOut),
            (Errno::PIPE, CallFailure::Failed),
        ] {
            assert_eq!(CallFailure::from(&io::Error::from(errno)), failure, "{errno}");
        }
    }
}
