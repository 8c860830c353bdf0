//! What a process has used of the machine, as Linux tells it.

use std::time::Duration;

/// Ticks of the clock of `/proc/PID/stat`: USER_HZ, which is 100 wherever Rust's Linux targets run.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) memory_kb: u64,
}

impl Usage {
    /// This process's own.
    pub(super) fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// `None` if there is no such process, or no `/proc`.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let (stat, status) = (read("stat")?, read("status")?);
        // The name, in parentheses, may hold anything. Behind it: state, then 10 fields, then user and system time.
        let mut times = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || times.next()?.parse::<u64>().ok();
        let cpu = Duration::from_millis((ticks()? + ticks()?) * 1000 / TICKS_PER_SECOND);
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Self { cpu, memory_kb: memory.trim().trim_end_matches(" kB").parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_uses_is_something() {
        let begin = Usage::own().unwrap();
        assert!(begin.memory_kb > 100);
        let mut sum = 0_u64;
        while Usage::own().unwrap().cpu == begin.cpu {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert!(Usage::of(u32::MAX).is_none(), "{sum}");
    }
}
