//! Every variant of every shader without a GPU, and what happens when one fails.

use super::template::{COOPERATIVE, expand};
use super::testing::gpus;
use super::*;
use crate::DType;
use crate::activation::{Activation, gpu as activation};
use crate::elementwise::gpu as elementwise;
use crate::shaders;
use naga::back::{hlsl, msl, pipeline_constants, spv};
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Module, StorageAccess};

fn parse(shader: &Shader, variant: &ShaderVariant) -> (Module, ModuleInfo) {
    let parsed = testing::parse(&expand(shader, variant), variant);
    parsed.unwrap_or_else(|error| panic!("{} {variant:?}: {error}", shader.name))
}

#[test]
fn the_version_of_the_library_is_that_of_the_workspace() {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let (name, version) = LIBRARY;
    let dependency = format!("\n{name} = {{ version = \"{version}\",");
    assert!(std::fs::read_to_string(workspace).unwrap().contains(&dependency));
}

#[test]
fn every_variant_is_valid_and_binds_what_the_rust_side_binds() {
    for shader in shaders::ALL {
        for variant in (shader.variants)() {
            let what = format!("{} {variant:?}", shader.name);
            let (module, _) = parse(shader, &variant);
            let mut arrays = vec![None; shader.bindings.len()];
            for (_, global) in module.global_variables.iter() {
                let Some(place) = &global.binding else { continue };
                assert_eq!(place.group, 0, "{what}");
                match global.space {
                    AddressSpace::Uniform => {
                        let size = module.types[global.ty].inner.size(module.to_ctx()) as usize;
                        assert_eq!((place.binding, size), (0, shader.params), "{what}: parameters");
                    }
                    AddressSpace::Storage { access } => {
                        let write = access.contains(StorageAccess::STORE);
                        arrays[place.binding as usize - 1] =
                            Some(if write { BindingAccess::Write } else { BindingAccess::Read });
                    }
                    space => panic!("{what}: a binding in {space:?}"),
                }
            }
            let bound: Vec<_> = arrays.into_iter().flatten().collect();
            assert_eq!(bound, shader.bindings, "{what}");
        }
    }
}

/// The languages of Vulkan, Metal and DirectX 12.
#[test]
fn every_variant_becomes_spirv_msl_and_hlsl() {
    for shader in shaders::ALL {
        for variant in (shader.variants)() {
            let what = format!("{} {variant:?}", shader.name);
            let (module, info) = parse(shader, &variant);
            let constants = testing::pipeline_constants(&variant);
            let (module, info) = pipeline_constants::process_overrides(&module, &info, None, &constants)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let spirv = spv::write_vec(&module, &info, &spv::Options::default(), None);
            spirv.unwrap_or_else(|error| panic!("{what}: {error}"));
            let pipeline = msl::PipelineOptions::default();
            let options =
                msl::Options { lang_version: (3, 1), fake_missing_bindings: true, ..Default::default() };
            let metal = msl::write_string(&module, &info, &options, &pipeline);
            metal.unwrap_or_else(|error| panic!("{what}: {error}"));
            if variant.flags.contains(&COOPERATIVE) {
                // DirectX 12 has no cooperative matrices.
                continue;
            }
            let mut text = String::new();
            let options = hlsl::Options {
                shader_model: hlsl::ShaderModel::V6_2,
                fake_missing_bindings: true,
                ..Default::default()
            };
            let pipeline = hlsl::PipelineOptions::default();
            let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
            written.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

/// Threads and bytes of workgroup memory of a shader's variants, the most of each.
fn size(shader: &Shader) -> (u32, u32) {
    let (mut threads, mut bytes) = (0, 0);
    for variant in (shader.variants)() {
        let (module, _) = parse(shader, &variant);
        threads = threads.max(module.entry_points[0].workgroup_size.iter().product());
        let globals = module.global_variables.iter();
        let shared = globals.filter(|(_, global)| global.space == AddressSpace::WorkGroup);
        let sizes = shared.map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx()));
        bytes = bytes.max(sizes.sum());
    }
    (threads, bytes)
}

#[test]
fn the_documented_sizes_of_workgroups_are_those_of_the_shaders() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gpu.md");
    let text = std::fs::read_to_string(path).unwrap();
    let row = |shader: &&Shader| {
        let (threads, bytes) = size(shader);
        format!("\n| `{}` | {threads} | {bytes} |", shader.name)
    };
    let missing: Vec<String> = shaders::ALL.iter().map(row).filter(|row| !text.contains(row)).collect();
    assert!(missing.is_empty(), "docs/gpu.md lacks the rows{}", missing.concat());
}

#[test]
fn arrays_come_back_as_they_went() {
    for (name, gpu) in gpus() {
        for n in [1, 2, 7, 1001] {
            let values: Vec<f32> = (0..n).map(|i| i as f32 / 8.0).collect();
            for dtype in [DType::F32, DType::F16] {
                let x = Array::upload(&gpu, dtype, &values).unwrap();
                assert_eq!(x.read().unwrap(), values, "{name} {dtype} {n}");
            }
        }
    }
}

#[test]
fn memory_is_used_again_and_given_back() {
    for (name, gpu) in gpus() {
        let before = gpu.memory().now;
        for _ in 0..10 {
            Array::scratch(&gpu, DType::F32, 10_000).unwrap();
        }
        assert!(gpu.memory().now < before + 2 * 40_960, "{name}");
        gpu.trim().unwrap();
        assert_eq!(gpu.memory().now, 0, "{name}");
    }
}

/// Memory that is dropped while commands that use it wait must not be overwritten by later commands.
#[test]
fn commands_keep_their_order_when_memory_is_used_again() {
    for (name, gpu) in gpus() {
        let mut kept = Vec::new();
        for i in 0..20 {
            let mut x = Array::upload(&gpu, DType::F32, &[i as f32; 100]).unwrap();
            elementwise::scale(&mut x, 2.0).unwrap();
            let mut out = Array::scratch(&gpu, DType::F32, 50).unwrap();
            activation::geglu(&x, 50, &mut out).unwrap();
            kept.push(out);
        }
        for (i, out) in kept.iter().enumerate() {
            let want = crate::activation::reference::geglu(&[2.0 * i as f32; 100], 50);
            crate::testing::assert_close(&out.read().unwrap(), &want, 1e-3, name);
        }
    }
}

#[test]
fn no_memory_is_an_error_and_the_next_request_succeeds() {
    let Some(adapter) = adapters().into_iter().next() else { return };
    let options = GpuOptions { memory_limit: Some(1 << 20), ..GpuOptions::default() };
    let gpu = Gpu::open(&adapter, &options).unwrap();
    let small = Array::upload(&gpu, DType::F32, &[1.0; 1000]).unwrap();
    let error = Array::scratch(&gpu, DType::F32, 1 << 20).unwrap_err();
    assert!(matches!(error, GpuError::OutOfMemory { bytes, .. } if bytes == Some(4 << 20)), "{error:?}");
    assert!(error.to_string().contains("4 MB more were needed"), "{error}");
    assert_eq!(small.read().unwrap(), [1.0; 1000]);
    assert!(Array::scratch(&gpu, DType::F32, 1000).is_ok());
}

#[test]
fn a_lost_gpu_is_an_error_and_can_be_opened_anew() {
    for (name, _) in gpus() {
        let adapter = adapters().into_iter().next().unwrap();
        let gpu = Gpu::open(&adapter, &GpuOptions::default()).unwrap();
        let mut x = Array::upload(&gpu, DType::F32, &[1.0; 10]).unwrap();
        activation::activate(Activation::Silu, &mut x).unwrap();
        gpu.lose();
        assert!(matches!(x.read(), Err(GpuError::Lost { .. })), "{name}");
        assert!(matches!(Array::scratch(&gpu, DType::F32, 1), Err(GpuError::Lost { .. })), "{name}");
        let gpu = Gpu::open(&adapter, &GpuOptions::default()).unwrap();
        assert_eq!(Array::upload(&gpu, DType::F32, &[1.0]).unwrap().read().unwrap(), [1.0], "{name}");
    }
}

#[test]
fn pipelines_are_kept_on_disk() {
    let Some(adapter) = adapters().into_iter().next() else { return };
    let folder = std::env::temp_dir().join(format!("latent-pipelines-{}", std::process::id()));
    let options = GpuOptions { cache: Some(folder.clone()), ..GpuOptions::default() };
    let has_cache = adapter.features().contains(&("pipeline cache", true));
    for _ in 0..2 {
        let gpu = Gpu::open(&adapter, &options).unwrap();
        let mut x = Array::upload(&gpu, DType::F32, &[0.0]).unwrap();
        activation::activate(Activation::Silu, &mut x).unwrap();
        assert_eq!(x.read().unwrap(), [0.0]);
        gpu.save_pipelines().unwrap();
        let files = std::fs::read_dir(&folder).map_or(0, Iterator::count);
        assert_eq!(files, usize::from(has_cache));
    }
    let file = std::fs::read_dir(&folder).into_iter().flatten().next().map(|entry| entry.unwrap().path());
    // A broken file counts as an empty one.
    if let Some(file) = file {
        std::fs::write(&file, b"no cache").unwrap();
        let gpu = Gpu::open(&adapter, &options).unwrap();
        let mut x = Array::upload(&gpu, DType::F32, &[0.0]).unwrap();
        activation::activate(Activation::Silu, &mut x).unwrap();
        assert_eq!(x.read().unwrap(), [0.0]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn kernels_are_timed() {
    for (_, gpu) in gpus() {
        let x = Array::upload(&gpu, DType::F32, &[1.0; 4096]).unwrap();
        let (_, times) = gpu
            .profile(|| {
                for _ in 0..3000 {
                    activation::activate(Activation::Silu, &mut x.clone()).unwrap();
                }
            })
            .unwrap();
        assert_eq!(times.len(), 3000 * if gpu.binding_limit() < 1 << 16 { 2 } else { 1 });
        assert!(times.iter().all(|t| t.name == "activation" && t.seconds >= 0.0 && t.bytes > 0));
        assert!(times.iter().map(|t| t.seconds).sum::<f64>() > 0.0);
    }
}
