//! GPUs, and why there is none.

use super::{Finding, FindingState, Machine};

#[cfg(not(feature = "gpu"))]
pub(super) fn findings(_machine: &Machine) -> Vec<Finding> {
    let advice = "build it with the feature gpu to draw with a GPU";
    vec![Finding::with_advice("GPU", "this build has no GPU kernels", FindingState::Hint, advice)]
}

#[cfg(feature = "gpu")]
pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    use latent_diffusion::tensor::gpu;
    let adapters = gpu::adapters();
    let best = adapters.iter().filter(|adapter| !adapter.is_software()).map(gpu::Adapter::rank).max();
    let mut findings: Vec<Finding> = adapters
        .iter()
        .enumerate()
        .map(|(number, adapter)| {
            let (name, kind) = (format!("gpu:{number}"), adapter.kind());
            let value =
                format!("{} ({kind}), {}, driver {}", adapter.name(), adapter.backend(), adapter.driver());
            if adapter.is_software() {
                let advice =
                    "it computes on the processor and is for tests; the kernels for the processor are faster";
                return Finding::with_advice(&name, value, FindingState::Fine, advice);
            }
            Finding::fine(&name, value)
        })
        .collect();
    if best.is_none() {
        findings.push(reason(machine));
    }
    findings
}

/// Why no GPU is found, as far as the system's files show.
#[cfg(feature = "gpu")]
fn reason(machine: &Machine) -> Finding {
    let none = |value: &str, state, advice: &str| Finding::with_advice("GPU", value, state, advice);
    let hint = FindingState::Hint;
    if !cfg!(target_os = "linux") {
        let advice =
            "images are drawn on the processor; a GPU needs a driver for Vulkan, Metal or DirectX 12";
        return none("none has a driver", hint, advice);
    }
    let is_render = |name: &String| name.starts_with("renderD");
    let render: Vec<_> = machine.names("dev/dri").into_iter().filter(is_render).collect();
    let nodes = machine.names("dev");
    let nvidia = nodes.iter().any(|name| name.starts_with("nvidia"));
    if render.is_empty() && !nvidia && !nodes.iter().any(|name| name == "dxg") {
        let advice = "images are drawn on the processor; in a container, pass the GPU on (docker: --gpus all, or --device /dev/dri)";
        return none("the system shows none", hint, advice);
    }
    let is_closed = |name: &String| {
        let path = machine.root.join("dev/dri").join(name);
        let opened = std::fs::OpenOptions::new().read(true).write(true).open(path);
        opened.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    if !render.is_empty() && render.iter().all(is_closed) {
        let advice = "add yourself to the group that owns it, mostly render or video, and log in again";
        return none(&format!("/dev/dri/{} may not be opened", render[0]), FindingState::Problem, advice);
    }
    let folders = ["usr/share/vulkan/icd.d", "etc/vulkan/icd.d", "usr/local/share/vulkan/icd.d"];
    let drivers: Vec<_> = folders.iter().flat_map(|folder| machine.names(folder)).collect();
    let has_driver = match nvidia {
        true => drivers.iter().any(|name| name.contains("nvidia")),
        false => drivers.iter().any(|name| !name.starts_with("lvp_icd")),
    };
    let problem = FindingState::Problem;
    match (has_driver, nvidia) {
        (false, true) => {
            let advice = "install the driver's part for Vulkan (libnvidia-gl on Debian and Ubuntu); in a container, set \
                          NVIDIA_DRIVER_CAPABILITIES=all";
            none("NVIDIA's GPU has no driver for Vulkan", problem, advice)
        }
        (false, false) => none(
            "the GPU has no driver for Vulkan",
            problem,
            "install one: mesa-vulkan-drivers on Debian and Ubuntu, for AMD and Intel",
        ),
        (true, _) => none(
            "the GPU's driver for Vulkan finds none",
            problem,
            "see whether vulkaninfo --summary lists it; the driver may not fit the kernel, or VK_DRIVER_FILES names another",
        ),
    }
}

#[cfg(all(test, feature = "gpu", target_os = "linux"))]
mod tests {
    use super::*;
    use crate::doctor::tests::machine;

    #[test]
    fn the_reason_for_no_gpu_is_told() {
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[], "the system shows none"),
            (&[("dev/nvidia0", "")], "NVIDIA's GPU has no driver for Vulkan"),
            (
                &[("dev/dri/renderD128", ""), ("usr/share/vulkan/icd.d/lvp_icd.json", "")],
                "the GPU has no driver for Vulkan",
            ),
            (
                &[("dev/dri/renderD128", ""), ("usr/share/vulkan/icd.d/radeon_icd.json", "")],
                "the GPU's driver for Vulkan finds none",
            ),
        ];
        for (files, value) in cases {
            let (_folder, machine) = machine(files);
            let finding = reason(&machine);
            assert_eq!(finding.value, value);
            assert!(finding.advice.is_some());
        }
    }
}
