//! How fast weights come to a GPU: uploads the weights of a large model, packed for products, and prints the medians.
//!
//! ```sh
//! cargo run --release -p latent-kernels --example upload -- [MEGABYTES] [RUNS] [f16|bf16|f32]
//! ```
//!
//! They lie in memory, as a file's pages do that were read before. The GPU is the best of this machine; with a software adapter its
//! memory is the same main memory, so what is measured there is the host's side.

use latent_kernels::gemm::WeightMatrix;
use latent_kernels::gemm::gpu::PackedWeight;
use latent_kernels::gpu::{Adapter, Gpu, GpuOptions, adapters};
use latent_kernels::{DType, Weight};
use std::sync::Arc;
use std::time::Instant;

/// `[outputs, inputs]` of the layers of Stable Diffusion XL that take most of its weights.
const SHAPES: [[usize; 2]; 4] = [[1280, 1280], [10_240, 1280], [1280, 5120], [1280, 2048]];

/// Seconds of processors that this process has used, where `/proc` says so.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

fn weights(dtype: DType, bytes: usize) -> Vec<WeightMatrix> {
    let mut left = bytes;
    let shapes = SHAPES.iter().cycle().take_while(|[outputs, inputs]| {
        let size = outputs * inputs * dtype.size();
        let fits = size <= left;
        left -= size.min(left);
        fits
    });
    let weight = |[outputs, inputs]: &[usize; 2]| {
        let words = (outputs * inputs * dtype.size() / 4) as u32;
        // Numbers in every dtype.
        let values: Vec<u8> =
            (0..words).flat_map(|i| (i.wrapping_mul(0x9e37_79b1) & 0x3fff_3fff).to_le_bytes()).collect();
        WeightMatrix::new(Weight::new(dtype, Arc::new(values)), *outputs, *inputs)
    };
    shapes.map(weight).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let megabytes: usize = args.first().map_or(Ok(2000), |arg| arg.parse())?;
    let runs: usize = args.get(1).map_or(Ok(5), |arg| arg.parse())?;
    let dtype = match args.get(2).map(String::as_str) {
        None | Some("f16") => DType::F16,
        Some("bf16") => DType::BF16,
        Some("f32") => DType::F32,
        Some(other) => return Err(format!("{other} is none of f16, bf16, f32").into()),
    };
    let adapter = adapters().into_iter().max_by_key(Adapter::rank).ok_or("no GPU")?;
    let weights = weights(dtype, megabytes * 1_000_000);
    let bytes: usize = weights.iter().map(WeightMatrix::bytes).sum();
    println!("{} weights of {dtype}, {} MB, to {}", weights.len(), bytes / 1_000_000, adapter.name());
    let (mut host, mut all, mut processors) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..=runs {
        let gpu = Gpu::open(&adapter, &GpuOptions::default())?;
        let (start, used) = (Instant::now(), processor_seconds());
        let packed: Vec<PackedWeight> =
            weights.iter().map(|weight| PackedWeight::new(&gpu, weight, false)).collect::<Result<_, _>>()?;
        let written = start.elapsed().as_secs_f64();
        gpu.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{seconds:.3} s, of which the host {written:.3} s; {:?}", gpu.staging_use());
        // The first run allocates what the driver then keeps.
        if run > 0 {
            host.push(written);
            all.push(seconds);
            processors.extend(used.zip(processor_seconds()).map(|(before, after)| after - before));
        }
        drop(packed);
    }
    let (all, host, processors) = (median(all), median(host), median(processors));
    println!(
        "medians: {all:.3} s ({:.2} GB/s), the host {host:.3} s, processors {processors:.2} s",
        bytes as f64 / all / 1e9
    );
    Ok(())
}
