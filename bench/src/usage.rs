//! What a process has used, read from `/proc`: processor time and memory.
//!
//! Processor time is user and system time of all threads of the process, in clock ticks of 10 ms; what the
//! kernel does on behalf of nobody (its own threads) is not in it. Memory is resident memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Fields of `/proc/<pid>/stat` after the name in parentheses, from 0 (proc(5) counts from 3).
const UTIME: usize = 11;
const STIME: usize = 12;
const STARTTIME: usize = 19;

/// Resident memory in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) now: f64,
    /// The most there ever was.
    pub(crate) peak: f64,
}

/// The processor time that process `pid` has used so far.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let fields = stat(pid)?;
    let used = field(&fields, UTIME)? + field(&fields, STIME)?;
    Ok(ticks(used))
}

/// How long process `pid` has been running.
pub(crate) fn age(pid: u32) -> Result<Duration> {
    let started = ticks(field(&stat(pid)?, STARTTIME)?);
    let uptime = fs::read_to_string("/proc/uptime").context("failed to read /proc/uptime")?;
    let seconds: f64 = uptime
        .split_whitespace()
        .next()
        .context("/proc/uptime is empty")?
        .parse()?;
    Ok(Duration::from_secs_f64(seconds).saturating_sub(started))
}

/// The resident memory of process `pid`.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let kib = |name: &str| -> Result<f64> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .with_context(|| format!("{path} has no {name}"))?;
        Ok(line.trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
    };
    Ok(Memory {
        now: kib("VmRSS:")?,
        peak: kib("VmHWM:")?,
    })
}

fn stat(pid: u32) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/stat");
    let line = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    // The name may hold spaces and parentheses; nothing after its last parenthesis does.
    let (_, rest) = line
        .rsplit_once(')')
        .with_context(|| format!("{path} is not as proc(5) tells"))?;
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}

fn field(fields: &[String], index: usize) -> Result<u64> {
    let text = fields
        .get(index)
        .with_context(|| format!("stat has no field {index}"))?;
    Ok(text.parse()?)
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second();
    Duration::from_millis(count * 1000 / per_second.max(1))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::{cpu, memory};

    #[test]
    fn a_process_can_read_what_it_used_itself() {
        let memory = memory(process::id()).unwrap();
        assert!(memory.now > 0.0 && memory.peak >= memory.now, "{memory:?}");
        let before = cpu(process::id()).unwrap();
        assert!(cpu(process::id()).unwrap() >= before);
    }
}
