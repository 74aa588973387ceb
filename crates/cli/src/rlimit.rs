//! The limit of open file descriptors. A server needs one for each connection and each open file,
//! and the soft limit of many systems is 1024.

/// Raises the soft limit to the hard limit.
pub(crate) fn raise_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // None means no limit. If it is refused, the limit stays.
        if current.is_some() && current != maximum {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        }
    }
}
