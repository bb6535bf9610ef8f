//! LoRA files that are no plain products, names of all origins, and strengths of their own for text and image.

use crate::made::{self, Entry, file};
use latent_benches::{DType, Manifest, synth};
use latent_diffusion::families::Model;
use latent_diffusion::loader::{Checkpoint, Weights};
use latent_diffusion::lora::{Lora, Merge, Strength, Summary};
use std::path::Path;
use std::sync::Arc;

const BLOCK: &str = "down_blocks.0.attentions.0";
const KEY: &str = "lora_unet_down_blocks_0_attentions_0";
const TEXT: &str = "text_encoder_2.text_model.encoder.layers.0.self_attn";

/// Values of a tensor by its number.
fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7 + seed * 3) % 11) as f32 / 4.0 - 1.0).collect()
}

/// The tensors of a small model: name and shape.
fn tensors() -> Vec<(String, Vec<usize>)> {
    vec![
        (format!("unet.{BLOCK}.norm.weight"), vec![6]),
        (format!("unet.{BLOCK}.norm.bias"), vec![6]),
        (format!("unet.{BLOCK}.proj_in.weight"), vec![4, 6]),
        (format!("unet.{BLOCK}.proj_in.bias"), vec![4]),
        (format!("unet.{BLOCK}.to_q.weight"), vec![4, 6]),
        ("unet.down_blocks.0.resnets.0.conv1.weight".to_owned(), vec![4, 6, 3, 3]),
        ("unet.down_blocks.0.resnets.0.norm1.weight".to_owned(), vec![6]),
        (format!("{TEXT}.in_proj_weight"), vec![12, 4]),
        (format!("{TEXT}.in_proj_bias"), vec![12]),
    ]
}

fn before(name: &str) -> Vec<f32> {
    let tensors = tensors();
    let index = tensors.iter().position(|(known, _)| known == name).unwrap();
    numbers(tensors[index].1.iter().product(), index)
}

fn model() -> Weights {
    let tensors = tensors();
    let entries: Vec<Entry<'_>> =
        tensors.iter().map(|(name, shape)| (name.as_str(), &shape[..], before(name))).collect();
    Weights::new(Arc::new(file("model", &entries)))
}

fn lora(entries: &[Entry<'_>]) -> Arc<Lora> {
    Arc::new(Lora::open(file("lora", entries)).unwrap())
}

/// A tensor of the model under a file of a strength.
fn after(entries: &[Entry<'_>], strength: f32, name: &str) -> Vec<f32> {
    let weights = model();
    let (merge, applied) = Merge::new(&[(lora(entries), strength)], &weights, "small").unwrap();
    assert_eq!((applied[0].applied, &applied[0].unmatched[..]), (applied[0].total, &[][..]));
    let raw = weights.get(name, weights.shape(name).unwrap()).unwrap();
    merge.apply(name, raw).unwrap().to_f32().unwrap()
}

fn sum(a: &[f32], b: &[f32], scale: f32) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + scale * b).collect()
}

#[track_caller]
fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{worst}: {a:?} {b:?}");
}

#[test]
fn full_differences_of_weights_biases_and_norms() {
    let (weight, bias) = (format!("unet.{BLOCK}.proj_in.weight"), format!("unet.{BLOCK}.proj_in.bias"));
    let [w, b] = ["diff", "diff_b"].map(|end| format!("{KEY}_proj_in.{end}"));
    let entries: [Entry<'_>; 2] = [(&w, &[4, 6], numbers(24, 7)), (&b, &[4], numbers(4, 8))];
    assert_eq!(after(&entries, 0.5, &weight), sum(&before(&weight), &numbers(24, 7), 0.5));
    assert_eq!(after(&entries, 0.5, &bias), sum(&before(&bias), &numbers(4, 8), 0.5));
    let (weight, bias) = (format!("unet.{BLOCK}.norm.weight"), format!("unet.{BLOCK}.norm.bias"));
    let [w, b] = ["w_norm", "b_norm"].map(|end| format!("{KEY}_norm.{end}"));
    let entries: [Entry<'_>; 2] = [(&w, &[6], numbers(6, 7)), (&b, &[6], numbers(6, 8))];
    assert_eq!(after(&entries, 2.0, &weight), sum(&before(&weight), &numbers(6, 7), 2.0));
    assert_eq!(after(&entries, 2.0, &bias), sum(&before(&bias), &numbers(6, 8), 2.0));
    let norm = "unet.down_blocks.0.resnets.0.norm1.weight";
    let entries: [Entry<'_>; 1] = [("lora_unet_input_blocks_1_0_in_layers_0.w_norm", &[6], numbers(6, 7))];
    assert_eq!(after(&entries, 1.0, norm), sum(&before(norm), &numbers(6, 7), 1.0));
}

#[test]
fn a_bias_that_the_model_lacks_is_told() {
    let b = format!("{KEY}_to_q.diff_b");
    let w = format!("{KEY}_to_q.diff");
    let file = lora(&[(&b, &[4], numbers(4, 1)), (&w, &[4, 6], numbers(24, 1))]);
    let (_, applied) = Merge::new(&[(file, 1.0)], &model(), "small").unwrap();
    assert_eq!((applied[0].applied, applied[0].total), (1, 2));
    assert!(applied[0].to_string().contains("to_q (bias)"), "{}", applied[0]);
}

/// `W + D` with its rows or its columns (of `kernel` values each) scaled to lengths.
fn with_lengths(sum: &[f32], rows: usize, kernel: usize, lengths: &[f32], of_inputs: bool) -> Vec<f32> {
    let columns = sum.len() / rows;
    let channel = |i: usize| if of_inputs { i % columns / kernel } else { i / columns };
    let square = |c: usize| (0..sum.len()).filter(|i| channel(*i) == c).map(|i| sum[i] * sum[i]).sum::<f32>();
    (0..sum.len()).map(|i| sum[i] * lengths[channel(i)] / square(channel(i)).sqrt()).collect()
}

#[test]
fn dora_gives_the_sum_lengths_of_its_own() {
    let linear = format!("unet.{BLOCK}.to_q.weight");
    let conv = "unet.down_blocks.0.resnets.0.conv1.weight".to_owned();
    let conv_key = "lora_unet_down_blocks_0_resnets_0_conv1".to_owned();
    let linear_key = format!("{KEY}_to_q");
    let lengths = |n| numbers(n, 5).iter().map(|v| v + 2.0).collect::<Vec<f32>>();
    for (key, name, shape, kernel, scale, scale_shape, of_inputs) in [
        (&linear_key, &linear, vec![4, 6], 1, "dora_scale", vec![4, 1], false),
        (&linear_key, &linear, vec![4, 6], 1, "dora_scale", vec![1, 6], true),
        (&linear_key, &linear, vec![4, 6], 1, "lora_magnitude_vector.weight", vec![4], false),
        (&conv_key, &conv, vec![4, 6, 3, 3], 9, "dora_scale", vec![4, 1, 1, 1], false),
        (&conv_key, &conv, vec![4, 6, 3, 3], 9, "dora_scale", vec![1, 6, 1, 1], true),
        (&conv_key, &conv, vec![4, 6, 3, 3], 9, "lora_magnitude_vector", vec![1, 4, 1, 1], false),
    ] {
        let n = shape.iter().product();
        let wanted = lengths(scale_shape.iter().product());
        let (d, s) = (format!("{key}.diff"), format!("{key}.{scale}"));
        let entries: [Entry<'_>; 2] = [(&d, &shape, numbers(n, 9)), (&s, &scale_shape, wanted.clone())];
        let whole = with_lengths(&sum(&before(name), &numbers(n, 9), 1.0), 4, kernel, &wanted, of_inputs);
        close(&after(&entries, 1.0, name), &whole);
        let part = sum(&before(name), &sum(&whole, &before(name), -1.0), 0.5);
        close(&after(&entries, 0.5, name), &part);
    }
}

#[test]
fn ia3_stretches_outputs_or_inputs() {
    let name = format!("unet.{BLOCK}.to_q.weight");
    let [w, on] = ["weight", "on_input"].map(|end| format!("{KEY}_to_q.{end}"));
    for (n, flag) in [(4, 0.0), (6, 1.0)] {
        let entries: [Entry<'_>; 2] = [(&w, &[n], numbers(n, 3)), (&on, &[], vec![flag])];
        let channel = |i: usize| if flag == 0.0 { i / 6 } else { i % 6 };
        let whole = before(&name);
        let expected: Vec<f32> =
            (0..24).map(|i| whole[i] + 0.5 * numbers(n, 3)[channel(i)] * whole[i]).collect();
        assert_eq!(after(&entries, 0.5, &name), expected);
    }
}

#[test]
fn a_layer_within_a_tensor_of_three_is_changed_alone() {
    let (weight, bias) = (format!("{TEXT}.in_proj_weight"), format!("{TEXT}.in_proj_bias"));
    for (third, layer) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
        let key = format!("lora_te2_text_model_encoder_layers_0_self_attn_{layer}");
        let [w, b] = ["diff", "diff_b"].map(|end| format!("{key}.{end}"));
        let entries: [Entry<'_>; 2] = [(&w, &[4, 4], numbers(16, 7)), (&b, &[4], numbers(4, 8))];
        let mut expected = before(&weight);
        expected[16 * third..][..16].iter_mut().zip(numbers(16, 7)).for_each(|(to, d)| *to += d);
        assert_eq!(after(&entries, 1.0, &weight), expected);
        let mut expected = before(&bias);
        expected[4 * third..][..4].iter_mut().zip(numbers(4, 8)).for_each(|(to, d)| *to += d);
        assert_eq!(after(&entries, 1.0, &bias), expected);
    }
}

#[test]
fn text_and_image_have_a_strength_each() {
    let (text, unet) = (format!("{TEXT}.in_proj_bias"), format!("unet.{BLOCK}.norm.bias"));
    let b = format!("{KEY}_norm.b_norm");
    let entries: [Entry<'_>; 2] = [
        (&b, &[6], numbers(6, 7)),
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj.diff_b", &[4], numbers(4, 7)),
    ];
    let weights = model();
    let strength = Strength { text: 0.0, ..Strength::from(0.5) };
    let (merge, _) = Merge::new(&[(lora(&entries), strength)], &weights, "small").unwrap();
    let get = |name: &str| {
        let raw = weights.get(name, weights.shape(name).unwrap()).unwrap();
        merge.apply(name, raw).unwrap().to_f32().unwrap()
    };
    assert_eq!(get(&text), before(&text));
    assert_eq!(get(&unet), sum(&before(&unet), &numbers(6, 7), 0.5));
}

#[test]
fn ranks_and_kinds_are_told_from_the_header() {
    let [u, d, s] =
        ["lora_up.weight", "lora_down.weight", "dora_scale"].map(|end| format!("{KEY}_to_q.{end}"));
    let n = format!("{KEY}_norm.w_norm");
    let file = file(
        "lora",
        &[
            (&u, &[4, 2], numbers(8, 0)),
            (&d, &[2, 6], numbers(12, 0)),
            (&s, &[4, 1], numbers(4, 0)),
            (&n, &[6], numbers(6, 0)),
        ],
    );
    let summary = Summary::of(&file).unwrap();
    assert_eq!((summary.layers, summary.ranks.into_iter().collect::<Vec<_>>()), (2, vec![(2, 1)]));
    assert_eq!(
        Summary::of(&file).unwrap().to_string(),
        "DoRA of 1 layers, LoRA of 1 layers, difference of 1 layers; rank 2"
    );
    assert_eq!(Summary::of(&made::file("x", &[("x", &[1], vec![0.0])])), None);
}

/// The layers of a UNet that the published LCM-LoRAs change.
fn is_lcm_layer(layer: &str) -> bool {
    let ends = [
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "proj_in",
        "proj_out",
        "ff.net.0.proj",
        "ff.net.2",
        "conv1",
        "conv2",
        "conv_shortcut",
        "downsamplers.0.conv",
        "upsamplers.0.conv",
        "time_emb_proj",
    ];
    ends.iter().any(|end| layer.ends_with(end))
}

/// The original's name of a UNet's layer of SD 1.x and SDXL, which have two residual blocks a level, with underscores.
fn original(layer: &str) -> Option<String> {
    let parts: Vec<&str> = layer.splitn(5, '.').collect();
    let number = |at: usize| parts[at].parse::<usize>().unwrap();
    let resnet = |part: &str| match part {
        "conv1" => "in_layers_2",
        "conv2" => "out_layers_3",
        "time_emb_proj" => "emb_layers_1",
        _ => "skip_connection",
    };
    Some(match parts[..] {
        ["down_blocks", _, "resnets", _, part] => {
            format!("input_blocks_{}_0_{}", 3 * number(1) + number(3) + 1, resnet(part))
        }
        ["up_blocks", _, "resnets", _, part] => {
            format!("output_blocks_{}_0_{}", 3 * number(1) + number(3), resnet(part))
        }
        ["down_blocks", _, "attentions", _, rest] => {
            format!("input_blocks_{}_1_{}", 3 * number(1) + number(3) + 1, rest.replace('.', "_"))
        }
        ["up_blocks", _, "attentions", _, rest] => {
            format!("output_blocks_{}_1_{}", 3 * number(1) + number(3), rest.replace('.', "_"))
        }
        ["down_blocks", _, "downsamplers", ..] => format!("input_blocks_{}_0_op", 3 * number(1) + 3),
        _ => return None,
    })
}

#[test]
fn lcm_loras_of_every_naming_fit_whole() {
    for family in ["sd15", "sdxl"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
        let json = std::fs::read_to_string(folder.join(format!("{family}-tiny-single.json"))).unwrap();
        let manifest = Manifest::parse(&json).unwrap();
        let bytes = synth::bytes(manifest.files().values().next().unwrap(), 1, DType::F16);
        let model = Model::detect(&Arc::new(Checkpoint::from_bytes(family, bytes).unwrap())).unwrap();
        let unet = model.weights.scope("unet");
        let layers: Vec<&str> = unet
            .names()
            .filter_map(|name| name.strip_suffix(".weight"))
            .filter(|l| is_lcm_layer(l))
            .collect();
        assert!(layers.len() > 150, "{family}: {}", layers.len());
        let kohya = |layer: &str| Some(format!("lora_unet_{}.lora_", layer.replace('.', "_")));
        let peft = |layer: &str| Some(format!("unet.{layer}.lora."));
        let of_original = |layer: &str| original(layer).map(|name| format!("lora_unet_{name}.lora_"));
        for naming in [&kohya as &dyn Fn(&str) -> Option<String>, &peft, &of_original] {
            let mut entries = Vec::new();
            for layer in &layers {
                let Some(module) = naming(layer) else { continue };
                let shape = unet.shape(&format!("{layer}.weight")).unwrap();
                let mut down = shape.to_vec();
                down[0] = 1;
                let mut up = vec![1; shape.len()];
                up[0] = shape[0];
                entries.push((format!("{module}up.weight"), up));
                entries.push((format!("{module}down.weight"), down));
            }
            let zeros = |shape: &[usize]| vec![0.0; shape.iter().product()];
            let entries: Vec<Entry<'_>> =
                entries.iter().map(|(name, shape)| (name.as_str(), &shape[..], zeros(shape))).collect();
            let (_, applied) = Merge::new(&[(lora(&entries), 1.0)], &model.weights, family).unwrap();
            assert_eq!((applied[0].applied, &applied[0].unmatched[..]), (entries.len() / 2, &[][..]));
            assert!(applied[0].applied > 130, "{family}: {}", applied[0].applied);
        }
    }
}
