//! A checkpoint is indexed once, whatever is asked about it.

use super::index::counter::indices_made;
use crate::Pipeline;
use crate::convert::{Conversion, ConvertOptions, OutputLayout};
use crate::families::{ComponentCheck, Model, ModelParts, Probe, Sources, registry};
use latent_benches::{DType, Manifest, synth};
use latent_loader::Checkpoint;
use std::path::Path;
use std::sync::Arc;

/// A tiny model of a family.
fn checkpoint(family: &str) -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    let text = std::fs::read_to_string(folder.join(format!("{family}-tiny-single.json"))).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    let file = manifest.files().values().next().unwrap();
    Checkpoint::from_bytes(family, synth::bytes(file, 1, DType::F16)).unwrap()
}

#[test]
fn opening_a_model_makes_one_index() {
    let (pipeline, indices) = indices_made(|| Pipeline::open(checkpoint("sd15")));
    assert_eq!((pipeline.unwrap().model().family.id, indices), ("sd1", 1));
    let options = ConvertOptions::to(OutputLayout::Folder);
    let (conversion, indices) = indices_made(|| Conversion::plan(checkpoint("sdxl"), &options));
    assert_eq!((conversion.is_ok(), indices), (true, 1));
}

#[test]
fn a_probe_is_passed_on() {
    let (probe, indices) = indices_made(|| Probe::of(&Arc::new(checkpoint("sd21"))));
    assert_eq!(indices, 1);
    let ((), indices) = indices_made(|| {
        Model::of(&probe).unwrap().check_complete().unwrap();
        assert_eq!(ModelParts::of(&probe).unwrap().family.id, "sd2");
        assert_eq!(probe.supported_family(), probe.identity().family);
        assert!(ComponentCheck::all(&probe).iter().all(ComponentCheck::is_complete));
        assert!(!probe.components().is_empty() && probe.leftovers().others.is_empty());
    });
    assert_eq!(indices, 0);
}

#[test]
fn parts_of_several_files_are_indexed_once_each() {
    let sources =
        Sources { model: Some(checkpoint("sd15")), vae: Some(checkpoint("sd15")), ..Sources::default() };
    let (joined, indices) = indices_made(|| sources.join().unwrap());
    assert_eq!(indices, 2);
    let (pipeline, indices) = indices_made(|| Pipeline::open(joined.checkpoint));
    assert_eq!((pipeline.is_ok(), indices), (true, 1));
    // A model alone is not indexed before it is opened.
    let sources = Sources { model: Some(checkpoint("sd15")), ..Sources::default() };
    assert_eq!(indices_made(|| drop(sources.join().unwrap())).1, 0);
}

#[test]
fn widths_of_text_mean_one_family_each() {
    let ids = |find: fn(usize) -> Option<&'static crate::families::Family>, widths: &[usize]| {
        widths.iter().map(|width| find(*width).map(|family| family.id)).collect::<Vec<_>>()
    };
    let widths = [768, 1024, 2048, 1280, 640];
    let expected = [Some("sd1"), Some("sd2"), Some("sdxl"), Some("sdxl-refiner"), None];
    assert_eq!(ids(registry::of_context_width, &widths), expected);
    assert_eq!(
        ids(registry::of_text_encoder_width, &[768, 1024, 1280, 4096]),
        [Some("sd1"), Some("sd2"), Some("sdxl"), None]
    );
}
