//! LoRA files and tags that do not fit.

use crate::Room;
use crate::case::{Case, Tensor, file, header_of, put, single, sparse, tensors};

const GROUP: &str = "LoRA";
const LORA: &str = "lora.safetensors";
const KEY: &str = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k";

/// A LoRA added to the built-in model.
fn added(name: &str, make: impl Fn(&Room) + std::panic::RefUnwindSafe + 'static, says: &[&str]) -> Case {
    let mut case = Case::flags(GROUP, name, &["txt2img", "a cat", "--lora", LORA], says).made(make);
    case.says.push(LORA.to_owned());
    case.and(&["txt2img", "a <lora:lora>cat", "--lora-dir", "."])
}

fn bytes(name: &str, bytes: &'static [u8], says: &[&str]) -> Case {
    added(name, move |room| put(room, LORA, bytes), says)
}

/// Tensors of one module: their endings, formats and shapes.
fn module(
    name: &str,
    list: &'static [(&'static str, &'static str, &'static [usize])],
    says: &[&str],
) -> Case {
    let make = move |room: &Room| {
        let names: Vec<_> = list.iter().map(|(end, ..)| format!("{KEY}.{end}")).collect();
        let list: Vec<_> = names.iter().zip(list).map(|(name, (_, d, s))| (name.as_str(), *d, *s)).collect();
        put(room, LORA, &tensors(&list));
    };
    added(name, make, says)
}

/// A LoRA of the built-in model's width with this alpha.
fn alpha(name: &str, value: f32, says: &[&str]) -> Case {
    let make = move |room: &Room| {
        let list = [
            Tensor::new(&format!("{KEY}.alpha"), "F32", &[]),
            Tensor::new(&format!("{KEY}.lora_down.weight"), "F32", &[2, 6]),
            Tensor::new(&format!("{KEY}.lora_up.weight"), "F32", &[4, 2]),
        ];
        let (header, data) = header_of(&list);
        let mut bytes = file(&header, data as usize);
        bytes[8 + header.len()..][..4].copy_from_slice(&value.to_le_bytes());
        put(room, LORA, &bytes);
    };
    added(name, make, says)
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = vec![
        added("a missing LoRA", |room| put(room, "x", b""), &["there is no"]),
        bytes("an empty LoRA", b"", &["is empty"]),
        bytes(
            "a LoRA that is a Git LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\n",
            &["Git LFS pointer"],
        ),
        bytes("a LoRA that is a pickle", b"\x80\x02}q\x00.", &["is a PyTorch pickle"]),
        bytes("a LoRA that is a web page", b"<html>", &["is a web page"]),
        added(
            "a model for a LoRA",
            |room| sparse(room, LORA, &single("sd15-tiny-single"), None),
            &["is not a LoRA"],
        ),
        added(
            "a ControlNet for a LoRA",
            |room| sparse(room, LORA, &single("controlnet-sd15-tiny-single"), None),
            &["is not a LoRA"],
        ),
        added(
            "a LoRA of another family",
            |room| sparse(room, LORA, &single("lora-sdxl-kohya-tiny-single"), None),
            &["does not fit this"],
        ),
        added("a LoRA without tensors", |room| put(room, LORA, &tensors(&[])), &["is not a LoRA"]),
        added(
            "a LoRA that fits no layer",
            |room| {
                put(
                    room,
                    LORA,
                    &tensors(&[
                        ("lora_unet_x.lora_up.weight", "F32", &[4, 2]),
                        ("lora_unet_x.lora_down.weight", "F32", &[2, 4]),
                    ]),
                );
            },
            &["none of its 1 layers is in the model"],
        ),
        module(
            "a rank of 0",
            &[("lora_up.weight", "F16", &[4, 0]), ("lora_down.weight", "F16", &[0, 6])],
            &["rank 0?"],
        ),
        module(
            "factors that do not fit together",
            &[("lora_up.weight", "F16", &[4, 3]), ("lora_down.weight", "F16", &[2, 6])],
            &["cannot be multiplied"],
        ),
        module("a factor without its partner", &[("lora_down.weight", "F16", &[2, 6])], &["has no partner"]),
        module(
            "a factor twice",
            &[("lora_up.weight", "F16", &[4, 2]), ("lora_B.weight", "F16", &[4, 2])],
            &["are the same factor"],
        ),
        module(
            "a factor of one dimension",
            &[("lora_up.weight", "F16", &[4]), ("lora_down.weight", "F16", &[2, 6])],
            &["which is not a factor"],
        ),
        module("an alpha alone", &[("alpha", "F32", &[])], &["has an alpha and no factors"]),
        module(
            "an alpha of two numbers",
            &[
                ("alpha", "F32", &[2]),
                ("lora_up.weight", "F16", &[4, 2]),
                ("lora_down.weight", "F16", &[2, 6]),
            ],
            &["is not a single number"],
        ),
        module(
            "a DoRA of another width",
            &[
                ("dora_scale", "F32", &[1, 5]),
                ("lora_up.weight", "F16", &[64, 2]),
                ("lora_down.weight", "F16", &[2, 128]),
            ],
            &["does not fit this"],
        ),
        module(
            "half a LoHa",
            &[("hada_w1_a", "F16", &[4, 2]), ("hada_w1_b", "F16", &[2, 6])],
            &["lacks one product of its LoHa"],
        ),
        module("half a LoKr", &[("lokr_w1", "F16", &[2, 2])], &["lacks one factor of its LoKr"]),
        module(
            "factors of two kinds",
            &[
                ("lora_up.weight", "F16", &[4, 2]),
                ("lora_down.weight", "F16", &[2, 6]),
                ("lokr_w1", "F16", &[2, 2]),
            ],
            &["of several kinds"],
        ),
        module(
            "a rank of 5000",
            &[("lora_up.weight", "I8", &[4, 5000]), ("lora_down.weight", "I8", &[5000, 6])],
            &["the rank 5000 is above"],
        ),
        alpha("an alpha that is NaN", f32::NAN, &["is NaN", "the file is damaged"]),
        alpha("an alpha that is infinite", f32::INFINITY, &["is inf"]),
        alpha("an alpha of a billion", 1e9, &["is 1000000000"]),
    ];
    let tag = |name: &str, prompt: &str, says: &[&str]| {
        Case::flags(GROUP, name, &["txt2img", prompt, "--lora-dir", "."], says)
    };
    let plain = "is not the plain name of a file";
    cases.extend([
        tag("a tag of a missing LoRA", "a <lora:none>", &["there is no none.safetensors in ."]),
        tag("a tag with an absolute path", "<lora:/etc/passwd>", &[plain]),
        tag("a tag that leads up", "<lora:../x:1>", &[plain]),
        tag("a tag with a path of Windows", r"<lora:..\x:1>", &[plain]),
        tag("a tag of a hidden file", "<lora:.x>", &[plain]),
        tag("a tag without a name", "<lora:>", &["without its name"]),
        tag("a tag without an end", "a <lora:x", &["without the closing >"]),
        tag("a tag whose weight is a word", "<lora:x:much>", &["is not a number such as 0.8"]),
        tag("a tag whose weight is NaN", "<lora:x:nan>", &["is not a number such as 0.8"]),
        tag("a tag whose weight is infinite", "<lora:x:1e99>", &["is not a number such as 0.8"]),
        tag("a tag that steers the terminal", "<lora:\u{1b}[2J/>", &["\\u{1b}[2J"]),
    ]);
    cases.push(Case::flags(
        GROUP,
        "a LoRA without a name",
        &["txt2img", "a cat", "--lora", ":1"],
        &["there is no file name"],
    ));
    cases
}
