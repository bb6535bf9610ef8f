//! Memory of this machine.

/// Bytes that can be had without swapping, where the system says so: on Linux.
#[must_use]
pub fn available() -> Option<u64> {
    of_meminfo("MemAvailable:")
}

/// Bytes of this machine in all, where the system says so: on Linux.
#[must_use]
pub fn total() -> Option<u64> {
    of_meminfo("MemTotal:")
}

fn of_meminfo(name: &str) -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_says_what_is_free() {
        assert!(!cfg!(target_os = "linux") || available().is_some_and(|free| free > 1 << 20));
    }
}
