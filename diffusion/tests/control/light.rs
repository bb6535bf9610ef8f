//! Control-LoRAs and ControlNet-LLLites: they act as ControlNets do. Their values are compared among the goldens.

use super::pipeline::{STEPS, draw, settings, steps};
use super::{entries, file, image, open, quiet};
use latent_diffusion::controlnet::{ControlFile, ControlKind};
use latent_diffusion::{Control, MemoryEstimate, Stage, Task};
use latent_kernels::parallel;
use serde_json::{Value, json};
use std::sync::Arc;

fn steered(entries: Vec<Value>) -> Control {
    let net = ControlFile::open(file("net.safetensors", entries)).unwrap();
    Control::new(Arc::new(net), image(64, 64))
}

fn light(kind: &str, family: &str) -> Control {
    steered(entries(&format!("{kind}-{family}")))
}

const KINDS: [&str; 2] = ["control-lora", "lllite"];

#[test]
fn they_act_in_their_part_of_the_steps_and_at_their_strength() {
    for kind in KINDS {
        let mut pipeline = open("sd15");
        let plain = steps(&mut pipeline, vec![]);
        let control = light(kind, "sd15");
        let always = steps(&mut pipeline, vec![control.clone()]);
        let with = |strength, start, end| vec![Control { strength, start, end, ..control.clone() }];
        assert!(always[0] != plain[0], "{kind} does not act");
        assert!(steps(&mut pipeline, with(0.0, 0.0, 1.0)) == plain, "{kind}");
        let first_half = steps(&mut pipeline, with(1.0, 0.0, 0.5));
        assert!(first_half[..2] == always[..2] && first_half[2] != always[2], "{kind}");
        let second_half = steps(&mut pipeline, with(1.0, 0.5, 1.0));
        assert!(second_half[..2] == plain[..2] && second_half[2] != plain[2], "{kind}");
        // Two of half the strength are one of the whole.
        let twice = steps(&mut pipeline, [with(0.5, 0.0, 1.0), with(0.5, 0.0, 1.0)].concat());
        let largest = always[0].iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (a, b) in always[0].iter().zip(&twice[0]) {
            assert!((a - b).abs() < 1e-4 * largest, "{kind}: {a} {b}");
        }
        // What ends before another begins does not disturb it.
        let [a, b] = [with(1.0, 0.0, 0.5), with(1.0, 0.5, 1.0)];
        let in_turn = steps(&mut pipeline, [a, b].concat());
        assert!(in_turn == always, "{kind}");
        assert_eq!(in_turn.len(), STEPS);
        assert!(steps(&mut pipeline, vec![]) == plain, "{kind} stays");
    }
}

#[test]
fn the_same_bytes_in_a_batch_on_any_number_of_threads_and_with_less_computed() {
    for kind in KINDS {
        let control = || vec![light(kind, "sd15")];
        let mut pipeline = open("sd15");
        let batch = draw(&mut pipeline, control(), &[3, 4]);
        assert!(draw(&mut pipeline, control(), &[4])[0] == batch[1], "{kind}");
        let on_one = || draw(&mut open("sd15"), control(), &[3]);
        assert!(parallel::with_threads(1, on_one).unwrap()[0] == batch[0], "{kind}");
        // With merged tokens, with the cached coarse levels, and where positions attend to themselves.
        let usual = settings(&[3]);
        for settings in [
            usual.clone().with_token_merging(0.5),
            usual.clone().with_cache_interval(3),
            usual.clone().with_pag_scale(2.0),
        ] {
            let mut draw = |controls: Vec<Control>| {
                pipeline.set_controls(controls).unwrap();
                pipeline.text_to_image("a bridge", "", &settings, &mut *quiet()).unwrap()
            };
            let plain = draw(vec![]);
            assert!(draw(control()) != plain, "{kind} does not act");
            let off = control().into_iter().map(|control| Control { strength: 0.0, ..control }).collect();
            assert!(draw(off) == plain, "{kind}");
        }
    }
}

#[test]
fn the_estimate_counts_what_is_changed() {
    let mut pipeline = open("sd15");
    let mut sampling = |controls: Vec<Control>| {
        pipeline.set_controls(controls).unwrap();
        let all = pipeline.memory_estimates(&Task::TextToImage, &settings(&[3]), None).unwrap();
        all.iter().find(|MemoryEstimate { stage, .. }| *stage == Stage::Sampling).unwrap().bytes
    };
    let plain = sampling(vec![]);
    let control = light("control-lora", "sd15");
    let own = control.net.weights().total_bytes();
    let lora = sampling(vec![control.clone()]) - plain;
    // The factors are small, the network is not.
    assert!(lora > 4 * own, "{lora} {own}");
    assert_eq!(sampling(vec![control.clone(), control]) - plain, lora);
    let control = light("lllite", "sd15");
    let own = control.net.weights().total_bytes();
    let once = sampling(vec![control.clone()]) - plain;
    assert!(once > own);
    // Each has an embedded image of its own.
    assert_eq!(sampling(vec![control.clone(), control]) - plain, 2 * once - own);
}

fn refused(model: &str, entries: Vec<Value>) -> String {
    let net = match ControlFile::open(file("net.safetensors", entries)) {
        Ok(net) => Arc::new(net),
        Err(error) => return error.to_string(),
    };
    let error = open(model).set_controls(vec![Control::new(net, image(64, 64))]).unwrap_err();
    assert!(error.is_bad_input(), "{error}");
    error.to_string()
}

#[test]
fn another_base_and_gaps_are_refused_in_one_line() {
    let edited = |name: &str, edit: &dyn Fn(&mut Value) -> bool| {
        let mut entries = entries(name);
        entries.retain_mut(edit);
        entries
    };
    let is = |entry: &Value, end: &str| entry["name"].as_str().unwrap().ends_with(end);
    let lora = "control-lora-sd15";
    let cases = [
        ("sd15", entries("control-lora-sdxl"), "is a Control-LoRA for Stable Diffusion XL, and the model is"),
        (
            "sdxl",
            entries(lora),
            "is a Control-LoRA for another UNet than that of this Stable Diffusion XL model",
        ),
        ("sd21", entries(lora), "give one that was made for the model"),
        ("sd15-inpaint", entries(lora), "conv_in.weight, which is [32, 9, 3, 3] in the model"),
        ("sd15", edited(lora, &|e| !is(e, "1.attn1.to_q.down") && !is(e, "0.attn1.to_q.down")), "gaps"),
        ("sd15", edited(lora, &|e| !is(e, "zero_convs.3.0.bias")), "controlnet_down_blocks.3.bias"),
        ("sd15", edited(lora, &|e| !is(e, ".up") && !is(e, ".down")), "without changes of a UNet's weights"),
        ("sd15", entries("lllite-sdxl"), "is a ControlNet-LLLite for Stable Diffusion XL, and the model is"),
        ("sdxl", entries("lllite-sd15"), "is a ControlNet-LLLite for another UNet than that of this"),
        ("sd15", edited("lllite-sd15", &|e| !is(e, "attn2_to_q.up.0.bias")), "up.0.bias"),
        ("sd15", edited("lllite-sd15", &|e| !is(e, "conditioning1.0.weight")), "that cannot be built"),
        (
            "sd15",
            edited("lllite-sd15", &|e| {
                let name = e["name"].as_str().unwrap().replace("attn2_to_q", "attn2_to_k");
                e["name"] = name.into();
                true
            }),
            "attn2_to_k, which the model's UNet has not got or cannot be steered at",
        ),
        (
            "sd15",
            vec![
                json!({"name": "lllite_conditioning1.conv1.weight", "dtype": "W", "shape": [8, 3, 4, 4]}),
                json!({"name": "lllite_dit_blocks_0_self_attn_q_proj.down.weight", "dtype": "W", "shape": [8, 8]}),
            ],
            "for a model with a transformer in place of the UNet, such as Anima",
        ),
    ];
    for (model, entries, part) in cases {
        let line = refused(model, entries);
        assert!(line.starts_with("net.safetensors") && !line.contains('\n'), "{line}");
        assert!(line.contains(part), "{model}: {line}");
    }
}

#[test]
fn the_kind_and_its_sizes_are_seen_from_the_file() {
    let net = |name: &str| ControlFile::open(file("net", entries(name))).unwrap();
    for (name, rank, family) in
        [("control-lora-sd15", 4, None), ("control-lora-sdxl", 16, Some("Stable Diffusion XL"))]
    {
        let net = net(name);
        let ControlKind::ControlLora(config) = net.kind() else { panic!("{name}") };
        assert_eq!((config.rank(), net.family()), (rank, family), "{name}");
        assert_eq!(config.hint_channels, [3, 16, 16, 32, 32, 96, 96, 256]);
    }
    for (name, family) in [("lllite-sd15", None), ("lllite-sdxl", Some("Stable Diffusion XL"))] {
        let net = net(name);
        let ControlKind::Lllite(config) = net.kind() else { panic!("{name}") };
        assert_eq!((config.modules(), net.family()), (24, family), "{name}");
    }
}
