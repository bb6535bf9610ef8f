//! The entry to the drivers of this machine.

use std::sync::OnceLock;

/// The instance of the process, made when it is first asked for.
pub(super) fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        #[cfg(target_os = "linux")]
        if !wayland::is_reachable(|name| std::env::var(name).ok())
            && let Some(instance) = wayland::instance_without()
        {
            return instance;
        }
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        // No validation layers: they would slow debug builds down, and naga checks the shaders.
        descriptor.flags = wgpu::InstanceFlags::empty();
        wgpu::Instance::new(descriptor)
    })
}

/// Whether this machine may have a GPU that is not software, without loading a driver: creating an instance loads every
/// installed driver, which takes time and may write to the standard error. `true` where it is not known.
pub(super) fn may_have_hardware() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let names = |folder: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    has_device_node(&names("/dev"), &names("/dev/dri"))
}

/// Whether one of the device nodes in `/dev` or `/dev/dri` belongs to a GPU: a render node of the kernel (AMD, Intel,
/// nouveau and others), or a node of a driver of its own (NVIDIA, AMD's compute driver, Windows' subsystem for Linux,
/// Mali, Adreno, PowerVR, Tegra).
fn has_device_node(dev: &[String], dri: &[String]) -> bool {
    const NODES: [&str; 9] = ["nvidia", "kfd", "dxg", "mali", "kgsl", "pvr", "nvhost", "nvmap", "nvgpu"];
    dri.iter().any(|name| name.starts_with("renderD") || name.starts_with("card"))
        || dev.iter().any(|name| NODES.iter().any(|node| name.starts_with(node)))
}

/// Instances without Wayland.
///
/// wgpu enables the extensions for windows of every window system that the drivers know, though this crate draws to none.
/// Where the one for Wayland is enabled, a layer of Mesa connects to the compositor to learn which GPU it uses, and
/// libwayland complains on the standard error if there cannot be a compositor: on servers and in containers.
#[cfg(target_os = "linux")]
mod wayland {
    use wgpu::hal;

    /// Whether libwayland can look for a compositor, by its rules: it takes an open connection, or an absolute path, or a
    /// name within the directory for sockets.
    pub(super) fn is_reachable(variable: impl Fn(&str) -> Option<String>) -> bool {
        let is_path = |name| variable(name).is_some_and(|value| value.starts_with('/'));
        variable("WAYLAND_SOCKET").is_some() || is_path("WAYLAND_DISPLAY") || is_path("XDG_RUNTIME_DIR")
    }

    /// An instance of Vulkan, the only backend of this crate on Linux. `None` if it cannot be made.
    pub(super) fn instance_without() -> Option<wgpu::Instance> {
        let descriptor = hal::InstanceDescriptor {
            name: "latent",
            flags: wgpu::InstanceFlags::empty(),
            memory_budget_thresholds: wgpu::MemoryBudgetThresholds::default(),
            backend_options: wgpu::BackendOptions::default(),
            telemetry: None,
            display: None,
        };
        let remove: Box<hal::vulkan::CreateInstanceCallback<'_>> = Box::new(|arguments| {
            arguments.extensions.retain(|name| *name != c"VK_KHR_wayland_surface");
        });
        // SAFETY: the callback adds nothing that the drivers may lack. wgpu asks that it remove nothing, for the sake
        // of code that takes an extension for enabled without looking; of this one it makes use only to create a
        // surface for Wayland, where it looks into the very list that was changed, and no surface is ever created here.
        let made = unsafe { hal::vulkan::Instance::init_with_callback(&descriptor, Some(remove)) };
        let instance = made.ok()?;
        // SAFETY: the instance was just made, by the same version of wgpu, and nothing else uses or destroys it.
        Some(unsafe { wgpu::Instance::from_hal::<hal::api::Vulkan>(instance) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_nodes_of_gpus_are_known() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let none =
            names(&["null", "zero", "random", "tty0", "vda", "net", "shm", "dri", "fb0", "kmsg", "nvme0n1"]);
        assert!(!has_device_node(&none, &[]));
        assert!(!has_device_node(&none, &names(&["by-path"])));
        for node in ["renderD128", "renderD129", "card0"] {
            assert!(has_device_node(&none, &names(&[node])), "{node}");
        }
        for node in
            ["nvidia0", "nvidiactl", "kfd", "dxg", "mali0", "kgsl-3d0", "pvrsrvkm", "nvhost-gpu", "nvmap"]
        {
            assert!(has_device_node(&names(&["null", node]), &[]), "{node}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_compositor_needs_a_place_for_its_socket() {
        let reachable = |set: &[(&str, &str)]| {
            wayland::is_reachable(|name| {
                set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(!reachable(&[]));
        assert!(!reachable(&[("WAYLAND_DISPLAY", "wayland-0")]));
        assert!(!reachable(&[("XDG_RUNTIME_DIR", "")]), "libwayland asks for an absolute path");
        assert!(reachable(&[("XDG_RUNTIME_DIR", "/run/user/1000")]));
        assert!(reachable(&[("WAYLAND_DISPLAY", "/tmp/socket")]));
        assert!(reachable(&[("WAYLAND_SOCKET", "4")]));
    }
}
