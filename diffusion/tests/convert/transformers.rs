//! Models with a diffusion transformer, and text encoders alone, in other dtypes and in GGUF.

use super::models::{self, model};
use super::{Room, draw};
use latent_benches::{Manifest, synth};
use latent_diffusion::convert::{Conversion, ConvertOptions, OutputLayout};
use latent_diffusion::families::{ModelKind, Probe};
use latent_diffusion::loader::{Checkpoint, DType};
use latent_diffusion::samplers::Prediction;
use latent_diffusion::transformer::TransformerFile;
use std::path::Path;
use std::sync::Arc;

/// Families with tiny transformers alone, and what ComfyUI-GGUF calls them.
const FAMILIES: [(&str, &str); 5] = [
    ("sd3-medium", "sd3"),
    ("sd35-medium", "sd3"),
    ("flux-dev", "flux"),
    ("chroma", "flux"),
    ("z-image", "lumina2"),
];

fn to(layout: OutputLayout, dtype: DType) -> ConvertOptions {
    ConvertOptions { dtype: Some(dtype), ..ConvertOptions::to(layout) }
}

/// A tiny transformer alone, in f16.
fn transformer(room: &Room, family: &str, layout: &str) -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/transformer_manifests");
    let json = std::fs::read_to_string(folder.join(format!("{family}-tiny-{layout}.json"))).unwrap();
    let manifest = Manifest::parse(&json).unwrap();
    let file = format!("{family}-{layout}.safetensors");
    std::fs::write(room.path(&file), synth::bytes(manifest.files().values().next().unwrap(), 7, DType::F16))
        .unwrap();
    room.open(&file)
}

/// The largest error of a tensor, relative to its largest value.
fn error(before: &Checkpoint, after: &Checkpoint, name: &str) -> f32 {
    let values = |checkpoint: &Checkpoint| checkpoint.read(name).unwrap().to_f32().unwrap().to_vec();
    let (before, after) = (values(before), values(after));
    let largest = before.iter().fold(1e-9f32, |largest, value| largest.max(value.abs()));
    before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn a_transformer_alone_keeps_its_names_in_every_dtype() {
    let room = Room::new();
    for (family, _) in FAMILIES {
        for layout in ["single", "diffusers"] {
            let before = transformer(&room, family, layout);
            for (dtype, bound) in
                [(DType::BF16, 0.004), (DType::F8E4M3, 0.07), (DType::Q8_0, 0.006), (DType::Q4_0, 0.2)]
            {
                let name = format!("{family}-{layout}-{dtype}.safetensors");
                let original = room.open(&format!("{family}-{layout}.safetensors"));
                let after = room.convert(original, &to(OutputLayout::Single, dtype), &name);
                let names = |checkpoint: &Checkpoint| -> Vec<(String, Vec<usize>)> {
                    let mut all: Vec<_> =
                        checkpoint.tensors().map(|t| (t.name.clone(), t.shape.clone())).collect();
                    all.sort();
                    all
                };
                assert_eq!(names(&after), names(&before), "{name}");
                let mut changed = 0;
                for tensor in after.tensors() {
                    changed += usize::from(tensor.dtype == dtype);
                    let error = error(&before, &after, &tensor.name);
                    assert!(error <= bound, "{name}: {} {error}", tensor.name);
                }
                assert!(changed >= 12, "{name}: {changed}");
                TransformerFile::open(after).unwrap().check_complete().unwrap();
            }
        }
    }
}

#[test]
fn layers_that_others_inherit_from_keep_their_dtype() {
    let room = Room::new();
    transformer(&room, "flux-dev", "single");
    let open = || room.open("flux-dev-single.safetensors");
    let after = room.convert(open(), &to(OutputLayout::Single, DType::Q4_0), "small.safetensors");
    let dtype = |name: &str| after.get(name).unwrap().dtype;
    for kept in [
        "img_in",
        "txt_in",
        "time_in.in_layer",
        "vector_in.out_layer",
        "guidance_in.in_layer",
        "final_layer.linear",
    ] {
        assert_eq!(dtype(&format!("{kept}.weight")), DType::F16, "{kept}");
    }
    assert_eq!(dtype("single_blocks.0.linear2.weight"), DType::Q4_0);
    assert_eq!(dtype("double_blocks.0.img_mod.lin.weight"), DType::Q4_0);
    // Tables and tokens are none of a product.
    transformer(&room, "sd35-medium", "single");
    let sd3 = room.convert(
        room.open("sd35-medium-single.safetensors"),
        &to(OutputLayout::Single, DType::F8E4M3),
        "sd3.safetensors",
    );
    assert_eq!(sd3.get("pos_embed").unwrap().dtype, DType::F16);
    assert_eq!(sd3.get("context_embedder.weight").unwrap().dtype, DType::F8E4M3);
}

#[test]
fn gguf_has_the_original_names_whatever_the_layout() {
    let room = Room::new();
    for (family, architecture) in FAMILIES {
        let [single, folder] = ["single", "diffusers"].map(|layout| {
            let original = transformer(&room, family, layout);
            room.convert(original, &to(OutputLayout::Gguf, DType::Q8_0), &format!("{family}-{layout}.gguf"))
        });
        assert_eq!(single.metadata().get("general.architecture").unwrap(), architecture);
        assert_eq!(folder.metadata().get("general.architecture").unwrap(), architecture);
        let before = room.open(&format!("{family}-single.safetensors"));
        assert_eq!(single.tensors().count(), before.tensors().count(), "{family}");
        for tensor in single.tensors() {
            let other = folder.get(&tensor.name).unwrap_or_else(|| panic!("{family}: {}", tensor.name));
            assert_eq!(
                (tensor.dtype, &tensor.shape),
                (other.dtype, &other.shape),
                "{family}: {}",
                tensor.name
            );
            let read = |checkpoint: &Checkpoint| checkpoint.read(&tensor.name).unwrap().data.to_vec();
            assert!(read(&single) == read(&folder), "{family}: {}", tensor.name);
            let small = tensor.shape.len() < 2 || tensor.shape.iter().product::<usize>() <= 1024;
            assert!(!small || tensor.dtype == DType::F32, "{family}: {}", tensor.name);
            assert!(error(&before, &single, &tensor.name) < 0.006, "{family}: {}", tensor.name);
        }
        assert_eq!(folder.tensors().count(), single.tensors().count(), "{family}");
        assert!(single.tensors().any(|tensor| tensor.dtype == DType::Q8_0), "{family}");
        TransformerFile::open(single).unwrap().check_complete().unwrap();
    }
}

#[test]
fn a_prefix_is_left_out_of_gguf() {
    let room = Room::new();
    let before = transformer(&room, "z-image", "single");
    let tensors: Vec<_> = before
        .tensors()
        .map(|t| {
            (format!("model.diffusion_model.{}", t.name), t.shape.clone(), before.read(&t.name).unwrap())
        })
        .collect();
    let entries: Vec<crate::made::Entry<'_>> = tensors
        .iter()
        .map(|(name, shape, raw)| (name.as_str(), &shape[..], raw.to_f32().unwrap().to_vec()))
        .collect();
    let prefixed = crate::made::file("prefixed", &entries);
    let after = room.convert(prefixed, &ConvertOptions::to(OutputLayout::Gguf), "z.gguf");
    assert!(before.tensors().all(|tensor| after.get(&tensor.name).is_some()));
}

#[test]
fn large_text_encoders_alone_are_converted() {
    let room = Room::new();
    for (name, word_table, llama, architecture) in [
        ("t5", "shared.weight", "enc.blk.0.attn_q.weight", "t5encoder"),
        ("qwen3", "model.embed_tokens.weight", "blk.0.attn_q_norm.weight", "qwen3"),
    ] {
        let before = model(&room, name);
        let file = format!("{name}.safetensors");
        let small = room.convert(
            room.open(&file),
            &to(OutputLayout::Single, DType::Q4_0),
            &format!("{name}-s.safetensors"),
        );
        let is_kept = |checkpoint: &Checkpoint, name: &str| checkpoint.get(name).is_some();
        assert!(small.tensors().all(|tensor| is_kept(&before, &tensor.name)), "{name}");
        // Its rows are not whole blocks here.
        assert_eq!(small.get(word_table).unwrap().dtype, DType::F16, "{name}");
        assert!(small.tensors().any(|tensor| tensor.dtype == DType::Q4_0), "{name}");
        let gguf =
            room.convert(room.open(&file), &to(OutputLayout::Gguf, DType::Q8_0), &format!("{name}.gguf"));
        assert_eq!(gguf.metadata().get("general.architecture").unwrap(), architecture);
        assert!(is_kept(&gguf, llama) && is_kept(&gguf, "token_embd.weight"), "{name}");
        let again =
            room.convert(gguf, &to(OutputLayout::Single, DType::F16), &format!("{name}-again.safetensors"));
        for checkpoint in [small, again] {
            assert_eq!(Probe::of(&Arc::new(checkpoint)).identity().kind, ModelKind::TextEncoder, "{name}");
        }
    }
}

#[test]
fn a_whole_model_draws_the_same_image_in_wider_numbers() {
    let room = Room::new();
    for family in ["sd35-pipeline", "flux-schnell-pipeline"] {
        model(&room, family);
        let open = || room.open(&format!("{family}.safetensors"));
        let image = draw(open());
        let wide = room.convert(
            open(),
            &to(OutputLayout::Single, DType::F32),
            &format!("{family}-wide.safetensors"),
        );
        assert!(draw(wide) == image, "{family}");
        let gguf = room.convert(open(), &to(OutputLayout::Gguf, DType::F32), &format!("{family}-wide.gguf"));
        assert!(gguf.metadata().get("general.architecture").is_none());
        assert!(draw(gguf) == image, "{family}");
        let small = room.convert(
            open(),
            &to(OutputLayout::Single, DType::Q8_0),
            &format!("{family}-small.safetensors"),
        );
        let bytes = |checkpoint: &Checkpoint| checkpoint.tensors().map(|info| info.bytes()).sum::<usize>();
        assert!(bytes(&small) * 10 < bytes(&open()) * 7, "{family}");
        draw(small);
    }
}

#[test]
fn what_such_models_have_no_place_for_is_refused() {
    let room = Room::new();
    transformer(&room, "sd3-medium", "single");
    model(&room, "t5");
    let refused = |file: &str, options: &ConvertOptions| {
        Conversion::plan(room.open(file), options).unwrap_err().to_string()
    };
    for file in ["sd3-medium-single.safetensors", "t5.safetensors"] {
        let line = refused(file, &ConvertOptions::to(OutputLayout::Folder));
        assert!(line.contains("no diffusers folder is written"), "{line}");
        let options =
            ConvertOptions { prediction: Some(Prediction::V), ..ConvertOptions::to(OutputLayout::Single) };
        assert!(refused(file, &options).contains("has no UNet whose prediction"), "{file}");
    }
    let mut entries = models::entries("t5");
    entries.retain(|entry| !models::name(entry).ends_with("block.0.layer.1.DenseReluDense.wo.weight"));
    models::write(&room, "gap.safetensors", entries, DType::F16);
    let line = refused("gap.safetensors", &ConvertOptions::to(OutputLayout::Single));
    assert!(line.contains("1 of") && line.contains("tensors missing"), "{line}");
}
