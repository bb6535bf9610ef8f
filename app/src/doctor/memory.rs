//! Memory: what there is, and what may be taken.

use super::{Finding, FindingState, Machine};
use crate::text::format_bytes;

/// Memory that the demo model is drawn with.
const DEMO: u64 = 200_000_000;
/// Memory that a model of Stable Diffusion 1.5 is drawn with at 512x512: docs/performance.md.
const USUAL: u64 = 2_000_000_000;

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let meminfo = machine.read("proc/meminfo").unwrap_or_default();
    let Some(total) = kibibytes(&meminfo, "MemTotal") else {
        return vec![Finding::with_advice(
            "memory",
            "not known",
            FindingState::Hint,
            format!(
                "this system does not say; Stable Diffusion 1.5 at 512x512 takes {}",
                format_bytes(USUAL)
            ),
        )];
    };
    let available = kibibytes(&meminfo, "MemAvailable").unwrap_or(total);
    let limits = [control_group(machine), address_space(machine)];
    let free = limits.iter().flatten().fold(available, |free, limit| free.min(*limit));
    let mut findings = vec![Finding::fine("total", format_bytes(total)), room(free)];
    for (name, limit) in ["limit of the container", "limit of the process"].into_iter().zip(limits) {
        findings.push(match limit {
            Some(limit) if limit < total => Finding::with_advice(
                name,
                format_bytes(limit),
                FindingState::Hint,
                "whoever takes more is ended by the system; raise it for larger models",
            ),
            _ => Finding::fine(name, "none below the total"),
        });
    }
    findings
}

/// What can be had.
fn room(free: u64) -> Finding {
    let value = format_bytes(free);
    match free {
        0..DEMO => Finding::with_advice(
            "available",
            value,
            FindingState::Fatal,
            format!("close other programs: even the demo model takes {}", format_bytes(DEMO)),
        ),
        DEMO..USUAL => Finding::with_advice(
            "available",
            value,
            FindingState::Hint,
            format!(
                "Stable Diffusion 1.5 at 512x512 takes {}; close other programs, or map the model's files (low memory)",
                format_bytes(USUAL)
            ),
        ),
        _ => Finding::fine("available", value),
    }
}

fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least of the limits of the process's control group and of those above it.
fn control_group(machine: &Machine) -> Option<u64> {
    let groups = machine.read("proc/self/cgroup").unwrap_or_default();
    let parse = |path: String| machine.read(&path)?.trim().parse::<u64>().ok();
    let mut limits: Vec<u64> =
        parse("sys/fs/cgroup/memory/memory.limit_in_bytes".into()).into_iter().collect();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kind), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (folder, file) = match kind {
            "" => ("sys/fs/cgroup", "memory.max"),
            "memory" => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // A container sees its own group at the top.
        let names: Vec<_> = path.split('/').filter(|name| !name.is_empty() && *name != "..").collect();
        for depth in 0..=names.len() {
            let group: String = names[..depth].iter().map(|name| format!("/{name}")).collect();
            limits.extend(parse(format!("{folder}{group}/{file}")));
        }
    }
    limits.into_iter().min()
}

/// The limit that `ulimit -v` sets.
fn address_space(machine: &Machine) -> Option<u64> {
    let limits = machine.read("proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::machine;

    const MEMINFO: &str = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\n";

    #[test]
    fn the_least_limit_counts() {
        let (_folder, machine) = machine(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "1000000000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            (
                "proc/self/limits",
                "Max address space         unlimited            unlimited            bytes\n",
            ),
        ]);
        let findings = findings(&machine);
        assert_eq!((&findings[0].value[..], &findings[1].value[..]), ("16.38 GB", "1.00 GB"));
        assert_eq!((&findings[2].value[..], findings[2].state), ("1.00 GB", FindingState::Hint));
        assert_eq!(findings[3].state, FindingState::Fine);
    }

    #[test]
    fn too_little_is_told() {
        let states = [1, DEMO, USUAL].map(|free| room(free).state);
        assert_eq!(states, [FindingState::Fatal, FindingState::Hint, FindingState::Fine]);
    }

    #[test]
    fn damaged_files_of_the_system_are_nothing() {
        for text in [
            "MemTotal: x kB",
            "MemTotal",
            "MemTotal: 99999999999999999999 kB",
            "MemTotal: 18446744073709551615 kB",
        ] {
            let (_folder, machine) =
                machine(&[("proc/meminfo", text), ("proc/self/cgroup", ":\n::\n0\n0::/../..\n")]);
            assert_eq!(findings(&machine)[0].value, "not known", "{text}");
        }
    }
}
