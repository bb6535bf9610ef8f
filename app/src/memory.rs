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

/// Environment variable that says how much memory drawing may take, in MB, in place of all that the machine has.
pub const LIMIT_VARIABLE: &str = "LATENT_MEMORY";

/// Bytes that drawing may take: what [`LIMIT_VARIABLE`] says, or what the machine has, or its group of processes may take. `None`
/// where the system says nothing.
#[must_use]
pub fn limit() -> Option<u64> {
    limit_of(std::env::var(LIMIT_VARIABLE).ok().as_deref(), total(), group_limit())
}

fn limit_of(given: Option<&str>, total: Option<u64>, group: Option<u64>) -> Option<u64> {
    let given = given.and_then(|text| text.trim().parse::<u64>().ok()).map(|mb| mb.saturating_mul(1_000_000));
    given.or_else(|| total.into_iter().chain(group).min())
}

/// What a container or a service may take.
fn group_limit() -> Option<u64> {
    std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
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
    fn the_smallest_limit_counts_unless_one_is_given() {
        assert_eq!(limit_of(None, Some(8), Some(4)), Some(4));
        assert_eq!(limit_of(None, Some(8), None), Some(8));
        assert_eq!(limit_of(Some("16"), Some(8), Some(4)), Some(16_000_000));
        assert_eq!(limit_of(Some("much"), None, None), None);
    }

    #[test]
    fn linux_says_what_is_free() {
        assert!(!cfg!(target_os = "linux") || available().is_some_and(|free| free > 1 << 20));
    }
}
