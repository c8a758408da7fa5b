//! What the machine says of processes, and of itself: processor time, memory, and how busy others kept it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by measurements that each use a part of it"
)]

use anyhow::{Context, Result};

/// Linux counts in hundredths of a second wherever this runs.
const TICKS_A_SECOND: f64 = 100.0;

/// Seconds of processor time that a process has taken so far, all its threads together.
pub fn busy_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name stands in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a stat")?;
    let of_both = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = of_both.filter_map(|n| n.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_A_SECOND)
}

/// A size in a process's status (`VmRSS`, `VmHWM`), in MiB.
pub fn mib(pid: u32, what: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("a size")?
        .parse()?;
    Ok(kib / 1_024.0)
}

/// Seconds of processor time since the start, over all processors: taken by anybody, and left idle.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    taken: f64,
    idle: f64,
}

impl Processors {
    pub fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let all = stat.lines().next().context("the first line")?;
        let ticks: Vec<f64> = all
            .split_whitespace()
            .skip(1)
            // What guests take is counted in what users take already.
            .take(8)
            .filter_map(|n| n.parse().ok())
            .collect();
        // Idle, and idle while a disk is waited for.
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        Ok(Self {
            taken: (ticks.iter().sum::<f64>() - idle) / TICKS_A_SECOND,
            idle: idle / TICKS_A_SECOND,
        })
    }

    /// Which share of the processors' time since `earlier` went to others than those that took `ours` seconds of it.
    pub fn share_of_others(self, earlier: Self, ours: f64) -> f64 {
        let taken = self.taken - earlier.taken;
        let all = taken + self.idle - earlier.idle;
        ((taken - ours) / all.max(1.0 / TICKS_A_SECOND)).max(0.0)
    }
}
