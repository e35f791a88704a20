//! The limit on a process's file descriptors.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::harness::Result;

/// A generous number of descriptors beside those of the sessions.
const OTHERS: u64 = 64;

/// Fails with the reason if a process cannot have this many connections.
pub fn check(sessions: usize) -> std::result::Result<(), String> {
    let wanted = sessions as u64 + OTHERS;
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < wanted => Err(format!(
            "a process may have {most} file descriptors, and {wanted} are wanted"
        )),
        _ => Ok(()),
    }
}

/// Raises this process's soft limit to its hard limit.
pub fn raise() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(())
}
