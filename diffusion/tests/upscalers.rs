//! Upscalers against PyTorch: `reference/upscalers/make.py` makes the networks and their results.

use latent_diffusion::loader::{Checkpoint, Weights};
use latent_diffusion::tensor::{Device, Tensor};
use latent_diffusion::upscaler::{Tiling, UpscalerConfig, UpscalerFile};
use latent_diffusion::{Error, Image};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/upscalers").join(name)
}

fn file(name: &str) -> UpscalerFile {
    UpscalerFile::open(Checkpoint::open(&path(&format!("{name}.safetensors"))).unwrap()).unwrap()
}

/// A tensor of the goldens: its height and width, and its values.
fn golden(name: &str) -> ([usize; 2], Vec<f32>) {
    let tensor = Checkpoint::open(&path("golden.safetensors")).unwrap().read(name).unwrap();
    ([tensor.shape[0], tensor.shape[1]], tensor.to_f32().unwrap())
}

/// What a network makes of the image, as numbers and as an image in tiles and whole.
#[track_caller]
fn agrees(file: &UpscalerFile, name: &str) {
    let ([height, width], pixels) = golden("in");
    let ([large_height, large_width], want) = golden(&format!("{name}.out"));
    let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
    let network = file.load(&Device::Cpu, &mut go_on).unwrap();
    let scale = file.config().scale();
    assert_eq!([large_height, large_width], [scale * height, scale * width], "{name}");
    let got = network.forward(&Tensor::from_f32(&[1, height, width, 3], &pixels).unwrap()).unwrap();
    assert_eq!(got.dims(), [1, large_height, large_width, 3], "{name}");
    for (i, (got, want)) in got.f32s().unwrap().iter().zip(&want).enumerate() {
        assert!((got - want).abs() < 1e-4 * want.abs().max(1.0), "{name} at {i}: {got}, not {want}");
    }
    let rgb = pixels.iter().map(|value| (value * 255.0).round() as u8).collect();
    let image = Image { width, height, rgb };
    for tiling in [Tiling { side: 0, overlap: 0 }, Tiling { side: 16, overlap: 64 }] {
        let large = network.upscale(&image, tiling, &mut go_on).unwrap();
        assert_eq!((large.width, large.height), (large_width, large_height), "{name}");
        for (got, want) in large.rgb.iter().zip(&want) {
            let want = want.clamp(0.0, 1.0) * 255.0;
            assert!((f32::from(*got) - want).abs() < 0.53, "{name} {tiling:?}: {got}, not {want}");
        }
    }
}

#[test]
fn small_networks_compute_what_pytorch_does() {
    for (name, told) in [
        ("compact", "Compact 4x, 2 convolutions of 8 channels"),
        ("compact-2x", "Compact 2x, 1 convolutions of 6 channels"),
        ("span", "SPAN 4x, 6 blocks of 4 channels"),
        ("span-no-norm", "SPAN 2x, 6 blocks of 4 channels"),
        ("swinir", "SwinIR 2x, 4 blocks of 8 channels"),
        ("esrgan-x1", "ESRGAN 1x, 1 blocks of 6 channels"),
        ("esrgan-x2", "ESRGAN 2x, 1 blocks of 6 channels"),
    ] {
        let file = file(name);
        assert_eq!(file.config().to_string(), told);
        agrees(&file, name);
    }
}

/// The upscaler that is built in, with its trained weights.
#[test]
fn the_built_in_network_computes_what_pytorch_does() {
    let file =
        UpscalerFile::open(Checkpoint::from_bytes("built in", latent_demo::UPSCALER).unwrap()).unwrap();
    assert!(
        matches!(file.config(), UpscalerConfig::Compact(config) if (config.features, config.convs) == (64, 16))
    );
    agrees(&file, "animevideov3");
}

/// Three quarters of the network that keeps noise.
#[test]
fn two_networks_are_mixed() {
    agrees(&file("compact").mixed(&file("compact-wdn"), 0.75).unwrap(), "compact-mixed");
    agrees(&file("compact").mixed(&file("compact-wdn"), 0.0).unwrap(), "compact");
    let refused = |error: Error| error.to_string();
    let other = refused(file("compact").mixed(&file("compact-2x"), 0.5).unwrap_err());
    assert!(other.contains("compact-2x") && other.contains("cannot be mixed with"), "{other}");
    let part = refused(file("compact").mixed(&file("compact-wdn"), 1.5).unwrap_err());
    assert!(part.contains("1.5"), "{part}");
}

/// Names in a file by a function of the usual ones: what trainers write.
fn renamed(name: &str, rename: impl Fn(&str) -> Vec<String>) -> Result<UpscalerFile, Error> {
    use latent_diffusion::loader::{NewTensor, Writer};
    let checkpoint = Arc::new(Checkpoint::open(&path(&format!("{name}.safetensors"))).unwrap());
    let weights = Weights::new(checkpoint.clone());
    let mut tensors = Vec::new();
    let mut bytes = std::collections::BTreeMap::new();
    for tensor in checkpoint.tensors() {
        for name in rename(&tensor.name) {
            bytes.insert(name.clone(), weights.get(&tensor.name, &tensor.shape).unwrap().data.to_vec());
            tensors.push(NewTensor { name, dtype: tensor.dtype, shape: tensor.shape.clone() });
        }
    }
    let mut writer = Writer::begin(Vec::new(), &std::collections::BTreeMap::new(), &mut tensors).unwrap();
    for tensor in &tensors {
        writer.write(&bytes[&tensor.name]).unwrap();
    }
    UpscalerFile::open(Checkpoint::from_bytes("renamed", writer.end().unwrap()).unwrap())
}

/// A trainer's file has the averages of the weights beside them, and those are the network.
#[test]
fn names_of_trainers_are_known() {
    for name in ["compact", "span"] {
        agrees(&renamed(name, |own| vec![format!("params.{own}")]).unwrap(), name);
        agrees(&renamed(name, |own| vec![format!("params_ema.module.{own}")]).unwrap(), name);
        let both = |own: &str| vec![format!("params_ema.{own}"), format!("params.{own}")];
        agrees(&renamed(name, both).unwrap(), name);
    }
    // A SPAN whose branches were multiplied before it was written.
    let product = renamed("span", |own| {
        let is_branch = own.contains(".sk.") || own.contains(".conv.");
        if is_branch { Vec::new() } else { vec![own.to_owned()] }
    });
    assert_eq!(product.unwrap().config().to_string(), "SPAN 4x, 6 blocks of 4 channels");
}

#[test]
fn other_networks_are_refused_by_name() {
    let refusal = |name: &str, rename: &dyn Fn(&str) -> Vec<String>| {
        renamed(name, rename).err().unwrap_or_else(|| panic!("{name} was opened")).to_string()
    };
    let add = |more: &'static str| {
        move |own: &str| match own {
            "body.0.bias" => vec![own.to_owned(), more.to_owned()],
            _ => vec![own.to_owned()],
        }
    };
    for (more, part) in [
        (
            "layers.0.residual_group.blocks.0.attn.relative_position_bias_table",
            "not an upscaler of the kind SwinIR: it has no conv_first.weight",
        ),
        ("layers.0.residual_group.overlap_attn.qkv.weight", "of the kind HAT, which is not supported"),
        ("before_RG.1.weight", "of the kind DAT, which is not supported"),
        ("body.7.bias", "renamed: is not an upscaler of the kind Compact: it has a tensor \"body.7.bias\""),
    ] {
        let told = refusal("compact", &add(more));
        assert!(told.contains(part), "{more}: {told}");
    }
    // A layer less, and no last convolution.
    let gap = refusal("compact", &|own| if own.starts_with("body.2.") { vec![] } else { vec![own.into()] });
    assert!(gap.contains("Compact") && gap.contains("layers"), "{gap}");
    let no_bias = refusal("compact", &|own| if own == "body.2.bias" { vec![] } else { vec![own.into()] });
    assert!(no_bias.contains("body.2.bias"), "{no_bias}");
    let no_block =
        refusal("span", &|own| if own.starts_with("block_4.c2_r.") { vec![] } else { vec![own.into()] });
    assert!(no_block.contains("block_4.c2_r"), "{no_block}");
}
