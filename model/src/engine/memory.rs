//! The memory of this process, where the system tells it.

/// Megabytes in use now.
pub fn resident_mb() -> Option<u64> {
    field("VmRSS:")
}

/// The most megabytes that were in use since the last [`forget_peak`].
pub fn peak_mb() -> Option<u64> {
    field("VmHWM:")
}

/// Begins a new measurement of the peak. Where that is not possible the peak stays the process's.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes.div_ceil(1024))
}
