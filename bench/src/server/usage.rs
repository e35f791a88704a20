//! The usage of a server so far, as it reports it.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::harness::{Result, cpu_ns};

/// The unit of times in `/proc`: Linux shows 100 ticks per second, independent of its internal rate.
const TICK_NS: u64 = 10_000_000;

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all threads, in user and kernel mode.
    pub cpu_ns: u64,
    /// The part in user mode: sampled by the clock's ticks, so exact only to a few percent.
    pub user_ns: u64,
    /// The resident memory.
    pub rss_bytes: u64,
    /// The largest resident memory so far.
    pub peak_bytes: u64,
}

impl Usage {
    /// The usage of this process.
    pub fn now() -> Result<Self> {
        let cpu_ns = cpu_ns();
        Ok(Self {
            cpu_ns,
            user_ns: user_ns()?,
            rss_bytes: status_bytes("VmRSS:")?,
            peak_bytes: status_bytes("VmHWM:")?,
        })
    }
}

fn user_ns() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may contain anything; user time is the 12th field after it.
    let fields = stat
        .rsplit_once(") ")
        .ok_or("no fields in /proc/self/stat")?
        .1;
    let ticks = fields.split(' ').nth(11).ok_or("no user time there")?;
    Ok(ticks.parse::<u64>()? * TICK_NS)
}

fn status_bytes(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(field));
    let kilobytes = line.ok_or_else(|| format!("no {field} in /proc/self/status"))?;
    Ok(kilobytes.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
