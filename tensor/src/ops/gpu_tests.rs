//! Every op on a GPU against the same op on the CPU.

use super::*;
use crate::gpu::{Adapter, Gpu, GpuOptions, adapters};
use crate::{Activation, DType, Device, Gate, Padding, RotaryPairing, WeightBytes};

/// A GPU with each dtype. Without a GPU the tests say so and pass, or fail if `LATENT_GPU_REQUIRED` is set.
fn devices() -> Vec<(Device, f32)> {
    let Some(adapter) = adapters().into_iter().max_by_key(Adapter::rank) else {
        assert!(std::env::var_os("LATENT_GPU_REQUIRED").is_none(), "no GPU, and LATENT_GPU_REQUIRED is set");
        eprintln!("SKIPPED: no GPU; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
        return Vec::new();
    };
    let gpu = Gpu::open(&adapter, &GpuOptions::default()).unwrap();
    let single = Device::gpu(&gpu, DType::F32).unwrap();
    let half = gpu.has_f16().then(|| Device::gpu(&gpu, DType::F16).unwrap());
    [Some((single, 1e-4)), half.map(|half| (half, 2e-2))].into_iter().flatten().collect()
}

fn values(seed: usize, n: usize) -> Vec<f32> {
    (0..n).map(|i| (((i + seed) * 7919 % 1013) as f32 - 506.0) / 400.0).collect()
}

fn tensor(seed: usize, dims: &[usize]) -> Tensor {
    Tensor::from_f32(dims, &values(seed, dims.iter().product())).unwrap()
}

fn weight(n: usize) -> Vec<u8> {
    values(5, n).iter().flat_map(|v| half::f16::from_f32(v / 8.0).to_le_bytes()).collect()
}

/// Runs an op of some tensors on the CPU and on each GPU. The op is given its device, for its layers.
#[track_caller]
fn agrees(inputs: &[&Tensor], op: impl Fn(&[Tensor], &Device) -> Result<Tensor, TensorError>) {
    let own = |device: &Device| inputs.iter().map(|x| x.to(device).unwrap()).collect::<Vec<_>>();
    let want = op(&own(&Device::Cpu), &Device::Cpu).unwrap();
    for (device, tolerance) in devices() {
        let got = op(&own(&device), &device).unwrap();
        assert_eq!(got.dims(), want.dims(), "{device:?}");
        assert_eq!(got.device(), device);
        let got = got.to(&Device::Cpu).unwrap();
        let largest = want.f32s().unwrap().iter().fold(1.0f32, |most, v| most.max(v.abs()));
        for (i, (got, want)) in got.f32s().unwrap().iter().zip(want.f32s().unwrap()).enumerate() {
            assert!((got - want).abs() <= tolerance * largest, "{device:?} at {i}: {got}, not {want}");
        }
    }
}

#[test]
fn products() {
    let (x, residual) = (tensor(1, &[3, 10, 24]), tensor(2, &[3, 10, 36]));
    let bytes = weight(36 * 24);
    let layer = |device: &Device| {
        let weight = WeightBytes::new(DType::F16, &bytes);
        Linear::new(weight, [36, 24], Some(values(3, 36))).unwrap().to(device).unwrap()
    };
    agrees(&[&x], |x, device| linear(&x[0], &layer(device)));
    agrees(&[&x], |x, device| linear_geglu(&x[0], &layer(device)));
    agrees(&[&x], |x, device| {
        let layer = layer(device);
        let [a, b] = linear_many(&x[0], [&layer, &layer])?;
        add(a, &b)
    });
    agrees(&[&x, &residual], |x, device| linear_add(&x[0], &layer(device), x[1].clone()));
    // A residual that is shared stays as it is.
    agrees(&[&x, &residual], |x, device| {
        linear_add(&x[0], &layer(device), x[1].clone())?;
        Ok(x[1].clone())
    });
    let narrow = weight(12 * 24);
    agrees(&[&x], |x, device| {
        let weight = WeightBytes::new(DType::F16, &narrow);
        linear_in_place(x[0].clone(), &Linear::new(weight, [12, 24], None)?.to(device)?)
    });
}

/// Blocks are dequantized to the dtype of the device when the layer is moved there.
#[test]
fn quantized_layers() {
    let bytes = latent_kernels::quant::quantize(DType::Q8_0, &values(5, 36 * 288), 288).unwrap();
    let blocks = || WeightBytes::new(DType::Q8_0, &bytes);
    let (rows, image) = (tensor(1, &[10, 288]), tensor(2, &[2, 5, 6, 32]));
    agrees(&[&rows], |x, device| {
        linear(&x[0], &Linear::new(blocks(), [36, 288], Some(values(3, 36)))?.to(device)?)
    });
    agrees(&[&image], |x, device| {
        conv2d(&x[0], &Conv2d::new(blocks(), [36, 32, 3], 1, Padding::all(1), None)?.to(device)?)
    });
}

#[test]
fn convolutions() {
    let x = tensor(1, &[2, 7, 6, 32]);
    let bytes = weight(40 * 32 * 9);
    let layer = |device: &Device, stride| {
        let weight = WeightBytes::new(DType::F16, &bytes);
        let layer = Conv2d::new(weight, [40, 32, 3], stride, Padding::all(1), Some(values(3, 40)));
        layer.unwrap().to(device).unwrap()
    };
    agrees(&[&x], |x, device| conv2d(&x[0], &layer(device, 1)));
    agrees(&[&x], |x, device| conv2d(&x[0], &layer(device, 2)));
    let (vector, residual) = (tensor(4, &[2, 40]), tensor(6, &[2, 14, 12, 40]));
    agrees(&[&x, &vector, &residual], |x, device| {
        let norm = GroupNorm::new(values(7, 32), values(8, 32), 8, 1e-5)?.to(device)?;
        let prologue = Prologue { norm_silu: Some(&norm), resize: Some([14, 12]) };
        let epilogue = Epilogue { vector: Some(&x[1]), residual: Some(x[2].clone()) };
        conv2d_fused(&x[0], &layer(device, 1), prologue, epilogue)
    });
}

#[test]
fn norms() {
    let x = tensor(1, &[2, 5, 3, 20]);
    agrees(&[&x], |x, device| {
        group_norm(&x[0], &GroupNorm::new(values(7, 20), values(8, 20), 4, 1e-5)?.to(device)?)
    });
    agrees(&[&x], |x, device| {
        group_norm_silu(&x[0], &GroupNorm::new(values(7, 20), values(8, 20), 4, 1e-5)?.to(device)?)
    });
    agrees(&[&x], |x, device| {
        layer_norm(&x[0], &LayerNorm::new(values(7, 20), values(8, 20), 1e-5)?.to(device)?)
    });
}

#[test]
fn blocks_of_transformers() {
    let (x, y) = (tensor(1, &[2, 5, 24]), tensor(2, &[2, 5, 24]));
    let (scale, shift) = (tensor(3, &[2, 24]), tensor(4, &[2, 24]));
    agrees(&[&x], |x, device| rms_norm(&x[0], &RmsNorm::new(values(7, 8), 1e-5)?.to(device)?));
    agrees(&[&x, &scale], |x, device| {
        rms_norm_modulated(&x[0], &RmsNorm::new(values(7, 24), 1e-5)?.to(device)?, &x[1])
    });
    agrees(&[&x, &scale, &shift], |x, _| layer_norm_modulated(&x[0], &x[1], &x[2], 1e-5));
    agrees(&[&x, &scale, &shift], |x, _| modulate(x[0].clone(), &x[1], &x[2]));
    agrees(&[&x, &y, &scale], |x, _| add_gated(x[0].clone(), &x[1], &x[2]));
    agrees(&[&x], |x, _| slice_channels(&x[0], 4..20));
    for pairing in [RotaryPairing::Interleaved, RotaryPairing::Halves] {
        let positions: Vec<[f64; 2]> = (0..5).map(|i| [f64::from(i), f64::from(2 * i)]).collect();
        agrees(&[&x], |x, device| {
            rotary(x[0].clone(), &RotaryTable::new([4, 8], 100.0, &positions, pairing)?.to(device)?)
        });
    }
}

#[test]
fn feed_forwards_of_transformers() {
    let x = tensor(1, &[2, 5, 24]);
    let bytes = weight(36 * 24);
    let layer = |device: &Device| {
        let weight = WeightBytes::new(DType::F16, &bytes);
        Linear::new(weight, [36, 24], Some(values(3, 36))).unwrap().to(device).unwrap()
    };
    agrees(&[&x], |x, _| gelu_tanh(x[0].clone()));
    agrees(&[&x], |x, _| gated(&x[0], Gate::SWIGLU));
    agrees(&[&x], |x, _| multiply_activated(x[0].clone(), &x[0], Activation::Silu));
    agrees(&[&x], |x, device| linear_activated(&x[0], &layer(device), Activation::GeluTanh));
    agrees(&[&x], |x, device| linear_gated(&x[0], &layer(device), Gate::SWIGLU));
    agrees(&[&x], |x, device| linear_gated_by(&x[0], &layer(device), &layer(device), Activation::GeluTanh));
}

#[test]
fn attention_of_heads() {
    let (q, k, v) = (tensor(1, &[2, 9, 24]), tensor(2, &[2, 11, 24]), tensor(3, &[2, 11, 24]));
    for (heads, causal) in [(1, false), (3, false), (3, true)] {
        agrees(&[&q, &k, &v], |x, _| attention(&x[0], &x[1], &x[2], heads, causal));
    }
    let (k, v, bias) = (tensor(2, &[2, 11, 8]), tensor(3, &[2, 11, 8]), tensor(4, &[3, 9, 11]));
    agrees(&[&q, &k, &v, &bias], |x, _| {
        let (scale, key_lengths) = (Some(0.3), Some(&[7, 11][..]));
        let plain = AttentionOptions { kv_heads: 1, scale, key_lengths, ..AttentionOptions::new(3) };
        let unbiased = attention_with(&x[0], &x[1], &x[2], &plain)?;
        add(unbiased, &attention_with(&x[0], &x[1], &x[2], &AttentionOptions { bias: Some(&x[3]), ..plain })?)
    });
}

#[test]
fn elementwise_ops_and_shapes() {
    let (x, y) = (tensor(1, &[2, 3, 5, 8]), tensor(2, &[2, 3, 5, 8]));
    agrees(&[&x], |x, _| silu(x[0].clone()));
    agrees(&[&x], |x, _| gelu(x[0].clone()));
    agrees(&[&x], |x, _| quick_gelu(x[0].clone()));
    agrees(&[&x], |x, _| geglu(&x[0]));
    agrees(&[&x], |x, _| softmax(x[0].clone()));
    agrees(&[&x], |x, _| scale(x[0].clone(), -0.7));
    agrees(&[&x], |x, _| upsample_nearest(&x[0], 6, 7));
    agrees(&[&x], |x, _| guidance(&x[0], 3.0));
    agrees(&[&x, &y], |x, _| add(x[0].clone(), &x[1]));
    agrees(&[&x, &y], |x, _| concat_channels(&x[0], &x[1]));
    agrees(&[&x, &tensor(3, &[2, 8])], |x, _| add_per_channel(x[0].clone(), &x[1]));
    agrees(&[&x], |x, device| prelu(x[0].clone(), &Prelu::new(values(3, 8))?.to(device)?));
    agrees(&[&x, &y], |x, _| parameter_free_attention(x[0].clone(), &x[1]));
    agrees(&[&x], |x, _| x[0].clone().reshape(&[6, 40]));
}

#[test]
fn a_clone_shares_memory_until_one_is_written() {
    for (device, _) in devices() {
        let x = tensor(1, &[5, 7]).to(&device).unwrap();
        let before = x.to(&Device::Cpu).unwrap();
        silu(x.clone()).unwrap();
        assert_eq!(x.to(&Device::Cpu).unwrap().f32s().unwrap(), before.f32s().unwrap());
    }
}

#[test]
fn tensors_of_two_devices_are_refused() {
    for (device, _) in devices() {
        let (here, there) = (tensor(1, &[2, 4]), tensor(1, &[2, 4]).to(&device).unwrap());
        let bytes = weight(8);
        let layer = Linear::new(WeightBytes::new(DType::F16, &bytes), [2, 4], None).unwrap();
        let error = linear(&there, &layer).unwrap_err();
        assert!(matches!(error, TensorError::Device { .. }), "{error}");
        let layer = layer.to(&device).unwrap();
        for error in [linear(&here, &layer).unwrap_err(), add(here.clone(), &there).unwrap_err()] {
            assert!(matches!(error, TensorError::Device { .. }), "{error}");
        }
        assert!(matches!(there.f32s().unwrap_err(), TensorError::Device { .. }));
    }
}

/// Latents are `f32` on a GPU of either dtype.
#[test]
fn latents_of_samplers() {
    let inputs: Vec<Tensor> = (0..6).map(|seed| tensor(seed, &[3, 5, 7, 4])).collect();
    let mask =
        Tensor::from_f32(&[3, 5, 7, 4], &(0..420).map(|i| (i % 3) as f32).collect::<Vec<_>>()).unwrap();
    let run = |device: &Device| {
        let inputs: Vec<Tensor> = inputs.iter().map(|x| x.to(device).unwrap()).collect();
        let terms: Vec<(f64, &Tensor)> = inputs.iter().map(|x| (-0.7, x)).collect();
        let sum = linear_combination(&terms).unwrap();
        let kept = select(&mask.to(device).unwrap(), sum.clone(), &inputs[0]).unwrap();
        // The sum is shared, and stays as it was.
        let both = linear_combination(&[(1.0, &sum), (2.0, &kept)]).unwrap();
        let rows = index_select(&both, &[1, 2, 0, 0]).unwrap();
        assert!(all_finite(&rows).unwrap().finish().unwrap());
        let infinite = linear_combination(&[(f64::from(f32::MAX), &rows), (f64::from(f32::MAX), &rows)]);
        assert!(!all_finite(&infinite.unwrap()).unwrap().finish().unwrap());
        assert_eq!((rows.device(), rows.dims()), (device.clone(), &[4, 5, 7, 4][..]));
        rows.to(&Device::Cpu).unwrap()
    };
    let want = run(&Device::Cpu);
    for (device, _) in devices() {
        let got = run(&device.in_f32());
        let pairs = want.f32s().unwrap().iter().zip(got.f32s().unwrap());
        assert!(pairs.into_iter().all(|(want, got)| (want - got).abs() < 1e-5), "{device:?}");
        let foreign =
            linear_combination(&[(1.0, &inputs[0].to(&device.in_f32()).unwrap()), (1.0, &inputs[0])]);
        assert!(foreign.unwrap_err().to_string().starts_with("linear_combination: expected memory of "));
    }
}
