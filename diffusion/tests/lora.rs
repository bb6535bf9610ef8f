//! LoRA files: what each kind adds, what leaves no trace, and what is refused.

use crate::made::{Entry, file};
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
    let lora = Lora::open(file("lora", tensors)).unwrap();
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
    for module in ["lora_te_text_model", "lora_te1_text_model"] {
        let [u, d] =
            ["up", "down"].map(|end| format!("{module}_encoder_layers_0_self_attn_q_proj.lora_{end}.weight"));
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
    assert!(error(&[(&format!("{KEY}.alpha"), &[], vec![1.0])]).contains("no factors"));
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
    for bad in
        ["<lora:/abs>", "<lora:../x:1>", "<lora:a:NaN>", "<lora:a:b>", "<lora:", "<lora:>", "<lora:a:1:2:3>"]
    {
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
