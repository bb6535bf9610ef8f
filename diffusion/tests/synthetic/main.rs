//! Sizes and weights that need no file are those of the published files.

use latent_benches::{Manifest, WeightDtype, synth};
use latent_diffusion::Error;
use latent_diffusion::families::{Model, PUBLISHED, Sizes};
use latent_diffusion::loader::{Checkpoint, Weights};
use latent_diffusion::params::Params;
use latent_diffusion::text::TextEncoder;
use latent_diffusion::unet::UNet;
use latent_diffusion::vae::VaeDecoder;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

fn manifest(name: &str) -> Manifest {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    Manifest::parse(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

fn sizes(model: Model) -> Sizes {
    Sizes { text: model.text, unet: model.unet, vae: model.vae }
}

/// A checkpoint of zeros. They are never written, so that even those of a large model take no memory.
fn zeros(manifest: &Manifest) -> Checkpoint {
    let (mut entries, mut end) = (serde_json::Map::new(), 0);
    for entry in manifest.files().values().flatten() {
        let start = end;
        end += 2 * entry.shape.iter().product::<usize>();
        let tensor = serde_json::json!({"dtype": "F16", "shape": entry.shape, "data_offsets": [start, end]});
        entries.insert(entry.name.clone(), tensor);
    }
    let header = serde_json::to_string(&entries).unwrap();
    let mut file = vec![0; 8 + header.len() + end];
    file[..8].copy_from_slice(&(header.len() as u64).to_le_bytes());
    file[8..8 + header.len()].copy_from_slice(header.as_bytes());
    Checkpoint::from_bytes("zeros", file).unwrap()
}

#[test]
fn published_sizes_are_those_of_the_file() {
    for published in PUBLISHED {
        let checkpoint = zeros(&manifest(&format!("{}-full-single.json", published.id)));
        let model = Model::detect(&Arc::new(checkpoint)).unwrap();
        assert_eq!(published.resolution, model.family.resolution);
        assert_eq!(published.sizes(), sizes(model));
    }
}

/// Lengths of the tensors that a load asks for, in its order.
fn lengths(params: impl FnOnce(&dyn Fn(u64)) -> Result<(), Error>) -> Vec<u64> {
    let lengths = RefCell::new(Vec::new());
    params(&|bytes| lengths.borrow_mut().push(bytes)).unwrap();
    lengths.into_inner()
}

#[test]
fn a_model_without_a_file_has_the_tensors_of_a_file() {
    let manifest = manifest("sd15-tiny-single.json");
    let bytes = synth::bytes(manifest.files().values().next().unwrap(), 1, WeightDtype::F16);
    let model = Model::detect(&Arc::new(Checkpoint::from_bytes("tiny", bytes).unwrap())).unwrap();
    let weights = model.weights.clone();
    let Sizes { text, unet, vae } = sizes(model);
    let load = |part: &str, load: &dyn Fn(&Params<'_>) -> Result<(), Error>| {
        let of = |weights: &Weights| lengths(|on_read| load(&Params::new(weights.scope(part), on_read)));
        assert_eq!(lengths(|on_read| load(&Params::synthetic(1, on_read))), of(&weights), "{part}");
    };
    load("text_encoder.text_model", &|params| TextEncoder::load(params, &text).map(drop));
    load("unet", &|params| UNet::load(params, &unet).map(drop));
    load("vae", &|params| VaeDecoder::load(params, &vae).map(drop));
}
