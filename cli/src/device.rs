//! `latent devices`: what can draw.

use crate::args::DevicesArgs;
use crate::console::print;
use crate::json_text;
use latent_app::AppError;
use serde_json::json;

/// `latent devices`: every device with its limits and features.
#[cfg(feature = "gpu")]
pub(crate) fn list(args: &DevicesArgs) -> Result<(), AppError> {
    use latent_diffusion::tensor::gpu;
    let adapters = gpu::adapters();
    let best = adapters.iter().filter(|a| !a.is_software()).map(gpu::Adapter::rank).max();
    let cpu = cpu();
    if args.json {
        let gpus: Vec<_> = adapters
            .iter()
            .enumerate()
            .map(|(number, adapter)| {
                let features: serde_json::Map<_, _> =
                    adapter.features().into_iter().map(|(name, has)| (name.into(), json!(has))).collect();
                let limits: serde_json::Map<_, _> =
                    adapter.limits().into_iter().map(|(name, limit)| (name.into(), json!(limit))).collect();
                json!({
                    "device": format!("gpu:{number}"), "name": adapter.name(), "kind": adapter.kind(),
                    "backend": adapter.backend(), "driver": adapter.driver(),
                    "features": features, "limits": limits,
                })
            })
            .collect();
        return print(&json_text::lines(&json!({ "cpu": cpu, "gpus": gpus })));
    }
    let mut text = format!("cpu    {cpu}\n");
    let mut chosen = false;
    for (number, adapter) in adapters.iter().enumerate() {
        let is_best = !chosen && Some(adapter.rank()) == best;
        chosen |= is_best;
        let mark = if is_best { ", taken by auto" } else { "" };
        text += &format!("gpu:{number}  {} ({}{mark})\n", adapter.name(), adapter.kind());
        text += &format!("       {}, {}\n", adapter.backend(), adapter.driver());
        let (with, without): (Vec<_>, Vec<_>) = adapter.features().into_iter().partition(|(_, has)| *has);
        let names = |list: &[(&str, bool)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        for (word, list) in [("has", with), ("lacks", without)] {
            if !list.is_empty() {
                text += &format!("       {word} {}\n", names(&list));
            }
        }
        let limit = |(name, limit): (&str, u64)| match name {
            "workgroup threads" => format!("{name} {limit}"),
            _ => format!("{name} {}", amount(limit)),
        };
        let limits: Vec<_> = adapter.limits().into_iter().map(limit).collect();
        text += &format!("       {}\n", limits.join(", "));
    }
    if adapters.is_empty() {
        text += "no GPU: none has a driver for Vulkan, Metal or DirectX 12\n";
    }
    print(&text)
}

/// A number of bytes, in the largest unit that divides it.
#[cfg(feature = "gpu")]
fn amount(limit: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, bits)| limit >> bits > 0 && limit.trailing_zeros() >= *bits) {
        Some((unit, bits)) => format!("{} {unit}", limit >> bits),
        None => format!("{limit} bytes"),
    }
}

/// `latent devices`: the CPU.
#[cfg(not(feature = "gpu"))]
pub(crate) fn list(args: &DevicesArgs) -> Result<(), AppError> {
    let cpu = cpu();
    let text = format!("cpu    {cpu}\nno GPU: this build has no GPU kernels\n");
    print(&if args.json { json_text::lines(&json!({ "cpu": cpu, "gpus": [] })) } else { text })
}

/// The CPU's instruction set and number of threads.
fn cpu() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {threads} threads", latent_kernels::Isa::best())
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::*;

    #[test]
    fn limits_are_readable() {
        for (limit, text) in
            [(16 << 10, "16 KiB"), (2 << 30, "2 GiB"), (1 << 20, "1 MiB"), (1000, "1000 bytes")]
        {
            assert_eq!(amount(limit), text);
        }
    }
}
