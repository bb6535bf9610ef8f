//! Dtypes, and LoRAs that are merged in.

use super::models::{self, model};
use super::{Room, assert_same, contents, draw};
use half::{bf16, f16};
use latent_benches::DType;
use latent_diffusion::convert::{Conversion, ConvertOptions, OutputLayout};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::lora::{Lora, Strength};
use latent_diffusion::{Event, Pipeline, Settings};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

fn to(dtype: DType) -> ConvertOptions {
    ConvertOptions { dtype: Some(dtype), ..ConvertOptions::to(OutputLayout::Single) }
}

#[test]
fn values_are_rounded_to_the_nearest() {
    let room = Room::new();
    let original = || models::write(&room, "f32.safetensors", models::entries("sd15"), DType::F32);
    let before = original();
    for dtype in [DType::F16, DType::BF16] {
        let after = room.convert(original(), &to(dtype), &format!("{dtype}.safetensors"));
        let mut changed = 0;
        for info in after.tensors() {
            let (old, new) = (before.read(&info.name).unwrap(), after.read(&info.name).unwrap());
            // Tables and counts are no weights.
            if info.dtype != dtype {
                assert_eq!(old, new, "{}", info.name);
                continue;
            }
            changed += 1;
            for (old, new) in old.to_f32().unwrap().iter().zip(new.to_f32().unwrap()) {
                let nearest = match dtype {
                    DType::F16 => f16::from_f32(*old).to_f32(),
                    _ => bf16::from_f32(*old).to_f32(),
                };
                assert_eq!(nearest, new, "{} {old}", info.name);
            }
        }
        assert_eq!(changed, 686 + 248 + 68);
    }
}

#[test]
fn weights_are_not_written_as_integers() {
    let room = Room::new();
    let error = Conversion::plan(model(&room, "sd15"), &to(DType::I8)).err().unwrap();
    let expected =
        "dtype: weights cannot be written as i8; take one of f32, f16, bf16, f8_e4m3, f8_e5m2, q8_0, ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn more_digits_draw_the_same_image() {
    let room = Room::new();
    let wide = room.convert(model(&room, "sd15"), &to(DType::F32), "wide.safetensors");
    assert!(draw(wide) == draw(room.open("sd15.safetensors")));
    // And are rounded to what they were.
    let narrow = room.convert(room.open("wide.safetensors"), &to(DType::F16), "narrow.safetensors");
    let mut original = contents(&room.open("sd15.safetensors"));
    original.retain(|name, _| !name.starts_with("model_ema."));
    assert_same(&contents(&narrow), &original);
}

#[test]
fn a_number_that_does_not_fit_is_named() {
    let room = Room::new();
    let mut entries = models::entries("sd15");
    let entry = entries.iter_mut().find(|entry| models::name(entry) == "first_stage_model.quant_conv.bias");
    entry.unwrap()["fixed"] = "w:70000".into();
    let original = models::write(&room, "large.safetensors", entries, DType::F32);
    let conversion = Conversion::plan(original, &to(DType::F16)).unwrap();
    let error = conversion.write(&room.path("out"), &mut |_| ControlFlow::Continue(())).unwrap_err();
    for part in ["large.safetensors: ", "first_stage_model.quant_conv.bias holds 70000", "bf16"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(error.is_bad_input());
}

#[test]
fn a_lora_merged_in_is_one_added_while_drawing() {
    for (family, lora, layout) in [
        ("sd15", "lora-sd15-kohya", OutputLayout::Single),
        ("sdxl", "lora-sdxl-kohya", OutputLayout::Folder),
        ("sdxl", "lora-sdxl-kohya", OutputLayout::Single),
    ] {
        let room = Room::new();
        let open = || {
            let file = models::write(&room, "lora.safetensors", models::entries(lora), DType::F16);
            vec![(Arc::new(Lora::open(file).unwrap()), Strength::from(0.75))]
        };
        let options =
            ConvertOptions { layout, dtype: Some(DType::F32), loras: open(), ..ConvertOptions::to(layout) };
        let conversion = Conversion::plan(model(&room, family), &options).unwrap();
        let [applied] = conversion.applied() else { panic!() };
        assert!(applied.applied > 100 && applied.applied == applied.total, "{applied}");
        conversion.write(&room.path("merged"), &mut |_| ControlFlow::Continue(())).unwrap();
        let image = |checkpoint: Checkpoint, loras: &[(Arc<Lora>, Strength)]| {
            let mut pipeline = Pipeline::open(checkpoint).unwrap();
            pipeline.set_loras(loras).unwrap();
            let (own, side) = (Settings::of(pipeline.model()), Some(64));
            let settings = own.with_width(side).with_height(side).with_steps(2).with_seeds(vec![3]);
            pipeline.text_to_image("a fox", "", &settings, &mut |_| ControlFlow::Continue(())).unwrap()
        };
        let base = room.open(&format!("{family}.safetensors"));
        assert!(image(room.open("merged"), &[]) == image(base, &open()), "{family}");
        let merged_from = room.open("merged").metadata().values().any(|text| text == "lora (0.75)");
        assert!(merged_from);
    }
}

#[test]
fn the_listener_hears_every_byte_and_can_stop() {
    let room = Room::new();
    let conversion =
        Conversion::plan(model(&room, "sd15"), &ConvertOptions::to(OutputLayout::Folder)).unwrap();
    let heard = Cell::new((0, 0));
    let all: u64 = conversion.bytes().iter().map(|(_, bytes)| bytes).sum();
    let write = |name: &str, stop: u64| {
        conversion.write(&room.path(name), &mut |event| {
            if let Event::Written { written, total } = event {
                heard.set((written, total));
            }
            if heard.get().0 >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    write("whole", u64::MAX).unwrap();
    assert_eq!(heard.get(), (all, all));
    heard.set((0, 0));
    let error = write("part", all / 2).unwrap_err();
    assert!(matches!(error, latent_diffusion::Error::Cancelled) && heard.get().0 < all);
    // Nothing is written over.
    let error = write("whole", u64::MAX).unwrap_err();
    assert!(matches!(error, latent_diffusion::Error::Output { .. }) && !error.is_bad_input(), "{error}");
}
