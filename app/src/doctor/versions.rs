//! What runs, and on which system.

use super::{Finding, FindingState, Machine};
use std::env::consts::{ARCH, OS};

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![program(), system(machine)];
    #[cfg(feature = "gpu")]
    {
        let (name, version) = latent_diffusion::tensor::gpu::LIBRARY;
        findings.insert(1, Finding::fine(name, version));
    }
    findings.extend(kernel().map(|kernel| Finding::fine("kernel", kernel)));
    findings
}

fn program() -> Finding {
    let parts = [(cfg!(feature = "gpu"), "GPU kernels"), (cfg!(feature = "demo"), "demo model")];
    let listed = parts.map(|(has, part)| format!("{} {part}", if has { "with" } else { "without" }));
    let value = format!("{}, {}", env!("CARGO_PKG_VERSION"), listed.join(", "));
    if cfg!(debug_assertions) {
        let advice = "this build is made for debugging and slow; build it with cargo build --release";
        return Finding::with_advice("latent", value + ", debug build", FindingState::Hint, advice);
    }
    Finding::fine("latent", value)
}

fn system(machine: &Machine) -> Finding {
    let release = machine.read("etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or_else(|| OS.to_owned(), |name| name.trim_matches('"').to_owned());
    Finding::fine("system", format!("{name}, {ARCH}"))
}

/// Name and release of the system's kernel, where the system says so.
fn kernel() -> Option<String> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        let name = rustix::system::uname();
        Some(format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()))
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::machine;

    #[test]
    fn a_linux_is_named() {
        let (_folder, machine) =
            machine(&[("etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 13\"\n")]);
        assert_eq!(system(&machine).value, format!("Debian GNU/Linux 13, {ARCH}"));
    }
}
