//! The operating system's limit of open files: each connection needs one.

/// Open files beside those of the connections: the store with its journals and readers, the listener, the
/// refused connections that are answered, and the files of the runtime.
#[cfg(unix)]
const OTHER_FILES: u64 = 256;

/// How many of these connections the system allows at one time. Raises the limit of this process as far as
/// they need it.
#[cfg(unix)]
pub(super) fn allow(connections: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = u64::try_from(connections).unwrap_or(u64::MAX);
    let needed = needed.saturating_add(OTHER_FILES);
    let limit = getrlimit(Resource::Nofile);
    // None is no limit.
    let Some(current) = limit.current.filter(|current| *current < needed) else {
        return connections;
    };
    let raised = limit.maximum.map_or(needed, |most| most.min(needed));
    let wanted = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => raised,
        Err(_) => current,
    };
    // Half of a small limit, which leaves no room for all the others.
    let allowed = files.saturating_sub(OTHER_FILES).max(files / 2).max(1);
    usize::try_from(allowed).map_or(connections, |allowed| allowed.min(connections))
}

#[cfg(not(unix))]
pub(super) fn allow(connections: usize) -> usize {
    connections
}
