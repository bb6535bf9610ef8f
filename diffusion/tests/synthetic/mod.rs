//! Sizes and weights that need no file are those of the published files.

mod macs;

use latent_benches::{DType, Manifest, synth};
use latent_diffusion::Error;
use latent_diffusion::families::{self, Model, ModelParts, PublishedModel};
use latent_diffusion::loader::{Checkpoint, Weights};
use latent_diffusion::params::Params;
use latent_diffusion::tensor::{Tensor, profile};
use latent_diffusion::text::TextEncoder;
use latent_diffusion::tokenizer::CONTEXT;
use latent_diffusion::unet::{UNet, UNetConfig, added_vector};
use latent_diffusion::vae::VaeDecoder;
use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

fn manifest(name: &str) -> Manifest {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    Manifest::parse(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// A checkpoint of zeros, in a file of which only the header is written: even a large model takes no room.
fn zeros(name: &str) -> Checkpoint {
    let manifest = manifest(name);
    let (mut entries, mut end) = (serde_json::Map::new(), 0);
    for entry in manifest.files().values().flatten() {
        let start = end;
        end += 2 * entry.shape.iter().product::<usize>();
        let tensor = serde_json::json!({"dtype": "F16", "shape": entry.shape, "data_offsets": [start, end]});
        entries.insert(entry.name.clone(), tensor);
    }
    let header = serde_json::to_string(&entries).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    checkpoint
}

#[test]
fn published_sizes_are_those_of_the_file() {
    for published in families::published() {
        let checkpoint = Arc::new(zeros(&format!("{}-full-single.json", published.id)));
        let (parts, sizes) = (ModelParts::detect(&checkpoint).unwrap(), published.sizes());
        assert_eq!(published.resolution, parts.family.resolution, "{}", published.id);
        assert_eq!((Some(&sizes.unet), sizes.vae), (parts.network.unet(), parts.vae), "{}", published.id);
        let model = Model::detect(&checkpoint).unwrap();
        let text: Vec<_> = model.text.into_iter().map(|part| part.config).collect();
        assert_eq!(sizes.text, text, "{}", published.id);
    }
}

#[test]
fn the_unets_do_as_much_work_as_is_known_of_them() {
    // Of one evaluation at the side that each was trained for, in 10^9, counted on the graphs of the published models.
    for (name, known) in [("sd15", 401.6), ("sd21", 1074.6), ("sdxl", 3380.6)] {
        let published = PublishedModel::find(name).unwrap();
        let side = published.resolution / published.sizes().vae.factor();
        let macs = macs::of_unet(&published.sizes().unet, [side, side], CONTEXT);
        assert!((macs as f64 / 1e9 - known).abs() < 0.05, "{name}: {macs}");
    }
}

#[test]
fn the_profile_counts_that_work() {
    let wide = UNetConfig {
        block_out_channels: vec![64, 128, 256],
        ..PublishedModel::find("sdxl").unwrap().sizes().unet
    };
    let narrow = UNetConfig {
        block_out_channels: vec![32, 64, 64, 96],
        ..PublishedModel::find("sd15").unwrap().sizes().unet
    };
    for config in [wide, narrow] {
        let unet = UNet::load(&Params::synthetic(1, &|_| ()), &config).unwrap();
        let (x, text) =
            (zeroed(&[2, 8, 12, config.in_channels]), zeroed(&[2, 77, config.cross_attention_dim]));
        let added = config.added_dim.map(|dim| zeroed(&[2, dim]));
        let run = || unet.forward(&x, &[500.0; 2], &unet.condition(&text, added.as_ref())?);
        let (out, profile) = profile::record(run);
        assert_eq!(out.unwrap().dims(), [2, 8, 12, config.out_channels]);
        assert_eq!(profile.total().flops, 2 * 2 * macs::of_unet(&config, [8, 12], 77));
    }
}

fn zeroed(dims: &[usize]) -> Tensor {
    Tensor::zeros(dims).unwrap()
}

#[test]
fn an_added_vector_is_given_where_it_must_be() {
    let with = UNetConfig {
        block_out_channels: vec![64, 128],
        transformer_depth: vec![0, 1],
        mid_depth: 1,
        ..PublishedModel::find("sdxl").unwrap().sizes().unet
    };
    let without = UNetConfig { added_dim: None, ..with.clone() };
    let (text, added) = (zeroed(&[1, 77, 2048]), zeroed(&[1, 2816]));
    for (config, added, message) in
        [(with, None, "needs an added vector of 2816 values"), (without, Some(&added), "does not take one")]
    {
        let unet = UNet::load(&Params::synthetic(1, &|_| ()), &config).unwrap();
        let Err(error) = unet.condition(&text, added) else { panic!("{message}") };
        let error = error.to_string();
        assert!(error.contains(message), "{error}");
    }
    let pooled = zeroed(&[2, 3]);
    assert_eq!(added_vector(&pooled, &[1.0; 12]).unwrap().dims(), [2, 3 + 6 * 256]);
    assert!(added_vector(&pooled, &[1.0; 11]).unwrap_err().to_string().contains("shared equally"));
}

/// Lengths of the tensors that a load asks for, in its order.
fn lengths(params: impl FnOnce(&dyn Fn(u64)) -> Result<(), Error>) -> Vec<u64> {
    let lengths = RefCell::new(Vec::new());
    params(&|bytes| lengths.borrow_mut().push(bytes)).unwrap();
    lengths.into_inner()
}

#[test]
fn a_model_without_a_file_has_the_tensors_of_a_file() {
    let load = |weights: &Weights, part: &str, load: &dyn Fn(&Params<'_>) -> Result<(), Error>| {
        let of_file = lengths(|on_read| load(&Params::new(weights.scope(part), on_read)));
        assert_eq!(lengths(|on_read| load(&Params::synthetic(1, on_read))), of_file, "{part}");
    };
    for name in ["sd15-tiny-single.json", "sd21-tiny-single.json", "sdxl-tiny-single.json"] {
        let bytes = synth::bytes(manifest(name).files().values().next().unwrap(), 1, DType::F16);
        let checkpoint = Arc::new(Checkpoint::from_bytes(name, bytes).unwrap());
        let ModelParts { network, vae, weights, text, .. } = ModelParts::detect(&checkpoint).unwrap();
        let unet = network.unet().unwrap();
        load(&weights, "unet", &|params| UNet::load(params, unet).map(drop));
        load(&weights, "vae", &|params| VaeDecoder::load(params, &vae).map(drop));
        if name.starts_with("sd15") || name.starts_with("sdxl") {
            // A file's queries, keys and values may lie in one tensor.
            let part = "text_encoder.text_model";
            load(&weights, part, &|params| TextEncoder::load(params, &text[0].config).map(drop));
        }
    }
}
