//! Exit codes. The numbers are a promise to scripts: they are never renumbered.

use tnet_control::FaultKind;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Ok = 0,
    /// None of the below.
    Other = 1,
    /// The command line or the request is invalid.
    Usage = 2,
    /// A file, a directory or the server is not there.
    NotFound = 3,
    /// No reachable peer has the file and accepts our connection, or none sent anything in time.
    NoHolder = 4,
    /// The coordinator or an address cannot be reached or used.
    Network = 5,
    /// Content is not what it should be; also a `.fileinfo` that cannot be read as one or does not
    /// prove itself.
    Integrity = 6,
    /// A part of the file is here; the same command continues from there.
    Incomplete = 7,
    /// The disk is full or failed.
    Disk = 8,
    /// Something is there already and was not to be replaced.
    Exists = 9,
    /// The user may not do this.
    NotAllowed = 10,
    /// A `.fileinfo` or a server of another version.
    Version = 11,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// The number the process ends with.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// The name in `--json`.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Other => FaultKind::Other.name(),
            Self::Usage => FaultKind::Usage.name(),
            Self::NotFound => FaultKind::NotFound.name(),
            Self::NoHolder => FaultKind::NoHolder.name(),
            Self::Network => FaultKind::Network.name(),
            Self::Integrity => FaultKind::Integrity.name(),
            Self::Incomplete => FaultKind::Incomplete.name(),
            Self::Disk => FaultKind::Disk.name(),
            Self::Exists => FaultKind::Exists.name(),
            Self::NotAllowed => FaultKind::NotAllowed.name(),
            Self::Version => FaultKind::Version.name(),
            Self::Interrupted => "interrupted",
        }
    }

    /// That which has this name in `--json`.
    pub(crate) fn of_kind(name: &str) -> Option<Self> {
        let of_faults = FaultKind::ALL.into_iter().map(Self::from);
        [Self::Ok, Self::Interrupted].into_iter().chain(of_faults).find(|exit| exit.kind() == name)
    }
}

/// Of all exit codes, for `tnet help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed for another reason
  2    wrong usage
  3    something that was named does not exist, or no server is running
  4    no reachable peer has the file and a free place, or no data arrived in time
  5    network: the coordinator or an address cannot be reached or used
  6    wrong content, or an invalid .fileinfo
  7    incomplete; the same command continues where it ended
  8    disk full or failing
  9    something is there already; see --overwrite
  10   not allowed
  11   .fileinfo or server of another version
  130  interrupted by Ctrl-C or SIGTERM";

impl From<FaultKind> for Exit {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Other => Self::Other,
            FaultKind::Usage => Self::Usage,
            FaultKind::NotFound => Self::NotFound,
            FaultKind::NoHolder => Self::NoHolder,
            FaultKind::Network => Self::Network,
            FaultKind::Integrity => Self::Integrity,
            FaultKind::Incomplete => Self::Incomplete,
            FaultKind::Disk => Self::Disk,
            FaultKind::Exists => Self::Exists,
            FaultKind::NotAllowed => Self::NotAllowed,
            FaultKind::Version => Self::Version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The promise, written a second time on purpose.
    const CODES: [(Exit, u8, &str); 13] = [
        (Exit::Ok, 0, "ok"),
        (Exit::Other, 1, "other"),
        (Exit::Usage, 2, "usage"),
        (Exit::NotFound, 3, "not_found"),
        (Exit::NoHolder, 4, "no_holder"),
        (Exit::Network, 5, "network"),
        (Exit::Integrity, 6, "integrity"),
        (Exit::Incomplete, 7, "incomplete"),
        (Exit::Disk, 8, "disk"),
        (Exit::Exists, 9, "exists"),
        (Exit::NotAllowed, 10, "not_allowed"),
        (Exit::Version, 11, "version"),
        (Exit::Interrupted, 130, "interrupted"),
    ];

    #[test]
    fn codes_and_kinds_are_as_promised() {
        for (exit, code, kind) in CODES {
            assert_eq!((exit.code(), exit.kind()), (code, kind));
        }
    }

    #[test]
    fn every_code_is_in_the_help() {
        for (exit, code, _) in CODES {
            let line = format!("\n  {code:<5}");
            assert!(EXIT_CODES.contains(&line), "{exit:?}");
        }
        assert_eq!(EXIT_CODES.lines().count(), CODES.len() + 1);
    }
}
