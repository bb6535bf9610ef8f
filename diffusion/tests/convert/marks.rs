//! What tensors do not show is written down where the new model can show it.

use super::models::{self, model};
use super::{Room, assert_same_sizes};
use latent_diffusion::convert::{ConvertOptions, OutputLayout};
use latent_diffusion::families::{Distillation, Model};
use latent_diffusion::loader::{Checkpoint, DType, NewTensor, Writer};
use latent_diffusion::samplers::Prediction;
use std::collections::BTreeMap;
use std::sync::Arc;

fn detect(room: &Room, name: &str) -> Model {
    Model::detect(&Arc::new(room.open(name))).unwrap()
}

#[test]
fn predictions_and_pure_noise_go_through_every_layout() {
    for family in ["sd15", "sdxl"] {
        let room = Room::new();
        for layout in [OutputLayout::Single, OutputLayout::Folder] {
            let told = ConvertOptions {
                prediction: Some(Prediction::V),
                zero_terminal_snr: Some(true),
                ..ConvertOptions::to(layout)
            };
            let name = format!("{layout:?}");
            room.convert(model(&room, family), &told, &name);
            room.folder(room.open(&name), &format!("{name}-folder"));
            room.single(room.open(&format!("{name}-folder")), &format!("{name}-single"));
            for name in [name.clone(), format!("{name}-folder"), format!("{name}-single")] {
                let model = detect(&room, &name);
                assert_eq!(model.prediction, Prediction::V, "{family} {name}");
                assert!(model.training.is_zero_terminal_snr(), "{family} {name}");
            }
            // And what was told can be taken back.
            let not = ConvertOptions {
                prediction: Some(Prediction::Epsilon),
                zero_terminal_snr: Some(false),
                ..ConvertOptions::to(OutputLayout::Single)
            };
            room.convert(room.open(&name), &not, &format!("{name}-not"));
            assert_same_sizes(
                &room.open(&format!("{family}.safetensors")),
                &room.open(&format!("{name}-not")),
            );
        }
    }
}

#[test]
fn a_model_for_few_steps_is_one_under_another_name() {
    let room = Room::new();
    let original =
        models::write(&room, "sdxl_lightning_8step.safetensors", models::entries("sdxl"), DType::F16);
    room.folder(original, "folder");
    room.single(room.open("folder"), "single.safetensors");
    for name in ["folder", "single.safetensors"] {
        let model = detect(&room, name);
        assert_eq!(
            (model.distillation, model.named_steps),
            (Some(Distillation::Lightning), Some(8)),
            "{name}"
        );
    }
    let scheduler = room.open("folder").config("scheduler").unwrap().clone();
    assert_eq!(
        (scheduler.get_str("_class_name"), scheduler.get_str("timestep_spacing")),
        (Some("EulerDiscreteScheduler"), Some("trailing"))
    );
}

#[test]
fn metadata_goes_along_but_for_a_hash_that_is_no_longer_true() {
    let room = Room::new();
    let plain = model(&room, "sd15");
    let texts = [
        ("modelspec.title", "Mine"),
        ("modelspec.resolution", "384x576"),
        ("modelspec.hash_sha256", "0x123"),
        ("modelspec.implementation", "diffusers"),
        ("note", "line\nline"),
    ];
    let texts: BTreeMap<String, String> =
        texts.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let mut headers: Vec<NewTensor> = plain
        .tensors()
        .map(|t| NewTensor { name: t.name.clone(), dtype: t.dtype, shape: t.shape.clone() })
        .collect();
    let mut writer = Writer::begin(Vec::new(), &texts, &mut headers).unwrap();
    headers.iter().for_each(|header| writer.write(&plain.read(&header.name).unwrap().data).unwrap());
    let bytes = writer.end().unwrap();
    assert_eq!(headers[0].dtype, DType::I64);
    let told = Checkpoint::from_bytes("told.safetensors", bytes).unwrap();
    room.folder(told, "folder");
    let single = room.single(room.open("folder"), "single.safetensors");
    let mut expected = texts;
    expected.remove("modelspec.hash_sha256");
    expected.insert("modelspec.implementation".into(), "https://github.com/CompVis/stable-diffusion".into());
    expected.insert("modelspec.prediction_type".into(), "epsilon".into());
    expected.insert("format".into(), "pt".into());
    assert_eq!(single.metadata(), &expected);
    let folder = detect(&room, "folder");
    assert_eq!((folder.resolution, detect(&room, "single.safetensors").resolution), ((384, 576), (384, 576)));
}
