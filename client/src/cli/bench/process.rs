//! What a process on this machine has used, as Linux tells it. Nothing elsewhere.

use serde::Serialize;

/// Processor time and memory of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// Processor seconds, user and system, since it began.
    pub(crate) cpu_s: f64,
    /// Resident memory.
    pub(crate) resident_kb: u64,
    /// The most that it ever was.
    pub(crate) resident_max_kb: u64,
}

/// The unit of processor times in `/proc`, the same on every Linux that people run.
const TICKS_PER_S: f64 = 100.0;

impl Usage {
    /// `None` if there is no such process or no `/proc`.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Self {
            cpu_s: cpu_seconds(&stat)?,
            resident_kb: kilobytes(&status, "VmRSS:")?,
            resident_max_kb: kilobytes(&status, "VmHWM:")?,
        })
    }
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name of the program stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_right_fields() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        let status = "Name:\tx\nVmHWM:\t   900 kB\nVmRSS:\t   800 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(800));
        assert_eq!(kilobytes(status, "VmHWM:"), Some(900));
    }
}
