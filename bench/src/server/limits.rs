//! Owns how many file descriptors a process may have.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::harness::Result;

/// What a process has open beside its sessions, generously.
const OTHERS: u64 = 64;

/// Whether a process could have this many connections; else why not.
pub fn check(sessions: usize) -> std::result::Result<(), String> {
    let wanted = sessions as u64 + OTHERS;
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < wanted => Err(format!(
            "a process may have {most} file descriptors, and {wanted} are wanted"
        )),
        _ => Ok(()),
    }
}

/// Allows this process as many as it may allow itself.
pub fn raise() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(())
}
