//! The number of descriptors a process may have open. A server has one for each connection and each
//! shared file, and many systems give 1024 to a process that does not ask for more.

/// Raises the limit to what the system allows without asking anybody.
pub(crate) fn raise_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // None is no limit. What is refused leaves things as they were.
        if current.is_some() && current != maximum {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        }
    }
}
