//! LoRA files: what each kind adds, what leaves no trace, and what is refused.

use crate::made::{Entry, file, file_of, file_with};
use latent_diffusion::loader::{Checkpoint, DType, RawTensor, Weights};
use latent_diffusion::lora::{Lora, Merge, take_tags};
use latent_diffusion::{Pipeline, Settings};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A model of one linear layer 4x6 and one convolution 2x3x3x3, all zeros.
fn model() -> Weights {
    let tensors: [Entry<'_>; 3] = [
        ("unet.down_blocks.0.resnets.0.conv1.weight", &[2, 3, 3, 3], vec![0.0; 54]),
        ("unet.down_blocks.0.attentions.0.attn2.to_k.weight", &[4, 6], vec![0.0; 24]),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.weight", &[4, 6], vec![0.0; 24]),
    ];
    Weights::new(Arc::new(file("model", &tensors)))
}

const LINEAR: &str = "unet.down_blocks.0.attentions.0.attn2.to_k.weight";
const CONV: &str = "unet.down_blocks.0.resnets.0.conv1.weight";
const KEY: &str = "lora_unet_down_blocks_0_attentions_0_attn2_to_k";

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 7 % 11) as f32 - 5.0).collect()
}

/// What a file adds to a weight of the model, at weight 1.
fn change(tensors: &[Entry<'_>], name: &str) -> Vec<f32> {
    change_of(Lora::open(file("lora", tensors)).unwrap(), name)
}

fn change_of(lora: Lora, name: &str) -> Vec<f32> {
    let weights = model();
    let (merge, applied) = Merge::new(&[(Arc::new(lora), 1.0)], &weights, "small").unwrap();
    assert_eq!((applied[0].applied, applied[0].unmatched.len()), (1, 0));
    let raw = weights.get(name, weights.shape(name).unwrap()).unwrap();
    merge.apply(name, raw).unwrap().to_f32().unwrap()
}

fn product(a: &[f32], b: &[f32], rank: usize) -> Vec<f32> {
    let columns = b.len() / rank;
    let at = |i: usize| (0..rank).map(|r| a[i / columns * rank + r] * b[r * columns + i % columns]).sum();
    (0..a.len() / rank * columns).map(at).collect()
}

/// The error of opening a file, or of reading it for the model.
fn error(tensors: &[Entry<'_>]) -> String {
    let merged = Lora::open(file("bad", tensors)).and_then(|lora| {
        let weights = model();
        let (merge, _) = Merge::new(&[(Arc::new(lora), 1.0)], &weights, "small")?;
        merge.apply(LINEAR, weights.get(LINEAR, &[4, 6])?)
    });
    let line = merged.unwrap_err().to_string();
    assert!(line.starts_with("bad: ") && !line.contains('\n'), "{line}");
    line
}

#[test]
fn every_name_of_a_linear_layer_is_found() {
    let (up, down) = (numbers(8), numbers(12));
    let expected = product(&up, &down, 2);
    for (module, ends) in [
        (KEY, ["lora_up.weight", "lora_down.weight"]),
        ("lora_unet_input_blocks_1_1_attn2_to_k", ["lora_up.weight", "lora_down.weight"]),
        ("unet.down_blocks.0.attentions.0.attn2.to_k", ["lora_B.weight", "lora_A.weight"]),
        ("base_model.model.down_blocks.0.attentions.0.attn2.to_k", ["lora_B.weight", "lora_A.weight"]),
        ("unet.down_blocks.0.attentions.0.attn2.to_k", ["lora.up.weight", "lora.down.weight"]),
        ("unet.down_blocks.0.attentions.0.attn2.to_k", ["lora_B.default.weight", "lora_A.default.weight"]),
        ("unet.down_blocks.0.attentions.0.attn2.to_k", ["lora_B.my_style.weight", "lora_A.my_style.weight"]),
        ("unet.down_blocks.0.attentions.0.attn2.to_k", ["lora_B", "lora_A"]),
        ("down_blocks.0.attentions.0.attn2.to_k", ["lora_B.weight", "lora_A.weight"]),
        ("diffusion_model.input_blocks.1.1.attn2.to_k", ["lora_up.weight", "lora_down.weight"]),
        ("diffusion_model.down_blocks.0.attentions.0.attn2.to_k", ["lora_B.weight", "lora_A.weight"]),
        ("model.diffusion_model.input_blocks.1.1.attn2.to_k", ["lora_B.weight", "lora_A.weight"]),
        ("lycoris_down_blocks_0_attentions_0_attn2_to_k", ["lora_up.weight", "lora_down.weight"]),
    ] {
        let [u, d] = ends.map(|end| format!("{module}.{end}"));
        assert_eq!(
            change(&[(&u, &[4, 2], up.clone()), (&d, &[2, 6], down.clone())], LINEAR),
            expected,
            "{module}"
        );
    }
    let old = "unet.down_blocks.0.attentions.0.attn2.processor.to_k_lora";
    let [u, d] = ["up", "down"].map(|end| format!("{old}.{end}.weight"));
    assert_eq!(change(&[(&u, &[4, 2], up.clone()), (&d, &[2, 6], down.clone())], LINEAR), expected);
    let text = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.weight";
    let dotted = "encoder.layers.0.self_attn.q_proj";
    let flat = dotted.replace('.', "_");
    for module in [
        format!("lora_te_text_model_{flat}"),
        format!("lora_te1_text_model_{flat}"),
        format!("text_encoder.text_model.{dotted}"),
        format!("text_encoders.clip_l.transformer.text_model.{dotted}"),
        format!("clip_l.transformer.text_model.{dotted}"),
        format!("conditioner.embedders.0.transformer.text_model.{dotted}"),
        format!("base_model.model.text_model.{dotted}"),
    ] {
        let [u, d] = ["up", "down"].map(|end| format!("{module}.lora_{end}.weight"));
        assert_eq!(change(&[(&u, &[4, 2], up.clone()), (&d, &[2, 6], down.clone())], text), expected);
    }
}

#[test]
fn alpha_is_divided_by_the_rank() {
    let [u, d, a] = ["lora_up.weight", "lora_down.weight", "alpha"].map(|end| format!("{KEY}.{end}"));
    let tensors: [Entry<'_>; 3] =
        [(&u, &[4, 2], numbers(8)), (&d, &[2, 6], numbers(12)), (&a, &[], vec![1.0])];
    let expected: Vec<f32> = product(&numbers(8), &numbers(12), 2).iter().map(|v| v / 2.0).collect();
    assert_eq!(change(&tensors, LINEAR), expected);
}

/// A file of a rank of 2 for the linear layer, with metadata.
fn with_metadata(module: &str, metadata: &[(&str, &str)]) -> Vec<f32> {
    let [u, d] = ["lora_B.weight", "lora_A.weight"].map(|end| format!("{module}.{end}"));
    let entries: [Entry<'_>; 2] = [(&u, &[4, 2], numbers(8)), (&d, &[2, 6], numbers(12))];
    change_of(Lora::open(file_with("lora", &entries, metadata)).unwrap(), LINEAR)
}

#[test]
fn alpha_is_a_number_of_any_dtype() {
    let [u, d, a] = ["lora_up.weight", "lora_down.weight", "alpha"].map(|end| format!("{KEY}.{end}"));
    let expected: Vec<f32> = product(&numbers(8), &numbers(12), 2).iter().map(|v| v * 2.0).collect();
    for (dtype, bytes) in [
        ("I64", 4i64.to_le_bytes().to_vec()),
        ("I32", 4i32.to_le_bytes().to_vec()),
        ("U8", vec![4]),
        ("F64", 4f64.to_le_bytes().to_vec()),
        ("F16", vec![0, 0x44]),
        ("BF16", vec![0x80, 0x40]),
    ] {
        for shape in [&[][..], &[1], &[1, 1]] {
            let entries: [Entry<'_>; 2] = [(&u, &[4, 2], numbers(8)), (&d, &[2, 6], numbers(12))];
            let more = [(a.as_str(), dtype, shape, bytes.clone())];
            let lora = Lora::open(file_of("lora", &entries, &more, &[])).unwrap();
            assert_eq!(change_of(lora, LINEAR), expected, "{dtype} {shape:?}");
        }
    }
    let entries: [Entry<'_>; 2] = [(&u, &[4, 2], numbers(8)), (&d, &[2, 6], numbers(12))];
    let complex = [(a.as_str(), "C64", &[][..], vec![0; 8])];
    let line = Lora::open(file_of("lora", &entries, &complex, &[])).unwrap_err().to_string();
    assert!(line.contains("alpha is of the dtype C64"), "{line}");
}

#[test]
fn alpha_stands_in_the_metadata() {
    let plain = product(&numbers(8), &numbers(12), 2);
    let times = |factor: f32| plain.iter().map(|v| v * factor).collect::<Vec<_>>();
    let unet = "unet.down_blocks.0.attentions.0.attn2.to_k";
    let diffusers = |json: &str| with_metadata(unet, &[("lora_adapter_metadata", json)]);
    assert_eq!(diffusers(r#"{"unet.r": 2, "unet.lora_alpha": 4}"#), times(2.0));
    assert_eq!(diffusers(r#"{"r": 2, "lora_alpha": 4}"#), times(2.0));
    assert_eq!(diffusers(r#"{"unet.r": 2, "unet.lora_alpha": 4, "unet.use_rslora": true}"#), {
        let factor = 4.0 / 2f32.sqrt();
        times(factor)
    });
    let pattern = |name: &str| {
        diffusers(&format!(r#"{{"unet.lora_alpha": 4, "unet.alpha_pattern": {{"{name}": 1, "x": 8}}}}"#))
    };
    assert_eq!(pattern("to_k"), times(0.5));
    assert_eq!(pattern("attentions.0.attn2.to_k"), times(0.5));
    assert_eq!(pattern(r"down_blocks\\.\\d+\\..*to_[kv]"), times(0.5));
    assert_eq!(pattern("not_to_k"), times(2.0));
    // Of another component, nothing is said of this one.
    assert_eq!(diffusers(r#"{"text_encoder.lora_alpha": 4}"#), plain);
    // kohya's.
    let kohya = |metadata: &[(&str, &str)]| with_metadata(KEY, metadata);
    assert_eq!(kohya(&[("ss_network_alpha", "1.0"), ("ss_network_dim", "2")]), times(0.5));
    assert_eq!(kohya(&[("ss_network_alpha", "None")]), plain);
    // An alpha beside the factors counts more, for all layers.
    let [u, d, a] = ["lora_up.weight", "lora_down.weight", "alpha"].map(|end| format!("{KEY}.{end}"));
    let entries: [Entry<'_>; 3] =
        [(&u, &[4, 2], numbers(8)), (&d, &[2, 6], numbers(12)), (&a, &[], vec![2.0])];
    let metadata = [("ss_network_alpha", "1"), ("lora_adapter_metadata", r#"{"lora_alpha": 8}"#)];
    assert_eq!(change_of(Lora::open(file_with("lora", &entries, &metadata)).unwrap(), LINEAR), plain);
    for bad in [r#"{"#, "[1]", r#"{"lora_alpha": 1e30}"#, r#"{"alpha_pattern": {"(": 1}}"#] {
        let file = file_with("bad", &entries, &[("lora_adapter_metadata", bad)]);
        assert!(Lora::open(file).unwrap_err().to_string().starts_with("bad: "), "{bad}");
    }
}

#[test]
fn a_bias_of_a_factor_is_scaled_as_the_product() {
    let [u, d, b] = ["lora_B.weight", "lora_A.weight", "lora_B.bias"]
        .map(|end| format!("unet.down_blocks.0.resnets.0.conv1.{end}"));
    let entries: [Entry<'_>; 3] =
        [(&u, &[2, 2, 1, 1], numbers(4)), (&d, &[2, 3, 3, 3], numbers(54)), (&b, &[2], numbers(2))];
    let metadata = [("lora_adapter_metadata", r#"{"unet.lora_alpha": 4}"#)];
    let lora = Arc::new(Lora::open(file_with("lora", &entries, &metadata)).unwrap());
    let bias = "unet.down_blocks.0.resnets.0.conv1.bias";
    let tensors: [Entry<'_>; 2] = [(CONV, &[2, 3, 3, 3], vec![0.0; 54]), (bias, &[2], vec![1.0; 2])];
    let weights = Weights::new(Arc::new(file("model", &tensors)));
    let (merge, applied) = Merge::new(&[(lora, 0.5)], &weights, "small").unwrap();
    assert_eq!(applied[0].applied, 2);
    let merged = merge.apply(bias, weights.get(bias, &[2]).unwrap()).unwrap().to_f32().unwrap();
    assert_eq!(merged, numbers(2).iter().map(|v| 1.0 + v).collect::<Vec<_>>());
}

#[test]
fn part_of_the_rank_is_used() {
    let [u, d] = ["up", "down"].map(|end| format!("{KEY}.lora_{end}.weight"));
    let lora = file("lora", &[(&u, &[4, 2], numbers(8)), (&d, &[2, 6], numbers(12))]);
    let lora = Arc::new(Lora::open(lora).unwrap());
    let tag = take_tags("<lora:a:1:1:1>").unwrap().1.remove(0);
    let weights = model();
    let (merge, _) = Merge::new(&[(lora, tag.strength())], &weights, "small").unwrap();
    let merged = merge.apply(LINEAR, weights.get(LINEAR, &[4, 6]).unwrap()).unwrap().to_f32().unwrap();
    let first: Vec<f32> = numbers(8).chunks(2).map(|row| row[0]).collect();
    assert_eq!(merged, product(&first, &numbers(6), 1));
}

#[test]
fn a_text_projection_is_changed_in_either_layout() {
    let (up, down) = (numbers(8), numbers(12));
    let change = product(&up, &down, 2);
    for module in ["lora_te2_text_projection", "text_encoders.clip_g.transformer.text_projection"] {
        let [u, d] = ["up", "down"].map(|end| format!("{module}.lora_{end}.weight"));
        let entries: [Entry<'_>; 2] = [(&u, &[4, 2], up.clone()), (&d, &[2, 6], down.clone())];
        for (name, shape) in [("text_projection.weight", [4, 6]), ("text_projection", [6, 4])] {
            let name = format!("text_encoder_2.{name}");
            let weights = Weights::new(Arc::new(file("model", &[(&name, &shape, vec![0.0; 24])])));
            let lora = Arc::new(Lora::open(file("lora", &entries)).unwrap());
            let (merge, _) = Merge::new(&[(lora, 1.0)], &weights, "small").unwrap();
            let merged = merge.apply(&name, weights.get(&name, &shape).unwrap()).unwrap().to_f32().unwrap();
            let at = |i: usize| if shape[0] == 4 { change[i] } else { change[i % 4 * 6 + i / 4] };
            assert_eq!(merged, (0..24).map(at).collect::<Vec<_>>(), "{module} {name}");
        }
    }
}

#[test]
fn convolutions_with_and_without_a_middle() {
    let key = "lora_unet_down_blocks_0_resnets_0_conv1";
    let [u, d, m] = ["up", "down", "mid"].map(|end| format!("{key}.lora_{end}.weight"));
    let (up, down) = (numbers(4), numbers(54));
    let plain: [Entry<'_>; 2] = [(&u, &[2, 2, 1, 1], up.clone()), (&d, &[2, 3, 3, 3], down.clone())];
    assert_eq!(change(&plain, CONV), product(&up, &down, 2));
    let (mid, down) = (numbers(36), numbers(6));
    let with_middle: [Entry<'_>; 3] = [
        (&u, &[2, 2, 1, 1], up.clone()),
        (&d, &[2, 3, 1, 1], down.clone()),
        (&m, &[2, 2, 3, 3], mid.clone()),
    ];
    let at = |i: usize| {
        let (o, c, k) = (i / 27, i / 9 % 3, i % 9);
        let terms = (0..4).map(|pq| up[o * 2 + pq / 2] * mid[pq * 9 + k] * down[pq % 2 * 3 + c]);
        terms.sum::<f32>()
    };
    assert_eq!(change(&with_middle, CONV), (0..54).map(at).collect::<Vec<_>>());
}

#[test]
fn loha_multiplies_element_by_element() {
    let names = ["w1_a", "w1_b", "w2_a", "w2_b"].map(|end| format!("{KEY}.hada_{end}"));
    let (a, b) = (numbers(8), numbers(12));
    let (c, d): (Vec<f32>, Vec<f32>) =
        (a.iter().map(|v| v + 1.0).collect(), b.iter().map(|v| v - 2.0).collect());
    let tensors: [Entry<'_>; 4] = [
        (&names[0], &[4, 2], a.clone()),
        (&names[1], &[2, 6], b.clone()),
        (&names[2], &[4, 2], c.clone()),
        (&names[3], &[2, 6], d.clone()),
    ];
    let expected: Vec<f32> = product(&a, &b, 2).iter().zip(product(&c, &d, 2)).map(|(x, y)| x * y).collect();
    assert_eq!(change(&tensors, LINEAR), expected);
}

#[test]
fn lokr_is_the_kronecker_product() {
    let kronecker = |a: &[f32], b: &[f32]| -> Vec<f32> {
        (0..24).map(|i| a[i / 12 * 2 + i % 6 / 3] * b[i / 6 % 2 * 3 + i % 3]).collect()
    };
    let names = ["w1", "w2", "w2_a", "w2_b"].map(|end| format!("{KEY}.lokr_{end}"));
    let (a, b) = (numbers(4), numbers(6));
    let whole: [Entry<'_>; 2] = [(&names[0], &[2, 2], a.clone()), (&names[1], &[2, 3], b.clone())];
    assert_eq!(change(&whole, LINEAR), kronecker(&a, &b));
    let (left, right) = (numbers(2), numbers(3));
    let parts: [Entry<'_>; 3] = [
        (&names[0], &[2, 2], a.clone()),
        (&names[2], &[2, 1], left.clone()),
        (&names[3], &[1, 3], right.clone()),
    ];
    assert_eq!(change(&parts, LINEAR), kronecker(&a, &product(&left, &right, 1)));
}

#[test]
fn rank_zero() {
    let [u, d] = ["up", "down"].map(|end| format!("{KEY}.lora_{end}.weight"));
    assert!(error(&[(&u, &[4, 0], vec![]), (&d, &[0, 6], vec![])]).contains("rank 0"));
}

#[test]
fn huge_alpha_and_alpha_that_is_no_number() {
    let [u, d, a] = ["lora_up.weight", "lora_down.weight", "alpha"].map(|end| format!("{KEY}.{end}"));
    for alpha in [1e30, f32::NAN, f32::INFINITY] {
        let line = error(&[(&u, &[4, 2], numbers(8)), (&d, &[2, 6], numbers(12)), (&a, &[], vec![alpha])]);
        assert!(line.contains("is damaged"), "{line}");
    }
}

#[test]
fn missing_pair() {
    let [u, d] = ["up", "down"].map(|end| format!("{KEY}.lora_{end}.weight"));
    assert!(error(&[(&u, &[4, 2], numbers(8))]).contains("has no partner"));
    assert!(error(&[(&d, &[2, 6], numbers(12))]).contains("has no partner"));
    assert!(error(&[(&format!("{KEY}.alpha"), &[], vec![1.0])]).contains("and no factors"));
    assert!(error(&[(&format!("{KEY}.lokr_w1"), &[2, 2], numbers(4))]).contains("LoKr"));
}

#[test]
fn shapes_that_do_not_multiply() {
    let [u, d] = ["up", "down"].map(|end| format!("{KEY}.lora_{end}.weight"));
    let line = error(&[(&u, &[4, 3], numbers(12)), (&d, &[2, 6], numbers(12))]);
    assert!(line.contains("cannot be multiplied"), "{line}");
}

#[test]
fn values_that_are_no_numbers_or_too_large() {
    let [u, d] = ["up", "down"].map(|end| format!("{KEY}.lora_{end}.weight"));
    let line = error(&[(&u, &[4, 2], vec![f32::NAN; 8]), (&d, &[2, 6], numbers(12))]);
    assert!(line.contains("NaN"), "{line}");
    let line = error(&[(&u, &[4, 2], vec![3e38; 8]), (&d, &[2, 6], numbers(12))]);
    assert!(line.contains("NaN or infinite"), "{line}");
}

#[test]
fn another_family_is_named() {
    let [u, d] = ["up", "down"].map(|end| format!("{KEY}.lora_{end}.weight"));
    let line = error(&[(&u, &[4, 1], numbers(4)), (&d, &[1, 2048], numbers(2048))]);
    assert!(
        line.contains("seems to be a LoRA for Stable Diffusion XL") && line.contains("small model"),
        "{line}"
    );
    assert!(error(&[("x", &[1], vec![0.0])]).contains("is not a LoRA"));
    for (tensor, said) in [
        ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", "Flux"),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "Flux"),
        ("diffusion_model.joint_blocks.0.x_block.attn.qkv.lora_A.weight", "Stable Diffusion 3"),
        ("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", "transformer"),
        ("diffusion_model.layers.0.attention.qkv.lora_A.weight", "Z-Image"),
    ] {
        let other = tensor.replace("lora_A", "lora_B").replace("lora_down", "lora_up");
        let line = error(&[(tensor, &[1, 6], vec![0.0; 6]), (&other, &[4, 1], vec![0.0; 4])]);
        assert!(line.contains("is a LoRA for") && line.contains(said), "{line}");
    }
    for (tensor, said) in [
        ("lora_controlnet", "a Control-LoRA"),
        ("id_encoder.visual_projection.weight", "a PhotoMaker file"),
        ("base_model.model.down_blocks.0.x.oft_R.weight", "adapter of PEFT"),
    ] {
        assert!(error(&[(tensor, &[1, 1], vec![0.0])]).contains(said), "{tensor}");
    }
    let line = error(&[("lora_unet_x.diff", &[1, 1], vec![0.0])]);
    assert!(line.contains("none of its 1 layers"), "{line}");
}

#[test]
fn tags_leave_the_prompt() {
    // In a sub-folder, with the separators of either system.
    let (_, tags) = take_tags(r"<lora:style/deep:1><lora:style\deep>").unwrap();
    assert_eq!((tags[0].name.as_str(), tags[1].name.as_str()), ("style/deep", "style/deep"));
    for outside in ["..", "../x", "a/../b", "/a", "a//b", "a/.b", r"\\host\a", "a/"] {
        assert!(take_tags(&format!("<lora:{outside}:1>")).is_err(), "{outside}");
    }
    let (prompt, tags) = take_tags("a <lora:b:0.5>fox<lora:c>").unwrap();
    assert_eq!(prompt, "a fox");
    assert_eq!(
        tags.iter().map(|t| (t.name.as_str(), t.weight)).collect::<Vec<_>>(),
        [("b", 0.5), ("c", 1.0)]
    );
    for bad in [
        "<lora:/abs>",
        "<lora:../x:1>",
        "<lora:a:NaN>",
        "<lora:a:b>",
        "<lora:",
        "<lora:>",
        "<lora:a:1:2:3:4>",
    ] {
        assert!(take_tags(bad).is_err(), "{bad}");
    }
    assert!(take_tags(&"<lora:".repeat(100_000)).is_err());
}

#[test]
fn weights_that_nothing_changes_stay_as_they_are() {
    let [u, d] = ["up", "down"].map(|end| format!("{KEY}.lora_{end}.weight"));
    let lora =
        Arc::new(Lora::open(file("l", &[(&u, &[4, 2], numbers(8)), (&d, &[2, 6], numbers(12))])).unwrap());
    let raw = RawTensor { dtype: DType::F16, shape: vec![4, 6], data: vec![0; 48].into() };
    let at = |weight| Merge::new(&[(lora.clone(), weight)], &model(), "small");
    assert_eq!(at(0.0).unwrap().0.apply(LINEAR, raw.clone()).unwrap(), raw);
    assert_eq!(at(1.0).unwrap().0.apply(CONV, raw.clone()).unwrap(), raw);
    assert!(at(f32::NAN).is_err() && at(1e9).is_err());
}

#[test]
fn applied_removed_and_applied_again_gives_the_same_bytes() {
    let mut pipeline =
        Pipeline::open(Checkpoint::from_bytes("demo", latent_demo::DEMO.unwrap()).unwrap()).unwrap();
    let weights = pipeline.model().weights.scope("unet");
    let name = weights.names().find(|name| name.ends_with("attn2.to_k.weight")).unwrap().to_owned();
    let &[outputs, inputs] = weights.shape(&name).unwrap() else { panic!("a linear layer") };
    let module = name.trim_end_matches(".weight");
    let [u, d] = ["B", "A"].map(|end| format!("unet.{module}.lora_{end}.weight"));
    let lora = file("l", &[(&u, &[outputs, 1], numbers(outputs)), (&d, &[1, inputs], numbers(inputs))]);
    let lora = Arc::new(Lora::open(lora).unwrap());
    let settings = Settings::default().with_steps(2).with_seeds(vec![1]);
    let mut draw = |loras: &[(Arc<Lora>, f32)]| {
        pipeline.set_loras(loras).unwrap();
        pipeline.text_to_image("a fox", "", &settings, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let (without, with) = (draw(&[]), draw(&[(lora.clone(), 1.0)]));
    assert_ne!(without, with);
    assert_eq!(draw(&[]), without);
    assert_eq!(draw(&[(lora.clone(), 1.0)]), with);
    assert_eq!(draw(&[(lora, 0.0)]), without);
}
