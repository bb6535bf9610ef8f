//! From a single file to a folder and back.

use super::models::{self, model};
use super::{Contents, Room, assert_same, assert_same_sizes, contents, draw};
use latent_benches::DType;
use latent_diffusion::convert::{Conversion, ConvertOptions, OutputLayout};
use latent_diffusion::families::Component;
use latent_diffusion::loader::Checkpoint;
use serde_json::Value;
use std::collections::BTreeMap;

/// Tensors of a single file that a folder has no place for, and that nothing reads.
fn is_lost(name: &str) -> bool {
    const SD2: &str = "cond_stage_model.model.";
    name.starts_with("model_ema.")
        || name == format!("{SD2}text_projection")
        || name.starts_with(&format!("{SD2}transformer.resblocks.23."))
}

/// Converts there and back, and compares tensors, sizes and images.
fn there_and_back(room: &Room, original: Checkpoint) {
    let label = original.label().to_owned();
    let again = || Checkpoint::open(label.as_ref()).unwrap();
    let folder = room.folder(original, "folder");
    let back = room.single(room.open("folder"), "back.safetensors");
    let mut expected = contents(&again());
    expected.retain(|name, _| !is_lost(name));
    assert_same(&contents(&back), &expected);
    assert_same_sizes(&again(), &folder);
    assert_same_sizes(&again(), &back);
    let image = draw(again());
    assert!(draw(folder) == image, "{label}: the folder draws another image");
    assert!(draw(back) == image, "{label}: the file draws another image");
}

macro_rules! families {
    ($($test:ident: $family:literal,)*) => {
        $(#[test]
        fn $test() {
            let room = Room::new();
            there_and_back(&room, model(&room, $family));
        })*
    };
}

families! {
    sd1: "sd15",
    sd1_inpainting: "sd15-inpaint",
    sd1_pix2pix: "sd15-pix2pix",
    sd2: "sd21",
    sd2_that_predicts_v: "sd21-v",
    sdxl: "sdxl",
    sdxl_inpainting: "sdxl-inpaint",
    sdxl_refiner: "sdxl-refiner",
}

#[test]
fn ssd_1b() {
    let room = Room::new();
    there_and_back(&room, models::write(&room, "ssd.safetensors", models::ssd(), DType::F16));
}

#[test]
fn a_folder_is_as_diffusers_lays_it_out() {
    let room = Room::new();
    let published = models::folder(&room, "sd15");
    let folder = room.folder(model(&room, "sd15"), "folder");
    assert_same(&contents(&folder), &as_of_today(contents(&published)));
    for component in ["unet", "vae", "text_encoder", "scheduler"] {
        let json = |folder: &Checkpoint| -> Value {
            serde_json::from_str(&folder.config(component).unwrap().to_string()).unwrap()
        };
        let (ours, theirs) = (json(&folder), json(&published));
        for (key, value) in theirs.as_object().unwrap() {
            // Ours are those of the published models where that differs from the manifest's.
            if ["force_upcast", "attention_head_dim", "pad_token_id"].contains(&key.as_str()) {
                continue;
            }
            assert!(same(&ours[key], value), "{component} {key}: {} for {value}", ours[key]);
        }
    }
    assert_eq!(folder.config("unet").unwrap().get_u64("attention_head_dim"), Some(8));
    // And from that folder, an original file.
    let mut original = contents(&room.open("sd15.safetensors"));
    original.retain(|name, _| !name.starts_with("model_ema."));
    assert_same(&contents(&room.single(published, "single.safetensors")), &original);
}

/// The published folder of SD 1.5 is of 2022. Since then diffusers calls the layers of the VAE's attention as it calls the
/// UNet's, and transformers counts positions itself: what they save today, and what `convert` writes, has those names and no
/// count. Both read either.
fn as_of_today(published: BTreeMap<String, Contents>) -> BTreeMap<String, Contents> {
    const RENAMED: [(&str, &str); 4] =
        [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];
    let today = |(name, tensor): (String, Contents)| {
        let layer = |old: &str| format!(".attentions.0.{old}.");
        let renamed = RENAMED.iter().find(|(old, _)| name.starts_with("vae.") && name.contains(&layer(old)));
        let name = renamed.map_or(name.clone(), |(old, new)| name.replace(&layer(old), &layer(new)));
        (!name.ends_with(".position_ids")).then_some((name, tensor))
    };
    published.into_iter().filter_map(today).collect()
}

/// Numbers may be written as 1 or 1.0.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|a| Some(a) == b.as_f64())
}

#[test]
fn a_folder_has_a_tokenizer_for_each_encoder() {
    let room = Room::new();
    room.folder(model(&room, "sdxl"), "folder");
    let json = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(room.path("folder").join(name)).unwrap()).unwrap()
    };
    let index = json("model_index.json");
    assert_eq!(index["_class_name"], "StableDiffusionXLPipeline");
    for (tokenizer, padding) in [("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")] {
        assert_eq!(index[tokenizer][1], "CLIPTokenizer");
        let vocabulary = json(&format!("{tokenizer}/vocab.json"));
        assert_eq!(vocabulary.as_object().unwrap().len(), 49408);
        assert_eq!((&vocabulary["cat</w>"], &vocabulary["<|endoftext|>"]), (&2368.into(), &49407.into()));
        assert_eq!(json(&format!("{tokenizer}/tokenizer_config.json"))["pad_token"], padding);
        let merges = std::fs::read_to_string(room.path("folder").join(tokenizer).join("merges.txt")).unwrap();
        assert!(merges.starts_with("#version: 0.2\ni n\nt h\n"));
    }
    assert_eq!(json("unet/config.json")["transformer_layers_per_block"], serde_json::json!([1, 1, 2]));
}

#[test]
fn averaged_copies_are_kept_on_demand_and_leftovers_never() {
    let room = Room::new();
    let mut entries = models::entries("sd15");
    entries.push(serde_json::json!({"name": "optimizer.state.0.exp_avg", "dtype": "F32", "shape": [5]}));
    let original = models::write(&room, "trained.safetensors", entries, DType::F16);
    let ema = contents(&original).keys().filter(|name| name.starts_with("model_ema.")).count();
    assert_eq!(ema, 2);
    let plan = Conversion::plan(original, &ConvertOptions::to(OutputLayout::Single)).unwrap();
    let left_out: Vec<_> = plan.left_out().iter().map(|out| (out.component, out.tensors)).collect();
    assert_eq!(left_out, [(Component::EmaCopy, 2), (Component::Other, 1)]);
    let keep = ConvertOptions { keep_ema: true, ..ConvertOptions::to(OutputLayout::Single) };
    let kept = room.convert(room.open("trained.safetensors"), &keep, "kept.safetensors");
    let mut expected = contents(&room.open("trained.safetensors"));
    expected.remove("optimizer.state.0.exp_avg");
    assert_same(&contents(&kept), &expected);
    let in_folder = ConvertOptions { keep_ema: true, ..ConvertOptions::to(OutputLayout::Folder) };
    let refused = Conversion::plan(room.open("trained.safetensors"), &in_folder).err().unwrap();
    assert!(refused.to_string().contains("no place"), "{refused}");
}
