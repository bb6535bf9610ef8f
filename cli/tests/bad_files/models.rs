//! Sound files that are no whole model. `inspect` tells of them, drawing refuses.

use crate::case::{Case, FILE, Tensor, single, sparse, tensors};

const GROUP: &str = "Models";
const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";
const TEXT: &str = "cond_stage_model.";

fn draws(
    name: &str,
    make: impl Fn(&crate::Room) + std::panic::RefUnwindSafe + 'static,
    says: &[&str],
) -> Case {
    let args = ["txt2img", "a cat", "-m", FILE, "-s", "1", "--steps", "1", "-W", "64", "-H", "64"];
    Case::flags(GROUP, name, &args, says).made(make).with_header(160_000)
}

/// A small model after a change.
fn changed(name: &str, change: fn(&mut Vec<Tensor>), says: &[&str]) -> Case {
    draws(name, move |room| sparse(room, FILE, &with(change), None), says)
}

fn with(change: fn(&mut Vec<Tensor>)) -> Vec<Tensor> {
    let mut list = single("sd15-tiny-single");
    let before = format!("{:?}", list.iter().map(|t| (&t.name, &t.dtype, &t.shape)).collect::<Vec<_>>());
    change(&mut list);
    let after = format!("{:?}", list.iter().map(|t| (&t.name, &t.dtype, &t.shape)).collect::<Vec<_>>());
    assert_ne!(before, after, "the change does nothing");
    list
}

/// A small model with a value of one tensor that is no weight.
fn patched(name: &str, tensor: &'static str, value: [u8; 2], says: &[&str]) -> Case {
    let make =
        move |room: &crate::Room| sparse(room, FILE, &single("sd15-tiny-single"), Some((tensor, &value)));
    draws(name, make, says)
}

fn without(list: &mut Vec<Tensor>, test: impl Fn(&str) -> bool) {
    list.retain(|tensor| !test(&tensor.name));
}

fn tensor<'a>(list: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    list.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = gaps();
    cases.extend(values());
    cases.extend(others());
    cases
}

fn gaps() -> Vec<Case> {
    let whole = "seems to be a Stable Diffusion 1.x model, but is incomplete";
    vec![
        changed(
            "a UNet without one tensor",
            |list| without(list, |n| n == "model.diffusion_model.out.0.weight"),
            &[whole, "UNet: 1 of ", "\"unet.conv_norm_out.weight\""],
        ),
        changed(
            "a UNet without its last layer",
            |list| without(list, |n| n == "model.diffusion_model.out.2.weight"),
            &["has no tensor \"unet.conv_out.weight\"; the file is incomplete"],
        ),
        changed(
            "a UNet without one bias",
            |list| without(list, |n| n == "model.diffusion_model.time_embed.0.bias"),
            &[whole, "\"unet.time_embedding.linear_1.bias\""],
        ),
        changed(
            "a UNet without a block",
            |list| without(list, |n| n.starts_with("model.diffusion_model.output_blocks.4.")),
            &[whole, "UNet: ", " more)"],
        ),
        changed("no UNet", |list| without(list, |n| n.starts_with(UNET)), &["no UNet"]),
        changed("no VAE", |list| without(list, |n| n.starts_with(VAE)), &["has no VAE"]),
        changed("no text encoder", |list| without(list, |n| n.starts_with(TEXT)), &["has no text encoder"]),
        changed(
            "a VAE without one tensor",
            |list| without(list, |n| n == "first_stage_model.decoder.norm_out.weight"),
            &[whole, "VAE: 1 of ", "\"vae.decoder.conv_norm_out.weight\""],
        ),
        changed(
            "a VAE without its quantisation",
            |list| without(list, |n| n.starts_with("first_stage_model.post_quant_conv")),
            &[whole, "VAE: 2 of ", "\"vae.post_quant_conv.weight\""],
        ),
        changed(
            "a text encoder without one tensor",
            |list| without(list, |n| n.ends_with("layers.1.mlp.fc2.bias")),
            &[whole, "text encoder: 1 of ", "layers.1.mlp.fc2.bias"],
        ),
        changed(
            "a text encoder without a layer in the middle",
            |list| without(list, |n| n.contains("encoder.layers.1.")),
            &[whole, "text encoder: ", "that no layer uses"],
        ),
        changed(
            "a text encoder without its last norm",
            |list| without(list, |n| n.contains("final_layer_norm")),
            &[whole, "text encoder: 2 of "],
        ),
        changed(
            "gaps in all parts",
            |list| {
                without(list, |n| {
                    n.contains("norm_out.") || n.contains("final_layer_norm") || n.contains("time_embed.2")
                });
            },
            &[whole, "text encoder: 2 of ", "UNet: 2 of ", "VAE: 2 of "],
        ),
        changed(
            "a tensor of another shape in the UNet",
            |list| tensor(list, "model.diffusion_model.out.2.weight").shape[1] *= 2,
            &[whole, "UNet: 1 of the wrong shape (\"unet.conv_out.weight\" has ["],
        ),
        changed(
            "a bias of another length in the VAE",
            |list| tensor(list, "first_stage_model.decoder.conv_out.bias").shape[0] = 4,
            &[whole, "VAE: 1 of the wrong shape", "has [4] instead of [3]"],
        ),
        changed(
            "a tensor of another rank",
            |list| tensor(list, "model.diffusion_model.time_embed.0.weight").shape.push(3),
            &["unet.time_embedding.linear_1.weight"],
        ),
        changed(
            "a single number for a matrix",
            |list| tensor(list, "model.diffusion_model.input_blocks.0.0.weight").shape.clear(),
            &[FILE],
        ),
        changed(
            "an empty matrix",
            |list| tensor(list, "model.diffusion_model.input_blocks.0.0.weight").shape[0] = 0,
            &[FILE],
        ),
        changed(
            "widths that no norm divides",
            |list| {
                for tensor in list.iter_mut().filter(|t| t.name.starts_with(UNET)) {
                    tensor.shape.iter_mut().filter(|dim| **dim == 32).for_each(|dim| *dim = 36);
                }
            },
            &[FILE],
        ),
        changed(
            "names without their prefix",
            |list| list.iter_mut().for_each(|t| t.name = format!("module.{}", t.name)),
            &["holds no tensor of a Stable Diffusion model"],
        ),
    ]
}

fn values() -> Vec<Case> {
    const NAN: [u8; 2] = 0x7e00u16.to_le_bytes();
    const INFINITE: [u8; 2] = 0xfc00u16.to_le_bytes();
    const HEAD: &str = "model.diffusion_model.out.2.weight";
    const WORDS: &str = "cond_stage_model.transformer.text_model.final_layer_norm.bias";
    vec![
        patched("a weight of the UNet that is NaN", HEAD, NAN, &[HEAD, "is NaN or infinite at index 0"]),
        patched("a weight of the UNet that is infinite", HEAD, INFINITE, &[HEAD, "is NaN or infinite"]),
        patched("a bias of the text encoder that is NaN", WORDS, NAN, &[WORDS, "is NaN or infinite"]),
        changed(
            "weights of 8 bits (F8_E4M3FNUZ)",
            |list| tensor(list, "model.diffusion_model.out.2.weight").dtype = "F8_E4M3FNUZ".into(),
            &["unet.conv_out.weight", "has the dtype F8_E4M3FNUZ where weights of F32, F16, BF16, F8_E4M3"],
        ),
        changed(
            "weights of 64 bits (F64)",
            |list| tensor(list, "model.diffusion_model.out.2.weight").dtype = "F64".into(),
            &["has the dtype F64"],
        ),
        changed(
            "whole numbers for weights (I64)",
            |list| tensor(list, "first_stage_model.decoder.conv_out.bias").dtype = "I64".into(),
            &["vae.decoder.conv_out.bias", "has the dtype I64"],
        ),
        changed(
            "truth values for weights (BOOL)",
            |list| tensor(list, "model.diffusion_model.time_embed.0.bias").dtype = "BOOL".into(),
            &["has the dtype BOOL"],
        ),
    ]
}

/// Files of other kinds of Stable Diffusion.
fn others() -> Vec<Case> {
    let other = |name: &str, manifest: &'static str, says: &str| {
        draws(name, move |room| sparse(room, FILE, &single(manifest), None), &[FILE, says])
    };
    let part = |name: &str, list: &'static [(&'static str, &'static str, &'static [usize])], says: &str| {
        draws(name, move |room| crate::case::put(room, FILE, &tensors(list)), &[FILE, says])
    };
    vec![
        other("a LoRA for a model", "lora-sd15-kohya-tiny-single", "is a LoRA, an addition to a model"),
        other(
            "a LoRA of SDXL for a model",
            "lora-sdxl-kohya-tiny-single",
            "is a LoRA, an addition to a model",
        ),
        other(
            "a ControlNet for a model",
            "controlnet-sd15-tiny-single",
            "is a ControlNet, an addition to a model",
        ),
        other("a textual inversion for a model", "ti-sd15-tiny-single", "is a textual inversion"),
        other("a tiny VAE for a model", "taesd-tiny-single", "is a tiny VAE (TAESD), an addition to a model"),
        part(
            "a VAE for a model",
            &[("decoder.conv_in.weight", "F16", &[8, 4, 3, 3])],
            "holds a VAE and no UNet",
        ),
        part(
            "a text encoder for a model",
            &[("text_model.embeddings.token_embedding.weight", "F16", &[8, 4])],
            "holds a text encoder and no UNet",
        ),
        part("a file without tensors", &[], "holds no tensor of a Stable Diffusion model"),
        part(
            "another network",
            &[("model.layers.0.self_attn.q_proj.weight", "F16", &[8, 8])],
            "holds no tensor of a Stable Diffusion model",
        ),
        changed(
            "a UNet of seven channels",
            |list| tensor(list, "model.diffusion_model.input_blocks.0.0.weight").shape[1] = 7,
            &[FILE, "is a model of the kind \"x4 upscaler\", which is not supported"],
        ),
    ]
}
