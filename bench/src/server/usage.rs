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
            ..Self::read("self")?
        })
    }

    /// The usage of another process, whose CPU time is exact to a tick.
    pub fn of(process: u32) -> Result<Self> {
        Self::read(&process.to_string())
    }

    fn read(process: &str) -> Result<Self> {
        let (user_ns, kernel_ns) = times(process)?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        Ok(Self {
            cpu_ns: user_ns + kernel_ns,
            user_ns,
            rss_bytes: status_bytes(&status, "VmRSS:")?,
            peak_bytes: status_bytes(&status, "VmHWM:")?,
        })
    }
}

/// The times in user and in kernel mode.
fn times(process: &str) -> Result<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may contain anything; the times are the 12th and the 13th field after it.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no fields in /proc/…/stat")?;
    let mut times = fields.split(' ').skip(11);
    let mut time = || {
        let ticks = times.next().ok_or("no time in /proc/…/stat")?;
        Result::Ok(ticks.parse::<u64>()? * TICK_NS)
    };
    Ok((time()?, time()?))
}

fn status_bytes(status: &str, field: &str) -> Result<u64> {
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(field));
    let kilobytes = line.ok_or_else(|| format!("no {field} in /proc/…/status"))?;
    Ok(kilobytes.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
